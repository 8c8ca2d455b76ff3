#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "meter/ids.h"

static struct slice
id_of(char text[24], uint64_t number)
{
    return (struct slice){text, (size_t)snprintf(text, 24, "id-%llu", (unsigned long long)number)};
}

static void
add(struct ids *ids, uint64_t number)
{
    char text[24];
    struct ids_entry entry = {number * 3, (int64_t)number * 5, -(int64_t)number};

    ids_add(ids, id_of(text, number), &entry);
}

static enum ids_found
find(const struct ids *ids, uint64_t number)
{
    char text[24];
    struct ids_entry entry = {0};
    enum ids_found found = ids_find(ids, id_of(text, number), &entry);

    if (found == IDS_RECENT) {
        assert_int_equal(entry.content_hash, number * 3);
        assert_int_equal(entry.timestamp_us, (int64_t)number * 5);
        assert_int_equal(entry.credits, -(int64_t)number);
    }
    return found;
}

static bool
drop(struct ids *ids, uint64_t number)
{
    char text[24];

    return ids_remove(ids, id_of(text, number));
}

static void
test_ids_empty_knows_nothing(void **state)
{
    struct ids *ids = ids_new(10);

    (void)state;
    assert_int_equal(find(ids, 1), IDS_UNKNOWN);
    assert_int_equal(ids_find(ids, slice_of(""), NULL), IDS_UNKNOWN);
    assert_false(drop(ids, 1));
    ids_free(ids);
    ids_free(NULL);
}

static void
test_ids_keep_the_newest_exactly_and_forget_none(void **state)
{
    enum { RECENT = 1000, COUNT = 50000 };
    struct ids *ids = ids_new(RECENT);
    struct ids_stats stats;

    (void)state;
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(find(ids, i), IDS_UNKNOWN);
        add(ids, i);
        assert_int_equal(find(ids, i), IDS_RECENT);
        if (i >= RECENT) {
            assert_int_equal(find(ids, i - RECENT), IDS_MAYBE_OLD);
            assert_int_equal(find(ids, i - RECENT + 1), IDS_RECENT);
        }
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(find(ids, i), i < COUNT - RECENT ? IDS_MAYBE_OLD : IDS_RECENT);
    }
    ids_stats(ids, &stats);
    assert_int_equal(stats.recent, RECENT);
    assert_int_equal(stats.old, COUNT - RECENT);
    ids_free(ids);
}

static void
test_ids_add_again_keeps_the_new_entry(void **state)
{
    struct ids *ids = ids_new(4);
    struct ids_entry entry = {1, 2, 3};
    struct ids_entry found;
    struct ids_stats stats;

    (void)state;
    ids_add(ids, slice_of("a"), &entry);
    entry.credits = 9;
    ids_add(ids, slice_of("a"), &entry);
    assert_int_equal(ids_find(ids, slice_of("a"), &found), IDS_RECENT);
    assert_int_equal(found.credits, 9);
    ids_stats(ids, &stats);
    assert_int_equal(stats.recent, 1);
    ids_free(ids);
}

static void
test_ids_undo_newest_first(void **state)
{
    struct ids *ids = ids_new(100);
    struct ids_stats stats;

    (void)state;
    for (uint64_t i = 0; i < 150; i++) {
        add(ids, i);
    }
    for (uint64_t i = 149; i >= 120; i--) {
        assert_true(drop(ids, i));
        assert_int_equal(find(ids, i), IDS_UNKNOWN);
    }
    assert_false(drop(ids, 149));
    assert_false(drop(ids, 3)); /* pushed out: not ours any more */
    assert_int_equal(find(ids, 3), IDS_MAYBE_OLD);
    for (uint64_t i = 50; i < 120; i++) {
        assert_int_equal(find(ids, i), IDS_RECENT);
    }
    ids_stats(ids, &stats);
    assert_int_equal(stats.recent, 70);
    for (uint64_t i = 200; i < 230; i++) { /* the room is there again */
        add(ids, i);
    }
    assert_int_equal(find(ids, 50), IDS_RECENT);
    ids_free(ids);
}

