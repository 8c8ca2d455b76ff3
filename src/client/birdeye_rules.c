/* What Birdeye's API means by intervals, chains and prices: pure. */
#include <string.h>

#include "client/birdeye_internal.h"
#include "codec/number.h"

enum { COST_FULL = 120, COST = 60 };

const char *
birdeye_chain(const char *chain, const char *address)
{
    static const struct {
        const char *name;
        const char *chain;
    } names[] = {{"sol", "solana"},        {"solana", "solana"}, {"eth", "ethereum"},
                 {"ethereum", "ethereum"}, {"bsc", "bsc"},       {"binance", "bsc"},
                 {"base", "base"}};

    if (!chain) {
        return address && strncmp(address, "0x", 2) == 0 ? "ethereum" : "solana";
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (slice_is_nocase(slice_of(chain), names[i].name)) {
            return names[i].chain;
        }
    }
    return chain;
}

int64_t
birdeye_candles(struct slice type, int64_t time_from, int64_t time_to)
{
    static const struct {
        const char *type;
        int64_t seconds;
    } types[] = {{"1s", 1},      {"15s", 15},    {"30s", 30},    {"1m", 60},     {"3m", 180},
                 {"5m", 300},    {"15m", 900},   {"30m", 1800},  {"1H", 3600},   {"2H", 7200},
                 {"4H", 14400},  {"6H", 21600},  {"8H", 28800},  {"12H", 43200}, {"1D", 86400},
                 {"3D", 259200}, {"1W", 604800}, {"1M", 2592000}};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        if (slice_is(type, types[i].type)) {
            int64_t count = (time_to - time_from) / types[i].seconds;
            return count < EIDER_BIRDEYE_CANDLES_MAX ? count : EIDER_BIRDEYE_CANDLES_MAX;
        }
    }
    return -1;
}

int64_t
eider_birdeye_cost(int64_t candles)
{
    return (candles >= EIDER_BIRDEYE_CANDLES_MAX ? COST_FULL : COST) * EIDER_CREDIT;
}

/* The value of a parameter; false when the query has none. */
static bool
find_parameter(struct slice query, const char *name, struct slice *ret_value)
{
    struct slice value;
    struct slice key;

    while (query.len > 0) {
        slice_split(&query, '&', &value);
        slice_split(&value, '=', &key);
        if (slice_is(key, name)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

int64_t
birdeye_url_cost(struct slice url)
{
    struct slice query = url;
    struct slice path;
    struct slice type;
    struct slice text;
    int64_t from;
    int64_t to;

    slice_split(&query, '?', &path);
    if (!memmem(path.ptr, path.len, "/ohlcv", sizeof("/ohlcv") - 1)) {
        return eider_birdeye_cost(-1);
    }
    if (!find_parameter(query, "type", &type) || !find_parameter(query, "time_from", &text) ||
        !number_parse_i64(text, &from) || !find_parameter(query, "time_to", &text) ||
        !number_parse_i64(text, &to) || from < 0 || to < from) {
        return eider_birdeye_cost(EIDER_BIRDEYE_CANDLES_MAX); /* not known: the dearer */
    }
    int64_t candles = birdeye_candles(type, from, to);
    return eider_birdeye_cost(candles < 0 ? EIDER_BIRDEYE_CANDLES_MAX : candles);
}

int64_t
birdeye_count_items(struct slice body)
{
    static const char *const names[] = {"\"unix_time\"", "\"unixTime\""};
    int64_t count = 0;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct slice rest = body;
        size_t len = strlen(names[i]);
        const char *found;
        while (rest.len > 0 && (found = memmem(rest.ptr, rest.len, names[i], len)) != NULL) {
            size_t past = (size_t)(found - rest.ptr) + len;
            rest = slice_sub(rest, past, rest.len - past);
            count++;
        }
    }
    return count;
}
