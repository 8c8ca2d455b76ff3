/* The system collector: a thread that reads and one that writes. */
#include "collect/system.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json_write.h"
#include "collect/rows.h"
#include "collect/sampler.h"
#include "collect/tally.h"

enum {
    TICK_MS = 100,
    TICKS_A_ROW = 10,
    US_PER_MS = 1000,
    QUEUE_ROWS = 60,
    TEXT_BYTES_MAX = 1 << 20,
    LABEL_BYTES_MAX = 256,
    MESSAGE_BYTES = 160
};

static const double HIGH_PERCENT = 80;      /* cpu_high, memory_high, degraded */
static const double HIGH_DISK_PERCENT = 90; /* disk_high */
static const double UNHEALTHY_PERCENT = 90;

/* What becomes rows once a second. */
struct system_row {
    struct live_system figures;
    struct sampler_rates rates;
    struct sampler_device devices[SAMPLER_DEVICES_MAX];
    size_t device_count;
};

struct collect_system {
    struct collect_sink sink;
    struct live *live;
    const struct clock *clock;
    char *data_dir;
    int64_t tick_us;
    uint64_t ticks_a_row;
    bool manual;
    pthread_t sampler_thread;
    pthread_t writer_thread;
    /* sampler thread */
    struct system_sampler sampler;
    struct sampler_rates rates;
    uint64_t ticks;
    /* queue and account; the queue is guarded by tally.lock */
    struct tally tally;
    struct system_row *queue; /* ring */
    size_t queue_first;
    size_t queue_count;
    /* writer thread */
    struct system_row *taken;
};

static const char *
health_of(const struct sampler_reading *reading)
{
    double worst = reading->cpu_percent > reading->memory_percent ? reading->cpu_percent
                                                                  : reading->memory_percent;

    return worst > UNHEALTHY_PERCENT ? "unhealthy" : worst > HIGH_PERCENT ? "degraded" : "healthy";
}

static void
set_alert(struct collect_system *system, const char *type, const char *what, double percent,
          double limit, const char *severity)
{
    char message[MESSAGE_BYTES];

    snprintf(message, sizeof(message), "%s usage is %.1f %%, above %.0f %%", what, percent, limit);
    live_alert_set(system->live, type, percent > limit, severity, message);
}

static void
set_alerts(struct collect_system *system, const struct sampler_reading *reading)
{
    set_alert(system, "cpu_high", "CPU", reading->cpu_percent, HIGH_PERCENT, "warning");
    set_alert(system, "memory_high", "Memory", reading->memory_percent, HIGH_PERCENT, "warning");
    set_alert(system, "disk_high", "Disk", reading->disk_percent, HIGH_DISK_PERCENT, "critical");
}

static void
tell_failures(struct collect_system *system, unsigned failed)
{
    static const struct {
        unsigned bit;
        const char *text;
    } failures[] = {{SAMPLER_NO_CPU, "cannot read processor times from /proc/stat"},
                    {SAMPLER_NO_MEMORY, "cannot read memory from /proc/meminfo"},
                    {SAMPLER_NO_DISK, "cannot tell the room of the data directory's file system"},
                    {SAMPLER_NO_UPTIME, "cannot read /proc/uptime"}};

    for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        if (failed & failures[i].bit) {
            tally_error(&system->tally, failures[i].text);
        }
    }
}

static void
push_row(struct collect_system *system, const struct live_system *figures)
{
    bool given_up = false;

    pthread_mutex_lock(&system->tally.lock);
    if (system->queue_count == QUEUE_ROWS) {
        system->queue_first = (system->queue_first + 1) % QUEUE_ROWS;
        system->queue_count--;
        given_up = true;
    }
    struct system_row *row =
        &system->queue[(system->queue_first + system->queue_count++) % QUEUE_ROWS];
    row->figures = *figures;
    row->rates = system->rates;
    row->device_count = system->sampler.device_count;
    memcpy(row->devices, system->sampler.devices, sizeof(row->devices));
    pthread_cond_broadcast(&system->tally.changed);
    pthread_mutex_unlock(&system->tally.lock);
    if (given_up) {
        tally_error(&system->tally, "writing is behind: the oldest row of the queue is given up");
    }
}

