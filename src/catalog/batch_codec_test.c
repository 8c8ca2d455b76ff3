/* Tests of the binary form of batches: there and back, cut, damaged, from other versions. */
#include "catalog/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"

enum { TEXT_BYTES = 1 << 20, HEADER_BYTES = 24, ENTRY_BYTES = 8 };

static void
fill(struct batch *batch, const struct catalog_table *table, size_t rows, uint64_t seed)
{
    struct rng rng;

    rng_init(&rng, seed);
    batch_init(batch, table, TEXT_BYTES);
    for (size_t row = 0; row < rows; row++) {
        batch_add_row(batch);
        for (size_t i = 0; i < batch->column_count; i++) {
            uint64_t n = rng_next(&rng);
            char text[16];
            /* Columns without, with some, and with nothing but NULLs. */
            if (i % 3 == 2 && (seed + i) % 4 == 0) {
                continue;
            }
            if (i % 3 == 1 && n % 4 == 0) {
                continue;
            }
            switch (batch->columns[i].type) {
            case COL_BOOL:
                batch_set_bool(batch, i, row, n & 1);
                break;
            case COL_INT32:
                batch_set_i32(batch, i, row, (int32_t)n);
                break;
            case COL_INT64:
            case COL_TIMESTAMP:
            case COL_DECIMAL:
                batch_set_i64(batch, i, row, (int64_t)n);
                break;
            case COL_DOUBLE:
                batch_set_f64(batch, i, row, (double)n);
                break;
            case COL_TEXT:
            case COL_JSON:
                memset(text, 'a' + (int)(n % 26), sizeof(text));
                batch_set_text(batch, i, row,
                               batch_keep_text(batch, slice_make(text, n / 26 % 16)));
                break;
            case COL_TYPE_COUNT:
                break;
            }
        }
    }
}

static void
assert_same_batch(const struct batch *a, const struct batch *b)
{
    assert_ptr_equal(a->table, b->table);
    assert_int_equal(a->rows, b->rows);
    for (size_t row = 0; row < a->rows; row++) {
        for (size_t i = 0; i < a->column_count; i++) {
            assert_int_equal(batch_is_null(a, i, row), batch_is_null(b, i, row));
            assert_true(batch_get_i64(a, i, row) == batch_get_i64(b, i, row));
            assert_true(slice_eq(batch_get_text(a, i, row), batch_get_text(b, i, row)));
        }
    }
}

static void
test_batch_codec_reads_back_every_table(void **state)
{
    const struct catalog_table *table;

    (void)state;
    for (size_t t = 0; (table = catalog_at(t)) != NULL; t++) {
        for (size_t rows = 0; rows < 200; rows = rows * 2 + 1) {
            BUF_AUTO struct buf bytes;
            struct batch batch;
            struct batch back;
            size_t used = 0;
            buf_init(&bytes, 0);
            fill(&batch, table, rows, t + rows);
            batch_encode(&batch, &bytes);
            assert_int_equal(bytes.len % 8, 0);
            assert_int_equal(batch_decode(buf_slice(&bytes), &back, &used, NULL), ERR_OK);
            assert_int_equal(used, bytes.len);
            assert_same_batch(&batch, &back);
            batch_fini(&back);
            batch_fini(&batch);
        }
    }
}

static void
test_batch_codec_reads_one_behind_the_other(void **state)
{
    BUF_AUTO struct buf bytes;
    size_t at = 0;

    (void)state;
    buf_init(&bytes, 0);
    for (int id = 1; id < TABLE_ID_END; id++) {
        struct batch batch;
        fill(&batch, catalog_table((enum table_id)id), (size_t)id * 3, (uint64_t)id);
        batch_encode(&batch, &bytes);
        batch_fini(&batch);
    }
    for (int id = 1; id < TABLE_ID_END; id++) {
        struct batch back;
        size_t used = 0;
        assert_int_equal(
            batch_decode(slice_sub(buf_slice(&bytes), at, bytes.len), &back, &used, NULL), ERR_OK);
        assert_int_equal(back.table->id, id);
        assert_int_equal(back.rows, id * 3);
        batch_fini(&back);
        at += used;
    }
    assert_int_equal(at, bytes.len);
}

