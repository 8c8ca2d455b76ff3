/* Readings from /proc, /sys and statvfs. */
#include "collect/sampler.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

enum {
    US_PER_S = 1000000,
    WINDOW_US = 1050000, /* a second, and half a tick of slack */
    FIND_EVERY_US = 10 * US_PER_S,
    TEXT_BYTES = 16384,
    CPU_LINE_BYTES = 1024,
    CPU_FIELDS = 8,
    SECTOR_BYTES = 512,
    KIB = 1024
};

void
sampler_init(struct system_sampler *sampler, const struct system_files *files, const char *data_dir)
{
    *sampler = (struct system_sampler){.files = files, .data_dir = data_dir, .machine_cores = 1};
}

static size_t
read_text(struct system_sampler *sampler, const char *path, char *dst, size_t size)
{
    dst[0] = '\0';
    return sampler->files->read(sampler->files->ctx, path, dst, size);
}

/* Counts a list such as "0-3,6". */
static double
count_cpus(const char *list)
{
    struct slice rest = slice_trim(slice_of(list));
    long count = 0;

    while (rest.len > 0) {
        struct slice range;
        slice_split(&rest, ',', &range);
        char text[SAMPLER_NAME_BYTES];
        if (!slice_to_cstr(range, text, sizeof(text))) {
            continue;
        }
        char *end;
        long first = strtol(text, &end, 10);
        long last = *end == '-' ? strtol(end + 1, NULL, 10) : first;
        count += last >= first ? last - first + 1 : 0;
    }
    return count > 0 ? (double)count : 1;
}

static void
find_limits(struct system_sampler *sampler, int64_t mono_us)
{
    char list[CPU_LINE_BYTES];
    char old_dir[CGROUP_PATH_BYTES];

    if (mono_us < sampler->find_at_us) {
        return;
    }
    sampler->find_at_us = mono_us + FIND_EVERY_US;
    read_text(sampler, "/sys/devices/system/cpu/online", list, sizeof(list));
    sampler->machine_cores = count_cpus(list);
    memcpy(old_dir, sampler->cgroup.cpu_dir, sizeof(old_dir));
    cgroup_find(sampler->files, &sampler->cgroup);
    if (sampler->cgroup.cpu_cores >= sampler->machine_cores) {
        sampler->cgroup.cpu_cores = 0;
        sampler->cgroup.cpu_dir[0] = '\0';
    }
    if (strcmp(old_dir, sampler->cgroup.cpu_dir) != 0) {
        sampler->window_count = 0; /* another group's counters do not compare */
    }
}

static bool
read_counters(struct system_sampler *sampler, int64_t mono_us, struct sampler_counters *ret)
{
    char text[CPU_LINE_BYTES];
    uint64_t field[CPU_FIELDS] = {0};

    *ret = (struct sampler_counters){.mono_us = mono_us};
    if (read_text(sampler, "/proc/stat", text, sizeof(text)) == 0 ||
        strncmp(text, "cpu ", 4) != 0) {
        return false;
    }
    char *rest = text + 4;
    int count = 0;
    for (; count < CPU_FIELDS; count++) {
        char *end;
        field[count] = strtoull(rest, &end, 10);
        if (end == rest) {
            break;
        }
        rest = end;
    }
    if (count < 4) {
        return false;
    }
    ret->busy = field[0] + field[1] + field[2] + field[5] + field[6] + field[7];
    ret->total = ret->busy + field[3] + field[4];
    ret->has_group = cgroup_cpu_used_us(&sampler->cgroup, sampler->files, &ret->used_us);
    return true;
}

/* The oldest reading within the window. */
static const struct sampler_counters *
window_start(const struct system_sampler *sampler, int64_t mono_us)
{
    const struct sampler_counters *oldest = NULL;

    for (size_t back = 1; back <= sampler->window_count; back++) {
        size_t at = (sampler->window_next + SAMPLER_WINDOW - back) % SAMPLER_WINDOW;
        if (oldest && mono_us - sampler->window[at].mono_us > WINDOW_US) {
            break;
        }
        oldest = &sampler->window[at];
    }
    return oldest;
}

static double
percent(double part, double whole)
{
    double value = whole > 0 ? part * 100 / whole : 0;

    return value < 0 ? 0 : value > 100 ? 100 : value;
}

static void
read_cpu(struct system_sampler *sampler, int64_t mono_us, struct sampler_reading *reading)
{
    struct sampler_counters now;

    reading->cpu_cores =
        sampler->cgroup.cpu_cores > 0 ? sampler->cgroup.cpu_cores : sampler->machine_cores;
    if (!read_counters(sampler, mono_us, &now)) {
        reading->failed |= SAMPLER_NO_CPU;
        return;
    }
    const struct sampler_counters *then = window_start(sampler, mono_us);
    if (then && now.has_group && then->has_group && now.used_us >= then->used_us) {
        reading->cpu_percent =
            percent((double)(now.used_us - then->used_us),
                    (double)(now.mono_us - then->mono_us) * sampler->cgroup.cpu_cores);
    } else if (then && now.total > then->total && now.busy >= then->busy) {
        reading->cpu_percent =
            percent((double)(now.busy - then->busy), (double)(now.total - then->total));
    }
    sampler->window[sampler->window_next] = now;
    sampler->window_next = (sampler->window_next + 1) % SAMPLER_WINDOW;
    if (sampler->window_count < SAMPLER_WINDOW) {
        sampler->window_count++;
    }
}

