/* Tests of line protocol: every type and form, errors by line, cut at every offset. */
#include "codec/line_protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/mem.h"
#include "codec/number.h"

enum { ARENA_BYTES = 1 << 20 };

static void
describe_field(struct buf *out, const struct line_field *field, struct arena *arena)
{
    char number[NUMBER_F64_MAX];

    buf_add_slice(out,
                  field->key_escaped ? line_unescape(field->key, LINE_NAME, arena) : field->key);
    switch (field->type) {
    case LINE_FLOAT:
        number_format_f64(field->f64, number);
        buf_add_fmt(out, "=%s", number);
        break;
    case LINE_INT:
        buf_add_fmt(out, "=%lldi", (long long)field->i64);
        break;
    case LINE_UINT:
        buf_add_fmt(out, "=%lluu", (unsigned long long)field->u64);
        break;
    case LINE_BOOL:
        buf_add_fmt(out, "=%s", field->boolean ? "true" : "false");
        break;
    case LINE_STRING: {
        struct slice text =
            field->text_escaped ? line_unescape(field->text, LINE_TEXT, arena) : field->text;
        buf_add_fmt(out, "='%.*s'", SLICE_FMT(text));
        break;
    }
    }
}

/* Reads all of a text into one string: key{fields}timestamp per point, !line per error. */
static void
describe(struct slice text, struct buf *out)
{
    ARENA_AUTO struct arena arena;
    struct line_reader reader;
    struct line_point point;
    enum line_result result;

    arena_init(&arena, ARENA_BYTES);
    line_init(&reader, text);
    while ((result = line_next(&reader, &point)) != LINE_END) {
        if (result == LINE_BAD) {
            buf_add_fmt(out, "!%llu ", (unsigned long long)reader.error_line);
            continue;
        }
        buf_add_slice(out, point.key);
        for (size_t i = 0; i < point.field_count; i++) {
            buf_add_char(out, i == 0 ? '{' : ',');
            describe_field(out, &point.fields[i], &arena);
        }
        buf_add_char(out, '}');
        if (point.has_timestamp) {
            buf_add_i64(out, point.timestamp);
        }
        buf_add_fmt(out, "@%llu ", (unsigned long long)point.line);
    }
    line_fini(&reader);
}

static void
check(const char *text, const char *expected)
{
    BUF_AUTO struct buf out;
    size_t len = strlen(text);
    MEM_AUTO char *copy = mem_alloc(len);

    memcpy(copy, text, len);
    buf_init(&out, 0);
    describe(slice_make(copy, len), &out);
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, expected);
}

static void
test_line_reads_every_type_of_field(void **state)
{
    (void)state;
    check("cpu,host=h1,region=eu value=1.25 1700000000000000000",
          "cpu,host=h1,region=eu{value=1.25}1700000000000000000@1 ");
    check("m a=1,b=-2.5e3,c=.5,d=5.,e=1e-7", "m{a=1.0,b=-2500.0,c=0.5,d=5.0,e=1e-07}@1 ");
    check("m a=1i,b=-9223372036854775808i,c=18446744073709551615u,d=0u",
          "m{a=1i,b=-9223372036854775808i,c=18446744073709551615u,d=0u}@1 ");
    check("m a=t,b=T,c=true,d=True,e=TRUE", "m{a=true,b=true,c=true,d=true,e=true}@1 ");
    check("m a=f,b=F,c=false,d=False,e=FALSE", "m{a=false,b=false,c=false,d=false,e=false}@1 ");
    check("m s=\"text\",e=\"\",q=\"a \\\"b\\\", \\\\c=d\\n\" -5",
          "m{s='text',e='',q='a \"b\", \\c=d\\n'}-5@1 ");
}

static void
test_line_takes_blanks_comments_and_both_newlines(void **state)
{
    (void)state;
    check("", "");
    check("\n\r\n  \n# comment\n#", "");
    check("# m v=1\n  m v=1\r\n\tn v=2 \nm  v=3   5  \r\n", "m{v=1.0}@2 n{v=2.0}@3 m{v=3.0}5@4 ");
    check("m s=\"two\nlines\" 1\nn v=1", "m{s='two\nlines'}1@1 n{v=1.0}@3 ");
}

