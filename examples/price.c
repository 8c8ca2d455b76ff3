/*
 * A metered call of any HTTP API:
 *
 *   price BASE_URL PATH [EIDER_URL]
 *
 * Without EIDER_URL the call is not metered. Exit status: 0 an answer, 2 refused, 1 anything else.
 */
#include <eider/client.h>
#include <stdio.h>

/* The API of this example bills 60 credits for what it answers. */
static int64_t
credits(void *ctx, const struct eider_call *call)
{
    (void)ctx;
    return call->success ? 60 * EIDER_CREDIT : 0;
}

int
main(int argc, char **argv)
{
    struct eider_client_options options = {.api_name = "Example",
                                           .credits = credits,
                                           .max_credits = 60 * EIDER_CREDIT,
                                           .run_id = "example"};
    struct eider_client *client;
    struct eider_response *response;
    char problem[256];

    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: %s BASE_URL PATH [EIDER_URL]\n", argv[0]);
        return 1;
    }
    options.base_url = argv[1];
    options.eider_url = argc == 4 ? argv[3] : NULL;
    if (eider_client_open(&options, &client, problem, sizeof(problem)) != EIDER_CLIENT_OK) {
        fprintf(stderr, "%s\n", problem);
        return 1;
    }
    enum eider_client_status status = eider_client_get(client, argv[2], &response);
    if (status == EIDER_CLIENT_OK) {
        printf("%s\n", response->body);
        fprintf(stderr, "%.1f ms, %lld credits, event %s\n", response->latency_ms,
                (long long)(response->credits / EIDER_CREDIT), response->event_id);
    } else {
        fprintf(stderr, "%s: %s\n", eider_client_status_name(status), response->message);
        if (status == EIDER_CLIENT_REFUSED) {
            fprintf(stderr, "come back in %lld ms\n", (long long)response->retry_after_ms);
        }
    }
    eider_response_free(response);
    eider_client_close(client);
    return status == EIDER_CLIENT_OK ? 0 : status == EIDER_CLIENT_REFUSED ? 2 : 1;
}
