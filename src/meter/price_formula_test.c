/* Tests of formulas: exact arithmetic, three-valued truth, bounds held against brute force. */
#include "meter/price_formula.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/id.h"
#include "meter/price_internal.h"

enum { ARENA_BYTES = 1 << 20 };

static const char *const NAMES[] = {"a", "b", "unknown"};
static const struct formula_names KNOWN = {NAMES, 3};

struct values {
    price_wide a;
    price_wide b;
};

static bool
lookup(void *user, uint16_t index, price_wide *ret_value)
{
    const struct values *values = user;

    *ret_value = index == 0 ? values->a : values->b;
    return index < 2;
}

static struct formula
parse(const char *text, bool condition, struct arena *arena)
{
    struct formula formula = {0};
    struct formula_fault fault;

    if (!formula_parse(slice_of(text), &KNOWN, condition, arena, &formula, &fault)) {
        fail_msg("%s: %zu: %s", text, fault.offset, fault.msg);
    }
    return formula;
}

/* Credits in millionths; -1: unknown, -2: fault. */
static int64_t
number_of(const char *text, int64_t a, int64_t b)
{
    ARENA_AUTO struct arena arena;
    struct values values = {a * PRICE_WIDE_ONE, b * PRICE_WIDE_ONE};
    price_wide value = 0;
    const char *problem = NULL;

    arena_init(&arena, ARENA_BYTES);
    struct formula formula = parse(text, false, &arena);
    switch (formula_number(&formula, lookup, &values, &value, &problem)) {
    case FORMULA_KNOWN:
        return price_wide_to_micro(value);
    case FORMULA_UNKNOWN:
        return -1;
    case FORMULA_FAULT:
        break;
    }
    assert_non_null(problem);
    return -2;
}

static void
test_formula_computes_exactly(void **state)
{
    (void)state;
    assert_int_equal(number_of("120", 0, 0), 120000000);
    assert_int_equal(number_of("0.1 + 0.2", 0, 0), 300000);
    assert_int_equal(number_of("a * 0.0000025", 1000000, 0), 2500000);
    assert_int_equal(number_of("a * 0.000000000001", 1000000000, 0), 1000);
    assert_int_equal(number_of("1 + 2 * 3 - 4 / 2", 0, 0), 5000000);
    assert_int_equal(number_of("(1 + 2) * 3", 0, 0), 9000000);
    assert_int_equal(number_of("10 - 3 - 2", 0, 0), 5000000);
    assert_int_equal(number_of("ceil(a / 1000) * 2", 1001, 0), 4000000);
    assert_int_equal(number_of("floor(a / 1000)", 1999, 0), 1000000);
    assert_int_equal(number_of("-floor(0 - 1.5)", 0, 0), 2000000);
    assert_int_equal(number_of("0 - ceil(0 - 1.5)", 0, 0), 1000000);
    assert_int_equal(number_of("round(2.5) + round(2.4)", 0, 0), 5000000);
    assert_int_equal(number_of("min(a, b, 7)", 9, 8), 7000000);
    assert_int_equal(number_of("max(a, b)", 9, 8), 9000000);
    assert_int_equal(number_of("a / 3", 2, 0), 666667);
    assert_int_equal(number_of("a / 3 * 3", 1, 0), 1000000);
    assert_int_equal(number_of("a * b / b", 999999999999, 1), INT64_C(999999999999000000));
    assert_int_equal(number_of("1e3 + 5e-1", 0, 0), 1000500000);
}

static void
test_formula_faults_are_no_undefined_behaviour(void **state)
{
    (void)state;
    assert_int_equal(number_of("a / b", 1, 0), -2);
    assert_int_equal(number_of("a * b", 999999999999, 999999999999), -2);
    assert_int_equal(number_of("a * b", 999999999999, 2), -2);
    assert_int_equal(number_of("a + b", 999999999999, 999999999999), -2);
    assert_int_equal(number_of("a / 0.000000000001", 999999999999, 0), -2);
    assert_int_equal(number_of("a + unknown", 1, 0), -1);
    assert_int_equal(number_of("min(unknown, 5)", 1, 0), -1);
    assert_int_equal(number_of("unknown + a / b", 1, 0), -2);
}

static enum tri
truth_of(const char *text, int64_t a, int64_t b)
{
    ARENA_AUTO struct arena arena;
    struct values values = {a * PRICE_WIDE_ONE, b * PRICE_WIDE_ONE};
    const char *problem = NULL;
    enum tri truth = TRI_MAYBE;

    arena_init(&arena, ARENA_BYTES);
    struct formula formula = parse(text, true, &arena);
    assert_true(formula_truth(&formula, lookup, &values, &truth, &problem));
    return truth;
}

