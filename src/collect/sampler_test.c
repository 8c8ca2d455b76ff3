/* Tests of the readings, fed with recorded text of the kernel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "collect/sampler.h"

enum { FILES_MAX = 24, SECOND = 1000000 };

struct fake {
    struct system_files files;
    const char *path[FILES_MAX];
    const char *text[FILES_MAX];
    size_t count;
    struct system_disk disk;
    bool disk_fails;
};

static void
assert_near(double value, double wanted, double epsilon)
{
    if (!(fabs(value - wanted) <= epsilon)) {
        fail_msg("%.12g is not %.12g", value, wanted);
    }
}

static size_t
fake_read(void *ctx, const char *path, char *dst, size_t size)
{
    const struct fake *fake = ctx;

    dst[0] = '\0';
    for (size_t i = 0; i < fake->count; i++) {
        if (strcmp(fake->path[i], path) == 0 && fake->text[i]) {
            size_t len = strlen(fake->text[i]);
            len = len < size - 1 ? len : size - 1;
            memcpy(dst, fake->text[i], len);
            dst[len] = '\0';
            return len;
        }
    }
    return 0;
}

static bool
fake_disk(void *ctx, const char *path, struct system_disk *ret_disk)
{
    const struct fake *fake = ctx;

    assert_string_equal(path, "/data");
    *ret_disk = fake->disk;
    return !fake->disk_fails;
}

static void
set(struct fake *fake, const char *path, const char *text)
{
    for (size_t i = 0; i < fake->count; i++) {
        if (strcmp(fake->path[i], path) == 0) {
            fake->text[i] = text;
            return;
        }
    }
    assert_true(fake->count < FILES_MAX);
    fake->path[fake->count] = path;
    fake->text[fake->count++] = text;
}

static void
fake_init(struct fake *fake)
{
    *fake = (struct fake){.disk = {1000, 300, 500}};
    fake->files = (struct system_files){fake_read, fake_disk, fake};
    set(fake, "/sys/devices/system/cpu/online", "0-2,5\n");
    set(fake, "/proc/stat",
        "cpu  100 10 50 1000 40 0 5 5 0 0\n"
        "cpu0 50 5 25 500 20 0 0 0 0 0\n");
    set(fake, "/proc/meminfo",
        "MemTotal:        8000 kB\nMemFree:         1000 kB\nMemAvailable:    6000 kB\n");
    set(fake, "/proc/uptime", "12345.67 54321.00\n");
    set(fake, "/proc/loadavg", "0.50 1.25 2.00 1/100 4242\n");
}

static void
test_reading_gives_the_machine_its_shares(void **state)
{
    struct fake fake;
    struct system_sampler sampler;
    struct sampler_reading reading;

    (void)state;
    fake_init(&fake);
    sampler_init(&sampler, &fake.files, "/data");
    sampler_read(&sampler, 1, &reading);
    assert_int_equal(reading.failed, 0);
    assert_true(reading.cpu_percent == 0);
    assert_true(reading.cpu_cores == 4);
    assert_true(reading.memory_percent == 25);
    assert_int_equal(reading.memory_used_bytes, 2000 * 1024);
    assert_int_equal(reading.memory_total_bytes, 8000 * 1024);
    assert_near(reading.disk_percent, 37.5, 1e-12); /* as df: used / (used + available) */
    assert_int_equal(reading.disk_total_bytes, 1000);
    assert_near(reading.uptime_seconds, 12345.67, 1e-9);

    /* 30 busy of 100 ticks; iowait is not busy. */
    set(&fake, "/proc/stat", "cpu  120 10 60 1060 50 0 5 5 0 0\n");
    sampler_read(&sampler, 100001, &reading);
    assert_near(reading.cpu_percent, 30, 1e-9);
}

static void
test_cpu_is_the_mean_of_the_last_second(void **state)
{
    static const char *const step[] = {
        "cpu 0 0 0 0 0 0 0 0\n",      "cpu 100 0 0 0 0 0 0 0\n",   "cpu 100 0 0 100 0 0 0 0\n",
        "cpu 100 0 0 200 0 0 0 0\n",  "cpu 100 0 0 300 0 0 0 0\n", "cpu 100 0 0 400 0 0 0 0\n",
        "cpu 100 0 0 500 0 0 0 0\n",  "cpu 100 0 0 600 0 0 0 0\n", "cpu 100 0 0 700 0 0 0 0\n",
        "cpu 100 0 0 800 0 0 0 0\n",  "cpu 100 0 0 900 0 0 0 0\n", "cpu 100 0 0 1000 0 0 0 0\n",
        "cpu 100 0 0 1100 0 0 0 0\n",
    };
    struct fake fake;
    struct system_sampler sampler;
    struct sampler_reading reading;

    (void)state;
    fake_init(&fake);
    sampler_init(&sampler, &fake.files, "/data");
    for (int i = 0; i <= 10; i++) {
        set(&fake, "/proc/stat", step[i]);
        sampler_read(&sampler, 5 + i * (SECOND / 10), &reading);
    }
    assert_near(reading.cpu_percent, 10, 1e-9);
    set(&fake, "/proc/stat", step[11]);
    sampler_read(&sampler, 5 + 11 * (SECOND / 10), &reading);
    assert_near(reading.cpu_percent, 0, 1e-9); /* the busy tick is a second ago */
    set(&fake, "/proc/stat", step[0]);         /* counters that go back */
    sampler_read(&sampler, 5 + 12 * (SECOND / 10), &reading);
    assert_near(reading.cpu_percent, 0, 1e-9);
}

