/* Tests of the WebSocket frame decoder and of frames made here. */
#include "http/ws_frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/mem.h"

/* Appends a masked client frame; first is FIN, RSV and opcode. */
static void
add_frame(struct buf *to, unsigned first, struct slice payload)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};

    buf_add_char(to, (char)first);
    if (payload.len < 126) {
        buf_add_char(to, (char)(0x80 | payload.len));
    } else if (payload.len <= 0xffff) {
        buf_add_char(to, (char)(0x80 | 126));
        buf_add_char(to, (char)(payload.len >> 8));
        buf_add_char(to, (char)payload.len);
    } else {
        buf_add_char(to, (char)(0x80 | 127));
        for (int shift = 56; shift >= 0; shift -= 8) {
            buf_add_char(to, (char)(payload.len >> shift));
        }
    }
    buf_add(to, mask, 4);
    for (size_t i = 0; i < payload.len; i++) {
        buf_add_char(to, (char)(payload.ptr[i] ^ (char)mask[i & 3]));
    }
}

/* What came out, as text: "T:hello P:x C1000:bye B1002". Pieces are at most `step` bytes behind a
 * first one of `cut`. */
static void
decode(struct slice bytes, size_t cut, size_t step, struct buf *events)
{
    static const char letters[] = {[WS_EVENT_TEXT] = 'T',
                                   [WS_EVENT_PING] = 'P',
                                   [WS_EVENT_PONG] = 'O',
                                   [WS_EVENT_CLOSE] = 'C',
                                   [WS_EVENT_BAD] = 'B'};
    struct ws_decoder decoder;
    size_t at = 0;

    ws_decoder_init(&decoder);
    while (at < bytes.len) {
        size_t end = at < cut ? cut : at + step;
        struct slice piece = slice_sub(bytes, at, end - at);
        size_t used;
        struct slice payload;
        enum ws_event event = ws_decoder_take(&decoder, piece, &used, &payload);
        at += used;
        if (event == WS_EVENT_MORE) {
            assert_int_equal(used, piece.len);
            continue;
        }
        buf_add_fmt(events, "%s%c", events->len ? " " : "", letters[event]);
        if (event == WS_EVENT_CLOSE || event == WS_EVENT_BAD) {
            buf_add_fmt(events, "%u", decoder.code);
        }
        if (event != WS_EVENT_BAD) {
            buf_add_char(events, ':');
            buf_add_slice(events, payload);
        }
        ws_decoder_done(&decoder);
        if (event == WS_EVENT_BAD) {
            break;
        }
    }
    ws_decoder_fini(&decoder);
}

static void
assert_events(const struct buf *bytes, const char *expected)
{
    size_t step_max = bytes->len < 400 ? bytes->len : 400;

    for (size_t step = 1; step <= step_max; step += step < 8 ? 1 : 97) {
        BUF_AUTO struct buf events;
        buf_init(&events, 0);
        decode(buf_slice(bytes), 0, step, &events);
        if (!slice_is(buf_slice(&events), expected)) {
            fail_msg("step %zu: \"%.*s\" is not \"%s\"", step, SLICE_FMT(buf_slice(&events)),
                     expected);
        }
    }
    for (size_t cut = 1; cut <= step_max; cut++) {
        BUF_AUTO struct buf events;
        buf_init(&events, 0);
        decode(buf_slice(bytes), cut, bytes->len, &events);
        assert_true(slice_is(buf_slice(&events), expected));
    }
}

static void
test_decoder_unmasks_the_example_of_the_rfc(void **state)
{
    static const unsigned char hello[] = {0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d,
                                          0x7f, 0x9f, 0x4d, 0x51, 0x58};
    BUF_AUTO struct buf bytes;

    (void)state;
    buf_init(&bytes, 0);
    buf_add(&bytes, hello, sizeof(hello));
    assert_events(&bytes, "T:Hello");
}

static void
test_decoder_joins_fragments_around_control_frames(void **state)
{
    BUF_AUTO struct buf bytes;

    (void)state;
    buf_init(&bytes, 0);
    add_frame(&bytes, 0x01, SLICE_LITERAL("Hel"));
    add_frame(&bytes, 0x89, SLICE_LITERAL("ping"));
    add_frame(&bytes, 0x00, SLICE_LITERAL(""));
    add_frame(&bytes, 0x8a, SLICE_LITERAL(""));
    add_frame(&bytes, 0x80, SLICE_LITERAL("lo"));
    add_frame(&bytes, 0x81, SLICE_LITERAL(""));
    add_frame(&bytes, 0x81, SLICE_LITERAL("x"));
    add_frame(&bytes, 0x88,
              SLICE_LITERAL("\x03\xe8"
                            "bye"));
    assert_events(&bytes, "P:ping O: T:Hello T: T:x C1000:bye");
}

