/* Tests of the WebSocket handshake. */
#include "http/ws_handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"

/* Returns 0 when the request is accepted, else the status. */
static int
check(const char *line, const char *fields, const char *const *origins, char *ret_accept)
{
    static struct http_head head;
    struct http_fault fault = {0, NULL};
    char text[1024];
    int len = snprintf(text, sizeof(text), "%s\r\nHost: localhost:8000\r\n%s\r\n", line, fields);

    assert_true(http_head_parse(slice_make(text, (size_t)len), &head, &fault));
    return ws_handshake_check(&head, origins, ret_accept, &fault) ? 0 : fault.status;
}

static void
test_handshake_answers_the_example_of_the_rfc(void **state)
{
    char accept[WS_ACCEPT_LEN + 1];

    (void)state;
    assert_int_equal(check("GET /ws HTTP/1.1", UPGRADE VERSION KEY, NULL, accept), 0);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

struct refusal {
    const char *line;
    const char *fields;
    int status;
};

static void
test_handshake_refuses_what_is_no_upgrade(void **state)
{
    static const struct refusal refusals[] = {
        {"POST / HTTP/1.1", UPGRADE VERSION KEY, 426},
        {"GET / HTTP/1.0", UPGRADE VERSION KEY, 426},
        {"GET / HTTP/1.1", VERSION KEY, 426},
        {"GET / HTTP/1.1", "Upgrade: websocket\r\n" VERSION KEY, 426},
        {"GET / HTTP/1.1", "Connection: Upgrade\r\n" VERSION KEY, 426},
        {"GET / HTTP/1.1", "Upgrade: websockets\r\nConnection: Upgrade\r\n" VERSION KEY, 426},
        {"GET / HTTP/1.1", UPGRADE KEY, 426},
        {"GET / HTTP/1.1", UPGRADE KEY "Sec-WebSocket-Version: 8\r\n", 426},
        {"GET / HTTP/1.1", UPGRADE KEY VERSION VERSION, 426},
        {"GET / HTTP/1.1", UPGRADE VERSION, 400},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY KEY, 400},
        {"GET / HTTP/1.1", UPGRADE VERSION "Sec-WebSocket-Key: abc\r\n", 400},
        {"GET / HTTP/1.1", UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQAA\r\n", 400},
        {"GET / HTTP/1.1", UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub2-jZQ==\r\n", 400},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY "Content-Length: 2\r\n", 400},
        {"GET / HTTP/1.1", UPGRADE VERSION KEY "Transfer-Encoding: chunked\r\n", 400},
    };
    char accept[WS_ACCEPT_LEN + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        assert_int_equal(check(refusals[i].line, refusals[i].fields, NULL, accept),
                         refusals[i].status);
    }
    assert_int_equal(
        check("GET / HTTP/1.1",
              "upgrade: h2c, WebSocket\r\nconnection: keep-alive, upgrade\r\n" VERSION KEY, NULL,
              accept),
        0);
}

struct origin {
    const char *value;
    int status;
};

static void
test_handshake_checks_the_origin(void **state)
{
    static const struct origin cases[] = {
        {"http://localhost:8000", 0},
        {"https://LOCALHOST:8000", 0},
        {"http://localhost", 403},
        {"http://localhost:8001", 403},
        {"http://evil.example", 403},
        {"http://localhost:8000.evil.example", 403},
        {"http://evil@localhost:8000", 403},
        {"null", 403},
        {"localhost:8000", 403},
        {"", 403},
        {"https://app.example:8443", 0},
        {"https://app.example", 403},
    };
    static const char *const allowed[] = {"https://app.example:8443", NULL};
    static const char *const any[] = {"*", NULL};
    char accept[WS_ACCEPT_LEN + 1];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char fields[512];
        snprintf(fields, sizeof(fields), UPGRADE VERSION KEY "Origin: %s\r\n", cases[i].value);
        assert_int_equal(check("GET / HTTP/1.1", fields, allowed, accept), cases[i].status);
        assert_int_equal(check("GET / HTTP/1.1", fields, any, accept), 0);
    }
}

static void
test_handshake_ignores_default_ports(void **state)
{
    char accept[WS_ACCEPT_LEN + 1];

    (void)state;
    assert_int_equal(check("GET http://a.example/ HTTP/1.1",
                           UPGRADE VERSION KEY "Origin: http://a.example:80\r\n", NULL, accept),
                     0);
    assert_int_equal(check("GET http://a.example:443/ HTTP/1.1",
                           UPGRADE VERSION KEY "Origin: https://a.example\r\n", NULL, accept),
                     0);
    assert_int_equal(check("GET http://a.example:443/ HTTP/1.1",
                           UPGRADE VERSION KEY "Origin: http://a.example\r\n", NULL, accept),
                     403);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_answers_the_example_of_the_rfc),
        cmocka_unit_test(test_handshake_refuses_what_is_no_upgrade),
        cmocka_unit_test(test_handshake_checks_the_origin),
        cmocka_unit_test(test_handshake_ignores_default_ports),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
