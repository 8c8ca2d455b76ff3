/*
 * The demo: plausible market, strategy, execution and trade data of a small made-up desk, so that a
 * first look has something to show. Everything is labelled: symbols begin with "DEMO:", strategies
 * and trade ids with "demo-".
 *
 * All of it is a function of the seed and the time of day (collect/demo_gen.h): a restart goes on
 * where the clock is, and writing the same minute twice writes the same keys.
 *
 * One thread: ten times a second quotes and the trades since the last tick, once a second strategy
 * and execution metrics, one write each tick. A write that fails is counted and not repeated.
 *
 * Threads: start and stop by one thread; status by any.
 */
#ifndef EIDER_COLLECT_DEMO_H
#define EIDER_COLLECT_DEMO_H

#include "base/clock.h"
#include "collect/collect.h"

struct collect_demo;

struct collect_demo_options {
    struct collect_sink sink;  /* required */
    const struct clock *clock; /* NULL: the system's */
    uint64_t seed;             /* 0: 1 */
    int backfill_minutes;      /* history written first, a row each 5 s; 0: none, at most 1440 */
    int tick_ms;               /* 0: 100; a multiple of 100 */
    bool manual;               /* no thread: the caller calls collect_demo_step (tests) */
};

void collect_demo_start(const struct collect_demo_options *options, struct collect_demo **ret_demo);

/* Stops the thread (waits for a write under way) and frees. NULL is fine. */
void collect_demo_stop(struct collect_demo *demo);

/* The backfill if it is still to do, then everything up to the clock's now; for `manual` only. */
void collect_demo_step(struct collect_demo *demo);

void collect_demo_status(struct collect_demo *demo, struct collect_status *ret_status);

#endif
