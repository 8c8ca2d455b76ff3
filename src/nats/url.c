/* Reading addresses and subjects. */
#include "nats/url.h"

#include <stdio.h>
#include <string.h>

enum { PORT_MAX = 65535, PORT_DIGITS_MAX = 5, BLANK = ' ', DELETE = 0x7f };

static const char form[] = "expected nats://[user:password@]host[:port] or tls://...";

static bool
has_blank(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= BLANK || c == DELETE) {
            return true;
        }
    }
    return false;
}

static bool
is_port(struct slice text)
{
    unsigned long port = 0;

    if (text.len == 0 || text.len > PORT_DIGITS_MAX) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        port = port * 10 + (unsigned long)(text.ptr[i] - '0');
    }
    return port >= 1 && port <= PORT_MAX;
}

/* Whether it is "host", "host:port", "[::1]" or "[::1]:port". */
static bool
is_address(struct slice address)
{
    bool is_bracketed = slice_starts(address, "[");
    const char *end = memchr(address.ptr, is_bracketed ? ']' : ':', address.len);

    if (is_bracketed && !end) {
        return false;
    }
    size_t host = end ? (size_t)(end - address.ptr) : address.len;
    struct slice rest = slice_sub(address, host + is_bracketed, address.len);
    return host > is_bracketed &&
           (rest.len == 0 || (rest.ptr[0] == ':' && is_port(slice_sub(rest, 1, rest.len))));
}

static void
add_shown(struct nats_url *url, bool has_credentials, struct slice address)
{
    size_t used = strlen(url->shown);
    int len = snprintf(url->shown + used, sizeof(url->shown) - used, "%s%s%s%.*s", used ? "," : "",
                       url->is_tls ? "tls://" : "nats://", has_credentials ? "****@" : "",
                       SLICE_FMT(address));

    if ((size_t)len >= sizeof(url->shown) - used) {
        memcpy(url->shown + sizeof(url->shown) - sizeof("..."), "...", sizeof("..."));
    }
}

static enum err_code
add_server(struct nats_url *url, struct slice text, struct err *err)
{
    size_t number = url->count + 1;
    bool is_tls = slice_starts(text, "tls://");

    if (!is_tls && !slice_starts(text, "nats://")) {
        return err_set(err, ERR_INVALID, "server %zu has no scheme nats:// or tls://; %s", number,
                       form);
    }
    if (url->count > 0 && is_tls != url->is_tls) {
        return err_set(err, ERR_INVALID,
                       "server %zu has another scheme than the first; expected TLS for all or none",
                       number);
    }
    if (text.len >= NATS_SERVER_BYTES) {
        return err_set(err, ERR_INVALID, "server %zu is longer than %d bytes", number,
                       NATS_SERVER_BYTES - 1);
    }
    struct slice rest = slice_sub(text, is_tls ? 6 : 7, text.len);
    if (has_blank(rest) || memchr(rest.ptr, '/', rest.len)) {
        return err_set(err, ERR_INVALID, "server %zu has a blank or a path in it; %s", number,
                       form);
    }
    const char *at = memrchr(rest.ptr, '@', rest.len);
    struct slice address = at ? slice_sub(rest, (size_t)(at - rest.ptr) + 1, rest.len) : rest;
    if (!is_address(address)) {
        return err_set(err, ERR_INVALID, "server %zu has no host, or no port from 1 to %d; %s",
                       number, PORT_MAX, form);
    }
    url->is_tls = is_tls;
    slice_to_cstr(text, url->servers[url->count], NATS_SERVER_BYTES);
    add_shown(url, at != NULL, address);
    url->count++;
    return ERR_OK;
}

enum err_code
nats_url_parse(struct slice text, struct nats_url *ret_url, struct err *err)
{
    struct nats_url url = {0};
    struct slice rest = text;
    bool has_more = true;

    while (has_more) {
        struct slice server;
        has_more = slice_split(&rest, ',', &server);
        if (url.count == NATS_SERVERS_MAX) {
            return err_set(err, ERR_INVALID, "more than %d servers", NATS_SERVERS_MAX);
        }
        enum err_code code = add_server(&url, slice_trim(server), err);
        if (code != ERR_OK) {
            return code;
        }
    }
    *ret_url = url;
    return ERR_OK;
}

enum err_code
nats_subject_check(struct slice subject, struct err *err)
{
    struct slice shown = slice_sub(subject, 0, 100);
    bool is_word = false;

    for (size_t i = 0; i < subject.len; i++) {
        char c = subject.ptr[i];
        if (c == '*' || c == '>' || (c == '.' && !is_word)) {
            is_word = false;
            break;
        }
        is_word = c != '.';
    }
    if (!is_word || has_blank(subject) || subject.len >= NATS_SUBJECT_BYTES) {
        return err_set(err, ERR_INVALID,
                       "\"%.*s\" is no subject to publish to; expected words joined by dots, "
                       "without blanks, * and >, at most %d bytes",
                       SLICE_FMT(shown), NATS_SUBJECT_BYTES - 1);
    }
    return ERR_OK;
}
