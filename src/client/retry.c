/* Retry rules. */
#include "client/retry.h"

#include <curl/curl.h>
#include <string.h>

#include "codec/number.h"

enum { DATE_TEXT_MAX = 64 };

static const int64_t YEAR_S = INT64_C(366) * 86400;

bool
retry_status(int status)
{
    return status == 429 || status == 500 || status == 502 || status == 503 || status == 504;
}

bool
retry_method(struct slice method)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "PUT", "DELETE"};

    for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
        if (slice_is_nocase(method, methods[i])) {
            return true;
        }
    }
    return false;
}

static bool
worth_it(const struct retry_attempt *attempt)
{
    if (attempt->final || (attempt->answered && !retry_status(attempt->status))) {
        return false;
    }
    return attempt->repeatable || (!attempt->answered && !attempt->sent);
}

int64_t
retry_delay_ms(const struct retry_policy *policy, const struct retry_attempt *attempt, int tries,
               double random)
{
    double delay = (double)policy->initial_ms;

    if (tries > policy->retries_max || !worth_it(attempt)) {
        return -1;
    }
    if (attempt->retry_after_ms > policy->retry_after_max_ms) {
        return -1;
    }
    for (int i = 1; i < tries && delay < (double)policy->delay_max_ms; i++) {
        delay *= policy->factor;
    }
    if (delay > (double)policy->delay_max_ms) {
        delay = (double)policy->delay_max_ms;
    }
    int64_t ms = (int64_t)(delay * (1 - policy->jitter * random));
    return attempt->retry_after_ms > ms ? attempt->retry_after_ms : ms;
}

bool
retry_after_parse(struct slice value, int64_t now_us, int64_t *ret_ms)
{
    char text[DATE_TEXT_MAX];
    int64_t seconds;

    value = slice_trim(value);
    if (value.len == 0 || value.len >= sizeof(text) || memchr(value.ptr, '\0', value.len)) {
        return false;
    }
    if (value.ptr[0] >= '0' && value.ptr[0] <= '9') {
        if (!number_parse_i64(value, &seconds)) {
            return false;
        }
        *ret_ms = (seconds < YEAR_S ? seconds : YEAR_S) * 1000;
        return true;
    }
    memcpy(text, value.ptr, value.len);
    text[value.len] = '\0';
    time_t date = curl_getdate(text, NULL);
    if (date == (time_t)-1) {
        return false;
    }
    seconds = (int64_t)date - now_us / 1000000;
    *ret_ms = seconds <= 0 ? 0 : (seconds < YEAR_S ? seconds : YEAR_S) * 1000;
    return true;
}
