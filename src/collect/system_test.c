/* Tests of the system collector: live figures, rows, alerts, failures, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "collect/cgroup.h"
#include "collect/system.h"

#define NOW_US INT64_C(1767323045000000)
enum { TICK_US = 100000, TICKS = 10 };

/* A machine whose files are numbers of the test. */
struct machine {
    struct system_files files;
    uint64_t busy, idle;
    unsigned memory_percent, disk_percent;
    uint64_t net_bytes;
    bool is_broken;
    pthread_mutex_t lock;
    pthread_cond_t read;
    size_t readings;
};

static void
assert_near(double value, double wanted, double epsilon)
{
    if (!(fabs(value - wanted) <= epsilon)) {
        fail_msg("%.12g is not %.12g", value, wanted);
    }
}

static size_t
put(char *dst, size_t size, const char *text)
{
    int len = snprintf(dst, size, "%s", text);

    return len < 0 ? 0 : (size_t)len < size ? (size_t)len : size - 1;
}

static size_t
machine_read(void *ctx, const char *path, char *dst, size_t size)
{
    struct machine *m = ctx;
    char text[512] = "";

    if (m->is_broken) {
        dst[0] = '\0';
        return 0;
    }
    if (strcmp(path, "/proc/stat") == 0) {
        pthread_mutex_lock(&m->lock);
        m->readings++;
        pthread_cond_broadcast(&m->read);
        pthread_mutex_unlock(&m->lock);
        snprintf(text, sizeof(text), "cpu  %llu 0 0 %llu 0 0 0 0 0 0\n",
                 (unsigned long long)m->busy, (unsigned long long)m->idle);
    } else if (strcmp(path, "/proc/meminfo") == 0) {
        snprintf(text, sizeof(text), "MemTotal: 1000 kB\nMemAvailable: %u kB\n",
                 1000 - 10 * m->memory_percent);
    } else if (strcmp(path, "/proc/uptime") == 0) {
        snprintf(text, sizeof(text), "77.5 1.0\n");
    } else if (strcmp(path, "/proc/loadavg") == 0) {
        snprintf(text, sizeof(text), "0.25 0.5 0.75 1/1 1\n");
    } else if (strcmp(path, "/proc/net/dev") == 0) {
        snprintf(text, sizeof(text), " e\"0: %llu 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n",
                 (unsigned long long)m->net_bytes);
    }
    return put(dst, size, text);
}

static bool
machine_disk(void *ctx, const char *path, struct system_disk *ret_disk)
{
    const struct machine *m = ctx;

    (void)path;
    *ret_disk = (struct system_disk){100, m->disk_percent, 100 - m->disk_percent};
    return !m->is_broken;
}

/* A sink that remembers what was written. */
struct recorder {
    pthread_mutex_t lock;
    pthread_cond_t written;
    size_t writes;
    size_t system_rows;
    size_t metric_rows;
    double last_cpu;
    int last_alerts;
    char last_health[16];
    char metrics[4096]; /* of the last write: "name=value labels;", cut */
    enum err_code answer;
    bool is_held; /* write blocks while it is set */
};

struct fixture {
    struct clock_manual clock;
    struct machine machine;
    struct recorder recorder;
    struct live *live;
    struct collect_system *system;
};

static void
record_metrics(struct recorder *recorder, const struct batch *batch)
{
    size_t used = 0;

    assert_int_equal(batch->table->id, TABLE_METRICS);
    recorder->metrics[0] = '\0';
    for (size_t row = 0; row < batch->rows && used < sizeof(recorder->metrics); row++) {
        used += (size_t)snprintf(recorder->metrics + used, sizeof(recorder->metrics) - used,
                                 "%.*s=%g%.*s;", SLICE_FMT(batch_get_text(batch, 1, row)),
                                 batch_get_f64(batch, 2, row),
                                 SLICE_FMT(batch_get_text(batch, 4, row)));
    }
    recorder->metric_rows += batch->rows;
}

static enum err_code
record(void *ctx, const struct batch *batches, size_t count, struct err *err)
{
    struct recorder *recorder = ctx;

