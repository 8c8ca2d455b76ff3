/* The rule of origins. */
#include "http/origin.h"

/* Without the port that the scheme implies. */
static struct slice
without_port(struct slice host, const char *port)
{
    if (slice_ends(host, port)) {
        host.len -= strlen(port);
    }
    return host;
}

static bool
same_nocase(struct slice a, struct slice b)
{
    char text[256];

    return slice_to_cstr(b, text, sizeof(text)) && slice_is_nocase(a, text);
}

/* Browsers leave the default port out of Origin and Host alike, proxies not always. */
static bool
is_same_host(struct slice origin, struct slice host)
{
    const char *port = NULL;

    if (slice_starts(origin, "http://")) {
        origin = slice_sub(origin, 7, origin.len);
        port = ":80";
    } else if (slice_starts(origin, "https://")) {
        origin = slice_sub(origin, 8, origin.len);
        port = ":443";
    } else {
        return false;
    }
    return host.len > 0 && same_nocase(without_port(origin, port), without_port(host, port));
}

bool
http_origin_is_allowed(struct slice origin, struct slice host, const char *const *origins)
{
    for (size_t i = 0; origins && origins[i]; i++) {
        if (strcmp(origins[i], "*") == 0 || slice_is_nocase(origin, origins[i])) {
            return true;
        }
    }
    return is_same_host(origin, host);
}