static void
test_batch_codec_encodes_a_decoded_batch_to_the_same_bytes(void **state)
{
    BUF_AUTO struct buf bytes;
    BUF_AUTO struct buf again;
    struct batch batch;
    struct batch back;
    size_t used = 0;

    (void)state;
    buf_init(&bytes, 0);
    buf_init(&again, 0);
    fill(&batch, catalog_table(TABLE_TRADES), 100, 5);
    batch_encode(&batch, &bytes);
    assert_int_equal(batch_decode(buf_slice(&bytes), &back, &used, NULL), ERR_OK);
    batch_encode(&back, &again);
    assert_true(slice_eq(buf_slice(&bytes), buf_slice(&again)));
    batch_fini(&back);
    batch_fini(&batch);
}

static void
test_batch_codec_numbers_are_read_in_place(void **state)
{
    BUF_AUTO struct buf bytes;
    struct batch batch;
    struct batch back;
    size_t used = 0;

    (void)state;
    buf_init(&bytes, 0);
    fill(&batch, catalog_table(TABLE_CANDLES), 50, 1);
    batch_encode(&batch, &bytes);
    assert_int_equal(batch_decode(buf_slice(&bytes), &back, &used, NULL), ERR_OK);
    const char *data = (const char *)back.columns[0].i64;
    assert_true(data > bytes.ptr && data < bytes.ptr + bytes.len);
    const char *text = batch_get_text(&back, 1, 49).ptr;
    assert_true(text > bytes.ptr && text <= bytes.ptr + bytes.len);
    batch_fini(&back);
    batch_fini(&batch);
}

static void
test_batch_codec_cut_at_any_offset_is_corrupt(void **state)
{
    BUF_AUTO struct buf bytes;
    struct batch batch;

    (void)state;
    buf_init(&bytes, 0);
    fill(&batch, catalog_table(TABLE_TRADES), 20, 2);
    batch_encode(&batch, &bytes);
    for (size_t cut = 0; cut < bytes.len; cut++) {
        MEM_AUTO char *copy = mem_alloc(cut);
        struct batch back;
        size_t used = 42;
        struct err err = {0};
        memcpy(copy, bytes.ptr, cut);
        assert_int_equal(batch_decode(slice_make(copy, cut), &back, &used, &err), ERR_CORRUPT);
        assert_int_equal(used, 42);
        assert_int_equal(strncmp(err.msg, "batch, byte ", 12), 0);
    }
    batch_fini(&batch);
}

/* Reads every value, so that a sanitizer sees a slice that leads outside. */
static uint64_t
touch(const struct batch *batch)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < batch->column_count; i++) {
        for (size_t row = 0; row < batch->rows; row++) {
            struct slice text = batch_get_text(batch, i, row);
            sum += (uint64_t)batch_get_i64(batch, i, row) + batch_is_null(batch, i, row);
            for (size_t at = 0; at < text.len; at++) {
                sum += (unsigned char)text.ptr[at];
            }
        }
    }
    return sum;
}

static void
test_batch_codec_flipped_bits_never_lead_outside(void **state)
{
    BUF_AUTO struct buf bytes;
    struct batch batch;
    uint64_t sum = 0;
    size_t decoded = 0;

    (void)state;
    buf_init(&bytes, 0);
    fill(&batch, catalog_table(TABLE_TRADES), 9, 3);
    batch_encode(&batch, &bytes);
    MEM_AUTO char *copy = mem_alloc(bytes.len);
    memcpy(copy, bytes.ptr, bytes.len);
    for (size_t bit = 0; bit < bytes.len * 8; bit++) {
        struct batch back;
        size_t used = 0;
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
        if (batch_decode(slice_make(copy, bytes.len), &back, &used, NULL) == ERR_OK) {
            sum += touch(&back);
            decoded++;
            batch_fini(&back);
        }
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
    }
    assert_true(sum != 0);
    /* Values may change unseen (the log's checksum finds that), lengths may not. */
    assert_in_range(decoded, bytes.len, bytes.len * 8 - HEADER_BYTES * 4);
    batch_fini(&batch);
}

