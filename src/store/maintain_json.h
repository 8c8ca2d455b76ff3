/* What the maintenance thread does and would do, as JSON: the server and the command line tell the
 * same. Values are written into objects that the caller opened. Pure. */
#ifndef EIDER_STORE_MAINTAIN_JSON_H
#define EIDER_STORE_MAINTAIN_JSON_H

#include "codec/json_write.h"
#include "store/maintain.h"

/* "days": [{table, day, hot_rows, cold_rows, cold_files}], "rows". */
void maintain_json_days(struct json_writer *json, const struct store_day *days, size_t count,
                        bool more);

/* "steps": [{action, table, kind, day, rule, rows, ...}], and the sums. */
void maintain_json_plan(struct json_writer *json, const struct maintain_plan *plan);

/* "state", "progress", "asked", "done", "error", counters, "retention". */
void maintain_json_status(struct json_writer *json, const struct maintain_status *status);

/* "tables": [{table, kind, days, files, rows, bytes}] of the listed files, sorted. */
void maintain_json_files(struct json_writer *json, const struct cold_file *files, size_t count);

#endif
