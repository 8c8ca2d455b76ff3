/* Tests of reconciliation: maps, times, matching held against its plain definition, reports. */
#include "meter/reconcile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/json_read.h"
#include "codec/time.h"

#define MAP "timestamp=Date,endpoint=Path,credits=Cost"
#define MAP_WITH_ID MAP ",id=Request ID"

static const int64_t DAY_US = INT64_C(20454) * TIME_US_PER_DAY; /* 2026-01-01 */

static struct reconcile *
new_with(const char *map, size_t rows_max)
{
    struct reconcile_options options = {.map = slice_of(map), .rows_max = rows_max};
    struct reconcile *reconcile = NULL;
    struct err err = {0};

    if (reconcile_new(&options, &reconcile, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    return reconcile;
}

static struct reconcile_entry
entry_of(const char *event_id, const char *request_id, double second, const char *endpoint,
         int64_t credits)
{
    return (struct reconcile_entry){.event_id = slice_of(event_id),
                                    .request_id = slice_of(request_id),
                                    .timestamp_us = DAY_US + (int64_t)(second * 1e6),
                                    .api = SLICE_LITERAL("Birdeye"),
                                    .endpoint = slice_of(endpoint),
                                    .method = SLICE_LITERAL("GET"),
                                    .has_status = true,
                                    .status = 200,
                                    .credits = credits * DECIMAL_ONE};
}

static void
push(struct reconcile *reconcile, const char *event_id, const char *request_id, double second,
     const char *endpoint, int64_t credits)
{
    struct reconcile_entry entry = entry_of(event_id, request_id, second, endpoint, credits);
    struct err err = {0};

    assert_int_equal(reconcile_push(reconcile, &entry, &err), ERR_OK);
}

static void
take_csv(struct reconcile *reconcile, const char *text)
{
    struct err err = {0};

    if (reconcile_csv(reconcile, "u.csv", slice_of(text), &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
}

static void
check_counts(const struct reconcile *reconcile, uint64_t equal, uint64_t different,
             uint64_t ours_only, uint64_t theirs_only, uint64_t bad)
{
    struct reconcile_summary sum;

    reconcile_summary(reconcile, &sum);
    assert_int_equal(sum.equal, equal);
    assert_int_equal(sum.different, different);
    assert_int_equal(sum.ours_only, ours_only);
    assert_int_equal(sum.theirs_only, theirs_only);
    assert_int_equal(sum.bad_rows, bad);
}

static void
check_holds(struct slice text, const char *piece)
{
    if (!memmem(text.ptr, text.len, piece, strlen(piece))) {
        fail_msg("%s is not in\n%.*s", piece, SLICE_FMT(text));
    }
}

static void
test_reconcile_tells_every_kind_of_difference(void **state)
{
    struct reconcile *reconcile = new_with(MAP_WITH_ID, 0);
    BUF_AUTO struct buf json;
    BUF_AUTO struct buf text;

    (void)state;
    buf_init(&json, 0);
    buf_init(&text, 0);
    push(reconcile, "e1", "r1", 1, "/defi/price", 60);
    push(reconcile, "e2", "r2", 2, "/defi/v3/ohlcv", 60);
    push(reconcile, "e3", "r3", 3, "/defi/price", 60);
    push(reconcile, "e4", "", 86400 + 4, "https://h/defi/price?x=1", 60);
    take_csv(reconcile, "Date,Path,Cost,Request ID,Other\r\n"
                        "2026-01-01T00:00:01Z,/defi/price,60,r1,x\r\n"
                        "2026-01-01T00:00:09Z,/defi/v3/ohlcv,120,r2,x\r\n"
                        "2026-01-02T00:00:06Z,/defi/price/,60.0,,x\r\n"
                        "2026-01-02T00:00:07Z,/defi/price,0.5,r9,x\r\n"
                        "2026-01-02T00:00:07Z,/defi/price,much,r9,x\r\n"
                        "never,/defi/price,1,r9,x\r\n"
                        "2026-01-02\r\n");
    reconcile_run(reconcile);
    check_counts(reconcile, 2, 1, 1, 1, 3);
    reconcile_write_json(reconcile, &json);
    reconcile_write_text(reconcile, &text);
    assert_true(json_valid(buf_slice(&json)));
    check_holds(buf_slice(&json), "\"credits\":{\"ours\":240,\"theirs\":240.5,\"difference\":0.5}");
    check_holds(buf_slice(&json), "{\"day\":\"2026-01-01\",\"ours\":180,\"theirs\":180,"
                                  "\"difference\":0,\"our_calls\":3,\"their_calls\":2}");
    check_holds(buf_slice(&json), "{\"day\":\"2026-01-02\",\"ours\":60,\"theirs\":60.5,"
                                  "\"difference\":0.5,\"our_calls\":1,\"their_calls\":2}");
    check_holds(buf_slice(&json), "{\"kind\":\"credits_differ\",\"ours\":{\"event_id\":\"e2\"");
    check_holds(buf_slice(&json), "\"difference\":60}");
    check_holds(buf_slice(&json), "{\"kind\":\"ours_only\",\"ours\":{\"event_id\":\"e3\"");
    check_holds(buf_slice(&json), "{\"kind\":\"theirs_only\",\"ours\":null,\"theirs\":{\"line\":5");
    check_holds(buf_slice(&json), "{\"line\":6,\"field\":\"credits\",\"value\":\"much\"");
    check_holds(buf_slice(&json), "{\"line\":7,\"field\":\"timestamp\",\"value\":\"never\"");
    check_holds(buf_slice(&json), "{\"line\":8,\"field\":\"credits\"");
    check_holds(buf_slice(&json), "\"differences_cut\":false");
    check_holds(buf_slice(&text), "2 match, 1 with other credits, 1 only ours, 1 only theirs");
    check_holds(buf_slice(&text), "line 7: timestamp: \"never\"; expected ISO 8601");
    reconcile_free(reconcile);
}

static void
test_reconcile_takes_the_nearest_within_the_tolerance(void **state)
{
    struct reconcile *reconcile = new_with(MAP, 0);

    (void)state;
    push(reconcile, "far", "", 0, "/a", 1);
    push(reconcile, "near", "", 4.1, "/a", 2);
    push(reconcile, "edge", "", 100, "/b", 1);
    push(reconcile, "over", "", 200, "/b", 1);
    take_csv(reconcile, "date,path,cost\n"
                        "2026-01-01 00:00:04.500,/a,2\n" /* near, although far was earlier */
                        "2026-01-01 00:01:45.000,/b,1\n"
                        "2026-01-01 00:03:25.001,/b,1\n"
                        "2026-01-01 00:00:00.000,/A,1\n");
    reconcile_run(reconcile);
    check_counts(reconcile, 2, 0, 2, 2, 0);
    reconcile_free(reconcile);
}

static void
test_reconcile_of_whole_seconds_prefers_the_same_credits(void **state)
{
    struct reconcile *reconcile = new_with(MAP, 0);

    (void)state;
    push(reconcile, "a", "", 0.1, "/a", 60);
    push(reconcile, "b", "", 0.2, "/a", 120);
    push(reconcile, "c", "", 0.9, "/a", 60);
    push(reconcile, "d", "", 9, "/a", 60);
    take_csv(reconcile, "Date,Path,Cost\n2026-01-01T00:00:00,/a,120\n2026-01-01T00:00:00,/a,60\n"
                        "2026-01-01T00:00:00,/a,60\n"
                        "2026-01-01T00:00:09,/a,50\n2026-01-01T00:00:09,/a,60\n");
    reconcile_run(reconcile);
    check_counts(reconcile, 4, 0, 0, 1, 0);
    reconcile_free(reconcile);
}

static void
test_reconcile_by_id_does_not_mix_ids(void **state)
{
    struct reconcile *reconcile = new_with(MAP_WITH_ID, 0);

    (void)state;
    push(reconcile, "a", "r1", 0, "/a", 1); /* the same time, another id */
    push(reconcile, "b", "dup", 10, "/a", 1);
    push(reconcile, "c", "dup", 20, "/a", 2);
    push(reconcile, "d", "r4", 30, "/a", 4); /* their row has no id */
    take_csv(reconcile, "Date,Path,Cost,Request ID\n2026-01-01T00:00:00,/a,1,r2\n"
                        "2026-01-01T01:00:20,/a,2,dup\n2026-01-01T01:00:10,/a,1,dup\n"
                        "2026-01-01T00:00:31,/a,4,\n");
    reconcile_run(reconcile);
    check_counts(reconcile, 3, 0, 1, 1, 0);
    reconcile_free(reconcile);
}

/* ---- times ---- */

static void
test_reconcile_reads_times_as_the_map_says(void **state)
{
    static const struct {
        const char *map;
        const char *time;
        bool good;
    } cases[] = {
        {"", "2026-01-01T12:00:00Z", true},
        {"", "2026-01-01T14:00:00+02:00", true},
        {"", "1767268800", true},
        {"", "1767268800000", true},
        {"", "1767268800.0", true},
        {"", "01.01.2026", false},
        {",tz=+02:00", "2026-01-01 14:00:00", true},
        {",tz=-0130", "2026-01-01 10:30", true},
        {",tz=+02:00", "2026-01-01T12:00:00Z", true},
        {",time_format=s", "1767268800", true},
        {",time_format=ms", "1767268800000", true},
        {",time_format=us", "1767268800000000", true},
        {",time_format=iso", "1767268800", false},
        {",time_format=%d.%m.%Y %H:%M", "1.1.2026 12:00", true},
        {",time_format=%d/%m/%Y %I:%M:%S %p", "01/01/2026 12:00:00 PM", true},
        {",time_format=%d/%m/%Y %I:%M:%S %p", "01/01/2026 12:00:00 AM", false},
        {",time_format=\"%b %d, %Y, %H:%M:%S.%f %z\"", "Jan 01, 2026, 13:00:00.000000001 +0100",
         true},
        {",time_format=%Y-%m-%dT%H", "2026-01-01T12", true},
        {",time_format=%Y-%m-%dT%H", "2026-01-01T12x", false},
        {",time_format=%Y-%m-%dT%H", "2026-02-30T12", false},
        {",time_format=%Y%%%m", "2026%13", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BUF_AUTO struct buf text;
        buf_init(&text, 0);
        buf_add_fmt(&text, MAP "%s%c", cases[i].map, 0);
        struct reconcile *reconcile = new_with(text.ptr, 0);
        push(reconcile, "e", "", 43200, "/a", 1);
        buf_reset(&text);
        buf_add_fmt(&text, "Date,Path,Cost\n\"%s\",/a,1\n%c", cases[i].time, 0);
        take_csv(reconcile, text.ptr);
        reconcile_run(reconcile);
        struct reconcile_summary sum;
        reconcile_summary(reconcile, &sum);
        if ((sum.equal == 1) != cases[i].good) {
            fail_msg("%s with %s", cases[i].time, cases[i].map);
        }
        reconcile_free(reconcile);
    }
}

/* ---- refusals ---- */

static void
test_reconcile_refuses_maps_and_headers_that_do_not_fit(void **state)
{
    static const struct {
        const char *map;
        const char *message;
    } maps[] = {
        {"", "timestamp is not given"},
        {"timestamp=Date", "credits is not given"},
        {"timestamp", "expected key=column"},
        {"timestamp=Date,credit=Cost", "unknown key \"credit\"; did you mean credits?"},
        {"timestamp=,credits=Cost", "timestamp has no value"},
        {"timestamp=a,timestamp=b,credits=Cost", "timestamp is given twice"},
        {MAP ",tz=Europe/Berlin", "tz: \"Europe/Berlin\"; expected UTC or an offset"},
        {MAP ",delimiter=ab", "delimiter: \"ab\"; expected"},
        {MAP ",time_format=%q", "time_format: \"%q\"; expected"},
        {MAP ",time_format=dd.mm", "time_format: \"dd.mm\"; expected iso"},
        {"credits=\"Cost, USD", "expected key=column"},
    };
    static const char *const headers[][2] = {
        {"", "the file is empty"},
        {"Data,Path,Cost\n", "u.csv:1: no column \"Date\" for timestamp; did you mean \"Data\"?; "
                             "the file has Data, Path, Cost"},
        {"Date,Path,Cost,date\n", "2 columns are called \"Date\"; expected one for timestamp"},
        {"Date;Path\n", "no column \"Cost\" for credits"},
    };
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]); i++) {
        struct reconcile_options options = {.map = slice_of(maps[i].map)};
        struct reconcile *reconcile = NULL;
        assert_int_equal(reconcile_new(&options, &reconcile, &err), ERR_INVALID);
        check_holds(slice_of(err.msg), maps[i].message);
        assert_null(reconcile);
    }
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        struct reconcile *reconcile = new_with(MAP, 0);
        assert_int_equal(reconcile_csv(reconcile, "u.csv", slice_of(headers[i][0]), &err),
                         ERR_INVALID);
        check_holds(slice_of(err.msg), headers[i][1]);
        reconcile_free(reconcile);
    }
}

static void
test_reconcile_is_bounded(void **state)
{
    struct reconcile_options options = {.map = SLICE_LITERAL(MAP), .text_bytes_max = 1 << 16};
    struct reconcile *reconcile = new_with(MAP, 2);
    struct reconcile_entry entry = entry_of("e", "", 0, "/a", 1);
    struct err err = {0};

    (void)state;
    push(reconcile, "a", "", 0, "/a", 1);
    push(reconcile, "b", "", 0, "/a", 1);
    assert_int_equal(reconcile_push(reconcile, &entry, &err), ERR_TOO_LARGE);
    check_holds(slice_of(err.msg), "more than 2 entries of ours");
    assert_int_equal(reconcile_csv(reconcile, "u.csv",
                                   SLICE_LITERAL("Date,Path,Cost\n1,a,1\n2,a,1\n3,a,1\n"), &err),
                     ERR_TOO_LARGE);
    check_holds(slice_of(err.msg), "more than 2 rows of the file");
    reconcile_free(reconcile);

    reconcile = new_with(MAP, 0);
    push(reconcile, "a", "", 0, "/a", 999999999999);
    assert_int_equal(reconcile_push(reconcile, &entry, &err), ERR_INVALID);
    check_holds(slice_of(err.msg), "sum up to more than 999999999999");
    reconcile_free(reconcile);

    assert_int_equal(reconcile_new(&options, &reconcile, &err), ERR_OK);
    enum err_code code = ERR_OK;
    for (size_t i = 0; i < 10000 && code == ERR_OK; i++) {
        code = reconcile_push(reconcile, &entry, &err);
    }
    assert_int_equal(code, ERR_TOO_LARGE);
    check_holds(slice_of(err.msg), "take more than 65536 bytes");
    reconcile_free(reconcile);
    reconcile_free(NULL);
}

/* ---- the matching, held against its plain definition ---- */

struct call {
    int64_t ms;
    int64_t credits;
    int endpoint;
    bool taken;
};

/* Takes the closest pair, again and again; among equals one of the same credits. */
static void
slow_match(struct call *ours, size_t our_count, struct call *theirs, size_t their_count,
           size_t *ret_pairs, int64_t *ret_distance)
{
    *ret_pairs = 0;
    *ret_distance = 0;
    for (;;) {
        int64_t best = 5001;
        struct call *a = NULL;
        struct call *b = NULL;
        for (size_t i = 0; i < our_count; i++) {
            for (size_t j = 0; j < their_count; j++) {
                int64_t distance = llabs(ours[i].ms - theirs[j].ms);
                if (!ours[i].taken && !theirs[j].taken && distance < best &&
                    ours[i].endpoint == theirs[j].endpoint) {
                    best = distance;
                    a = &ours[i];
                    b = &theirs[j];
                }
            }
        }
        if (!a) {
            return;
        }
        a->taken = b->taken = true;
        *ret_pairs += 1;
        *ret_distance += best;
    }
}

static void
shuffle_texts(struct rng *rng, struct buf *texts, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = rng_below(rng, i);
        struct buf swap = texts[i - 1];
        texts[i - 1] = texts[j];
        texts[j] = swap;
    }
}

