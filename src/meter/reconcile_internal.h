/* Shared by reconcile*.c only. */
#ifndef EIDER_METER_RECONCILE_INTERNAL_H
#define EIDER_METER_RECONCILE_INTERNAL_H

#include "base/arena.h"
#include "meter/reconcile.h"

#define RECONCILE_NONE UINT32_MAX

enum reconcile_key {
    MAP_TIMESTAMP,
    MAP_CREDITS,
    MAP_ID,
    MAP_ENDPOINT,
    MAP_COLUMNS, /* those above are columns */
    MAP_TZ = MAP_COLUMNS,
    MAP_TIME_FORMAT,
    MAP_DELIMITER,
    MAP_KEYS
};

extern const char *const RECONCILE_KEYS[MAP_KEYS];

struct reconcile_map {
    struct slice values[MAP_KEYS]; /* empty: not given */
    int64_t zone_us;               /* east of UTC */
    char delimiter;                /* 0: guess */
};

/* A call of either side. */
struct reconcile_row {
    struct slice id;
    struct slice endpoint;
    struct slice event_id; /* ours */
    struct slice method;
    int64_t time_us;
    int64_t credits;
    uint64_t number; /* which of ours, or the line of the file */
    uint32_t mate;   /* RECONCILE_NONE: nobody */
    int32_t status;  /* 0: none */
    bool ours;
};

struct reconcile_bad {
    uint64_t line;
    const char *field;
    const char *value;
    const char *expected;
};

struct reconcile {
    struct arena arena;
    struct reconcile_map map;
    int64_t tolerance_us;
    size_t rows_max;
    size_t listed_max;
    struct reconcile_row *rows; /* ours, then theirs; sorted by time once it ran */
    size_t count;
    size_t cap;
    bool fine_times; /* the file has fractions of a second */
    struct reconcile_bad *bad;
    size_t bad_listed;
    struct reconcile_summary summary;
};

/* ---- reconcile_map.c ---- */

/* Texts of the map are copied to `arena`. */
enum err_code reconcile_read_map(struct slice text, struct arena *arena,
                                 struct reconcile_map *ret_map, struct err *err);

/* Reads a time as the map says. */
bool reconcile_read_time(const struct reconcile_map *map, struct slice text, int64_t *ret_us);

/* ---- reconcile_match.c ---- */

void reconcile_match(struct reconcile *reconcile);

#endif
