/*
 * Arrow data, looked at by a consumer that knows the specification and nothing of the library:
 * formats, counts, buffers, alignment, padding, offsets, bitmaps, and who releases what.
 */
#include "embed/testing.h"

/* ---- the consumer ---- */

static void
check_schema(const struct ArrowSchema *schema, const char *const *formats, size_t count)
{
    assert_string_equal(schema->format, "+s");
    assert_non_null(schema->release);
    assert_int_equal(schema->n_children, count);
    assert_null(schema->dictionary);
    for (size_t i = 0; i < count; i++) {
        const struct ArrowSchema *child = schema->children[i];
        assert_string_equal(child->format, formats[i]);
        assert_non_null(child->name);
        assert_int_equal(child->flags, ARROW_FLAG_NULLABLE);
        assert_int_equal(child->n_children, 0);
        assert_non_null(child->release);
    }
}

static bool
is_set(const void *bits, int64_t at)
{
    return (((const uint8_t *)bits)[at / 8] >> (at % 8) & 1) != 0;
}

/* Bytes behind the data up to the padding are zeros. */
static void
check_buffer(const void *buffer, size_t size)
{
    const uint8_t *bytes = buffer;

    assert_non_null(buffer);
    assert_int_equal((uintptr_t)buffer % 64, 0);
    for (size_t i = size; i % 64 != 0; i++) {
        assert_int_equal(bytes[i], 0);
    }
}

static void
check_validity(const struct ArrowArray *array)
{
    int64_t nulls = 0;

    if (!array->buffers[0]) {
        assert_int_equal(array->null_count, 0);
        return;
    }
    check_buffer(array->buffers[0], (size_t)(array->length + 7) / 8);
    for (int64_t i = 0; i < array->length; i++) {
        nulls += !is_set(array->buffers[0], i);
    }
    for (int64_t i = array->length; i % 8 != 0; i++) {
        assert_false(is_set(array->buffers[0], i));
    }
    assert_int_equal(array->null_count, nulls);
}

static void
check_child(const struct ArrowArray *array, const char *format, int64_t length)
{
    assert_non_null(array->release);
    assert_int_equal(array->length, length);
    assert_int_equal(array->offset, 0);
    assert_int_equal(array->n_children, 0);
    assert_null(array->dictionary);
    check_validity(array);
    if (strcmp(format, "u") == 0) {
        const int32_t *offsets = array->buffers[1];
        assert_int_equal(array->n_buffers, 3);
        check_buffer(offsets, (size_t)(length + 1) * sizeof(*offsets));
        assert_int_equal(offsets[0], 0);
        for (int64_t i = 0; i < length; i++) {
            assert_true(offsets[i] <= offsets[i + 1]);
        }
        check_buffer(array->buffers[2], (size_t)offsets[length]);
        return;
    }
    assert_int_equal(array->n_buffers, 2);
    size_t bits = strcmp(format, "b") == 0          ? 1
                  : strcmp(format, "i") == 0        ? 32
                  : strncmp(format, "d:18", 4) == 0 ? 128
                                                    : 64;
    check_buffer(array->buffers[1], ((size_t)length * bits + 7) / 8);
}

static void
check_array(const struct ArrowArray *array, const char *const *formats, size_t count,
            int64_t length)
{
    assert_non_null(array->release);
    assert_int_equal(array->length, length);
    assert_int_equal(array->null_count, 0);
    assert_int_equal(array->offset, 0);
    assert_int_equal(array->n_buffers, 1);
    assert_null(array->buffers[0]);
    assert_int_equal(array->n_children, count);
    for (size_t i = 0; i < count; i++) {
        check_child(array->children[i], formats[i], length);
    }
}

static void
check_text(const struct ArrowArray *array, int64_t row, const char *text)
{
    const int32_t *offsets = array->buffers[1];
    const char *bytes = array->buffers[2];

    assert_int_equal(offsets[row + 1] - offsets[row], strlen(text));
    assert_memory_equal(bytes + offsets[row], text, strlen(text));
}

/* ---- the tests ---- */

static const char *const formats[] = {"b", "i", "l", "g", "tsu:", "u", "u", "d:18,6"};
enum { COLUMNS = 8 };

