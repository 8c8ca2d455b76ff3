/* The meter: opening, closing, prices, figures. */
#include "meter/meter.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "meter/meter_private.h"
#include "store/engine.h"

enum {
    IDS_DEFAULT = 1000000,
    RESERVATIONS_DEFAULT = 1000000,
    CLOSED_DEFAULT = 100000,
    PENDING_DEFAULT = 64 << 20,
    SETTLE_TIMEOUT_MS = 5000,
    MS_PER_S = 1000
};

/* ---- an engine as meter_io ---- */

static void
engine_io_submit(void *ctx, struct wal_entry *entry)
{
    engine_submit(ctx, entry);
}

static enum err_code
engine_io_visit(void *ctx, const struct store_scan *scan, store_visit_fn *fn, void *fn_ctx,
                struct err *err)
{
    return engine_visit(ctx, scan, fn, fn_ctx, err);
}

static enum err_code
engine_io_bucket(void *ctx, const struct store_bucket *bucket, struct batch *ret_rows,
                 struct err *err)
{
    return engine_bucket(ctx, bucket, ret_rows, err);
}

static enum err_code
engine_io_settle(void *ctx, struct err *err)
{
    struct engine_status status;

    engine_status(ctx, &status);
    return engine_wait_applied(ctx, status.durable_lsn, SETTLE_TIMEOUT_MS, err);
}

void
meter_engine_io(struct engine *engine, struct meter_io *ret_io)
{
    *ret_io = (struct meter_io){.submit = engine_io_submit,
                                .visit = engine_io_visit,
                                .bucket = engine_io_bucket,
                                .settle = engine_io_settle,
                                .ctx = engine};
}

/* ---- opening and closing ---- */

static void
set_defaults(struct meter_options *options)
{
    options->clock = options->clock ? options->clock : clock_system();
    options->ids_recent_max = options->ids_recent_max ? options->ids_recent_max : IDS_DEFAULT;
    options->reservations_max =
        options->reservations_max ? options->reservations_max : RESERVATIONS_DEFAULT;
    options->closed_max = options->closed_max ? options->closed_max : CLOSED_DEFAULT;
    options->pending_bytes_max =
        options->pending_bytes_max ? options->pending_bytes_max : PENDING_DEFAULT;
}

/* The columns that this part knows by number. */
static void
check_catalog(void)
{
    static const char *const names[EVENT_COLUMN_COUNT] = {
        "id",           "timestamp",   "api_name",      "endpoint",
        "method",       "status_code", "success",       "latency_ms",
        "credits_cost", "run_id",      "error_message", "metadata_json",
        "created_at",   "api_key",     "project",       "reservation_id",
        "corrects",     "price_rule",  "seq",           "hash"};
    const struct catalog_table *table = catalog_table(TABLE_EVENTS);

    assert(table->column_count == EVENT_COLUMN_COUNT);
    for (size_t i = 0; i < EVENT_COLUMN_COUNT; i++) {
        assert(strcmp(table->columns[i].name, names[i]) == 0);
    }
}