static void
test_formula_truth_has_three_values(void **state)
{
    (void)state;
    assert_int_equal(truth_of("a >= 5 and b < 3", 5, 2), TRI_YES);
    assert_int_equal(truth_of("a >= 5 and b < 3", 5, 3), TRI_NO);
    assert_int_equal(truth_of("a > 5 or b == 3", 5, 3), TRI_YES);
    assert_int_equal(truth_of("a <= 4 or b != 3", 5, 3), TRI_NO);
    assert_int_equal(truth_of("not (a <= 4 or b != 3)", 5, 3), TRI_YES);
    assert_int_equal(truth_of("unknown > 5", 0, 0), TRI_MAYBE);
    assert_int_equal(truth_of("not unknown > 5", 0, 0), TRI_MAYBE);
    assert_int_equal(truth_of("unknown > 5 and a > 5", 5, 0), TRI_NO);
    assert_int_equal(truth_of("unknown > 5 and a > 5", 6, 0), TRI_MAYBE);
    assert_int_equal(truth_of("unknown > 5 or a > 5", 6, 0), TRI_YES);
    assert_int_equal(truth_of("unknown > 5 or a > 5", 5, 0), TRI_MAYBE);
    assert_int_equal(truth_of("b != 0 and a / b > 2", 5, 0), TRI_NO);
    assert_int_equal(truth_of("a > 1 and not b > 1", 2, 1), TRI_YES);
}

static void
test_formula_is_bounded_in_depth_and_size(void **state)
{
    ARENA_AUTO struct arena arena;
    BUF_AUTO struct buf text;
    struct formula formula;
    struct formula_fault fault;

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    buf_init(&text, 0);
    for (size_t i = 0; i < 2000; i++) {
        buf_add_cstr(&text, i % 2 ? "-" : "(");
    }
    assert_false(formula_parse(buf_slice(&text), &KNOWN, false, &arena, &formula, &fault));
    assert_non_null(strstr(fault.msg, "less nesting"));
    buf_reset(&text);
    for (size_t i = 0; i < 1000; i++) {
        buf_add_cstr(&text, "a +");
    }
    buf_add_cstr(&text, "a");
    assert_false(formula_parse(buf_slice(&text), &KNOWN, false, &arena, &formula, &fault));
    assert_non_null(strstr(fault.msg, "shorter"));
}

/* ---- bounds ---- */

static void
make_condition(struct rng *rng, struct buf *out, int depth)
{
    static const char *const ops[] = {"<", "<=", ">", ">=", "==", "!="};

    switch (depth == 0 ? 0 : rng_below(rng, 4)) {
    case 0:
        if (rng_below(rng, 2)) {
            buf_add_fmt(out, "%s %s %d", NAMES[rng_below(rng, 2)], ops[rng_below(rng, 6)],
                        (int)rng_below(rng, 6));
        } else {
            buf_add_fmt(out, "%d %s %s", (int)rng_below(rng, 6), ops[rng_below(rng, 6)],
                        NAMES[rng_below(rng, 2)]);
        }
        break;
    case 1:
        buf_add_cstr(out, "not (");
        make_condition(rng, out, depth - 1);
        buf_add_char(out, ')');
        break;
    default: {
        const char *word = rng_below(rng, 2) ? ") and (" : ") or (";
        buf_add_char(out, '(');
        make_condition(rng, out, depth - 1);
        buf_add_cstr(out, word);
        make_condition(rng, out, depth - 1);
        buf_add_char(out, ')');
    }
    }
}

/* All of 0 to 6 in halves, for both names: bit set of where it holds. */
static size_t
hold_set(const struct formula *formula, bool ret_holds[169])
{
    const char *problem;
    size_t count = 0;

    for (size_t i = 0; i < 169; i++) {
        struct values values = {(price_wide)(i / 13) * PRICE_WIDE_ONE / 2,
                                (price_wide)(i % 13) * PRICE_WIDE_ONE / 2};
        enum tri truth = TRI_NO;
        assert_true(formula_truth(formula, lookup, &values, &truth, &problem));
        ret_holds[i] = truth == TRI_YES;
        count += ret_holds[i];
    }
    return count;
}

