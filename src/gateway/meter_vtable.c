/* The meter behind the gateway's vtable. */
#include "gateway/gateway.h"

static void
reserve(void *ctx, const struct meter_reserve *what, meter_done_fn *done, void *done_ctx)
{
    meter_reserve(ctx, what, done, done_ctx);
}

static void
commit(void *ctx, const struct meter_commit *what, meter_done_fn *done, void *done_ctx)
{
    meter_commit(ctx, what, done, done_ctx);
}

static void
release(void *ctx, struct slice reservation_id, meter_done_fn *done, void *done_ctx)
{
    meter_release(ctx, reservation_id, done, done_ctx);
}

static void
extend(void *ctx, struct slice reservation_id, int64_t ttl_ms, int64_t add_credits,
       meter_done_fn *done, void *done_ctx)
{
    meter_extend(ctx, reservation_id, ttl_ms, add_credits, done, done_ctx);
}

static struct prices *
prices(void *ctx)
{
    return meter_prices(ctx);
}

void
gateway_meter(struct meter *meter, struct gateway_meter *ret_meter)
{
    *ret_meter = (struct gateway_meter){.reserve = reserve,
                                        .commit = commit,
                                        .release = release,
                                        .extend = extend,
                                        .prices = prices,
                                        .refusal_json = meter_refusal_json,
                                        .retry_after_s = meter_retry_after_s,
                                        .ctx = meter};
}
