/*
 * Takes secrets out of what is logged, stored and shown: URLs, header values, JSON metadata, error
 * messages. Each secret becomes "[redacted]"; everything else stays byte for byte.
 *
 * A secret is known by its name (api_key, X-API-KEY, password, Authorization, ...; case, '-', '_'
 * and percent-encoding do not matter), by its place (user information of a URL, a long segment of a
 * path behind /v2/), or by its looks (Bearer ..., a JWT, sk-..., ghp_..., AKIA...). What is neither
 * named, nor placed, nor looks like a secret is not found; names can be added.
 *
 * Deterministic and idempotent. Functions append to `out`. Pure; any thread.
 */
#ifndef EIDER_METER_REDACT_H
#define EIDER_METER_REDACT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/slice.h"

#define REDACTED "[redacted]"

/* Names of secrets beside the known ones, from the configuration. Borrowed. */
struct redact_rules {
    const char *const *names;
    size_t count;
};

/* An absolute URL, or a path with or without a query (an endpoint). */
void redact_url(struct slice url, struct buf *out);

/* Any text: messages, logs. URLs in it, name=value, "name": "value" and name: value. */
void redact_text(struct slice text, struct buf *out);

/* A JSON value: members of secret names, at any depth, and texts that hold secrets. Text that is no
 * JSON becomes a JSON string, redacted as a text. */
void redact_json(struct slice json, struct buf *out);

/* The value of the header `name`. */
void redact_header(struct slice name, struct slice value, struct buf *out);

/* The same with names of one's own; `rules` may be NULL. */
void redact_url_with(const struct redact_rules *rules, struct slice url, struct buf *out);
void redact_text_with(const struct redact_rules *rules, struct slice text, struct buf *out);
void redact_json_with(const struct redact_rules *rules, struct slice json, struct buf *out);
void redact_header_with(const struct redact_rules *rules, struct slice name, struct slice value,
                        struct buf *out);

/* Letters, digits, "_", "-" and "." alone, and no token: redact_text leaves it as it is. */
bool redact_is_plain(struct slice text);

/* Whether a query parameter, header or member of this name holds a secret. */
bool redact_is_secret(const struct redact_rules *rules, struct slice name);

#endif
