/*
 * Tokens with scopes as the configuration writes them: "name:scope+scope:token", or
 * "name:scope+scope:sha256:64 hex digits" where the token itself is not to stand in a file.
 *
 * Pure; any thread.
 */
#ifndef EIDER_SERVER_TOKENS_H
#define EIDER_SERVER_TOKENS_H

#include "api/api.h"
#include "base/err.h"
#include "base/slice.h"

/* Reads one. ERR_USAGE says what is wrong without showing the token. */
enum err_code token_parse(struct slice text, struct api_token *ret_token, struct err *err);

#endif
