/* Decoding of paths and queries. */
#include "http/uri.h"

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that "%xy" at the start of `text` stands for, or -1. */
static int
encoded_byte(struct slice text)
{
    if (text.len < 3 || text.ptr[0] != '%') {
        return -1;
    }
    int high = hex_value(text.ptr[1]);
    int low = hex_value(text.ptr[2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool
http_path_decode(struct arena *arena, struct slice path, struct slice *ret_decoded)
{
    if (path.len == 0 || !memchr(path.ptr, '%', path.len)) {
        *ret_decoded = path;
        return true;
    }
    char *to = arena_alloc(arena, path.len);
    size_t len = 0;
    if (!to) {
        return false;
    }
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] != '%') {
            to[len++] = path.ptr[i];
            continue;
        }
        int byte = encoded_byte(slice_sub(path, i, 3));
        if (byte <= 0) {
            return false;
        }
        to[len++] = (char)byte;
        i += 2;
    }
    *ret_decoded = slice_make(to, len);
    return true;
}

static bool
decode_part(struct arena *arena, struct slice part, struct slice *ret_decoded)
{
    bool plain =
        part.len == 0 || (!memchr(part.ptr, '%', part.len) && !memchr(part.ptr, '+', part.len));

    if (plain) {
        *ret_decoded = part;
        return true;
    }
    char *to = arena_alloc(arena, part.len);
    size_t len = 0;
    if (!to) {
        return false;
    }
    for (size_t i = 0; i < part.len; i++) {
        int byte = encoded_byte(slice_sub(part, i, 3));
        if (byte >= 0) {
            to[len++] = (char)byte;
            i += 2;
        } else {
            to[len++] = part.ptr[i] == '+' ? ' ' : part.ptr[i];
        }
    }
    *ret_decoded = slice_make(to, len);
    return true;
}

static size_t
count_parts(struct slice query)
{
    size_t count = 1;

    for (size_t i = 0; i < query.len; i++) {
        count += query.ptr[i] == '&';
    }
    return count;
}

bool
http_query_decode(struct arena *arena, struct slice query, struct http_param **ret_params,
                  size_t *ret_count)
{
    size_t count = 0;
    bool more = query.len > 0;
    struct http_param *params = NULL;

    if (more) {
        params = arena_alloc(arena, count_parts(query) * sizeof(*params));
        if (!params) {
            return false;
        }
    }
    while (more) {
        struct slice part;
        struct slice name;
        more = slice_split(&query, '&', &part);
        if (part.len == 0) {
            continue;
        }
        slice_split(&part, '=', &name);
        if (!decode_part(arena, name, &params[count].name) ||
            !decode_part(arena, part, &params[count].value)) {
            return false;
        }
        count++;
    }
    *ret_params = params;
    *ret_count = count;
    return true;
}
