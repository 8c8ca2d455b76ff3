/* Tests of redaction: what goes, what stays, that nothing changes twice, random secrets anywhere.
 */
#include "meter/redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "codec/json_read.h"

#define HEX32 "0123456789abcdef0123456789abcdef"

typedef void redact_fn(struct slice text, struct buf *out);

struct redact_case {
    const char *text;
    const char *expected; /* NULL: unchanged */
};

static void
check(redact_fn *redact, const struct redact_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *expected = cases[i].expected ? cases[i].expected : cases[i].text;
        BUF_AUTO struct buf once;
        BUF_AUTO struct buf twice;
        buf_init(&once, 0);
        buf_init(&twice, 0);
        redact(slice_of(cases[i].text), &once);
        redact(buf_slice(&once), &twice);
        if (!slice_is(buf_slice(&once), expected)) {
            fail_msg("%s\n--> %.*s\nexpected %s", cases[i].text, SLICE_FMT(buf_slice(&once)),
                     expected);
        }
        assert_true(slice_eq(buf_slice(&once), buf_slice(&twice)));
    }
}

static const struct redact_case URLS[] = {
    {"https://h.io/defi/price?address=So111&type=1m", NULL},
    {"/defi/v3/ohlcv?time_from=1&time_to=2#top", NULL},
    {"https://u:p@h.io:80/a", "https://[redacted]@h.io:80/a"},
    {"https://u:p@x@h.io/a@b", "https://[redacted]@h.io/a@b"},
    {"//u@h/", "//[redacted]@h/"},
    {"/a?api_key=abc&x=1", "/a?api_key=[redacted]&x=1"},
    {"/a?x=1&API-Key=a,b;c", "/a?x=1&API-Key=[redacted]"},
    {"/a?api%5Fkey=abc", "/a?api%5Fkey=[redacted]"},
    {"/a?%61pikey=abc#access_token=q&z=1", "/a?%61pikey=[redacted]#access_token=[redacted]&z=1"},
    {"/a?apikey=1&key=2&token=3&auth=4&secret=5&sig=6&signature=7&password=8&x-api-key=9",
     "/a?apikey=[redacted]&key=[redacted]&token=[redacted]&auth=[redacted]&secret=[redacted]"
     "&sig=[redacted]&signature=[redacted]&password=[redacted]&x-api-key=[redacted]"},
    {"/a?api_key=", NULL},
    {"/a?monkey=1&keyboard=2&max_tokens=3&token_address=4", NULL},
    {"/a?next=http%3A%2F%2Fh%2F%3Fapi_key%3Dabc", "/a?next=[redacted]"},
    {"/a?x=sk-abcdefghijklmnop0123", "/a?x=[redacted]"},
    {"https://eth.io/v2/" HEX32, "https://eth.io/v2/[redacted]"},
    {"https://eth.io/v3/" HEX32 "/x?y=1", "https://eth.io/v3/[redacted]/x?y=1"},
    {"https://quick.io/" HEX32 "/", "https://quick.io/[redacted]/"},
    {"/v1/accounts/" HEX32, NULL},
    {"/v1/0x" HEX32, NULL},
    {"/defi/v3/ohlcv/base_quote_pairs_of_many_tokens", NULL},
    {"https://t.io/bot12345:AAbbccddeeffgghh00112233/send", "https://t.io/[redacted]/send"},
    {"https://d.io/api/webhooks/123/AAbbccddeeffgghh00112233",
     "https://d.io/api/webhooks/123/[redacted]"},
    {"", NULL},
    {"not a url", NULL},
};

static void
test_redact_url_takes_secrets_by_name_and_place(void **state)
{
    (void)state;
    check(redact_url, URLS, sizeof(URLS) / sizeof(URLS[0]));
}

