/* An open-addressing table from addresses of names to entries; entries are never removed. */
#include "http/routes.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { PROBES = 1024, CLASSES = 6 };

struct entry {
    const char *name;
    struct hist latency_us;
    _Atomic uint64_t by_class[CLASSES];
};

/* A name's address and its entry; the entry is written before the name is. */
struct place {
    _Atomic(const char *) name;
    struct entry *entry;
};

struct http_routes {
    pthread_mutex_t lock; /* held by whoever adds */
    _Atomic size_t count;
    struct entry *entries[HTTP_ROUTES_MAX];
    size_t places_used;
    struct place places[PROBES];
};

struct http_routes *
http_routes_new(void)
{
    struct http_routes *routes = mem_zalloc(1, sizeof(*routes));

    pthread_mutex_init(&routes->lock, NULL);
    return routes;
}

void
http_routes_free(struct http_routes *routes)
{
    if (!routes) {
        return;
    }
    for (size_t i = 0; i < atomic_load(&routes->count); i++) {
        free(routes->entries[i]);
    }
    pthread_mutex_destroy(&routes->lock);
    free(routes);
}

static size_t
place_of(const char *name)
{
    return (size_t)(((uintptr_t)name * 0x9e3779b97f4a7c15ULL) >> 54) % PROBES;
}

/* The entry of an equal name, or a new one; the last place is for all that find none. */
static struct entry *
entry_of(struct http_routes *routes, const char *name)
{
    size_t count = atomic_load(&routes->count);

    if (count >= HTTP_ROUTES_MAX - 1) {
        name = "other";
    }
    for (size_t i = 0; i < count; i++) {
        if (strcmp(routes->entries[i]->name, name) == 0) {
            return routes->entries[i];
        }
    }
    struct entry *entry = mem_zalloc(1, sizeof(*entry));
    entry->name = name;
    routes->entries[count] = entry;
    atomic_store(&routes->count, count + 1);
    return entry;
}

/* The entry for this address, or NULL when it has no place yet. */
static struct entry *
find(struct http_routes *routes, const char *name)
{
    for (size_t i = place_of(name), n = 0; n < PROBES; i = (i + 1) % PROBES, n++) {
        const char *here = atomic_load_explicit(&routes->places[i].name, memory_order_acquire);
        if (here == name) {
            return routes->places[i].entry;
        }
        if (!here) {
            return NULL;
        }
    }
    return NULL;
}

static struct entry *
add(struct http_routes *routes, const char *name)
{
    pthread_mutex_lock(&routes->lock);
    struct entry *entry = find(routes, name);
    if (!entry) {
        entry = entry_of(routes, name);
        /* A table that is three quarters full stays as it is; the name is then looked up here. */
        if (routes->places_used < PROBES * 3 / 4) {
            size_t i = place_of(name);
            while (atomic_load_explicit(&routes->places[i].name, memory_order_relaxed)) {
                i = (i + 1) % PROBES;
            }
            routes->places[i].entry = entry;
            atomic_store_explicit(&routes->places[i].name, name, memory_order_release);
            routes->places_used++;
        }
    }
    pthread_mutex_unlock(&routes->lock);
    return entry;
}

void
http_routes_record(struct http_routes *routes, const char *static_name, int status,
                   int64_t latency_us)
{
    struct entry *entry = find(routes, static_name);

    if (!entry) {
        entry = add(routes, static_name);
    }
    hist_record(&entry->latency_us, latency_us);
    int class = status / 100;
    if (class > 0 && class < CLASSES) {
        atomic_fetch_add_explicit(&entry->by_class[class], 1, memory_order_relaxed);
    }
}

bool
http_routes_at(const struct http_routes *routes, size_t index, struct http_route_stats *ret_stats)
{
    if (index >= atomic_load(&routes->count)) {
        return false;
    }
    const struct entry *entry = routes->entries[index];
    ret_stats->route = entry->name;
    ret_stats->latency_us = &entry->latency_us;
    for (size_t i = 0; i < CLASSES; i++) {
        ret_stats->by_class[i] = atomic_load_explicit(&entry->by_class[i], memory_order_relaxed);
    }
    return true;
}