static void
test_line_leaves_escapes_of_the_key_alone(void **state)
{
    (void)state;
    check("my\\ cpu,ho\\,st=a\\ b\\=c v=1", "my\\ cpu,ho\\,st=a\\ b\\=c{v=1.0}@1 ");
    check("m a\\ b=1,c\\,d=2,e\\=f=3", "m{a b=1.0,c,d=2.0,e=f=3.0}@1 ");
    check("a\\\\b,t=c\\ v=1", "!1 ");
    check("m,longer=tag\\ with\\ blanks,and=another v=1",
          "m,longer=tag\\ with\\ blanks,and=another{v=1.0}@1 ");
}

static void
test_line_errors_cost_one_line_each(void **state)
{
    static const char *const wrong[] = {"m",
                                        "m ",
                                        "m v",
                                        "m v=",
                                        "m =1",
                                        "m v=1,",
                                        "m v=1,=2",
                                        "m v=1 x",
                                        "m v=1 1 2",
                                        "m v=1 1.5",
                                        "m v=1x",
                                        "m v=1iu",
                                        "m v=1.0i",
                                        "m v=1e3i",
                                        "m v=-1u",
                                        "m v=9223372036854775808i",
                                        "m v=18446744073709551616u",
                                        "m v=1e400",
                                        "m v=nan",
                                        "m v=+1",
                                        "m v=tru",
                                        "m v=\"a",
                                        "m v=\"a\"b",
                                        "m v=1 9223372036854775808",
                                        "m v=1 -",
                                        ",a=b v=1",
                                        "m v=1\tx",
                                        "m v=1\rx",
                                        "m v w=1",
                                        "m v=1, w=2",
                                        "m\tv=1",
                                        "m v=--1",
                                        "m v=1;"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        BUF_AUTO struct buf text;
        buf_init(&text, 0);
        check(wrong[i], "!1 ");
        /* An open string runs on over the lines behind it, up to the next quote. */
        buf_add_fmt(&text, "a v=1\n%s\r\nb v=2\n%c", wrong[i], '\0');
        check(text.ptr, "a{v=1.0}@1 !2 b{v=2.0}@3 ");
    }
}

static void
test_line_error_names_line_expectation_and_finding(void **state)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        {"m v=1\nm v=abc",
         "line 2: expected a field value: 1.5, 1i, 1u, \"text\", true or false, found \"abc\""},
        {"m v=1 12:30\n",
         "line 1: expected a timestamp: an integer that fits 64 bits, found \"12:30\""},
        {"m\n", "line 1: expected a field: key=value, found the end of the line"},
        {"m v=1.5i", "line 1: expected digits only before 'i', found \"1.5i\""},
        {"m value 1", "line 1: expected '=' behind the field's key, found \" 1\""},
        {"m v=0123456789x0123456789012345678901234567890123456789",
         "line 1: expected ',', a blank or the end of the line behind a field, found "
         "\"x012345678901234567890123456789012345678\""}};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct line_reader reader;
        struct line_point point;
        struct err err = {0};
        enum line_result result;
        line_init(&reader, slice_of(cases[i].text));
        do {
            result = line_next(&reader, &point);
        } while (result == LINE_POINT);
        assert_int_equal(result, LINE_BAD);
        assert_int_equal(line_error(&reader, &err), ERR_SYNTAX);
        assert_string_equal(err.msg, cases[i].message);
        line_fini(&reader);
    }
}

