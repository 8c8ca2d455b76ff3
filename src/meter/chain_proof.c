/*
 * Proofs that one entry stands in the chain below a head. A proof is JSON in exactly one spelling:
 *
 *   {"eider_proof":1,"entry":{...},"seq":7,"prev_hash":"...","leaves":["...",...],
 *    "head":{"seq":9,"hash":"..."}}
 *
 * The check reads it, writes it again and compares the bytes, so nothing in it can be altered
 * without being noticed, not even what does not reach the hash.
 */
#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json_read.h"
#include "codec/json_write.h"
#include "meter/chain.h"

enum {
    PROOF_VERSION = 1,
    PROOF_LEAVES_MAX = 1 << 20, /* 70 MB of JSON */
    PROOF_ENTRY_BYTES_MAX = 16 << 20
};

struct chain_prover {
    char *event_id;
    uint64_t to_seq;
    struct chain_head prev; /* of the row before, until the entry is found */
    bool found;
    struct buf entry;        /* its JSON */
    struct chain_head below; /* the head just before it */
    struct chain_head head;
    uint8_t *leaves; /* of the entries behind it */
    size_t leaf_count;
    size_t leaf_capacity;
};

/* ---- the entry as JSON ---- */

enum field_kind {
    FIELD_TEXT,
    FIELD_OPTIONAL, /* a text, or null for an empty one */
    FIELD_I64,
    FIELD_STATUS, /* null without has_status */
    FIELD_BOOL,
    FIELD_F64 /* 16 hex digits of its bits, as a text, unless it is finite */
};

/* In the order of the hashed content. Times are microseconds, credits millionths. */
static const struct field {
    const char *name;
    enum field_kind kind;
    size_t offset;
} fields[] = {
    {"id", FIELD_TEXT, offsetof(struct event, id)},
    {"timestamp_us", FIELD_I64, offsetof(struct event, timestamp_us)},
    {"api_name", FIELD_TEXT, offsetof(struct event, api_name)},
    {"endpoint", FIELD_TEXT, offsetof(struct event, endpoint)},
    {"method", FIELD_TEXT, offsetof(struct event, method)},
    {"status_code", FIELD_STATUS, offsetof(struct event, status_code)},
    {"success", FIELD_BOOL, offsetof(struct event, success)},
    {"latency_ms", FIELD_F64, offsetof(struct event, latency_ms)},
    {"credits_micro", FIELD_I64, offsetof(struct event, credits)},
    {"run_id", FIELD_OPTIONAL, offsetof(struct event, run_id)},
    {"error_message", FIELD_OPTIONAL, offsetof(struct event, error_message)},
    {"metadata_json", FIELD_OPTIONAL, offsetof(struct event, metadata_json)},
    {"created_us", FIELD_I64, offsetof(struct event, created_us)},
    {"api_key", FIELD_OPTIONAL, offsetof(struct event, api_key)},
    {"project", FIELD_OPTIONAL, offsetof(struct event, project)},
    {"reservation_id", FIELD_OPTIONAL, offsetof(struct event, reservation_id)},
    {"corrects", FIELD_OPTIONAL, offsetof(struct event, corrects)},
    {"price_rule", FIELD_OPTIONAL, offsetof(struct event, price_rule)},
};

enum { FIELD_COUNT = sizeof(fields) / sizeof(fields[0]) };

static void
write_f64(struct json_writer *json, double value)
{
    char text[17];
    uint64_t bits;

    if (isfinite(value)) {
        json_f64(json, value);
        return;
    }
    memcpy(&bits, &value, sizeof(bits));
    snprintf(text, sizeof(text), "%016" PRIx64, bits);
    json_cstr(json, text);
}

