/* Tests of the Prometheus text format, character by character. */
#include "codec/prom_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static void
test_prom_writes_families_and_samples(void **state)
{
    const struct prom_label labels[] = {{"path", SLICE_LITERAL("a\\b\"c\nd")},
                                        {"code", SLICE_LITERAL("200")}};
    BUF_AUTO struct buf buf;

    (void)state;
    buf_init(&buf, 0);
    prom_family(&buf, "eider_x_total", PROM_COUNTER, "Help with \\ and \n newline and \"quotes\".");
    prom_sample_u64(&buf, "eider_x_total", labels, 2, UINT64_MAX);
    prom_sample(&buf, "eider_x_total", labels, 1, 1.5);
    prom_family(&buf, "eider_y", PROM_GAUGE, "Y.");
    prom_sample(&buf, "eider_y", NULL, 0, 3);
    prom_sample(&buf, "eider_y", NULL, 0, NAN);
    prom_sample(&buf, "eider_y", NULL, 0, INFINITY);
    prom_sample(&buf, "eider_y", NULL, 0, -INFINITY);
    prom_sample(&buf, "eider_y", NULL, 0, 1e-9);
    prom_family(&buf, "eider_z", PROM_UNTYPED, "");
    buf_add_char(&buf, '\0');
    assert_string_equal(
        buf.ptr, "# HELP eider_x_total Help with \\\\ and \\n newline and \"quotes\".\n"
                 "# TYPE eider_x_total counter\n"
                 "eider_x_total{path=\"a\\\\b\\\"c\\nd\",code=\"200\"} 18446744073709551615\n"
                 "eider_x_total{path=\"a\\\\b\\\"c\\nd\"} 1.5\n"
                 "# HELP eider_y Y.\n"
                 "# TYPE eider_y gauge\n"
                 "eider_y 3\n"
                 "eider_y NaN\n"
                 "eider_y +Inf\n"
                 "eider_y -Inf\n"
                 "eider_y 1e-09\n"
                 "# HELP eider_z \n"
                 "# TYPE eider_z untyped\n");
}

static void
test_prom_writes_histograms_in_seconds_with_le_first(void **state)
{
    static const double bounds[] = {0.001, 0.1, 2.5};
    const struct prom_label labels[] = {{"route", SLICE_LITERAL("/write")}};
    MEM_AUTO struct hist *hist = mem_zalloc(1, sizeof(*hist));
    BUF_AUTO struct buf buf;

    (void)state;
    hist_record(hist, 500);
    hist_record(hist, 50000);
    hist_record(hist, 2000000);
    hist_record(hist, 9000000);
    buf_init(&buf, 0);
    prom_family(&buf, "t_seconds", PROM_HISTOGRAM, "T.");
    prom_hist(&buf, "t_seconds", labels, 1, hist, bounds, 3);
    prom_hist(&buf, "t_seconds", NULL, 0, hist, bounds, 1);
    buf_add_char(&buf, '\0');
    assert_string_equal(buf.ptr, "# HELP t_seconds T.\n"
                                 "# TYPE t_seconds histogram\n"
                                 "t_seconds_bucket{le=\"0.001\",route=\"/write\"} 1\n"
                                 "t_seconds_bucket{le=\"0.1\",route=\"/write\"} 2\n"
                                 "t_seconds_bucket{le=\"2.5\",route=\"/write\"} 3\n"
                                 "t_seconds_bucket{le=\"+Inf\",route=\"/write\"} 4\n"
                                 "t_seconds_sum{route=\"/write\"} 11.0505\n"
                                 "t_seconds_count{route=\"/write\"} 4\n"
                                 "t_seconds_bucket{le=\"0.001\"} 1\n"
                                 "t_seconds_bucket{le=\"+Inf\"} 4\n"
                                 "t_seconds_sum 11.0505\n"
                                 "t_seconds_count 4\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prom_writes_families_and_samples),
        cmocka_unit_test(test_prom_writes_histograms_in_seconds_with_le_first),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
