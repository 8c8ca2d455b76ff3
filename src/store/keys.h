/*
 * Which keys a store has seen, in memory: uniqueness is kept here, before the append, and not by an
 * index of the database. Keys are 128-bit hashes (XXH3) of the key columns; with 2^32 keys the
 * chance of any collision is 2^-65.
 *
 *   key_map  hash -> int64 (the newest timestamp of a key, the place of a row); 24 bytes a slot
 *   key_set  low 64 bits of the hash only, for keys whose false hits merely cost time; 8 bytes
 *
 * Both are open-addressed, at most three quarters full, and refuse to grow over a bound in bytes.
 *
 * Ownership: init/fini. One thread at a time.
 */
#ifndef EIDER_STORE_KEYS_H
#define EIDER_STORE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog/batch.h"

/* Some columns of a batch, by index, in order. */
struct column_list {
    size_t count;
    uint8_t index[CATALOG_COLUMNS_MAX];
};

/* The key columns of a table, with or without its time column. */
struct column_list column_list_of_key(const struct catalog_table *table, bool with_time);

/* All columns of a table. */
struct column_list column_list_of_table(const struct catalog_table *table);

/* The columns of struct store_scan.column_mask; false for a bit behind the last column. */
bool column_list_of_mask(const struct catalog_table *table, uint64_t mask,
                         struct column_list *ret_list);

struct key_hash {
    uint64_t lo; /* never 0 */
    uint64_t hi;
};

/* Hash of the listed columns of one row; NULL is a value of its own. */
struct key_hash key_hash_row(const struct batch *batch, const struct column_list *columns,
                             size_t row);

struct key_map_slot;

struct key_map {
    struct key_map_slot *slots;
    size_t slot_count; /* 0 or a power of two */
    size_t used;
    size_t max_bytes;
};

void key_map_init(struct key_map *map, size_t max_bytes);
void key_map_fini(struct key_map *map);

/* Where the value of a key stands, until the next put or remove; NULL when the key is unknown. */
int64_t *key_map_find(const struct key_map *map, struct key_hash hash);

/* The same, adding the key with `value` when it is unknown; NULL when that needs more than
 * max_bytes. */
int64_t *key_map_put(struct key_map *map, struct key_hash hash, int64_t value, bool *ret_new);

void key_map_remove(struct key_map *map, struct key_hash hash);

struct key_set {
    uint64_t *slots; /* 0: empty */
    size_t slot_count;
    size_t used;
    size_t max_bytes;
};

void key_set_init(struct key_set *set, size_t max_bytes);
void key_set_fini(struct key_set *set);
bool key_set_has(const struct key_set *set, struct key_hash hash);

/* Adds a key; false when that needs more than max_bytes. */
bool key_set_add(struct key_set *set, struct key_hash hash);

#endif
