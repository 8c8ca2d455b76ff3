/* Arenas: a list of blocks, each twice the size of the one before. */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

enum { ARENA_ALIGN = 16, ARENA_FIRST_BYTES = 4096, ARENA_BLOCK_MAX_BYTES = 1 << 20 };

struct arena_block {
    struct arena_block *next;
    size_t cap;
    size_t used;
    char *data;
    bool borrowed; /* the caller's memory */
};

void
arena_init(struct arena *arena, size_t max_bytes)
{
    *arena = (struct arena){.max_bytes = max_bytes};
}

static void
free_blocks(struct arena_block *block)
{
    while (block) {
        struct arena_block *next = block->next;
        if (!block->borrowed) {
            free(block);
        }
        block = next;
    }
}

void
arena_fini(struct arena *arena)
{
    free_blocks(arena->head);
    arena->head = NULL;
    arena->used_bytes = 0;
}

void
arena_reset(struct arena *arena)
{
    if (arena->head) {
        free_blocks(arena->head->next);
        arena->head->next = NULL;
        arena->head->used = 0;
    }
    arena->used_bytes = 0;
    arena->overflow = false;
}

/* The first aligned byte behind a block's head. */
static char *
data_of(struct arena_block *block)
{
    char *data = (char *)(block + 1);
    size_t past = (uintptr_t)data % ARENA_ALIGN;

    return data + (past > 0 ? ARENA_ALIGN - past : 0);
}

static void
add_block(struct arena *arena, size_t need)
{
    size_t cap = arena->head ? arena->head->cap * 2 : ARENA_FIRST_BYTES;

    if (cap < ARENA_FIRST_BYTES) {
        cap = ARENA_FIRST_BYTES;
    }
    if (cap > ARENA_BLOCK_MAX_BYTES) {
        cap = ARENA_BLOCK_MAX_BYTES;
    }
    if (cap < need) {
        cap = need;
    }
    struct arena_block *block = mem_alloc(sizeof(*block) + ARENA_ALIGN + cap);
    *block = (struct arena_block){.next = arena->head, .cap = cap, .data = data_of(block)};
    arena->head = block;
}

void
arena_init_with(struct arena *arena, size_t max_bytes, void *memory, size_t size)
{
    struct arena_block *block = memory;

    assert(size >= ARENA_MEMORY_MIN && (uintptr_t)memory % _Alignof(struct arena_block) == 0);
    arena_init(arena, max_bytes);
    char *data = data_of(block);
    size_t cap = (size_t)((char *)memory + size - data) & ~(size_t)(ARENA_ALIGN - 1);
    *block = (struct arena_block){.cap = cap, .data = data, .borrowed = true};
    arena->head = block;
}

void *
arena_alloc(struct arena *arena, size_t size)
{
    /* Rounding up must not wrap round. */
    if (size > arena->max_bytes || size > SIZE_MAX - ARENA_ALIGN) {
        arena->overflow = true;
        return NULL;
    }
    size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    if (arena->overflow || size > arena->max_bytes - arena->used_bytes) {
        arena->overflow = true;
        return NULL;
    }
    if (!arena->head || size > arena->head->cap - arena->head->used) {
        add_block(arena, size);
    }
    struct arena_block *block = arena->head;
    void *ptr = block->data + block->used;
    block->used += size;
    arena->used_bytes += size;
    return ptr;
}

void *
arena_zalloc(struct arena *arena, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total)) {
        arena->overflow = true;
        return NULL;
    }
    void *ptr = arena_alloc(arena, total);
    if (ptr) {
        memset(ptr, 0, total);
    }
    return ptr;
}

struct slice
arena_dup(struct arena *arena, struct slice text)
{
    char *copy = arena_alloc(arena, text.len + 1);

    if (!copy) {
        return (struct slice){"", 0};
    }
    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    copy[text.len] = '\0';
    return (struct slice){copy, text.len};
}

const char *
arena_fmt(struct arena *arena, const char *fmt, ...)
{
    va_list ap;
    va_list again;

    va_start(ap, fmt);
    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
    if (text) {
        vsnprintf(text, (size_t)len + 1, fmt, again);
    }
    va_end(again);
    return text ? text : "";
}