static void
init_locks(struct meter *meter)
{
    pthread_condattr_t monotonic;

    pthread_mutex_init(&meter->lock, NULL);
    pthread_mutex_init(&meter->set_lock, NULL);
    pthread_mutex_init(&meter->prices_lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&meter->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void
meter_free(struct meter *meter)
{
    meter_rows_fini(meter);
    series_fini(meter);
    meter_prices_fini(meter);
    reservations_fini(&meter->reservations);
    budgets_free(meter->budgets);
    ids_free(meter->ids);
    prices_unref(meter->prices);
    pthread_cond_destroy(&meter->changed);
    pthread_mutex_destroy(&meter->prices_lock);
    pthread_mutex_destroy(&meter->set_lock);
    pthread_mutex_destroy(&meter->lock);
    free(meter);
}

static void
start_threads(struct meter *meter)
{
    bool has_old = meter->old_ids_to > 0;

    if (meter->options.manual) {
        if (has_old) {
            meter_load_old_ids(meter);
        }
        return;
    }
    meter->has_thread = pthread_create(&meter->thread, NULL, lease_thread, meter) == 0;
    assert(meter->has_thread);
    if (has_old) {
        meter->has_loader = pthread_create(&meter->loader, NULL, meter_load_old_ids, meter) == 0;
    }
}

enum err_code
meter_open(const struct meter_options *options, struct meter **ret_meter, struct err *err)
{
    struct meter *meter = mem_zalloc(1, sizeof(*meter));

    check_catalog();
    meter->options = *options;
    set_defaults(&meter->options);
    meter->clock = meter->options.clock;
    meter->retry_at_us = INT64_MIN;
    init_locks(meter);
    meter->budgets = budgets_new(&meter->options.budgets);
    meter->ids = ids_new(meter->options.ids_recent_max);
    reservations_init(&meter->reservations, meter->options.closed_max);
    meter_rows_init(meter);
    enum err_code code = meter_load(meter, err);
    if (code != ERR_OK) {
        meter_free(meter);
        return code;
    }
    start_threads(meter);
    *ret_meter = meter;
    return ERR_OK;
}

void
meter_close(struct meter *meter)
{
    if (!meter) {
        return;
    }
    atomic_store(&meter->stop_loading, true);
    pthread_mutex_lock(&meter->lock);
    meter->closing = true;
    pthread_cond_broadcast(&meter->changed);
    pthread_mutex_unlock(&meter->lock);
    if (meter->has_thread) {
        pthread_join(meter->thread, NULL);
    }
    if (meter->has_loader) {
        pthread_join(meter->loader, NULL);
    }
    meter_flush(meter);
    pthread_mutex_lock(&meter->lock);
    while (meter->in_flight || meter->completing > 0 || meter->pending.first) {
        pthread_cond_wait(&meter->changed, &meter->lock);
    }
    pthread_mutex_unlock(&meter->lock);
    meter_free(meter);
}

void
meter_abandon(struct meter *meter)
{
    assert(meter->options.manual);
    op_list_drop(&meter->flight);
    op_list_drop(&meter->pending);
    meter_free(meter);
}

int64_t
meter_tick(struct meter *meter)
{
    assert(meter->options.manual);
    pthread_mutex_lock(&meter->lock);
    int64_t next_us = lease_expire(meter);
    meter_note_breakers(meter);
    pthread_mutex_unlock(&meter->lock);
    meter_flush(meter);
    return next_us;
}

/* ---- prices ---- */

void
meter_set_prices(struct meter *meter, struct prices *prices)
{
    if (prices) {
        prices_ref(prices);
    }
    pthread_mutex_lock(&meter->prices_lock);
    struct prices *old = meter->prices;
    meter->prices = prices;
    pthread_mutex_unlock(&meter->prices_lock);
    prices_unref(old);
    if (prices) {
        meter_record_prices(meter, prices);
    }
}

struct prices *
meter_prices(struct meter *meter)
{
    pthread_mutex_lock(&meter->prices_lock);
    struct prices *prices = meter->prices ? prices_ref(meter->prices) : NULL;
    pthread_mutex_unlock(&meter->prices_lock);
    return prices;
}

/* ---- figures ---- */

void
meter_head(struct meter *meter, struct chain_head *ret_head)
{
    pthread_mutex_lock(&meter->lock);
    *ret_head = meter->head;
    pthread_mutex_unlock(&meter->lock);
}

void
meter_stats(struct meter *meter, struct meter_stats *ret_stats)
{
    pthread_mutex_lock(&meter->lock);
    *ret_stats = meter->stats;
    ret_stats->credits_reserved = meter->reservations.credits_open;
    ret_stats->reservations_open = meter->reservations.heap_count;
    ret_stats->pending_bytes = meter->pending.bytes + meter->flight.bytes;
    pthread_mutex_unlock(&meter->lock);
}

/* Keeps the `max` oldest of all: the youngest of those that were kept is the first of a heap. */
static void
keep_oldest(const struct reservation **kept, size_t *count, size_t max,
            const struct reservation *one)
{
    size_t at = *count;

    if (at < max) {
        (*count)++;
        for (; at > 0 && kept[(at - 1) / 2]->created_us < one->created_us; at = (at - 1) / 2) {
            kept[at] = kept[(at - 1) / 2];
        }
        kept[at] = one;
        return;
    }
    if (max == 0 || kept[0]->created_us <= one->created_us) {
        return;
    }
    at = 0;
    for (size_t child = 1; child < max; child = 2 * at + 1) {
        child += child + 1 < max && kept[child + 1]->created_us > kept[child]->created_us;
        if (kept[child]->created_us <= one->created_us) {
            break;
        }
        kept[at] = kept[child];
        at = child;
    }
    kept[at] = one;
}

static int
by_created(const void *a, const void *b)
{
    const struct meter_open_reservation *left = a;
    const struct meter_open_reservation *right = b;

    return (left->created_us > right->created_us) - (left->created_us < right->created_us);
}

static void
copy_cut(struct slice text, char *dst, size_t size)
{
    slice_to_cstr(slice_sub(text, 0, size - 1), dst, size);
}

size_t
meter_reservations(struct meter *meter, struct meter_open_reservation *ret_list, size_t max)
{
    const struct reservation **kept =
        mem_zalloc(max ? max : 1, sizeof(*kept)); /* NOLINT: pointers */
    size_t count = 0;

    pthread_mutex_lock(&meter->lock);
    for (size_t i = 0; i < meter->reservations.heap_count; i++) {
        keep_oldest(kept, &count, max, meter->reservations.heap[i]);
    }
    for (size_t i = 0; i < count; i++) {
        const struct reservation *from = kept[i];
        struct meter_open_reservation *to = &ret_list[i];
        *to = (struct meter_open_reservation){.credits = from->credits,
                                              .created_us = from->created_us,
                                              .expires_us = from->expires_us};
        copy_cut(slice_of(from->id), to->id, sizeof(to->id));
        copy_cut(from->api_name, to->api_name, sizeof(to->api_name));
        copy_cut(from->endpoint, to->endpoint, sizeof(to->endpoint));
        copy_cut(from->run_id, to->run_id, sizeof(to->run_id));
    }
    pthread_mutex_unlock(&meter->lock);
    free(kept);
    qsort(ret_list, count, sizeof(*ret_list), by_created);
    return count;
}
