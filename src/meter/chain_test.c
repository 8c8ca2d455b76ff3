#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "meter/chain_testing.h"

static void
assert_hex(const uint8_t hash[EVENT_HASH_BYTES], const char *wanted)
{
    char text[CHAIN_HEX_BYTES];

    chain_hex(hash, text);
    assert_string_equal(text, wanted);
}

/* The worked example of docs/formats/chain.md; its hashes were made by another program. */
static void
test_chain_worked_example(void **state)
{
    const struct event first = {
        .id = slice_of("call-1"),
        .timestamp_us = 1767322800123456,
        .api_name = slice_of("birdeye"),
        .endpoint = slice_of("/defi/ohlcv"),
        .method = slice_of("GET"),
        .has_status = true,
        .status_code = 200,
        .success = true,
        .latency_ms = 12.5,
        .credits = 120000000,
        .run_id = slice_of("run-7"),
        .metadata_json = slice_of("{\"candles\":5000}"),
        .created_us = 1767322800140000,
        .api_key = slice_of("key-1"),
        .price_rule = slice_of("birdeye/ohlcv@1f2e3d4c"),
    };
    const struct event second = {
        .id = slice_of("call-2"),
        .timestamp_us = 1767322801000000,
        .api_name = slice_of("birdeye"),
        .endpoint = slice_of("/defi/price"),
        .latency_ms = 30000,
        .credits = -500000,
        .error_message = slice_of("timed out"),
        .created_us = 1767322831000000,
        .corrects = slice_of("call-1"),
    };
    struct chain_head head = {0};
    uint8_t leaf[EVENT_HASH_BYTES];

    (void)state;
    chain_leaf(&first, leaf);
    assert_hex(leaf, "4a3426ab594045b9c3d5638ccb2c61c8e2176f55ff030b9652b8fdcca3bc7207");
    chain_link(&head, leaf);
    assert_hex(head.hash, "5e72b60d9f6f0225f6ac4b0afb8be0a27987b375bdc49dd8356de8114d60a87a");
    chain_leaf(&second, leaf);
    assert_hex(leaf, "57d3b23d130f0ca7b74e43131c7014c2799bff005100e1d211fecd4d8e3c2c78");
    chain_link(&head, leaf);
    assert_hex(head.hash, "4dcc7c0b93f10fbc587770d5aa93f216aeea712cdb5e90cc051c84f3cd3ce753");
    assert_int_equal(head.seq, 2);
}

/* Texts longer than what is gathered at once hash as in one piece. */
static void
test_chain_leaf_of_long_texts(void **state)
{
    char *text = malloc(5000);
    uint8_t seen[5][EVENT_HASH_BYTES];
    static const size_t lengths[] = {900, 1023, 1024, 1025, 5000};

    (void)state;
    memset(text, 'x', 5000);
    for (size_t i = 0; i < 5; i++) {
        struct event event = {.id = slice_of("a"), .metadata_json = {text, lengths[i]}};
        chain_leaf(&event, seen[i]);
        for (size_t j = 0; j < i; j++) {
            assert_memory_not_equal(seen[i], seen[j], EVENT_HASH_BYTES);
        }
    }
    /* sha256 of the prefix and the content, by another program */
    assert_hex(seen[4], "3039f2cb4170b0d330fc2cb1e6dd43fa5588bb67bc2a1b9a599c280fefe38e54");
    free(text);
}

static void
test_chain_hex_has_one_spelling(void **state)
{
    uint8_t hash[EVENT_HASH_BYTES];
    char text[CHAIN_HEX_BYTES];

    (void)state;
    for (size_t i = 0; i < EVENT_HASH_BYTES; i++) {
        hash[i] = (uint8_t)(i * 37 + 10);
    }
    chain_hex(hash, text);
    memset(hash, 0, sizeof(hash));
    assert_true(chain_from_hex(slice_of(text), hash));
    for (size_t i = 0; i < EVENT_HASH_BYTES; i++) {
        assert_int_equal(hash[i], (uint8_t)(i * 37 + 10));
    }
    assert_false(chain_from_hex(slice_make(text, 63), hash));
    assert_false(chain_from_hex(slice_of(""), hash));
    for (const char *bad = "GgA`/:@ \xff"; *bad; bad++) {
        char wrong[CHAIN_HEX_BYTES];
        memcpy(wrong, text, sizeof(wrong));
        wrong[17] = *bad;
        assert_false(chain_from_hex(slice_of(wrong), hash));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_worked_example),
        cmocka_unit_test(test_chain_leaf_of_long_texts),
        cmocka_unit_test(test_chain_hex_has_one_spelling),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
