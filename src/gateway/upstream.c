/* Upstreams: their options copied and checked. */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "gateway/gateway_private.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    TIMEOUT_MS = 30000,
    IDLE_TIMEOUT_MS = 60000,
    RETRY_DELAY_MS = 250,
    RETRY_DELAY_MAX_MS = 10000,
};

static char *
copy(const char *text)
{
    return text ? mem_strdup(slice_of(text)) : NULL;
}

static bool
is_name(const char *text)
{
    size_t len = strlen(text);

    return len > 0 && len <= GATEWAY_NAME_MAX &&
           strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") ==
               len &&
           strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

/* The host of a URL that check_url has taken. */
static struct slice
host_of(const char *url)
{
    struct slice rest = slice_of(strstr(url, "://") + 3);
    struct slice authority;
    struct slice host;

    slice_split(&rest, '/', &authority);
    if (authority.len > 0 && authority.ptr[0] == '[') {
        const char *end = memchr(authority.ptr, ']', authority.len);
        return end ? slice_sub(authority, 0, (size_t)(end - authority.ptr) + 1) : authority;
    }
    slice_split(&authority, ':', &host);
    return host;
}

static enum err_code
check_url(const char *name, const char *url, struct err *err)
{
    bool known = strncasecmp(url, "http://", 7) == 0 || strncasecmp(url, "https://", 8) == 0;

    if (!known || host_of(url).len == 0 || strpbrk(url, "?#@ \t\r\n")) {
        /* A URL with a user in it holds a secret, so it is not shown. */
        bool show = strpbrk(url, "?#@") == NULL;
        return err_set(err, ERR_USAGE,
                       "upstream %s: base_url is \"%.200s\"; expected http://HOST[:PORT][/PATH] or "
                       "https://..., without user, query or fragment",
                       name, show ? url : "****");
    }
    return ERR_OK;
}

static enum err_code
check_headers(const struct gateway_upstream *options, struct err *err)
{
    for (size_t i = 0; i < options->header_count; i++) {
        const char *field = options->headers[i].name;
        struct slice name = slice_of(field);
        struct slice value = slice_of(options->headers[i].value);
        if (!forward_takes_answer(name, value) || !forward_takes_request(name)) {
            return err_set(err, ERR_USAGE,
                           "upstream %s: the header \"%s\" cannot be added; expected a name and a "
                           "value without line ends, and none of Host, Content-Length and the like",
                           options->name, field);
        }
    }
    return ERR_OK;
}

enum err_code
gateway_check(const struct gateway_upstream *options, struct err *err)
{
    if (!options->name || !is_name(options->name)) {
        return err_set(err, ERR_USAGE,
                       "upstream \"%s\": expected a name of 1 to %d of A-Z a-z 0-9 . _ -",
                       options->name ? options->name : "", GATEWAY_NAME_MAX);
    }
    if (!options->base_url || options->base_url[0] == '\0') {
        return err_set(err, ERR_USAGE, "upstream %s: base_url is missing; expected a URL",
                       options->name);
    }
    enum err_code code = check_url(options->name, options->base_url, err);
    if (code == ERR_OK) {
        code = check_headers(options, err);
    }
    return code;
}

enum err_code
upstream_init(struct upstream *upstream, const struct gateway_upstream *options, struct err *err)
{
    enum err_code code = gateway_check(options, err);

    if (code != ERR_OK) {
        return code;
    }
    struct gateway_upstream *own = &upstream->options;
    *own = *options;
    own->name = copy(options->name);
    char *url = copy(options->base_url);
    for (size_t len = strlen(url); len > 0 && url[len - 1] == '/'; len--) {
        url[len - 1] = '\0';
    }
    own->base_url = url;
    own->api_name = copy(options->api_name ? options->api_name : options->name);
    own->ca_file = copy(options->ca_file);
    for (size_t i = 0; i < own->header_count; i++) {
        own->headers[i].name = copy(options->headers[i].name);
        own->headers[i].value = copy(options->headers[i].value);
    }
    own->connect_timeout_ms =
        own->connect_timeout_ms ? own->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    own->timeout_ms = own->timeout_ms ? own->timeout_ms : TIMEOUT_MS;
    own->idle_timeout_ms = own->idle_timeout_ms ? own->idle_timeout_ms : IDLE_TIMEOUT_MS;
    own->retry_delay_ms = own->retry_delay_ms ? own->retry_delay_ms : RETRY_DELAY_MS;
    own->retry_delay_max_ms =
        own->retry_delay_max_ms ? own->retry_delay_max_ms : RETRY_DELAY_MAX_MS;
    own->retries = own->retries > GATEWAY_RETRIES_MAX ? GATEWAY_RETRIES_MAX : own->retries;
    breaker_init(&upstream->breaker, &options->breaker);
    struct slice host = host_of(own->base_url);
    upstream->is_local =
        slice_is_nocase(host, "localhost") || slice_is(host, "[::1]") || slice_starts(host, "127.");
    return ERR_OK;
}

static void
free_text(const char *text)
{
    char *own;

    memcpy(&own, &text, sizeof(own));
    free(own);
}

void
upstream_fini(struct upstream *upstream)
{
    struct gateway_upstream *own = &upstream->options;

    free_text(own->name);
    free_text(own->base_url);
    free_text(own->api_name);
    free_text(own->ca_file);
    for (size_t i = 0; i < own->header_count; i++) {
        free_text(own->headers[i].name);
        free_text(own->headers[i].value);
    }
}
