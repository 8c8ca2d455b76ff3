/*
 * A log directory of any bytes, as recovery may find it. The first byte is a set of choices; then
 * come files: number (1 byte), length (2, little-endian), bytes: 80 of the header, the rest behind
 * the header block. Sums can be made right again after mutation, so that what they guard is
 * reached.
 *
 * Invariants: wal_check and wal_open say the same; what opens reads to its end in order, takes
 * records, and after a restart holds the same and the new ones.
 */
#include "fuzz.h"

#include <assert.h>
#include <endian.h>
#include <string.h>

#include "wal/crc32c.h"
#include "wal/wal.h"
#include "wal/wal_format.h"
#include "wal/wal_memfs.h"

enum {
    SIGN_HEADERS = 1,
    SIGN_FRAMES = 2,
    FULL_LENGTH = 4,  /* zeros up to the length that a live segment has */
    RIGHT_NUMBER = 8, /* the header carries the number of the name */
    FILES_MAX = 12,
    HEADER_FIELDS_BYTES = 80,
    SEGMENT_BYTES = 16 << 10
};

static void
put_u32(uint8_t *dst, uint32_t value)
{
    value = htole32(value);
    memcpy(dst, &value, sizeof(value));
}

static uint32_t
get_u32(const uint8_t *src)
{
    uint32_t value;

    memcpy(&value, src, sizeof(value));
    return le32toh(value);
}

/* Gives every place that begins like a frame the sums that its bytes call for. */
static void
sign_frames(uint8_t *bytes, size_t len)
{
    static const uint8_t magic[4] = {'E', 'D', 'W', 'R'};
    const uint8_t *salt = bytes + 64;

    for (size_t at = WAL_HEADER_BYTES; at + WAL_FRAME_BYTES <= len; at += WAL_ALIGN) {
        uint8_t *frame = bytes + at;
        if (memcmp(frame, magic, sizeof(magic)) != 0) {
            continue;
        }
        uint32_t payload = get_u32(frame + 4);
        if (payload <= len - at - WAL_FRAME_BYTES) {
            put_u32(frame + 32, crc32c(0, frame + WAL_FRAME_BYTES, payload));
        }
        put_u32(frame + 36, crc32c(crc32c(0, salt, 8), frame, 36));
    }
}

static void
add_file(struct wal_memfs *fs, uint8_t choices, uint8_t number, const uint8_t *src, size_t len)
{
    static uint8_t bytes[WAL_HEADER_BYTES + UINT16_MAX + SEGMENT_BYTES];
    char name[WAL_NAME_LEN + 1];
    size_t used = len;

    memset(bytes, 0, sizeof(bytes));
    if (len <= HEADER_FIELDS_BYTES) {
        memcpy(bytes, src, len);
    } else {
        memcpy(bytes, src, HEADER_FIELDS_BYTES);
        memcpy(bytes + WAL_HEADER_BYTES, src + HEADER_FIELDS_BYTES, len - HEADER_FIELDS_BYTES);
        used = WAL_HEADER_BYTES + len - HEADER_FIELDS_BYTES;
    }
    if ((choices & FULL_LENGTH) && used < SEGMENT_BYTES) {
        uint64_t wanted = htole64(SEGMENT_BYTES);
        memcpy(bytes + 56, &wanted, sizeof(wanted));
        used = SEGMENT_BYTES;
    }
    if (choices & RIGHT_NUMBER) {
        uint64_t seq = htole64(number);
        memcpy(bytes + 16, &seq, sizeof(seq));
    }
    if (choices & SIGN_FRAMES) {
        sign_frames(bytes, used);
    }
    if ((choices & SIGN_HEADERS) && used >= WAL_HEADER_BYTES) {
        put_u32(bytes + WAL_HEADER_BYTES - 4, crc32c(0, bytes, WAL_HEADER_BYTES - 4));
    }
    wal_name_format(number, name);
    wal_memfs_put(fs, name, bytes, used);
}

static void
add_files(struct wal_memfs *fs, const uint8_t *data, size_t size)
{
    uint8_t choices = data[0];
    bool taken[UINT8_MAX + 1] = {false};
    size_t at = 1;

    for (int i = 0; i < FILES_MAX && size - at >= 3; i++) {
        uint8_t number = data[at];
        size_t len = (size_t)data[at + 1] | (size_t)data[at + 2] << 8;
        at += 3;
        len = len < size - at ? len : size - at;
        if (!taken[number]) {
            taken[number] = true;
            add_file(fs, choices, number, data + at, len);
        }
        at += len;
    }
}

/* Reads everything up to `last_lsn`; a sum over it, to compare with. */
static uint64_t
read_all(struct wal *wal, uint64_t last_lsn)
{
    struct wal_cursor *cursor;
    struct wal_record record;
    struct err err;
    uint64_t first_lsn = wal_first_lsn(wal);
    uint64_t before = first_lsn - 1;
    uint64_t sum = 0;
    enum err_code code = wal_cursor_open(wal, first_lsn, &cursor, &err);

    assert(code == ERR_OK);
    while (before < last_lsn) {
        code = wal_cursor_next(cursor, 0, &record, &err);
        if (code != ERR_OK || record.lsn > last_lsn) {
            break;
        }
        assert(record.lsn > before && record.lsn <= wal_durable_lsn(wal));
        assert((uintptr_t)record.payload.ptr % WAL_ALIGN == 0);
        before = record.lsn;
        sum = sum * 31 + record.lsn;
        sum = sum * 31 + crc32c(0, record.payload.ptr, record.payload.len);
    }
    assert(code == ERR_OK || code == ERR_TIMEOUT);
    wal_cursor_close(cursor);
    return sum;
}

static struct wal *
try_open(struct wal_memfs *fs, enum err_code wanted)
{
    struct wal_options options = {
        .dir = WAL_MEMFS_DIR, .segment_bytes = SEGMENT_BYTES, .sys = wal_memfs_sys(fs)};
    struct wal *wal = NULL;
    struct err err;

    enum err_code code = wal_open(&options, 1, &wal, &err);
    assert(code == wanted);
    return wal;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err;
    uint64_t lsn = 0;

    if (size < 1) {
        return 0;
    }
    struct wal_memfs *fs = wal_memfs_new(size);
    add_files(fs, data, size);
    enum err_code code = wal_check(WAL_MEMFS_DIR, wal_memfs_sys(fs), NULL, NULL, &err);
    struct wal *wal = try_open(fs, code);
    if (wal) {
        uint64_t last_lsn = wal_durable_lsn(wal);
        uint64_t sum = read_all(wal, last_lsn);
        code = wal_append(wal, 1, SLICE_LITERAL("new"), &lsn, &err);
        assert(code == ERR_OK && lsn == last_lsn + 1);
        wal_close(wal);
        wal = try_open(fs, ERR_OK);
        assert(wal_durable_lsn(wal) == lsn);
        assert(read_all(wal, last_lsn) == sum || wal_first_lsn(wal) == lsn);
        wal_close(wal);
    }
    assert(wal_memfs_open_count(fs) == 0);
    wal_memfs_free(fs);
    return 0;
}
