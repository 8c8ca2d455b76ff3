/*
 * Bearer tokens and their scopes. Tokens are known by their SHA-256 and compared in constant time;
 * all of them are compared, so that the time tells neither whether nor where one fits.
 */
#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

#include "api/api_private.h"
#include "base/mem.h"

static const struct {
    unsigned scope;
    const char *name;
} scopes[] = {{API_SCOPE_INGEST, "ingest"},
              {API_SCOPE_READ, "read"},
              {API_SCOPE_SPEND, "spend"},
              {API_SCOPE_ADMIN, "admin"}};

enum { SCOPE_COUNT = sizeof(scopes) / sizeof(scopes[0]), SCOPE_SHIFT = 4 };
_Static_assert((unsigned)ROUTE_INGEST == (unsigned)API_SCOPE_INGEST << SCOPE_SHIFT, "the shift");

const char *
api_scope_name(unsigned scope)
{
    for (size_t i = 0; i < SCOPE_COUNT; i++) {
        if (scopes[i].scope == scope) {
            return scopes[i].name;
        }
    }
    return NULL;
}

void
api_token_hash(struct slice token, unsigned char ret_hash[API_TOKEN_HASH_BYTES])
{
    unsigned len = API_TOKEN_HASH_BYTES;
    int ok = EVP_Digest(token.ptr, token.len, ret_hash, &len, EVP_sha256(), NULL);

    assert(ok == 1 && len == API_TOKEN_HASH_BYTES);
    (void)ok;
}

void
tokens_open(struct api *api, const struct api_options *options)
{
    bool with_main = options->token && options->token[0] != '\0';

    api->tokens = mem_zalloc(options->token_count + 1, sizeof(*api->tokens));
    for (size_t i = 0; i < options->token_count; i++) {
        api->tokens[api->token_count++] = options->tokens[i];
    }
    if (with_main) {
        struct api_token *token = &api->tokens[api->token_count++];
        *token = (struct api_token){.name = "server.token", .scopes = API_SCOPE_ALL};
        api_token_hash(slice_of(options->token), token->hash);
    }
    api->need_token = api->token_count > 0;
    api->options.token = NULL;
    api->options.tokens = NULL;
}

void
tokens_close(struct api *api)
{
    free(api->tokens);
}

/* The token that was sent, or NULL. */
static const struct api_token *
find_token(const struct api *api, const struct http_exchange *exchange)
{
    const struct api_token *found = NULL;
    unsigned char hash[API_TOKEN_HASH_BYTES];
    struct slice token;
    struct slice value;

    if (http_header(exchange, "X-Eider-Token", &value)) {
        token = value; /* leaves Authorization to the upstream of a forwarded call */
    } else if (http_header(exchange, "Authorization", &value) && value.len > 7 &&
               slice_is_nocase(slice_sub(value, 0, 7), "Bearer ")) {
        token = slice_trim(slice_sub(value, 7, value.len));
    } else if (!http_query(exchange, "access_token", &token)) {
        return NULL;
    }
    api_token_hash(token, hash);
    for (size_t i = 0; i < api->token_count; i++) {
        if (CRYPTO_memcmp(hash, api->tokens[i].hash, sizeof(hash)) == 0) {
            found = &api->tokens[i];
        }
    }
    return found;
}

static void
add_names(struct buf *out, unsigned of, const char *between)
{
    bool first = true;

    for (size_t i = 0; i < SCOPE_COUNT; i++) {
        if (of & scopes[i].scope) {
            buf_add_fmt(out, "%s%s", first ? "" : between, scopes[i].name);
            first = false;
        }
    }
}

bool
tokens_see_all(const struct api *api, const struct http_exchange *exchange)
{
    const struct api_token *token;
    struct err err;

    if (!api->need_token) {
        return guard_request(api, exchange, &err) == ERR_OK;
    }
    token = find_token(api, exchange);
    return token && !token->confined;
}

enum err_code
tokens_check(const struct api *api, const struct route *route, struct http_exchange *exchange,
             struct err *err)
{
    const struct api_token *token = find_token(api, exchange);
    unsigned needed = (route->flags & ROUTE_SCOPES) >> SCOPE_SHIFT;
    struct buf wanted BUF_AUTO = {0};
    struct buf given BUF_AUTO = {0};

    if (!token) {
        http_add_header(exchange, "WWW-Authenticate", slice_of("Bearer"));
        return err_set(err, ERR_UNAUTHORIZED,
                       "a bearer token is needed: send the header Authorization: Bearer TOKEN (or "
                       "X-Eider-Token: TOKEN)");
    }
    if (token->scopes & needed) {
        return ERR_OK;
    }
    buf_init(&wanted, 0);
    buf_init(&given, 0);
    add_names(&wanted, needed, " or ");
    add_names(&given, token->scopes, ", ");
    return err_set(err, ERR_FORBIDDEN, "the token \"%s\" lacks the scope %.*s; it has %.*s",
                   token->name, SLICE_FMT(buf_slice(&wanted)), SLICE_FMT(buf_slice(&given)));
}
