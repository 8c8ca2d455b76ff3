/*
 * The maintenance thread of an engine: it seals closed days, merges days that have too many files,
 * keeps retention's rules, forgets old idempotency keys, collects files that nobody lists, and
 * writes the manifest
 * (docs/adr/0018-cold-data.md, docs/retention.md). Writes never wait for it but for the short
 * transactions that the applier makes for it between two groups.
 *
 *              every minute, or asked
 *   IDLE ───────────────────────────────► SEALING ► MERGING ► RETAINING ► COLLECTING ─┐
 *    ▲  ▲                                    │ a step failed                          │
 *    │  └──────────── time is over ── WAITING ◄┘ (1 min, 2, 4, ... 60 min)            │
 *    └────────────────────────────────────────────────────────────────────────────────┘
 *
 * A step that the engine's end or a rebuild interrupts leaves nothing behind, or what the next
 * round finishes: before files are removed their names stand in cold/dropped, and before a step of
 * retention what its receipt will say stands in cold/receipt.
 *
 * Threads: the functions here may be called by any thread, but not from an event loop: all but
 * maintain_status and the asking ones may wait for the store.
 */
#ifndef EIDER_STORE_MAINTAIN_H
#define EIDER_STORE_MAINTAIN_H

#include "store/retention.h"

struct engine;

struct maintain_options {
    bool enabled;   /* false: no thread, nothing is sealed or dropped unless asked offline */
    bool seal;      /* seal days when their time has come; else only when asked */
    bool watch_off; /* no rounds by time: only what is asked; for tests and for the command line */
    int64_t after_us;         /* behind the end of a day; 0: 48 h */
    uint64_t rows_min;        /* of a day, to be sealed; 0: 1. Fewer stay in the database */
    unsigned merge_files;     /* raw files a day before it is merged; 0: 4 */
    unsigned merge_percent;   /* late rows, of the day's cold rows, that make a merge; 0: 10 */
    int interval_ms;          /* between two rounds; 0: 60 000 */
    const char *const *rules; /* as retention_rule_parse reads them; used at open alone */
    size_t rule_count;
    int retention_minute; /* of the UTC day, when retention runs; 0: midnight */
};

enum maintain_state {
    MAINTAIN_OFF,
    MAINTAIN_IDLE,
    MAINTAIN_SEALING,
    MAINTAIN_MERGING,
    MAINTAIN_RETAINING,
    MAINTAIN_COLLECTING,
    MAINTAIN_WAITING /* a round failed; the next begins later */
};

/* "off", "idle", "sealing", ... */
const char *maintain_state_name(enum maintain_state state);

struct maintain_status {
    enum maintain_state state;
    enum table_id table; /* what is worked on; 0: nothing */
    int32_t day;
    uint64_t steps_done; /* of the running kind of work */
    uint64_t steps_all;
    uint64_t asked; /* tickets given out, and done */
    uint64_t done;
    struct err outcome; /* of the newest ticket that is done; ERR_OK: it worked */
    struct err problem; /* of the last round; code ERR_OK: none */
    uint64_t rounds;
    uint64_t days_sealed; /* since open, these and below */
    uint64_t days_merged;
    uint64_t rows_sealed;
    uint64_t failures;
    uint64_t files_collected;
    uint64_t bytes_collected;
    int64_t retention_us;      /* wall time of the last run, of an earlier process too; 0: never */
    int64_t retention_next_us; /* 0: no rules */
    uint64_t retention_steps;
    uint64_t retention_files;
    uint64_t retention_rows;
    uint64_t retention_bytes;
};

void engine_maintain_status(struct engine *engine, struct maintain_status *ret_status);

struct maintain_seal {
    enum table_id table; /* 0: all */
    int64_t before_us;   /* days that end at or before; 0: as by itself */
    bool small;          /* also days with fewer than rows_min rows */
};

/* Asks the thread to seal, or to keep retention's rules, now. ERR_UNSUPPORTED: the store has no
 * cold data, or there is no thread; ERR_BUSY: the same was asked for and has not begun. */
enum err_code engine_ask_seal(struct engine *engine, const struct maintain_seal *seal,
                              uint64_t *ret_ticket, struct err *err);
enum err_code engine_ask_retention(struct engine *engine, uint64_t *ret_ticket, struct err *err);

/* Waits until a ticket is done and returns how it ended. ERR_TIMEOUT: it goes on. */
enum err_code engine_maintain_wait(struct engine *engine, uint64_t ticket, int timeout_ms,
                                   struct err *err);

/* The days that engine_ask_seal would seal, the oldest first; the caller frees. *ret_more: there
 * are more than one run takes. */
enum err_code engine_seal_plan(struct engine *engine, const struct maintain_seal *seal,
                               struct store_day **ret_days, size_t *ret_count, bool *ret_more,
                               struct err *err);

/* What retention would do now. */
struct maintain_plan {
    struct retention_rule *rules;
    size_t rule_count;
    struct cold_file *files;
    size_t file_count;
    struct store_day *hot;
    size_t hot_count;
    struct retention_metric *metrics; /* their names are the plan's */
    size_t metric_count;
    struct retention_plan plan;
};
enum err_code engine_retention_plan(struct engine *engine, struct maintain_plan *ret_plan,
                                    struct err *err);
void maintain_plan_fini(struct maintain_plan *plan);

#define MAINTAIN_PLAN_AUTO __attribute__((cleanup(maintain_plan_fini)))

/* The listed files; the caller frees. Quick. */
enum err_code engine_cold_list(struct engine *engine, struct cold_file **ret_files,
                               size_t *ret_count, struct err *err);

/* While held, no cold file is removed (what retention drops waits, too): for whoever copies files.
 * Counted. */
void engine_cold_hold(struct engine *engine);
void engine_cold_release(struct engine *engine);

#endif
