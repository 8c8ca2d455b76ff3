/* Checks of the handshake, and the answer to its key. */
#include "http/ws_handshake.h"

#include <assert.h>
#include <openssl/evp.h>

#include "http/origin.h"

enum { KEY_LEN = 24, SHA1_BYTES = 20 };

static bool
refuse(struct http_fault *fault, int status, const char *detail)
{
    *fault = (struct http_fault){status, detail};
    return false;
}

/* The value of a field that must be there exactly once. */
static bool
find_once(const struct http_head *head, const char *name, struct slice *ret_value)
{
    size_t count = 0;

    for (size_t i = 0; i < head->field_count; i++) {
        if (slice_is_nocase(head->fields[i].name, name)) {
            *ret_value = head->fields[i].value;
            count++;
        }
    }
    return count == 1;
}

static bool
is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* Base64 of 16 bytes: 22 characters and two signs of padding. */
static bool
key_is_valid(struct slice key)
{
    if (key.len != KEY_LEN || !slice_ends(key, "==")) {
        return false;
    }
    for (size_t i = 0; i < KEY_LEN - 2; i++) {
        if (!is_base64(key.ptr[i])) {
            return false;
        }
    }
    return true;
}

static void
compute_accept(struct slice key, char ret_accept[WS_ACCEPT_LEN + 1])
{
    static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; /* RFC 6455, 1.3 */
    char text[KEY_LEN + sizeof(guid)];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    memcpy(text, key.ptr, KEY_LEN);
    memcpy(text + KEY_LEN, guid, sizeof(guid));
    int ok = EVP_Digest(text, KEY_LEN + sizeof(guid) - 1, digest, &len, EVP_sha1(), NULL);
    assert(ok == 1 && len == SHA1_BYTES);
    (void)ok;
    int written = EVP_EncodeBlock((unsigned char *)ret_accept, digest, SHA1_BYTES);
    assert(written == WS_ACCEPT_LEN);
    (void)written;
}

static bool
origin_is_allowed(const struct http_head *head, const char *const *origins)
{
    struct slice origin;

    if (!http_head_find(head, "Origin", &origin)) {
        return true;
    }
    /* Two headers of one name are somebody's trick, whatever they say. */
    return find_once(head, "Origin", &origin) &&
           http_origin_is_allowed(origin, head->host, origins);
}

bool
ws_handshake_check(const struct http_head *head, const char *const *origins,
                   char ret_accept[WS_ACCEPT_LEN + 1], struct http_fault *fault)
{
    struct slice value;

    if (head->method != HTTP_GET || head->minor != 1 ||
        !http_head_has_token(head, "Upgrade", "websocket") ||
        !http_head_has_token(head, "Connection", "upgrade")) {
        return refuse(fault, 426, "this path speaks WebSocket; ask for an upgrade");
    }
    if (!find_once(head, "Sec-WebSocket-Version", &value) || !slice_is(value, "13")) {
        return refuse(fault, 426, "only WebSocket version 13 is spoken here");
    }
    if (head->chunked || head->content_length > 0) {
        return refuse(fault, 400, "an upgrade request has no body");
    }
    if (!find_once(head, "Sec-WebSocket-Key", &value) || !key_is_valid(value)) {
        return refuse(fault, 400, "Sec-WebSocket-Key is not base64 of 16 bytes");
    }
    if (!origin_is_allowed(head, origins)) {
        return refuse(fault, 403, "pages of this Origin may not connect here");
    }
    compute_accept(value, ret_accept);
    return true;
}
