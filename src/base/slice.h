/*
 * A slice is a borrowed run of bytes, passed by value; it owns nothing and need not end in NUL.
 * Every string from outside travels as a slice.
 */
#ifndef EIDER_BASE_SLICE_H
#define EIDER_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *ptr;
    size_t len;
};

#define SLICE_LITERAL(text)                                                                        \
    (struct slice)                                                                                 \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

/* For printf's "%.*s". */
#define SLICE_FMT(s) (int)(s).len, (s).ptr

/* The bytes of a C string without its NUL; NULL gives the empty slice. */
static inline struct slice
slice_of(const char *text)
{
    return (struct slice){text ? text : "", text ? strlen(text) : 0};
}

static inline struct slice
slice_make(const void *ptr, size_t len)
{
    return (struct slice){(const char *)ptr, len};
}

static inline bool
slice_eq(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool
slice_is(struct slice a, const char *text)
{
    return slice_eq(a, slice_of(text));
}

/* Equal but for the case of ASCII letters. */
bool slice_is_nocase(struct slice a, const char *text);

bool slice_starts(struct slice a, const char *prefix);
bool slice_ends(struct slice a, const char *suffix);

/* Orders like memcmp, the shorter first among equals. */
int slice_cmp(struct slice a, struct slice b);

/* Takes bytes [from, from + len) of `a`, cut at its end. */
struct slice slice_sub(struct slice a, size_t from, size_t len);

/* Without the blanks (space, tab, CR, LF) at both ends. */
struct slice slice_trim(struct slice a);

/*
 * Cuts at the first `sep`: *ret_head gets what is before it and `rest` what is behind it. False,
 * with *ret_head the whole and `rest` empty, when there is no `sep`.
 */
bool slice_split(struct slice *rest, char sep, struct slice *ret_head);

/* Copies into `dst` of `size` bytes with a NUL behind; false, with dst empty, if it does not fit.
 */
bool slice_to_cstr(struct slice a, char *dst, size_t size);

#endif
