/*
 * Price books: what a call to a paid API costs. Rules come from YAML (docs/prices.md); several
 * versions of a book may be loaded, each in force from its `effective_from`. Within a version the
 * rules are tried in order and the first that matches wins.
 *
 *   prices_load("prices", &prices, &err);             the shipped books, and those of a folder
 *   prices_quote(prices, &call, &quote, &err);        before the call: the most it can cost
 *   prices_cost(prices, &call, &quote, &err);         after the call: what it cost
 *
 * Credits are micro-credits (codec/decimal.h). A parameter (candles, tokens) that the call does not
 * tell is unknown: a condition over it may hold for a quote and does not hold for a cost, and a
 * formula over it gives the rule's declared `max`. So a cost never exceeds the quote of the same
 * call, unless the response tells more than the book's author promised by `max`.
 *
 * Ownership: a `struct prices` is counted. It is made by one of the loaders with one reference, may
 * be changed by prices_select until it is shared, and never changes afterwards: a reload makes a
 * new one and swaps the pointer. Texts of a quote live as long as the reference it was made with.
 * Threads: any thread may quote, ref and unref.
 */
#ifndef EIDER_METER_PRICE_H
#define EIDER_METER_PRICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    PRICE_NAME_MAX = 48,     /* bytes of a book's, rule's or parameter's name */
    PRICE_RULE_ID_MAX = 112, /* "book/rule@8 hex digits", NUL included */
    PRICE_FILE_BYTES_MAX = 1 << 20,
    PRICE_FILES_MAX = 256,     /* of a folder */
    PRICE_VERSIONS_MAX = 1024, /* of all books */
    PRICE_RULES_MAX = 512,     /* of a version */
    PRICE_PARAMS_MAX = 32      /* of a version */
};

struct prices;

/* Something known about a call beyond its request line: a member of the response, a header, a
 * parameter that the caller states itself (candles, tokens). */
struct price_field {
    struct slice name;
    struct slice value;
};

/* A call as it is known at the moment. Texts are borrowed; zeroes mean "not known". */
struct price_call {
    struct slice api; /* compared without case */
    struct slice method;
    struct slice path;  /* or a whole URL; what is behind '?' is taken when `query` is empty */
    struct slice query; /* raw, without '?' */
    bool has_status;    /* false before the call, and when there was no answer */
    int status;
    bool success; /* for prices_cost; a status outside of 200-299 is a failure whatever this says */
    uint64_t request_bytes;
    uint64_t response_bytes; /* for prices_cost */
    int64_t at_us;           /* chooses the version of the book */
    const struct price_field *fields;
    size_t field_count;
};

struct price_quote {
    bool found;       /* a rule matched */
    int64_t credits;  /* micro-credits, never negative; 0 when nothing was found */
    const char *book; /* NULL: no active book for this api is in force at that time */
    const char *rule; /* NULL: none matched */
    char rule_id[PRICE_RULE_ID_MAX]; /* "birdeye/ohlcv@1f2e3d4c": the digest of the version */
};

/* The shipped books and over them those of `dir` (NULL: only the shipped): a book of the folder
 * replaces a shipped one of the same name, all versions of it, and is the active one of its api. */
enum err_code prices_load(const char *dir, struct prices **ret, struct err *err);

/* All *.yaml and *.yml of a folder, in the order of their names; nothing else. */
enum err_code prices_load_dir(const char *dir, struct prices **ret, struct err *err);

/* One file's text: one version of a book a YAML document. `name` stands in error messages, which
 * begin with "name:line:column: ". */
enum err_code prices_load_text(const char *name, struct slice text, struct prices **ret,
                               struct err *err);

/* The shipped books; they are checked by the tests and cannot fail. */
void prices_builtin(struct prices **ret);

struct prices *prices_ref(struct prices *prices);
void prices_unref(struct prices *prices); /* NULL is fine */

/* Makes `book` the one that prices `api`. ERR_NOT_FOUND names the nearest. Before sharing only. */
enum err_code prices_select(struct prices *prices, struct slice api, struct slice book,
                            struct err *err);

/* ERR_NOT_FOUND, naming the nearest, when no active book prices `api`. */
enum err_code prices_check_api(const struct prices *prices, struct slice api, struct err *err);

/*
 * The most that a call can cost, by what is known before it. Whatever may still decide between
 * rules (status, response, unknown parameters) counts at its dearest. Nothing found is no error.
 * ERR_INVALID: a formula came to a negative, too large or undefined amount; the message names the
 * rule. ret_quote is untouched then.
 */
enum err_code prices_quote(const struct prices *prices, const struct price_call *call,
                           struct price_quote *ret_quote, struct err *err);

/* What a call cost, by what is known after it. A failed call costs the rule's on_failure, which is
 * 0 unless the book says otherwise. Errors as prices_quote. */
enum err_code prices_cost(const struct prices *prices, const struct price_call *call,
                          struct price_quote *ret_quote, struct err *err);

/* One loaded version of a book, for listings and for the table price_book. */
struct price_version {
    const char *book;
    const char *api;
    uint32_t version;
    int64_t effective_from_us;
    bool active;        /* the book is the one that prices its api */
    const char *source; /* file name, or "builtin:birdeye.yaml" */
    const char *digest; /* 64 hex digits over the meaning of the version, not over its spelling */
    size_t rule_count;
};

/* By book, then effective_from. */
size_t prices_version_count(const struct prices *prices);
void prices_version_at(const struct prices *prices, size_t index, struct price_version *ret);

/* Appends one version with its rules as a JSON object. */
void prices_version_json(const struct prices *prices, size_t index, struct buf *out);

/* Appends all versions with their rules as a JSON array. */
void prices_write_json(const struct prices *prices, struct buf *out);

#endif
