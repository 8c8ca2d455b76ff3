/* Tests of idempotency keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ingest/idempotency.h"

static const struct idempotency_hash PAYLOAD = {1, 2};
static const struct idempotency_hash OTHER = {1, 3};

struct claimed {
    enum idempotency_claim claim;
    struct idempotency_entry *entry;
    struct idempotency_answer answer;
};

static struct claimed
claim(struct idempotency *keys, const char *key, const struct idempotency_hash *payload,
      int64_t now_us)
{
    struct idempotency_waiter *waiter = mem_zalloc(1, sizeof(*waiter));
    struct claimed claimed = {0};

    claimed.claim = idempotency_claim(keys, slice_of(key), payload, now_us, waiter, &claimed.entry,
                                      &claimed.answer);
    if (claimed.claim != IDEMPOTENCY_WAITING) {
        free(waiter);
    }
    return claimed;
}

static void
finish(struct idempotency *keys, struct idempotency_entry *entry, uint64_t accepted)
{
    struct idempotency_answer answer = {accepted, 1, 99};

    assert_null(idempotency_finish(keys, entry, &answer));
}

static void
test_key_is_answered_with_the_same_counts_and_lsn(void **state)
{
    struct idempotency keys;

    (void)state;
    idempotency_init(&keys, 100);
    struct claimed first = claim(&keys, "k", &PAYLOAD, 0);
    assert_int_equal(first.claim, IDEMPOTENCY_CLAIMED);
    finish(&keys, first.entry, 7);
    struct claimed again = claim(&keys, "k", &PAYLOAD, 10);
    assert_int_equal(again.claim, IDEMPOTENCY_ANSWERED);
    assert_int_equal(again.answer.accepted, 7);
    assert_int_equal(again.answer.rejected, 1);
    assert_int_equal(again.answer.lsn, 99);
    idempotency_fini(&keys);
}

static void
test_key_with_another_payload_conflicts_in_flight_and_answered(void **state)
{
    struct idempotency keys;

    (void)state;
    idempotency_init(&keys, 100);
    struct claimed first = claim(&keys, "k", &PAYLOAD, 0);
    assert_int_equal(claim(&keys, "k", &OTHER, 0).claim, IDEMPOTENCY_CONFLICT);
    finish(&keys, first.entry, 7);
    assert_int_equal(claim(&keys, "k", &OTHER, 0).claim, IDEMPOTENCY_CONFLICT);
    idempotency_fini(&keys);
}

static void
test_key_in_flight_queues_and_hands_the_waiters_out(void **state)
{
    struct idempotency keys;
    struct idempotency_answer answer = {1, 0, 5};

    (void)state;
    idempotency_init(&keys, 100);
    struct claimed first = claim(&keys, "k", &PAYLOAD, 0);
    assert_int_equal(claim(&keys, "k", &PAYLOAD, 0).claim, IDEMPOTENCY_WAITING);
    assert_int_equal(claim(&keys, "k", &PAYLOAD, 0).claim, IDEMPOTENCY_WAITING);
    struct idempotency_waiter *waiters = idempotency_finish(&keys, first.entry, &answer);
    assert_non_null(waiters);
    assert_non_null(waiters->next);
    assert_null(waiters->next->next);
    free(waiters->next);
    free(waiters);
    assert_int_equal(claim(&keys, "k", &PAYLOAD, 0).claim, IDEMPOTENCY_ANSWERED);
    idempotency_fini(&keys);
}

static void
test_key_given_up_is_free_for_another_payload(void **state)
{
    struct idempotency keys;

    (void)state;
    idempotency_init(&keys, 100);
    struct claimed first = claim(&keys, "k", &PAYLOAD, 0);
    assert_null(idempotency_abandon(&keys, first.entry));
    assert_int_equal(keys.count, 0);
    struct claimed second = claim(&keys, "k", &OTHER, 0);
    assert_int_equal(second.claim, IDEMPOTENCY_CLAIMED);
    assert_null(idempotency_abandon(&keys, second.entry));
    idempotency_fini(&keys);
}

static void
test_key_is_kept_a_day_and_then_forgotten(void **state)
{
    struct idempotency keys;

    (void)state;
    idempotency_init(&keys, 100);
    finish(&keys, claim(&keys, "a", &PAYLOAD, 0).entry, 1);
    finish(&keys, claim(&keys, "b", &PAYLOAD, 1).entry, 1);
    assert_int_equal(claim(&keys, "a", &PAYLOAD, IDEMPOTENCY_KEEP_US).claim, IDEMPOTENCY_ANSWERED);
    /* Past its time even when nobody cleared it away. */
    struct claimed again = claim(&keys, "b", &OTHER, IDEMPOTENCY_KEEP_US + 2);
    assert_int_equal(again.claim, IDEMPOTENCY_CLAIMED);
    finish(&keys, again.entry, 1);
    assert_int_equal(keys.count, 1);
    idempotency_fini(&keys);
}

