/*
 * Redaction of any bytes as text, URL, header and JSON. Invariants: what was redacted once does not
 * change again; JSON stays JSON; a secret with a name of its own does not survive.
 */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "codec/json_read.h"
#include "meter/redact.h"

typedef void redact_fn(struct slice text, struct buf *out);

static void
check_twice(redact_fn *redact, struct slice text, bool json)
{
    BUF_AUTO struct buf once;
    BUF_AUTO struct buf twice;

    buf_init(&once, 0);
    buf_init(&twice, 0);
    redact(text, &once);
    redact(buf_slice(&once), &twice);
    assert(slice_eq(buf_slice(&once), buf_slice(&twice)));
    assert(!json || json_valid(buf_slice(&once)));
}

static void
redact_as_header(struct slice text, struct buf *out)
{
    redact_header(SLICE_LITERAL("X-Note"), text, out);
}

/* Puts a secret behind the input: whatever stands before must not hide it. */
static void
check_planted(struct slice text)
{
    static const char secret[] = "S3cr3tValueThatMustGo";
    BUF_AUTO struct buf input;
    BUF_AUTO struct buf out;

    buf_init(&input, 0);
    buf_init(&out, 0);
    if (memmem(text.ptr, text.len, secret, sizeof(secret) - 1)) {
        return; /* on its own it is no secret */
    }
    buf_add_slice(&input, text);
    buf_add_cstr(&input, "\napi_key=");
    buf_add_cstr(&input, secret);
    redact_text(buf_slice(&input), &out);
    assert(!memmem(out.ptr, out.len, secret, sizeof(secret) - 1));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_make(data, size);

    check_twice(redact_text, text, false);
    check_twice(redact_url, text, false);
    check_twice(redact_as_header, text, false);
    check_twice(redact_json, text, true);
    check_planted(text);
    return 0;
}
