/*
 * Rows a second: a bucket that holds two seconds' rows. What a request brings shows only when it
 * was decoded, so it is taken afterwards, and a large one leaves a debt that later ones wait for.
 */
#include <pthread.h>
#include <stdlib.h>

#include "api/api_private.h"
#include "base/mem.h"

enum { BURST_S = 2, US_PER_S = 1000000, WAIT_S_MAX = 60 };

struct rate_limit {
    uint64_t rows_per_second;
    pthread_mutex_t lock;
    double room; /* rows; below 0: a debt */
    int64_t at_us;
};

struct rate_limit *
rate_limit_new(uint64_t rows_per_second)
{
    if (rows_per_second == 0) {
        return NULL;
    }
    struct rate_limit *limit = mem_zalloc(1, sizeof(*limit));
    limit->rows_per_second = rows_per_second;
    limit->room = (double)rows_per_second * BURST_S;
    limit->at_us = INT64_MIN;
    pthread_mutex_init(&limit->lock, NULL);
    return limit;
}

void
rate_limit_free(struct rate_limit *limit)
{
    if (limit) {
        pthread_mutex_destroy(&limit->lock);
        free(limit);
    }
}

static void
refill(struct rate_limit *limit, int64_t now_us)
{
    double most = (double)limit->rows_per_second * BURST_S;

    if (limit->at_us != INT64_MIN && now_us > limit->at_us) {
        limit->room += (double)(now_us - limit->at_us) / US_PER_S * (double)limit->rows_per_second;
    }
    limit->room = limit->room > most ? most : limit->room;
    limit->at_us = now_us;
}

bool
rate_limit_allows(struct rate_limit *limit, int64_t now_us, int *ret_retry_after_s)
{
    if (!limit) {
        return true;
    }
    pthread_mutex_lock(&limit->lock);
    refill(limit, now_us);
    double room = limit->room;
    pthread_mutex_unlock(&limit->lock);
    if (room > 0) {
        return true;
    }
    double wait_s = -room / (double)limit->rows_per_second;
    *ret_retry_after_s = wait_s < WAIT_S_MAX ? (int)wait_s + 1 : WAIT_S_MAX;
    return false;
}

void
rate_limit_count(struct rate_limit *limit, int64_t now_us, uint64_t rows)
{
    if (limit) {
        pthread_mutex_lock(&limit->lock);
        refill(limit, now_us);
        limit->room -= (double)rows;
        pthread_mutex_unlock(&limit->lock);
    }
}

uint64_t
rate_limit_rows(const struct rate_limit *limit)
{
    return limit ? limit->rows_per_second : 0;
}
