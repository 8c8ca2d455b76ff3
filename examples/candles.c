/*
 * A day of candles from Birdeye, metered in this process by a data directory of its own:
 *
 *   BIRDEYE_API_KEY=... candles ADDRESS TIME_FROM DATA_DIR [BASE_URL]
 *
 * A call brings at most 5000 candles, so the range is cut into calls; each asks the budget first.
 */
#include <eider/birdeye.h>
#include <stdio.h>
#include <stdlib.h>

enum { DAY_S = 86400, CHUNK_S = 1000 * 60 };

static int
fetch(struct eider_birdeye *birdeye, const char *address, int64_t from, int64_t to)
{
    struct eider_birdeye_ohlcv query = {
        .address = address, .type = "1m", .time_from = from, .time_to = to};
    struct eider_response *response;
    enum eider_client_status status = eider_birdeye_ohlcv(birdeye, &query, &response);

    if (status == EIDER_CLIENT_OK) {
        printf("%lld %zu bytes %lld credits\n", (long long)from, response->body_len,
               (long long)(response->credits / EIDER_CREDIT));
    } else {
        fprintf(stderr, "%s: %s\n", eider_client_status_name(status), response->message);
    }
    eider_response_free(response);
    return status == EIDER_CLIENT_OK ? 0 : 1;
}

int
main(int argc, char **argv)
{
    struct eider_client_options metering = {.run_id = "candles"};
    struct eider_birdeye_options options = {.client = &metering};
    struct eider_birdeye_usage usage;
    struct eider_birdeye *birdeye;
    char problem[256];
    int status = 0;

    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: %s ADDRESS TIME_FROM DATA_DIR [BASE_URL]\n", argv[0]);
        return 1;
    }
    int64_t start = strtoll(argv[2], NULL, 10);
    metering.data_dir = argv[3];
    options.base_url = argc == 5 ? argv[4] : NULL;
    if (eider_birdeye_open(&options, &birdeye, problem, sizeof(problem)) != EIDER_CLIENT_OK) {
        fprintf(stderr, "%s\n", problem);
        return 1;
    }
    for (int64_t at = start; at < start + DAY_S && status == 0; at += CHUNK_S) {
        int64_t end = at + CHUNK_S < start + DAY_S ? at + CHUNK_S : start + DAY_S;
        status = fetch(birdeye, argv[1], at, end);
    }
    eider_birdeye_usage(birdeye, &usage);
    printf("used %lld of %lld credits\n", (long long)(usage.credits / EIDER_CREDIT),
           (long long)(usage.quota_credits / EIDER_CREDIT));
    eider_birdeye_close(birdeye);
    return status;
}