/* Pushes the calls in a random order and returns what comes out as JSON. */
static void
run_shuffled(struct rng *rng, const struct call *ours, size_t our_count, const struct call *theirs,
             size_t their_count, struct buf *out, struct reconcile_summary *ret)
{
    struct reconcile *reconcile = new_with(MAP, 0);
    struct buf lines[16];
    BUF_AUTO struct buf csv;
    size_t start = rng_below(rng, 16);

    buf_init(&csv, 0);
    for (size_t i = 0; i < our_count; i++) {
        const struct call *call = &ours[(i + start) % our_count];
        char id[2] = {(char)('a' + (i + start) % our_count), 0};
        push(reconcile, id, "", (double)call->ms / 1e3, call->endpoint ? "/b" : "/a",
             call->credits);
    }
    for (size_t i = 0; i < their_count; i++) {
        buf_init(&lines[i], 0);
        buf_add_fmt(&lines[i], "%lld,%s,%lld\n", (long long)(DAY_US / 1000 + theirs[i].ms),
                    theirs[i].endpoint ? "/b" : "/a", (long long)theirs[i].credits);
    }
    shuffle_texts(rng, lines, their_count);
    buf_add_cstr(&csv, "Date,Path,Cost\n");
    for (size_t i = 0; i < their_count; i++) {
        buf_add_slice(&csv, buf_slice(&lines[i]));
        buf_fini(&lines[i]);
    }
    buf_add_char(&csv, '\0');
    take_csv(reconcile, csv.ptr);
    reconcile_run(reconcile);
    reconcile_summary(reconcile, ret);
    reconcile_write_text(reconcile, out);
    reconcile_free(reconcile);
}

