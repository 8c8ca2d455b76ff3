/* Leaves and links of the chain. */
/* SHA256_Init and its like need neither a look-up nor a context on the heap: with entries of 300
 * bytes they take 190 ns where SHA256() takes 430. OpenSSL 3 marks them deprecated, not slow. */
#define OPENSSL_API_COMPAT 10100

#include "meter/chain.h"

#include <string.h>

#include <openssl/sha.h>

/* Fields gather here, because a call for each of them would cost more than the hashing. */
struct content {
    SHA256_CTX sha;
    size_t used;
    uint8_t bytes[1024];
};

static void
add_bytes(struct content *content, const void *bytes, size_t len)
{
    if (len > sizeof(content->bytes) - content->used) {
        SHA256_Update(&content->sha, content->bytes, content->used);
        content->used = 0;
    }
    if (len > sizeof(content->bytes)) {
        SHA256_Update(&content->sha, bytes, len);
        return;
    }
    if (len > 0) {
        memcpy(content->bytes + content->used, bytes, len);
        content->used += len;
    }
}

/* The lowest `size` bytes of a number, the lowest first. */
static void
add_number(struct content *content, uint64_t value, size_t size)
{
    uint8_t bytes[sizeof(value) + 1] = {1};

    for (size_t i = 0; i < size; i++) {
        bytes[i + 1] = (uint8_t)(value >> (8 * i));
    }
    add_bytes(content, bytes, size + 1);
}

static void
add_text(struct content *content, struct slice text)
{
    add_number(content, text.len, 4);
    add_bytes(content, text.ptr, text.len);
}

static void
add_null(struct content *content)
{
    add_bytes(content, "", 1);
}

static void
add_optional(struct content *content, struct slice text)
{
    if (text.len > 0) {
        add_text(content, text);
    } else {
        add_null(content);
    }
}

void
chain_leaf(const struct event *event, uint8_t ret_leaf[EVENT_HASH_BYTES])
{
    static const char domain[] = "eider-event-1"; /* its NUL belongs to it */
    struct content content;
    uint64_t latency;

    SHA256_Init(&content.sha);
    content.used = 0;
    memcpy(&latency, &event->latency_ms, sizeof(latency));
    add_bytes(&content, domain, sizeof(domain));
    add_text(&content, event->id);
    add_number(&content, (uint64_t)event->timestamp_us, 8);
    add_text(&content, event->api_name);
    add_text(&content, event->endpoint);
    add_text(&content, event->method.len > 0 ? event->method : SLICE_LITERAL("GET"));
    if (event->has_status) {
        add_number(&content, (uint64_t)(int64_t)event->status_code, 8);
    } else {
        add_null(&content);
    }
    add_number(&content, event->success, 1);
    add_number(&content, latency, 8);
    add_number(&content, (uint64_t)event->credits, 8);
    add_optional(&content, event->run_id);
    add_optional(&content, event->error_message);
    add_optional(&content, event->metadata_json);
    add_number(&content, (uint64_t)event->created_us, 8);
    add_optional(&content, event->api_key);
    add_optional(&content, event->project);
    add_optional(&content, event->reservation_id);
    add_optional(&content, event->corrects);
    add_optional(&content, event->price_rule);
    SHA256_Update(&content.sha, content.bytes, content.used);
    SHA256_Final(ret_leaf, &content.sha);
}

void
chain_link(struct chain_head *head, const uint8_t leaf[EVENT_HASH_BYTES])
{
    static const char domain[] = "eider-chain-1";
    uint8_t bytes[sizeof(domain) + EVENT_HASH_BYTES + EVENT_HASH_BYTES + 8];
    uint8_t *at = bytes;
    SHA256_CTX sha;

    head->seq++;
    memcpy(at, domain, sizeof(domain));
    at += sizeof(domain);
    memcpy(at, head->hash, EVENT_HASH_BYTES);
    at += EVENT_HASH_BYTES;
    for (unsigned i = 0; i < 8; i++) {
        *at++ = (uint8_t)(head->seq >> (8 * i));
    }
    memcpy(at, leaf, EVENT_HASH_BYTES);
    SHA256_Init(&sha);
    SHA256_Update(&sha, bytes, sizeof(bytes));
    SHA256_Final(head->hash, &sha);
}

void
chain_hex(const uint8_t hash[EVENT_HASH_BYTES], char ret_text[CHAIN_HEX_BYTES])
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < EVENT_HASH_BYTES; i++) {
        ret_text[2 * i] = digits[hash[i] >> 4];
        ret_text[2 * i + 1] = digits[hash[i] & 15];
    }
    ret_text[CHAIN_HEX_BYTES - 1] = '\0';
}

/* Small letters only: a hash has one spelling. */
static int
digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool
chain_from_hex(struct slice text, uint8_t ret_hash[EVENT_HASH_BYTES])
{
    uint8_t hash[EVENT_HASH_BYTES];

    if (text.len != CHAIN_HEX_BYTES - 1) {
        return false;
    }
    for (size_t i = 0; i < EVENT_HASH_BYTES; i++) {
        int high = digit_of(text.ptr[2 * i]);
        int low = digit_of(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        hash[i] = (uint8_t)(high << 4 | low);
    }
    memcpy(ret_hash, hash, sizeof(hash));
    return true;
}
