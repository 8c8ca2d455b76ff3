/*
 * Subscriptions. The log's committer thread copies what somebody wants into queues and never waits;
 * each subscription has a thread that gives its queue to its callback.
 *
 *   committer: record --encoded once--> parcel --+--> queue --> thread --> fn
 *                                                +--> queue --> thread --> fn
 *                                                +--> queue full: counted as missed
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "embed/embed_internal.h"
#include "wal/wal.h"

enum {
    QUEUE_BATCHES = 1024,
    QUEUE_BATCHES_CAP = 1000000,
    QUEUE_BYTES = 64 << 20,
    VERDICTS_MIN = 1024,
    SAMPLE_ID = 0
};

/* An encoded batch that several queues share. */
struct parcel {
    atomic_uint refs;
    size_t rows;
    size_t len;
    char *bytes; /* aligned for any type */
};

struct item {
    struct item *next;
    struct parcel *parcel;
    uint64_t lsn;
    uint64_t missed_batches; /* before this one */
    uint64_t missed_rows;
};

enum verdict { UNKNOWN, WANTED, OTHER };

struct eider_subscription {
    struct eider_db *db;
    struct eider_subscription *next; /* in the list */
    pthread_t thread;
    const struct catalog_table *table; /* NULL: every one */
    char *metric_name;                 /* NULL: every one */
    size_t batches_max;
    uint64_t bytes_max;
    eider_delivery_fn *fn;
    void *ctx;
    uint8_t *verdicts; /* by series id; the committer's, under subscribers.lock */
    size_t verdict_count;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool ending;
    struct item *first;
    struct item *last;
    uint64_t missed_batches; /* since the item that was queued last */
    uint64_t missed_rows;
    struct eider_subscription_stats stats;
};

void
subscribers_init(struct subscribers *subscribers, size_t max)
{
    pthread_mutex_init(&subscribers->lock, NULL);
    subscribers->max = max;
}

void
subscribers_fini(struct subscribers *subscribers)
{
    pthread_mutex_destroy(&subscribers->lock);
}

static struct parcel *
parcel_new(const struct batch *batch)
{
    struct parcel *parcel = mem_zalloc(1, sizeof(*parcel));
    struct buf bytes;

    buf_init(&bytes, WAL_RECORD_BYTES_MAX);
    batch_encode(batch, &bytes);
    if (bytes.overflow) {
        buf_fini(&bytes);
        free(parcel);
        return NULL;
    }
    atomic_init(&parcel->refs, 1);
    parcel->rows = batch->rows;
    parcel->bytes = buf_take(&bytes, &parcel->len);
    return parcel;
}

static void
parcel_unref(struct parcel *parcel)
{
    if (parcel && atomic_fetch_sub(&parcel->refs, 1) == 1) {
        free(parcel->bytes);
        free(parcel);
    }
}

/* ---- the committer's side ---- */

static bool
is_wanted_series(struct eider_subscription *sub, int32_t id)
{
    struct slice name, symbol, labels;
    size_t at = (size_t)id;

    if (id <= 0) {
        return false;
    }
    if (at >= sub->verdict_count) {
        size_t count = sub->verdict_count ? sub->verdict_count : VERDICTS_MIN;
        while (count <= at) {
            count *= 2;
        }
        sub->verdicts = mem_resize(sub->verdicts, count, sizeof(*sub->verdicts));
        memset(sub->verdicts + sub->verdict_count, UNKNOWN, count - sub->verdict_count);
        sub->verdict_count = count;
    }
    if (sub->verdicts[at] == UNKNOWN) {
        bool wanted = ingest_series(sub->db->ingest, id, &name, &symbol, &labels) &&
                      slice_is(name, sub->metric_name);
        sub->verdicts[at] = wanted ? WANTED : OTHER;
    }
    return sub->verdicts[at] == WANTED;
}