    pthread_mutex_lock(&recorder->lock);
    recorder->writes++;
    pthread_cond_broadcast(&recorder->written);
    while (recorder->is_held) {
        pthread_cond_wait(&recorder->written, &recorder->lock);
    }
    enum err_code code = recorder->answer;
    if (!code) {
        const struct batch *rows = &batches[0];
        size_t last = rows->rows - 1;
        assert_int_equal(count, 2);
        assert_int_equal(rows->table->id, TABLE_SYSTEM_METRICS);
        recorder->system_rows += rows->rows;
        recorder->last_cpu = batch_get_f64(rows, 1, last);
        recorder->last_alerts = (int)batch_get_i64(rows, 6, last);
        slice_to_cstr(batch_get_text(rows, 5, last), recorder->last_health,
                      sizeof(recorder->last_health));
        record_metrics(recorder, &batches[1]);
    }
    pthread_mutex_unlock(&recorder->lock);
    return code ? err_set(err, code, "the log is full") : ERR_OK;
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    clock_manual_init(&f->clock, NOW_US);
    f->clock.mono_now_us = 1;
    f->machine = (struct machine){.memory_percent = 40, .disk_percent = 50};
    f->machine.files = (struct system_files){machine_read, machine_disk, &f->machine};
    pthread_mutex_init(&f->machine.lock, NULL);
    pthread_cond_init(&f->machine.read, NULL);
    pthread_mutex_init(&f->recorder.lock, NULL);
    pthread_cond_init(&f->recorder.written, NULL);
    live_open(&(struct live_options){.clock = &f->clock.clock}, &f->live);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    collect_system_stop(f->system);
    live_close(f->live);
    pthread_cond_destroy(&f->recorder.written);
    pthread_mutex_destroy(&f->recorder.lock);
    pthread_cond_destroy(&f->machine.read);
    pthread_mutex_destroy(&f->machine.lock);
    free(f);
    return 0;
}

static void
start(struct fixture *f, bool manual)
{
    collect_system_start(&(struct collect_system_options){.sink = {record, &f->recorder},
                                                          .live = f->live,
                                                          .clock = manual ? &f->clock.clock : NULL,
                                                          .files = &f->machine.files,
                                                          .tick_ms = manual ? 0 : 1,
                                                          .ticks_a_row = manual ? 0 : 1,
                                                          .manual = manual},
                         &f->system);
}

/* Lets a tenth of a second pass with this share of the processors busy. */
static void
tick(struct fixture *f, unsigned busy_percent)
{
    f->machine.busy += busy_percent;
    f->machine.idle += 100 - busy_percent;
    f->machine.net_bytes += 100;
    clock_manual_advance(&f->clock, TICK_US);
    collect_system_step(f->system);
}

static void
second(struct fixture *f, unsigned busy_percent)
{
    for (int i = 0; i < TICKS; i++) {
        tick(f, busy_percent);
    }
}

static void
test_system_moves_live_figures_ten_times_a_second(void **state)
{
    struct fixture *f = *state;
    struct live_system figures;

    start(f, true);
    collect_system_step(f->system);
    assert_true(live_system(f->live, &figures));
    assert_true(figures.cpu_percent == 0);
    assert_true(figures.memory_percent == 40);
    assert_true(figures.disk_usage_percent == 50);
    assert_true(figures.uptime_seconds == 77.5);
    assert_string_equal(figures.health, "healthy");
    tick(f, 30);
    live_system(f->live, &figures);
    assert_near(figures.cpu_percent, 30, 1e-9);
    assert_int_equal(figures.timestamp_us, NOW_US + TICK_US);
    tick(f, 50);
    live_system(f->live, &figures);
    assert_near(figures.cpu_percent, 40, 1e-9); /* mean of what is known */
    assert_int_equal(f->recorder.writes, 0);
}

static void
test_system_writes_a_row_a_second(void **state)
{
    struct fixture *f = *state;
    struct collect_status status;

    start(f, true);
    collect_system_step(f->system);
    second(f, 25);
    assert_int_equal(f->recorder.system_rows, 1);
    assert_near(f->recorder.last_cpu, 25, 1e-9);
    assert_string_equal(f->recorder.last_health, "healthy");
    assert_string_equal(f->recorder.metrics,
                        "host_load1=0.25;host_load5=0.5;host_load15=0.75;"
                        "host_memory_used_bytes=409600;host_disk_used_bytes=50;"
                        "host_net_rx_bytes_per_second=1000{\"device\":\"e\\\"0\"};"
                        "host_net_tx_bytes_per_second=0{\"device\":\"e\\\"0\"};");
    second(f, 25);
    second(f, 25);
    assert_int_equal(f->recorder.system_rows, 3);
    collect_system_status(f->system, &status);
    assert_string_equal(status.name, "system");
    assert_true(status.running);
    assert_int_equal(status.started_us, NOW_US);
    assert_near(status.uptime_seconds, 3, 1e-9);
    assert_int_equal(status.metrics_collected, 3 + f->recorder.metric_rows);
    assert_int_equal(status.errors, 0);
    assert_int_equal(status.last_success_us, NOW_US + 3 * TICKS * TICK_US);
}