/* Every type; of four rows the second and the last are NULL. */
static const char every_type[] =
    "SELECT CASE WHEN i % 2 = 0 THEN i % 4 = 0 END AS b, CASE WHEN i % 2 = 0 THEN -i::INTEGER END "
    "AS i, CASE WHEN i % 2 = 0 THEN i::BIGINT * 5000000000 END AS l, CASE WHEN i % 2 = 0 THEN i / "
    "4.0 END::DOUBLE AS g, CASE WHEN i % 2 = 0 THEN make_timestamp(i::BIGINT) END AS t, CASE WHEN "
    "i % 2 = 0 THEN repeat('é', i::INTEGER) END AS u, CASE WHEN i % 2 = 0 THEN "
    "'{\"a\":1}'::JSON END AS j, CASE WHEN i % 2 = 0 THEN (-i)::DECIMAL(18,6) / 1 END"
    "::DECIMAL(18,6) AS d FROM range(";

static struct eider_batch *
make_batch(struct place *place, int rows)
{
    char sql[1024];

    snprintf(sql, sizeof(sql), "%s%d) AS r(i) ORDER BY r.i", every_type, rows);
    return place_sql(place, sql);
}

static void
test_schema_names_formats_of_all_types(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch = make_batch(place, 1);
    struct ArrowSchema schema;
    int32_t number;

    eider_batch_schema(batch, &schema);
    eider_batch_free(batch); /* the schema does not need it */
    check_schema(&schema, formats, COLUMNS);
    assert_string_equal(schema.children[4]->name, "t");
    assert_null(schema.children[5]->metadata);
    const char *metadata = schema.children[6]->metadata;
    memcpy(&number, metadata, 4);
    assert_int_equal(number, 1);
    memcpy(&number, metadata + 4, 4);
    assert_int_equal(number, 20);
    assert_memory_equal(metadata + 8, "ARROW:extension:name", 20);
    memcpy(&number, metadata + 28, 4);
    assert_int_equal(number, 10);
    assert_memory_equal(metadata + 32, "arrow.json", 10);
    schema.release(&schema);
    assert_null(schema.release);
}

static void
test_array_holds_the_values_and_nulls(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch = make_batch(place, 131);
    struct ArrowArray array;

    assert_ok(place, eider_batch_array(batch, 0, SIZE_MAX, &array, &place->error));
    eider_batch_free(batch);
    check_array(&array, formats, COLUMNS, 131);
    for (int64_t i = 0; i < 131; i++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            assert_int_equal(is_set(array.children[c]->buffers[0], i), i % 2 == 0);
        }
        if (i % 2 != 0) {
            continue;
        }
        assert_int_equal(is_set(array.children[0]->buffers[1], i), i % 4 == 0);
        assert_int_equal(((const int32_t *)array.children[1]->buffers[1])[i], -i);
        assert_int_equal(((const int64_t *)array.children[2]->buffers[1])[i], i * 5000000000);
        assert_true(((const double *)array.children[3]->buffers[1])[i] == (double)i / 4.0);
        assert_int_equal(((const int64_t *)array.children[4]->buffers[1])[i], i);
        const int64_t *halves = array.children[7]->buffers[1];
        assert_int_equal(halves[2 * i], -i * 1000000);
        assert_int_equal(halves[2 * i + 1], i == 0 ? 0 : -1);
    }
    check_text(array.children[5], 4, "éééé");
    check_text(array.children[5], 3, "");
    check_text(array.children[6], 2, "{\"a\":1}");
    array.release(&array);
    assert_null(array.release);
}

static void
test_array_of_part_of_the_rows_begins_at_zero(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch = make_batch(place, 100);
    struct ArrowArray array;

    assert_ok(place, eider_batch_array(batch, 3, 5, &array, &place->error));
    check_array(&array, formats, COLUMNS, 5);
    assert_int_equal(is_set(array.children[1]->buffers[0], 0), 0);
    assert_int_equal(((const int32_t *)array.children[1]->buffers[1])[1], -4);
    check_text(array.children[5], 1, "éééé");
    array.release(&array);
    assert_ok(place, eider_batch_array(batch, 98, 50, &array, &place->error));
    assert_int_equal(array.length, 2);
    array.release(&array);
    assert_ok(place, eider_batch_array(batch, 1000, 50, &array, &place->error));
    check_array(&array, formats, COLUMNS, 0);
    array.release(&array);
    eider_batch_free(batch);
}

/* A consumer may take children out, by copying the struct and marking the source released. */
static void
test_children_that_were_moved_live_on(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch = make_batch(place, 10);
    struct ArrowArray array, texts;
    struct ArrowSchema schema, field;

    assert_ok(place, eider_batch_array(batch, 0, 10, &array, &place->error));
    eider_batch_schema(batch, &schema);
    eider_batch_free(batch);
    texts = *array.children[5];
    array.children[5]->release = NULL;
    array.release(&array);
    field = *schema.children[5];
    schema.children[5]->release = NULL;
    schema.release(&schema);
    assert_string_equal(field.name, "u");
    check_child(&texts, "u", 10);
    check_text(&texts, 2, "éé");
    texts.release(&texts);
    field.release(&field);
    assert_null(texts.release);
    assert_null(field.release);
}

