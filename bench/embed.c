/*
 * The embedded store: durable appends a second with one value each, from 1 and from 64 threads, and
 * rows a second in batches; beside fdatasync of 512 bytes in the same directory, measured before
 * and after each. Prints one JSON object. Usage: embed DIRECTORY [SECONDS]
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "eider/eider.h"

enum { FILE_BYTES = 8 << 20, SYNCS = 1000, RECORD = 512, THREADS_MAX = 64, POINTS = 10000 };

static double
seconds_since(int64_t start_us)
{
    return (double)(clock_mono_us(clock_system()) - start_us) / 1e6;
}

static void
give_up(const char *what)
{
    fprintf(stderr, "embed: %s\n", what);
    exit(1); /* NOLINT(concurrency-mt-unsafe): a benchmark ends here */
}

static double
syncs_per_second(const char *dir)
{
    static char data[RECORD];
    char path[1024];

    snprintf(path, sizeof(path), "%s/sync.bin", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, FILE_BYTES) != 0) {
        give_up(path);
    }
    int64_t start_us = clock_mono_us(clock_system());
    for (int i = 0; i < SYNCS; i++) {
        if (pwrite(fd, data, RECORD, (off_t)i * RECORD) != RECORD || fdatasync(fd) != 0) {
            give_up("fdatasync");
        }
    }
    double rate = SYNCS / seconds_since(start_us);
    close(fd);
    unlink(path);
    return rate;
}

struct load {
    struct eider_db *db;
    int64_t until_us;
    atomic_int next;
    _Atomic uint64_t rows;
    size_t points; /* of one append */
    bool async;
};

/* One thread: appends until the time is over, each with times of its own. */
static void *
append_main(void *ctx)
{
    struct load *load = ctx;
    char name[32];
    static _Thread_local int64_t times[POINTS];
    static _Thread_local double values[POINTS];
    int64_t at = INT64_C(1700000000000000);
    uint64_t rows = 0;

    snprintf(name, sizeof(name), "m%d", atomic_fetch_add(&load->next, 1));
    const struct eider_points points = {
        .series = {.name = name}, .timestamps_us = times, .values = values, .count = load->points};
    while (clock_mono_us(clock_system()) < load->until_us) {
        struct eider_error error;
        for (size_t i = 0; i < load->points; i++) {
            times[i] = at++;
            values[i] = (double)i;
        }
        enum eider_status status =
            load->async ? eider_append_points_async(load->db, &points, NULL, NULL, &error)
                        : eider_append_points(load->db, &points, NULL, &error);
        if (status == EIDER_BUSY) {
            eider_flush(load->db, -1, NULL);
            continue;
        }
        if (status != EIDER_OK) {
            give_up(error.message);
        }
        rows += load->points;
    }
    atomic_fetch_add(&load->rows, rows);
    return NULL;
}

/* Rows a second from `threads` threads, in a directory of its own. */
static double
rows_per_second(const char *dir, int threads, size_t points, bool async, double seconds)
{
    static int number;
    char path[1024];
    struct eider_options options = {.data_dir = path};
    struct eider_error error;
    struct load load = {.points = points, .async = async};
    pthread_t ids[THREADS_MAX];

    snprintf(path, sizeof(path), "%s/embed-%d", dir, number++);
    if (eider_open(&options, &load.db, &error) != EIDER_OK) {
        give_up(error.message);
    }
    int64_t start_us = clock_mono_us(clock_system());
    load.until_us = start_us + (int64_t)(seconds * 1e6);
    for (int i = 0; i < threads; i++) {
        if (pthread_create(&ids[i], NULL, append_main, &load) != 0) {
            give_up("no thread");
        }
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
    }
    if (eider_flush(load.db, -1, &error) != EIDER_OK) {
        give_up(error.message);
    }
    double rate = (double)atomic_load(&load.rows) / seconds_since(start_us);
    eider_close(load.db);
    return rate;
}

static const struct {
    const char *what;
    int threads;
    size_t points;
    bool async;
} cases[] = {
    {"one value an append", 1, 1, false},          {"one value an append", 64, 1, false},
    {"one value an append, async", 1, 1, true},    {"100 values an append", 1, 100, false},
    {"10 000 values an append", 1, POINTS, false}, {"10 000 values an append", 4, POINTS, false},
};

int
main(int argc, char **argv)
{
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 3;
    size_t count = sizeof(cases) / sizeof(cases[0]);

    if (argc < 2) {
        fprintf(stderr, "usage: embed DIRECTORY [SECONDS]\n");
        return 2;
    }
    printf("{\"cases\": [");
    for (size_t i = 0; i < count; i++) {
        double before = syncs_per_second(argv[1]);
        double rate =
            rows_per_second(argv[1], cases[i].threads, cases[i].points, cases[i].async, seconds);
        double limit = (before + syncs_per_second(argv[1])) / 2;
        printf("%s{\"what\": \"%s\", \"threads\": %d, \"rows_per_second\": %.0f, \"appends\": "
               "%.0f, \"fdatasync\": %.0f}",
               i ? ", " : "", cases[i].what, cases[i].threads, rate, rate / (double)cases[i].points,
               limit);
    }
    printf("]}\n");
    return 0;
}
