/* Tokens with scopes: what they may look like, and what is said when they do not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "server/tokens.h"

static struct api_token token;
static struct err err;

static enum err_code
parse(const char *text)
{
    err = (struct err){0};
    return token_parse(slice_of(text), &token, &err);
}

static void
test_token_parse_reads_name_scopes_and_token(void **state)
{
    unsigned char hash[API_TOKEN_HASH_BYTES];

    (void)state;
    assert_int_equal(parse("ci:ingest+read:very:secret"), ERR_OK);
    assert_string_equal(token.name, "ci");
    assert_int_equal(token.scopes, API_SCOPE_INGEST | API_SCOPE_READ);
    api_token_hash(slice_of("very:secret"), hash);
    assert_memory_equal(token.hash, hash, sizeof(hash));
}

/* The digest of "abc" of FIPS 180-2. */
static void
test_token_parse_takes_a_hash_instead(void **state)
{
    unsigned char hash[API_TOKEN_HASH_BYTES];

    (void)state;
    assert_int_equal(
        parse("bot:spend:sha256:BA7816BF8F01CFEA414140DE5DAE2223b00361a396177a9cb410ff61"
              "f20015ad"),
        ERR_OK);
    api_token_hash(slice_of("abc"), hash);
    assert_memory_equal(token.hash, hash, sizeof(hash));
    assert_int_equal(token.scopes, API_SCOPE_SPEND);
}

static void
test_token_parse_says_what_is_wrong_without_the_token(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"topsecret", "expected name:scopes:token"},
        {"ci:topsecret", "expected name:scopes:token"},
        {":read:topsecret", "the name has 0 bytes"},
        {"ci:write:topsecret",
         "the scope \"write\" is unknown; expected ingest, read, spend or admin"},
        {"ci::topsecret", "the scope \"\" is unknown"},
        {"ci:read+:topsecret", "the scope \"\" is unknown"},
        {"ci:read:short", "it has 5 bytes; expected at least 8"},
        {"ci:read:sha256:topsecret", "64 hex digits"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(parse(cases[i].text), ERR_USAGE);
        if (!strstr(err.msg, cases[i].message) || strstr(err.msg, "topsecret")) {
            fail_msg("%s: %s", cases[i].text, err.msg);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_token_parse_reads_name_scopes_and_token),
        cmocka_unit_test(test_token_parse_takes_a_hash_instead),
        cmocka_unit_test(test_token_parse_says_what_is_wrong_without_the_token),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
