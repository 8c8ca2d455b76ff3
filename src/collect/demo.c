/* The demo's thread: what the generator makes, written as it becomes due. */
#include "collect/demo.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/time.h"
#include "collect/demo_gen.h"
#include "collect/tally.h"

enum {
    TICK_MS = 100,
    US_PER_MS = 1000,
    BACKFILL_MINUTES_MAX = 1440,
    BACKFILL_STEPS_A_WRITE = 240,
    TEXT_BYTES_MAX = 16 << 20,
    OUT_COUNT = 4
};

static const int64_t MINUTE_US = 60 * TIME_US_PER_S;
static const int64_t BACKFILL_STEP_US = 5 * TIME_US_PER_S;
static const int64_t GAP_MAX_US = 3600 * TIME_US_PER_S; /* trades of a longer gap are left out */

enum { OUT_MARKET, OUT_STRATEGY, OUT_EXECUTION, OUT_TRADES };

struct collect_demo {
    struct collect_sink sink;
    const struct clock *clock;
    uint64_t seed;
    int64_t backfill_us;
    int64_t tick_us;
    bool manual;
    bool started; /* the generator is running and the backfill is done */
    pthread_t thread;
    struct tally tally;
    struct demo_gen gen;
    struct batch out[OUT_COUNT];
};

/* Writes what is in demo->out as one record, and empties it. */
static void
write_out(struct collect_demo *demo)
{
    struct batch filled[OUT_COUNT];
    struct err err = {0};
    size_t count = 0;
    uint64_t rows = 0;

    for (int i = 0; i < OUT_COUNT; i++) {
        if (demo->out[i].rows > 0) {
            rows += demo->out[i].rows;
            filled[count++] = demo->out[i]; /* lent for the call */
        }
    }
    if (count == 0) {
        return;
    }
    enum err_code code = demo->sink.write(demo->sink.ctx, filled, count, &err);
    tally_write(&demo->tally, code, &err, rows);
    for (int i = 0; i < OUT_COUNT; i++) {
        batch_reset(&demo->out[i]);
    }
}

static void
add_metrics(struct collect_demo *demo, int64_t at_us)
{
    demo_gen_strategies(&demo->gen, at_us, &demo->out[OUT_STRATEGY]);
    demo_gen_execution(&demo->gen, at_us, &demo->out[OUT_EXECUTION]);
}

static void
backfill(struct collect_demo *demo, int64_t now_us)
{
    int64_t at_us = now_us - demo->backfill_us;
    int steps = 0;

    at_us -= at_us % BACKFILL_STEP_US;
    demo_gen_init(&demo->gen, demo->seed, at_us);
    for (; at_us < now_us && !tally_is_stopping(&demo->tally); at_us += BACKFILL_STEP_US) {
        demo_gen_advance(&demo->gen, at_us, &demo->out[OUT_TRADES]);
        demo_gen_market(&demo->gen, at_us, &demo->out[OUT_MARKET]);
        add_metrics(demo, at_us);
        if (++steps % BACKFILL_STEPS_A_WRITE == 0) {
            write_out(demo);
        }
    }
    write_out(demo);
}

/* Begins where the clock is. */
static void
begin(struct collect_demo *demo, int64_t now_us)
{
    if (!demo->started && demo->backfill_us > 0) {
        backfill(demo, now_us);
    } else {
        demo_gen_init(&demo->gen, demo->seed, now_us);
    }
    demo->started = true;
}

static void
step(struct collect_demo *demo)
{
    int64_t now_us = clock_wall_us(demo->clock);
    int64_t done_us = (demo->gen.tick + 1) * DEMO_TICK_US;

    if (!demo->started || now_us < done_us - TIME_US_PER_S) {
        begin(demo, now_us); /* the second case: the clock was set back */
        done_us = (demo->gen.tick + 1) * DEMO_TICK_US;
        now_us = clock_wall_us(demo->clock);
    }
    int64_t at_us = now_us - now_us % demo->tick_us;
    if (at_us <= done_us) {
        return;
    }
    if (at_us - done_us > GAP_MAX_US) {
        demo_gen_advance(&demo->gen, at_us - GAP_MAX_US, NULL);
    }
    demo_gen_advance(&demo->gen, at_us, &demo->out[OUT_TRADES]);
    demo_gen_market(&demo->gen, at_us, &demo->out[OUT_MARKET]);
    if (at_us / TIME_US_PER_S != done_us / TIME_US_PER_S) {
        add_metrics(demo, at_us);
    }
    write_out(demo);
}

static void *
demo_main(void *ctx)
{
    struct collect_demo *demo = ctx;
    int64_t next_us = clock_mono_us(clock_system()) + demo->tick_us;

    do {
        step(demo);
    } while (tally_wait_tick(&demo->tally, &next_us, demo->tick_us));
    return NULL;
}

void
collect_demo_start(const struct collect_demo_options *options, struct collect_demo **ret_demo)
{
    static const enum table_id tables[OUT_COUNT] = {TABLE_MARKET_DATA, TABLE_STRATEGY_METRICS,
                                                    TABLE_EXECUTION_METRICS, TABLE_TRADES};
    struct collect_demo *demo = mem_zalloc(1, sizeof(*demo));
    int minutes = options->backfill_minutes;

    minutes = minutes < 0 ? 0 : minutes > BACKFILL_MINUTES_MAX ? BACKFILL_MINUTES_MAX : minutes;
    demo->sink = options->sink;
    demo->clock = options->clock ? options->clock : clock_system();
    demo->seed = options->seed ? options->seed : 1;
    demo->backfill_us = minutes * MINUTE_US;
    demo->tick_us = (int64_t)(options->tick_ms > 0 ? options->tick_ms : TICK_MS) * US_PER_MS;
    demo->manual = options->manual;
    for (int i = 0; i < OUT_COUNT; i++) {
        batch_init(&demo->out[i], catalog_table(tables[i]), TEXT_BYTES_MAX);
    }
    tally_init(&demo->tally, "demo", demo->clock);
    if (!demo->manual && pthread_create(&demo->thread, NULL, demo_main, demo) != 0) {
        demo->manual = true;
        tally_stop(&demo->tally);
        tally_error(&demo->tally, "cannot start a thread");
    }
    *ret_demo = demo;
}

void
collect_demo_stop(struct collect_demo *demo)
{
    if (!demo) {
        return;
    }
    tally_stop(&demo->tally);
    if (!demo->manual) {
        pthread_join(demo->thread, NULL);
    }
    for (int i = 0; i < OUT_COUNT; i++) {
        batch_fini(&demo->out[i]);
    }
    tally_fini(&demo->tally);
    free(demo);
}

void
collect_demo_step(struct collect_demo *demo)
{
    step(demo);
}

void
collect_demo_status(struct collect_demo *demo, struct collect_status *ret_status)
{
    tally_status(&demo->tally, ret_status);
}
