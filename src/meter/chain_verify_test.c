#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "meter/chain_testing.h"

enum { COUNT = 60, TEXT_BYTES = 1 << 26 };

static void
make_log(struct batch *rows, struct chain_head *head, uint64_t count)
{
    *head = (struct chain_head){0};
    batch_init(rows, catalog_table(TABLE_EVENTS), TEXT_BYTES);
    chain_testing_fill(rows, head, count);
}

static void
verify(const struct batch *rows, const struct chain_verify_options *options,
       struct chain_verdict *ret_verdict)
{
    struct chain_verifier *verifier = chain_verifier_new(options);
    struct err err;
    enum err_code code = chain_verifier_push(verifier, rows, &err);

    chain_verifier_end(verifier, ret_verdict);
    if (code) {
        assert_int_equal(code, ERR_CORRUPT);
        assert_string_equal(err.msg, ret_verdict->problem);
        assert_false(ret_verdict->ok);
    }
    assert_int_equal(ret_verdict->ok, ret_verdict->problem[0] == '\0');
    chain_verifier_free(verifier);
}

static void
assert_bad(const struct batch *rows, const struct chain_verify_options *options, uint64_t seq,
           const char *id, const char *problem)
{
    struct chain_verdict verdict;

    verify(rows, options, &verdict);
    assert_false(verdict.ok);
    assert_int_equal(verdict.bad_seq, seq);
    assert_string_equal(verdict.bad_id, id);
    if (!strstr(verdict.problem, problem)) {
        fail_msg("'%s' instead of '%s'", verdict.problem, problem);
    }
}

/* A copy without row `left_out`; SIZE_MAX: a whole one. */
static void
copy_rows(struct batch *to, const struct batch *from, size_t left_out)
{
    batch_init(to, from->table, TEXT_BYTES);
    for (size_t row = 0; row < from->rows; row++) {
        if (row != left_out) {
            batch_copy_row(to, from, row);
        }
    }
}

static const struct chain_verify_options whole = {.threads = 1};

static void
test_verify_intact_log(void **state)
{
    struct chain_verdict verdict;
    struct chain_head head;
    struct batch rows;

    (void)state;
    make_log(&rows, &head, COUNT);
    verify(&rows, &whole, &verdict);
    assert_true(verdict.ok);
    assert_int_equal(verdict.checked, COUNT);
    assert_int_equal(verdict.head.seq, COUNT);
    assert_memory_equal(verdict.head.hash, head.hash, EVENT_HASH_BYTES);
    assert_int_equal(verdict.bad_seq, 0);
    batch_fini(&rows);
    batch_init(&rows, catalog_table(TABLE_EVENTS), 0);
    verify(&rows, &whole, &verdict);
    assert_true(verdict.ok);
    assert_int_equal(verdict.checked, 0);
    batch_fini(&rows);
}

/* Changes one value of a row to something else of its type. */
static void
change(struct batch *rows, size_t column, size_t row)
{
    switch (rows->columns[column].type) {
    case COL_TEXT:
    case COL_JSON:
        batch_set_text(rows, column, row, slice_of("changed"));
        break;
    case COL_BOOL:
        batch_set_bool(rows, column, row, !batch_get_i64(rows, column, row));
        break;
    case COL_INT32:
        batch_set_i32(rows, column, row, (int32_t)batch_get_i64(rows, column, row) + 1);
        break;
    case COL_DOUBLE:
        batch_set_f64(rows, column, row, batch_get_f64(rows, column, row) + 1e-9);
        break;
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
        batch_set_i64(rows, column, row, batch_get_i64(rows, column, row) + 1);
        break;
    case COL_TYPE_COUNT:
        fail();
    }
}

static void
test_verify_finds_every_changed_column(void **state)
{
    struct chain_head head;
    struct batch rows;

    (void)state;
    make_log(&rows, &head, COUNT);
    for (size_t column = 0; column < EVENT_SEQ; column++) {
        for (size_t row = 0; row < COUNT; row += 7) { /* odd and even: with and without texts */
            struct batch changed;
            char id[32];
            copy_rows(&changed, &rows, SIZE_MAX);
            change(&changed, column, row);
            snprintf(id, sizeof(id), "event-%zu", row + 1);
            assert_bad(&changed, &whole, row + 1, column == EVENT_ID ? "changed" : id,
                       "does not match its hash");
            batch_fini(&changed);
        }
    }
    batch_fini(&rows);
}

