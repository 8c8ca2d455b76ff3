/*
 * Several threads share one client, and with it the budget:
 *
 *   threads BASE_URL PATH THREADS CALLS [EIDER_URL]
 *
 * Prints what became of THREADS * CALLS calls.
 */
#include <eider/client.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS_MAX = 64 };

struct work {
    struct eider_client *client;
    const char *path;
    int calls;
    atomic_int ok, refused, other;
};

static int64_t
credits(void *ctx, const struct eider_call *call)
{
    (void)ctx;
    return call->success ? 60 * EIDER_CREDIT : 0;
}

static void *
run(void *arg)
{
    struct work *work = arg;

    for (int i = 0; i < work->calls; i++) {
        struct eider_response *response;
        switch (eider_client_get(work->client, work->path, &response)) {
        case EIDER_CLIENT_OK:
            work->ok++;
            break;
        case EIDER_CLIENT_REFUSED:
            work->refused++;
            break;
        default:
            fprintf(stderr, "%s\n", response->message);
            work->other++;
        }
        eider_response_free(response);
    }
    return NULL;
}

int
main(int argc, char **argv)
{
    struct eider_client_options options = {
        .api_name = "Birdeye", .credits = credits, .max_credits = 60 * EIDER_CREDIT};
    struct eider_client_stats stats;
    struct work work = {0};
    pthread_t threads[THREADS_MAX];
    char problem[256];
    int count = argc >= 5 ? atoi(argv[3]) : 0;

    if (argc < 5 || argc > 6 || count < 1 || count > THREADS_MAX) {
        fprintf(stderr, "usage: %s BASE_URL PATH THREADS CALLS [EIDER_URL]\n", argv[0]);
        return 1;
    }
    options.base_url = argv[1];
    options.eider_url = argc == 6 ? argv[5] : NULL;
    work.path = argv[2];
    work.calls = atoi(argv[4]);
    if (eider_client_open(&options, &work.client, problem, sizeof(problem)) != EIDER_CLIENT_OK) {
        fprintf(stderr, "%s\n", problem);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        pthread_create(&threads[i], NULL, run, &work);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    eider_client_stats(work.client, &stats);
    printf("ok %d refused %d other %d credits %lld\n", work.ok, work.refused, work.other,
           (long long)(stats.credits / EIDER_CREDIT));
    eider_client_close(work.client);
    return work.other ? 1 : 0;
}
