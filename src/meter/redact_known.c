/* What secrets are called, and what they look like. */
#include <ctype.h>
#include <string.h>

#include "meter/redact_internal.h"

enum { NAME_BYTES_MAX = 256, KEY_SEGMENT_MIN = 32, HOOK_SEGMENT_MIN = 20, JWT_PART_MAX = 8192 };

/* Without case and separators. Words that also mean something harmless must stand alone. */
static const char *const ALONE[] = {"key", "token", "auth", "sig", "pwd", "pass", "jwt", "bearer"};

/* These also at the end of a longer name (x-api-key, db_password). */
static const char *const AT_END[] = {
    "apikey",       "accesskey",       "accesskeyid", "secretkey",  "privatekey",   "signingkey",
    "authkey",      "subscriptionkey", "accesstoken", "authtoken",  "refreshtoken", "idtoken",
    "sessiontoken", "securitytoken",   "bearertoken", "bottoken",   "vaulttoken",   "csrftoken",
    "secret",       "password",        "passwd",      "passphrase", "signature",    "authorization",
    "cookie",       "credential",      "credentials", "mnemonic",   "seedphrase",   "sessionid"};

static int
hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *found = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

    return found ? (int)(found - digits) : -1;
}

void
redact_decode(struct slice text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '%' && i + 2 < text.len && hex_digit(text.ptr[i + 1]) >= 0 &&
            hex_digit(text.ptr[i + 2]) >= 0) {
            c = (char)(hex_digit(text.ptr[i + 1]) * 16 + hex_digit(text.ptr[i + 2]));
            i += 2;
        }
        buf_add_char(out, c);
    }
}

/* The bare form of a name: decoded, in lower case, letters and digits only. Of a long one, the end:
 * longer than any name that stands alone. */
static struct slice
bare_name(struct slice name, char bare[NAME_BYTES_MAX])
{
    size_t len = 0;

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '%' && i + 2 < name.len && hex_digit(name.ptr[i + 1]) >= 0 &&
            hex_digit(name.ptr[i + 2]) >= 0) {
            c = (char)(hex_digit(name.ptr[i + 1]) * 16 + hex_digit(name.ptr[i + 2]));
            i += 2;
        }
        if (!redact_is_alnum(c)) {
            continue;
        }
        if (len == NAME_BYTES_MAX) {
            len = NAME_BYTES_MAX / 2;
            memmove(bare, bare + len, len);
        }
        bare[len++] = (char)tolower((unsigned char)c);
    }
    return slice_make(bare, len);
}

