/* Tests of the head parser: what is read, and above all what is refused. */
#include "http/head.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

/* Finds and parses a head; returns 0, or the status it is refused with, or -1 for "incomplete". */
static int
parse(struct slice bytes, struct http_head *head)
{
    struct http_scan scan = {.at = 0};
    struct http_fault fault = {0, NULL};
    size_t len;

    switch (http_scan(&scan, bytes, &len, &fault)) {
    case HTTP_SCAN_MORE:
        return -1;
    case HTTP_SCAN_BAD:
        assert_non_null(fault.detail);
        return fault.status;
    case HTTP_SCAN_END:
        break;
    }
    assert_true(len <= bytes.len);
    if (!http_head_parse(slice_sub(bytes, scan.skip, len - scan.skip), head, &fault)) {
        assert_non_null(fault.detail);
        return fault.status;
    }
    return 0;
}

static void
assert_slice(struct slice slice, const char *text)
{
    if (!slice_is(slice, text)) {
        fail_msg("\"%.*s\" is not \"%s\"", SLICE_FMT(slice), text);
    }
}

static void
test_head_reads_a_request(void **state)
{
    struct http_head head;
    struct slice value;

    (void)state;
    assert_int_equal(parse(SLICE_LITERAL("POST /a/b?x=1&y HTTP/1.1\r\n"
                                         "Host: example.org:8000\r\n"
                                         "User-Agent:  curl/8 \t\r\n"
                                         "X-Request-Id: abc-1\r\n"
                                         "X-Empty:\r\n"
                                         "CONTENT-LENGTH: 0012\r\n"
                                         "\r\n"),
                           &head),
                     0);
    assert_int_equal(head.method, HTTP_POST);
    assert_int_equal(head.minor, 1);
    assert_slice(head.target, "/a/b?x=1&y");
    assert_slice(head.path, "/a/b");
    assert_slice(head.query, "x=1&y");
    assert_slice(head.host, "example.org:8000");
    assert_slice(head.user_agent, "curl/8");
    assert_slice(head.request_id, "abc-1");
    assert_int_equal(head.content_length, 12);
    assert_true(head.keep_alive);
    assert_false(head.chunked);
    assert_int_equal(head.field_count, 5);
    assert_true(http_head_find(&head, "x-empty", &value));
    assert_slice(value, "");
    assert_false(http_head_find(&head, "Accept", &value));
}

static void
test_head_knows_every_method(void **state)
{
    (void)state;
    for (int method = 0; method < HTTP_METHOD_COUNT; method++) {
        struct http_head head;
        char text[64];
        int len = snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\n\r\n",
                           http_method_name((enum http_method)method));
        assert_int_equal(parse(slice_make(text, (size_t)len), &head), 0);
        assert_int_equal(head.method, method);
    }
}

struct persistence {
    const char *text;
    bool keep_alive;
};

static void
test_head_decides_whether_the_connection_stays(void **state)
{
    static const struct persistence cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true},
        {"GET / HTTP/1.0\r\n\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_head head;
        assert_int_equal(parse(slice_of(cases[i].text), &head), 0);
        assert_int_equal(head.keep_alive, cases[i].keep_alive);
    }
}

static void
test_head_takes_absolute_targets_and_their_host(void **state)
{
    struct http_head head;

    (void)state;
    assert_int_equal(
        parse(SLICE_LITERAL("GET http://b.org:81/p?q HTTP/1.1\r\nHost: a\r\n\r\n"), &head), 0);
    assert_slice(head.host, "b.org:81");
    assert_slice(head.path, "/p");
    assert_slice(head.query, "q");
    assert_int_equal(parse(SLICE_LITERAL("GET HTTPS://[::1] HTTP/1.1\r\nHost:\r\n\r\n"), &head), 0);
    assert_slice(head.host, "[::1]");
    assert_slice(head.path, "/");
    assert_int_equal(parse(SLICE_LITERAL("GET http://b?q=1 HTTP/1.1\r\nHost: a\r\n\r\n"), &head),
                     0);
    assert_slice(head.path, "/");
    assert_slice(head.query, "q=1");
    assert_int_equal(parse(SLICE_LITERAL("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"), &head), 0);
    assert_slice(head.path, "*");
}