/* One reading; every ticks_a_row-th also becomes rows. The first only starts the counters. */
static void
take_reading(struct collect_system *system)
{
    struct sampler_reading reading;
    int64_t mono_us = clock_mono_us(system->clock);
    bool is_row = system->ticks > 0 && system->ticks % system->ticks_a_row == 0;

    sampler_read(&system->sampler, mono_us, &reading);
    if (is_row || system->ticks == 0) {
        sampler_read_rates(&system->sampler, mono_us, &system->rates);
        tell_failures(system, reading.failed);
    }
    if (is_row) {
        set_alerts(system, &reading);
    }
    struct live_system figures = {.timestamp_us = clock_wall_us(system->clock),
                                  .cpu_percent = reading.cpu_percent,
                                  .memory_percent = reading.memory_percent,
                                  .disk_usage_percent = reading.disk_percent,
                                  .uptime_seconds = reading.uptime_seconds,
                                  .active_alerts = (int)live_alerts_active(system->live),
                                  .cpu_cores = reading.cpu_cores,
                                  .memory_used_bytes = reading.memory_used_bytes,
                                  .memory_total_bytes = reading.memory_total_bytes,
                                  .disk_used_bytes = reading.disk_used_bytes,
                                  .disk_total_bytes = reading.disk_total_bytes,
                                  .load1 = system->rates.load1,
                                  .net_rx_bytes_per_second = system->rates.net_in_per_second,
                                  .net_tx_bytes_per_second = system->rates.net_out_per_second,
                                  .disk_read_bytes_per_second = system->rates.disk_in_per_second,
                                  .disk_write_bytes_per_second = system->rates.disk_out_per_second};
    slice_to_cstr(slice_of(health_of(&reading)), figures.health, sizeof(figures.health));
    live_set_system(system->live, &figures);
    if (is_row) {
        push_row(system, &figures);
    }
    system->ticks++;
}

static void
add_system_row(struct batch *batch, const struct live_system *figures)
{
    size_t row = batch_add_row(batch);

    rows_put_time(batch, row, "timestamp", figures->timestamp_us);
    rows_put_number(batch, row, "cpu_percent", figures->cpu_percent);
    rows_put_number(batch, row, "memory_percent", figures->memory_percent);
    rows_put_number(batch, row, "disk_usage_percent", figures->disk_usage_percent);
    rows_put_number(batch, row, "uptime_seconds", figures->uptime_seconds);
    rows_put_text(batch, row, "health_status", slice_of(figures->health));
    rows_put_number(batch, row, "active_alerts", figures->active_alerts);
}

static void
add_metric(struct batch *batch, int64_t timestamp_us, const char *name, double value,
           struct slice labels)
{
    size_t row = batch_add_row(batch);

    rows_put_time(batch, row, "timestamp", timestamp_us);
    rows_put_text(batch, row, "metric_name", slice_of(name));
    rows_put_number(batch, row, "value", value);
    if (labels.len > 0) {
        rows_put_text(batch, row, "labels", labels);
    }
}

static void
add_device(struct batch *batch, int64_t timestamp_us, const struct sampler_device *device)
{
    struct buf BUF_AUTO text;
    bool is_net = device->kind == SAMPLER_NETWORK;

    buf_init(&text, LABEL_BYTES_MAX);
    buf_add_cstr(&text, "{\"device\":");
    json_quote(&text, slice_of(device->name));
    buf_add_char(&text, '}');
    struct slice labels = batch_keep_text(batch, buf_slice(&text));
    add_metric(batch, timestamp_us,
               is_net ? "host_net_rx_bytes_per_second" : "host_disk_read_bytes_per_second",
               device->in_per_second, labels);
    add_metric(batch, timestamp_us,
               is_net ? "host_net_tx_bytes_per_second" : "host_disk_write_bytes_per_second",
               device->out_per_second, labels);
}

static void
add_metric_rows(struct batch *batch, const struct system_row *row)
{
    const struct slice none = {"", 0};
    int64_t at_us = row->figures.timestamp_us;

    add_metric(batch, at_us, "host_load1", row->rates.load1, none);
    add_metric(batch, at_us, "host_load5", row->rates.load5, none);
    add_metric(batch, at_us, "host_load15", row->rates.load15, none);
    add_metric(batch, at_us, "host_memory_used_bytes", (double)row->figures.memory_used_bytes,
               none);
    add_metric(batch, at_us, "host_disk_used_bytes", (double)row->figures.disk_used_bytes, none);
    for (size_t i = 0; i < row->device_count; i++) {
        if (!row->devices[i].ignored && row->devices[i].has_rates) {
            add_device(batch, at_us, &row->devices[i]);
        }
    }
}

