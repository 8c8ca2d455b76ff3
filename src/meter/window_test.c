#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "meter/window.h"

/* The model: everything that was added, looked at as a whole each time. */
enum { MODEL_MAX = 8192 };
struct model {
    size_t count;
    struct {
        int64_t at_us;
        int64_t amount;
    } all[MODEL_MAX];
    int64_t cutoff_us;
};

static void
model_add(struct model *model, int64_t at_us, int64_t amount)
{
    if (at_us < model->cutoff_us) {
        return;
    }
    assert_true(model->count < MODEL_MAX);
    size_t at = model->count++;
    for (; at > 0 && model->all[at - 1].at_us > at_us; at--) {
        model->all[at] = model->all[at - 1];
    }
    model->all[at].at_us = at_us;
    model->all[at].amount = amount;
}

static int64_t
model_since(const struct model *model, int64_t from_us)
{
    int64_t sum = 0;

    for (size_t i = 0; i < model->count; i++) {
        bool counts = model->all[i].at_us >= from_us && model->all[i].at_us >= model->cutoff_us;
        sum += counts ? model->all[i].amount : 0;
    }
    return sum;
}

static int64_t
model_when_freed(const struct model *model, int64_t amount)
{
    int64_t freed = 0;

    for (size_t i = 0; i < model->count; i++) {
        if (model->all[i].at_us < model->cutoff_us) {
            continue;
        }
        freed += model->all[i].amount;
        bool last = i + 1 == model->count || model->all[i + 1].at_us > model->all[i].at_us;
        if (last && freed >= amount) {
            return model->all[i].at_us;
        }
    }
    return INT64_MAX;
}

static uint64_t
next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

static int64_t
between(uint64_t *state, int64_t low, int64_t high)
{
    return low + (int64_t)(next_random(state) % (uint64_t)(high - low + 1));
}

struct walked {
    int64_t sum;
    int64_t last_us;
    size_t count;
};

static void
on_entry(void *ctx, int64_t at_us, int64_t amount)
{
    struct walked *walked = ctx;

    assert_true(at_us > walked->last_us);
    assert_true(amount != 0);
    walked->last_us = at_us;
    walked->sum += amount;
    walked->count++;
}

static void
assert_sound(const struct window *window)
{
    struct walked walked = {.last_us = INT64_MIN};
    int64_t oldest;

    window_walk(window, on_entry, &walked);
    assert_int_equal(walked.count, window->entries);
    assert_int_equal(walked.sum, window->sum);
    assert_int_equal(window_oldest(window, &oldest), window->entries > 0);
    assert_true(window->entries <= window->entries_max);
}

/* One random step for both; times mostly grow, some are late, few are older than the window. */
static int64_t
step(struct window *window, struct model *model, uint64_t *random, int64_t now_us, int jitter)
{
    int64_t kind = between(random, 0, 99);

    if (kind < 8) {
        int64_t cutoff = now_us - between(random, 0, 4000);
        window_drain(window, cutoff);
        model->cutoff_us = cutoff > model->cutoff_us ? cutoff : model->cutoff_us;
    } else {
        int64_t at = kind < 60 ? now_us : now_us - between(random, 0, jitter);
        int64_t amount = kind < 85 ? between(random, 1, 1000) : -between(random, 0, 300);
        bool taken = window_add(window, at, amount);
        assert_int_equal(taken, at >= model->cutoff_us);
        model_add(model, at, amount);
    }
    return now_us + between(random, 0, 3);
}

static void
test_window_is_exact_below_its_bound(void **state)
{
    struct model *model = malloc(sizeof(*model));
    struct window window;
    uint64_t random = 7;

    (void)state;
    for (int round = 0; round < 12; round++) {
        int64_t now_us = 100000;
        int jitter = round % 2 ? 50 : 6000;
        memset(model, 0, sizeof(*model));
        window_init(&window, 1 << 20);
        for (int i = 0; i < 4000; i++) {
            now_us = step(&window, model, &random, now_us, jitter);
            assert_int_equal(window.sum, model_since(model, INT64_MIN));
            if (i % 50 == 0) {
                int64_t from = now_us - between(&random, 0, 7000);
                int64_t amount = between(&random, 1, 200000);
                assert_int_equal(window_sum_since(&window, from), model_since(model, from));
                assert_int_equal(window_when_freed(&window, amount),
                                 model_when_freed(model, amount));
                assert_sound(&window);
            }
        }
        assert_int_equal(window.joined, 0);
        window_fini(&window);
    }
    free(model);
}

