/* Memories of keys: against simple models, and at their bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include "base/id.h"
#include "store/keys.h"

enum { KEYS = 500, STEPS = 20000 };

/* Few distinct places, so that runs are long and removals shift. */
static struct key_hash
hash_of(uint64_t key)
{
    return (struct key_hash){.lo = key % 37 + 1, .hi = key};
}

static void
test_key_map_agrees_with_an_array(void **state)
{
    int64_t values[KEYS];
    bool known[KEYS] = {false};
    struct key_map map;
    struct rng rng;

    (void)state;
    rng_init(&rng, 7);
    key_map_init(&map, SIZE_MAX);
    for (int step = 0; step < STEPS; step++) {
        uint64_t key = rng_below(&rng, KEYS);
        int64_t value = (int64_t)rng_below(&rng, 1000);
        bool is_new;
        if (rng_below(&rng, 3) == 0) {
            key_map_remove(&map, hash_of(key));
            known[key] = false;
        } else {
            int64_t *at = key_map_put(&map, hash_of(key), value, &is_new);
            assert_non_null(at);
            assert_int_equal(is_new, !known[key]);
            *at = value;
            known[key] = true;
            values[key] = value;
        }
        uint64_t other = rng_below(&rng, KEYS);
        const int64_t *found = key_map_find(&map, hash_of(other));
        assert_int_equal(found != NULL, known[other]);
        if (found) {
            assert_int_equal(*found, values[other]);
        }
    }
    key_map_fini(&map);
}

static void
test_key_map_refuses_to_pass_its_bound(void **state)
{
    struct key_map map;
    bool is_new;
    uint64_t key = 1;

    (void)state;
    key_map_init(&map, 24 * 128);
    while (key_map_put(&map, (struct key_hash){key, key}, 5, &is_new)) {
        key++;
    }
    assert_int_equal(key, 97); /* three quarters of 128 slots */
    assert_non_null(key_map_put(&map, (struct key_hash){1, 1}, 6, &is_new));
    assert_false(is_new);
    key_map_fini(&map);
}

static void
test_key_set_knows_what_was_added(void **state)
{
    struct key_set set;

    (void)state;
    key_set_init(&set, SIZE_MAX);
    assert_false(key_set_has(&set, (struct key_hash){1, 0}));
    for (uint64_t key = 1; key < 5000; key += 2) {
        assert_true(key_set_add(&set, (struct key_hash){key, 0}));
        assert_true(key_set_add(&set, (struct key_hash){key, 9}));
    }
    for (uint64_t key = 1; key < 5000; key++) {
        assert_int_equal(key_set_has(&set, (struct key_hash){key, 0}), key % 2 == 1);
    }
    assert_int_equal(set.used, 2500);
    key_set_fini(&set);
    key_set_init(&set, 8 * 64);
    uint64_t key = 1;
    while (key_set_add(&set, (struct key_hash){key, 0})) {
        key++;
    }
    assert_int_equal(key, 49);
    key_set_fini(&set);
}

static void
test_key_hash_tells_columns_and_null_apart(void **state)
{
    const struct catalog_table *table = catalog_table(TABLE_MARKET_DATA);
    struct column_list with_time = column_list_of_key(table, true);
    struct column_list without = column_list_of_key(table, false);
    struct batch batch;

    (void)state;
    assert_int_equal(with_time.count, 2);
    assert_int_equal(without.count, 1);
    assert_int_equal(without.index[0], 1);
    batch_init(&batch, table, 0);
    for (int i = 0; i < 5; i++) {
        batch_add_row(&batch);
        batch_set_i64(&batch, 0, (size_t)i, i == 1 ? 6 : 5);
    }
    batch_set_text(&batch, 1, 0, SLICE_LITERAL("A"));
    batch_set_text(&batch, 1, 1, SLICE_LITERAL("A"));
    batch_set_text(&batch, 1, 2, SLICE_LITERAL(""));
    batch_set_text(&batch, 1, 4, SLICE_LITERAL("A"));
    struct key_hash full[5];
    for (size_t i = 0; i < 5; i++) {
        full[i] = key_hash_row(&batch, &with_time, i);
        for (size_t j = 0; j < i; j++) {
            bool same = full[i].lo == full[j].lo && full[i].hi == full[j].hi;
            assert_int_equal(same, i == 4 && j == 0);
        }
    }
    struct key_hash a = key_hash_row(&batch, &without, 0);
    struct key_hash b = key_hash_row(&batch, &without, 1);
    assert_true(a.lo == b.lo && a.hi == b.hi);
    batch_fini(&batch);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_map_agrees_with_an_array),
        cmocka_unit_test(test_key_map_refuses_to_pass_its_bound),
        cmocka_unit_test(test_key_set_knows_what_was_added),
        cmocka_unit_test(test_key_hash_tells_columns_and_null_apart),
    };

    return cmocka_run_group_tests_name("store keys", tests, NULL, NULL);
}