static void
write_field(struct json_writer *json, const struct event *event, const struct field *field)
{
    const char *at = (const char *)event + field->offset;
    struct slice text;
    int64_t i64;
    int32_t i32;
    double f64;

    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_OPTIONAL:
        memcpy(&text, at, sizeof(text));
        if (text.len > 0 || field->kind == FIELD_TEXT) {
            json_str(json, text);
        } else {
            json_write_null(json);
        }
        return;
    case FIELD_I64:
        memcpy(&i64, at, sizeof(i64));
        json_i64(json, i64);
        return;
    case FIELD_STATUS:
        memcpy(&i32, at, sizeof(i32));
        if (event->has_status) {
            json_i64(json, i32);
        } else {
            json_write_null(json);
        }
        return;
    case FIELD_BOOL:
        json_bool(json, event->success);
        return;
    case FIELD_F64:
        memcpy(&f64, at, sizeof(f64));
        write_f64(json, f64);
        return;
    }
}

static void
write_entry(const struct event *event, struct buf *out)
{
    struct json_writer json;

    json_init(&json, out);
    json_object_begin(&json);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        json_key(&json, fields[i].name);
        write_field(&json, event, &fields[i]);
    }
    json_object_end(&json);
}

static void
write_hash(struct json_writer *json, const uint8_t hash[EVENT_HASH_BYTES])
{
    char text[CHAIN_HEX_BYTES];

    chain_hex(hash, text);
    json_str(json, slice_make(text, CHAIN_HEX_BYTES - 1));
}

static void
write_proof(const struct chain_prover *proof, struct buf *out)
{
    struct json_writer json;

    json_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "eider_proof");
    json_i64(&json, PROOF_VERSION);
    json_key(&json, "entry");
    json_raw(&json, buf_slice(&proof->entry));
    json_key(&json, "seq");
    json_u64(&json, proof->below.seq + 1);
    json_key(&json, "prev_hash");
    write_hash(&json, proof->below.hash);
    json_key(&json, "leaves");
    json_array_begin(&json);
    for (size_t i = 0; i < proof->leaf_count; i++) {
        write_hash(&json, proof->leaves + i * EVENT_HASH_BYTES);
    }
    json_array_end(&json);
    json_key(&json, "head");
    json_object_begin(&json);
    json_key(&json, "seq");
    json_u64(&json, proof->head.seq);
    json_key(&json, "hash");
    write_hash(&json, proof->head.hash);
    json_object_end(&json);
    json_object_end(&json);
}

/* ---- making one ---- */

static void
init_proof(struct chain_prover *proof)
{
    *proof = (struct chain_prover){0};
    buf_init(&proof->entry, PROOF_ENTRY_BYTES_MAX);
}

static void
fini_proof(struct chain_prover *proof)
{
    buf_fini(&proof->entry);
    free(proof->leaves);
    free(proof->event_id);
}

static bool
add_leaf(struct chain_prover *proof, const uint8_t leaf[EVENT_HASH_BYTES])
{
    if (proof->leaf_count == PROOF_LEAVES_MAX) {
        return false;
    }
    if (proof->leaf_count == proof->leaf_capacity) {
        proof->leaf_capacity = proof->leaf_capacity ? 2 * proof->leaf_capacity : 64;
        proof->leaves = mem_resize(proof->leaves, proof->leaf_capacity, EVENT_HASH_BYTES);
    }
    memcpy(proof->leaves + proof->leaf_count * EVENT_HASH_BYTES, leaf, EVENT_HASH_BYTES);
    proof->leaf_count++;
    return true;
}

struct chain_prover *
chain_prover_new(struct slice event_id, uint64_t to_seq)
{
    struct chain_prover *prover = mem_alloc(sizeof(*prover));

    init_proof(prover);
    prover->event_id = mem_strdup(event_id);
    prover->to_seq = to_seq;
    return prover;
}

void
chain_prover_free(struct chain_prover *prover)
{
    if (prover) {
        fini_proof(prover);
        free(prover);
    }
}

