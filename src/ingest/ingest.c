/* The ingest: opening (series and idempotency keys from the store), closing, counting. */
#include "ingest/ingest.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ingest/ingest_priv.h"

enum {
    REQUEST_BYTES_DEFAULT = 64 << 20,
    REQUEST_BYTES_CAP = 1 << 30, /* lengths within a batch have 32 bits */
    INFLIGHT_BYTES_DEFAULT = 256 << 20,
    SERIES_DEFAULT = 10000000,
    ERRORS_DEFAULT = 100,
    ERRORS_CAP = 1000,
    CACHE_BYTES_MAX = 128 << 20,
    OPEN_WAIT_MS = 5000,
    SCAN_TIMEOUT_MS = 600000,
    CLOSE_TIMEOUT_MS = 5000
};

static void
set_defaults(struct ingest_options *options)
{
    if (options->request_bytes_max == 0) {
        options->request_bytes_max = REQUEST_BYTES_DEFAULT;
    }
    if (options->request_bytes_max > REQUEST_BYTES_CAP) {
        options->request_bytes_max = REQUEST_BYTES_CAP;
    }
    if (options->inflight_bytes_max == 0) {
        options->inflight_bytes_max = INFLIGHT_BYTES_DEFAULT;
    }
    if (options->unapplied_bytes_max == 0) {
        options->unapplied_bytes_max = UINT64_C(4) << 30;
    }
    if (options->series_max == 0) {
        options->series_max = SERIES_DEFAULT;
    }
    if (options->errors_max == 0) {
        options->errors_max = ERRORS_DEFAULT;
    }
    if (options->errors_max > ERRORS_CAP) {
        options->errors_max = ERRORS_CAP;
    }
    if (!options->clock) {
        options->clock = clock_system();
    }
}

static void
check_columns(enum table_id id, const char *const *names, size_t count)
{
    const struct catalog_table *table = catalog_table(id);

    assert(table && table->column_count == count);
    for (size_t i = 0; i < count; i++) {
        assert(catalog_column_index(table, slice_of(names[i])) == (int)i);
    }
}

/* The tables whose columns this part knows by number. */
static void
check_catalog(void)
{
    static const char *const metrics[] = {"timestamp", "metric_name", "value", "symbol", "labels"};
    static const char *const series[] = {"series_id", "metric_name", "symbol", "labels"};
    static const char *const samples[] = {"series_id", "timestamp", "value"};
    static const char *const keys[] = {"key", "payload_hash", "accepted", "rejected", "lsn", "at"};

    check_columns(TABLE_METRICS, metrics, 5);
    check_columns(TABLE_SERIES, series, 4);
    check_columns(TABLE_SAMPLES, samples, 3);
    check_columns(TABLE_IDEMPOTENCY, keys, 6);
}

static enum err_code
load_series(struct ingest *ingest, struct err *err)
{
    struct store_scan scan = {.table = TABLE_SERIES,
                              .from_us = INT64_MIN,
                              .to_us = INT64_MAX,
                              .timeout_ms = SCAN_TIMEOUT_MS};
    struct batch rows;
    enum err_code code = ingest->ops->scan(ingest->options.engine, &scan, &rows, err);

    if (code != ERR_OK) {
        return err_context(err, code, "loading series");
    }
    for (size_t i = 0; i < rows.rows && code == ERR_OK; i++) {
        struct series_key key = {
            .name = batch_get_text(&rows, SERIES_NAME, i),
            .symbol = batch_get_text(&rows, SERIES_SYMBOL, i),
            .labels = batch_get_text(&rows, SERIES_LABELS, i),
        };
        code =
            series_load(&ingest->registry, &key, (int32_t)batch_get_i64(&rows, SERIES_ID, i), err);
    }
    batch_fini(&rows);
    return code;
}

static enum err_code
load_keys(struct ingest *ingest, struct err *err)
{
    struct store_scan scan = {.table = TABLE_IDEMPOTENCY,
                              .from_us = clock_wall_us(ingest->clock) - IDEMPOTENCY_KEEP_US,
                              .to_us = INT64_MAX,
                              .newest_first = true,
                              .limit = IDEMPOTENCY_KEYS_MAX,
                              .timeout_ms = SCAN_TIMEOUT_MS};
    struct batch rows;
    enum err_code code = ingest->ops->scan(ingest->options.engine, &scan, &rows, err);

    if (code != ERR_OK) {
        return err_context(err, code, "loading idempotency keys");
    }
    for (size_t i = rows.rows; i > 0; i--) {
        idempotency_load(&ingest->keys, batch_get_text(&rows, IDEMPOTENCY_KEY, i - 1),
                         batch_get_text(&rows, IDEMPOTENCY_PAYLOAD_HASH, i - 1),
                         (uint64_t)batch_get_i64(&rows, IDEMPOTENCY_ACCEPTED, i - 1),
                         (uint64_t)batch_get_i64(&rows, IDEMPOTENCY_REJECTED, i - 1),
                         batch_get_i64(&rows, IDEMPOTENCY_AT, i - 1));
    }
    batch_fini(&rows);
    return ERR_OK;
}

/* What is durable is known only when the store has all of it. */
static enum err_code
load(struct ingest *ingest, struct err *err)
{
    struct engine_status status;
    enum err_code code;

    ingest->ops->status(ingest->options.engine, &status);
    code = ingest->ops->wait_applied(ingest->options.engine, status.durable_lsn, OPEN_WAIT_MS, err);
    if (code != ERR_OK) {
        return err_context(err, code, "waiting for the store to apply the log");
    }
    laps_mark(ingest->options.laps, "applying the log");
    code = load_series(ingest, err);
    laps_mark(ingest->options.laps, "series");
    code = code == ERR_OK ? load_keys(ingest, err) : code;
    laps_mark(ingest->options.laps, "keys of requests");
    ingest->options.laps = NULL; /* the caller's */
    return code;
}