/* Against a plain list, removing from anywhere, so that the table's holes are closed rightly. */
static void
test_ids_match_a_list(void **state)
{
    enum { RECENT = 300, NUMBERS = 900 };
    static bool recent[NUMBERS], old[NUMBERS], dead[100000];
    static uint64_t order[100000];
    struct ids *ids = ids_new(RECENT);
    size_t first = 0, last = 0;
    uint64_t random = 5;

    (void)state;
    for (int i = 0; i < 40000; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        uint64_t number = (random >> 33) % NUMBERS;
        if ((random >> 20) % 3 == 0) {
            assert_int_equal(drop(ids, number), recent[number]);
            for (size_t at = first; recent[number] && at < last; at++) {
                dead[at] = dead[at] || order[at] == number;
            }
            recent[number] = false;
            while (last > first && dead[last - 1]) {
                dead[--last] = false;
            }
        } else if (!recent[number]) {
            if (last - first == RECENT) {
                if (!dead[first]) {
                    recent[order[first]] = false;
                    old[order[first]] = true;
                }
                first++;
            }
            order[last++] = number;
            recent[number] = true;
            add(ids, number);
        }
        for (uint64_t at = number; at < number + 5 && at < NUMBERS; at++) {
            enum ids_found wanted = recent[at] ? IDS_RECENT : old[at] ? IDS_MAYBE_OLD : IDS_UNKNOWN;
            assert_int_equal(find(ids, at), wanted);
        }
    }
    ids_free(ids);
}

static void
test_ids_unknown_may_be_old_until_loading_is_complete(void **state)
{
    struct ids *ids = ids_new(10);

    (void)state;
    ids_set_complete(ids, false);
    add(ids, 1);
    assert_int_equal(find(ids, 1), IDS_RECENT);
    assert_int_equal(find(ids, 2), IDS_MAYBE_OLD);
    ids_add_old(ids, slice_of("id-7"));
    ids_set_complete(ids, true);
    assert_int_equal(find(ids, 2), IDS_UNKNOWN);
    assert_int_equal(find(ids, 7), IDS_MAYBE_OLD);
    ids_free(ids);
}

/* Two layers and a half: none forgotten, few mistaken, as little memory as was said. */
static void
test_ids_filter_is_small_and_seldom_wrong(void **state)
{
    enum { OLD = 3000000, ASKED = 1000000 };
    struct ids *ids = ids_new(10);
    struct ids_stats stats;
    char text[24];
    int wrong = 0;

    (void)state;
    for (uint64_t i = 0; i < OLD; i++) {
        ids_add_old(ids, id_of(text, i));
    }
    for (uint64_t i = 0; i < OLD; i += 7) {
        assert_int_equal(find(ids, i), IDS_MAYBE_OLD);
    }
    for (uint64_t i = OLD; i < OLD + ASKED; i++) {
        wrong += find(ids, i) != IDS_UNKNOWN;
    }
    assert_true(wrong < 60); /* 26 of a full layer are expected */
    ids_stats(ids, &stats);
    assert_int_equal(stats.old, OLD);
    assert_true(stats.memory_bytes < (5 << 20) * 22ull / 8 + 4096);
    ids_free(ids);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_empty_knows_nothing),
        cmocka_unit_test(test_ids_keep_the_newest_exactly_and_forget_none),
        cmocka_unit_test(test_ids_add_again_keeps_the_new_entry),
        cmocka_unit_test(test_ids_undo_newest_first),
        cmocka_unit_test(test_ids_match_a_list),
        cmocka_unit_test(test_ids_unknown_may_be_old_until_loading_is_complete),
        cmocka_unit_test(test_ids_filter_is_small_and_seldom_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
