/* Tests of pricing: the shipped books, quotes of what is not known yet, versions, selection. */
#include "meter/price.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/json_read.h"
#include "codec/time.h"

#define HEAD "book: b\napi: A\nversion: 1\neffective_from: 2025-01-01\n"

static const int64_t NOW_US = INT64_C(1767312000) * TIME_US_PER_S; /* 2026-01-02 */

static struct price_call
call_of(const char *api, const char *path, const char *query)
{
    return (struct price_call){.api = slice_of(api),
                               .method = SLICE_LITERAL("GET"),
                               .path = slice_of(path),
                               .query = slice_of(query),
                               .at_us = NOW_US};
}

static struct price_call
done_call(const char *path, const char *query, int status)
{
    struct price_call call = call_of("A", path, query);

    call.has_status = true;
    call.status = status;
    call.success = status >= 200 && status <= 299;
    return call;
}

static struct prices *
load_text(const char *text)
{
    struct prices *prices = NULL;
    struct err err = {0};

    if (prices_load_text("t.yaml", slice_of(text), &prices, &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    return prices;
}

static void
check_quote(const struct prices *prices, const struct price_call *call, int64_t credits,
            const char *rule)
{
    struct price_quote quote;
    struct err err = {0};

    assert_int_equal(prices_quote(prices, call, &quote, &err), ERR_OK);
    assert_true(quote.found);
    assert_string_equal(quote.rule, rule);
    assert_int_equal(quote.credits, credits * DECIMAL_ONE);
}

static void
check_cost(const struct prices *prices, const struct price_call *call, int64_t micro,
           const char *rule)
{
    struct price_quote quote;
    struct err err = {0};

    assert_int_equal(prices_cost(prices, call, &quote, &err), ERR_OK);
    assert_true(quote.found);
    assert_string_equal(quote.rule, rule);
    assert_int_equal(quote.credits, micro);
}

/* ---- the shipped books ---- */

struct birdeye_case {
    const char *path;
    const char *query;
    int64_t credits;
    const char *rule;
};

static const struct birdeye_case BIRDEYE[] = {
    {"/defi/price", "", 60, "other"},
    {"/defi/v3/search", "limit=5000", 60, "other"},
    {"/defi/v3/ohlcv", "", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "limit=999", 60, "ohlcv-below-1000"},
    {"/defi/v3/ohlcv", "limit=1000", 60, "ohlcv-below-5000"},
    {"/defi/v3/ohlcv", "limit=4999", 60, "ohlcv-below-5000"},
    {"/defi/v3/ohlcv", "limit=5000", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "count=5001", 120, "ohlcv"},
    {"/defi/ohlcv", "limit=5000", 120, "ohlcv"},
    {"/defi/ohlcv/base_quote", "limit=5000", 120, "ohlcv"},
    {"/defi/v3/ohlcv/pair", "limit=5000", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "type=1m&time_from=0&time_to=300000", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "type=1m&time_from=0&time_to=299940", 60, "ohlcv-below-5000"},
    {"/defi/v3/ohlcv", "type=1m&time_from=0&time_to=299941", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "type=5m&time_from=0&time_to=299941", 60, "ohlcv-below-5000"},
    {"/defi/v3/ohlcv", "type=15m&time_from=0&time_to=300000", 60, "ohlcv-below-1000"},
    {"/defi/v3/ohlcv", "type=1H&time_from=0&time_to=18000000", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "type=4H&time_from=0&time_to=18000000", 60, "ohlcv-below-5000"},
    {"/defi/v3/ohlcv", "type=1D&time_from=0&time_to=18000000", 60, "ohlcv-below-1000"},
    /* A limit below the range is what comes back. */
    {"/defi/v3/ohlcv", "type=1m&time_from=0&time_to=300000&limit=10", 60, "ohlcv-below-1000"},
    /* What cannot be read, or contradicts itself, is not known: the dearest. */
    {"/defi/v3/ohlcv", "limit=abc", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "limit=-5", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "limit=NaN", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "limit=10&limit=5000", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "limit=5000&limit=10", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "limit=99999999999999999999", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "type=1x&time_from=0&time_to=60", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "type=1m&time_from=100&time_to=60", 120, "ohlcv"},
    /* Other spellings of the same address are the same address. */
    {"/defi//v3/./ohlcv/", "limit=5000", 120, "ohlcv"},
    {"/x/../defi/v3/%6fhlcv", "limit=5000", 120, "ohlcv"},
    {"https://public-api.birdeye.so/defi/v3/ohlcv?limit=5000", "", 120, "ohlcv"},
    {"/defi/v3/ohlcv", "l%69mit=50%30", 60, "ohlcv-below-1000"},
};

static void
test_price_of_birdeye_follows_the_candles(void **state)
{
    struct prices *prices;

    (void)state;
    prices_builtin(&prices);
    for (size_t i = 0; i < sizeof(BIRDEYE) / sizeof(BIRDEYE[0]); i++) {
        const struct birdeye_case *c = &BIRDEYE[i];
        struct price_call call = call_of("Birdeye", c->path, c->query);
        struct price_quote quote;
        struct err err = {0};
        assert_int_equal(prices_quote(prices, &call, &quote, &err), ERR_OK);
        if (quote.credits != c->credits * DECIMAL_ONE || strcmp(quote.rule, c->rule) != 0) {
            fail_msg("%s?%s: %s %lld", c->path, c->query, quote.rule_id, (long long)quote.credits);
        }
        call.success = true;
        check_cost(prices, &call, c->credits * DECIMAL_ONE, c->rule);
        call.has_status = true;
        call.status = 429;
        check_cost(prices, &call, 0, c->rule);
    }
    prices_unref(prices);
}

static void
test_price_of_a_call_without_a_path_is_the_default(void **state)
{
    struct prices *prices = NULL;
    struct price_call call = call_of("birdeye", "", "");

    (void)state;
    prices_builtin(&prices);
    call.path = (struct slice){0};
    check_quote(prices, &call, 60, "other");
    prices_unref(prices);
}

static void
test_price_takes_candles_that_are_stated(void **state)
{
    struct prices *prices;
    struct price_field field = {SLICE_LITERAL("candles"), SLICE_LITERAL("5000")};
    struct price_call call = call_of("birdeye", "/defi/v3/ohlcv", "limit=10");

    (void)state;
    prices_builtin(&prices);
    call.fields = &field;
    call.field_count = 1;
    check_quote(prices, &call, 120, "ohlcv");
    field.value = SLICE_LITERAL("4999");
    check_quote(prices, &call, 60, "ohlcv-below-5000");
    prices_unref(prices);
}

static void
test_price_without_an_answer_costs_nothing(void **state)
{
    struct prices *prices;
    struct price_call call = call_of("Birdeye", "/defi/v3/ohlcv", "limit=5000");

    (void)state;
    prices_builtin(&prices);
    check_cost(prices, &call, 0, "ohlcv"); /* no status, no success */
    call.has_status = true;
    call.status = 500;
    call.success = true; /* the status is right */
    check_cost(prices, &call, 0, "ohlcv");
    prices_unref(prices);
}

static void
test_price_select_takes_the_rule_of_the_original(void **state)
{
    struct prices *prices;
    struct price_call v3 = call_of("Birdeye", "/defi/v3/ohlcv", "limit=5000");
    struct price_call old = call_of("Birdeye", "/defi/ohlcv", "limit=1");
    struct price_quote quote;
    struct err err = {0};

    (void)state;
    prices_builtin(&prices);
    assert_int_equal(
        prices_select(prices, SLICE_LITERAL("birdeye"), SLICE_LITERAL("birdeye-compat"), &err),
        ERR_OK);
    check_quote(prices, &v3, 60, "other");
    check_quote(prices, &old, 120, "ohlcv");
    assert_int_equal(prices_quote(prices, &old, &quote, &err), ERR_OK);
    assert_string_equal(quote.book, "birdeye-compat");
    assert_int_equal(strncmp(quote.rule_id, "birdeye-compat/ohlcv@", 21), 0);
    assert_int_equal(strlen(quote.rule_id), 21 + 8);
    assert_int_equal(
        prices_select(prices, SLICE_LITERAL("Birdeye"), SLICE_LITERAL("birdeye-compta"), &err),
        ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "did you mean \"birdeye-compat\"?"));
    prices_unref(prices);
}

static void
test_price_of_an_unknown_api_is_not_found(void **state)
{
    struct prices *prices;
    struct price_call call = call_of("Birdeey", "/defi/price", "");
    struct price_quote quote;
    struct err err = {0};

    (void)state;
    prices_builtin(&prices);
    assert_int_equal(prices_quote(prices, &call, &quote, &err), ERR_OK);
    assert_false(quote.found);
    assert_null(quote.book);
    assert_int_equal(quote.credits, 0);
    assert_int_equal(prices_check_api(prices, call.api, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.msg, "\"Birdeey\""));
    assert_non_null(strstr(err.msg, "did you mean \"Birdeye\"?"));
    assert_int_equal(prices_check_api(prices, SLICE_LITERAL("BIRDEYE"), &err), ERR_OK);
    prices_unref(prices);
}

/* ---- quotes and costs ---- */

static void
test_price_quote_takes_max_for_what_is_not_known(void **state)
{
    struct prices *prices =
        load_text(HEAD "params:\n  tokens: {field: [usage.total_tokens, tokens]}\n"
                       "rules:\n  - name: chat\n    match: {path: /v1/chat}\n"
                       "    credits: ceil(tokens / 1000) * 0.5\n    max: 64\n");
    struct price_call call = call_of("A", "/v1/chat", "");
    struct price_field field = {SLICE_LITERAL("usage.total_tokens"), SLICE_LITERAL("2001")};

    (void)state;
    check_quote(prices, &call, 64, "chat");
    call.success = true;
    check_cost(prices, &call, 64 * DECIMAL_ONE, "chat");
    call.fields = &field;
    call.field_count = 1;
    check_cost(prices, &call, 1500000, "chat");
    prices_unref(prices);
}

static void
test_price_quote_is_the_dearest_that_may_come(void **state)
{
    struct prices *prices =
        load_text(HEAD "rules:\n"
                       "  - {name: cached, match: {fields: {x-cache: hit}}, credits: 1}\n"
                       "  - {name: partial, match: {status: 206}, credits: 9}\n"
                       "  - {name: large, when: response_bytes > 1000, credits: 7}\n"
                       "  - {name: rest, credits: 5, on_failure: 2}\n");
    struct price_field hit = {SLICE_LITERAL("X-Cache"), SLICE_LITERAL("hit")};
    struct price_field miss = {SLICE_LITERAL("X-Cache"), SLICE_LITERAL("miss")};
    struct price_call call = call_of("A", "/x", "");

    (void)state;
    check_quote(prices, &call, 9, "partial");
    call = done_call("/x", "", 200);
    check_cost(prices, &call, 5 * DECIMAL_ONE, "rest");
    call.response_bytes = 1001;
    check_cost(prices, &call, 7 * DECIMAL_ONE, "large");
    call.status = 206;
    check_cost(prices, &call, 9 * DECIMAL_ONE, "partial");
    call.fields = &hit;
    call.field_count = 1;
    check_cost(prices, &call, 1 * DECIMAL_ONE, "cached");
    call.fields = &miss;
    check_cost(prices, &call, 9 * DECIMAL_ONE, "partial");
    call = done_call("/x", "", 500);
    check_cost(prices, &call, 2 * DECIMAL_ONE, "rest");
    prices_unref(prices);
}

static void
test_price_of_a_failure_is_what_the_rule_says(void **state)
{
    struct prices *prices =
        load_text(HEAD "on_failure: same\nrules:\n"
                       "  - {name: free, match: {path: /free}, credits: 3, on_failure: 0}\n"
                       "  - {name: dear, match: {path: /dear}, credits: 3, on_failure: 10}\n"
                       "  - {name: rest, credits: 3}\n");
    struct price_call free_call = done_call("/free", "", 500);
    struct price_call dear_call = done_call("/dear", "", 500);
    struct price_call rest_call = done_call("/rest", "", 500);
    struct price_call before = call_of("A", "/dear", "");

    (void)state;
    check_cost(prices, &free_call, 0, "free");
    check_cost(prices, &dear_call, 10 * DECIMAL_ONE, "dear");
    check_cost(prices, &rest_call, 3 * DECIMAL_ONE, "rest");
    check_quote(prices, &before, 10, "dear"); /* it may fail */
    prices_unref(prices);
}

static void
test_price_matches_method_query_and_fields(void **state)
{
    struct prices *prices = load_text(
        HEAD "rules:\n"
             "  - {name: post, match: {method: [POST, put]}, credits: 1}\n"
             "  - {name: minute, match: {query: {type: [1m, 3m]}}, credits: 2}\n"
             "  - {name: raw, match: {query: {mode: {exists: true}, plain: {exists: false}}},"
             " credits: 3}\n"
             "  - {name: rest, match: {path: /v1/*/price}, credits: 4}\n");
    struct price_call call = done_call("/", "", 200);
    struct price_quote quote;
    struct err err = {0};

    (void)state;
    call.method = SLICE_LITERAL("PUT");
    check_cost(prices, &call, 1 * DECIMAL_ONE, "post");
    call = done_call("/", "a=1&type=3m", 200);
    check_cost(prices, &call, 2 * DECIMAL_ONE, "minute");
    call.query = SLICE_LITERAL("type=5m&type=3m&mode"); /* who knows which one counts */
    check_cost(prices, &call, 3 * DECIMAL_ONE, "raw");
    call = done_call("/", "a=1&mode", 200);
    check_cost(prices, &call, 3 * DECIMAL_ONE, "raw");
    call = done_call("/v1/x/price", "type=5m&mode=1&plain=", 200);
    check_cost(prices, &call, 4 * DECIMAL_ONE, "rest");
    call = done_call("/v1/x/y/price", "", 200);
    assert_int_equal(prices_cost(prices, &call, &quote, &err), ERR_OK);
    assert_false(quote.found);
    assert_string_equal(quote.book, "b");
    assert_null(quote.rule);
    prices_unref(prices);
}

static void
test_price_faults_are_errors_that_name_the_rule(void **state)
{
    struct prices *prices =
        load_text(HEAD "params: {n: {query: n}}\nrules:\n"
                       "  - {name: divided, match: {path: /d}, credits: 10 / (n - 5), max: 1}\n"
                       "  - {name: huge, match: {path: /h}, credits: n * n, max: 1}\n"
                       "  - {name: guarded, match: {path: /g}, when: n > 0 and 6 / n > 2,"
                       " credits: 6 / n, max: 6}\n");
    struct price_quote quote = {.credits = 77};
    struct err err = {0};
    struct price_call call = call_of("A", "/d", "n=5");

    (void)state;
    assert_int_equal(prices_quote(prices, &call, &quote, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "b/divided (t.yaml:7)"));
    assert_non_null(strstr(err.msg, "division by zero"));
    call.query = SLICE_LITERAL("n=4");
    assert_int_equal(prices_quote(prices, &call, &quote, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "negative"));
    call = call_of("A", "/h", "n=999999999999");
    assert_int_equal(prices_quote(prices, &call, &quote, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "beyond"));
    call.query = SLICE_LITERAL("n=1000000");
    assert_int_equal(prices_quote(prices, &call, &quote, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "too large"));
    assert_int_equal(quote.credits, 77); /* untouched */
    call = call_of("A", "/g", "n=0");
    assert_int_equal(prices_quote(prices, &call, &quote, &err), ERR_OK);
    assert_false(quote.found);
    call.query = SLICE_LITERAL("n=2");
    check_quote(prices, &call, 3, "guarded");
    prices_unref(prices);
}

/* ---- versions and folders ---- */

static void
test_price_takes_the_version_of_the_time_of_the_call(void **state)
{
    struct prices *prices =
        load_text("book: b\napi: A\nversion: 2\neffective_from: 2026-01-01T12:00:00Z\n"
                  "rules: [{name: r, credits: 2}]\n---\n"
                  "book: b\napi: A\nversion: 1\neffective_from: 2025-01-01\nrules: [{name: r, "
                  "credits: 1}]\n");
    struct price_call call = call_of("A", "/", "");
    struct price_quote quote;
    struct price_version version;
    struct err err = {0};
    int64_t change_us;

    (void)state;
    assert_true(time_parse_iso8601(SLICE_LITERAL("2026-01-01T12:00:00Z"), &change_us));
    call.at_us = change_us;
    check_quote(prices, &call, 2, "r");
    call.at_us = change_us - 1;
    check_quote(prices, &call, 1, "r");
    call.at_us = 0;
    assert_int_equal(prices_quote(prices, &call, &quote, &err), ERR_OK);
    assert_false(quote.found);
    assert_null(quote.book);
    assert_int_equal(prices_version_count(prices), 2);
    prices_version_at(prices, 0, &version);
    assert_int_equal(version.version, 1);
    assert_int_equal(version.rule_count, 1);
    prices_version_at(prices, 1, &version);
    assert_int_equal(version.effective_from_us, change_us);
    assert_true(version.active);
    prices_unref(prices);
}

static void
digest_of(const char *text, char ret_digest[65])
{
    struct prices *prices = load_text(text);
    struct price_version version;

    prices_version_at(prices, 0, &version);
    snprintf(ret_digest, 65, "%s", version.digest);
    prices_unref(prices);
}

static void
test_price_digest_is_of_the_meaning(void **state)
{
    char one[65];
    char other[65];

    (void)state;
    digest_of(HEAD "rules: [{name: r, credits: 2}]\n", one);
    digest_of("# a comment\n" HEAD "active: false\nrules:\n  - credits: 2.0\n    name: \"r\"\n",
              other);
    assert_string_equal(one, other);
    digest_of(HEAD "rules: [{name: r, credits: 3}]\n", other);
    assert_string_not_equal(one, other);
    digest_of(HEAD "on_failure: 1\nrules: [{name: r, credits: 2}]\n", other);
    assert_string_not_equal(one, other);
}

static void
write_file(const char *dir, const char *name, const char *text)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void
remove_file(const char *dir, const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    unlink(path);
}

static void
test_price_folder_replaces_a_shipped_book(void **state)
{
    char dir[] = "/tmp/eider-price-test-XXXXXX";
    struct prices *prices = NULL;
    struct price_version version;
    struct err err = {0};
    struct price_call call = call_of("Birdeye", "/defi/price", "");

    (void)state;
    assert_non_null(mkdtemp(dir));
    write_file(dir, "own.yaml",
               "book: birdeye\napi: Birdeye\nversion: 7\n"
               "effective_from: 2020-01-01\nrules: [{name: all, credits: 33}]\n");
    write_file(dir, "note.txt", "not a book");
    assert_int_equal(prices_load(dir, &prices, &err), ERR_OK);
    check_quote(prices, &call, 33, "all");
    assert_int_equal(prices_version_count(prices), 2); /* birdeye, birdeye-compat */
    prices_unref(prices);

    write_file(dir, "own.yaml",
               "book: mine\napi: birdeye\nversion: 7\n"
               "effective_from: 2020-01-01\nrules: [{name: all, credits: 34}]\n");
    assert_int_equal(prices_load(dir, &prices, &err), ERR_OK);
    check_quote(prices, &call, 34, "all");
    prices_version_at(prices, 0, &version);
    assert_string_equal(version.source, "builtin:birdeye.yaml");
    assert_false(version.active);
    prices_unref(prices);

    assert_int_equal(prices_load_dir(dir, &prices, &err), ERR_OK);
    assert_int_equal(prices_version_count(prices), 1);
    prices_unref(prices);

    write_file(dir, "own.yaml", "book: mine\n");
    prices = NULL;
    assert_int_equal(prices_load(dir, &prices, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "/own.yaml:1:1: the book has no api"));
    assert_null(prices);
    remove_file(dir, "own.yaml");
    remove_file(dir, "note.txt");
    rmdir(dir);
    assert_int_equal(prices_load(dir, &prices, &err), ERR_IO);
    assert_non_null(strstr(err.msg, dir));
}

static void
test_price_json_is_valid_and_holds_the_rules(void **state)
{
    struct prices *prices;
    BUF_AUTO struct buf out;

    (void)state;
    buf_init(&out, 0);
    prices_builtin(&prices);
    prices_write_json(prices, &out);
    assert_true(json_valid(buf_slice(&out)));
    assert_non_null(memmem(out.ptr, out.len, "\"when\":\"candles < 1000\"", 23));
    assert_non_null(memmem(out.ptr, out.len, "\"credits\":120", 13));
    prices_unref(prices);
}

static void
test_price_reference_keeps_what_a_reload_replaces(void **state)
{
    struct prices *prices = load_text(HEAD "rules: [{name: r, credits: 2}]\n");
    struct prices *kept = prices_ref(prices);
    struct price_call call = call_of("A", "/", "");

    (void)state;
    prices_unref(prices);
    check_quote(kept, &call, 2, "r");
    prices_unref(kept);
    prices_unref(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_price_of_birdeye_follows_the_candles),
        cmocka_unit_test(test_price_of_a_call_without_a_path_is_the_default),
        cmocka_unit_test(test_price_takes_candles_that_are_stated),
        cmocka_unit_test(test_price_without_an_answer_costs_nothing),
        cmocka_unit_test(test_price_select_takes_the_rule_of_the_original),
        cmocka_unit_test(test_price_of_an_unknown_api_is_not_found),
        cmocka_unit_test(test_price_quote_takes_max_for_what_is_not_known),
        cmocka_unit_test(test_price_quote_is_the_dearest_that_may_come),
        cmocka_unit_test(test_price_of_a_failure_is_what_the_rule_says),
        cmocka_unit_test(test_price_matches_method_query_and_fields),
        cmocka_unit_test(test_price_faults_are_errors_that_name_the_rule),
        cmocka_unit_test(test_price_takes_the_version_of_the_time_of_the_call),
        cmocka_unit_test(test_price_digest_is_of_the_meaning),
        cmocka_unit_test(test_price_folder_replaces_a_shipped_book),
        cmocka_unit_test(test_price_json_is_valid_and_holds_the_rules),
        cmocka_unit_test(test_price_reference_keeps_what_a_reload_replaces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
