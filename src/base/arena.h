/*
 * An arena for data that lives as long as one request or one batch: allocate freely, free once.
 * Past its cap an allocation returns NULL and `overflow` sticks.
 *
 * Ownership: init/fini. One thread at a time.
 */
#ifndef EIDER_BASE_ARENA_H
#define EIDER_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t used_bytes; /* of all blocks */
    size_t max_bytes;
    bool overflow;
};

/* Prepares an arena that may hold max_bytes in all. Allocates nothing yet. */
void arena_init(struct arena *arena, size_t max_bytes);

/* The same, with memory of the caller's to begin with, of at least ARENA_MEMORY_MIN bytes, that
 * outlives the arena: what fits there costs no allocation. */
enum { ARENA_MEMORY_MIN = 128 };
void arena_init_with(struct arena *arena, size_t max_bytes, void *memory, size_t size);

/* Frees all of it. */
void arena_fini(struct arena *arena);

/* Forgets everything allocated, keeps one block for reuse. */
void arena_reset(struct arena *arena);

/* Returns `size` bytes aligned for any type, or NULL (and overflow set) over the cap. */
void *arena_alloc(struct arena *arena, size_t size);

/* arena_alloc of count * size zeroed bytes. */
void *arena_zalloc(struct arena *arena, size_t count, size_t size);

/* Copies bytes into the arena, with a NUL behind that the slice does not count. Over the cap the
 * answer is the empty slice. */
struct slice arena_dup(struct arena *arena, struct slice text);

/* Formats into the arena; over the cap the answer is "". */
const char *arena_fmt(struct arena *arena, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

#define ARENA_AUTO __attribute__((cleanup(arena_fini)))

#endif
