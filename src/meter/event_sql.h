/*
 * A statement over the event log while it is written: what event_query.c and simulate.c share.
 */
#ifndef EIDER_METER_EVENT_SQL_H
#define EIDER_METER_EVENT_SQL_H

#include "base/buf.h"
#include "codec/time.h"
#include "meter/event_query.h"

enum { EVENT_SQL_BYTES_MAX = 16384, EVENT_SQL_PARAMS_MAX = 16 };

struct event_sql {
    struct buf text;
    struct store_param params[EVENT_SQL_PARAMS_MAX];
    size_t param_count;
    size_t condition_count;
    struct store_cancel *cancel; /* of the filter */
};

void event_sql_init(struct event_sql *sql);
void event_sql_fini(struct event_sql *sql);

/* Adds the conditions of a filter behind the FROM; " WHERE " comes by itself. */
void event_sql_add_filter(struct event_sql *sql, const struct event_filter *filter);

/* Adds a condition that ends in a number. */
void event_sql_add_number(struct event_sql *sql, const char *condition, int64_t value);

/* Runs it; more than rows_max rows are ERR_TOO_LARGE. */
enum err_code event_sql_run(struct event_sql *sql, struct engine *engine, uint64_t rows_max,
                            struct batch *ret_rows, struct err *err);

#endif