static void
test_line_bounds_fields_and_keys(void **state)
{
    BUF_AUTO struct buf text;
    struct line_reader reader;
    struct line_point point;

    (void)state;
    buf_init(&text, 0);
    buf_add_cstr(&text, "m ");
    for (int i = 0; i < LINE_FIELDS_MAX; i++) {
        buf_add_fmt(&text, "%sf%d=1", i ? "," : "", i);
    }
    size_t whole = text.len;
    buf_add_cstr(&text, ",more=1\nn v=1");
    line_init(&reader, slice_sub(buf_slice(&text), 0, whole));
    assert_int_equal(line_next(&reader, &point), LINE_POINT);
    assert_int_equal(point.field_count, LINE_FIELDS_MAX);
    line_reset(&reader, buf_slice(&text));
    assert_int_equal(line_next(&reader, &point), LINE_BAD);
    assert_int_equal(line_next(&reader, &point), LINE_POINT);

    buf_reset(&text);
    for (int i = 0; i <= LINE_KEY_MAX; i++) {
        buf_add_char(&text, 'k');
    }
    buf_add_cstr(&text, " v=1");
    line_reset(&reader, buf_slice(&text));
    assert_int_equal(line_next(&reader, &point), LINE_BAD);
    line_reset(&reader, slice_sub(buf_slice(&text), 1, text.len));
    assert_int_equal(line_next(&reader, &point), LINE_POINT);
    line_fini(&reader);
}

static void
test_line_tags_walk_in_order(void **state)
{
    ARENA_AUTO struct arena arena;
    struct line_tags tags;
    struct line_tag tag;

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    line_tags_init(&tags, SLICE_LITERAL("my\\ cpu\\,x,host=h1,a\\=b=c\\ d"));
    assert_true(tags.measurement_escaped);
    assert_true(slice_is(line_unescape(tags.measurement, LINE_MEASUREMENT, &arena), "my cpu,x"));
    assert_true(line_tags_next(&tags, &tag));
    assert_true(slice_is(tag.key, "host") && slice_is(tag.value, "h1") && !tag.escaped);
    assert_true(line_tags_next(&tags, &tag));
    assert_true(tag.escaped);
    assert_true(slice_is(line_unescape(tag.key, LINE_NAME, &arena), "a=b"));
    assert_true(slice_is(line_unescape(tag.value, LINE_NAME, &arena), "c d"));
    assert_false(line_tags_next(&tags, &tag));
    assert_null(tags.expected);
}

static void
test_line_key_check_refuses_what_is_no_series(void **state)
{
    static const char *const wrong[] = {
        ",a=b",     "m,",      "m,a",       "m,a=",     "m,=b",     "m,a=b,",
        "m,a=b,,c", "m,a=b=c", "m\x01,a=b", "m,a=\xff", "m,a=b\tc", "\x7f"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        assert_non_null(line_key_check(slice_of(wrong[i])));
    }
    assert_non_null(line_key_check(slice_make("m\0", 2)));
    assert_non_null(line_key_check(slice_make("m,a\0=b", 6)));
    assert_null(line_key_check(slice_of("m")));
    assert_null(line_key_check(slice_of("m,a=b")));
    assert_null(line_key_check(slice_of("Z\xc3\xbcrich,a\\=b=c\\=d,e=\\ ")));
}

static void
test_line_fields_become_scalars_and_doubles(void **state)
{
    ARENA_AUTO struct arena arena;
    struct line_reader reader;
    struct line_point point;
    struct scalar value;
    int64_t whole = 0;

    (void)state;
    arena_init(&arena, ARENA_BYTES);
    line_init(&reader, SLICE_LITERAL("m a=1.5,b=-7i,c=8u,d=t,e=\"q\\\"\",f=\"p\""));
    assert_int_equal(line_next(&reader, &point), LINE_POINT);
    line_field_scalar(&point.fields[0], &arena, &value);
    assert_int_equal(value.type, SCALAR_NUMBER);
    assert_true(slice_is(value.text, "1.5"));
    line_field_scalar(&point.fields[1], &arena, &value);
    assert_true(number_to_i64(&value.number, &whole) && whole == -7);
    line_field_scalar(&point.fields[2], &arena, &value);
    assert_true(number_to_i64(&value.number, &whole) && whole == 8);
    line_field_scalar(&point.fields[3], &arena, &value);
    assert_true(value.type == SCALAR_BOOL && value.boolean);
    line_field_scalar(&point.fields[4], &arena, &value);
    assert_true(value.type == SCALAR_STRING && slice_is(value.text, "q\""));
    line_field_scalar(&point.fields[5], &arena, &value);
    assert_true(value.type == SCALAR_STRING && slice_is(value.text, "p"));
    assert_true(line_field_f64(&point.fields[0]) > 1.4);
    assert_true(line_field_f64(&point.fields[1]) < -6.9);
    assert_true(line_field_f64(&point.fields[2]) > 7.9);
    assert_true(line_field_f64(&point.fields[3]) > 0.9);
    assert_true(line_field_f64(&point.fields[4]) < 0.1);
    line_fini(&reader);
}