bool
redact_is_secret(const struct redact_rules *rules, struct slice name)
{
    char bare_bytes[NAME_BYTES_MAX];
    char own_bytes[NAME_BYTES_MAX];
    struct slice bare = bare_name(name, bare_bytes);

    if (bare.len == 0) {
        return false;
    }
    for (size_t i = 0; i < sizeof(ALONE) / sizeof(ALONE[0]); i++) {
        if (slice_is(bare, ALONE[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof(AT_END) / sizeof(AT_END[0]); i++) {
        if (slice_ends(bare, AT_END[i])) {
            return true;
        }
    }
    for (size_t i = 0; rules && i < rules->count; i++) {
        if (slice_eq(bare, bare_name(slice_of(rules->names[i]), own_bytes))) {
            return true;
        }
    }
    return false;
}

/* ---- looks ---- */

static bool
is_token_char(char c)
{
    return redact_is_alnum(c) || c == '_' || c == '-';
}

static size_t
token_run(struct slice text, size_t from)
{
    size_t end = from;

    while (end < text.len && end - from < JWT_PART_MAX && is_token_char(text.ptr[end])) {
        end++;
    }
    return end - from;
}

/* Three parts between points, the first of which is the base64 of "{\"". */
static size_t
jwt_len(struct slice text)
{
    size_t head = token_run(text, 0);

    if (!slice_starts(text, "eyJ") || head < 8 || head + 1 >= text.len || text.ptr[head] != '.') {
        return 0;
    }
    size_t body = token_run(text, head + 1);
    if (body < 4) {
        return 0;
    }
    size_t len = head + 1 + body;
    return len < text.len && text.ptr[len] == '.' ? len + 1 + token_run(text, len + 1) : len;
}

size_t
redact_looks_secret(struct slice text)
{
    static const struct {
        const char *prefix;
        size_t behind_min;
    } known[] = {{"sk-", 16},   {"sk_", 16},         {"pk_live_", 16}, {"rk_live_", 16},
                 {"ghp_", 16},  {"gho_", 16},        {"ghu_", 16},     {"ghs_", 16},
                 {"ghr_", 16},  {"github_pat_", 16}, {"glpat-", 16},   {"xoxb-", 10},
                 {"xoxp-", 10}, {"xoxa-", 10},       {"xoxs-", 10},    {"xapp-", 10},
                 {"AKIA", 16},  {"ASIA", 16},        {"AIza", 30},     {"npm_", 30},
                 {"hf_", 30},   {"ya29.", 20},       {"SG.", 20}};
    static const char firsts[] = "sprgxAnhySe"; /* of these and of a JWT */

    if (text.len < REDACT_LOOKS_MIN || !memchr(firsts, text.ptr[0], sizeof(firsts) - 1)) {
        return 0;
    }
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        size_t prefix = strlen(known[i].prefix);
        if (slice_starts(text, known[i].prefix)) {
            size_t end = prefix;
            while (end < text.len && (is_token_char(text.ptr[end]) || text.ptr[end] == '.')) {
                end++;
            }
            while (end > prefix && text.ptr[end - 1] == '.') {
                end--; /* of the sentence */
            }
            return end - prefix >= known[i].behind_min ? end : 0;
        }
    }
    return jwt_len(text);
}

static bool
is_credential_char(char c)
{
    return is_token_char(c) || (c && strchr("./+=~", c));
}

size_t
redact_scheme(struct slice text, size_t *ret_skip)
{
    static const char *const schemes[] = {"bearer", "basic"};

    for (size_t i = 0; i < 2; i++) {
        size_t word = strlen(schemes[i]);
        size_t start = word;
        bool plain = true; /* nothing but small letters: a word of a sentence */
        if (!slice_is_nocase(slice_sub(text, 0, word), schemes[i])) {
            continue;
        }
        while (start < text.len && (text.ptr[start] == ' ' || text.ptr[start] == '\t')) {
            start++;
        }
        size_t end = start;
        for (; end < text.len && is_credential_char(text.ptr[end]); end++) {
            plain &= text.ptr[end] >= 'a' && text.ptr[end] <= 'z';
        }
        if (start > word && end - start >= 4 && (!plain || end - start >= 20)) {
            *ret_skip = start;
            return end - start;
        }
    }
    return 0;
}

/* ---- places ---- */

static bool
is_version(struct slice segment)
{
    if (segment.len < 2 || segment.len > 4 || (segment.ptr[0] | 0x20) != 'v') {
        return false;
    }
    for (size_t i = 1; i < segment.len; i++) {
        if (!isdigit((unsigned char)segment.ptr[i])) {
            return false;
        }
    }
    return true;
}

static bool
is_key_text(struct slice segment, size_t min)
{
    bool letter = false;
    bool digit = false;

    for (size_t i = 0; i < segment.len; i++) {
        if (!is_token_char(segment.ptr[i])) {
            return false;
        }
        letter |= isalpha((unsigned char)segment.ptr[i]) != 0;
        digit |= isdigit((unsigned char)segment.ptr[i]) != 0;
    }
    /* 0x... is an address or a transaction, which everybody may see. */
    return segment.len >= min && letter && digit && !slice_starts(segment, "0x");
}

bool
redact_is_key_segment(struct slice before, struct slice segment)
{
    struct slice last = before;
    struct slice bot = segment;

    while (last.len > 0 && last.ptr[last.len - 1] == '/') {
        last.len--;
    }
    size_t start = last.len;
    while (start > 0 && last.ptr[start - 1] != '/') {
        start--;
    }
    last = slice_sub(last, start, last.len);
    if (is_key_text(segment, KEY_SEGMENT_MIN) && (last.len == 0 || is_version(last))) {
        return true;
    }
    if (is_key_text(segment, HOOK_SEGMENT_MIN) &&
        (memmem(before.ptr, before.len, "/webhooks/", 10) ||
         memmem(before.ptr, before.len, "/services/", 10))) {
        return true;
    }
    /* /bot123456:AA.../sendMessage */
    if (slice_starts(segment, "bot") && memchr(segment.ptr, ':', segment.len)) {
        slice_split(&bot, ':', &last);
        return last.len > 3 && is_key_text(bot, HOOK_SEGMENT_MIN);
    }
    return false;
}
