#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "meter/chain_testing.h"

enum { COUNT = 12, TEXT_BYTES = 1 << 20 };

static void
make_log(struct batch *rows, struct chain_head *head)
{
    *head = (struct chain_head){0};
    batch_init(rows, catalog_table(TABLE_EVENTS), TEXT_BYTES);
    chain_testing_fill(rows, head, COUNT);
}

static enum err_code
prove(const struct batch *rows, const char *id, uint64_t to_seq, struct buf *ret_json,
      struct err *err)
{
    struct chain_prover *prover = chain_prover_new(slice_of(id), to_seq);
    enum err_code code = chain_prover_push(prover, rows, err);

    buf_init(ret_json, 0);
    code = code ? code : chain_prover_end(prover, ret_json, err);
    chain_prover_free(prover);
    return code;
}

static void
assert_proves(const struct batch *rows, const char *id, const struct chain_head *head)
{
    struct buf json;
    struct err err = {.msg = ""};
    enum err_code code = prove(rows, id, head->seq, &json, &err);

    code = code ? code : chain_proof_check(buf_slice(&json), head, &err);
    assert_string_equal(err.msg, "");
    assert_int_equal(code, ERR_OK);
    assert_int_equal(chain_proof_check(buf_slice(&json), NULL, &err), ERR_OK);
    buf_fini(&json);
}

static void
test_proof_of_every_entry_against_every_head(void **state)
{
    struct chain_head head;
    struct batch rows;

    (void)state;
    make_log(&rows, &head);
    for (uint64_t seq = 1; seq <= COUNT; seq++) {
        char id[32];
        snprintf(id, sizeof(id), "event-%d", (int)seq);
        for (head.seq = seq; head.seq <= COUNT; head.seq++) {
            chain_from_hex(batch_get_text(&rows, EVENT_HASH, head.seq - 1), head.hash);
            assert_proves(&rows, id, &head);
        }
    }
    batch_fini(&rows);
}

static void
test_proof_does_not_stand_when_any_byte_is_another(void **state)
{
    static const uint8_t flips[] = {0x01, 0x02, 0x04, 0x08, 0x10, 0x20, 0x40, 0x80};
    struct chain_head head;
    struct batch rows;
    struct buf json;
    struct err err;

    (void)state;
    make_log(&rows, &head);
    assert_int_equal(prove(&rows, "event-9", 0, &json, &err), ERR_OK);
    assert_int_equal(chain_proof_check(buf_slice(&json), &head, &err), ERR_OK);
    for (size_t i = 0; i < json.len; i++) {
        for (size_t flip = 0; flip < sizeof(flips); flip++) {
            json.ptr[i] ^= (char)flips[flip];
            enum err_code code = chain_proof_check(buf_slice(&json), &head, &err);
            if (code != ERR_SYNTAX && code != ERR_CORRUPT) {
                fail_msg("byte %zu: %.*s", i, SLICE_FMT(slice_sub(buf_slice(&json), i, 40)));
            }
            json.ptr[i] ^= (char)flips[flip];
        }
    }
    for (size_t len = 0; len < json.len; len++) {
        assert_int_not_equal(chain_proof_check(slice_make(json.ptr, len), &head, &err), ERR_OK);
    }
    buf_add_cstr(&json, "\n");
    assert_int_equal(chain_proof_check(buf_slice(&json), &head, &err), ERR_OK);
    buf_add_cstr(&json, "{}");
    assert_int_equal(chain_proof_check(buf_slice(&json), &head, &err), ERR_SYNTAX);
    buf_fini(&json);
    batch_fini(&rows);
}

static void
assert_refused(const char *json, enum err_code wanted, const char *message)
{
    struct err err;

    assert_int_equal(chain_proof_check(slice_of(json), NULL, &err), wanted);
    if (!strstr(err.msg, message)) {
        fail_msg("'%s' instead of '%s'", err.msg, message);
    }
}