static void
test_what_cannot_be_read_keeps_its_value_and_is_named(void **state)
{
    struct fake fake;
    struct system_sampler sampler;
    struct sampler_reading reading;

    (void)state;
    fake_init(&fake);
    sampler_init(&sampler, &fake.files, "/data");
    sampler_read(&sampler, 1, &reading);
    set(&fake, "/proc/stat", "intr 1\n");
    set(&fake, "/proc/meminfo", NULL);
    set(&fake, "/proc/uptime", "never\n");
    fake.disk_fails = true;
    sampler_read(&sampler, 2, &reading);
    assert_int_equal(reading.failed,
                     SAMPLER_NO_CPU | SAMPLER_NO_MEMORY | SAMPLER_NO_DISK | SAMPLER_NO_UPTIME);
    assert_true(reading.memory_percent == 25);
    assert_near(reading.disk_percent, 37.5, 1e-12);
    set(&fake, "/proc/meminfo", "MemTotal: 8000 kB\nMemFree: 2000 kB\n");
    sampler_read(&sampler, 3, &reading);
    assert_true(reading.memory_percent == 75); /* old kernels have no MemAvailable */
}

static void
test_a_group_of_version_2_limits(void **state)
{
    struct fake fake;
    struct system_sampler sampler;
    struct sampler_reading reading;

    (void)state;
    fake_init(&fake);
    set(&fake, "/proc/self/cgroup", "0::/a.slice/b.scope\n");
    set(&fake, "/sys/fs/cgroup/a.slice/cpu.max", "150000 100000\n");
    set(&fake, "/sys/fs/cgroup/a.slice/b.scope/cpu.max", "max 100000\n");
    set(&fake, "/sys/fs/cgroup/a.slice/cpu.stat", "usage_usec 1000000\nuser_usec 7\n");
    set(&fake, "/sys/fs/cgroup/a.slice/memory.max", "4096000\n");
    set(&fake, "/sys/fs/cgroup/a.slice/b.scope/memory.max", "2048000\n");
    set(&fake, "/sys/fs/cgroup/a.slice/b.scope/memory.current", "1524000\n");
    set(&fake, "/sys/fs/cgroup/a.slice/b.scope/memory.stat", "file 9\ninactive_file 500000\n");
    sampler_init(&sampler, &fake.files, "/data");
    sampler_read(&sampler, 1, &reading);
    assert_near(reading.cpu_cores, 1.5, 1e-12);
    assert_int_equal(reading.memory_total_bytes, 2048000);
    assert_near(reading.memory_percent, 50, 1e-12);
    set(&fake, "/sys/fs/cgroup/a.slice/cpu.stat", "usage_usec 1750000\n");
    sampler_read(&sampler, 1 + SECOND, &reading);
    assert_near(reading.cpu_percent, 50, 1e-9);
}

