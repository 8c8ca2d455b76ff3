/* Header lists. */
#include "client/headers.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/mem.h"

void
headers_fini(struct eider_headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        mem_cleanup(&headers->items[i].name);
        mem_cleanup(&headers->items[i].value);
    }
    free(headers->items);
    *headers = (struct eider_headers){0};
}

bool
headers_valid(struct slice name, struct slice value)
{
    if (name.len == 0 || name.len + value.len > HEADER_BYTES_MAX) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '\0' || (!isalnum((unsigned char)c) && !strchr("!#$%&'*+-.^_`|~", c))) {
            return false;
        }
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

static struct eider_header *
find(const struct eider_headers *headers, struct slice name)
{
    for (size_t i = 0; i < headers->count; i++) {
        if (strlen(headers->items[i].name) == name.len &&
            slice_is_nocase(name, headers->items[i].name)) {
            return &headers->items[i];
        }
    }
    return NULL;
}

bool
headers_set(struct eider_headers *headers, struct slice name, struct slice value)
{
    struct eider_header *found = find(headers, name);

    if (!headers_valid(name, value) || (!found && headers->count == HEADERS_MAX)) {
        return false;
    }
    if (found) {
        mem_cleanup(&found->value);
        found->value = mem_strdup(value);
        return true;
    }
    headers->items = mem_resize(headers->items, headers->count + 1, sizeof(headers->items[0]));
    headers->items[headers->count++] =
        (struct eider_header){.name = mem_strdup(name), .value = mem_strdup(value)};
    return true;
}

void
headers_remove(struct eider_headers *headers, struct slice name)
{
    struct eider_header *found = find(headers, name);

    if (!found) {
        return;
    }
    size_t index = (size_t)(found - headers->items);
    mem_cleanup(&found->name);
    mem_cleanup(&found->value);
    memmove(found, found + 1, (headers->count - index - 1) * sizeof(*found));
    headers->count--;
}

bool
eider_headers_set(struct eider_headers *headers, const char *name, const char *value)
{
    if (!headers || !name) {
        return false;
    }
    if (!value) {
        headers_remove(headers, slice_of(name));
        return true;
    }
    return headers_set(headers, slice_of(name), slice_of(value));
}

const char *
headers_find(const struct eider_header *items, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_is_nocase(slice_of(items[i].name), name)) {
            return items[i].value;
        }
    }
    return NULL;
}
