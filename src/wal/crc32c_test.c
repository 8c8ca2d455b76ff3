/* Known sums of RFC 3720, and the fast way against the plain one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/id.h"
#include "wal/crc32c.h"

static void
test_crc32c_gives_the_sums_of_the_rfc(void **state)
{
    uint8_t bytes[32];

    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    memset(bytes, 0, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x8A9136AA);
    memset(bytes, 0xff, sizeof(bytes));
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x62A8AB43);
    for (unsigned i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(0, bytes, sizeof(bytes)), 0x46DD794E);
    assert_int_equal(crc32c_portable(0, bytes, sizeof(bytes)), 0x46DD794E);
    assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void
test_crc32c_is_the_same_by_instruction_and_by_table(void **state)
{
    static uint8_t bytes[40000];
    struct rng rng;

    (void)state;
    rng_init(&rng, 7);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)rng_next(&rng);
    }
    for (size_t len = 0; len < 2500; len++) {
        size_t from = len % 13;
        assert_int_equal(crc32c(9, bytes + from, len), crc32c_portable(9, bytes + from, len));
    }
    for (int round = 0; round < 200; round++) {
        size_t from = rng_below(&rng, 64);
        size_t len = rng_below(&rng, sizeof(bytes) - from);
        assert_int_equal(crc32c(0, bytes + from, len), crc32c_portable(0, bytes + from, len));
    }
}

static void
test_crc32c_continues_where_it_was_left(void **state)
{
    static uint8_t bytes[5000];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i * 31);
    }
    uint32_t whole = crc32c(0, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut += 7) {
        uint32_t head = crc32c(0, bytes, cut);
        assert_int_equal(crc32c(head, bytes + cut, sizeof(bytes) - cut), whole);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_gives_the_sums_of_the_rfc),
        cmocka_unit_test(test_crc32c_is_the_same_by_instruction_and_by_table),
        cmocka_unit_test(test_crc32c_continues_where_it_was_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
