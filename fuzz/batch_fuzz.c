/*
 * Encoded batches as recovery reads them from the log, but without its checksum in front.
 * Invariants: nothing outside the record is read, and what was accepted encodes and decodes again.
 */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"
#include "catalog/batch.h"

/* Larger than any corpus needs; keeps what decoding may allocate (16 texts a byte) small. */
enum { INPUT_MAX = 1 << 16 };

static uint64_t
touch(const struct batch *batch)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < batch->column_count; i++) {
        for (size_t row = 0; row < batch->rows; row++) {
            struct slice text = batch_get_text(batch, i, row);
            sum += (uint64_t)batch_get_i64(batch, i, row);
            for (size_t at = 0; at < text.len; at++) {
                sum += (unsigned char)text.ptr[at];
            }
        }
    }
    return sum;
}

static void
check_again(const struct batch *batch)
{
    BUF_AUTO struct buf bytes;
    struct batch back;
    size_t used = 0;

    buf_init(&bytes, 0);
    batch_encode(batch, &bytes);
    enum err_code code = batch_decode(buf_slice(&bytes), &back, &used, NULL);
    assert(code == ERR_OK && used == bytes.len && back.rows == batch->rows);
    assert(touch(&back) == touch(batch));
    batch_fini(&back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    MEM_AUTO char *aligned = mem_alloc(size);
    struct batch batch;
    size_t used = 0;

    if (size > INPUT_MAX) {
        return 0;
    }
    if (size > 0) {
        memcpy(aligned, data, size);
    }
    for (size_t at = 0; at < size; at += used) {
        if (batch_decode(slice_make(aligned + at, size - at), &batch, &used, NULL) != ERR_OK) {
            break;
        }
        assert(used > 0 && used <= size - at && used % 8 == 0);
        touch(&batch);
        check_again(&batch);
        batch_fini(&batch);
    }
    return 0;
}
