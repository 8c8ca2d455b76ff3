/* Tests of reading price books: every refusal with its place, the value and what was expected. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "meter/price.h"

#define HEAD "book: b\napi: A\nversion: 1\neffective_from: 2025-01-01\n"
#define PARAMS "params: {n: {query: n}}\n"
#define RULES "rules: [{name: r, credits: 1}]\n"
#define TWO(first, second)                                                                         \
    HEAD PARAMS "rules:\n  - {name: x, " first "}\n  - {name: y, " second "}\n"

struct refusal_case {
    const char *text;
    const char *place;   /* "t.yaml:" and what follows */
    const char *message; /* somewhere behind it */
};

static const struct refusal_case REFUSALS[] = {
    {"", "t.yaml:1:1: ", "the file is empty"},
    {"hello", "t.yaml:1:1: ", "expected a mapping"},
    {"- a\n", "t.yaml:1:1: ", "expected a mapping"},
    {"book: [\n", "t.yaml:2:1: ", "did not find"},
    {"book: \xff\n", "t.yaml: byte 6", "UTF-8"},
    {"bok: b\n", "t.yaml:1:1: ", "unknown key \"bok\" in a price book; did you mean \"book\"?"},
    {"book: b\nbook: c\n", "t.yaml:2:1: ", "book is given twice"},
    {"book: b\n" RULES, "t.yaml:1:1: ", "the book has no api"},
    {"book: a b\napi: A\nversion: 1\neffective_from: 2025-01-01\n" RULES,
     "t.yaml:1:7: ", "book: \"a b\"; expected 1 to 48 letters"},
    {"book: b\napi: A\nversion: 1.5\neffective_from: 2025-01-01\n" RULES,
     "t.yaml:3:10: ", "version: \"1.5\"; expected a whole number"},
    {"book: b\napi: A\nversion: 1\neffective_from: soon\n" RULES,
     "t.yaml:4:17: ", "effective_from: \"soon\"; expected a time"},
    {HEAD "active: perhaps\n" RULES, "t.yaml:5:9: ", "active: \"perhaps\"; expected true or false"},
    {HEAD "on_failure: -1\n" RULES, "t.yaml:5:13: ", "on_failure: \"-1\"; expected credits of 0"},
    {HEAD "rules: []\n", "t.yaml:5:8: ", "expected a list of 1 to 512"},
    {HEAD "rules: [{credits: 1}]\n", "t.yaml:5:9: ", "a rule has no name"},
    {HEAD "rules: [{name: r}]\n", "t.yaml:5:9: ", "rule r has no credits"},
    {HEAD "rules: [{name: r, credit: 1}]\n", "t.yaml:5:19: ", "did you mean \"credits\"?"},
    {HEAD "rules: [{name: r, credits: -5}]\n", "t.yaml:5:28: ", "credits: \"-5\"; expected 0"},
    {HEAD "rules: [{name: r, credits: .nan}]\n", "t.yaml:5:28: ", "\".nan\"; expected a number"},
    {HEAD "rules: [{name: r, credits: NaN}]\n", "t.yaml:5:28: ", "unknown parameter \"NaN\""},
    {HEAD "rules: [{name: r, credits: 1e12}]\n", "t.yaml:5:28: ", "expected 0 to 999999999999"},
    {HEAD "rules: [{name: r, credits: 1e99}]\n", "t.yaml:5:28: ", "expected a number of at most"},
    {HEAD "rules: [{name: r, credits: 9e11 * 9e11}]\n", "t.yaml:5:33: ", "beyond"},
    {HEAD "rules: [{name: r, credits: 3 / (2 - 2)}]\n", "t.yaml:5:30: ", "division by zero"},
    {HEAD "rules: [{name: r, credits: 3 +}]\n", "t.yaml:5:31: ", "the end of the text; expected"},
    {HEAD "rules: [{name: r, credits: 3 4}]\n", "t.yaml:5:30: ", "expected an operator"},
    {HEAD "rules: [{name: r, credits: 3 < 4}]\n", "t.yaml:5:28: ", "not a condition"},
    {HEAD "rules: [{name: r, credits: min(3)}]\n", "t.yaml:5:28: ", "two arguments"},
    {HEAD "rules: [{name: r, credits: {a: 1}}]\n", "t.yaml:5:28: ", "credits: \"{...}\"; expected"},
    {HEAD PARAMS "rules: [{name: r, credits: m + 1}]\n",
     "t.yaml:6:28: ", "unknown parameter \"m\""},
    {HEAD "params: {candles: {query: n}}\nrules: [{name: r, credits: candels * 2}]\n",
     "t.yaml:6:28: ", "did you mean candles?"},
    {HEAD PARAMS "rules: [{name: r, credits: n * 2}]\n", "t.yaml:6:28: ", "expected max"},
    {HEAD "rules: [{name: r, credits: bytes / 1000}]\n", "t.yaml:5:28: ", "expected max"},
    {HEAD PARAMS "rules: [{name: r, credits: 1, when: n}]\n",
     "t.yaml:6:37: ", "expected a condition"},
    {HEAD PARAMS "rules: [{name: r, credits: 1, when: \"n >= 5 and n\"}]\n",
     "t.yaml:6:45: ", "expected conditions"},
    {HEAD "rules: [{name: r, credits: 1}, {name: r, credits: 2}]\n",
     "t.yaml:5:32: ", "is the name of the rule in line 5"},
    {HEAD "params: {min: {query: n}}\n" RULES, "t.yaml:5:10: ", "is a word of formulas"},
    {HEAD "params: {bytes: {query: n}}\n" RULES, "t.yaml:5:10: ", "is always there"},
    {HEAD "params: {a-b: {query: n}}\n" RULES, "t.yaml:5:10: ", "\"a-b\"; expected a name"},
    {HEAD "params: {n: {query: n, field: n}}\n" RULES, "t.yaml:5:13: ", "has 2 of the keys"},
    {HEAD "params: {n: {span: {from: a}}}\n" RULES, "t.yaml:5:20: ", "span lacks \"to\""},
    {HEAD "params: {n: {formula: m}, m: {query: m}}\n" RULES,
     "t.yaml:5:23: ", "unknown parameter \"m\""},
    {HEAD "rules: [{name: r, credits: 1, match: {path: defi}}]\n",
     "t.yaml:5:45: ", "path: \"defi\"; expected a pattern"},
    {HEAD "rules: [{name: r, credits: 1, match: {path: /a?b=1}}]\n",
     "t.yaml:5:45: ", "without a query"},
    {HEAD "rules: [{name: r, credits: 1, match: {status: 99}}]\n",
     "t.yaml:5:47: ", "status: \"99\"; expected 100 to 599"},
    {HEAD "rules: [{name: r, credits: 1, match: {status: 299-200}}]\n",
     "t.yaml:5:47: ", "status: \"299-200\""},
    {HEAD "rules: [{name: r, credits: 1, match: {query: {a: {exist: true}}}}]\n",
     "t.yaml:5:51: ", "did you mean \"exists\"?"},
    {HEAD RULES "---\n" HEAD RULES, "t.yaml:7: ", "another effective_from"},
    {HEAD RULES "---\nbook: b\napi: A\nversion: 1\neffective_from: 2026-01-01\n" RULES,
     "t.yaml:7: ", "version numbers that grow"},
    {HEAD RULES "---\nbook: b\napi: B\nversion: 2\neffective_from: 2026-01-01\n" RULES,
     "t.yaml:7: ", "the same api"},
    {HEAD RULES "---\nbook: c\napi: a\nversion: 1\neffective_from: 2025-01-01\n" RULES,
     "t.yaml:7: ", "api a is priced by book c and by book b (t.yaml:1)"},
    /* Rules that can never match. */
    {TWO("credits: 1", "credits: 2"),
     "t.yaml:8: ", "rule y can never match: rule x in line 7 stands before it"},
    {TWO("credits: 1, match: {path: /defi/**}", "credits: 2, match: {path: /defi/*/price}"),
     "t.yaml:8: ", "rule y can never match"},
    {TWO("credits: 1, match: {path: [/a*, /b*]}", "credits: 2, match: {path: [/b1, /a*]}"),
     "t.yaml:8: ", "rule y can never match"},
    {TWO("credits: 1, match: {method: [get, POST]}", "credits: 2, match: {method: GET}"),
     "t.yaml:8: ", "rule y can never match"},
    {TWO("credits: 1, when: n >= 10", "credits: 2, when: n > 10 and n < 20"),
     "t.yaml:8: ", "rule y can never match"},
    {TWO("credits: 1, when: not n < 10", "credits: 2, when: n == 10"),
     "t.yaml:8: ", "rule y can never match"},
    {TWO("credits: 1, match: {query: {t: [a, b]}}", "credits: 2, match: {query: {t: a, u: b}}"),
     "t.yaml:8: ", "rule y can never match"},
    {TWO("credits: 1, match: {query: {t: {exists: true}}}", "credits: 2, match: {query: {t: a}}"),
     "t.yaml:8: ", "rule y can never match"},
    {TWO("credits: 1, match: {status: 4xx}", "credits: 2, match: {status: [404, 410-420]}"),
     "t.yaml:8: ", "rule y can never match"},
    {TWO("credits: 1, when: n > 5 and n < 3", "credits: 2"),
     "t.yaml:7: ", "rule x can never match: no value of n satisfies \"n > 5 and n < 3\""},
    {TWO("credits: 1, when: n < 0", "credits: 2"), "t.yaml:7: ", "no value of n satisfies"},
    {TWO("credits: 1, when: 1 > 2", "credits: 2"), "t.yaml:7: ", "\"1 > 2\" never holds"},
    {TWO("credits: 1, when: n > 5 and (n < 5 or n == 4)", "credits: 2"),
     "t.yaml:7: ", "no value of n satisfies"},
    {TWO("credits: 1, when: not (n >= 1 or n < 2)", "credits: 2"),
     "t.yaml:7: ", "no value of n satisfies"},
};

