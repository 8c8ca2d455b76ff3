/* What the files of the hot cache share: hot.c keeps it, hot_fill.c takes from the store,
 * hot_read.c answers. Everything is under `lock` but options. */
#ifndef EIDER_STORE_HOT_PRIVATE_H
#define EIDER_STORE_HOT_PRIVATE_H

#include <pthread.h>

#include "base/arena.h"
#include "store/hot.h"

enum { HOT_PARKED_MAX = 64 };

struct hot_fill;

struct hot_series {
    struct lru_item item; /* first; in the list while `cached` */
    struct ring points;
    bool cached;
    bool newest_known; /* newest_us is the newest in the store, or there is none */
    bool has_newest;
    bool odd; /* has a time no row should have: left to the store */
    int32_t id;
    int64_t newest_us;
    double newest_value;
    size_t read_points; /* how far back reads went lately */
    size_t cut_among;   /* so many series from cut_us on were too much for a fill; 0: none were */
    int64_t cut_us;
    struct hot_fill *filling;
    struct slice name; /* these stand in the arena; ptr NULL: NULL */
    struct slice symbol;
    struct slice labels;
    struct hot_series *next_of_name; /* in the same slot */
};

/* One range on its way from the store. */
struct hot_fill {
    struct hot_series *series[HOT_SERIES_MAX];
    size_t count;
    int64_t from_us;
    uint64_t rows_max;
    bool dirty; /* what is read may not be all, or too much */
    bool parked;
    struct batch rows; /* of a parked one */
    struct hot_fill *next;
};

struct hot {
    struct hot_options options;
    pthread_mutex_t lock;
    struct lru lru;
    struct arena texts;
    struct hot_series **by_id; /* place id - 1 */
    size_t id_cap;
    struct hot_series **names; /* slots of chains by hash of the name */
    size_t name_slots;
    struct hot_series **sorted; /* by name, symbol, labels; `sorted_count` of them are in order */
    size_t sorted_count;
    size_t series_count;
    uint64_t definition_bytes;
    struct hot_fill *fills;
    size_t parked;
    uint64_t epoch;   /* of the store's contents: counts resets and removals */
    bool off;         /* the definitions are too many */
    bool defined;     /* all definitions are known */
    bool loaded;      /* and the newest points were, once */
    bool stale;       /* not every series' newest point is */
    bool loading;     /* a reader fetches them */
    bool in_flight;   /* a group may be committed and not yet fed */
    bool undefined;   /* samples without a definition, or with odd times, are in the store */
    unsigned holdoff; /* so many reads before the next attempt to load */
    uint64_t passed;
    uint64_t fill_count;
    uint64_t fills_dropped;
};

/* hot.c; all with the lock held */
struct hot_series *hot_series_of(const struct hot *hot, int32_t id);
struct hot_series *hot_first_of_name(const struct hot *hot, struct slice name);
void hot_define(struct hot *hot, const struct batch *rows, size_t row);
/* False for a series without a definition. */
bool hot_note_newest(struct hot *hot, int32_t id, int64_t time_us, double value);
void hot_drop(struct hot *hot, struct hot_series *series);
void hot_account(struct hot *hot, struct hot_series *series);
void hot_trim(struct hot *hot, struct hot_series *writer);
int hot_compare_definitions(const void *left, const void *right);

/* hot_fill.c */

/* Makes sure that definitions (and newest points, when asked for) are known, by two reads of at
 * most a quarter of the asker's time each. Takes the lock itself; false: ask the store. */
bool hot_load(struct hot *hot, struct store *store, bool with_newest, int timeout_ms,
              struct store_cancel *cancel);

/* How many points a fill may have at most. */
uint64_t hot_fill_max(const struct hot *hot);

/* Takes the points of some series from the time that was asked for on, at most `rows_max`, from the
 * store, in a quarter of the asker's time. Called with the lock, which it leaves while it reads. */
void hot_fill_range(struct hot *hot, struct store *store, struct hot_series *const *series,
                    size_t count, const struct store_scan *asked, uint64_t rows_max);

/* Marks fills that no longer hold; settles those that waited for a feed. With the lock held. */
void hot_spoil_fills(struct hot *hot);
void hot_settle_fills(struct hot *hot);

/* hot_read.c */

enum hot_verdict { HOT_ANSWERED, HOT_ABSENT, HOT_NOT_OURS };

static const size_t hot_answer_bytes_max = 1ULL << 30;

/* The series of a read, in the order their rows of one time have. */
struct hot_chosen {
    struct hot_series *series[HOT_SERIES_MAX];
    size_t count;
};

struct hot_cursor {
    struct hot_series *series;
    size_t from; /* [from, to) are left */
    size_t to;
    int64_t next_us; /* the time of the next of them */
};

struct hot_merge {
    struct hot_cursor cursors[HOT_SERIES_MAX];
    size_t count;
    uint16_t heap[HOT_SERIES_MAX]; /* those with points left; the first has the next */
    size_t heap_count;
    bool newest_first;
    bool tied; /* two points of one series and time were met */
};

/*
 * Finds the series of a scan and sees that all of the range is there. Called with the lock, which
 * it may leave for a fill, unless `store` is NULL. HOT_ANSWERED: the merge stands at the beginning.
 */
enum hot_verdict hot_prepare(struct hot *hot, struct store *store, const struct store_scan *scan,
                             struct hot_chosen *chosen, struct hot_merge *merge);

/* The next point in the order of the scan, and the place of its series among the chosen; false at
 * the end. */
bool hot_next_point(struct hot_merge *merge, struct ring_point *ret_point, size_t *ret_which);

/* Remembers how far back a read went; before the first hot_next_point. */
void hot_note_reads(const struct hot_chosen *chosen, const struct hot_merge *merge,
                    const struct store_scan *scan);

/* hot_scan, which fills only when it may. */
bool hot_scan_filled(struct hot *hot, struct store *store, const struct store_scan *scan,
                     bool may_fill, struct batch *ret_rows);

bool hot_is_ours(enum table_id table);
void hot_count_passed(struct hot *hot);

#endif