static void
test_a_group_of_version_1_limits(void **state)
{
    struct fake fake;
    struct system_sampler sampler;
    struct sampler_reading reading;

    (void)state;
    fake_init(&fake);
    set(&fake, "/proc/self/cgroup", "4:memory:/job\n2:cpuacct:/job\n1:cpu:/job\n0::/\n");
    set(&fake, "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "200000\n");
    set(&fake, "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
    set(&fake, "/sys/fs/cgroup/cpuacct/job/cpuacct.usage", "1000000000\n");
    set(&fake, "/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    set(&fake, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "4096000\n");
    set(&fake, "/sys/fs/cgroup/memory/memory.usage_in_bytes", "1024000\n");
    sampler_init(&sampler, &fake.files, "/data");
    sampler_read(&sampler, 1, &reading);
    assert_near(reading.cpu_cores, 2, 1e-12);
    assert_near(reading.memory_percent, 25, 1e-12);
    set(&fake, "/sys/fs/cgroup/cpuacct/job/cpuacct.usage", "2000000000\n");
    sampler_read(&sampler, 1 + SECOND, &reading);
    assert_near(reading.cpu_percent, 50, 1e-9);
}

static void
test_limits_above_the_machine_do_not_count(void **state)
{
    struct fake fake;
    struct system_sampler sampler;
    struct sampler_reading reading;

    (void)state;
    fake_init(&fake);
    set(&fake, "/proc/self/cgroup", "0::/\n");
    set(&fake, "/sys/fs/cgroup/cpu.max", "800000 100000\n");
    set(&fake, "/sys/fs/cgroup/cpu.stat", "usage_usec 1\n");
    set(&fake, "/sys/fs/cgroup/memory.max", "99999999999\n");
    set(&fake, "/sys/fs/cgroup/memory.current", "1\n");
    sampler_init(&sampler, &fake.files, "/data");
    sampler_read(&sampler, 1, &reading);
    assert_true(reading.cpu_cores == 4);
    assert_int_equal(reading.memory_total_bytes, 8000 * 1024);
}

static void
test_rates_are_growth_by_time_of_whole_devices(void **state)
{
    struct fake fake;
    struct system_sampler sampler;
    struct sampler_rates rates;

    (void)state;
    fake_init(&fake);
    set(&fake, "/sys/block/vda/stat", "1\n");
    set(&fake, "/proc/net/dev",
        "Inter-| Receive | Transmit\n face |bytes\n"
        "    lo: 999 1 0 0 0 0 0 0 999 1 0 0 0 0 0 0\n"
        "  eth0:1000 9 0 0 0 0 0 0 500 9 0 0 0 0 0 0\n");
    set(&fake, "/proc/diskstats",
        "   7       0 loop0 1 1 100 1 1 1 100 1 0 0 0\n"
        " 254       0 vda 1 1 100 1 1 1 200 1 0 0 0\n"
        " 254       1 vda1 1 1 100 1 1 1 200 1 0 0 0\n"
        " 254       9 cut 1 1");
    sampler_init(&sampler, &fake.files, "/data");
    sampler_read_rates(&sampler, 7, &rates);
    assert_true(rates.net_in_per_second == 0);
    assert_near(rates.load15, 2, 1e-12);
    assert_int_equal(sampler.device_count, 5);

    set(&fake, "/proc/net/dev",
        "    lo: 99999 1 0 0 0 0 0 0 99999 1 0 0 0 0 0 0\n"
        "  eth0:3000 9 0 0 0 0 0 0 600 9 0 0 0 0 0 0\n");
    set(&fake, "/proc/diskstats",
        " 254       0 vda 1 1 104 1 1 1 202 1 0 0 0\n"
        " 254       1 vda1 1 1 104 1 1 1 202 1 0 0 0\n");
    sampler_read_rates(&sampler, 7 + 2 * SECOND, &rates);
    assert_near(rates.net_in_per_second, 1000, 1e-9);
    assert_near(rates.net_out_per_second, 50, 1e-9);
    assert_near(rates.disk_in_per_second, 1024, 1e-9);
    assert_near(rates.disk_out_per_second, 512, 1e-9);
    assert_int_equal(sampler.device_count, 4); /* loop0 is gone */

    set(&fake, "/proc/net/dev", "  eth0:10 9 0 0 0 0 0 0 5 9 0 0 0 0 0 0\n"); /* counters restart */
    sampler_read_rates(&sampler, 7 + 3 * SECOND, &rates);
    assert_true(rates.net_in_per_second == 0);
}

static void
test_this_machine_can_be_read(void **state)
{
    struct system_sampler sampler;
    struct sampler_reading reading;
    struct sampler_rates rates;

    (void)state;
    sampler_init(&sampler, system_files_real(), "/");
    sampler_read(&sampler, 1, &reading);
    sampler_read_rates(&sampler, 1, &rates);
    assert_int_equal(reading.failed, 0);
    assert_true(reading.cpu_cores > 0);
    assert_true(reading.memory_total_bytes > 0 && reading.memory_percent > 0);
    assert_true(reading.disk_total_bytes > 0);
    assert_true(reading.uptime_seconds > 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading_gives_the_machine_its_shares),
        cmocka_unit_test(test_cpu_is_the_mean_of_the_last_second),
        cmocka_unit_test(test_what_cannot_be_read_keeps_its_value_and_is_named),
        cmocka_unit_test(test_a_group_of_version_2_limits),
        cmocka_unit_test(test_a_group_of_version_1_limits),
        cmocka_unit_test(test_limits_above_the_machine_do_not_count),
        cmocka_unit_test(test_rates_are_growth_by_time_of_whole_devices),
        cmocka_unit_test(test_this_machine_can_be_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
