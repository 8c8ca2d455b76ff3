/* Targets and header fields. */
#include "gateway/forward.h"

#include <string.h>

static const char prefix[] = "/gateway";

/* Absolute form: what is behind scheme and authority. */
static struct slice
origin_form(struct slice target)
{
    const char *scheme = memmem(target.ptr, target.len, "://", 3);

    if (target.len == 0 || target.ptr[0] == '/' || !scheme) {
        return target;
    }
    size_t at = (size_t)(scheme - target.ptr) + 3;
    struct slice rest = slice_sub(target, at, target.len);
    const char *path = memchr(rest.ptr, '/', rest.len);
    return path ? slice_sub(rest, (size_t)(path - rest.ptr), rest.len) : SLICE_LITERAL("/");
}

/* One segment, "." and ".." in any spelling. */
static bool
is_dots(struct slice segment)
{
    size_t dots = 0;

    for (size_t i = 0; i < segment.len; dots++) {
        if (segment.ptr[i] == '.') {
            i++;
        } else if (segment.len - i >= 3 && segment.ptr[i] == '%' && segment.ptr[i + 1] == '2' &&
                   (segment.ptr[i + 2] | 0x20) == 'e') {
            i += 3;
        } else {
            return false;
        }
    }
    return dots == 1 || dots == 2;
}

/* Also behind an encoded slash or a backslash, which some servers take for one. */
static bool
has_dots(struct slice path)
{
    size_t start = 0;

    for (size_t i = 0; i <= path.len; i++) {
        bool encoded = i + 2 < path.len && path.ptr[i] == '%' &&
                       ((path.ptr[i + 1] == '2' && (path.ptr[i + 2] | 0x20) == 'f') ||
                        (path.ptr[i + 1] == '5' && (path.ptr[i + 2] | 0x20) == 'c'));
        bool ends = i == path.len || path.ptr[i] == '/' || path.ptr[i] == '\\' || encoded;
        if (!ends) {
            continue;
        }
        if (is_dots(slice_sub(path, start, i - start))) {
            return true;
        }
        start = i + (encoded ? 3 : 1);
    }
    return false;
}

enum err_code
forward_parse(struct slice target, struct forward_target *ret_target, struct err *err)
{
    struct slice rest = origin_form(target);
    struct slice path;
    struct forward_target parsed;

    slice_split(&rest, '?', &path);
    parsed.query = rest;
    if (!slice_starts(path, prefix)) {
        return err_set(err, ERR_NOT_FOUND, "not a path of the gateway");
    }
    path = slice_sub(path, sizeof(prefix) - 1, path.len);
    if (path.len > 0 && path.ptr[0] == '/') {
        path = slice_sub(path, 1, path.len);
    }
    const char *slash = memchr(path.ptr, '/', path.len);
    size_t name_len = slash ? (size_t)(slash - path.ptr) : path.len;
    parsed.name = slice_sub(path, 0, name_len);
    parsed.path = slice_sub(path, name_len, path.len);
    if (memchr(path.ptr, '#', path.len) || memchr(rest.ptr, '#', rest.len)) {
        return err_set(err, ERR_INVALID, "the path has a fragment (\"#\"); expected none");
    }
    if (has_dots(parsed.path)) {
        return err_set(err, ERR_INVALID,
                       "the path %.*s has a segment of dots; expected a path below the upstream's "
                       "base",
                       SLICE_FMT(slice_sub(parsed.path, 0, 200)));
    }
    *ret_target = parsed;
    return ERR_OK;
}

struct slice
forward_strip_query(struct arena *arena, struct slice query, const char *name)
{
    struct slice rest = query;
    struct slice part;
    char *text = arena_alloc(arena, query.len + 1);
    size_t len = 0;

    for (bool more = text != NULL; more;) {
        more = slice_split(&rest, '&', &part);
        struct slice value = part;
        struct slice key;
        slice_split(&value, '=', &key);
        if (part.len == 0 || slice_is(key, name)) {
            continue;
        }
        if (len > 0) {
            text[len++] = '&';
        }
        memcpy(text + len, part.ptr, part.len);
        len += part.len;
    }
    return text ? slice_make(text, len) : (struct slice){"", 0};
}

static bool
is_one_of(struct slice name, const char *const *names)
{
    for (; *names; names++) {
        if (slice_is_nocase(name, *names)) {
            return true;
        }
    }
    return false;
}

bool
forward_is_hop(struct slice name)
{
    static const char *const names[] = {"Connection",
                                        "Keep-Alive",
                                        "Proxy-Connection",
                                        "Proxy-Authenticate",
                                        "Proxy-Authorization",
                                        "TE",
                                        "Trailer",
                                        "Transfer-Encoding",
                                        "Upgrade",
                                        NULL};

    return is_one_of(name, names);
}

bool
forward_is_listed(struct slice connection, struct slice name)
{
    struct slice token;
    bool more = connection.len > 0;

    while (more) {
        more = slice_split(&connection, ',', &token);
        token = slice_trim(token);
        if (token.len == name.len && token.len > 0 &&
            strncasecmp(token.ptr, name.ptr, name.len) == 0) {
            return true;
        }
    }
    return false;
}

bool
forward_takes_request(struct slice name)
{
    static const char *const made_anew[] = {"Host", "Content-Length", "Expect", NULL};
    static const char own[] = "X-Eider-";
    bool is_own = name.len >= sizeof(own) - 1 && strncasecmp(name.ptr, own, sizeof(own) - 1) == 0;

    return !is_own && !forward_is_hop(name) && !is_one_of(name, made_anew);
}

bool
forward_takes_answer(struct slice name, struct slice value)
{
    /* Those that our server writes itself. */
    static const char *const made_anew[] = {"Content-Length", "Date", "Server", "X-Request-Id",
                                            NULL};
    static const char own[] = "X-Eider-";
    bool is_own = name.len >= sizeof(own) - 1 && strncasecmp(name.ptr, own, sizeof(own) - 1) == 0;

    if (name.len == 0 || is_own || forward_is_hop(name) || is_one_of(name, made_anew)) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool alnum = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!alnum && (c == '\0' || !strchr("!#$%&'*+-.^_`|~", c))) {
            return false;
        }
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

bool
forward_is_credential(struct slice name)
{
    static const char *const names[] = {"Authorization", "Cookie", "X-API-Key", NULL};

    return is_one_of(name, names);
}

int
forward_retry_after_s(struct slice value)
{
    int seconds = 0;

    if (value.len == 0 || value.len > 6) {
        return -1;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9') {
            return -1;
        }
        seconds = seconds * 10 + (value.ptr[i] - '0');
    }
    return seconds;
}
