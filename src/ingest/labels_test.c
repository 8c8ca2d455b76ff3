/* Tests of canonical labels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "ingest/labels.h"

struct world {
    struct labels labels;
    struct arena arena;
};

static void
set_up(struct world *world)
{
    labels_init(&world->labels);
    arena_init(&world->arena, 1 << 20);
}

static void
tear_down(struct world *world)
{
    labels_fini(&world->labels);
    arena_fini(&world->arena);
}

static void
assert_canonical(struct world *world, const char *expected)
{
    struct slice text;

    assert_true(labels_canonical(&world->labels, &text));
    assert_int_equal(text.len, strlen(expected));
    assert_memory_equal(text.ptr, expected, text.len);
}

static void
add(struct world *world, const char *name, const char *value)
{
    labels_add(&world->labels, slice_of(name), slice_of(value));
}

static void
test_labels_are_sorted_and_written_without_blanks(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    add(&world, "region", "eu");
    add(&world, "az", "1");
    add(&world, "host", "h\"1\"");
    add(&world, "hos", "x");
    assert_canonical(&world,
                     "{\"az\":\"1\",\"hos\":\"x\",\"host\":\"h\\\"1\\\"\",\"region\":\"eu\"}");
    tear_down(&world);
}

static void
test_labels_of_none_are_empty_text(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    assert_canonical(&world, "");
    labels_add_json(&world.labels, slice_of("{}"), &world.arena);
    assert_canonical(&world, "");
    tear_down(&world);
}

static void
test_labels_keep_the_last_of_two_values(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    add(&world, "b", "1");
    add(&world, "a", "2");
    add(&world, "b", "3");
    assert_canonical(&world, "{\"a\":\"2\",\"b\":\"3\"}");
    tear_down(&world);
}

static void
test_labels_from_json_become_texts_as_they_were_written(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    labels_add_json(&world.labels,
                    slice_of(" {\"n\" : 1.50, \"t\":true, \"gone\":null, \"s\":\"a\\u00e9\"} "),
                    &world.arena);
    assert_canonical(&world, "{\"n\":\"1.50\",\"s\":\"a\xc3\xa9\",\"t\":\"true\"}");
    tear_down(&world);
}

static void
assert_refused(struct world *world, const char *json, const char *culprit, const char *expected)
{
    struct slice text = slice_of("untouched");

    labels_reset(&world->labels);
    labels_add_json(&world->labels, slice_of(json), &world->arena);
    assert_false(labels_canonical(&world->labels, &text));
    assert_true(slice_is(text, "untouched"));
    assert_string_equal(world->labels.expected, expected);
    assert_true(slice_is(world->labels.culprit, culprit));
}

static void
test_labels_refuse_what_is_no_flat_object(void **state)
{
    struct world world;

    (void)state;
    set_up(&world);
    assert_refused(&world, "[1]", "[1]", "a JSON object of label names and values");
    assert_refused(&world, "7", "7", "a JSON object of label names and values");
    assert_refused(&world, "{\"a\":1", "{\"a\":1", "a JSON object of label names and values");
    assert_refused(&world, "{\"a\":1} x", "{\"a\":1} x", "a JSON object of label names and values");
    assert_refused(&world, "{\"a\":{}}", "a",
                   "a string, number or boolean as the value of a label");
    assert_refused(&world, "{\"a\":[]}", "a",
                   "a string, number or boolean as the value of a label");
    assert_refused(&world, "{\"\":1}", "", "a name for every label");
    tear_down(&world);
}

static void
test_labels_are_bounded_in_number_and_size(void **state)
{
    struct world world;
    char names[LABELS_MAX + 1][8];
    char big[LABELS_BYTES_MAX];
    struct slice text;

    (void)state;
    set_up(&world);
    for (size_t i = 0; i <= LABELS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "l%zu", i);
        if (i < LABELS_MAX) {
            add(&world, names[i], "v");
        }
    }
    assert_true(labels_canonical(&world.labels, &text));
    add(&world, names[LABELS_MAX], "v");
    assert_false(labels_canonical(&world.labels, &text));
    assert_string_equal(world.labels.expected, "at most 128 labels");

    labels_reset(&world.labels);
    memset(big, 'x', sizeof(big));
    labels_add(&world.labels, slice_of("big"), slice_make(big, sizeof(big)));
    assert_false(labels_canonical(&world.labels, &text));
    assert_string_equal(world.labels.expected, "at most 16384 bytes of labels");
    tear_down(&world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_labels_are_sorted_and_written_without_blanks),
        cmocka_unit_test(test_labels_of_none_are_empty_text),
        cmocka_unit_test(test_labels_keep_the_last_of_two_values),
        cmocka_unit_test(test_labels_from_json_become_texts_as_they_were_written),
        cmocka_unit_test(test_labels_refuse_what_is_no_flat_object),
        cmocka_unit_test(test_labels_are_bounded_in_number_and_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