static void
test_decoder_joins_a_character_cut_by_a_fragment(void **state)
{
    BUF_AUTO struct buf bytes;

    (void)state;
    buf_init(&bytes, 0);
    add_frame(&bytes, 0x01, SLICE_LITERAL("\xe2\x82"));
    add_frame(&bytes, 0x80, SLICE_LITERAL("\xac"));
    assert_events(&bytes, "T:\xe2\x82\xac");
}

static void
test_decoder_takes_messages_up_to_the_limit(void **state)
{
    static const size_t sizes[] = {125, 126, 65535, 65536};

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        BUF_AUTO struct buf text;
        BUF_AUTO struct buf bytes;
        BUF_AUTO struct buf events;
        buf_init(&text, 0);
        buf_init(&bytes, 0);
        buf_init(&events, 0);
        for (size_t n = 0; n < sizes[i]; n++) {
            buf_add_char(&text, (char)('a' + n % 26));
        }
        add_frame(&bytes, 0x81, buf_slice(&text));
        decode(buf_slice(&bytes), 0, 1000, &events);
        assert_int_equal(events.len, sizes[i] + 2);
        assert_memory_equal(events.ptr + 2, text.ptr, sizes[i]);
    }
}

static void
test_decoder_refuses_what_is_too_big(void **state)
{
    BUF_AUTO struct buf text;
    BUF_AUTO struct buf one;
    BUF_AUTO struct buf many;

    (void)state;
    buf_init(&text, 0);
    buf_init(&one, 0);
    buf_init(&many, 0);
    for (size_t n = 0; n < WS_MESSAGE_MAX_BYTES + 1; n++) {
        buf_add_char(&text, 'a');
    }
    add_frame(&one, 0x81, buf_slice(&text));
    assert_events(&one, "B1009");
    add_frame(&many, 0x01, slice_sub(buf_slice(&text), 0, WS_MESSAGE_MAX_BYTES));
    add_frame(&many, 0x00, SLICE_LITERAL(""));
    add_frame(&many, 0x80, SLICE_LITERAL("a"));
    BUF_AUTO struct buf events;
    buf_init(&events, 0);
    decode(buf_slice(&many), 0, 5000, &events);
    assert_true(slice_is(buf_slice(&events), "B1009"));
}

struct bad {
    const char *bytes;
    size_t len;
    const char *events;
};

#define BAD(text, events)                                                                          \
    {                                                                                              \
        text, sizeof(text) - 1, events                                                             \
    }

static const struct bad bads[] = {
    BAD("\x81\x05Hello", "B1002"),    /* not masked */
    BAD("\x81\x00", "B1002"),         /* not masked, empty */
    BAD("\xc1\x80\0\0\0\0", "B1002"), /* RSV1 */
    BAD("\xa1\x80\0\0\0\0", "B1002"), /* RSV2 */
    BAD("\x91\x80\0\0\0\0", "B1002"), /* RSV3 */
    BAD("\x83\x80\0\0\0\0", "B1002"), /* reserved opcodes */
    BAD("\x8b\x80\0\0\0\0", "B1002"),
    BAD("\x82\x80\0\0\0\0", "B1003"),                 /* binary */
    BAD("\x80\x80\0\0\0\0", "B1002"),                 /* continuation of nothing */
    BAD("\x01\x80\0\0\0\0\x81\x80\0\0\0\0", "B1002"), /* text within fragments */
    BAD("\x01\x80\0\0\0\0\x82\x80\0\0\0\0", "B1002"), /* binary within fragments */
    BAD("\x09\x80\0\0\0\0", "B1002"),                 /* control frame in fragments */
    BAD("\x89\xfe\0\x7e\0\0\0\0", "B1002"),           /* control frame of 126 bytes */
    BAD("\x81\xfe\0\x7d\0\0\0\0", "B1002"),           /* length not in its shortest form */
    BAD("\x81\xff\0\0\0\0\0\0\xff\xff\0\0\0\0", "B1002"),
    BAD("\x81\xff\x80\0\0\0\0\0\0\0\0\0\0\0", "B1002"), /* length with its top bit */
    BAD("\x81\xff\x7f\0\0\0\0\0\0\0\0\0\0\0", "B1009"),
    BAD("\x81\x81\0\0\0\0\xff", "B1007"), /* not UTF-8 */
    BAD("\x81\x82\0\0\0\0\xc0\x80", "B1007"),
    BAD("\x81\x83\0\0\0\0\xed\xa0\x80", "B1007"),
    BAD("\x88\x81\0\0\0\0\x03", "B1002"),         /* half a close code */
    BAD("\x88\x82\0\0\0\0\x03\xe7", "B1002"),     /* 999 */
    BAD("\x88\x82\0\0\0\0\x03\xed", "B1002"),     /* 1005 never travels */
    BAD("\x88\x82\0\0\0\0\x07\xd0", "B1002"),     /* 2000 */
    BAD("\x88\x82\0\0\0\0\x13\x88", "B1002"),     /* 5000 */
    BAD("\x88\x83\0\0\0\0\x03\xe8\xff", "B1007"), /* reason not UTF-8 */
};

