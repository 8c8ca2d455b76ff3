/* Heap memory that never returns NULL. */
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>

static void *
checked(void *ptr, size_t size)
{
    if (!ptr) {
        fprintf(stderr, "eider: out of memory (%zu bytes wanted)\n", size);
        abort();
    }
    return ptr;
}

void *
mem_alloc(size_t size)
{
    return checked(malloc(size ? size : 1), size);
}

void *
mem_zalloc(size_t count, size_t size)
{
    return checked(calloc(count ? count : 1, size ? size : 1), size);
}

void *
mem_resize(void *ptr, size_t count, size_t size)
{
    size_t total;

    if (__builtin_mul_overflow(count, size, &total)) {
        total = SIZE_MAX;
    }
    return checked(realloc(ptr, total ? total : 1), total);
}

char *
mem_strdup(struct slice text)
{
    char *copy = mem_alloc(text.len + 1);

    if (text.len > 0) {
        memcpy(copy, text.ptr, text.len);
    }
    copy[text.len] = '\0';
    return copy;
}

void
mem_cleanup(void *pointer_to_pointer)
{
    void *ptr;

    memcpy(&ptr, pointer_to_pointer, sizeof(ptr));
    free(ptr);
}