/* What hashes the same: NULL for 0, an empty text for NULL. */
static void
test_verify_finds_null_and_empty_exchanged(void **state)
{
    struct chain_head head;
    struct batch rows;

    (void)state;
    make_log(&rows, &head, COUNT);
    for (size_t column = 0; column < EVENT_SEQ; column++) {
        bool is_text =
            rows.columns[column].type == COL_TEXT || rows.columns[column].type == COL_JSON;
        struct batch changed;
        copy_rows(&changed, &rows, SIZE_MAX);
        if (!batch_is_null(&rows, column, 9)) { /* entry 10 fails and costs something */
            batch_set_null(&changed, column, 9);
            assert_bad(&changed, &whole, 10, column == EVENT_ID ? "" : "event-10",
                       column == EVENT_STATUS_CODE ? "does not match" : "is NULL");
        } else if (is_text) {
            batch_set_text(&changed, column, 9, slice_of(""));
            assert_bad(&changed, &whole, 10, "event-10", "empty text");
        }
        batch_fini(&changed);
    }
    batch_fini(&rows);
}

static void
test_verify_finds_changed_hashes(void **state)
{
    struct chain_head head;
    struct batch rows;

    (void)state;
    make_log(&rows, &head, COUNT);
    struct slice kept = batch_get_text(&rows, EVENT_HASH, 5);
    batch_set_text(&rows, EVENT_HASH, 5, batch_get_text(&rows, EVENT_HASH, 6));
    assert_bad(&rows, &whole, 6, "event-6", "does not match its hash");
    batch_set_text(&rows, EVENT_HASH, 5, slice_of("no hash"));
    assert_bad(&rows, &whole, 6, "event-6", "not 64 hexadecimal digits");
    batch_set_null(&rows, EVENT_HASH, 5);
    assert_bad(&rows, &whole, 6, "event-6", "not 64 hexadecimal digits");
    batch_set_text(&rows, EVENT_HASH, 5, kept);
    batch_set_i64(&rows, EVENT_SEQ, 5, 5);
    assert_bad(&rows, &whole, 5, "event-6", "another entry 5");
    batch_set_null(&rows, EVENT_SEQ, 5);
    assert_bad(&rows, &whole, 0, "event-6", "another entry 0");
    batch_fini(&rows);
}

static void
test_verify_finds_removed_entries(void **state)
{
    struct chain_head head;
    struct batch rows, changed;

    (void)state;
    make_log(&rows, &head, COUNT);
    copy_rows(&changed, &rows, 9);
    assert_bad(&changed, &whole, 10, "", "entry 10 is missing: entry 11 comes next");
    batch_fini(&changed);
    copy_rows(&changed, &rows, 0);
    assert_bad(&changed, &whole, 1, "", "entry 1 is missing");
    batch_fini(&changed);
    /* Removed, and those behind it renumbered. */
    copy_rows(&changed, &rows, 9);
    for (size_t row = 9; row < changed.rows; row++) {
        batch_set_i64(&changed, EVENT_SEQ, row, (int64_t)row + 1);
    }
    assert_bad(&changed, &whole, 10, "event-11", "does not match its hash");
    batch_fini(&changed);
    batch_fini(&rows);
}

static void
test_verify_finds_added_entries(void **state)
{
    struct chain_head head, forged;
    struct batch rows, changed;

    (void)state;
    make_log(&rows, &head, COUNT);
    batch_init(&changed, catalog_table(TABLE_EVENTS), TEXT_BYTES);
    for (size_t row = 0; row < COUNT; row++) {
        batch_copy_row(&changed, &rows, row);
        if (row == 20) { /* twice the same */
            batch_copy_row(&changed, &rows, row);
        }
    }
    assert_bad(&changed, &whole, 21, "event-21", "another entry 21");
    /* Renumbered, so that only the hashes tell. */
    for (size_t row = 21; row < changed.rows; row++) {
        batch_set_i64(&changed, EVENT_SEQ, row, (int64_t)row + 1);
    }
    assert_bad(&changed, &whole, 22, "event-21", "does not match its hash");
    batch_fini(&changed);
    /* With a hash that fits, as whoever has the program can make it: then the next does not. */
    batch_init(&changed, catalog_table(TABLE_EVENTS), TEXT_BYTES);
    forged = (struct chain_head){0};
    chain_testing_fill(&changed, &forged, 20);
    struct event event = chain_testing_event(&changed, 50);
    uint8_t leaf[EVENT_HASH_BYTES];
    chain_leaf(&event, leaf);
    chain_link(&forged, leaf);
    event.seq = 21;
    memcpy(event.hash, forged.hash, sizeof(event.hash));
    event_to_row(&event, &changed);
    for (size_t row = 20; row < COUNT; row++) {
        batch_copy_row(&changed, &rows, row);
        batch_set_i64(&changed, EVENT_SEQ, row + 1, (int64_t)row + 2);
    }
    assert_bad(&changed, &whole, 22, "event-21", "does not match its hash");
    batch_fini(&changed);
    batch_fini(&rows);
}