static void
test_head_reads_framing(void **state)
{
    struct http_head head;

    (void)state;
    assert_int_equal(parse(SLICE_LITERAL("PUT / HTTP/1.1\r\nHost: a\r\n"
                                         "Transfer-Encoding: Chunked\r\n"
                                         "Expect: 100-Continue\r\n\r\n"),
                           &head),
                     0);
    assert_true(head.chunked);
    assert_true(head.expect_continue);
    assert_int_equal(
        parse(SLICE_LITERAL("PUT / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"),
              &head),
        0);
    assert_false(head.expect_continue);
    assert_int_equal(head.content_length, 5);
}

static void
test_head_finds_tokens_of_lists(void **state)
{
    struct http_head head;

    (void)state;
    assert_int_equal(parse(SLICE_LITERAL("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\n"
                                         "upgrade: foo ,WebSocket,\r\n\r\n"),
                           &head),
                     0);
    assert_true(http_head_has_token(&head, "Upgrade", "websocket"));
    assert_true(http_head_has_token(&head, "Upgrade", "h2c"));
    assert_false(http_head_has_token(&head, "Upgrade", "web"));
    assert_false(http_head_has_token(&head, "Connection", "close"));
}

static void
test_head_skips_one_empty_line_before_the_request(void **state)
{
    struct http_head head;

    (void)state;
    assert_int_equal(parse(SLICE_LITERAL("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), &head), 0);
    assert_int_equal(parse(SLICE_LITERAL("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), &head), 400);
}

struct refusal {
    const char *text;
    int status;
};

#define REQUEST(lines) "GET / HTTP/1.1\r\nHost: a\r\n" lines "\r\n"

static const struct refusal refusals[] = {
    /* Two readers could disagree about where the body ends. */
    {REQUEST("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
    {REQUEST("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
    {REQUEST("Content-Length: 5\r\nContent-Length: 6\r\n"), 400},
    {REQUEST("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
    {REQUEST("Content-Length: +2\r\n"), 400},
    {REQUEST("Content-Length: -2\r\n"), 400},
    {REQUEST("Content-Length: 2,2\r\n"), 400},
    {REQUEST("Content-Length: 2 2\r\n"), 400},
    {REQUEST("Content-Length: 0x2\r\n"), 400},
    {REQUEST("Content-Length:\r\n"), 400},
    {REQUEST("Content-Length: 5\t\r\n"), 400},
    {REQUEST("Transfer-Encoding:\tchunked\r\n"), 400},
    {REQUEST("Content-Length: 99999999999999999999999\r\n"), 400},
    {REQUEST("Content-Length : 5\r\n"), 400},
    {REQUEST("Transfer-Encoding: chunkedx\r\n"), 501},
    {REQUEST("Transfer-Encoding: gzip, chunked\r\n"), 501},
    {REQUEST("Transfer-Encoding: identity\r\n"), 501},
    {REQUEST("Transfer-Encoding: chunked, chunked\r\n"), 501},
    {REQUEST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
    {REQUEST("Transfer-Encoding:\r\n"), 501},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    /* Lines. */
    {"GET / HTTP/1.1\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", 400},
    {REQUEST("X: a\r\n b\r\n"), 400},
    {REQUEST("X: a\r\n\tb\r\n"), 400},
    {"GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400},
    /* Fields. */
    {REQUEST("X y: z\r\n"), 400},
    {REQUEST("X\t: z\r\n"), 400},
    {REQUEST(": z\r\n"), 400},
    {REQUEST("X\r\n"), 400},
    {REQUEST("X(: z\r\n"), 400},
    {REQUEST("X\x80: z\r\n"), 400},
    {REQUEST("X: \x01\r\n"), 400},
    {REQUEST("X: \x7f\r\n"), 400},
    /* Host. */
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nX: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
    {"GET http://b/ HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
    /* The request line. */
    {"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 505},
    {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
    {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
    {"PRI * HTTP/2.0\r\n\r\n", 505},
    {"GET / HTTP/0.9\r\n\r\n", 505},
    {"GET / HTTP/11\r\nHost: a\r\n\r\n", 400},
    {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
    {"GET /\r\n\r\n", 400},
    {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET / x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /\x80 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"get / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
    {"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
    {"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
    {"G(T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
    {"\x16\x03\x01", 400},
    {"{\"a\":1}", 400},
    {REQUEST("Expect: 200-ok\r\n"), 417},
};

static void
test_head_refuses_what_is_not_strictly_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct http_head head;
        int status = parse(slice_of(refusals[i].text), &head);
        if (status != refusals[i].status) {
            fail_msg("%d, expected %d, for: %s", status, refusals[i].status, refusals[i].text);
        }
    }
}

static void
test_head_refuses_nul_anywhere(void **state)
{
    static const char good[] = "GET /abc HTTP/1.1\r\nHost: example\r\nX-Y: value\r\n\r\n";

    (void)state;
    for (size_t i = 0; i < sizeof(good) - 5; i++) {
        char text[sizeof(good)];
        struct http_head head;
        memcpy(text, good, sizeof(good));
        text[i] = '\0';
        assert_int_not_equal(parse(slice_make(text, sizeof(good) - 1), &head), 0);
    }
}

static void
test_head_refuses_too_many_fields(void **state)
{
    char text[4096];
    struct http_head head;
    int len = snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: a\r\n");

    (void)state;
    for (int i = 1; i < HTTP_FIELDS_MAX; i++) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "X-%d: y\r\n", i);
    }
    int full = len + snprintf(text + len, sizeof(text) - (size_t)len, "\r\n");
    assert_int_equal(parse(slice_make(text, (size_t)full), &head), 0);
    assert_int_equal(head.field_count, HTTP_FIELDS_MAX);
    len += snprintf(text + len, sizeof(text) - (size_t)len, "X: y\r\n\r\n");
    assert_int_equal(parse(slice_make(text, (size_t)len), &head), 431);
}

static const char whole[] = "\r\nPOST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";
enum { WHOLE_HEAD = sizeof(whole) - 1 - 3 };

static void
test_scan_finds_the_end_in_any_pieces(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < sizeof(whole) - 1; cut++) {
        struct http_scan scan = {.at = 0};
        struct http_fault fault;
        size_t len = 0;
        enum http_scan_result first = http_scan(&scan, slice_make(whole, cut), &len, &fault);
        assert_int_equal(first, cut < WHOLE_HEAD ? HTTP_SCAN_MORE : HTTP_SCAN_END);
        if (first == HTTP_SCAN_MORE) {
            assert_int_equal(http_scan(&scan, slice_make(whole, sizeof(whole) - 1), &len, &fault),
                             HTTP_SCAN_END);
        }
        assert_int_equal(len, WHOLE_HEAD);
        assert_int_equal(scan.skip, 2);
    }
}

static void
test_scan_byte_by_byte_gives_the_same_as_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        struct slice text = slice_of(refusals[i].text);
        struct http_scan scan = {.at = 0};
        struct http_scan at_once = {.at = 0};
        struct http_fault fault;
        size_t len = 0;
        size_t len_at_once = 0;
        enum http_scan_result result = HTTP_SCAN_MORE;
        for (size_t n = 1; n <= text.len && result == HTTP_SCAN_MORE; n++) {
            result = http_scan(&scan, slice_sub(text, 0, n), &len, &fault);
        }
        assert_int_equal(result, http_scan(&at_once, text, &len_at_once, &fault));
        assert_int_equal(len, len_at_once);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head_reads_a_request),
        cmocka_unit_test(test_head_knows_every_method),
        cmocka_unit_test(test_head_decides_whether_the_connection_stays),
        cmocka_unit_test(test_head_takes_absolute_targets_and_their_host),
        cmocka_unit_test(test_head_reads_framing),
        cmocka_unit_test(test_head_finds_tokens_of_lists),
        cmocka_unit_test(test_head_skips_one_empty_line_before_the_request),
        cmocka_unit_test(test_head_refuses_what_is_not_strictly_right),
        cmocka_unit_test(test_head_refuses_nul_anywhere),
        cmocka_unit_test(test_head_refuses_too_many_fields),
        cmocka_unit_test(test_scan_finds_the_end_in_any_pieces),
        cmocka_unit_test(test_scan_byte_by_byte_gives_the_same_as_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
