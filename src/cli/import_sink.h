/*
 * Where imported rows go: POST to the running server, or the ingest of an engine opened in this
 * process. Either way the same validation, idempotency and write-ahead log.
 *
 * One thread; with the engine the answer comes from its committer and is waited for.
 */
#ifndef EIDER_CLI_IMPORT_SINK_H
#define EIDER_CLI_IMPORT_SINK_H

#include "cli/target.h"

enum { SINK_ERRORS_MAX = 20, SINK_FIELD_MAX = 64, SINK_VALUE_MAX = 104, SINK_EXPECTED_MAX = 200 };

struct sink_request {
    const struct catalog_table *table; /* NULL with INGEST_LINE */
    enum ingest_format format;
    enum ingest_precision precision;
    struct slice body;
    bool skip_bad_rows;
    const char *idempotency_key; /* NULL: none */
};

struct sink_error {
    uint64_t row; /* 0-based, within the body */
    char field[SINK_FIELD_MAX];
    char value[SINK_VALUE_MAX];
    char expected[SINK_EXPECTED_MAX];
};

struct sink_answer {
    uint64_t rejected;
    bool refused; /* bad rows without skip_bad_rows: nothing of the body was written */
    bool replayed;
    int retry_after_s;
    size_t error_count;
    struct sink_error errors[SINK_ERRORS_MAX];
};

/*
 * Writes one body and returns when it is durable. A busy target is tried again for up to two
 * minutes. ERR_OK with answer.refused when rows were wrong.
 */
enum err_code sink_write(struct target *target, const struct sink_request *request,
                         struct sink_answer *ret_answer, struct err *err);

/* Waits until all that was written can be queried. */
enum err_code sink_finish(struct target *target, struct err *err);

#endif