/* A parcel of the samples of one metric; NULL when there are none. */
static struct parcel *
pick_samples(struct eider_subscription *sub, const struct batch *samples)
{
    const int32_t *ids = samples->columns[SAMPLE_ID].i32;
    struct parcel *parcel = NULL;
    struct batch picked;

    batch_init(&picked, samples->table, 0);
    for (size_t i = 0; i < samples->rows; i++) {
        if (is_wanted_series(sub, ids[i])) {
            batch_copy_row(&picked, samples, i);
        }
    }
    if (picked.rows > 0) {
        parcel = parcel_new(&picked);
    }
    batch_fini(&picked);
    return parcel;
}

static bool
is_wanted_table(const struct eider_subscription *sub, const struct catalog_table *table)
{
    enum table_id id = table->id == TABLE_SAMPLES ? TABLE_METRICS : table->id;

    if (sub->table) {
        return sub->table->id == id;
    }
    return table->id == TABLE_SAMPLES || table->ingestible;
}

/* Queues a parcel, which stays the caller's, or counts it as missed. */
static void
queue_parcel(struct eider_subscription *sub, struct parcel *parcel, uint64_t lsn)
{
    pthread_mutex_lock(&sub->lock);
    /* One batch alone always goes through, however large. */
    bool full = sub->stats.queued_batches >= sub->batches_max ||
                (sub->first && sub->stats.queued_bytes + parcel->len > sub->bytes_max);
    if (full) {
        sub->missed_batches++;
        sub->missed_rows += parcel->rows;
        sub->stats.missed_batches++;
        sub->stats.missed_rows += parcel->rows;
        pthread_mutex_unlock(&sub->lock);
        return;
    }
    atomic_fetch_add(&parcel->refs, 1);
    struct item *item = mem_zalloc(1, sizeof(*item));
    *item = (struct item){.parcel = parcel,
                          .lsn = lsn,
                          .missed_batches = sub->missed_batches,
                          .missed_rows = sub->missed_rows};
    sub->missed_batches = 0;
    sub->missed_rows = 0;
    if (sub->last) {
        sub->last->next = item;
    } else {
        sub->first = item;
    }
    sub->last = item;
    sub->stats.queued_batches++;
    sub->stats.queued_bytes += parcel->len;
    pthread_cond_broadcast(&sub->changed);
    pthread_mutex_unlock(&sub->lock);
}

static void
offer(struct eider_subscription *sub, const struct batch *batch, struct parcel **shared,
      uint64_t lsn)
{
    if (!is_wanted_table(sub, batch->table) || batch->rows == 0) {
        return;
    }
    if (sub->metric_name) {
        struct parcel *picked = pick_samples(sub, batch);
        if (picked) {
            queue_parcel(sub, picked, lsn);
            parcel_unref(picked);
        }
        return;
    }
    if (!*shared) {
        *shared = parcel_new(batch);
    }
    if (*shared) {
        queue_parcel(sub, *shared, lsn);
    }
}

void
subscribers_take(struct eider_db *db, const struct batch *batches, size_t count, uint64_t lsn)
{
    struct subscribers *subscribers = &db->subscribers;

    pthread_mutex_lock(&subscribers->lock);
    for (size_t i = 0; i < count && subscribers->first; i++) {
        struct parcel *shared = NULL;
        for (struct eider_subscription *sub = subscribers->first; sub; sub = sub->next) {
            offer(sub, &batches[i], &shared, lsn);
        }
        parcel_unref(shared);
    }
    pthread_mutex_unlock(&subscribers->lock);
}

/* ---- the subscriber's side ---- */

static void
deliver(struct eider_subscription *sub, const struct item *item)
{
    struct slice bytes = slice_make(item->parcel->bytes, item->parcel->len);
    struct eider_batch batch = {.truncated = false};
    struct batch decoded;
    size_t used;
    struct err err;

    /* We encoded it ourselves: it decodes. */
    if (batch_decode(bytes, &decoded, &used, &err) != ERR_OK) {
        return;
    }
    bool is_samples = decoded.table->id == TABLE_SAMPLES;
    if (is_samples) {
        embed_name_samples(sub->db, &decoded, false, &batch.rows);
    } else {
        batch.rows = decoded;
    }
    const struct eider_delivery delivery = {
        .lsn = item->lsn,
        .table = batch.rows.table->name,
        .batch = &batch,
        .missed_batches = item->missed_batches,
        .missed_rows = item->missed_rows,
    };
    sub->fn(sub->ctx, &delivery);
    batch_fini(&batch.rows);
    if (is_samples) {
        batch_fini(&decoded);
    }
}

