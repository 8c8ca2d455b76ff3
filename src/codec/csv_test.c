/* Tests of CSV: RFC 4180 and what is accepted beyond it, there and back, cut at every offset. */
#include "codec/csv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"

enum { ARENA_BYTES = 1 << 20 };

/* All records as text: fields in [] when quoted, in () when not; !line for an error. */
static void
describe(struct slice text, char delimiter, struct buf *out)
{
    ARENA_AUTO struct arena arena;
    struct csv_reader csv;
    struct csv_record record;
    bool more = true;

    arena_init(&arena, ARENA_BYTES);
    csv_init(&csv, text, delimiter, &arena);
    for (;;) {
        struct err err = {0};
        if (csv_next(&csv, &record, &more, &err) != ERR_OK) {
            buf_add_fmt(out, "!%s ", err.msg);
            continue;
        }
        if (!more) {
            break;
        }
        for (size_t i = 0; i < record.field_count; i++) {
            const struct csv_field *field = &record.fields[i];
            buf_add_fmt(out, field->quoted ? "[%.*s]" : "(%.*s)", SLICE_FMT(field->text));
        }
        buf_add_fmt(out, "@%llu ", (unsigned long long)record.line);
    }
    assert_int_equal(csv_offset(&csv), text.len);
    csv_fini(&csv);
}

static void
check(const char *text, char delimiter, const char *expected)
{
    BUF_AUTO struct buf out;
    size_t len = strlen(text);
    MEM_AUTO char *copy = mem_alloc(len);

    memcpy(copy, text, len);
    buf_init(&out, 0);
    describe(slice_make(copy, len), delimiter, &out);
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, expected);
}

static void
test_csv_reads_records_of_rfc_4180(void **state)
{
    (void)state;
    check("", 0, "");
    check("a,b\r\nc,d\r\n", 0, "(a)(b)@1 (c)(d)@2 ");
    check("a,b\nc,d", 0, "(a)(b)@1 (c)(d)@2 ");
    check("\"a\",\"b,\"\"c\"\"\n d\",e\r\nf", 0, "[a][b,\"c\"\n d](e)@1 (f)@3 ");
    check(",\r\n\"\",\r\n", 0, "()()@1 []()@2 ");
    check("\xef\xbb\xbf"
          "a,b\n\n\r\nc\n",
          0, "(a)(b)@1 (c)@4 ");
    check("a;b,c\td", ';', "(a)(b,c\td)@1 ");
    check("a\tb\n", '\t', "(a)(b)@1 ");
    check("a b\"c,d\"\n", 0, "(a b\"c)(d\")@1 ");
    check("\"\"\"\"\n", 0, "[\"]@1 ");
}

static void
test_csv_errors_cost_one_line(void **state)
{
    (void)state;
    check("a\n\"b\"c,d\ne\n", 0,
          "(a)@1 !line 2: expected a delimiter behind the closing '\"' (e)@3 ");
    check("a\n\"b,c\ne\n", 0, "(a)@1 !line 2: expected a closing '\"' (e)@3 ");
}

static void
test_csv_bounds_fields_and_arena(void **state)
{
    ARENA_AUTO struct arena arena;
    BUF_AUTO struct buf text;
    struct csv_reader csv;
    struct csv_record record;
    bool more = false;

    (void)state;
    buf_init(&text, 0);
    for (int i = 0; i < CSV_FIELDS_MAX; i++) {
        buf_add_char(&text, ',');
    }
    buf_add_cstr(&text, "\n\"a\"\"b\"\nc\n");
    arena_init(&arena, 1);
    csv_init(&csv, buf_slice(&text), 0, &arena);
    assert_int_equal(csv_next(&csv, &record, &more, NULL), ERR_TOO_LARGE);
    assert_int_equal(csv_next(&csv, &record, &more, NULL), ERR_TOO_LARGE);
    assert_int_equal(csv_next(&csv, &record, &more, NULL), ERR_OK);
    assert_true(more && slice_is(record.fields[0].text, "c"));
    csv_fini(&csv);

    csv_init(&csv, slice_sub(buf_slice(&text), 1, CSV_FIELDS_MAX), 0, &arena);
    assert_int_equal(csv_next(&csv, &record, &more, NULL), ERR_OK);
    assert_int_equal(record.field_count, CSV_FIELDS_MAX);
    csv_fini(&csv);
}

static void
test_csv_written_reads_back(void **state)
{
    struct rng rng;

    (void)state;
    rng_init(&rng, 71);
    for (int round = 0; round < 5000; round++) {
        ARENA_AUTO struct arena arena;
        BUF_AUTO struct buf text;
        struct csv_reader csv;
        struct csv_record record;
        char fields[3][8];
        size_t lens[3];
        bool more = false;
        char delimiter = round % 2 ? ',' : ';';
        buf_init(&text, 0);
        arena_init(&arena, ARENA_BYTES);
        for (int i = 0; i < 3; i++) {
            lens[i] = rng_below(&rng, sizeof(fields[i]) + 1);
            for (size_t at = 0; at < lens[i]; at++) {
                fields[i][at] = ",;\"\r\nab \xff"[rng_below(&rng, 9)];
            }
            if (i > 0) {
                buf_add_char(&text, delimiter);
            }
            /* An empty first field alone would be an empty line. */
            csv_write_field(&text, slice_make(fields[i], lens[i]), delimiter, i == 0);
        }
        csv_write_end(&text);
        csv_init(&csv, buf_slice(&text), delimiter, &arena);
        assert_int_equal(csv_next(&csv, &record, &more, NULL), ERR_OK);
        assert_true(more);
        assert_int_equal(record.field_count, 3);
        for (int i = 0; i < 3; i++) {
            assert_true(slice_eq(record.fields[i].text, slice_make(fields[i], lens[i])));
        }
        assert_int_equal(csv_next(&csv, &record, &more, NULL), ERR_OK);
        assert_false(more);
        csv_fini(&csv);
    }
}

static void
test_csv_cut_at_any_offset_ends(void **state)
{
    static const char text[] = "a,\"b\"\"c\",d\r\n\"multi\nline\",,\"\"\r\ne,f,g\r\n";

    (void)state;
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        MEM_AUTO char *copy = mem_alloc(cut);
        BUF_AUTO struct buf out;
        buf_init(&out, 0);
        memcpy(copy, text, cut);
        describe(slice_make(copy, cut), ',', &out);
        if (cut > 12) {
            assert_memory_equal(out.ptr, "(a)[b\"c](d)@1 ", 14);
        }
    }
}

static void
test_csv_guesses_the_delimiter(void **state)
{
    (void)state;
    assert_int_equal(csv_guess_delimiter(slice_of("a,b,c\n")), ',');
    assert_int_equal(csv_guess_delimiter(slice_of("a;b;c,d\n1,2,3,4,5")), ';');
    assert_int_equal(csv_guess_delimiter(slice_of("\"a,b,c,d\"\te\n")), '\t');
    assert_int_equal(csv_guess_delimiter(slice_of("a|b")), '|');
    assert_int_equal(csv_guess_delimiter(slice_of("alone")), ',');
    assert_int_equal(csv_guess_delimiter(slice_of("")), ',');
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_csv_reads_records_of_rfc_4180),
        cmocka_unit_test(test_csv_errors_cost_one_line),
        cmocka_unit_test(test_csv_bounds_fields_and_arena),
        cmocka_unit_test(test_csv_written_reads_back),
        cmocka_unit_test(test_csv_cut_at_any_offset_ends),
        cmocka_unit_test(test_csv_guesses_the_delimiter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