static void
ingest_free(struct ingest *ingest)
{
    while (ingest->pool) {
        struct job *job = ingest->pool;
        ingest->pool = job->next;
        job_free(job);
    }
    idempotency_fini(&ingest->keys);
    series_cache_fini(&ingest->cache);
    series_registry_fini(&ingest->registry);
    pthread_cond_destroy(&ingest->quiet);
    pthread_mutex_destroy(&ingest->lock);
    free(ingest);
}

enum err_code
ingest_open_with(const struct ingest_options *options, const struct ingest_engine_ops *ops,
                 struct ingest **ret_ingest, struct err *err)
{
    struct ingest *ingest = mem_zalloc(1, sizeof(*ingest));

    check_catalog();
    ingest->options = *options;
    set_defaults(&ingest->options);
    ingest->ops = ops;
    ingest->clock = ingest->options.clock;
    pthread_mutex_init(&ingest->lock, NULL);
    pthread_cond_init(&ingest->quiet, NULL);
    series_registry_init(&ingest->registry, ingest->options.series_max);
    series_cache_init(&ingest->cache, CACHE_BYTES_MAX);
    idempotency_init(&ingest->keys, IDEMPOTENCY_KEYS_MAX);
    atomic_store(&ingest->next_sample_us, INT64_MIN);
    enum err_code code = load(ingest, err);
    if (code != ERR_OK) {
        ingest_free(ingest);
        return code;
    }
    *ret_ingest = ingest;
    return ERR_OK;
}

void
ingest_hold(struct ingest *ingest)
{
    pthread_mutex_lock(&ingest->lock);
    ingest->active++;
    pthread_mutex_unlock(&ingest->lock);
}

void
ingest_leave_locked(struct ingest *ingest, uint64_t count)
{
    assert(ingest->active >= count);
    ingest->active -= count;
    if (ingest->closing) {
        pthread_cond_broadcast(&ingest->quiet);
    }
}

void
ingest_leave(struct ingest *ingest, uint64_t count)
{
    pthread_mutex_lock(&ingest->lock);
    ingest_leave_locked(ingest, count);
    pthread_mutex_unlock(&ingest->lock);
}

/* Rows on their way into the log are waited for as long as it takes; the applier gets some time,
 * since it may be stalled by a full disk. */
void
ingest_stop(struct ingest *ingest)
{
    uint64_t lsn = 0;

    pthread_mutex_lock(&ingest->lock);
    ingest->closing = true;
    while (ingest->active > ingest->applied_waits) {
        pthread_cond_wait(&ingest->quiet, &ingest->lock);
    }
    for (struct applied_wait *wait = ingest->waits; wait; wait = wait->next) {
        lsn = wait->answer.lsn > lsn ? wait->answer.lsn : lsn;
    }
    pthread_mutex_unlock(&ingest->lock);
    if (lsn > 0) {
        ingest->ops->wait_applied(ingest->options.engine, lsn, CLOSE_TIMEOUT_MS, NULL);
    }
    applied_waits_give_up(ingest);
    pthread_mutex_lock(&ingest->lock);
    while (ingest->active > 0) {
        pthread_cond_wait(&ingest->quiet, &ingest->lock);
    }
    pthread_mutex_unlock(&ingest->lock);
}

void
ingest_close(struct ingest *ingest)
{
    if (ingest) {
        ingest_stop(ingest);
        ingest_free(ingest);
    }
}

bool
ingest_series(struct ingest *ingest, int32_t series_id, struct slice *ret_name,
              struct slice *ret_symbol, struct slice *ret_labels)
{
    struct series *series = series_at(&ingest->registry, series_id);

    if (!series) {
        return false;
    }
    *ret_name = series->key.name;
    *ret_symbol = series->key.symbol;
    *ret_labels = series->key.labels;
    return true;
}

int32_t
ingest_series_end(struct ingest *ingest)
{
    return series_end(&ingest->registry);
}

int32_t
ingest_find_series(struct ingest *ingest, struct slice name, struct slice symbol,
                   struct slice labels)
{
    const struct series_key key = {.name = name, .symbol = symbol, .labels = labels};
    const struct series *series = series_find(&ingest->registry, &key);

    return series ? series->id : 0;
}

void
ingest_stats(struct ingest *ingest, struct ingest_stats *ret_stats)
{
    *ret_stats = (struct ingest_stats){
        .requests = atomic_load_explicit(&ingest->requests, memory_order_relaxed),
        .requests_refused = atomic_load_explicit(&ingest->refused, memory_order_relaxed),
        .rows = atomic_load_explicit(&ingest->accepted, memory_order_relaxed),
        .rows_rejected = atomic_load_explicit(&ingest->rejected, memory_order_relaxed),
        .bytes = atomic_load_explicit(&ingest->bytes, memory_order_relaxed),
        .inflight_bytes = atomic_load_explicit(&ingest->inflight_bytes, memory_order_relaxed),
        .series = series_count(&ingest->registry),
        .idempotent_replays = atomic_load_explicit(&ingest->replays, memory_order_relaxed),
    };
    for (size_t i = 0; i < TABLE_ID_END; i++) {
        ret_stats->rows_by_table[i] =
            atomic_load_explicit(&ingest->rows_by_table[i], memory_order_relaxed);
    }
}