static void
test_formula_bounds_agree_with_trying(void **state)
{
    struct rng rng;
    size_t implied = 0;
    size_t empty = 0;

    (void)state;
    rng_init(&rng, 7);
    for (size_t round = 0; round < 20000; round++) {
        ARENA_AUTO struct arena arena;
        struct buf texts[2];
        struct formula formulas[2];
        struct formula_bounds bounds[2];
        bool holds[2][169];
        size_t counts[2];
        arena_init(&arena, ARENA_BYTES);
        for (size_t i = 0; i < 2; i++) {
            buf_init(&texts[i], 0);
            make_condition(&rng, &texts[i], (int)rng_below(&rng, 3));
            buf_add_char(&texts[i], '\0');
            formulas[i] = parse(texts[i].ptr, true, &arena);
            formula_bounds(&formulas[i], &bounds[i]);
            counts[i] = hold_set(&formulas[i], holds[i]);
            empty += bounds[i].empty;
            assert_false(bounds[i].empty && counts[i] > 0);
        }
        if (formula_implied(&bounds[0], &bounds[1])) {
            implied++;
            for (size_t i = 0; i < 169; i++) {
                if (holds[0][i] && !holds[1][i]) {
                    fail_msg("%s does not imply %s", texts[0].ptr, texts[1].ptr);
                }
            }
        }
        buf_fini(&texts[0]);
        buf_fini(&texts[1]);
    }
    assert_true(implied > 100);
    assert_true(empty > 100);
}

/* ---- patterns ---- */

static void
make_pattern(struct rng *rng, char ret[16], bool stars)
{
    size_t len = 1 + rng_below(rng, 6);
    size_t at = 0;

    ret[at++] = '/';
    for (size_t i = 0; i < len; i++) {
        static const char plain[] = "ab/";
        uint64_t pick = rng_below(rng, stars ? 6 : 3);
        if (pick == 5 && ret[at - 1] != '*') {
            ret[at++] = '*';
            ret[at++] = '*';
        } else if (pick == 4 && ret[at - 1] != '*') {
            ret[at++] = '*';
        } else {
            ret[at++] = plain[pick % 3];
        }
    }
    ret[at] = '\0';
}

/* The plain, exponential definition of what a pattern matches. */
static bool
slow_glob(const char *pattern, const char *path)
{
    if (strncmp(pattern, "**", 2) == 0) {
        return slow_glob(pattern + 2, path) || (*path && slow_glob(pattern, path + 1));
    }
    if (*pattern == '*') {
        return slow_glob(pattern + 1, path) ||
               (*path && *path != '/' && slow_glob(pattern, path + 1));
    }
    return *pattern ? *pattern == *path && slow_glob(pattern + 1, path + 1) : !*path;
}

static void
test_price_glob_agrees_with_its_definition(void **state)
{
    struct rng rng;
    size_t matched = 0;
    size_t covered = 0;

    (void)state;
    rng_init(&rng, 11);
    for (size_t round = 0; round < 300000; round++) {
        char wide[16];
        char narrow[16];
        char path[16];
        make_pattern(&rng, wide, true);
        make_pattern(&rng, narrow, true);
        make_pattern(&rng, path, false);
        bool match = price_glob(wide, slice_of(path));
        if (match != slow_glob(wide, path)) {
            fail_msg("%s and %s", wide, path);
        }
        matched += match;
        if (price_glob_covers(wide, narrow)) {
            covered++;
            if (price_glob(narrow, slice_of(path)) && !match) {
                fail_msg("%s does not cover %s: %s", wide, narrow, path);
            }
        }
        assert_true(price_glob_covers(wide, wide));
    }
    assert_true(matched > 1000);
    assert_true(covered > 1000);
}

static void
test_price_path_is_cleaned(void **state)
{
    static const char *const cases[][2] = {
        {"", "/"},
        {"/", "/"},
        {"a", "/a"},
        {"/a/", "/a"},
        {"//a///b", "/a/b"},
        {"/a/./b/.", "/a/b"},
        {"/a/../b", "/b"},
        {"/../../a", "/a"},
        {"/a/b/..", "/a"},
        {"/a?b/c#d", "/a"},
        {"/%61%2Fb", "/a/b"},
        {"/%2e%2E/a", "/a"},
        {"/%zz%4", "/%zz%4"},
        {"http://h:80/a?b", "/a"},
        {"https://h", "/"},
        {"/a/https://h/b", "/a/https:/h/b"},
        {"/...", "/..."},
        {"/a/..b", "/a/..b"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        BUF_AUTO struct buf out;
        buf_init(&out, 0);
        buf_add_cstr(&out, "kept");
        price_path_clean(slice_of(cases[i][0]), &out);
        buf_add_char(&out, '\0');
        assert_string_equal(out.ptr + 4, cases[i][1]);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formula_computes_exactly),
        cmocka_unit_test(test_formula_faults_are_no_undefined_behaviour),
        cmocka_unit_test(test_formula_truth_has_three_values),
        cmocka_unit_test(test_formula_is_bounded_in_depth_and_size),
        cmocka_unit_test(test_formula_bounds_agree_with_trying),
        cmocka_unit_test(test_price_glob_agrees_with_its_definition),
        cmocka_unit_test(test_price_path_is_cleaned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