static void
test_proof_refuses_what_is_none(void **state)
{
    (void)state;
    assert_refused("", ERR_SYNTAX, "JSON, byte 0");
    assert_refused("[1]", ERR_CORRUPT, "'eider_proof'");
    assert_refused("{\"eider_proof\":2,", ERR_CORRUPT, "'eider_proof'");
    assert_refused("{\"eider_proof\":1,\"entry\":{\"id\":\"a\",\"timestamp_us\":\"now\"",
                   ERR_CORRUPT, "'timestamp_us'");
    assert_refused("{\"eider_proof\":1,\"entry\":{}", ERR_CORRUPT, "'id'");
}

static void
test_proof_is_for_one_head_only(void **state)
{
    struct chain_head head;
    struct batch rows;
    struct buf json;
    struct err err;

    (void)state;
    make_log(&rows, &head);
    assert_int_equal(prove(&rows, "event-3", 0, &json, &err), ERR_OK);
    struct chain_head other = head;
    other.hash[31] ^= 1;
    assert_int_equal(chain_proof_check(buf_slice(&json), &other, &err), ERR_CORRUPT);
    other = head;
    other.seq = COUNT - 1;
    assert_int_equal(chain_proof_check(buf_slice(&json), &other, &err), ERR_CORRUPT);
    other.seq = 0; /* by its hash alone */
    assert_int_equal(chain_proof_check(buf_slice(&json), &other, &err), ERR_OK);
    buf_fini(&json);
    batch_fini(&rows);
}

static void
test_proof_needs_the_entry_the_one_before_and_the_head(void **state)
{
    struct chain_head head;
    struct batch rows, part;
    struct buf json;
    struct err err;

    (void)state;
    make_log(&rows, &head);
    assert_int_equal(prove(&rows, "event-99", 0, &json, &err), ERR_NOT_FOUND);
    assert_int_equal(prove(&rows, "event-5", 4, &json, &err), ERR_INVALID);
    assert_int_equal(prove(&rows, "event-5", COUNT + 1, &json, &err), ERR_NOT_FOUND);
    batch_init(&part, catalog_table(TABLE_EVENTS), TEXT_BYTES);
    for (size_t row = 4; row < COUNT; row++) {
        batch_copy_row(&part, &rows, row);
    }
    assert_int_equal(prove(&part, "event-5", 0, &json, &err), ERR_CORRUPT);
    assert_proves(&part, "event-6", &head);
    batch_set_f64(&part, EVENT_LATENCY_MS, 5, 1);
    assert_int_equal(prove(&part, "event-6", 0, &json, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.msg, "entry 10 does not match its hash"));
    batch_fini(&part);
    batch_fini(&rows);
}

/* Numbers that JSON has no word for. */
static void
test_proof_keeps_odd_latencies(void **state)
{
    static const double odd[] = {NAN, INFINITY, -0.0, 5e-324, 1.7976931348623157e308, 0.1};

    (void)state;
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        struct event event = {.id = slice_of("a"), .latency_ms = odd[i], .seq = 1};
        struct chain_head head = {0};
        uint8_t leaf[EVENT_HASH_BYTES];
        struct batch rows;
        batch_init(&rows, catalog_table(TABLE_EVENTS), TEXT_BYTES);
        chain_leaf(&event, leaf);
        chain_link(&head, leaf);
        memcpy(event.hash, head.hash, sizeof(event.hash));
        event_to_row(&event, &rows);
        assert_proves(&rows, "a", &head);
        batch_fini(&rows);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proof_of_every_entry_against_every_head),
        cmocka_unit_test(test_proof_does_not_stand_when_any_byte_is_another),
        cmocka_unit_test(test_proof_refuses_what_is_none),
        cmocka_unit_test(test_proof_is_for_one_head_only),
        cmocka_unit_test(test_proof_needs_the_entry_the_one_before_and_the_head),
        cmocka_unit_test(test_proof_keeps_odd_latencies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
