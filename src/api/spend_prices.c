/* /api/v1/spend/prices and quote: what calls cost by the books in force. */
#include "api/metering.h"

void
get_prices(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    struct json_writer w;

    (void)route;
    if (!meter) {
        return;
    }
    struct prices *prices = meter_prices(meter);
    struct buf books BUF_AUTO = {0};
    buf_init(&books, 0);
    if (prices) {
        prices_write_json(prices, &books);
    } else {
        buf_add_cstr(&books, "[]");
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "books");
    json_raw(&w, buf_slice(&books));
    json_key(&w, "count");
    json_u64(&w, prices ? prices_version_count(prices) : 0);
    json_object_end(&w);
    prices_unref(prices);
    http_reply(exchange);
}

void
post_quote(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct meter *meter = metering_meter(api, exchange);
    struct spend_request request = {0};
    char rule[PRICE_RULE_ID_MAX];
    int64_t credits = 0;
    struct json_writer w;
    struct err err;

    (void)route;
    if (!meter) {
        return;
    }
    enum err_code code = spend_read_call(exchange, &request, &err);
    request.has_credits = false; /* what the caller would offer is not the price */
    if (code == ERR_OK) {
        code = spend_max_credits(api, meter, &request, http_arena(exchange), &credits, rule, &err);
    }
    if (code != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key_decimal(&w, "credits", credits);
    json_key(&w, "price_rule");
    json_cstr(&w, rule);
    json_object_end(&w);
    http_reply(exchange);
}