static void
test_price_yaml_refuses_with_place_and_expectation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(REFUSALS) / sizeof(REFUSALS[0]); i++) {
        const struct refusal_case *c = &REFUSALS[i];
        struct prices *prices = NULL;
        struct err err = {0};
        enum err_code code = prices_load_text("t.yaml", slice_of(c->text), &prices, &err);
        if (code == ERR_OK || strncmp(err.msg, c->place, strlen(c->place)) != 0 ||
            !strstr(err.msg, c->message)) {
            fail_msg("%s\n--> %s\nexpected %s ... %s", c->text, code == ERR_OK ? "fine" : err.msg,
                     c->place, c->message);
        }
        assert_null(prices);
    }
}

/* What looks like a shadow and is none. */
static const char *const FINE[] = {
    TWO("credits: 1, match: {path: /defi/*/price}", "credits: 2, match: {path: /defi/**}"),
    TWO("credits: 1, match: {path: /defi/*}", "credits: 2, match: {path: /defi/a/b}"),
    TWO("credits: 1, match: {path: /a}", "credits: 2, match: {path: [/a, /b]}"),
    TWO("credits: 1, match: {method: GET}", "credits: 2"),
    TWO("credits: 1, when: n >= 0", "credits: 2"), /* n may be unknown */
    TWO("credits: 1, when: n > 10", "credits: 2, when: n >= 10"),
    TWO("credits: 1, when: n >= 0", "credits: 2, when: n < 5 or bytes < 5"),
    TWO("credits: 1, when: n != 10", "credits: 2, when: n < 10"), /* not decided */
    TWO("credits: 1, when: n < 5 or bytes < 5", "credits: 2, when: n < 5"),
    TWO("credits: 1, match: {query: {t: a}}", "credits: 2, match: {query: {t: {exists: true}}}"),
    TWO("credits: 1, match: {query: {t: {exists: false}}}", "credits: 2, match: {query: {t: a}}"),
    TWO("credits: 1, match: {status: 200}", "credits: 2, match: {status: 2xx}"),
    TWO("credits: 1, match: {fields: {f: x}}", "credits: 2, match: {query: {f: x}}"),
    TWO("credits: 1, when: n > 5 and n < 6", "credits: 2"),
    ("{\"book\": \"j\", \"api\": \"*\", \"version\": 1, \"effective_from\": \"2025-01-01\","
     " \"rules\": [{\"name\": \"r\", \"credits\": 0.000001}]}"),
};

