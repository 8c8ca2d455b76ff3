/* Between the files of the Birdeye client. */
#ifndef EIDER_BIRDEYE_INTERNAL_H
#define EIDER_BIRDEYE_INTERNAL_H

#include "client/client_internal.h"
#include "client/keys.h"
#include "client/limiter.h"
#include "client/streak.h"
#include "eider/birdeye.h"

struct eider_birdeye {
    struct eider_client *client;
    char *chain; /* NULL: by the address */
    bool no_wait;
    bool validate_keys;
    bool prices_ours;     /* calls reserve what eider_birdeye_cost says */
    pthread_mutex_t lock; /* guards what follows */
    struct keys keys;
    struct streak streak;
    struct limiter limiter;
    int64_t quota_credits;
    int64_t credits;
    uint64_t quota_units;
};

/* One call: what the director needs to know about it. */
struct birdeye_call {
    struct director director; /* first */
    struct eider_birdeye *birdeye;
    const char *chain; /* as the header wants it */
    bool is_ohlcv;
    struct key *key; /* of the attempt that runs */
};

/* The two functions of the director. */
bool birdeye_before(struct director *director, struct attempt *attempt, struct response *response);
int64_t birdeye_after(struct director *director, const struct attempt *attempt,
                      const struct response *response);

/* "solana", "ethereum", "bsc", "base" for their other names in any case; others as they are. NULL:
 * by the address. */
const char *birdeye_chain(const char *chain, const char *address);

/* Candles that an interval of this type cuts a range into, at most EIDER_BIRDEYE_CANDLES_MAX; -1
 * when Birdeye knows no such type. */
int64_t birdeye_candles(struct slice type, int64_t time_from, int64_t time_to);

/* What a URL will cost, and so what it is billed; micro-credits. */
int64_t birdeye_url_cost(struct slice url);

/* How many candles an answer holds. */
int64_t birdeye_count_items(struct slice body);

enum eider_client_status birdeye_open_with(const struct eider_birdeye_options *options,
                                           const struct client_env *env,
                                           struct eider_birdeye **ret_birdeye, char *ret_problem,
                                           size_t problem_size);

/* The client options that the Birdeye options mean; texts are borrowed. */
void birdeye_client_options(const struct eider_birdeye_options *options,
                            struct eider_client_options *ret_options);

#endif