/* Takes what is queued into system->taken. */
static size_t
take_rows(struct collect_system *system)
{
    pthread_mutex_lock(&system->tally.lock);
    size_t count = system->queue_count;
    for (size_t i = 0; i < count; i++) {
        system->taken[i] = system->queue[(system->queue_first + i) % QUEUE_ROWS];
    }
    system->queue_count = 0;
    pthread_mutex_unlock(&system->tally.lock);
    return count;
}

static void
write_rows(struct collect_system *system)
{
    struct batch batches[2];
    struct err err = {0};
    size_t count = take_rows(system);

    if (count == 0) {
        return;
    }
    batch_init(&batches[0], catalog_table(TABLE_SYSTEM_METRICS), TEXT_BYTES_MAX);
    batch_init(&batches[1], catalog_table(TABLE_METRICS), TEXT_BYTES_MAX);
    for (size_t i = 0; i < count; i++) {
        add_system_row(&batches[0], &system->taken[i].figures);
        add_metric_rows(&batches[1], &system->taken[i]);
    }
    enum err_code code = system->sink.write(system->sink.ctx, batches, 2, &err);
    tally_write(&system->tally, code, &err, batches[0].rows + batches[1].rows);
    batch_fini(&batches[0]);
    batch_fini(&batches[1]);
}

static void *
sampler_main(void *ctx)
{
    struct collect_system *system = ctx;
    int64_t next_us = clock_mono_us(clock_system()) + system->tick_us;

    do {
        take_reading(system);
    } while (tally_wait_tick(&system->tally, &next_us, system->tick_us));
    return NULL;
}

static void *
writer_main(void *ctx)
{
    struct collect_system *system = ctx;
    bool stopping;

    do {
        pthread_mutex_lock(&system->tally.lock);
        while (!system->tally.stopping && system->queue_count == 0) {
            pthread_cond_wait(&system->tally.changed, &system->tally.lock);
        }
        stopping = system->tally.stopping;
        pthread_mutex_unlock(&system->tally.lock);
        write_rows(system);
    } while (!stopping);
    return NULL;
}

/* Without threads the collector stands still and says so. */
static void
start_threads(struct collect_system *system)
{
    system->manual = pthread_create(&system->writer_thread, NULL, writer_main, system) != 0;
    if (!system->manual &&
        pthread_create(&system->sampler_thread, NULL, sampler_main, system) != 0) {
        tally_stop(&system->tally);
        pthread_join(system->writer_thread, NULL);
        system->manual = true;
    }
    if (system->manual) {
        tally_stop(&system->tally);
        tally_error(&system->tally, "cannot start a thread");
    }
}

void
collect_system_start(const struct collect_system_options *options,
                     struct collect_system **ret_system)
{
    struct collect_system *system = mem_zalloc(1, sizeof(*system));

    system->sink = options->sink;
    system->live = options->live;
    system->clock = options->clock ? options->clock : clock_system();
    system->data_dir = mem_strdup(slice_of(options->data_dir ? options->data_dir : "/"));
    system->tick_us = (int64_t)(options->tick_ms > 0 ? options->tick_ms : TICK_MS) * US_PER_MS;
    system->ticks_a_row =
        options->ticks_a_row > 0 ? (uint64_t)options->ticks_a_row : (uint64_t)TICKS_A_ROW;
    system->manual = options->manual;
    system->queue = mem_zalloc(QUEUE_ROWS, sizeof(*system->queue));
    system->taken = mem_zalloc(QUEUE_ROWS, sizeof(*system->taken));
    sampler_init(&system->sampler, options->files ? options->files : system_files_real(),
                 system->data_dir);
    tally_init(&system->tally, "system", system->clock);
    if (!system->manual) {
        start_threads(system);
    }
    *ret_system = system;
}

void
collect_system_stop(struct collect_system *system)
{
    if (!system) {
        return;
    }
    tally_stop(&system->tally);
    if (!system->manual) {
        pthread_join(system->sampler_thread, NULL);
        pthread_join(system->writer_thread, NULL);
    }
    tally_fini(&system->tally);
    free(system->data_dir);
    free(system->queue);
    free(system->taken);
    free(system);
}

void
collect_system_step(struct collect_system *system)
{
    take_reading(system);
    write_rows(system);
}

void
collect_system_status(struct collect_system *system, struct collect_status *ret_status)
{
    tally_status(&system->tally, ret_status);
}
