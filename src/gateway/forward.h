/*
 * What of a request and an answer is forwarded: where a target leads, which header fields are end
 * to end (RFC 9110, 7.6.1). Pure.
 */
#ifndef EIDER_GATEWAY_FORWARD_H
#define EIDER_GATEWAY_FORWARD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

/* Parts of "/gateway/{name}{path}?{query}", as they were sent. */
struct forward_target {
    struct slice name;
    struct slice path;  /* begins with '/', or is empty */
    struct slice query; /* without '?'; empty when there is none */
};

/*
 * Takes a request target (absolute form too) apart. ERR_NOT_FOUND without a name; ERR_INVALID for a
 * path with dot segments, also encoded ones, that would leave the upstream's base.
 */
enum err_code forward_parse(struct slice target, struct forward_target *ret_target,
                            struct err *err);

/* The query without its parameters `name`; the same slice when there are none. */
struct slice forward_strip_query(struct arena *arena, struct slice query, const char *name);

/* Whether a field belongs to one connection, or is made anew for the next one. */
bool forward_is_hop(struct slice name);

/* Whether `connection` (the values of Connection, comma-separated) names the field. */
bool forward_is_listed(struct slice connection, struct slice name);

/* Whether a field of a request is forwarded at all: neither hop by hop nor for Eider. */
bool forward_takes_request(struct slice name);

/* The same for a field of an answer, whose value can be sent on as it is. */
bool forward_takes_answer(struct slice name, struct slice value);

/* Credentials of the client's own. */
bool forward_is_credential(struct slice name);

/* Seconds of a Retry-After in digits, or -1. */
int forward_retry_after_s(struct slice value);

#endif