static void
read_memory(struct system_sampler *sampler, struct sampler_reading *reading)
{
    char text[TEXT_BYTES];
    uint64_t total, available;
    uint64_t limit = sampler->cgroup.memory_bytes;

    if (read_text(sampler, "/proc/meminfo", text, sizeof(text)) == 0 ||
        !system_field(text, "MemTotal:", &total)) {
        reading->failed |= SAMPLER_NO_MEMORY;
        return;
    }
    if (!system_field(text, "MemAvailable:", &available) &&
        !system_field(text, "MemFree:", &available)) {
        reading->failed |= SAMPLER_NO_MEMORY;
        return;
    }
    reading->memory_total_bytes = total * KIB;
    reading->memory_used_bytes = (available < total ? total - available : 0) * KIB;
    uint64_t group_used;
    if (limit > 0 && limit < reading->memory_total_bytes &&
        cgroup_memory_used(&sampler->cgroup, sampler->files, &group_used)) {
        reading->memory_total_bytes = limit;
        reading->memory_used_bytes = group_used < limit ? group_used : limit;
    }
    reading->memory_percent =
        percent((double)reading->memory_used_bytes, (double)reading->memory_total_bytes);
}

static void
read_disk(struct system_sampler *sampler, struct sampler_reading *reading)
{
    struct system_disk disk;

    if (!sampler->files->disk(sampler->files->ctx, sampler->data_dir, &disk)) {
        reading->failed |= SAMPLER_NO_DISK;
        return;
    }
    reading->disk_used_bytes = disk.used_bytes;
    reading->disk_total_bytes = disk.total_bytes;
    reading->disk_percent =
        percent((double)disk.used_bytes, (double)disk.used_bytes + (double)disk.available_bytes);
}

static void
read_uptime(struct system_sampler *sampler, struct sampler_reading *reading)
{
    char text[CPU_LINE_BYTES];
    char *end;

    read_text(sampler, "/proc/uptime", text, sizeof(text));
    double value = strtod(text, &end);
    if (end == text || !isfinite(value) || value < 0) {
        reading->failed |= SAMPLER_NO_UPTIME;
        return;
    }
    reading->uptime_seconds = value;
}

void
sampler_read(struct system_sampler *sampler, int64_t mono_us, struct sampler_reading *ret_reading)
{
    struct sampler_reading reading = sampler->last;

    reading.failed = 0;
    find_limits(sampler, mono_us);
    read_cpu(sampler, mono_us, &reading);
    read_memory(sampler, &reading);
    read_disk(sampler, &reading);
    read_uptime(sampler, &reading);
    sampler->last = reading;
    *ret_reading = reading;
}

