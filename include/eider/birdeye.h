/*
 * A client for Birdeye's public API upon client.h: several keys of one account in rotation, the
 * account's limit of requests, a breaker, prices, and an estimate of what each key has used.
 *
 *   struct eider_client_options metering = {.eider_url = "http://127.0.0.1:8000"};
 *   struct eider_birdeye_options options = {.client = &metering}; // keys from BIRDEYE_API_KEY...
 *   struct eider_birdeye_ohlcv query = {.address = "So111...", .type = "1m",
 *                                       .time_from = 1700000000, .time_to = 1700003600};
 *   eider_birdeye_open(&options, &birdeye, problem, sizeof(problem));
 *   eider_birdeye_ohlcv(birdeye, &query, &response);
 *
 * Keys take turns, call by call and attempt by attempt. An answer of 429 or 403 takes its key out
 * and the next one is tried after a second; 401 takes it out and ends the call, 400 ends the call.
 * A key that is out stays out (as in the original), unless key_rest_ms brings back those that were
 * out for 429. In the event log a key is "key-1", "key-2", ...: never itself.
 *
 * The breaker of the account:
 *
 *                 10 failures in a row             20 in a row (calls that were running)
 *   RUNNING ---------------------------> PAUSED ----------------------> OPEN
 *      ^ ^       60 s over: count from 0   |                             |
 *      | +---------------------------------+          5 min over         |
 *      +-----------------------------------------------------------------+   any 2xx: RUNNING
 *
 * Every answer that is no 2xx, every timeout and network error is a failure; 429 and 403 are two.
 * PAUSED calls wait, OPEN refuses them (EIDER_REFUSAL_PAUSED); with no_wait PAUSED refuses, too.
 *
 * Prices: an OHLCV call costs 120 credits from 5000 candles on, else 60; every other call 60; a
 * call that failed 0. A call reserves by the candles that it asks for and books the same. The
 * estimate of a key counts by the candles that came and 120 from 1000 on, as the original does.
 *
 * Threads, ownership, units: as client.h. Responses are JSON as Birdeye sends it.
 */
#ifndef EIDER_BIRDEYE_H
#define EIDER_BIRDEYE_H

#include "eider/client.h"

#ifdef __cplusplus
extern "C" {
/* Some structs have the name of their function, as stat has: say `struct` in front of them. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif

struct eider_birdeye;

enum { EIDER_BIRDEYE_KEYS_MAX = 64, EIDER_BIRDEYE_CANDLES_MAX = 5000 };

struct eider_birdeye_options {
    const char *const *keys; /* NULL: BIRDEYE_API_KEY, then BIRDEYE_API_KEY_1 to _6 */
    size_t key_count;
    const char *base_url; /* NULL: https://public-api.birdeye.so */
    const char *chain;    /* of calls that name none; NULL: by the address, "0x..." is ethereum,
                             others are solana */
    /* Metering, hooks, labels, TLS and limits of the client below; may be NULL. base_url and
     * key_label are ours. Zero means here: api_name "Birdeye", timeout_ms 10 000, retries_max 5,
     * retry_initial_ms 1 000; a credits hook, or use_price_book, replaces the prices above. */
    const struct eider_client_options *client;
    unsigned rate_max;     /* requests of all keys in rate_window_ms; 0: 3000; at most 100 000 */
    int rate_window_ms;    /* 0: 60 000 */
    bool no_wait;          /* refuse instead of waiting for the limit or the end of a pause */
    bool validate_keys;    /* before its first use a key makes a call of /defi/price, which costs
                              credits; as the original does */
    int key_rest_ms;       /* a key that was out for 429 is back after that; 0: never */
    int64_t quota_credits; /* of the account, micro-credits; 0: 20 000 000 credits */
};

/* As eider_client_open. EIDER_CLIENT_INVALID when there is no key. Reads the environment, which no
 * other thread may change meanwhile. */
EIDER_API enum eider_client_status eider_birdeye_open(const struct eider_birdeye_options *options,
                                                      struct eider_birdeye **ret_birdeye,
                                                      char *ret_problem, size_t problem_size);
/* As eider_client_close and eider_client_stop. */
EIDER_API void eider_birdeye_close(struct eider_birdeye *birdeye);
EIDER_API void eider_birdeye_stop(struct eider_birdeye *birdeye);

/* The client below, for its stats and eider_client_flush; belongs to `birdeye`. */
EIDER_API struct eider_client *eider_birdeye_client(struct eider_birdeye *birdeye);

/* Candles: GET /defi/v3/ohlcv. At most EIDER_BIRDEYE_CANDLES_MAX come; cutting a longer range into
 * calls is the caller's. */