static void
test_price_yaml_takes_rules_that_may_match(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(FINE) / sizeof(FINE[0]); i++) {
        struct prices *prices = NULL;
        struct err err = {0};
        if (prices_load_text("t.yaml", slice_of(FINE[i]), &prices, &err) != ERR_OK) {
            fail_msg("%s\n--> %s", FINE[i], err.msg);
        }
        prices_unref(prices);
    }
}

static void
test_price_yaml_bounds_what_aliases_come_to(void **state)
{
    struct prices *prices = NULL;
    struct err err = {0};
    BUF_AUTO struct buf text;

    (void)state;
    buf_init(&text, 0);
    buf_add_cstr(&text, HEAD "rules:\n  - {name: r, credits: 1, match: {path: [");
    buf_add_cstr(&text, "&p \"/");
    for (size_t i = 0; i < 900000; i++) {
        buf_add_char(&text, 'x');
    }
    buf_add_cstr(&text, "\"]}}\n");
    for (size_t i = 0; i < 511; i++) {
        buf_add_fmt(&text, "  - {name: r%zu, credits: 1, match: {path: [*p, /%zu]}}\n", i, i);
    }
    assert_int_equal(prices_load_text("t.yaml", buf_slice(&text), &prices, &err), ERR_INVALID);
    assert_non_null(strstr(err.msg, "too many values"));
    buf_reset(&text);
    while (text.len <= PRICE_FILE_BYTES_MAX) {
        buf_add_cstr(&text, "# a comment\n");
    }
    assert_int_equal(prices_load_text("t.yaml", buf_slice(&text), &prices, &err), ERR_TOO_LARGE);
    assert_non_null(strstr(err.msg, "expected at most 1048576"));
}

