/*
 * Heap memory. Out of memory aborts here, in one place, with a line on standard error; whatever is
 * sized by input has a cap of its own long before (see buf.h, arena.h).
 */
#ifndef EIDER_BASE_MEM_H
#define EIDER_BASE_MEM_H

#include <stddef.h>
#include <stdlib.h>

#include "base/slice.h"

/* Allocates `size` bytes, not cleared; size 0 gives a unique pointer. The caller frees. */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));

/* Allocates count * size bytes of zeros; overflow of the product aborts too. */
void *mem_zalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* Grows or shrinks to count * size bytes, keeping the contents. */
void *mem_resize(void *ptr, size_t count, size_t size) __attribute__((returns_nonnull));

/* Copies a slice to the heap with a NUL behind. */
char *mem_strdup(struct slice text) __attribute__((malloc, returns_nonnull));

/* For __attribute__((cleanup(mem_cleanup))) on a pointer variable. */
void mem_cleanup(void *pointer_to_pointer);

#define MEM_AUTO __attribute__((cleanup(mem_cleanup)))

#endif