static void
test_verify_finds_swapped_entries(void **state)
{
    struct chain_head head;
    struct batch rows, changed;

    (void)state;
    make_log(&rows, &head, COUNT);
    batch_init(&changed, catalog_table(TABLE_EVENTS), TEXT_BYTES);
    for (size_t row = 0; row < COUNT; row++) {
        batch_copy_row(&changed, &rows, row == 30 ? 31 : row == 31 ? 30 : row);
    }
    assert_bad(&changed, &whole, 31, "", "entry 31 is missing: entry 32 comes next");
    batch_set_i64(&changed, EVENT_SEQ, 30, 31);
    batch_set_i64(&changed, EVENT_SEQ, 31, 32);
    assert_bad(&changed, &whole, 31, "event-32", "does not match its hash");
    batch_set_text(&changed, EVENT_HASH, 30, batch_get_text(&rows, EVENT_HASH, 30));
    batch_set_text(&changed, EVENT_HASH, 31, batch_get_text(&rows, EVENT_HASH, 31));
    assert_bad(&changed, &whole, 31, "event-32", "does not match its hash");
    batch_fini(&changed);
    batch_fini(&rows);
}

static void
test_verify_finds_a_cut_tail_by_the_head(void **state)
{
    struct chain_verdict verdict;
    struct chain_head head;
    struct batch rows;

    (void)state;
    make_log(&rows, &head, COUNT);
    struct chain_verify_options options = {.has_head = true, .head = head, .threads = 1};
    verify(&rows, &options, &verdict);
    assert_true(verdict.ok && verdict.head_found);
    batch_drop_row(&rows);
    batch_drop_row(&rows);
    verify(&rows, &whole, &verdict);
    assert_true(verdict.ok); /* without a head nobody can tell */
    assert_bad(&rows, &options, COUNT - 1, "", "its tail was cut off");
    options.head.seq = 0;
    assert_bad(&rows, &options, 0, "", "no entry up to 58 has the hash");
    batch_fini(&rows);
}

static void
test_verify_finds_a_log_written_anew_by_the_head(void **state)
{
    struct chain_verdict verdict;
    struct chain_head head, other;
    struct batch rows;

    (void)state;
    make_log(&rows, &head, COUNT);
    /* Entry 3 is another one and all hashes behind it fit: only the head tells. */
    struct batch anew;
    batch_init(&anew, catalog_table(TABLE_EVENTS), TEXT_BYTES);
    other = (struct chain_head){0};
    while (other.seq < COUNT) {
        struct event event = chain_testing_event(&anew, other.seq + 1);
        uint8_t leaf[EVENT_HASH_BYTES];
        event.credits += other.seq == 2;
        chain_leaf(&event, leaf);
        chain_link(&other, leaf);
        memcpy(event.hash, other.hash, sizeof(event.hash));
        event_to_row(&event, &anew);
    }
    verify(&anew, &whole, &verdict);
    assert_true(verdict.ok);
    struct chain_verify_options options = {.has_head = true, .head = head, .threads = 1};
    assert_bad(&anew, &options, COUNT, "event-60", "were written anew");
    /* A head from amidst the log, by number and by hash alone. */
    assert_true(chain_from_hex(batch_get_text(&rows, EVENT_HASH, 40), options.head.hash));
    options.head.seq = 41;
    assert_bad(&anew, &options, 41, "event-41", "were written anew");
    verify(&rows, &options, &verdict);
    assert_true(verdict.ok && verdict.head_found);
    assert_int_equal(verdict.checked, COUNT);
    options.head.seq = 0;
    verify(&rows, &options, &verdict);
    assert_true(verdict.ok && verdict.head_found);
    assert_bad(&anew, &options, 0, "", "no entry");
    options.head.hash[7] ^= 1;
    assert_bad(&rows, &options, 0, "", "no entry");
    batch_fini(&anew);
    batch_fini(&rows);
}

