/* Tests that the examples of docs/prices.md are what they say: loaded, refused, and priced. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "meter/price.h"

enum { DOC_BYTES_MAX = 1 << 20 };

/* The tests of a part run in any folder; the source says where it is. */
static char *
read_doc(void)
{
    const char *here = __FILE__;
    const char *end = strstr(here, "src/meter/");
    char path[4096];

    assert_non_null(end);
    snprintf(path, sizeof(path), "%.*sdocs/prices.md", (int)(end - here), here);
    FILE *file = fopen(path, "re");
    if (!file) {
        fail_msg("cannot open %s", path);
    }
    char *text = mem_zalloc(1, DOC_BYTES_MAX);
    size_t len = fread(text, 1, DOC_BYTES_MAX - 1, file);
    fclose(file);
    assert_true(len > 0);
    return text;
}

/* The text between the next fence "```kind" and its end; NULL when there is none. */
static const char *
next_example(const char *text, const char *kind, struct slice *ret)
{
    const char *start = strstr(text, kind);

    if (!start) {
        return NULL;
    }
    start += strlen(kind);
    const char *end = strstr(start, "\n```\n");
    assert_non_null(end);
    *ret = slice_make(start, (size_t)(end + 1 - start));
    return end + 5;
}

static void
check_credits(const struct prices *prices, const struct price_call *call, bool before,
              int64_t micro, const char *rule)
{
    struct price_quote quote;
    struct err err = {0};
    enum err_code code =
        before ? prices_quote(prices, call, &quote, &err) : prices_cost(prices, call, &quote, &err);

    assert_int_equal(code, ERR_OK);
    assert_string_equal(quote.rule, rule);
    assert_int_equal(quote.credits, micro);
}

static void
check_chat(const struct prices *prices)
{
    struct price_field tokens = {SLICE_LITERAL("usage.total_tokens"), SLICE_LITERAL("1001")};
    struct price_call call = {.api = SLICE_LITERAL("openchat"),
                              .method = SLICE_LITERAL("POST"),
                              .path = SLICE_LITERAL("/v1/chat/completions"),
                              .success = true,
                              .at_us = INT64_C(1767268800) * TIME_US_PER_S};

    check_credits(prices, &call, true, 48 * DECIMAL_ONE, "chat");
    call.query = SLICE_LITERAL("max_tokens=999");
    check_credits(prices, &call, true, DECIMAL_ONE, "small");
    call.fields = &tokens;
    call.field_count = 1;
    check_credits(prices, &call, false, 3 * DECIMAL_ONE, "chat");
    call.path = SLICE_LITERAL("/v1/images/new");
    check_credits(prices, &call, true, 400 * DECIMAL_ONE, "image");
    call.query = SLICE_LITERAL("n=2");
    check_credits(prices, &call, true, 80 * DECIMAL_ONE, "image");
    call.path = SLICE_LITERAL("/");
    check_credits(prices, &call, true, 250000, "other");
}

static void
check_weather(const struct prices *prices)
{
    struct price_call call = {.api = SLICE_LITERAL("Weather"),
                              .path = SLICE_LITERAL("/v2/forecast/x"),
                              .query = SLICE_LITERAL("days=3"),
                              .at_us = INT64_C(1767225599) * TIME_US_PER_S};

    check_credits(prices, &call, true, DECIMAL_ONE, "all");
    call.at_us += TIME_US_PER_S; /* 2026 has begun */
    check_credits(prices, &call, true, 2 * DECIMAL_ONE, "forecast");
    call.query = SLICE_LITERAL("");
    check_credits(prices, &call, true, 5 * DECIMAL_ONE, "large");
    check_credits(prices, &call, false, DECIMAL_ONE, "all");
}

static void
test_price_examples_of_the_manual_are_right(void **state)
{
    MEM_AUTO char *text = read_doc();
    const char *rest = text;
    struct slice example;
    size_t count = 0;

    (void)state;
    while ((rest = next_example(rest, "```yaml\n", &example))) {
        struct prices *prices = NULL;
        struct err err = {0};
        if (prices_load_text("prices.md", example, &prices, &err) != ERR_OK) {
            fail_msg("%s", err.msg);
        }
        if (slice_starts(example, "book: chat")) {
            check_chat(prices);
        } else {
            assert_true(slice_starts(example, "book: weather"));
            check_weather(prices);
        }
        prices_unref(prices);
        count++;
    }
    assert_int_equal(count, 2);
}

static void
test_price_examples_that_are_wrong_are_refused(void **state)
{
    MEM_AUTO char *text = read_doc();
    struct prices *prices = NULL;
    struct slice example;
    struct err err = {0};

    (void)state;
    assert_non_null(next_example(text, "```yaml-refused\n", &example));
    assert_int_equal(prices_load_text("prices.md", example, &prices, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "rule dear can never match: rule all in line 6"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_price_examples_of_the_manual_are_right),
        cmocka_unit_test(test_price_examples_that_are_wrong_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