/* Whatever is joined, no sum over the end of the window is below the exact one. */
static void
test_window_is_never_too_small_at_its_bound(void **state)
{
    struct model *model = malloc(sizeof(*model));
    struct window window;
    uint64_t random = 11;
    uint64_t joined = 0;

    (void)state;
    for (size_t entries_max = WINDOW_ENTRIES_MIN; entries_max <= 1024; entries_max *= 4) {
        int64_t now_us = 100000;
        memset(model, 0, sizeof(*model));
        window_init(&window, entries_max);
        for (int i = 0; i < 6000; i++) {
            now_us = step(&window, model, &random, now_us, 3000);
            assert_true(window.sum >= model_since(model, INT64_MIN));
            assert_true(window.entries <= entries_max);
            if (i % 50 == 0) {
                int64_t from = now_us - between(&random, 0, 5000);
                assert_true(window_sum_since(&window, from) >= model_since(model, from));
                assert_sound(&window);
            }
        }
        joined += window.joined;
        for (int64_t cutoff = now_us - 4000; cutoff <= now_us; cutoff += 7) {
            window_drain(&window, cutoff);
            model->cutoff_us = cutoff > model->cutoff_us ? cutoff : model->cutoff_us;
            assert_true(window.sum >= model_since(model, INT64_MIN));
        }
        window_drain(&window, now_us + 1);
        assert_int_equal(window.sum, 0);
        assert_int_equal(window.entries, 0);
        window_fini(&window);
    }
    assert_true(joined > 1000);
    free(model);
}

/* With a hundred times more entries than room the sum still drains about when it should. */
static void
test_window_at_its_bound_stays_near(void **state)
{
    struct window window;
    int64_t far = 0;

    (void)state;
    window_init(&window, 4096);
    for (int64_t at = 0; at < 400000; at++) {
        window_add(&window, at, 1);
    }
    assert_int_equal(window.sum, 400000);
    for (int64_t cutoff = 0; cutoff <= 400000; cutoff += 100) {
        window_drain(&window, cutoff);
        int64_t exact = 400000 - cutoff;
        assert_true(window.sum >= exact);
        far = window.sum - exact > far ? window.sum - exact : far;
    }
    assert_true(far > 0 && far < 2000);
    window_fini(&window);
}

static void
test_window_keeps_one_entry_a_time_and_none_of_zero(void **state)
{
    struct window window;
    int64_t oldest = -1;

    (void)state;
    window_init(&window, 100);
    assert_true(window_add(&window, 10, 5));
    assert_true(window_add(&window, 10, 7));
    assert_int_equal(window.entries, 1);
    assert_true(window_add(&window, 20, 1));
    assert_true(window_add(&window, 10, -12));
    assert_int_equal(window.entries, 1);
    assert_int_equal(window.sum, 1);
    assert_true(window_oldest(&window, &oldest));
    assert_int_equal(oldest, 20);
    assert_true(window_add(&window, 20, -1));
    assert_int_equal(window.entries, 0);
    assert_false(window_oldest(&window, &oldest));
    assert_true(window_add(&window, 30, 0));
    assert_int_equal(window.entries, 0);
    window_fini(&window);
}

static void
test_window_cutoff_is_exclusive_and_never_goes_back(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, 100);
    window_add(&window, 10, 1);
    window_add(&window, 11, 2);
    window_drain(&window, 11);
    assert_int_equal(window.sum, 2);
    window_drain(&window, 5);
    assert_false(window_add(&window, 10, 4));
    assert_true(window_add(&window, 11, 4));
    assert_int_equal(window.sum, 6);
    window_fini(&window);
}

static void
test_window_sum_saturates_and_comes_back(void **state)
{
    const int64_t large = INT64_C(999999999999999999);
    struct window window;

    (void)state;
    window_init(&window, WINDOW_ENTRIES_MIN);
    for (int i = 0; i < 12; i++) {
        window_add(&window, 10, large); /* of the same time: more than one entry can hold */
        window_add(&window, 20, 1);
    }
    assert_true(window.sum == INT64_MAX);
    assert_int_equal(window_when_freed(&window, INT64_MAX), 10);
    window_drain(&window, 11);
    assert_int_equal(window.sum, 12);
    for (int i = 0; i < 400; i++) { /* cannot be joined; must end all the same */
        window_add(&window, 100 + i, large);
    }
    assert_true(window.sum == INT64_MAX);
    window_drain(&window, 1000);
    assert_int_equal(window.sum, 0);
    window_fini(&window);
}

static void
test_window_is_freed_by_the_entry_that_makes_it_so(void **state)
{
    struct window window;

    (void)state;
    window_init(&window, 100);
    window_add(&window, 10, 5);
    window_add(&window, 20, -3);
    window_add(&window, 30, 4);
    assert_int_equal(window_when_freed(&window, 5), 10);
    assert_int_equal(window_when_freed(&window, 6), 30);
    assert_true(window_when_freed(&window, 7) == INT64_MAX);
    window_fini(&window);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_is_exact_below_its_bound),
        cmocka_unit_test(test_window_is_never_too_small_at_its_bound),
        cmocka_unit_test(test_window_at_its_bound_stays_near),
        cmocka_unit_test(test_window_keeps_one_entry_a_time_and_none_of_zero),
        cmocka_unit_test(test_window_cutoff_is_exclusive_and_never_goes_back),
        cmocka_unit_test(test_window_sum_saturates_and_comes_back),
        cmocka_unit_test(test_window_is_freed_by_the_entry_that_makes_it_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
