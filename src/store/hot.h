/*
 * The hot cache: recent points and the newest point of every series, in memory in front of a store
 * that speaks SQL. It answers what it has all of, byte for byte as the store would, and leaves
 * everything else to the store.
 *
 *            a new series, or a newer point while there is room
 *   absent --------------------------------------------------------> cached (complete from T on)
 *      ^  \-- a read asks for [F, ...): scanned in the store ------->  |  ^ appended by each group
 *      |                                                               |  \-- asked for older:
 *      +------ least recently read, over the bound; rows removed ------+      filled from F on
 *
 * What it never shows: what SQL does not show, for it is fed behind the commit of a group, all of
 * the group in one step; and what SQL no longer shows, for it forgets all when the store is opened
 * anew, and what hot_invalidate names. What was told to be applied, it shows: whoever waits for
 * that is told behind the feed. Between a commit and its feed SQL is a group ahead of it.
 *
 * A fill reads the store while groups go on being committed. It is thrown away when a group holds
 * points of its series or rows were removed meanwhile; one that ends between a commit and its feed
 * is parked until the feed tells.
 *
 * Two points of one series and time are left to the store: SQL promises no order between them. So
 * are NaN, infinities and negative zero in buckets. Sums are added in the order of time; over
 * several series the store may add in another, and differ in the last digits.
 *
 * Threads: hot_begin, hot_feed and hot_reset by the applier, or while nobody reads; all others by
 * any thread. One mutex, held for no query and no more than HOT_ANSWER_POINTS_MAX points: a
 * read-write lock would not do, for a hit moves its series to the front, and a hit of an hour of
 * points takes a few microseconds. The applier holds it for one group's points.
 */
#ifndef EIDER_STORE_HOT_H
#define EIDER_STORE_HOT_H

#include "store/lru.h"
#include "store/store.h"

enum {
    HOT_SERIES_MAX = 512,           /* of one answer */
    HOT_ANSWER_POINTS_MAX = 1 << 17 /* looked at for one answer */
};

struct hot;

struct hot_options {
    uint64_t bytes_max;  /* points, and definitions of series: at most half of it; else the
                            cache is off until the store is opened anew */
    int timeout_ms;      /* what readers usually have: a read that ended sooner tells nothing of how
                            long it would take */
    bool fifo;           /* as lru_options.fifo */
    bool writes_promote; /* whether a write is a use; reads always are. A steady write to all
                            series says nothing of who reads them, so the engine says no */
};

struct hot_stats {
    struct lru_stats cache; /* hits and misses of reads it can answer; bytes with definitions */
    uint64_t series_known;
    uint64_t passed;        /* reads of a kind that only the store answers */
    uint64_t fills;         /* ranges taken from the store */
    uint64_t fills_dropped; /* thrown away: written to meanwhile */
    bool on;
};

struct hot *hot_new(const struct hot_options *options);
void hot_free(struct hot *hot); /* NULL is fine */

/* A group is about to be committed, and was committed as a whole. */
void hot_begin(struct hot *hot);
void hot_feed(struct hot *hot, const struct store_group *group);

/* Forgets everything: the store is another one, or it is not known what a group did to it. */
void hot_reset(struct hot *hot);

/* Rows of samples with times within [from_us, to_us] were removed from the store. */
void hot_invalidate(struct hot *hot, int64_t from_us, int64_t to_us);

/* Answer a read of `store`, or say false: then ask the store. They may scan the store, to fill. */
bool hot_scan(struct hot *hot, struct store *store, const struct store_scan *scan,
              struct batch *ret_rows);
bool hot_bucket(struct hot *hot, struct store *store, const struct store_bucket *bucket,
                struct batch *ret_rows);
bool hot_latest(struct hot *hot, struct store *store, enum table_id table, struct batch *ret_rows);

/* A user's statement that asks for rows as they are, of a store that speaks DuckDB's SQL; needs its
 * rows_max and bytes_max. */
bool hot_sql(struct hot *hot, struct store *store, const struct store_sql *sql,
             struct batch *ret_rows, bool *ret_truncated);

void hot_stats_of(struct hot *hot, struct hot_stats *ret_stats);

#endif
