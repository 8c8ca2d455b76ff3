/* Key rotation. */
#include "client/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { HTTP_UNAUTHORIZED = 401, HTTP_FORBIDDEN = 403, HTTP_TOO_MANY = 429 };

void
keys_init(struct keys *keys, int rest_ms)
{
    *keys = (struct keys){.rest_us = (int64_t)rest_ms * 1000};
}

void
keys_fini(struct keys *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        explicit_bzero(keys->items[i].secret, strlen(keys->items[i].secret));
        free(keys->items[i].secret);
    }
    keys->count = 0;
}

bool
keys_add(struct keys *keys, const char *secret)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (strcmp(keys->items[i].secret, secret) == 0) {
            return true;
        }
    }
    if (keys->count == EIDER_BIRDEYE_KEYS_MAX) {
        return false;
    }
    struct key *key = &keys->items[keys->count++];
    *key = (struct key){.secret = mem_strdup(slice_of(secret)), .validated_at_us = -1};
    snprintf(key->label, sizeof(key->label), "key-%zu", keys->count);
    return true;
}

struct key *
keys_next(struct keys *keys, int64_t now_us, int64_t *ret_wait_us)
{
    int64_t back_at_us = INT64_MAX;

    for (size_t i = 0; i < keys->count; i++) {
        struct key *key = &keys->items[(keys->turn + i) % keys->count];
        if (key->state == EIDER_BIRDEYE_KEY_RATE_LIMITED && key->back_at_us <= now_us) {
            key->state = EIDER_BIRDEYE_KEY_ACTIVE;
        }
        if (key->state == EIDER_BIRDEYE_KEY_ACTIVE) {
            keys->turn = (keys->turn + i + 1) % keys->count;
            return key;
        }
        if (key->state == EIDER_BIRDEYE_KEY_RATE_LIMITED && key->back_at_us < back_at_us) {
            back_at_us = key->back_at_us;
        }
    }
    *ret_wait_us = back_at_us == INT64_MAX ? INT64_MAX : back_at_us - now_us;
    return NULL;
}

void
keys_result(struct keys *keys, struct key *key, int status, int64_t now_us, int64_t wall_us)
{
    key->requests++;
    key->last_used_us = wall_us;
    if (status >= 200 && status < 300) {
        key->failures_in_a_row = 0;
        return;
    }
    key->failures++;
    key->failures_in_a_row += status == HTTP_TOO_MANY || status == HTTP_FORBIDDEN ? 2 : 1;
    if (status == HTTP_TOO_MANY) {
        key->state = EIDER_BIRDEYE_KEY_RATE_LIMITED;
        key->back_at_us = keys->rest_us > 0 ? now_us + keys->rest_us : INT64_MAX;
    } else if (status == HTTP_FORBIDDEN) {
        key->state = EIDER_BIRDEYE_KEY_FORBIDDEN;
    } else if (status == HTTP_UNAUTHORIZED) {
        key->state = EIDER_BIRDEYE_KEY_UNAUTHORIZED;
    }
}

void
keys_reject(struct key *key)
{
    key->state = EIDER_BIRDEYE_KEY_UNAUTHORIZED;
}

size_t
keys_active(const struct keys *keys)
{
    size_t active = 0;

    for (size_t i = 0; i < keys->count; i++) {
        active += keys->items[i].state == EIDER_BIRDEYE_KEY_ACTIVE;
    }
    return active;
}