static void
test_column_without_nulls_has_no_bitmap(void **state)
{
    struct place *place = *state;
    struct eider_batch *batch = place_sql(place, "SELECT i::BIGINT AS i FROM range(3) AS r(i)");
    struct ArrowArray array;

    assert_ok(place, eider_batch_array(batch, 0, 3, &array, &place->error));
    assert_null(array.children[0]->buffers[0]);
    assert_int_equal(array.children[0]->null_count, 0);
    array.release(&array);
    eider_batch_free(batch);
}

static void
test_stream_gives_all_rows_and_outlives_the_handle(void **state)
{
    struct place *place = *state;
    const struct eider_query query = {.sql = "SELECT i::BIGINT AS i, i::VARCHAR AS t FROM "
                                             "range(1000) AS r(i) ORDER BY r.i"};
    static const char *const two[] = {"l", "u"};
    struct ArrowArrayStream stream;
    struct ArrowSchema schema;
    struct ArrowArray array, kept = {.release = NULL};
    int64_t rows = 0;

    assert_ok(place, eider_query_stream(place->db, &query, 300, &stream, &place->error));
    place_close(place);
    assert_int_equal(stream.get_schema(&stream, &schema), 0);
    check_schema(&schema, two, 2);
    schema.release(&schema);
    for (;;) {
        assert_int_equal(stream.get_next(&stream, &array), 0);
        if (!array.release) {
            break;
        }
        check_array(&array, two, 2, rows < 900 ? 300 : 100);
        assert_int_equal(((const int64_t *)array.children[0]->buffers[1])[0], rows);
        rows += array.length;
        if (kept.release) {
            array.release(&array);
        } else {
            kept = array;
        }
    }
    assert_int_equal(rows, 1000);
    assert_int_equal(stream.get_next(&stream, &array), 0);
    assert_null(array.release);
    assert_null(stream.get_last_error(&stream));
    stream.release(&stream);
    assert_null(stream.release);
    check_text(kept.children[1], 299, "299");
    kept.release(&kept);
    place_open(place);
}

static void
test_stream_of_no_rows_has_a_schema(void **state)
{
    struct place *place = *state;
    struct eider_query query = {.sql = "SELECT 1 AS one WHERE false"};
    struct ArrowArrayStream stream = {.release = NULL};
    struct ArrowSchema schema;
    struct ArrowArray array;

    assert_ok(place, eider_query_stream(place->db, &query, 0, &stream, &place->error));
    assert_int_equal(stream.get_schema(&stream, &schema), 0);
    assert_int_equal(schema.n_children, 1);
    schema.release(&schema);
    assert_int_equal(stream.get_next(&stream, &array), 0);
    assert_null(array.release);
    stream.release(&stream);
    query.sql = "SELECT nothing";
    assert_int_equal(eider_query_stream(place->db, &query, 0, &stream, NULL), EIDER_INVALID);
    assert_null(stream.release);
}

/* Arrow has no mark for it, and half an answer must not be taken for a whole one. */
static void
test_stream_is_not_cut_without_a_word(void **state)
{
    struct place *place = *state;
    struct eider_query query = {.sql = "SELECT * FROM range(100001)"};
    struct ArrowArrayStream stream = {.release = NULL};

    assert_refused(place, eider_query_stream(place->db, &query, 0, &stream, &place->error),
                   EIDER_TOO_LARGE, "more rows than rows_max, 100000");
    assert_null(stream.release);
    query.rows_max = 100001;
    assert_ok(place, eider_query_stream(place->db, &query, 0, &stream, &place->error));
    stream.release(&stream);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PLACE(test_schema_names_formats_of_all_types),
        WITH_PLACE(test_array_holds_the_values_and_nulls),
        WITH_PLACE(test_array_of_part_of_the_rows_begins_at_zero),
        WITH_PLACE(test_children_that_were_moved_live_on),
        WITH_PLACE(test_column_without_nulls_has_no_bitmap),
        WITH_PLACE(test_stream_gives_all_rows_and_outlives_the_handle),
        WITH_PLACE(test_stream_of_no_rows_has_a_schema),
        WITH_PLACE(test_stream_is_not_cut_without_a_word),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
