/* Names of ranges and intervals, as the observability API's clients write them. */
#include "codec/time.h"
#include "query/query.h"

struct width {
    const char *name;
    const char *value;
    int64_t seconds;
};

static enum err_code
parse(const struct width *widths, struct slice text, const char *what, const char *expected,
      int64_t *ret_width_us, struct err *err)
{
    for (; widths->name; widths++) {
        if (slice_is(text, widths->name) || slice_is(text, widths->value)) {
            *ret_width_us = widths->seconds * TIME_US_PER_S;
            return ERR_OK;
        }
    }
    size_t shown = text.len < 40 ? text.len : 40;
    return err_set(err, ERR_INVALID, "%s is \"%.*s\", expected %s", what, (int)shown, text.ptr,
                   expected);
}

enum err_code
query_parse_range(struct slice text, int64_t *ret_width_us, struct err *err)
{
    static const struct width ranges[] = {{"HOUR_1", "1h", 3600},
                                          {"HOURS_24", "24h", 86400},
                                          {"DAYS_7", "7d", 604800},
                                          {"DAYS_30", "30d", 2592000},
                                          {NULL, NULL, 0}};

    return parse(ranges, text, "time_range", "1h, 24h, 7d or 30d", ret_width_us, err);
}

enum err_code
query_parse_interval(struct slice text, int64_t *ret_width_us, struct err *err)
{
    static const struct width intervals[] = {{"MINUTE_1", "1m", 60},    {"MINUTE_5", "5m", 300},
                                             {"MINUTE_15", "15m", 900}, {"HOUR_1", "1h", 3600},
                                             {"DAY_1", "1d", 86400},    {NULL, NULL, 0}};

    return parse(intervals, text, "interval", "1m, 5m, 15m, 1h or 1d", ret_width_us, err);
}