static const struct redact_case TEXTS[] = {
    {"Rate limit exceeded for Birdeye", NULL},
    {"Unexpected token < in JSON at position 0", NULL},
    {"the key was wrong; bearer token missing; basic authentication", NULL},
    {"tx 0x" HEX32 HEX32 " at 12:30:00, ratio 1:2", NULL},
    {"GET https://u:p@h/a?api_key=abc failed",
     "GET https://[redacted]@h/a?api_key=[redacted] failed"},
    {"GET /a?api_key=abc&x=1 failed", "GET /a?api_key=[redacted]&x=1 failed"},
    {"at /v2/" HEX32 ": 500", "at /v2/[redacted]: 500"},
    {"Authorization: Bearer abc.def\nX: y", "Authorization: [redacted]\nX: y"},
    {"cookie: a=b; c=d\r\nX: y", "cookie: [redacted]\r\nX: y"},
    {"sent Bearer abcDEF123 twice", "sent Bearer [redacted] twice"},
    {"sent Basic dXNlcjpwYXNz.", "sent Basic [redacted]"},
    {"password = hunter2, user=x", "password = [redacted], user=x"},
    {"{\"api_key\":\"a\\\"b\",\"x\":1}", "{\"api_key\":\"[redacted]\",\"x\":1}"},
    {"{\\\"api_key\\\":\\\"abc\\\",\\\"x\\\":1}",
     "{\\\"api_key\\\":\\\"[redacted]\\\",\\\"x\\\":1}"},
    {"X-API-KEY: abc", "X-API-KEY: [redacted]"},
    {"token: Bearer abc123 rest", "token: [redacted] rest"},
    {"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc-_1", "[redacted]"},
    {"key sk-proj-abcdefghijklmnop0123.", "key [redacted]."},
    {"ghp_abcdefghijklmnop0123 AKIAABCDEFGHIJKLMNOP", "[redacted] [redacted]"},
    {"task-abcdefghijklmnop0123 disk-aaaaaaaaaaaaaaaaaaaaaa", NULL},
    {"http://a/?u=http://a/?u=http://a/?u=http://a/?u=1", NULL},
    {"http://a/?u=http://a/?u=http://a/?u=http://a/?u=http://a/?u=http://a/?u=1",
     "http://a/?u=[redacted]"},
    {"a\xff\x01z", NULL},
};

static void
test_redact_text_takes_secrets_out_of_messages(void **state)
{
    (void)state;
    check(redact_text, TEXTS, sizeof(TEXTS) / sizeof(TEXTS[0]));
}

static const struct redact_case JSONS[] = {
    {" {\"a\" : [1, 2.50, \"x\\u0041\", null, true], \"method\":\"GET\" } ", NULL},
    {"{\"api_key\" : \"abc\", \"n\":1}", "{\"api_key\" : \"[redacted]\", \"n\":1}"},
    {"{\"a\":[{\"b\":{\"ApiKey\":12345}}]}", "{\"a\":[{\"b\":{\"ApiKey\":\"[redacted]\"}}]}"},
    {"{\"auth\": {\"user\":\"u\",\"p\":[1]}, \"x\":0}", "{\"auth\": \"[redacted]\", \"x\":0}"},
    {"{\"headers\":{\"X-API-KEY\":\"a\",\"accept\":\"json\"}}",
     "{\"headers\":{\"X-API-KEY\":\"[redacted]\",\"accept\":\"json\"}}"},
    {"{\"token\":null,\"password\":\"\",\"secret\":false}", NULL},
    {"{\"api\\u005fkey\":\"abc\"}", "{\"api\\u005fkey\":\"[redacted]\"}"},
    {"{\"url\":\"https:\\/\\/u:p@h\\/?key=1\"}",
     "{\"url\":\"https://[redacted]@h/?key=[redacted]\"}"},
    {"[\"Bearer abcDEF123\", \"plain\"]", "[\"Bearer [redacted]\", \"plain\"]"},
    {"{\"sk-abcdefghijklmnop0123\":1}", "{\"[redacted]\":1}"},
    {"{\"body\":\"{\\\"password\\\":\\\"x\\\"}\"}",
     "{\"body\":\"{\\\"password\\\":\\\"[redacted]\\\"}\"}"},
    {"{\"api_key\":\"abc\"", "\"{\\\"api_key\\\":\\\"[redacted]\\\"\""},
    {"", "\"\""},
    {"{\"a\":1} {\"api_key\":\"abc\"}", "\"{\\\"a\\\":1} {\\\"api_key\\\":\\\"[redacted]\\\"}\""},
};