struct eider_birdeye_ohlcv {
    const char *address;  /* required, 32 to 64 characters; also below */
    const char *type;     /* required: "1s", "15s", "30s", "1m", "3m", "5m", "15m", "30m", "1H",
                             "2H", "4H", "6H", "8H", "12H", "1D", "3D", "1W", "1M" */
    int64_t time_from;    /* seconds since 1970 */
    int64_t time_to;      /* >= time_from */
    const char *currency; /* NULL: "usd"; or "native" */
    const char *ui_amount_mode; /* NULL: "raw"; or "scaled", "both" */
    const char *mode;           /* NULL: "range" */
    bool no_padding;            /* default: empty intervals are filled */
    const char *chain;          /* NULL: see eider_birdeye_options; also below */
    const char *run_id;         /* NULL: the client's */
};
EIDER_API enum eider_client_status eider_birdeye_ohlcv(struct eider_birdeye *birdeye,
                                                       const struct eider_birdeye_ohlcv *query,
                                                       struct eider_response **ret_response);

/* The price at a time: GET /defi/historical_price_unix. */
EIDER_API enum eider_client_status
eider_birdeye_historical_price(struct eider_birdeye *birdeye, const char *address,
                               int64_t unix_time, const char *chain,
                               struct eider_response **ret_response);

/* Prices of a range: GET /defi/history_price. Of the query currency, mode and no_padding are not
 * used. */
EIDER_API enum eider_client_status
eider_birdeye_history_price(struct eider_birdeye *birdeye, const struct eider_birdeye_ohlcv *query,
                            struct eider_response **ret_response);

/* Tokens by name or symbol: GET /defi/v3/search. limit 0: Birdeye's own. */
EIDER_API enum eider_client_status eider_birdeye_search(struct eider_birdeye *birdeye,
                                                        const char *keyword, unsigned limit,
                                                        const char *chain,
                                                        struct eider_response **ret_response);

/* GET /defi/v3/token/meta-data/single. */
EIDER_API enum eider_client_status
eider_birdeye_token_metadata(struct eider_birdeye *birdeye, const char *address, const char *chain,
                             struct eider_response **ret_response);

/* GET /defi/token_creation_info. */
EIDER_API enum eider_client_status
eider_birdeye_token_creation(struct eider_birdeye *birdeye, const char *address, const char *chain,
                             struct eider_response **ret_response);

/* GET /defi/price. */
EIDER_API enum eider_client_status eider_birdeye_price(struct eider_birdeye *birdeye,
                                                       const char *address, const char *chain,
                                                       struct eider_response **ret_response);

/* Any other GET below the base URL, priced as "every other call"; `path` with its query. */
EIDER_API enum eider_client_status eider_birdeye_get(struct eider_birdeye *birdeye,
                                                     const char *path, const char *chain,
                                                     struct eider_response **ret_response);

/* What a call of these many candles costs, in micro-credits; < 0: no OHLCV call. */
EIDER_API int64_t eider_birdeye_cost(int64_t candles);

enum eider_birdeye_key_state {
    EIDER_BIRDEYE_KEY_ACTIVE,
    EIDER_BIRDEYE_KEY_RATE_LIMITED, /* out: 429 */
    EIDER_BIRDEYE_KEY_FORBIDDEN,    /* out: 403 */
    EIDER_BIRDEYE_KEY_UNAUTHORIZED  /* out: 401, or its validation failed */
};

struct eider_birdeye_key {
    char label[16]; /* "key-1" */
    enum eider_birdeye_key_state state;
    uint64_t requests;
    uint64_t failures;
    unsigned failures_in_a_row;
    int64_t credits;      /* estimate, micro-credits */
    int64_t last_used_us; /* wall time; 0: never */
};
/* Fills at most `max`, returns how many keys there are. Any thread. */
EIDER_API size_t eider_birdeye_keys(struct eider_birdeye *birdeye,
                                    struct eider_birdeye_key *ret_keys, size_t max);

enum eider_birdeye_breaker { EIDER_BIRDEYE_RUNNING, EIDER_BIRDEYE_PAUSED, EIDER_BIRDEYE_OPEN };

struct eider_birdeye_usage {
    int64_t credits;       /* estimate of all keys, micro-credits */
    int64_t quota_credits; /* micro-credits */
    double used_percent;
    bool approaching_limit; /* 80 % or more */
    uint64_t quota_units; /* as the original's quota table counts for "birdeye": OHLCV 120 from 5000
                             candles on, else 60, other calls 1 */
    enum eider_birdeye_breaker breaker;
    unsigned failures_in_a_row;
    int64_t resumes_in_ms; /* of PAUSED and OPEN; 0 else */
};
EIDER_API void eider_birdeye_usage(struct eider_birdeye *birdeye,
                                   struct eider_birdeye_usage *ret_usage);

#ifdef __cplusplus
#pragma GCC diagnostic pop
}
#endif

#endif
