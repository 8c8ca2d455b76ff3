/*
 * The way to the metering reverse proxy: who may use it, and which of the credentials in a request
 * are Eider's own. All methods of all paths below /gateway come here, before the table of routes.
 */
#include "gateway/gateway.h"

#include "api/api_private.h"
#include "http/origin.h"

static const struct route route = {.path = "/gateway/{upstream}/{path}", .flags = ROUTE_SPEND};

static bool
is_bearer(struct slice value)
{
    return value.len > 7 && slice_is_nocase(slice_sub(value, 0, 7), "Bearer ");
}

/* Without tokens the machine's own programs may spend, and pages of other origins may not: every
 * call costs, so a GET is no safer here than a POST. */
static enum err_code
check_origin(const struct api *api, const struct http_exchange *exchange, struct err *err)
{
    struct slice origin;
    struct slice site;
    struct slice host = {"", 0};

    http_header(exchange, "Host", &host);
    if (http_header(exchange, "Origin", &origin) &&
        !http_origin_is_allowed(origin, host, api->options.cors_origins)) {
        return err_set(err, ERR_FORBIDDEN,
                       "the page of Origin \"%.*s\" may not spend here: add it to "
                       "server.cors_origins",
                       SLICE_FMT(slice_sub(origin, 0, 60)));
    }
    if (http_header(exchange, "Sec-Fetch-Site", &site) && slice_is_nocase(site, "cross-site") &&
        !http_header(exchange, "Origin", &origin)) {
        return err_set(err, ERR_FORBIDDEN, "a page of another site may not spend here");
    }
    return guard_request(api, exchange, err);
}

static enum err_code
check(const struct api *api, struct http_exchange *exchange, struct err *err)
{
    return api->need_token ? tokens_check(api, &route, exchange, err)
                           : check_origin(api, exchange, err);
}

enum err_code
forward_accept(struct api *api, struct http_exchange *exchange, uint64_t *ret_body_max,
               struct err *err)
{
    struct gateway *gateway = atomic_load(&api->gateway);
    enum err_code code = check(api, exchange, err);

    *ret_body_max = API_INLINE_BODY_BYTES;
    if (code == ERR_OK && gateway) {
        gateway_accept(gateway, exchange, ret_body_max);
    }
    return code;
}

void
forward_call(struct api *api, struct http_exchange *exchange)
{
    struct gateway *gateway = atomic_load(&api->gateway);
    struct gateway_credentials ours = {.authorization = false};
    struct slice value;
    struct err err;

    http_set_route(exchange, route.path);
    if (!gateway) {
        bool starting = api->options.with_meter;
        err_set(&err, ERR_UNAVAILABLE,
                starting ? "the service is starting: the meter is being rebuilt"
                         : "metering is switched off: set meter.enabled");
        reply_error(exchange, &err, starting ? 1 : 0);
        return;
    }
    if (check(api, exchange, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    if (api->need_token && !http_header(exchange, "X-Eider-Token", &value)) {
        ours.authorization = http_header(exchange, "Authorization", &value) && is_bearer(value);
        ours.access_token = !ours.authorization && http_query(exchange, "access_token", &value);
    }
    gateway_handle(gateway, exchange, &ours);
}

/* Stands in the table of routes for the reference only. */
void
any_gateway(struct api *api, const struct route *entry, struct http_exchange *exchange)
{
    (void)entry;
    forward_call(api, exchange);
}

void
api_attach_gateway(struct api *api, struct gateway *gateway)
{
    atomic_store(&api->gateway, gateway);
}

void
api_count_refusal(struct api *api, const struct refusal *refusal)
{
    refusals_add(api->refusals, refusal);
}