/* Takes the next item; NULL when the subscription ends. */
static struct item *
next_item(struct eider_subscription *sub)
{
    pthread_mutex_lock(&sub->lock);
    while (!sub->first && !sub->ending) {
        pthread_cond_wait(&sub->changed, &sub->lock);
    }
    struct item *item = sub->ending ? NULL : sub->first;
    if (item) {
        sub->first = item->next;
        if (!sub->first) {
            sub->last = NULL;
        }
        sub->stats.queued_batches--;
        sub->stats.queued_bytes -= item->parcel->len;
    }
    pthread_mutex_unlock(&sub->lock);
    return item;
}

static void
item_free(struct item *item)
{
    parcel_unref(item->parcel);
    free(item);
}

static void *
subscription_main(void *ctx)
{
    struct eider_subscription *sub = ctx;
    struct item *item;

    embed_be_subscriber();
    while ((item = next_item(sub)) != NULL) {
        deliver(sub, item);
        pthread_mutex_lock(&sub->lock);
        sub->stats.delivered_batches++;
        sub->stats.delivered_rows += item->parcel->rows;
        sub->stats.last_lsn = item->lsn;
        pthread_mutex_unlock(&sub->lock);
        item_free(item);
    }
    return NULL;
}

/* ---- beginning and ending ---- */

static enum eider_status
check_options(const struct eider_subscribe_options *options, const struct catalog_table **ret_table,
              struct eider_error *error)
{
    const struct catalog_table *table = NULL;

    if (!options || !options->fn) {
        return embed_refuse(error, EIDER_INVALID, "%s is NULL", options ? "fn" : "options");
    }
    enum eider_status status = EMBED_CHECK_RESERVED("options", options, error);
    if (status != EIDER_OK) {
        return status;
    }
    if (options->queue_batches > QUEUE_BATCHES_CAP) {
        return embed_refuse(error, EIDER_INVALID, "queue_batches is %zu; expected at most %d",
                            options->queue_batches, QUEUE_BATCHES_CAP);
    }
    if (options->table) {
        table = embed_table(options->table, error);
        if (!table) {
            return EIDER_NOT_FOUND;
        }
        if (!table->ingestible) {
            return embed_refuse(error, EIDER_INVALID, "table %s: expected one that clients write",
                                table->name);
        }
    }
    if (options->metric_name) {
        if (table && table->id != TABLE_METRICS) {
            return embed_refuse(error, EIDER_INVALID,
                                "metric_name is for table metrics, not for %s", table->name);
        }
        table = catalog_table(TABLE_METRICS);
    }
    *ret_table = table;
    return EIDER_OK;
}

static struct eider_subscription *
subscription_new(struct eider_db *db, const struct eider_subscribe_options *options,
                 const struct catalog_table *table)
{
    struct eider_subscription *sub = mem_zalloc(1, sizeof(*sub));

    sub->db = db;
    sub->table = table;
    sub->metric_name = options->metric_name ? mem_strdup(slice_of(options->metric_name)) : NULL;
    sub->batches_max = options->queue_batches ? options->queue_batches : QUEUE_BATCHES;
    sub->bytes_max = options->queue_bytes ? options->queue_bytes : QUEUE_BYTES;
    sub->fn = options->fn;
    sub->ctx = options->ctx;
    pthread_mutex_init(&sub->lock, NULL);
    pthread_cond_init(&sub->changed, NULL);
    return sub;
}

static void
subscription_free(struct eider_subscription *sub)
{
    while (sub->first) {
        struct item *item = sub->first;
        sub->first = item->next;
        item_free(item);
    }
    pthread_cond_destroy(&sub->changed);
    pthread_mutex_destroy(&sub->lock);
    free(sub->verdicts);
    free(sub->metric_name);
    free(sub);
}

static bool
start_thread(struct eider_subscription *sub)
{
    sigset_t old;

    embed_block_signals(&old);
    int result = pthread_create(&sub->thread, NULL, subscription_main, sub);
    embed_restore_signals(&old);
    return result == 0;
}

