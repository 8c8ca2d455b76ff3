/* A short list, searched from the front: refusals come from a few budgets for a few reasons. */
#include "api/refusals.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { COUNTS_MAX = 256 };

struct refusals {
    pthread_mutex_t lock;
    size_t used;
    struct refusal_count counts[COUNTS_MAX];
};

struct refusals *
refusals_new(void)
{
    struct refusals *refusals = mem_zalloc(1, sizeof(*refusals));

    pthread_mutex_init(&refusals->lock, NULL);
    return refusals;
}

void
refusals_free(struct refusals *refusals)
{
    if (refusals) {
        pthread_mutex_destroy(&refusals->lock);
        free(refusals);
    }
}

static struct refusal_count *
find(struct refusals *refusals, const char *budget, enum refusal_reason reason)
{
    for (size_t i = 0; i < refusals->used; i++) {
        struct refusal_count *count = &refusals->counts[i];
        if (count->reason == reason && strcmp(count->budget, budget) == 0) {
            return count;
        }
    }
    /* The last places are for what is counted together, one for each reason. */
    size_t kept = strcmp(budget, "other") == 0 ? 0 : REFUSED_INSTANCES + 1;
    if (refusals->used + kept >= COUNTS_MAX) {
        return find(refusals, "other", reason);
    }
    struct refusal_count *count = &refusals->counts[refusals->used++];
    snprintf(count->budget, sizeof(count->budget), "%s", budget);
    count->reason = reason;
    return count;
}

void
refusals_add(struct refusals *refusals, const struct refusal *refusal)
{
    pthread_mutex_lock(&refusals->lock);
    find(refusals, refusal->budget, refusal->reason)->count++;
    pthread_mutex_unlock(&refusals->lock);
}

bool
refusals_at(struct refusals *refusals, size_t index, struct refusal_count *ret_count)
{
    pthread_mutex_lock(&refusals->lock);
    bool there = index < refusals->used;
    if (there) {
        *ret_count = refusals->counts[index];
    }
    pthread_mutex_unlock(&refusals->lock);
    return there;
}
