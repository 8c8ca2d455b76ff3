/* Tests of gateway.upstreams in the configuration. */
#include "server/config_testing.h"
#include "server/config_upstreams.h"

static void
test_upstreams_are_read_with_defaults(void **state)
{
    struct config config CONFIG_AUTO = {0};
    struct gateway_upstream options;
    struct err err = {0};

    (void)state;
    assert_int_equal(load("gateway:\n"
                          "  threads: 2\n"
                          "  upstreams:\n"
                          "    birdeye:\n"
                          "      base_url: https://public-api.birdeye.so/\n"
                          "      api_name: Birdeye\n"
                          "      headers: {X-API-KEY: \"${KEY}\", x-chain: solana}\n"
                          "      timeout: 250ms\n"
                          "      retries: 3\n"
                          "      credits_per_call: 1.5\n"
                          "      charge_on_abort: nothing\n"
                          "      breaker: {pause_after: 3, open: 1m}\n"
                          "    other: {base_url: \"http://127.0.0.1:1\", breaker: {enabled: no}}\n",
                          false, &config, &err),
                     ERR_OK);
    assert_int_equal(config.gateway.threads, 2);
    assert_int_equal(config.gateway.upstreams->count, 2);
    config_upstream_options(&config.gateway.upstreams->items[0], &options);
    assert_string_equal(options.name, "birdeye");
    assert_string_equal(options.api_name, "Birdeye");
    assert_int_equal(options.header_count, 2);
    assert_string_equal(options.headers[0].value, "s3cret-token");
    assert_string_equal(options.headers[1].name, "x-chain");
    assert_int_equal(options.timeout_ms, 250);
    assert_int_equal(options.idle_timeout_ms, 60000);
    assert_int_equal(options.retries, 3);
    assert_int_equal(options.default_credits, 1500000);
    assert_true(options.abort_is_free);
    assert_false(options.drop_credentials || options.no_forwarded_for || options.breaker.off);
    assert_int_equal(options.breaker.pause_after, 3);
    assert_int_equal(options.breaker.open_after, 20);
    assert_int_equal(options.breaker.open_ms, 60000);
    config_upstream_options(&config.gateway.upstreams->items[1], &options);
    assert_true(options.breaker.off);
    assert_null(options.api_name);
}

static void
test_upstreams_may_be_missing(void **state)
{
    static const char *const texts[] = {"", "gateway:\n", "gateway:\n  upstreams:\n"};
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct config config CONFIG_AUTO = {0};
        assert_int_equal(load(texts[i], false, &config, &err), ERR_OK);
        assert_null(config.gateway.upstreams);
    }
}

static void
test_upstreams_errors_say_where_and_what(void **state)
{
#define UP "gateway:\n  upstreams:\n    a:\n      base_url: http://h\n"
    static const struct {
        const char *yaml, *text;
    } cases[] = {
        {UP "      bse_url: x\n", ":5: unknown setting gateway.upstreams.a.bse_url; did you mean "
                                  "base_url?"},
        {UP "      breaker: {pause_aftr: 1}\n", "did you mean breaker.pause_after?"},
        {UP "      retries: many\n",
         ":5: gateway.upstreams.a.retries is \"many\"; expected a whole "
         "number from 0 to 10"},
        {UP "      timeout: 0\n", "gateway.upstreams.a.timeout is \"0\""},
        {UP "      base_url: http://i\n", ":5: gateway.upstreams.a.base_url is given twice; first "
                                          "in line 4"},
        {UP "      headers: [a]\n", ":5: gateway.upstreams.a.headers: expected a mapping"},
        {UP "      headers: {Host: b}\n", ":3: upstream a: the header \"Host\""},
        {UP "      headers: {X: \"${UNSET}\"}\n",
         ":5: gateway.upstreams.a.headers.X: environment variable UNSET is not set"},
        {UP "      credits_per_call: -1\n", ":5: gateway.upstreams.a.credits_per_call is \"-1\""},
        {UP "      charge_on_abort: maybe\n", "expected one of reserved, nothing"},
        {UP "      timeout: {}\n", "gateway.upstreams.a.timeout is \"{...}\""},
        {UP "    a: {base_url: http://i}\n", ":5: gateway.upstreams.a is given twice"},
        {"gateway:\n  upstreams:\n    a: {api_name: b}\n", ":3: upstream a: base_url is missing"},
        {"gateway:\n  upstreams:\n    a/b: {base_url: http://h}\n", ":3: upstream \"a/b\""},
        {"gateway:\n  upstreams:\n    a: http://h\n", ":3: gateway.upstreams.a: expected settings"},
        {"gateway:\n  upstreams: [a]\n", ":2: gateway.upstreams: expected a mapping"},
        {"gateway:\n  upstream: {}\n", ":2: unknown setting gateway.upstream"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config CONFIG_AUTO = {0};
        struct err err = {0};
        assert_int_equal(load(cases[i].yaml, false, &config, &err), ERR_USAGE);
        if (!strstr(err.msg, cases[i].text)) {
            fail_msg("\"%s\" lacks \"%s\"", err.msg, cases[i].text);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upstreams_are_read_with_defaults),
        cmocka_unit_test(test_upstreams_may_be_missing),
        cmocka_unit_test(test_upstreams_errors_say_where_and_what),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
