/* Turns: their order, the ends of waiting, and what the compact copy waits for; over DuckDB. */
#include "store/engine_testing.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "codec/time.h"
#include "store/duckdb/store_duckdb.h"
#include "store/engine_private.h"

enum { WAIT_MS = 60000, ROWS = 50 };

static int
setup(void **state)
{
    int result = rig_setup(state);
    struct rig *rig = *state;

    rig->options.store_open = store_duckdb_open;
    rig->options.maintain = (struct maintain_options){.enabled = true, .watch_off = true};
    rig_open(rig);
    return result;
}

struct waiting {
    struct engine *engine;
    struct engine_turn turn;
    const char *name;
    char *log; /* of all: in the order of their turns */
};

static void *
take_turn(void *ctx)
{
    struct waiting *waiting = ctx;
    struct err err = {0};

    waiting->turn = (struct engine_turn){.what = waiting->name};
    assert_int_equal(engine_turn_begin(waiting->engine, &waiting->turn, WAIT_MS, &err), ERR_OK);
    strcat(waiting->log, waiting->name);
    engine_turn_end(waiting->engine, &waiting->turn);
    return NULL;
}

static bool
is_last(struct engine *engine, const struct engine_turn *turn)
{
    pthread_mutex_lock(&engine->lock);
    const struct engine_turn *last = engine->turns;
    while (last && last->next) {
        last = last->next;
    }
    pthread_mutex_unlock(&engine->lock);
    return last == turn;
}

static void
test_turn_comes_in_the_order_of_asking(void **state)
{
    struct rig *rig = *state;
    struct engine_turn first = {.what = "first"};
    struct waiting waiting[3];
    pthread_t threads[3];
    char log[16] = "";
    struct err err = {0};

    assert_int_equal(engine_turn_begin(rig->engine, &first, WAIT_MS, &err), ERR_OK);
    assert_false(engine_turn_is_wanted(rig->engine, &first));
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"a", "b", "c"};
        waiting[i] = (struct waiting){.engine = rig->engine, .name = names[i], .log = log};
        assert_int_equal(pthread_create(&threads[i], NULL, take_turn, &waiting[i]), 0);
        while (!is_last(rig->engine, &waiting[i].turn)) {
            sched_yield();
        }
    }
    assert_true(engine_turn_is_wanted(rig->engine, &first));
    assert_string_equal(log, "");
    engine_turn_end(rig->engine, &first);
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_string_equal(log, "abc");
}

static void
test_turn_says_what_it_waited_for(void **state)
{
    struct rig *rig = *state;
    struct engine_turn backup = {.what = "a backup"};
    struct engine_turn sealing = {.what = "sealing"};
    atomic_bool stopping = true;
    struct err err = {0};

    assert_int_equal(engine_turn_begin(rig->engine, &backup, 0, &err), ERR_OK);
    assert_int_equal(engine_turn_begin(rig->engine, &sealing, 1, &err), ERR_TIMEOUT);
    assert_non_null(strstr(err.msg, "sealing waited 0 s for a backup, which has been under way"));
    sealing.stopping = &stopping;
    assert_int_equal(engine_turn_begin(rig->engine, &sealing, WAIT_MS, &err), ERR_UNAVAILABLE);
    assert_false(engine_turn_is_wanted(rig->engine, &backup)); /* they left the row */
    engine_turn_end(rig->engine, &backup);
    assert_int_equal(engine_turn_begin(rig->engine, &sealing, WAIT_MS, &err), ERR_OK);
    engine_turn_end(rig->engine, &sealing);
    engine_stop_reads(rig->engine);
    assert_int_equal(engine_turn_begin(rig->engine, &backup, WAIT_MS, &err), ERR_OK);
    assert_int_equal(engine_turn_begin(rig->engine, &sealing, WAIT_MS, &err), ERR_UNAVAILABLE);
    engine_turn_end(rig->engine, &backup);
}

static void
test_turn_is_over_for_whom_it_is_called_off(void **state)
{
    struct rig *rig = *state;
    struct engine_turn turn = {.what = "a backup"};
    struct err err = {0};

    engine_turn_call_off(rig->engine); /* nobody's */
    assert_int_equal(engine_turn_begin(rig->engine, &turn, WAIT_MS, &err), ERR_OK);
    assert_false(engine_turn_is_over(rig->engine, &turn));
    engine_turn_call_off(rig->engine);
    assert_true(engine_turn_is_over(rig->engine, &turn));
    engine_turn_end(rig->engine, &turn);
    assert_int_equal(engine_turn_begin(rig->engine, &turn, WAIT_MS, &err), ERR_OK);
    assert_false(engine_turn_is_over(rig->engine, &turn));
    engine_turn_end(rig->engine, &turn);
}

/* ---- the compact copy ---- */

struct reading {
    struct engine *engine;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool begun;
    bool may_end;
};

/* In the transaction of an export. */
static enum err_code
linger(void *ctx, const struct store_export_moment *moment, struct err *err)
{
    struct reading *reading = ctx;

    (void)moment;
    pthread_mutex_lock(&reading->lock);
    reading->begun = true;
    pthread_cond_broadcast(&reading->changed);
    while (!reading->may_end) {
        pthread_cond_wait(&reading->changed, &reading->lock);
    }
    pthread_mutex_unlock(&reading->lock);
    return err_set(err, ERR_CONFLICT, "enough");
}