static void
test_verify_a_part(void **state)
{
    struct chain_verdict verdict;
    struct chain_head head;
    struct batch rows, part;

    (void)state;
    make_log(&rows, &head, COUNT);
    batch_init(&part, catalog_table(TABLE_EVENTS), TEXT_BYTES);
    for (size_t row = 9; row < COUNT; row++) {
        batch_copy_row(&part, &rows, row);
    }
    struct chain_verify_options options = {.from_seq = 11, .to_seq = 20, .threads = 1};
    verify(&part, &options, &verdict);
    assert_true(verdict.ok);
    assert_int_equal(verdict.checked, 10);
    assert_int_equal(verdict.head.seq, 20);
    change(&part, EVENT_CREDITS_COST, 0); /* entry 10 is not checked, its hash is given */
    change(&part, EVENT_CREDITS_COST, 11);
    verify(&part, &options, &verdict);
    assert_true(verdict.ok);
    options.to_seq = 21;
    assert_bad(&part, &options, 21, "event-21", "does not match its hash");
    options =
        (struct chain_verify_options){.from_seq = 11, .to_seq = 20, .has_head = true, .head = head};
    assert_bad(&part, &options, 0, "", "not among those checked");
    options = (struct chain_verify_options){.from_seq = 10, .to_seq = 20};
    assert_bad(&part, &options, 9, "", "entry 9 is missing, behind which to begin");
    options = (struct chain_verify_options){.to_seq = COUNT + 1};
    assert_bad(&rows, &options, COUNT + 1, "", "ends at entry 60, before entry 61");
    batch_reset(&part);
    options = (struct chain_verify_options){.from_seq = 11};
    assert_bad(&part, &options, 10, "", "there is none");
    batch_fini(&part);
    batch_fini(&rows);
}

/* Many threads, pushes of every size: the same verdicts. */
static void
test_verify_with_threads(void **state)
{
    enum { MANY = 20000 };
    struct chain_head head;
    struct batch rows;

    (void)state;
    make_log(&rows, &head, MANY);
    for (int bad = 0; bad < 2; bad++) {
        struct chain_verify_options options = {.threads = 4, .has_head = true, .head = head};
        struct chain_verifier *verifier = chain_verifier_new(&options);
        struct chain_verdict verdict;
        enum err_code code = ERR_OK;
        size_t size = 1;
        for (size_t from = 0; from < MANY; size = size * 3 % 7919 + 1) {
            struct batch push;
            struct err err;
            batch_init(&push, catalog_table(TABLE_EVENTS), TEXT_BYTES);
            for (size_t end = from + size; from < end && from < MANY; from++) {
                batch_copy_row(&push, &rows, from);
            }
            code = chain_verifier_push(verifier, &push, &err);
            batch_fini(&push);
        }
        chain_verifier_end(verifier, &verdict);
        chain_verifier_free(verifier);
        assert_int_equal(code, bad ? ERR_CORRUPT : ERR_OK);
        assert_int_equal(verdict.ok, !bad);
        assert_int_equal(verdict.checked, bad ? 12344 : MANY);
        assert_int_equal(verdict.bad_seq, bad ? 12345 : 0);
        change(&rows, EVENT_LATENCY_MS, 12344);
    }
    chain_verifier_free(NULL);
    batch_fini(&rows);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verify_intact_log),
        cmocka_unit_test(test_verify_finds_every_changed_column),
        cmocka_unit_test(test_verify_finds_null_and_empty_exchanged),
        cmocka_unit_test(test_verify_finds_changed_hashes),
        cmocka_unit_test(test_verify_finds_removed_entries),
        cmocka_unit_test(test_verify_finds_added_entries),
        cmocka_unit_test(test_verify_finds_swapped_entries),
        cmocka_unit_test(test_verify_finds_a_cut_tail_by_the_head),
        cmocka_unit_test(test_verify_finds_a_log_written_anew_by_the_head),
        cmocka_unit_test(test_verify_a_part),
        cmocka_unit_test(test_verify_with_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
