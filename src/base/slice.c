/* Slices: comparing, cutting, copying. */
#include "base/slice.h"

#include <assert.h>

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool
slice_is_nocase(struct slice a, const char *text)
{
    size_t len = strlen(text);

    if (a.len != len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (lower(a.ptr[i]) != lower(text[i])) {
            return false;
        }
    }
    return true;
}

bool
slice_starts(struct slice a, const char *prefix)
{
    size_t len = strlen(prefix);

    return a.len >= len && memcmp(a.ptr, prefix, len) == 0;
}

bool
slice_ends(struct slice a, const char *suffix)
{
    size_t len = strlen(suffix);

    return a.len >= len && memcmp(a.ptr + a.len - len, suffix, len) == 0;
}

int
slice_cmp(struct slice a, struct slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;

    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

struct slice
slice_sub(struct slice a, size_t from, size_t len)
{
    if (from > a.len) {
        from = a.len;
    }
    if (len > a.len - from) {
        len = a.len - from;
    }
    return (struct slice){a.ptr + from, len};
}

static bool
blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice
slice_trim(struct slice a)
{
    while (a.len > 0 && blank(a.ptr[0])) {
        a.ptr++;
        a.len--;
    }
    while (a.len > 0 && blank(a.ptr[a.len - 1])) {
        a.len--;
    }
    return a;
}

bool
slice_split(struct slice *rest, char sep, struct slice *ret_head)
{
    const char *at = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;

    if (!at) {
        *ret_head = *rest;
        *rest = slice_sub(*rest, rest->len, 0);
        return false;
    }
    size_t head = (size_t)(at - rest->ptr);
    *ret_head = slice_sub(*rest, 0, head);
    *rest = slice_sub(*rest, head + 1, rest->len);
    return true;
}

bool
slice_to_cstr(struct slice a, char *dst, size_t size)
{
    assert(size > 0);
    if (a.len >= size) {
        dst[0] = '\0';
        return false;
    }
    if (a.len > 0) {
        memcpy(dst, a.ptr, a.len);
    }
    dst[a.len] = '\0';
    return true;
}
