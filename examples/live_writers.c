/*
 * Several threads append values, while a subscriber in the same process sees every durable batch:
 *
 *   live_writers DATA_DIR THREADS VALUES
 *
 * Each thread appends VALUES values of its own series "writer" (0: for ever) and prints
 * "ack THREAD NUMBER LSN" when one is durable: what was printed survives kill -9. At the end the
 * program prints what the subscriber heard. Exit status: 0, or 1 with the reason.
 */
#include <eider/eider.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS_MAX = 64 };

struct writer {
    struct eider_db *db;
    pthread_t thread;
    int number;
    int64_t count;
    int64_t begin_us; /* values get times of their own, so that none replaces another */
    bool failed;
};

struct heard {
    atomic_ullong rows;
    atomic_ullong missed;
    atomic_ullong last_lsn;
    atomic_ullong disorder;
};

/* On the subscription's thread; LSNs never go back. */
static void
on_batch(void *ctx, const struct eider_delivery *delivery)
{
    struct heard *heard = ctx;

    heard->rows += eider_batch_rows(delivery->batch);
    heard->missed += delivery->missed_rows;
    heard->disorder += delivery->lsn < heard->last_lsn;
    heard->last_lsn = delivery->lsn;
}

static void *
write_values(void *ctx)
{
    struct writer *writer = ctx;
    char name[16];
    struct eider_label label = {"thread", name};
    struct eider_series series = {.name = "writer", .labels = &label, .label_count = 1};
    struct eider_error error;

    snprintf(name, sizeof(name), "%d", writer->number);
    for (int64_t i = 0; writer->count == 0 || i < writer->count; i++) {
        uint64_t lsn;
        if (eider_append_metric(writer->db, &series, writer->begin_us + i, (double)i, &lsn,
                                &error) != EIDER_OK) {
            fprintf(stderr, "%s\n", error.message);
            writer->failed = true;
            break;
        }
        char line[64];
        int len = snprintf(line, sizeof(line), "ack %d %" PRId64 " %" PRIu64 "\n", writer->number,
                           writer->begin_us + i, lsn);
        fwrite(line, 1, (size_t)len, stdout); /* whole lines: stdio locks */
    }
    return NULL;
}

/* Behind the newest value there is, so that a new run adds to an old one. */
static int64_t
first_time(struct eider_db *db)
{
    const struct eider_query query = {.sql = "SELECT max(\"timestamp\") AS newest FROM samples"};
    struct eider_batch *batch;
    int64_t first = INT64_C(1700000000000000);

    if (eider_query(db, &query, &batch, NULL) == EIDER_OK) {
        if (!eider_batch_is_null(batch, 0, 0)) {
            first = eider_batch_i64(batch, 0, 0) + 1;
        }
        eider_batch_free(batch);
    }
    return first;
}

static bool
run(struct eider_db *db, int threads, int64_t count)
{
    static struct writer writers[THREADS_MAX];
    int64_t begin_us = first_time(db);
    bool good = true;

    for (int i = 0; i < threads; i++) {
        writers[i] = (struct writer){.db = db, .number = i, .count = count, .begin_us = begin_us};
        if (pthread_create(&writers[i].thread, NULL, write_values, &writers[i]) != 0) {
            threads = i;
            good = false;
        }
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(writers[i].thread, NULL);
        good = good && !writers[i].failed;
    }
    return good;
}

int
main(int argc, char **argv)
{
    struct heard heard = {0};
    struct eider_options options = {.data_dir = argc == 4 ? argv[1] : NULL};
    struct eider_subscribe_options wanted = {
        .metric_name = "writer", .fn = on_batch, .ctx = &heard};
    struct eider_subscription *subscription;
    struct eider_subscription_stats stats;
    struct eider_error error;
    struct eider_db *db;

    int threads = argc == 4 ? atoi(argv[2]) : 0;
    if (threads < 1 || threads > THREADS_MAX) {
        fprintf(stderr, "usage: %s DATA_DIR THREADS VALUES (1 to %d threads)\n", argv[0],
                THREADS_MAX);
        return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0); /* a line that was read was acknowledged */
    if (eider_open(&options, &db, &error) != EIDER_OK ||
        eider_subscribe(db, &wanted, &subscription, &error) != EIDER_OK) {
        fprintf(stderr, "%s: %s\n", eider_status_name(error.status), error.message);
        return 1;
    }
    bool good = run(db, threads, atoll(argv[3]));
    do { /* what is queued is heard before it ends */
        eider_subscription_stats(subscription, &stats);
    } while (stats.queued_batches > 0);
    eider_unsubscribe(subscription);
    eider_close(db);
    printf("heard %llu rows, missed %llu, out of order %llu\n", (unsigned long long)heard.rows,
           (unsigned long long)heard.missed, (unsigned long long)heard.disorder);
    return good ? 0 : 1;
}