static void
test_decoder_refuses_what_is_not_strictly_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        BUF_AUTO struct buf bytes;
        buf_init(&bytes, 0);
        buf_add(&bytes, bads[i].bytes, bads[i].len);
        assert_events(&bytes, bads[i].events);
    }
}

static void
test_decoder_knows_close_frames(void **state)
{
    BUF_AUTO struct buf bytes;

    (void)state;
    buf_init(&bytes, 0);
    add_frame(&bytes, 0x88, SLICE_LITERAL(""));
    add_frame(&bytes, 0x88, SLICE_LITERAL("\x03\xe9"));
    add_frame(&bytes, 0x88, SLICE_LITERAL("\x0f\xa0own"));
    assert_events(&bytes, "C1005: C1001: C4000:own");
}

static void
test_decoder_stays_bad(void **state)
{
    struct ws_decoder decoder;
    struct slice payload;
    size_t used;

    (void)state;
    ws_decoder_init(&decoder);
    assert_int_equal(ws_decoder_take(&decoder, SLICE_LITERAL("\x81\x01"), &used, &payload),
                     WS_EVENT_BAD);
    ws_decoder_done(&decoder);
    assert_int_equal(ws_decoder_take(&decoder, SLICE_LITERAL("\x81\x80\1\2\3\4"), &used, &payload),
                     WS_EVENT_BAD);
    assert_int_equal(used, 0);
    ws_decoder_fini(&decoder);
}

static void
test_decoder_holds_no_memory_between_messages(void **state)
{
    struct ws_decoder decoder;
    struct slice payload;
    size_t used;

    (void)state;
    ws_decoder_init(&decoder);
    assert_int_equal(ws_decoder_take(&decoder, SLICE_LITERAL("\x81\x81\0\0\0\0a"), &used, &payload),
                     WS_EVENT_TEXT);
    ws_decoder_done(&decoder);
    assert_null(decoder.buf.ptr);
    ws_decoder_fini(&decoder);
}

static void
assert_frame(struct ws_frame *frame, struct slice head, size_t len)
{
    assert_int_equal(frame->len, len);
    assert_memory_equal(frame->bytes, head.ptr, head.len);
    ws_frame_unref(frame);
}

static void
test_frames_have_the_shortest_length(void **state)
{
    char *text = mem_zalloc(1, 70000);

    (void)state;
    assert_frame(ws_frame_text(SLICE_LITERAL("Hello")), SLICE_LITERAL("\x81\x05Hello"), 7);
    assert_frame(ws_frame_text(slice_make(text, 125)), SLICE_LITERAL("\x81\x7d"), 127);
    assert_frame(ws_frame_text(slice_make(text, 126)), SLICE_LITERAL("\x81\x7e\0\x7e"), 130);
    assert_frame(ws_frame_text(slice_make(text, 65535)), SLICE_LITERAL("\x81\x7e\xff\xff"), 65539);
    assert_frame(ws_frame_text(slice_make(text, 65536)), SLICE_LITERAL("\x81\x7f\0\0\0\0\0\1\0\0"),
                 65546);
    mem_cleanup(&text);
}

static void
test_close_frames_carry_code_and_reason(void **state)
{
    char reason[200];

    (void)state;
    memset(reason, 'r', sizeof(reason));
    assert_frame(ws_frame_close(1008, SLICE_LITERAL("full")),
                 SLICE_LITERAL("\x88\x06\x03\xf0"
                               "full"),
                 8);
    assert_frame(ws_frame_close(WS_CODE_NONE, SLICE_LITERAL("")), SLICE_LITERAL("\x88\x00"), 2);
    assert_frame(ws_frame_close(1000, slice_make(reason, sizeof(reason))),
                 SLICE_LITERAL("\x88\x7d\x03\xe8rr"), 127);
}

static void
test_frames_live_until_the_last_reference_goes(void **state)
{
    struct ws_frame *frame = ws_frame_text(SLICE_LITERAL("x"));

    (void)state;
    assert_ptr_equal(ws_frame_ref(frame), frame);
    ws_frame_unref(frame);
    assert_int_equal(frame->len, 3);
    ws_frame_unref(frame);
    ws_frame_unref(NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decoder_unmasks_the_example_of_the_rfc),
        cmocka_unit_test(test_decoder_joins_fragments_around_control_frames),
        cmocka_unit_test(test_decoder_joins_a_character_cut_by_a_fragment),
        cmocka_unit_test(test_decoder_takes_messages_up_to_the_limit),
        cmocka_unit_test(test_decoder_refuses_what_is_too_big),
        cmocka_unit_test(test_decoder_refuses_what_is_not_strictly_right),
        cmocka_unit_test(test_decoder_knows_close_frames),
        cmocka_unit_test(test_decoder_stays_bad),
        cmocka_unit_test(test_decoder_holds_no_memory_between_messages),
        cmocka_unit_test(test_frames_have_the_shortest_length),
        cmocka_unit_test(test_close_frames_carry_code_and_reason),
        cmocka_unit_test(test_frames_live_until_the_last_reference_goes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