static bool
starts_with_any(const char *name, const char *const *prefixes)
{
    for (; *prefixes; prefixes++) {
        if (strncmp(name, *prefixes, strlen(*prefixes)) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether a device's traffic is already counted at another one: bridges, tunnels, partitions. */
static bool
is_ignored(struct system_sampler *sampler, enum sampler_device_kind kind, const char *name)
{
    static const char *const links[] = {"lo",    "veth", "docker", "br-",  "virbr",
                                        "dummy", "ifb",  "tun",    "cali", NULL};
    static const char *const blocks[] = {"loop", "ram", "zram", "dm-", "md", "sr", "fd", NULL};
    char path[CGROUP_PATH_BYTES];
    char text[CPU_LINE_BYTES];

    if (kind == SAMPLER_NETWORK) {
        return starts_with_any(name, links);
    }
    if (starts_with_any(name, blocks)) {
        return true;
    }
    snprintf(path, sizeof(path), "/sys/block/%s/stat", name); /* partitions have none there */
    return read_text(sampler, path, text, sizeof(text)) == 0;
}

/* Finds or adds a device; NULL past the bound. */
static struct sampler_device *
find_device(struct system_sampler *sampler, enum sampler_device_kind kind, struct slice name)
{
    struct sampler_device fresh = {.kind = kind};

    if (name.len == 0 || !slice_to_cstr(name, fresh.name, sizeof(fresh.name))) {
        return NULL;
    }
    for (size_t i = 0; i < sampler->device_count; i++) {
        struct sampler_device *device = &sampler->devices[i];
        if (device->kind == kind && strcmp(device->name, fresh.name) == 0) {
            return device;
        }
    }
    if (sampler->device_count == SAMPLER_DEVICES_MAX) {
        return NULL;
    }
    fresh.ignored = is_ignored(sampler, kind, fresh.name);
    sampler->devices[sampler->device_count] = fresh;
    return &sampler->devices[sampler->device_count++];
}

static void
update_device(struct system_sampler *sampler, enum sampler_device_kind kind, struct slice name,
              uint64_t in_bytes, uint64_t out_bytes, int64_t mono_us)
{
    struct sampler_device *device = find_device(sampler, kind, name);

    if (!device) {
        return;
    }
    double seconds = (double)(mono_us - device->mono_us) / US_PER_S;
    device->has_rates = device->mono_us > 0 && seconds > 0 && in_bytes >= device->in_bytes &&
                        out_bytes >= device->out_bytes;
    if (device->has_rates) {
        device->in_per_second = (double)(in_bytes - device->in_bytes) / seconds;
        device->out_per_second = (double)(out_bytes - device->out_bytes) / seconds;
    }
    device->in_bytes = in_bytes;
    device->out_bytes = out_bytes;
    device->mono_us = mono_us;
    device->present = true;
}

/* Reads the blank-separated numbers of a line; returns how many. */
static size_t
read_numbers(struct slice line, uint64_t *ret_numbers, size_t max)
{
    size_t count = 0;

    while (count < max) {
        line = slice_trim(line);
        size_t digits = 0;
        uint64_t value = 0;
        while (digits < line.len && line.ptr[digits] >= '0' && line.ptr[digits] <= '9') {
            value = value * 10 + (uint64_t)(line.ptr[digits] - '0');
            digits++;
        }
        if (digits == 0) {
            break;
        }
        ret_numbers[count++] = value;
        line = slice_sub(line, digits, line.len);
    }
    return count;
}

/* "eth0: rx_bytes packets errs drop fifo frame compressed multicast tx_bytes ..." */
static void
read_network_line(struct system_sampler *sampler, struct slice line, int64_t mono_us)
{
    enum { RX = 0, TX = 8, FIELDS = 9 };
    uint64_t number[FIELDS];
    struct slice name;

    if (!slice_split(&line, ':', &name) || read_numbers(line, number, FIELDS) < FIELDS) {
        return;
    }
    update_device(sampler, SAMPLER_NETWORK, slice_trim(name), number[RX], number[TX], mono_us);
}

/* "major minor name reads merged sectors ms writes merged sectors ..." */
static void
read_disk_line(struct system_sampler *sampler, struct slice line, int64_t mono_us)
{
    enum { READ = 2, WRITTEN = 6, FIELDS = 7 };
    uint64_t number[FIELDS];
    struct slice word;

    for (int skip = 0; skip < 2; skip++) {
        line = slice_trim(line);
        slice_split(&line, ' ', &word);
    }
    line = slice_trim(line);
    slice_split(&line, ' ', &word);
    if (read_numbers(line, number, FIELDS) < FIELDS) {
        return;
    }
    update_device(sampler, SAMPLER_DISK, word, number[READ] * SECTOR_BYTES,
                  number[WRITTEN] * SECTOR_BYTES, mono_us);
}

static void
read_devices(struct system_sampler *sampler, const char *path, enum sampler_device_kind kind,
             int64_t mono_us)
{
    char text[TEXT_BYTES];
    struct slice rest = slice_make(text, read_text(sampler, path, text, sizeof(text)));
    struct slice line;

    /* A last line without its newline may be cut off, and is left out. */
    while (slice_split(&rest, '\n', &line)) {
        if (kind == SAMPLER_NETWORK) {
            read_network_line(sampler, line, mono_us);
        } else {
            read_disk_line(sampler, line, mono_us);
        }
    }
}

/* Makes room of devices that are gone. */
static void
drop_absent(struct system_sampler *sampler)
{
    size_t kept = 0;

    for (size_t i = 0; i < sampler->device_count; i++) {
        if (sampler->devices[i].present) {
            sampler->devices[kept++] = sampler->devices[i];
        }
    }
    sampler->device_count = kept;
}

void
sampler_read_rates(struct system_sampler *sampler, int64_t mono_us, struct sampler_rates *ret_rates)
{
    struct sampler_rates rates = {0};
    char text[CPU_LINE_BYTES];
    char *rest = text;

    read_text(sampler, "/proc/loadavg", text, sizeof(text));
    rates.load1 = strtod(rest, &rest);
    rates.load5 = strtod(rest, &rest);
    rates.load15 = strtod(rest, &rest);
    for (size_t i = 0; i < sampler->device_count; i++) {
        sampler->devices[i].present = false;
    }
    read_devices(sampler, "/proc/net/dev", SAMPLER_NETWORK, mono_us);
    read_devices(sampler, "/proc/diskstats", SAMPLER_DISK, mono_us);
    drop_absent(sampler);
    for (size_t i = 0; i < sampler->device_count; i++) {
        const struct sampler_device *device = &sampler->devices[i];
        if (device->ignored || !device->has_rates) {
            continue;
        }
        bool is_net = device->kind == SAMPLER_NETWORK;
        *(is_net ? &rates.net_in_per_second : &rates.disk_in_per_second) += device->in_per_second;
        *(is_net ? &rates.net_out_per_second : &rates.disk_out_per_second) +=
            device->out_per_second;
    }
    *ret_rates = rates;
}