/* Puts it on the list, with its thread. */
static enum eider_status
start(struct eider_db *db, struct eider_subscription *sub, struct eider_error *error)
{
    struct subscribers *subscribers = &db->subscribers;
    enum eider_status status = EIDER_OK;

    pthread_mutex_lock(&subscribers->lock);
    if (subscribers->closed) {
        /* A callback of an append that eider_close waits for. */
        status = embed_refuse(error, EIDER_UNAVAILABLE, "the handle is being closed");
    } else if (subscribers->count >= subscribers->max) {
        status = embed_refuse(error, EIDER_BUSY,
                              "there are %zu subscriptions; the limit subscriptions_max is %zu",
                              subscribers->count, subscribers->max);
    } else if (!start_thread(sub)) {
        status = embed_refuse(error, EIDER_INTERNAL, "no thread can be started");
    } else {
        sub->next = subscribers->first;
        subscribers->first = sub;
        subscribers->count++;
    }
    pthread_mutex_unlock(&subscribers->lock);
    return status;
}

enum eider_status
eider_subscribe(struct eider_db *db, const struct eider_subscribe_options *options,
                struct eider_subscription **ret_subscription, struct eider_error *error)
{
    const struct catalog_table *table = NULL;
    enum eider_status status = check_options(options, &table, error);

    if (status != EIDER_OK) {
        return status;
    }
    struct eider_subscription *sub = subscription_new(db, options, table);
    status = start(db, sub, error);
    if (status != EIDER_OK) {
        subscription_free(sub);
        return status;
    }
    *ret_subscription = sub;
    return EIDER_OK;
}

/* Tells its thread to end; nothing is queued any more. Called with the lock of the list. */
static void
begin_end(struct eider_subscription *sub)
{
    pthread_mutex_lock(&sub->lock);
    sub->db->subscribers.missed_batches += sub->stats.missed_batches;
    sub->ending = true;
    pthread_cond_broadcast(&sub->changed);
    pthread_mutex_unlock(&sub->lock);
}

enum eider_status
eider_unsubscribe(struct eider_subscription *sub)
{
    enum eider_status status = embed_check_end("eider_unsubscribe");

    if (!sub || status != EIDER_OK) {
        return status;
    }
    struct subscribers *subscribers = &sub->db->subscribers;
    pthread_mutex_lock(&subscribers->lock);
    struct eider_subscription **link = &subscribers->first;
    while (*link != sub) {
        link = &(*link)->next;
    }
    *link = sub->next;
    subscribers->count--;
    begin_end(sub);
    pthread_mutex_unlock(&subscribers->lock);
    pthread_join(sub->thread, NULL);
    subscription_free(sub);
    return EIDER_OK;
}

void
subscribers_end(struct eider_db *db)
{
    struct subscribers *subscribers = &db->subscribers;

    pthread_mutex_lock(&subscribers->lock);
    struct eider_subscription *sub = subscribers->first;
    subscribers->first = NULL;
    subscribers->count = 0;
    subscribers->closed = true;
    for (struct eider_subscription *each = sub; each; each = each->next) {
        begin_end(each);
    }
    pthread_mutex_unlock(&subscribers->lock);
    while (sub) {
        struct eider_subscription *next = sub->next;
        pthread_join(sub->thread, NULL);
        subscription_free(sub);
        sub = next;
    }
}

void
eider_subscription_stats(struct eider_subscription *sub, struct eider_subscription_stats *ret_stats)
{
    pthread_mutex_lock(&sub->lock);
    *ret_stats = sub->stats;
    pthread_mutex_unlock(&sub->lock);
}

uint64_t
subscribers_missed(struct subscribers *subscribers)
{
    pthread_mutex_lock(&subscribers->lock);
    uint64_t missed = subscribers->missed_batches;
    for (struct eider_subscription *sub = subscribers->first; sub; sub = sub->next) {
        pthread_mutex_lock(&sub->lock);
        missed += sub->stats.missed_batches;
        pthread_mutex_unlock(&sub->lock);
    }
    pthread_mutex_unlock(&subscribers->lock);
    return missed;
}
