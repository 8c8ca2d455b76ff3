/* Opening the gateway. */
#include "server/gateway.h"

#include "base/log.h"
#include "server/config_upstreams.h"

static void
on_event(void *ctx, bool is_problem, const char *text)
{
    (void)ctx;
    log_write(is_problem ? LOG_WARNING : LOG_INFO, "gateway", "%s", text);
}

static void
on_refused(void *ctx, const struct refusal *refusal)
{
    api_count_refusal(ctx, refusal);
}

enum err_code
server_gateway_open(const struct config *config, struct meter *meter, struct api *api,
                    struct gateway **ret_gateway, struct err *err)
{
    const struct config_upstreams *configured = config->gateway.upstreams;
    struct gateway_upstream upstreams[GATEWAY_UPSTREAMS_MAX];
    size_t count = configured ? configured->count : 0;
    struct gateway_options options = {
        .upstreams = upstreams,
        .upstream_count = count,
        .event = on_event,
        .refused = on_refused,
        .refused_ctx = api,
        .threads = (unsigned)config->gateway.threads,
        .calls_max = (unsigned)config->gateway.calls_max,
        .body_bytes_max = (uint64_t)config->gateway.body_bytes_max,
        .lease_ms = config->gateway.lease_ms,
    };

    gateway_meter(meter, &options.meter);
    for (size_t i = 0; i < count; i++) {
        config_upstream_options(&configured->items[i], &upstreams[i]);
    }
    enum err_code code = gateway_open(&options, ret_gateway, err);
    for (size_t i = 0; code == ERR_OK && i < count; i++) {
        log_write(LOG_INFO, "gateway", "/gateway/%s forwards to %s", upstreams[i].name,
                  upstreams[i].base_url);
    }
    return code;
}