static void
test_keys_over_the_bound_push_the_oldest_out_but_none_in_flight(void **state)
{
    struct idempotency keys;
    char key[16];

    (void)state;
    idempotency_init(&keys, 100);
    struct claimed in_flight = claim(&keys, "in flight", &PAYLOAD, 0);
    for (int i = 0; i < 500; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        finish(&keys, claim(&keys, key, &PAYLOAD, i).entry, 1);
        assert_true(keys.count <= 100);
    }
    assert_int_equal(keys.count, 100);
    assert_int_equal(claim(&keys, "k499", &OTHER, 500).claim, IDEMPOTENCY_CONFLICT);
    assert_int_equal(claim(&keys, "k401", &OTHER, 500).claim, IDEMPOTENCY_CONFLICT);
    struct claimed gone = claim(&keys, "k400", &OTHER, 500);
    assert_int_equal(gone.claim, IDEMPOTENCY_CLAIMED);
    finish(&keys, gone.entry, 1);
    finish(&keys, in_flight.entry, 1);
    idempotency_fini(&keys);
}

static void
test_key_loaded_from_the_store_is_answered_without_lsn(void **state)
{
    struct idempotency keys;
    char hex[IDEMPOTENCY_HEX];

    (void)state;
    idempotency_init(&keys, 100);
    idempotency_hash_text(&PAYLOAD, hex);
    assert_memory_equal(hex, "00000000000000010000000000000002", sizeof(hex));
    idempotency_load(&keys, slice_of("k"), slice_make(hex, sizeof(hex)), 4, 2, 10);
    struct claimed again = claim(&keys, "k", &PAYLOAD, 11);
    assert_int_equal(again.claim, IDEMPOTENCY_ANSWERED);
    assert_int_equal(again.answer.accepted, 4);
    assert_int_equal(again.answer.rejected, 2);
    assert_int_equal(again.answer.lsn, 0);
    assert_int_equal(claim(&keys, "k", &OTHER, 11).claim, IDEMPOTENCY_CONFLICT);
    idempotency_fini(&keys);
}

static void
test_key_load_passes_over_what_is_no_key(void **state)
{
    struct idempotency keys;

    (void)state;
    idempotency_init(&keys, 100);
    idempotency_load(&keys, slice_of("k"), slice_of("short"), 1, 0, 0);
    idempotency_load(&keys, slice_of("k"), slice_of("0000000000000001000000000000000G"), 1, 0, 0);
    idempotency_load(&keys, slice_of(""), slice_of("00000000000000010000000000000002"), 1, 0, 0);
    assert_int_equal(keys.count, 0);
    idempotency_load(&keys, slice_of("k"), slice_of("00000000000000010000000000000002"), 1, 0, 0);
    idempotency_load(&keys, slice_of("k"), slice_of("00000000000000010000000000000003"), 1, 0, 0);
    assert_int_equal(keys.count, 1);
    assert_int_equal(claim(&keys, "k", &PAYLOAD, 0).claim, IDEMPOTENCY_ANSWERED);
    idempotency_fini(&keys);
}

static void
test_payload_hash_depends_on_bytes_and_meaning(void **state)
{
    struct idempotency_hash a = idempotency_hash_payload(slice_of("rows"), 1);
    struct idempotency_hash b = idempotency_hash_payload(slice_of("rows"), 2);
    struct idempotency_hash c = idempotency_hash_payload(slice_of("rowz"), 1);
    struct idempotency_hash d = idempotency_hash_payload(slice_of("rows"), 1);

    (void)state;
    assert_true(a.high != b.high || a.low != b.low);
    assert_true(a.high != c.high || a.low != c.low);
    assert_true(a.high == d.high && a.low == d.low);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_key_is_answered_with_the_same_counts_and_lsn),
        cmocka_unit_test(test_key_with_another_payload_conflicts_in_flight_and_answered),
        cmocka_unit_test(test_key_in_flight_queues_and_hands_the_waiters_out),
        cmocka_unit_test(test_key_given_up_is_free_for_another_payload),
        cmocka_unit_test(test_key_is_kept_a_day_and_then_forgotten),
        cmocka_unit_test(test_keys_over_the_bound_push_the_oldest_out_but_none_in_flight),
        cmocka_unit_test(test_key_loaded_from_the_store_is_answered_without_lsn),
        cmocka_unit_test(test_key_load_passes_over_what_is_no_key),
        cmocka_unit_test(test_payload_hash_depends_on_bytes_and_meaning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
