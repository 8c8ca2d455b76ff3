/*
 * What was wrong with the rows of a request: every bad row is counted, the first few errors are
 * kept with their texts. One thread at a time; texts are copied into the arena given.
 */
#ifndef EIDER_INGEST_ROW_ERRORS_H
#define EIDER_INGEST_ROW_ERRORS_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/slice.h"
#include "ingest/ingest.h"

enum { ROW_ERROR_VALUE_MAX = 100, ROW_ERROR_EXPECTED_MAX = 256 };

struct row_errors {
    struct arena *arena;
    struct ingest_row_error *items;
    size_t count;
    size_t capacity;
    size_t max;
    uint64_t noted; /* also those that were not kept */
};

void row_errors_init(struct row_errors *errors, struct arena *arena, size_t max);

/* Notes one error. The value is cut at ROW_ERROR_VALUE_MAX bytes. */
void row_errors_add(struct row_errors *errors, uint64_t row, struct slice field, struct slice value,
                    struct slice expected);

#endif
