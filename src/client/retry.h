/*
 * When to try again and how long to wait: pure. Chance and time are passed in.
 *
 * Retry-After: RFC 9110, section 10.2.3.
 */
#ifndef EIDER_CLIENT_RETRY_H
#define EIDER_CLIENT_RETRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct retry_policy {
    int retries_max;
    int64_t initial_ms;
    double factor; /* >= 1 */
    int64_t delay_max_ms;
    double jitter; /* 0..1 */
    int64_t retry_after_max_ms;
};

/* How an attempt ended, as far as trying again is concerned. */
struct retry_attempt {
    bool answered;
    int status;             /* when answered */
    bool sent;              /* something may have reached the provider */
    bool final;             /* too large, stopped, part of the body is given away */
    bool repeatable;        /* by method, or the caller says so */
    int64_t retry_after_ms; /* 0: none was given */
};

/* 429, 500, 502, 503, 504. */
bool retry_status(int status);

/* GET, HEAD, OPTIONS, PUT, DELETE (RFC 9110, section 9.2.2, without TRACE). */
bool retry_method(struct slice method);

/*
 * The wait before attempt `tries` + 1 when `tries` were made, or -1 for no further one. `random` is
 * in [0, 1).
 */
int64_t retry_delay_ms(const struct retry_policy *policy, const struct retry_attempt *attempt,
                       int tries, double random);

/* Reads seconds or an HTTP date; what lies in the past is 0. False when it is neither. At most a
 * year. */
bool retry_after_parse(struct slice value, int64_t now_us, int64_t *ret_ms);

#endif