static void
test_batch_codec_columns_unknown_are_skipped_and_lacking_are_null(void **state)
{
    /* samples as another version may write it: number 0, then a column 9 that is not known. */
    static const uint32_t words[] = {0x54414245,
                                     TABLE_SAMPLES << 16 | 1,
                                     2,
                                     2,
                                     24 + 2 * 8 + 8 + 16,
                                     0, /* header */
                                     COL_INT32 << 8 | 0,
                                     8,
                                     COL_INT64 << 8 | 9,
                                     16, /* two entries */
                                     7,
                                     8, /* series_id */
                                     1,
                                     2,
                                     3,
                                     4};
    _Alignas(8) uint32_t copy[sizeof(words) / sizeof(*words)];
    struct batch back;
    size_t used = 0;

    (void)state;
    memcpy(copy, words, sizeof(words));
    assert_int_equal(batch_decode(slice_make(copy, sizeof(copy)), &back, &used, NULL), ERR_OK);
    assert_int_equal(used, sizeof(copy));
    assert_int_equal(back.rows, 2);
    assert_int_equal(batch_get_i64(&back, 0, 1), 8);
    assert_true(batch_is_null(&back, 1, 0));
    assert_true(batch_is_null(&back, 2, 1));
    batch_fini(&back);

    copy[6] = COL_INT32 << 8 | 8; /* now no column is known */
    assert_int_equal(batch_decode(slice_make(copy, sizeof(copy)), &back, &used, NULL), ERR_CORRUPT);
    copy[6] = COL_DOUBLE << 8 | 0; /* another type */
    assert_int_equal(batch_decode(slice_make(copy, sizeof(copy)), &back, &used, NULL), ERR_CORRUPT);
    copy[6] = COL_INT32 << 8 | 9; /* the same column twice */
    assert_int_equal(batch_decode(slice_make(copy, sizeof(copy)), &back, &used, NULL), ERR_CORRUPT);
    memcpy(copy, words, sizeof(words));
    copy[1] = TABLE_SAMPLES << 16 | 2; /* another version */
    assert_int_equal(batch_decode(slice_make(copy, sizeof(copy)), &back, &used, NULL), ERR_CORRUPT);
    copy[1] = TABLE_ID_END << 16 | 1; /* another table */
    assert_int_equal(batch_decode(slice_make(copy, sizeof(copy)), &back, &used, NULL), ERR_CORRUPT);
}

static void
test_batch_codec_over_the_cap_adds_nothing(void **state)
{
    BUF_AUTO struct buf bytes;
    struct batch batch;

    (void)state;
    buf_init(&bytes, 100);
    fill(&batch, catalog_table(TABLE_TRADES), 20, 2);
    batch_encode(&batch, &bytes);
    assert_true(bytes.overflow);
    assert_int_equal(bytes.len, 0);
    batch_fini(&batch);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_batch_codec_reads_back_every_table),
        cmocka_unit_test(test_batch_codec_reads_one_behind_the_other),
        cmocka_unit_test(test_batch_codec_encodes_a_decoded_batch_to_the_same_bytes),
        cmocka_unit_test(test_batch_codec_numbers_are_read_in_place),
        cmocka_unit_test(test_batch_codec_cut_at_any_offset_is_corrupt),
        cmocka_unit_test(test_batch_codec_flipped_bits_never_lead_outside),
        cmocka_unit_test(test_batch_codec_columns_unknown_are_skipped_and_lacking_are_null),
        cmocka_unit_test(test_batch_codec_over_the_cap_adds_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