static enum err_code export(void *ctx, struct store *store, struct err *err) {
    const struct store_export export = {.begin = linger, .ctx = ctx, .timeout_ms = WAIT_MS};

    return store_export(store, &export, err);
}

static void *
read_long(void *ctx)
{
    struct reading *reading = ctx;
    struct err err = {0};

    assert_int_equal(engine_with_store(reading->engine, export, reading, &err), ERR_CONFLICT);
    return NULL;
}

static void
begin_reading(struct reading *reading, struct engine *engine, pthread_t *ret_thread)
{
    *reading = (struct reading){.engine = engine};
    pthread_mutex_init(&reading->lock, NULL);
    pthread_cond_init(&reading->changed, NULL);
    assert_int_equal(pthread_create(ret_thread, NULL, read_long, reading), 0);
    pthread_mutex_lock(&reading->lock);
    while (!reading->begun) {
        pthread_cond_wait(&reading->changed, &reading->lock);
    }
    pthread_mutex_unlock(&reading->lock);
}

static void
let_end(struct reading *reading)
{
    pthread_mutex_lock(&reading->lock);
    reading->may_end = true;
    pthread_cond_broadcast(&reading->changed);
    pthread_mutex_unlock(&reading->lock);
}

static void
join_reading(struct reading *reading, pthread_t thread)
{
    let_end(reading);
    pthread_join(thread, NULL);
    pthread_cond_destroy(&reading->changed);
    pthread_mutex_destroy(&reading->lock);
}

/* The reading that ends when the store is told to wait, and not before. */
static struct reading *ends_when_waited_for;
static bool (*wait_of_store)(struct store *store, int timeout_ms);

static bool
wait_reads(struct store *store, int timeout_ms)
{
    if (ends_when_waited_for) {
        let_end(ends_when_waited_for);
    }
    return wait_of_store(store, timeout_ms);
}

static enum err_code
watch_waiting(void *ctx, struct store *store, struct err *err)
{
    struct store_ops *ops = ctx;

    (void)err;
    *ops = *store->ops;
    wait_of_store = ops->wait_reads;
    ops->wait_reads = wait_reads;
    store->ops = ops;
    return ERR_OK;
}

static void
write_day(struct rig *rig)
{
    struct buf bytes BUF_AUTO;
    struct batch batch;

    buf_init(&bytes, 0);
    batch_init(&batch, catalog_table(TABLE_SAMPLES), 0);
    for (int i = 0; i < ROWS; i++) {
        size_t row = batch_add_row(&batch);
        batch_set_i32(&batch, 0, row, 1);
        batch_set_i64(&batch, 1, row, i * TIME_US_PER_S);
        batch_set_f64(&batch, 2, row, i);
    }
    batch_encode(&batch, &bytes);
    uint64_t lsn = rig_write_bytes(rig, buf_slice(&bytes));
    batch_fini(&batch);
    rig_applied(rig, lsn);
}

static void
seal(struct rig *rig)
{
    struct maintain_seal all = {.table = 0};
    struct maintain_status status;
    struct err err = {0};
    uint64_t ticket;

    assert_int_equal(engine_ask_seal(rig->engine, &all, &ticket, &err), ERR_OK);
    if (engine_maintain_wait(rig->engine, ticket, WAIT_MS, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    engine_maintain_status(rig->engine, &status);
    assert_true(status.days_sealed > 0);
}

/* What reads since before the sealing of a day keeps the checkpoint back; a turn was not taken, as
 * statements of users take none. What began behind the sealing keeps nothing back. */
static void
test_compact_waits_for_statements_that_keep_the_checkpoint_back(void **state)
{
    struct rig *rig = *state;
    struct reading old;
    struct reading new;
    struct engine_compacted compacted;
    static struct store_ops ops; /* until the store is closed */
    pthread_t readers[2];
    struct err err = {0};
    struct err impatient = {0};

    ends_when_waited_for = NULL;
    write_day(rig);
    begin_reading(&old, rig->engine, &readers[0]);
    seal(rig);
    enum err_code checkpoint = engine_checkpoint(rig->engine, WAIT_MS, &err);
    enum err_code hasty = engine_compact(rig->engine, 1000, &compacted, &impatient);
    engine_between_groups(rig->engine, watch_waiting, &ops, WAIT_MS, &err);
    ends_when_waited_for = &old;
    enum err_code patient = engine_compact(rig->engine, WAIT_MS, &compacted, &err);
    ends_when_waited_for = NULL;
    begin_reading(&new, rig->engine, &readers[1]);
    enum err_code beside = engine_checkpoint(rig->engine, WAIT_MS, &err);
    join_reading(&old, readers[0]);
    join_reading(&new, readers[1]);
    assert_int_equal(checkpoint, ERR_BUSY);
    assert_int_equal(hasty, ERR_BUSY);
    assert_non_null(strstr(impatient.msg, "statements that began before it"));
    assert_int_equal(patient, ERR_OK);
    assert_int_equal(beside, ERR_OK);
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, rig_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_turn_comes_in_the_order_of_asking),
        CASE(test_turn_says_what_it_waited_for),
        CASE(test_turn_is_over_for_whom_it_is_called_off),
        CASE(test_compact_waits_for_statements_that_keep_the_checkpoint_back),
    };

    return cmocka_run_group_tests_name("turn", tests, NULL, NULL);
}