/* The head moves over one more entry, which must fit. */
static enum err_code
link_entry(struct chain_prover *prover, const struct event *event, bool has_hash,
           const uint8_t leaf[EVENT_HASH_BYTES], struct err *err)
{
    if (event->seq != prover->head.seq + 1) {
        return err_set(err, ERR_CORRUPT,
                       "entry %" PRIu64 " is missing: entry %" PRIu64 " comes next",
                       prover->head.seq + 1, event->seq);
    }
    chain_link(&prover->head, leaf);
    if (!has_hash || memcmp(prover->head.hash, event->hash, EVENT_HASH_BYTES) != 0) {
        return err_set(err, ERR_CORRUPT,
                       "entry %" PRIu64 " does not match its hash; verify the log", event->seq);
    }
    return ERR_OK;
}

static enum err_code
push_row(struct chain_prover *prover, const struct event *event, bool has_hash, struct err *err)
{
    uint8_t leaf[EVENT_HASH_BYTES];

    if (!prover->found && !slice_is(event->id, prover->event_id)) {
        prover->prev.seq = event->seq;
        memcpy(prover->prev.hash, event->hash, EVENT_HASH_BYTES);
        return ERR_OK;
    }
    chain_leaf(event, leaf);
    if (!prover->found) {
        prover->found = true;
        prover->below = prover->head = prover->prev;
        write_entry(event, &prover->entry);
    } else if (prover->to_seq > 0 && prover->head.seq >= prover->to_seq) {
        return ERR_OK;
    } else if (!add_leaf(prover, leaf)) {
        return err_set(err, ERR_TOO_LARGE,
                       "more than %d entries stand between entry %" PRIu64
                       " and the head; prove against a head that was written down sooner",
                       PROOF_LEAVES_MAX, prover->below.seq + 1);
    }
    return link_entry(prover, event, has_hash, leaf, err);
}

enum err_code
chain_prover_push(struct chain_prover *prover, const struct batch *rows, struct err *err)
{
    assert(rows->column_count == EVENT_COLUMN_COUNT);
    for (size_t row = 0; row < rows->rows; row++) {
        struct event event;
        bool has_hash = event_from_row(rows, row, &event);
        enum err_code code = push_row(prover, &event, has_hash, err);
        if (code) {
            return code;
        }
    }
    return ERR_OK;
}

enum err_code
chain_prover_end(struct chain_prover *prover, struct buf *ret_json, struct err *err)
{
    if (!prover->found) {
        return err_set(err, ERR_NOT_FOUND, "there is no entry with the id '%.100s'",
                       prover->event_id);
    }
    if (prover->to_seq > 0 && prover->head.seq > prover->to_seq) {
        return err_set(err, ERR_INVALID,
                       "the entry is number %" PRIu64 ", behind the head of entry %" PRIu64
                       "; expected a head written down after it",
                       prover->head.seq, prover->to_seq);
    }
    if (prover->head.seq < prover->to_seq) {
        return err_set(err, ERR_NOT_FOUND,
                       "the log ends at entry %" PRIu64 ", before entry %" PRIu64, prover->head.seq,
                       prover->to_seq);
    }
    if (prover->entry.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the entry is larger than %d bytes as JSON",
                       PROOF_ENTRY_BYTES_MAX);
    }
    write_proof(prover, ret_json);
    if (ret_json->overflow) {
        return err_set(err, ERR_TOO_LARGE, "the proof is larger than %zu bytes",
                       ret_json->max_bytes);
    }
    return ERR_OK;
}

/* ---- checking one ---- */

/* The next member must have this name; its value is read. */
static bool
read_member(struct json_reader *json, const char *name, struct scalar *ret_value)
{
    struct slice key;

    return json_read_key(json, &key) && slice_is(key, name) && json_read_value(json, ret_value);
}

static bool
read_u64(struct json_reader *json, const char *name, uint64_t *ret_value)
{
    struct scalar value;

    return read_member(json, name, &value) && value.type == SCALAR_NUMBER &&
           number_to_u64(&value.number, ret_value);
}