/* Whatever is left of a book when it is cut off anywhere is read or refused, with a message. */
static void
test_price_yaml_survives_being_cut_anywhere(void **state)
{
    const char *text =
        HEAD "on_failure: same\nparams:\n  n: [{query: [n, m]}, {formula: bytes / 2}]\n"
             "  s: {span: {from: a, to: b, step: c}}\nrules:\n"
             "  - name: r\n    match: {method: GET, path: /a/**, status: 2xx,\n"
             "      query: {q: {exists: true}}, fields: {f: [x, y]}}\n"
             "    when: not (n > 5 or s <= 3)\n    credits: max(n * 2, s)\n"
             "    max: 10\n    on_failure: 1\n";
    size_t len = strlen(text);

    (void)state;
    for (size_t cut = 0; cut <= len; cut++) {
        struct prices *prices = NULL;
        struct err err = {0};
        MEM_AUTO char *copy = mem_alloc(cut);
        memcpy(copy, text, cut);
        if (prices_load_text("t.yaml", slice_make(copy, cut), &prices, &err) == ERR_OK) {
            prices_unref(prices);
            assert_true(cut + 50 > len);
        } else {
            assert_true(cut < len);
            assert_int_equal(strncmp(err.msg, "t.yaml:", 7), 0);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_price_yaml_refuses_with_place_and_expectation),
        cmocka_unit_test(test_price_yaml_takes_rules_that_may_match),
        cmocka_unit_test(test_price_yaml_bounds_what_aliases_come_to),
        cmocka_unit_test(test_price_yaml_survives_being_cut_anywhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
