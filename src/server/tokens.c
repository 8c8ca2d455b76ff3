/* Tokens with scopes, from text. */
#include "server/tokens.h"

enum { TOKEN_BYTES_MIN = 8 };

static int
hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

static bool
read_hash(struct slice text, unsigned char ret_hash[API_TOKEN_HASH_BYTES])
{
    if (text.len != (size_t)2 * API_TOKEN_HASH_BYTES) {
        return false;
    }
    for (size_t i = 0; i < API_TOKEN_HASH_BYTES; i++) {
        int high = hex_digit(text.ptr[2 * i]);
        int low = hex_digit(text.ptr[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        ret_hash[i] = (unsigned char)(high * 16 + low);
    }
    return true;
}

static enum err_code
read_scopes(struct slice text, unsigned *ret_scopes, struct err *err)
{
    for (bool more = true; more;) {
        struct slice name;
        unsigned scope = 1;
        more = slice_split(&text, '+', &name);
        while (scope <= API_SCOPE_ALL && !slice_is(name, api_scope_name(scope))) {
            scope <<= 1;
        }
        if (scope > API_SCOPE_ALL) {
            return err_set(err, ERR_USAGE,
                           "the scope \"%.*s\" is unknown; expected ingest, read, spend or admin",
                           SLICE_FMT(slice_sub(name, 0, 40)));
        }
        *ret_scopes |= scope;
    }
    return ERR_OK;
}

enum err_code
token_parse(struct slice text, struct api_token *ret_token, struct err *err)
{
    static const char by_hash[] = "sha256:";
    struct api_token token = {0};
    struct slice name;
    struct slice scopes;

    if (!slice_split(&text, ':', &name) || !slice_split(&text, ':', &scopes)) {
        return err_set(err, ERR_USAGE,
                       "expected name:scopes:token, the scopes with \"+\" between them");
    }
    if (name.len == 0 || !slice_to_cstr(name, token.name, sizeof(token.name))) {
        return err_set(err, ERR_USAGE, "the name has %zu bytes; expected 1 to %d", name.len,
                       (int)API_TOKEN_NAME_MAX);
    }
    enum err_code code = read_scopes(scopes, &token.scopes, err);
    if (code != ERR_OK) {
        return err_context(err, code, "token %s", token.name);
    }
    if (slice_starts(text, by_hash)) {
        if (!read_hash(slice_sub(text, sizeof(by_hash) - 1, text.len), token.hash)) {
            return err_set(err, ERR_USAGE,
                           "token %s: expected 64 hex digits behind sha256:", token.name);
        }
    } else if (text.len < TOKEN_BYTES_MIN) {
        return err_set(err, ERR_USAGE, "token %s: it has %zu bytes; expected at least %d",
                       token.name, text.len, (int)TOKEN_BYTES_MIN);
    } else {
        api_token_hash(text, token.hash);
    }
    *ret_token = token;
    return ERR_OK;
}