static bool
read_hash(struct json_reader *json, const char *name, uint8_t ret_hash[EVENT_HASH_BYTES])
{
    struct scalar value;

    return read_member(json, name, &value) && value.type == SCALAR_STRING &&
           chain_from_hex(value.text, ret_hash);
}

static bool
read_open(struct json_reader *json, const char *name, enum scalar_type type)
{
    struct scalar value;

    return read_member(json, name, &value) && value.type == type;
}

static bool
read_f64(const struct scalar *value, double *ret_value)
{
    uint64_t bits = 0;

    if (value->type == SCALAR_NUMBER) {
        return number_to_f64(&value->number, ret_value);
    }
    if (value->type != SCALAR_STRING || value->text.len != 16) {
        return false;
    }
    for (size_t i = 0; i < 16; i++) {
        char c = value->text.ptr[i];
        bool is_letter = c >= 'a' && c <= 'f';
        if (!is_letter && !(c >= '0' && c <= '9')) {
            return false;
        }
        bits = bits << 4 | (uint64_t)(is_letter ? c - 'a' + 10 : c - '0');
    }
    memcpy(ret_value, &bits, sizeof(bits));
    return true;
}

static bool
read_field(struct event *event, const struct field *field, const struct scalar *value)
{
    char *at = (char *)event + field->offset;
    int64_t i64 = 0;
    double f64;

    switch (field->kind) {
    case FIELD_TEXT:
    case FIELD_OPTIONAL:
        if (value->type == SCALAR_NULL && field->kind == FIELD_OPTIONAL) {
            return true;
        }
        memcpy(at, &value->text, sizeof(value->text));
        return value->type == SCALAR_STRING;
    case FIELD_I64:
        if (value->type != SCALAR_NUMBER || !number_to_i64(&value->number, &i64)) {
            return false;
        }
        memcpy(at, &i64, sizeof(i64));
        return true;
    case FIELD_STATUS:
        if (value->type == SCALAR_NULL) {
            return true;
        }
        if (value->type != SCALAR_NUMBER || !number_to_i64(&value->number, &i64) ||
            i64 != (int32_t)i64) {
            return false;
        }
        event->has_status = true;
        event->status_code = (int32_t)i64;
        return true;
    case FIELD_BOOL:
        event->success = value->boolean;
        return value->type == SCALAR_BOOL;
    case FIELD_F64:
        if (!read_f64(value, &f64)) {
            return false;
        }
        memcpy(at, &f64, sizeof(f64));
        return true;
    }
    return false;
}

/* Reads the entry's members up to its end; *ret_at names the one that was wrong. */
static bool
read_entry(struct json_reader *json, struct event *ret_event, const char **ret_at)
{
    struct scalar value;
    struct slice key;

    *ret_event = (struct event){0};
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        *ret_at = fields[i].name;
        if (!read_member(json, fields[i].name, &value) ||
            !read_field(ret_event, &fields[i], &value)) {
            return false;
        }
    }
    *ret_at = "entry";
    return !json_read_key(json, &key) && !json_read_failed(json);
}

static bool
read_leaves(struct json_reader *json, struct chain_prover *proof)
{
    uint8_t leaf[EVENT_HASH_BYTES];
    struct scalar value;

    while (json_read_element(json)) {
        if (!json_read_value(json, &value) || value.type != SCALAR_STRING ||
            !chain_from_hex(value.text, leaf) || !add_leaf(proof, leaf)) {
            return false;
        }
    }
    return !json_read_failed(json);
}

/* Reads all of it into a proof and the head it claims. */
static bool
read_proof(struct json_reader *json, struct chain_prover *proof, struct event *ret_event,
           struct chain_head *ret_head, const char **ret_at)
{
    struct scalar value;
    struct slice key;
    uint64_t number;