static void
test_redact_json_keeps_the_rest_byte_for_byte(void **state)
{
    (void)state;
    check(redact_json, JSONS, sizeof(JSONS) / sizeof(JSONS[0]));
}

static void
test_redact_header_goes_by_its_name(void **state)
{
    static const char *const secret[] = {"Authorization", "cookie",       "Set-Cookie",
                                         "X-API-KEY",     "x-auth-token", "Proxy-Authorization"};
    static const char *const plain[] = {"accept", "x-chain", "Content-Type", "ETag", "x-ratelimit"};

    (void)state;
    for (size_t i = 0; i < sizeof(secret) / sizeof(secret[0]); i++) {
        BUF_AUTO struct buf out;
        buf_init(&out, 0);
        redact_header(slice_of(secret[i]), SLICE_LITERAL("abc"), &out);
        assert_true(slice_is(buf_slice(&out), REDACTED));
    }
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
        BUF_AUTO struct buf out;
        buf_init(&out, 0);
        redact_header(slice_of(plain[i]), SLICE_LITERAL("abc"), &out);
        assert_true(slice_is(buf_slice(&out), "abc"));
    }
}

static void
test_redact_knows_names_of_the_configuration(void **state)
{
    static const char *const names[] = {"x-tenant"};
    struct redact_rules rules = {names, 1};
    BUF_AUTO struct buf out;

    (void)state;
    buf_init(&out, 0);
    redact_url_with(&rules, SLICE_LITERAL("/a?X_Tenant=t&y=1"), &out);
    assert_true(slice_is(buf_slice(&out), "/a?X_Tenant=[redacted]&y=1"));
    buf_reset(&out);
    redact_json_with(&rules, SLICE_LITERAL("{\"xTenant\":\"t\"}"), &out);
    assert_true(slice_is(buf_slice(&out), "{\"xTenant\":\"[redacted]\"}"));
    assert_false(redact_is_secret(NULL, SLICE_LITERAL("x-tenant")));
}

/* ---- properties ---- */

static void
random_bytes(struct rng *rng, struct buf *out)
{
    static const char *const pieces[] = {
        "key", "=", ":",          "\"",      "\\",      " ", "&",     "?", "/",
        "v2",  "a", "[redacted]", "Bearer ", "http://", "@", "%3D",   "#", ",",
        "\n",  "{", "}",          "eyJ",     "sk-",     ".", "token", "0"};

    for (uint64_t n = rng_below(rng, 12); n > 0; n--) {
        buf_add_cstr(out, pieces[rng_below(rng, sizeof(pieces) / sizeof(pieces[0]))]);
    }
}

static void
test_redact_lets_no_secret_survive(void **state)
{
    /* Where a secret may stand; each begins a line or a member of its own. */
    static const char *const frames[] = {"\napi_key=%s",
                                         "\n{\"password\":\"%s\"}",
                                         "\nX-API-KEY: %s\n",
                                         "\nAuthorization: Bearer %s",
                                         "\nhttps://user:%s@host/",
                                         "\nhttps://host/a?x=1&access_token=%s&y=2",
                                         "\nhttps://host/a?API%2DKEY=%s",
                                         "\nGET /v2/%s/logs",
                                         "\nsk-%s",
                                         "\neyJhbGciOi.%s.%s"};
    struct rng rng;

    (void)state;
    rng_init(&rng, 3);
    for (size_t round = 0; round < 5000; round++) {
        char secret[41];
        char framed[256];
        BUF_AUTO struct buf text;
        BUF_AUTO struct buf once;
        BUF_AUTO struct buf twice;
        buf_init(&text, 0);
        buf_init(&once, 0);
        buf_init(&twice, 0);
        for (size_t i = 0; i < 40; i++) {
            secret[i] = "Zz0123456789QqXx"[rng_below(&rng, 16)];
        }
        memcpy(secret, "Z0", 2);
        secret[40] = '\0';
        const char *frame = frames[rng_below(&rng, sizeof(frames) / sizeof(frames[0]))];
        const char *hole = strstr(frame, "%s");
        int len = snprintf(framed, sizeof(framed), "%.*s%s%s", (int)(hole - frame), frame, secret,
                           hole + 2);
        assert_in_range(len, 1, sizeof(framed) - 1);
        random_bytes(&rng, &text);
        buf_add_cstr(&text, framed);
        redact_text(buf_slice(&text), &once);
        if (memmem(once.ptr, once.len, secret, 40)) {
            fail_msg("%.*s\n--> %.*s", SLICE_FMT(buf_slice(&text)), SLICE_FMT(buf_slice(&once)));
        }
        redact_text(buf_slice(&once), &twice);
        assert_true(slice_eq(buf_slice(&once), buf_slice(&twice)));
    }
}

