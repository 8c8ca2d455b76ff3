/* Tests of addresses and subjects. */
#include "nats/url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static void
test_url_takes_servers_apart(void **state)
{
    static const struct {
        const char *text;
        size_t count;
        bool is_tls;
        const char *shown;
    } cases[] = {
        {"nats://localhost", 1, false, "nats://localhost"},
        {"tls://nats.example:4443", 1, true, "tls://nats.example:4443"},
        {"nats://[::1]:65535", 1, false, "nats://[::1]:65535"},
        {"nats://[::1]", 1, false, "nats://[::1]"},
        {"nats://eider:tiger@h:1", 1, false, "nats://****@h:1"},
        {"nats://tiger@h", 1, false, "nats://****@h"},
        {"nats://eider:tig@er@h", 1, false, "nats://****@h"},
        {" nats://a:1 , nats://u:tiger@b:2", 2, false, "nats://a:1,nats://****@b:2"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nats_url url;
        struct err err = {0};
        assert_int_equal(nats_url_parse(slice_of(cases[i].text), &url, &err), ERR_OK);
        assert_int_equal(url.count, cases[i].count);
        assert_int_equal(url.is_tls, cases[i].is_tls);
        assert_string_equal(url.shown, cases[i].shown);
    }
}

static void
test_url_keeps_credentials_for_the_connection(void **state)
{
    struct nats_url url;

    (void)state;
    assert_int_equal(nats_url_parse(slice_of("nats://a,nats://u:tiger@b:2"), &url, NULL), ERR_OK);
    assert_string_equal(url.servers[0], "nats://a");
    assert_string_equal(url.servers[1], "nats://u:tiger@b:2");
}

static void
test_url_refuses_without_showing_the_password(void **state)
{
    static const struct {
        const char *text;
        const char *word;
    } cases[] = {
        {"", "server 1 has no scheme"},
        {"u:tiger@h:4222", "server 1 has no scheme"},
        {"http://u:tiger@h", "server 1 has no scheme"},
        {"nats://", "server 1 has no host"},
        {"nats://u:tiger@", "server 1 has no host"},
        {"nats://u:tiger@:4222", "server 1 has no host"},
        {"nats://u:tiger@h:", "no port from 1 to 65535"},
        {"nats://u:tiger@h:0", "no port from 1 to 65535"},
        {"nats://u:tiger@h:65536", "no port from 1 to 65535"},
        {"nats://u:tiger@h:42x", "no port from 1 to 65535"},
        {"nats://u:tiger@[]:1", "server 1 has no host"},
        {"nats://u:tiger@[::1", "server 1 has no host"},
        {"nats://u:tiger@[::1]4222", "server 1 has no host"},
        {"nats://u:tiger@h/path", "a path"},
        {"nats://u:ti ger@h", "a blank"},
        {"nats://u:tiger@h,", "server 2 has no scheme"},
        {"nats://h,tls://u:tiger@h", "TLS for all or none"},
        {"nats://a,nats://a,nats://a,nats://a,nats://a,nats://a,nats://a,nats://a,nats://u:tiger@a",
         "more than 8 servers"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct nats_url url;
        struct err err = {0};
        assert_int_equal(nats_url_parse(slice_of(cases[i].text), &url, &err), ERR_INVALID);
        if (!strstr(err.msg, cases[i].word)) {
            fail_msg("%s: %s", cases[i].text, err.msg);
        }
        assert_null(strstr(err.msg, "tiger"));
    }
}

static void
test_url_bounds_a_server_and_what_it_shows(void **state)
{
    char text[7 + NATS_SERVER_BYTES];
    struct nats_url url;

    (void)state;
    memset(text, 'h', sizeof(text));
    memcpy(text, "nats://", 7);
    assert_int_equal(nats_url_parse(slice_make(text, NATS_SERVER_BYTES), &url, NULL), ERR_INVALID);
    assert_int_equal(nats_url_parse(slice_make(text, NATS_SERVER_BYTES - 1), &url, NULL), ERR_OK);
    assert_int_equal(strlen(url.shown), NATS_SHOWN_BYTES - 1);
    assert_string_equal(url.shown + NATS_SHOWN_BYTES - 4, "...");
}

static void
test_subject_is_words_without_wildcards(void **state)
{
    static const char *const good[] = {"a", "eider.eventlog.head", "A-1._x.$y"};
    static const char *const bad[] = {"", ".", "a.", ".a", "a..b", "a.*", "a.>", "a b", "a\n"};
    char text[NATS_SUBJECT_BYTES];
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_int_equal(nats_subject_check(slice_of(good[i]), &err), ERR_OK);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(nats_subject_check(slice_of(bad[i]), &err), ERR_INVALID);
        assert_non_null(strstr(err.msg, bad[i]));
    }
    memset(text, 's', sizeof(text));
    assert_int_equal(nats_subject_check(slice_make(text, sizeof(text)), &err), ERR_INVALID);
    assert_int_equal(nats_subject_check(slice_make(text, sizeof(text) - 1), &err), ERR_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url_takes_servers_apart),
        cmocka_unit_test(test_url_keeps_credentials_for_the_connection),
        cmocka_unit_test(test_url_refuses_without_showing_the_password),
        cmocka_unit_test(test_url_bounds_a_server_and_what_it_shows),
        cmocka_unit_test(test_subject_is_words_without_wildcards),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