/* Takes the numbers of the file's lines out, which a shuffle changes. */
static void
drop_lines(struct buf *text)
{
    size_t kept = 0;

    for (size_t i = 0; i < text->len; i++) {
        text->ptr[kept++] = text->ptr[i];
        if (kept >= 5 && memcmp(text->ptr + kept - 5, "line ", 5) == 0) {
            while (i + 1 < text->len && text->ptr[i + 1] != '\n') {
                i++;
            }
        }
    }
    text->len = kept;
}

static void
test_reconcile_matches_like_its_definition_in_any_order(void **state)
{
    struct rng rng;

    (void)state;
    rng_init(&rng, 5);
    for (size_t round = 0; round < 3000; round++) {
        struct call ours[16];
        struct call theirs[16];
        size_t our_count = 1 + rng_below(&rng, 15);
        size_t their_count = 1 + rng_below(&rng, 15);
        /* Distinct times of a fine grain: then "the closest" has one answer. */
        for (size_t i = 0; i < 16; i++) {
            ours[i] =
                (struct call){(int64_t)rng_below(&rng, 40000) * 2 + 1,
                              1 + (int64_t)rng_below(&rng, 2), (int)rng_below(&rng, 2), false};
            theirs[i] =
                (struct call){(int64_t)rng_below(&rng, 40000) * 2, 1 + (int64_t)rng_below(&rng, 2),
                              (int)rng_below(&rng, 2), false};
        }
        struct reconcile_summary first;
        struct reconcile_summary second;
        BUF_AUTO struct buf one;
        BUF_AUTO struct buf two;
        buf_init(&one, 0);
        buf_init(&two, 0);
        run_shuffled(&rng, ours, our_count, theirs, their_count, &one, &first);
        run_shuffled(&rng, ours, our_count, theirs, their_count, &two, &second);
        drop_lines(&one);
        drop_lines(&two);
        if (!slice_eq(buf_slice(&one), buf_slice(&two))) {
            fail_msg("%.*s\n%.*s", SLICE_FMT(buf_slice(&one)), SLICE_FMT(buf_slice(&two)));
        }
        size_t pairs;
        int64_t distance;
        slow_match(ours, our_count, theirs, their_count, &pairs, &distance);
        assert_int_equal(first.equal + first.different, pairs);
        assert_int_equal(first.ours_only, our_count - pairs);
        assert_int_equal(first.theirs_only, their_count - pairs);
    }
}

