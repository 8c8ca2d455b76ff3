/* Path patterns, and the paths that they are held against. */
#include <string.h>

#include "meter/price_internal.h"

/* Matches by remembering the last star of each kind: when a later part does not fit, the inner star
 * takes one more byte, then the outer one. Quadratic at worst for each kind of star. */
bool
price_glob(const char *pattern, struct slice path)
{
    const char *one = NULL; /* behind the last '*', and how far it reaches */
    size_t one_at = 0;
    const char *any = NULL; /* the same of the last "**" */
    size_t any_at = 0;
    size_t at = 0;

    for (;;) {
        if (pattern[0] == '*' && pattern[1] == '*') {
            pattern += 2;
            any = pattern;
            any_at = at;
            one = NULL;
        } else if (pattern[0] == '*') {
            one = ++pattern;
            one_at = at;
        } else if (*pattern && at < path.len && *pattern == path.ptr[at]) {
            pattern++;
            at++;
        } else if (!*pattern && at == path.len) {
            return true;
        } else if (one && one_at < path.len && path.ptr[one_at] != '/') {
            pattern = one;
            at = ++one_at;
        } else if (any && any_at < path.len) {
            pattern = any;
            at = ++any_at;
            one = NULL;
        } else {
            return false;
        }
    }
}

/* Reads one element of a pattern: a byte, 1 for '*', 2 for "**"; 0 at the end. */
static int
element(const char **pattern)
{
    const char *at = *pattern;
    int stars = 0;

    if (*at != '*') {
        *pattern += *at != '\0';
        return (unsigned char)*at;
    }
    for (; *at == '*'; at++) {
        stars++;
    }
    *pattern = at;
    return stars > 1 ? 2 : 1;
}

/* The same with a pattern for a path: a star of `narrow` is a letter that only a star as wide, or
 * wider, can take. */
bool
price_glob_covers(const char *wide, const char *narrow)
{
    enum { STAR = 1, STARS = 2 };
    const char *one = NULL;
    const char *one_at = NULL;
    const char *any = NULL;
    const char *any_at = NULL;

    for (;;) {
        const char *wide_next = wide;
        const char *narrow_next = narrow;
        int w = element(&wide_next);
        int n = element(&narrow_next);
        if (w == STARS) {
            wide = any = wide_next;
            any_at = narrow;
            one = NULL;
        } else if (w == STAR) {
            wide = one = wide_next;
            one_at = narrow;
        } else if (w != 0 && w == n) {
            wide = wide_next;
            narrow = narrow_next;
        } else if (w == 0 && n == 0) {
            return true;
        } else if (one && *one_at && *one_at != '/' && !(one_at[0] == '*' && one_at[1] == '*')) {
            element(&one_at);
            wide = one;
            narrow = one_at;
        } else if (any && *any_at) {
            element(&any_at);
            wide = any;
            narrow = any_at;
            one = NULL;
        } else {
            return false;
        }
    }
}

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes "scheme://host" off, and what is behind '?' or '#'. */
static struct slice
only_path(struct slice text)
{
    const char *scheme = text.len > 0 ? memmem(text.ptr, text.len, "://", 3) : NULL;
    const char *slash = text.len > 0 ? memchr(text.ptr, '/', text.len) : NULL;
    size_t end = 0;

    if (scheme && slash == scheme + 1) {
        struct slice rest = slice_sub(text, (size_t)(scheme - text.ptr) + 3, text.len);
        const char *root = memchr(rest.ptr, '/', rest.len);
        text = root ? slice_sub(rest, (size_t)(root - rest.ptr), rest.len) : SLICE_LITERAL("/");
    }
    while (end < text.len && text.ptr[end] != '?' && text.ptr[end] != '#') {
        end++;
    }
    return slice_sub(text, 0, end);
}

/* Ends a segment: drops ".", and with ".." the segment before. `root` is where the path begins. */
static void
end_segment(struct buf *out, size_t root)
{
    size_t start = out->len;

    while (start > root && out->ptr[start - 1] != '/') {
        start--;
    }
    struct slice segment = slice_make(out->ptr + start, out->len - start);
    if (slice_is(segment, ".")) {
        out->len = start;
    } else if (slice_is(segment, "..")) {
        out->len = start;
        if (out->len > root + 1) {
            out->len--;
            while (out->len > root + 1 && out->ptr[out->len - 1] != '/') {
                out->len--;
            }
        }
    }
}

void
price_path_clean(struct slice path, struct buf *out)
{
    size_t root = out->len;

    path = only_path(path);
    buf_add_char(out, '/');
    for (size_t i = 0; i < path.len && !out->overflow; i++) {
        char c = path.ptr[i];
        if (c == '%' && i + 2 < path.len && hex_digit(path.ptr[i + 1]) >= 0 &&
            hex_digit(path.ptr[i + 2]) >= 0) {
            c = (char)(hex_digit(path.ptr[i + 1]) * 16 + hex_digit(path.ptr[i + 2]));
            i += 2;
        }
        if (c != '/') {
            buf_add_char(out, c);
            continue;
        }
        end_segment(out, root);
        if (out->ptr[out->len - 1] != '/') {
            buf_add_char(out, '/');
        }
    }
    end_segment(out, root);
    if (out->len > root + 1 && out->ptr[out->len - 1] == '/') {
        out->len--;
    }
}