static const char lines[] = "cpu,host=h1,re\\ gion=eu value=1.25,n=4i 1700000000000000000\r\n"
                            "# a comment in between\n"
                            "trade,symbol=AAPL side=\"b\\\"uy\nx\",ok=true,u=7u\n"
                            "m v=-0.5e-3  -12 \n";

static void
test_line_cut_at_any_offset_gives_the_same_front(void **state)
{
    BUF_AUTO struct buf whole;

    (void)state;
    buf_init(&whole, 0);
    describe(slice_of(lines), &whole);
    assert_null(memchr(whole.ptr, '!', whole.len));
    for (size_t cut = 0; cut < sizeof(lines) - 1; cut++) {
        MEM_AUTO char *copy = mem_alloc(cut);
        BUF_AUTO struct buf out;
        buf_init(&out, 0);
        memcpy(copy, lines, cut);
        describe(slice_make(copy, cut), &out);
        size_t last = out.len > 1 ? out.len - 1 : 0;
        while (last > 0 && out.ptr[last - 1] != ' ') {
            last--;
        }
        /* All but the last answer, which may have been cut, are those of the whole; so are those
         * before an error, as a string cut open is looked for line by line. */
        const char *bad = memchr(buf_slice(&out).ptr, '!', out.len);
        if (bad && (size_t)(bad - out.ptr) < last) {
            last = (size_t)(bad - out.ptr);
        }
        assert_true(last <= whole.len);
        assert_memory_equal(buf_slice(&out).ptr, whole.ptr, last);
    }
}

static void
test_line_random_damage_never_reads_outside(void **state)
{
    MEM_AUTO char *copy = mem_alloc(sizeof(lines) - 1);
    struct rng rng;

    (void)state;
    rng_init(&rng, 51);
    for (int i = 0; i < 50000; i++) {
        BUF_AUTO struct buf out;
        buf_init(&out, 0);
        memcpy(copy, lines, sizeof(lines) - 1);
        for (uint64_t n = rng_below(&rng, 4) + 1; n > 0; n--) {
            static const char likely[] = " ,=\"\\\n\r#iu.-e0\x80\xff";
            copy[rng_below(&rng, sizeof(lines) - 1)] = likely[rng_below(&rng, sizeof(likely))];
        }
        describe(slice_make(copy, sizeof(lines) - 1), &out);
        assert_false(out.overflow);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_reads_every_type_of_field),
        cmocka_unit_test(test_line_takes_blanks_comments_and_both_newlines),
        cmocka_unit_test(test_line_leaves_escapes_of_the_key_alone),
        cmocka_unit_test(test_line_errors_cost_one_line_each),
        cmocka_unit_test(test_line_error_names_line_expectation_and_finding),
        cmocka_unit_test(test_line_bounds_fields_and_keys),
        cmocka_unit_test(test_line_tags_walk_in_order),
        cmocka_unit_test(test_line_key_check_refuses_what_is_no_series),
        cmocka_unit_test(test_line_fields_become_scalars_and_doubles),
        cmocka_unit_test(test_line_cut_at_any_offset_gives_the_same_front),
        cmocka_unit_test(test_line_random_damage_never_reads_outside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
