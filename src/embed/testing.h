/* What the tests of this part share: a directory of their own, a handle on it, short forms. */
#ifndef EIDER_EMBED_TESTING_H
#define EIDER_EMBED_TESTING_H

/* cmocka wants these first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eider/eider.h"

#define T0 INT64_C(1700000000000000)
#define SECOND INT64_C(1000000)

struct place {
    char dir[64];
    struct eider_options options;
    struct eider_db *db;
    struct eider_error error;
};

#define assert_ok(place, call)                                                                     \
    do {                                                                                           \
        enum eider_status assert_ok_status = (call);                                               \
        if (assert_ok_status != EIDER_OK) {                                                        \
            fail_msg("%s: %s: %s", #call, eider_status_name(assert_ok_status),                     \
                     (place)->error.message);                                                      \
        }                                                                                          \
    } while (0)

/* The call fails with this status, and its message holds the text. */
#define assert_refused(place, call, wanted, text)                                                  \
    do {                                                                                           \
        (place)->error.message[0] = '\0';                                                          \
        enum eider_status assert_refused_status = (call);                                          \
        assert_string_equal(eider_status_name(assert_refused_status), eider_status_name(wanted));  \
        if (!strstr((place)->error.message, text)) {                                               \
            fail_msg("\"%s\" does not say \"%s\"", (place)->error.message, text);                  \
        }                                                                                          \
    } while (0)

static inline int
place_remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void
place_make(struct place *place)
{
    *place = (struct place){.db = NULL};
    snprintf(place->dir, sizeof(place->dir), "/tmp/eider-embed-XXXXXX");
    assert_non_null(mkdtemp(place->dir));
    place->options.data_dir = place->dir;
}

static inline void
place_open(struct place *place)
{
    assert_ok(place, eider_open(&place->options, &place->db, &place->error));
}

static inline void
place_close(struct place *place)
{
    assert_int_equal(eider_close(place->db), EIDER_OK);
    place->db = NULL;
}

static inline void
place_remove(struct place *place)
{
    place_close(place);
    nftw(place->dir, place_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* cmocka's setup and teardown: an open handle of the default storage type. */
static inline int
place_setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    assert_non_null(place);
    place_make(place);
    place_open(place);
    *state = place;
    return 0;
}

static inline int
place_setup_memory(void **state)
{
    struct place *place = calloc(1, sizeof(*place));

    assert_non_null(place);
    place_make(place);
    place->options.storage_type = "memory";
    place_open(place);
    *state = place;
    return 0;
}

static inline int
place_teardown(void **state)
{
    place_remove(*state);
    free(*state);
    return 0;
}

/* Appends a value, and waits until reads see it. */
static inline uint64_t
place_append(struct place *place, const char *name, int64_t time_us, double value)
{
    const struct eider_series series = {.name = name};
    uint64_t lsn = 0;

    assert_ok(place, eider_append_metric(place->db, &series, time_us, value, &lsn, &place->error));
    assert_ok(place, eider_wait_applied(place->db, lsn, 30000, &place->error));
    return lsn;
}

/* Runs a statement without parameters. */
static inline struct eider_batch *
place_sql(struct place *place, const char *sql)
{
    const struct eider_query query = {.sql = sql};
    struct eider_batch *batch = NULL;

    assert_ok(place, eider_query(place->db, &query, &batch, &place->error));
    return batch;
}

/* The one number that a statement answers. */
static inline int64_t
place_number(struct place *place, const char *sql)
{
    struct eider_batch *batch = place_sql(place, sql);

    assert_int_equal(eider_batch_rows(batch), 1);
    int64_t number = eider_batch_i64(batch, 0, 0);
    eider_batch_free(batch);
    return number;
}

/* Whether a text cell holds exactly this. */
static inline void
assert_cell(const struct eider_batch *batch, size_t column, size_t row, const char *text)
{
    size_t len;
    const char *cell = eider_batch_text(batch, column, row, &len);

    assert_int_equal(len, strlen(text));
    assert_memory_equal(cell, text, len);
}

#endif
