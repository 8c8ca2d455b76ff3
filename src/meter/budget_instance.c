/* Instances: the counters of a budget, one for each combination of its "*" values. */
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

#include "base/mem.h"
#include "meter/budget_private.h"

enum { FIRST_BUCKETS = 256, EVICT_TRIES = 64 };

bool
budget_matches(const struct budget_def *def, const struct call_scope *scope)
{
    for (size_t i = 0; i < DIM_COUNT; i++) {
        if (!def->has_value[i]) {
            continue;
        }
        if (budget_is_each(def, i)) {
            if (scope->values[i].len == 0) {
                return false;
            }
        } else if (i == DIM_API ? !slice_is_nocase(scope->values[i], def->value[i])
                                : !slice_is(scope->values[i], def->value[i])) {
            return false;
        }
    }
    return true;
}

/* At most BUDGET_VALUE_MAX bytes, and whole characters: instances are written into the log. */
static struct slice
cut_value(struct slice value)
{
    size_t len = value.len < BUDGET_VALUE_MAX ? value.len : BUDGET_VALUE_MAX;

    while (len > 0 && len < value.len && ((unsigned char)value.ptr[len] & 0xC0) == 0x80) {
        len--;
    }
    return slice_sub(value, 0, len);
}

/* "api=birdeye,run_id=r1"; values beyond BUDGET_VALUE_MAX are cut. */
static struct slice
make_key(const struct budget_def *def, const struct call_scope *scope,
         char out[BUDGET_INSTANCE_MAX])
{
    size_t len = 0;

    out[0] = '\0';
    for (size_t i = 0; i < DIM_COUNT; i++) {
        if (!budget_is_each(def, i)) {
            continue;
        }
        struct slice value = cut_value(scope->values[i]);
        struct slice name = slice_of(budget_dimension_name((enum budget_dimension)i));
        assert(len + name.len + value.len + 3 <= BUDGET_INSTANCE_MAX);
        if (len > 0) {
            out[len++] = ',';
        }
        memcpy(out + len, name.ptr, name.len);
        len += name.len;
        out[len++] = '=';
        memcpy(out + len, value.ptr, value.len);
        len += value.len;
        out[len] = '\0';
    }
    return slice_make(out, len);
}

static uint64_t
hash_of(const struct budgets *budgets, const struct budget *budget, struct slice key)
{
    return XXH3_64bits_withSeed(key.ptr, key.len, (uint64_t)(budget - budgets->all) + 1);
}

static void
grow_buckets(struct budgets *budgets)
{
    size_t count = budgets->bucket_count ? budgets->bucket_count * 2 : FIRST_BUCKETS;

    free(budgets->buckets);
    budgets->buckets = mem_zalloc(count, sizeof(struct budget_instance *));
    budgets->bucket_count = count;
    for (size_t i = 0; i < budgets->live_count; i++) {
        struct budget_instance *instance = budgets->live[i];
        struct budget_instance **bucket = &budgets->buckets[instance->hash & (count - 1)];
        instance->next = *bucket;
        *bucket = instance;
    }
}

static void
push(struct budget_instance ***list, size_t *count, size_t *capacity,
     struct budget_instance *instance)
{
    if (*count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 16;
        *list = mem_resize(*list, *capacity, sizeof(struct budget_instance *));
    }
    instance->index = *count;
    (*list)[(*count)++] = instance;
}

/* Looks at a few instances for one that counts nothing, and frees it. */
static bool
evict(struct budgets *budgets, int64_t now_us)
{
    for (size_t i = 0; i < EVICT_TRIES && i < budgets->live_count; i++) {
        budgets->evict_at = (budgets->evict_at + 1) % budgets->live_count;
        struct budget_instance *instance = budgets->live[budgets->evict_at];
        instance_refresh(budgets, instance, now_us);
        if (instance->window.entries == 0 && instance->holds == 0 && instance->key[0] != '\0' &&
            instance->state == BREAKER_CLOSED) {
            instance_free(budgets, instance);
            return true;
        }
    }
    return false;
}

static struct budget_instance *
make_instance(struct budgets *budgets, struct budget *budget, struct slice key, uint64_t hash,
              int64_t now_us)
{
    struct budget_instance *instance;

    if (budgets->live_count >= budgets->options.instances_max && !evict(budgets, now_us)) {
        return NULL;
    }
    if (budgets->live_count >= budgets->bucket_count) {
        grow_buckets(budgets);
    }
    if (budgets->spare_count > 0) {
        instance = budgets->spare[--budgets->spare_count];
    } else {
        instance = mem_zalloc(1, sizeof(*instance));
    }
    *instance = (struct budget_instance){.budget = budget,
                                         .key = mem_strdup(key),
                                         .hash = hash,
                                         .generation = ++budgets->generation,
                                         .pause_until_us = INT64_MIN};
    window_init(&instance->window, budgets->options.window_entries_max);
    push(&budgets->live, &budgets->live_count, &budgets->live_capacity, instance);
    struct budget_instance **bucket = &budgets->buckets[hash & (budgets->bucket_count - 1)];
    instance->next = *bucket;
    *bucket = instance;
    return instance;
}

struct budget_instance *
instance_by_key(struct budgets *budgets, struct budget *budget, struct slice key, bool make,
                int64_t now_us)
{
    uint64_t hash = hash_of(budgets, budget, key);

    if (budgets->bucket_count > 0) {
        struct budget_instance *instance = budgets->buckets[hash & (budgets->bucket_count - 1)];
        for (; instance; instance = instance->next) {
            if (instance->hash == hash && instance->budget == budget &&
                slice_is(key, instance->key)) {
                return instance;
            }
        }
    }
    return make ? make_instance(budgets, budget, key, hash, now_us) : NULL;
}

struct budget_instance *
instance_of(struct budgets *budgets, struct budget *budget, const struct call_scope *scope,
            bool make, int64_t now_us)
{
    char text[BUDGET_INSTANCE_MAX];

    if (budget->single) {
        return budget->single;
    }
    return instance_by_key(budgets, budget, make_key(&budget->def, scope, text), make, now_us);
}

void
instance_free(struct budgets *budgets, struct budget_instance *instance)
{
    struct budget_instance **at = &budgets->buckets[instance->hash & (budgets->bucket_count - 1)];

    while (*at != instance) {
        at = &(*at)->next;
    }
    *at = instance->next;
    struct budget_instance *last = budgets->live[--budgets->live_count];
    budgets->live[instance->index] = last;
    last->index = instance->index;
    window_fini(&instance->window);
    free(instance->key);
    *instance = (struct budget_instance){.generation = ++budgets->generation};
    push(&budgets->spare, &budgets->spare_count, &budgets->spare_capacity, instance);
}

void
instances_of_budget_free(struct budgets *budgets, const struct budget *budget)
{
    for (size_t i = budgets->live_count; i > 0; i--) {
        if (budgets->live[i - 1]->budget == budget) {
            instance_free(budgets, budgets->live[i - 1]);
        }
    }
}
