/* What the files of the maintenance thread share; private to them and the engine's life. */
#ifndef EIDER_STORE_MAINTAIN_PRIVATE_H
#define EIDER_STORE_MAINTAIN_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/id.h"
#include "store/cold.h"
#include "store/engine_private.h"
#include "store/maintain.h"

enum {
    MAINTAIN_DAYS_MAX = 4096,           /* of one round */
    MAINTAIN_COMMIT_MS = 60000,         /* that a transaction may wait for the end of a group */
    MAINTAIN_TURN_MS = 6 * 3600 * 1000, /* for a turn: as long as a backup may take */
    MAINTAIN_DROP_MS = 15 * 60 * 1000,  /* the same, when space is to be had */
    MAINTAIN_QUERY_MS = 600000,         /* for counting the rows of metrics */
    MAINTAIN_LATE_S = 3600              /* between two looks after late rows of sealed days */
};

/* A file that nobody lists, and since when that is known. */
struct maintain_orphan {
    char relative[COLD_RELATIVE_MAX];
    int64_t since_us; /* monotonic */
    bool seen;        /* in this round */
};

struct maintain {
    struct engine *engine;
    struct maintain_options options; /* constant, with defaults; without the texts of rules */
    struct retention_rule *rules;    /* constant */
    size_t rule_count;
    char *cold_dir;
    bool rows_only; /* constant; a store without cold data, where retention deletes rows */
    pthread_t thread;
    atomic_bool stopping;

    /* `lock` guards what follows, up to status; below no other lock, above none. */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ended; /* the thread is about to return */
    bool seal_asked;
    struct maintain_seal seal;
    uint64_t seal_ticket;
    bool retention_asked;
    uint64_t retention_ticket;
    struct maintain_status status;

    /* The thread's own. */
    struct engine_turn turn;
    bool has_turn;
    uint64_t rebuilds;      /* of the engine, when the last round began */
    bool begun;             /* the first round is over */
    bool settled;           /* what a crash left has been looked after */
    uint64_t manifest_hash; /* of the list that the manifest has; 0: none */
    int64_t late_us;        /* monotonic; when late rows were looked after */
    int64_t next_us;        /* monotonic; when the next round is due */
    int32_t forgotten_day;  /* days before it have no idempotency keys any more; 0: not looked */
    int failures_in_row;
    char receipt_id[ID_UUID_LEN + 1]; /* of the step that is done */
    int64_t receipt_us;
    struct maintain_orphan *orphans;
    size_t orphan_count;
    struct cold_names first_listed; /* when the engine was opened; until the first round */
    bool first_known;
};

/* Thread: start is part of engine_open, stop of engine_close; both do nothing when it is off. */
enum err_code maintain_start(struct engine *engine, struct err *err);
void maintain_stop(struct engine *engine);

/* Takes a turn (engine.h), or keeps the one it has: for some seconds, so that many small steps are
 * not each behind somebody else's. On failure it has none. */
enum err_code maintain_turn_take(struct maintain *maintain, const char *what, int timeout_ms,
                                 struct err *err);
void maintain_turn_give(struct maintain *maintain);

void maintain_set_state(struct maintain *maintain, enum maintain_state state, enum table_id table,
                        int32_t day);
void maintain_set_steps(struct maintain *maintain, uint64_t done, uint64_t all);

/* ---- maintain_seal.c ---- */

/* Seals the days that `seal` names; late rows of days that have files only with `late`. */
enum err_code maintain_seal_days(struct maintain *maintain, const struct maintain_seal *seal,
                                 bool late, struct err *err);

/* Merges days that have more files than they may. */
enum err_code maintain_merge_days(struct maintain *maintain, struct err *err);

/* One day. ERR_BUSY: rows came meanwhile; ERR_NOT_FOUND: there are none. */
enum err_code maintain_seal_one(struct maintain *maintain, const struct store_seal *seal,
                                struct store_seal_result *ret_result, struct err *err);

/* The oldest MAINTAIN_DAYS_MAX closed days with hot rows, and whether there are more; the caller
 * frees. */
enum err_code maintain_find_days(struct engine *engine, const struct store_seal_find *find,
                                 struct store_day **ret_days, size_t *ret_count, bool *ret_more,
                                 struct err *err);

/* ---- maintain_retain.c ---- */

enum err_code maintain_retain(struct maintain *maintain, struct err *err);

/* When it ran last, from cold/retention; 0: never. And when it is due next. */
int64_t maintain_retained_us(const char *cold_dir);
int64_t maintain_retention_due(const struct maintain *maintain, int64_t last_us, int64_t now_us);

/* ---- maintain_forget.c ---- */

/* Removes idempotency keys of days that are two days over; looks once a day. */
enum err_code maintain_forget(struct maintain *maintain, struct err *err);

/* ---- maintain_receipt.c ---- */

/*
 * Before a step: notes in cold/receipt what will be done, so that a crash in the middle of it is
 * followed by its end (drops) or by nothing (a day written anew), and by exactly one receipt.
 * `replaced`: the raw files that a day written anew does not have any more.
 */
enum err_code maintain_receipt_begin(struct maintain *maintain, const struct retention_step *step,
                                     const char *rule, const struct cold_file *replaced,
                                     size_t replaced_count, struct err *err);

/* Behind it: writes the receipt through the log, then removes the note. The step's rows and bytes
 * are what it turned out to be. */
enum err_code maintain_receipt_end(struct maintain *maintain, const struct retention_step *step,
                                   const char *rule, struct err *err);

/* At a start, or when a step failed: finishes what the note tells of, or forgets it. */
enum err_code maintain_receipt_recover(struct maintain *maintain, struct err *err);

/* ---- maintain_collect.c ---- */

/* One transaction of the applier's, between two groups. Rows alone need no turn. */
enum err_code maintain_drop_between(struct maintain *maintain, struct cold_drop *drop,
                                    struct err *err);

/* Takes files off the list that stand in cold/dropped: a crash came between. */
enum err_code maintain_finish_drops(struct maintain *maintain, struct err *err);

/* Notes files in cold/dropped, takes them off the list with hot rows of their day, unlinks them.
 * Where there are rows only: deletes those of the day, or of the step's metrics. */
enum err_code maintain_drop(struct maintain *maintain, const struct retention_step *step,
                            struct err *err);

/* Before the first round's work: the files that nobody lists, nor did when the engine was opened,
 * have no readers, so they need not wait to be collected. */
void maintain_note_orphans(struct maintain *maintain);

/* Removes files that nobody lists and no snapshot may need. */
enum err_code maintain_collect(struct maintain *maintain, struct err *err);

/* Writes cold/manifest.json if the list has changed. */
enum err_code maintain_manifest(struct maintain *maintain, struct err *err);

#endif
