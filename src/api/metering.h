/* What the files of metering share: getting at the meter, requests on spending, refusals. */
#ifndef EIDER_API_METERING_H
#define EIDER_API_METERING_H

#include "api/api_private.h"
#include "api/body.h"
#include "meter/meter.h"
#include "meter/price.h"

/* The meter, or NULL when the exchange was answered (503: it is not there yet, or switched off). */
struct meter *metering_meter(struct api *api, struct http_exchange *exchange);

/* Whether what failed so may succeed a moment later, and the answer has Retry-After. */
bool metering_may_try_again(enum err_code code);

/* Answers an error of the meter; ERR_BUSY, ERR_UNAVAILABLE and the like with Retry-After. */
void metering_error(struct http_exchange *exchange, const struct err *err);

/* ---- one call, as it is asked for ---- */

/* What reserve, commit, release, extend, check and quote may hold; each takes a part of it. */
struct spend_request {
    struct slice api_name, endpoint, method, key, run_id, project;
    struct slice reservation_id, event_id;
    struct slice query, error_message, metadata;
    struct body_params params;
    int64_t max_credits, credits, add_credits;
    int64_t ttl_ms, status_code, request_bytes, response_bytes;
    double latency_ms;
    bool success, overrun;
    bool has_credits, has_status, has_success;
};

/* The call that the request is about; empty texts where it says nothing. */
struct meter_call spend_call(const struct spend_request *request);

/* The fields of `params` for the price book; NULL with *ret_count 0 when there are none, or when
 * the arena is full. */
const struct price_field *spend_price_fields(const struct spend_request *request,
                                             struct arena *arena, size_t *ret_count);

/* The most that the call may cost: what the request says, or the price book's. ERR_INVALID when
 * neither says anything; ret_rule (PRICE_RULE_ID_MAX, may be NULL) is "" when the request said. */
enum err_code spend_max_credits(struct api *api, struct meter *meter,
                                const struct spend_request *request, struct arena *arena,
                                int64_t *ret_credits, char *ret_rule, struct err *err);

/* The bodies of reserve, check and quote. */
enum err_code spend_read_call(struct http_exchange *exchange, struct spend_request *ret_request,
                              struct err *err);

/* ---- answers ---- */

void write_credits(struct json_writer *writer, int64_t micro);
void write_time_key(struct json_writer *writer, const char *key, int64_t us); /* 0: null */
const char *breaker_name(const struct budget_view *view);                     /* forced_open, too */

/* The members of a refusal and what was asked, within an object that is open. */
void write_refusal(struct json_writer *writer, const struct refusal *refusal,
                   const struct spend_request *request);

/* 503 with the refusal; counts it. `request` may be NULL: then the caller's `entry` of JSON. */
void metering_refuse(struct refusals *refusals, struct http_exchange *exchange,
                     const struct refusal *refusal, const struct spend_request *request,
                     struct slice entry);

#endif