/* A blank behind a text sends it the long way, and changes nothing else. */
static void
test_redact_answers_plain_texts_as_the_long_way_does(void **state)
{
    static const char *const parts[] = {
        "sk-", "ghp_", "xoxb-",      "eyJ",  "AKIA", "SG.", "ya29.", "-",    "_",   ".",     "Zz09",
        "abc", "q",    "0123456789", "eyJh", "AIza", "key", "bot",   "npm_", "hf_", "glpat-"};
    struct rng rng;
    size_t plain = 0;
    size_t redacted = 0;

    (void)state;
    rng_init(&rng, 7);
    for (int round = 0; round < 20000; round++) {
        BUF_AUTO struct buf text;
        BUF_AUTO struct buf fast;
        BUF_AUTO struct buf slow;
        buf_init(&text, 0);
        buf_init(&fast, 0);
        buf_init(&slow, 0);
        for (size_t i = rng_below(&rng, 10); i > 0; i--) {
            buf_add_cstr(&text, parts[rng_below(&rng, sizeof(parts) / sizeof(parts[0]))]);
        }
        plain += redact_is_plain(buf_slice(&text));
        redact_text(buf_slice(&text), &fast);
        redacted += !slice_eq(buf_slice(&text), buf_slice(&fast));
        buf_add_char(&text, ' ');
        buf_add_char(&fast, ' ');
        redact_text(buf_slice(&text), &slow);
        if (!slice_eq(buf_slice(&fast), buf_slice(&slow))) {
            fail_msg("%.*s: %.*s, %.*s", SLICE_FMT(buf_slice(&text)), SLICE_FMT(buf_slice(&fast)),
                     SLICE_FMT(buf_slice(&slow)));
        }
    }
    assert_true(plain > 1000 && redacted > 1000);
}

static void
test_redact_takes_time_in_proportion(void **state)
{
    static const char *const pieces[] = {"http://a/?u=", "a-",  "/webhooks/", "key  ", "eyJ-",
                                         "\\",           "%61", "a.",         "key:'"};

    (void)state;
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        BUF_AUTO struct buf text;
        BUF_AUTO struct buf out;
        buf_init(&text, 0);
        buf_init(&out, 0);
        while (text.len < 100000) {
            buf_add_cstr(&text, pieces[i]);
        }
        redact_text(buf_slice(&text), &out); /* ends, and within its stack */
        redact_url(buf_slice(&text), &out);
        redact_json(buf_slice(&text), &out);
        assert_true(out.len > 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redact_url_takes_secrets_by_name_and_place),
        cmocka_unit_test(test_redact_text_takes_secrets_out_of_messages),
        cmocka_unit_test(test_redact_json_keeps_the_rest_byte_for_byte),
        cmocka_unit_test(test_redact_header_goes_by_its_name),
        cmocka_unit_test(test_redact_knows_names_of_the_configuration),
        cmocka_unit_test(test_redact_lets_no_secret_survive),
        cmocka_unit_test(test_redact_answers_plain_texts_as_the_long_way_does),
        cmocka_unit_test(test_redact_takes_time_in_proportion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