/* Quadratic work would take minutes here. */
static void
test_reconcile_of_many_calls_at_one_time_ends(void **state)
{
    enum { CALLS = 100000 };
    struct reconcile *reconcile = new_with(MAP, 0);
    BUF_AUTO struct buf csv;

    (void)state;
    buf_init(&csv, 0);
    buf_add_cstr(&csv, "Date,Path,Cost\n");
    for (size_t i = 0; i < CALLS; i++) {
        push(reconcile, "e", "", (double)(i % 7), "/a", 60);
        buf_add_fmt(&csv, "%lld,/a,60\n", (long long)(DAY_US / TIME_US_PER_S + (int64_t)(i % 7)));
    }
    buf_add_char(&csv, '\0');
    take_csv(reconcile, csv.ptr);
    reconcile_run(reconcile);
    check_counts(reconcile, CALLS, 0, 0, 0, 0);
    reconcile_free(reconcile);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reconcile_tells_every_kind_of_difference),
        cmocka_unit_test(test_reconcile_takes_the_nearest_within_the_tolerance),
        cmocka_unit_test(test_reconcile_of_whole_seconds_prefers_the_same_credits),
        cmocka_unit_test(test_reconcile_by_id_does_not_mix_ids),
        cmocka_unit_test(test_reconcile_reads_times_as_the_map_says),
        cmocka_unit_test(test_reconcile_refuses_maps_and_headers_that_do_not_fit),
        cmocka_unit_test(test_reconcile_is_bounded),
        cmocka_unit_test(test_reconcile_matches_like_its_definition_in_any_order),
        cmocka_unit_test(test_reconcile_of_many_calls_at_one_time_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