static void
test_system_raises_and_clears_alerts(void **state)
{
    struct fixture *f = *state;
    struct live_alert alerts[8];

    start(f, true);
    collect_system_step(f->system);
    f->machine.memory_percent = 81;
    f->machine.disk_percent = 90; /* not above 90 */
    second(f, 80);                /* not above 80 */
    assert_int_equal(live_alerts(f->live, alerts, 8), 1);
    assert_string_equal(alerts[0].type, "memory_high");
    assert_string_equal(alerts[0].severity, "warning");
    assert_string_equal(alerts[0].message, "Memory usage is 81.0 %, above 80 %");
    assert_string_equal(f->recorder.last_health, "degraded");
    assert_int_equal(f->recorder.last_alerts, 1);

    f->machine.disk_percent = 91;
    second(f, 95);
    assert_int_equal(live_alerts_active(f->live), 3);
    assert_string_equal(f->recorder.last_health, "unhealthy");
    assert_int_equal(live_alerts(f->live, alerts, 8), 3);
    assert_string_equal(alerts[0].type, "disk_high");
    assert_string_equal(alerts[0].severity, "critical");

    f->machine.memory_percent = 10;
    f->machine.disk_percent = 10;
    second(f, 10);
    assert_int_equal(live_alerts_active(f->live), 0);
    assert_string_equal(f->recorder.last_health, "healthy");
}

static void
test_system_counts_failures_and_goes_on(void **state)
{
    struct fixture *f = *state;
    struct collect_status status;

    start(f, true);
    collect_system_step(f->system);
    f->recorder.answer = ERR_NO_SPACE;
    second(f, 10);
    collect_system_status(f->system, &status);
    assert_int_equal(status.errors, 1);
    assert_int_equal(status.metrics_collected, 0);
    assert_int_equal(status.last_success_us, 0);
    assert_string_equal(status.last_error, "the log is full");

    f->recorder.answer = ERR_OK;
    f->machine.is_broken = true;
    second(f, 10);
    collect_system_status(f->system, &status);
    assert_int_equal(status.errors, 5); /* processor, memory, disk, uptime */
    assert_string_equal(status.last_error, "cannot read /proc/uptime");
    assert_int_equal(f->recorder.system_rows, 1);
}

static void
wait_for_writes(struct recorder *recorder, size_t writes)
{
    pthread_mutex_lock(&recorder->lock);
    while (recorder->writes < writes) {
        pthread_cond_wait(&recorder->written, &recorder->lock);
    }
    pthread_mutex_unlock(&recorder->lock);
}

static void
wait_for_readings(struct machine *machine, size_t readings)
{
    pthread_mutex_lock(&machine->lock);
    while (machine->readings < readings) {
        pthread_cond_wait(&machine->read, &machine->lock);
    }
    pthread_mutex_unlock(&machine->lock);
}

static void
test_system_threads_write_until_stopped(void **state)
{
    struct fixture *f = *state;

    start(f, false);
    wait_for_writes(&f->recorder, 3);
    collect_system_stop(f->system);
    f->system = NULL;
    size_t writes = f->recorder.writes;
    assert_true(writes >= 3);
    assert_true(f->recorder.system_rows >= 3);
}

static void
test_system_live_figures_move_while_a_write_hangs(void **state)
{
    struct fixture *f = *state;
    struct live_system before, after;
    struct collect_status status;

    f->recorder.is_held = true;
    start(f, false);
    wait_for_writes(&f->recorder, 1);
    assert_true(live_system(f->live, &before));
    wait_for_readings(&f->machine, 200);
    assert_true(live_system(f->live, &after));
    assert_true(after.timestamp_us > before.timestamp_us);
    collect_system_status(f->system, &status); /* the queue has a bound, and says so */
    assert_true(status.errors > 0);
    assert_non_null(strstr(status.last_error, "given up"));

    pthread_mutex_lock(&f->recorder.lock);
    f->recorder.is_held = false;
    pthread_cond_broadcast(&f->recorder.written);
    pthread_mutex_unlock(&f->recorder.lock);
    wait_for_writes(&f->recorder, 2);
    collect_system_stop(f->system);
    f->system = NULL;
    assert_true(f->recorder.system_rows > 2);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_system_moves_live_figures_ten_times_a_second),
        TEST(test_system_writes_a_row_a_second),
        TEST(test_system_raises_and_clears_alerts),
        TEST(test_system_counts_failures_and_goes_on),
        TEST(test_system_threads_write_until_stopped),
        TEST(test_system_live_figures_move_while_a_write_hangs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
