/* Encodes and decodes what wal_format.h declares. */
#include "wal/wal_format.h"

#include <assert.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

#include "wal/crc32c.h"
#include "wal/wal.h"

enum {
    HEADER_MAGIC_LEN = 8,
    HEADER_CRC_AT = WAL_HEADER_BYTES - 4,
    FRAME_CRC_AT = WAL_FRAME_BYTES - 4,
    NAME_DIGITS = 16
};

static const char header_magic[HEADER_MAGIC_LEN + 1] = "EIDERWAL";
static const uint32_t frame_magic = 0x52574445U; /* "EDWR" */

static void
put_u16(uint8_t *dst, uint16_t value)
{
    value = htole16(value);
    memcpy(dst, &value, sizeof(value));
}

static void
put_u32(uint8_t *dst, uint32_t value)
{
    value = htole32(value);
    memcpy(dst, &value, sizeof(value));
}

static void
put_u64(uint8_t *dst, uint64_t value)
{
    value = htole64(value);
    memcpy(dst, &value, sizeof(value));
}

static uint16_t
get_u16(const uint8_t *src)
{
    uint16_t value;

    memcpy(&value, src, sizeof(value));
    return le16toh(value);
}

static uint32_t
get_u32(const uint8_t *src)
{
    uint32_t value;

    memcpy(&value, src, sizeof(value));
    return le32toh(value);
}

static uint64_t
get_u64(const uint8_t *src)
{
    uint64_t value;

    memcpy(&value, src, sizeof(value));
    return le64toh(value);
}

void
wal_header_encode(const struct wal_header *header, uint8_t dst[WAL_HEADER_BYTES])
{
    memset(dst, 0, WAL_HEADER_BYTES);
    memcpy(dst, header_magic, HEADER_MAGIC_LEN);
    put_u32(dst + 8, WAL_FORMAT_VERSION);
    put_u32(dst + 12, WAL_HEADER_BYTES);
    put_u64(dst + 16, header->seq);
    put_u64(dst + 24, header->first_lsn);
    put_u64(dst + 32, header->prev_seq);
    put_u64(dst + 40, header->prev_end);
    put_u64(dst + 48, header->prev_last_lsn);
    put_u64(dst + 56, header->segment_bytes);
    put_u64(dst + 64, header->salt);
    put_u64(dst + 72, (uint64_t)header->wall_us);
    put_u32(dst + HEADER_CRC_AT, crc32c(0, dst, HEADER_CRC_AT));
}

enum wal_header_state
wal_header_decode(const uint8_t src[WAL_HEADER_BYTES], struct wal_header *ret_header)
{
    if (memcmp(src, header_magic, HEADER_MAGIC_LEN) != 0 ||
        get_u32(src + HEADER_CRC_AT) != crc32c(0, src, HEADER_CRC_AT)) {
        return WAL_HEADER_INVALID;
    }
    if (get_u32(src + 8) != WAL_FORMAT_VERSION || get_u32(src + 12) != WAL_HEADER_BYTES) {
        return WAL_HEADER_NEWER;
    }
    *ret_header = (struct wal_header){
        .seq = get_u64(src + 16),
        .first_lsn = get_u64(src + 24),
        .prev_seq = get_u64(src + 32),
        .prev_end = get_u64(src + 40),
        .prev_last_lsn = get_u64(src + 48),
        .segment_bytes = get_u64(src + 56),
        .salt = get_u64(src + 64),
        .wall_us = (int64_t)get_u64(src + 72),
    };
    return WAL_HEADER_VALID;
}

/* The salt keeps bytes of other segments, and payloads that imitate frames, from passing. */
static uint32_t
frame_sum(const uint8_t *src, uint64_t salt)
{
    uint8_t seed[8];

    put_u64(seed, salt);
    return crc32c(crc32c(0, seed, sizeof(seed)), src, FRAME_CRC_AT);
}

void
wal_frame_encode(const struct wal_frame *frame, uint64_t salt, uint8_t dst[WAL_FRAME_BYTES])
{
    put_u32(dst, frame_magic);
    put_u32(dst + 4, frame->payload_bytes);
    put_u64(dst + 8, frame->lsn);
    put_u64(dst + 16, (uint64_t)frame->wall_us);
    put_u32(dst + 24, frame->ahead);
    put_u16(dst + 28, frame->type);
    put_u16(dst + 30, (uint16_t)frame->kind);
    put_u32(dst + 32, frame->payload_crc);
    put_u32(dst + FRAME_CRC_AT, frame_sum(dst, salt));
}

static bool
is_sane(const struct wal_frame *frame)
{
    switch (frame->kind) {
    case WAL_FRAME_RECORD:
        return frame->ahead >= 1 && frame->ahead <= frame->lsn &&
               frame->payload_bytes <= WAL_RECORD_BYTES_MAX;
    case WAL_FRAME_MARK:
        return frame->ahead == 0 && frame->payload_bytes == 0;
    }
    return false;
}

bool
wal_frame_decode(const uint8_t src[WAL_FRAME_BYTES], uint64_t salt, struct wal_frame *ret_frame)
{
    if (get_u32(src) != frame_magic || get_u32(src + FRAME_CRC_AT) != frame_sum(src, salt)) {
        return false;
    }
    struct wal_frame frame = {
        .kind = (enum wal_frame_kind)get_u16(src + 30),
        .payload_bytes = get_u32(src + 4),
        .lsn = get_u64(src + 8),
        .wall_us = (int64_t)get_u64(src + 16),
        .ahead = get_u32(src + 24),
        .type = get_u16(src + 28),
        .payload_crc = get_u32(src + 32),
    };
    if (!is_sane(&frame)) {
        return false;
    }
    *ret_frame = frame;
    return true;
}

uint64_t
wal_frame_durable(const struct wal_frame *frame)
{
    return frame->lsn - frame->ahead;
}

void
wal_name_format(uint64_t seq, char ret_name[WAL_NAME_LEN + 1])
{
    uint64_t rest = seq;

    for (int i = NAME_DIGITS - 1; i >= 0; i--) {
        ret_name[i] = (char)('0' + rest % 10);
        rest /= 10;
    }
    assert(rest == 0);
    memcpy(ret_name + NAME_DIGITS, ".wal", sizeof(".wal"));
}

bool
wal_name_parse(const char *name, uint64_t *ret_seq)
{
    uint64_t seq = 0;

    if (strlen(name) != WAL_NAME_LEN || strcmp(name + NAME_DIGITS, ".wal") != 0) {
        return false;
    }
    for (int i = 0; i < NAME_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return false;
        }
        seq = seq * 10 + (uint64_t)(name[i] - '0');
    }
    if (seq == 0 || seq > WAL_SEQ_MAX) {
        return false;
    }
    *ret_seq = seq;
    return true;
}

void
wal_path_format(const char *dir, uint64_t seq, char ret_path[WAL_PATH_MAX])
{
    char name[WAL_NAME_LEN + 1];

    wal_name_format(seq, name);
    int len = snprintf(ret_path, WAL_PATH_MAX, "%s/%s", dir, name);
    assert(len > 0 && len < WAL_PATH_MAX);
}