    *ret_at = "eider_proof";
    if (!json_read_value(json, &value) || value.type != SCALAR_OBJECT ||
        !read_u64(json, "eider_proof", &number) || number != PROOF_VERSION) {
        return false;
    }
    *ret_at = "entry";
    if (!read_open(json, "entry", SCALAR_OBJECT) || !read_entry(json, ret_event, ret_at)) {
        return false;
    }
    *ret_at = "seq";
    if (!read_u64(json, "seq", &number) || number == 0) {
        return false;
    }
    proof->below.seq = number - 1;
    *ret_at = "prev_hash";
    if (!read_hash(json, "prev_hash", proof->below.hash)) {
        return false;
    }
    *ret_at = "leaves";
    if (!read_open(json, "leaves", SCALAR_ARRAY) || !read_leaves(json, proof)) {
        return false;
    }
    *ret_at = "head";
    return read_open(json, "head", SCALAR_OBJECT) && read_u64(json, "seq", &ret_head->seq) &&
           read_hash(json, "hash", ret_head->hash) && !json_read_key(json, &key) &&
           !json_read_failed(json) && !json_read_key(json, &key) && !json_read_failed(json) &&
           json_read_end(json);
}

static enum err_code
check_hashes(struct chain_prover *proof, const struct event *event,
             const struct chain_head *claimed, const struct chain_head *expected, struct err *err)
{
    static const uint8_t zeros[EVENT_HASH_BYTES];
    uint8_t leaf[EVENT_HASH_BYTES];

    if (proof->below.seq == 0 && memcmp(proof->below.hash, zeros, sizeof(zeros)) != 0) {
        return err_set(err, ERR_CORRUPT, "prev_hash of entry 1 must be zeros");
    }
    proof->head = proof->below;
    chain_leaf(event, leaf);
    chain_link(&proof->head, leaf);
    for (size_t i = 0; i < proof->leaf_count; i++) {
        chain_link(&proof->head, proof->leaves + i * EVENT_HASH_BYTES);
    }
    if (proof->head.seq != claimed->seq ||
        memcmp(proof->head.hash, claimed->hash, EVENT_HASH_BYTES) != 0) {
        return err_set(err, ERR_CORRUPT,
                       "entry and leaves do not lead to the head: the proof was altered");
    }
    if (expected && expected->seq > 0 && expected->seq != claimed->seq) {
        return err_set(err, ERR_CORRUPT,
                       "the proof leads to the head of entry %" PRIu64 ", expected entry %" PRIu64,
                       claimed->seq, expected->seq);
    }
    if (expected && memcmp(expected->hash, claimed->hash, EVENT_HASH_BYTES) != 0) {
        return err_set(err, ERR_CORRUPT,
                       "the proof leads to another head than the one written down");
    }
    return ERR_OK;
}

static enum err_code
check_spelling(const struct chain_prover *proof, struct slice text, struct err *err)
{
    struct buf again BUF_AUTO;

    buf_init(&again, text.len + 1);
    write_proof(proof, &again);
    if (!slice_eq(buf_slice(&again), text)) {
        return err_set(err, ERR_CORRUPT,
                       "the proof is not spelled as it was made: it was altered or reformatted");
    }
    return ERR_OK;
}

enum err_code
chain_proof_check(struct slice json, const struct chain_head *expected_head, struct err *err)
{
    struct arena arena ARENA_AUTO;
    struct chain_prover proof;
    struct chain_head claimed;
    struct json_reader reader;
    struct event event;
    const char *at = "";
    enum err_code code;

    json = slice_trim(json); /* a newline at the end of a file is nobody's doing */
    arena_init(&arena, json.len + (64 << 10));
    init_proof(&proof);
    json_read_init(&reader, json, &arena);
    if (read_proof(&reader, &proof, &event, &claimed, &at)) {
        write_entry(&event, &proof.entry);
        code = check_hashes(&proof, &event, &claimed, expected_head, err);
        code = code ? code : check_spelling(&proof, json, err);
    } else if (json_read_failed(&reader)) {
        code = json_read_error(&reader, err);
    } else {
        code = err_set(err, ERR_CORRUPT, "the proof has no valid '%s' where one is expected", at);
    }
    fini_proof(&proof);
    return code;
}
