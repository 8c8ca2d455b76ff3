/* Tests of the bounded table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "live/keyed.h"

static int32_t
add(struct keyed *keyed, const char *key, int value)
{
    bool evicted;
    int32_t slot = keyed_add(keyed, slice_of(key), &evicted);

    *(int *)keyed_value(keyed, slot) = value;
    return slot;
}

static int
get(const struct keyed *keyed, const char *key)
{
    int32_t slot = keyed_find(keyed, slice_of(key));

    return slot == KEYED_NONE ? -1 : *(int *)keyed_value(keyed, slot);
}

/* The order as text, newest first; checks the links both ways. */
static const char *
order(const struct keyed *keyed)
{
    static char text[256];
    size_t len = 0;
    int32_t newer = KEYED_NONE;

    text[0] = '\0';
    for (int32_t at = keyed->newest; at != KEYED_NONE; at = keyed_older(keyed, at)) {
        assert_int_equal(keyed->slots[at].newer, newer);
        newer = at;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s ",
                                SLICE_FMT(keyed_key(keyed, at)));
    }
    assert_int_equal(keyed->oldest, newer);
    return text;
}

static void
test_keyed_finds_what_was_added(void **state)
{
    struct keyed keyed;
    char key[16];

    (void)state;
    keyed_init(&keyed, 1000, sizeof(int));
    assert_int_equal(get(&keyed, "k0"), -1);
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(add(&keyed, key, i), i);
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(get(&keyed, key), i);
    }
    assert_int_equal(get(&keyed, "k1000"), -1);
    keyed_fini(&keyed);
}

static void
test_keyed_lets_the_oldest_go_when_full(void **state)
{
    struct keyed keyed;
    bool evicted;

    (void)state;
    keyed_init(&keyed, 3, sizeof(int));
    add(&keyed, "a", 1);
    add(&keyed, "b", 2);
    add(&keyed, "", 3);
    keyed_touch(&keyed, keyed_find(&keyed, slice_of("a")));
    assert_string_equal(order(&keyed), "a  b ");
    int32_t slot = keyed_add(&keyed, slice_of("d"), &evicted);
    assert_true(evicted);
    assert_int_equal(*(int *)keyed_value(&keyed, slot), 0);
    assert_int_equal(get(&keyed, "b"), -1);
    assert_int_equal(get(&keyed, ""), 3);
    assert_int_equal(keyed.count, 3);
    assert_string_equal(order(&keyed), "d a  ");
    keyed_fini(&keyed);
}

static void
test_keyed_places_a_slot_behind_another(void **state)
{
    struct keyed keyed;

    (void)state;
    keyed_init(&keyed, 4, sizeof(int));
    int32_t a = add(&keyed, "a", 1);
    int32_t b = add(&keyed, "b", 2);
    int32_t c = add(&keyed, "c", 3);
    keyed_place_behind(&keyed, c, b);
    assert_string_equal(order(&keyed), "b c a ");
    keyed_place_behind(&keyed, b, a);
    assert_string_equal(order(&keyed), "c a b ");
    keyed_touch(&keyed, b);
    assert_string_equal(order(&keyed), "b c a ");
    keyed_fini(&keyed);
}

static void
test_keyed_survives_long_churn(void **state)
{
    enum { MAX = 50, KEYS = 20000 };
    struct keyed keyed;
    char key[16];
    bool evicted;

    (void)state;
    keyed_init(&keyed, MAX, sizeof(int));
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        keyed_add(&keyed, slice_of(key), &evicted);
        assert_int_equal(evicted, i >= MAX);
    }
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_int_equal(keyed_find(&keyed, slice_of(key)) != KEYED_NONE, i >= KEYS - MAX);
    }
    keyed_fini(&keyed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keyed_finds_what_was_added),
        cmocka_unit_test(test_keyed_lets_the_oldest_go_when_full),
        cmocka_unit_test(test_keyed_places_a_slot_behind_another),
        cmocka_unit_test(test_keyed_survives_long_churn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
