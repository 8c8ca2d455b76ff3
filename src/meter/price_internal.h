/* How a price book looks when it is loaded; for price*.c only. Everything lives in the arena of its
 * `struct prices` and does not change once that is shared. */
#ifndef EIDER_METER_PRICE_INTERNAL_H
#define EIDER_METER_PRICE_INTERNAL_H

#include <stdatomic.h>

#include "base/arena.h"
#include "meter/price.h"
#include "meter/price_formula.h"

enum {
    PRICE_DIGEST_HEX = 64,
    PRICE_TOTAL_BYTES_MAX = 8 << 20, /* of all files */
    PRICE_ARENA_BYTES_MAX = 256 << 20,
    PRICE_CHOICES_MAX = 64, /* alternatives of one key: paths, values, sources */
    PRICE_CONDITIONS_MAX = 16
};

/* Names that formulas know beside the declared parameters; they come first. */
enum price_name {
    PRICE_REQUEST_BYTES,
    PRICE_RESPONSE_BYTES,
    PRICE_BYTES, /* both together */
    PRICE_STATUS,
    PRICE_OWN_NAMES
};

enum price_source_kind { SOURCE_QUERY, SOURCE_FIELD, SOURCE_SPAN, SOURCE_FORMULA };

/* Where a parameter comes from. */
struct price_source {
    enum price_source_kind kind;
    const char **names; /* query, field: the first that is there */
    size_t name_count;
    const char *from; /* span: query parameters with the ends in seconds, and the step as text */
    const char *to;
    const char *step;
    struct formula formula; /* of the parameters before this one */
};

struct price_param {
    const char *name;
    struct price_source *sources; /* the first that gives a value */
    size_t source_count;
};

/* What a query parameter or a field must be. */
struct price_condition {
    const char *name;
    bool exists; /* without values: must (not) be there */
    const char **values;
    size_t value_count;
};

struct price_status_range {
    int from;
    int to;
};

struct price_rule {
    const char *name;
    size_t line;
    const char **methods; /* no alternatives: anything */
    size_t method_count;
    const char **paths;
    size_t path_count;
    struct price_condition *query;
    size_t query_count;
    struct price_condition *fields;
    size_t field_count;
    struct price_status_range *statuses;
    size_t status_count;
    struct formula when; /* may be absent */
    struct formula credits;
    bool has_max;
    int64_t max;
    bool failure_same; /* a failed call costs what any other does */
    int64_t on_failure;
};

struct price_book {
    const char *book;
    const char *api; /* "*": any that no other book prices */
    const char *description;
    uint32_t version;
    int64_t effective_from_us;
    bool active;
    bool shipped;
    const char *source;
    size_t line;
    char digest[PRICE_DIGEST_HEX + 1];
    struct price_param *params;
    size_t param_count;
    const char **names; /* own names, then the parameters' */
    struct price_rule *rules;
    size_t rule_count;
};

struct prices {
    atomic_uint refs;
    struct arena arena;
    struct price_book **books; /* every version; by name, then effective_from */
    size_t count;
    size_t input_bytes;
};

/* Zeroed memory; the reader stops long before the arena is full. */
void *prices_alloc(struct prices *prices, size_t count, size_t size);

/* ---- price_yaml.c ---- */

/* Adds the versions of one file. */
enum err_code prices_read_yaml(struct prices *prices, const char *name, struct slice text,
                               bool shipped, struct err *err);

/* ---- price_check.c ---- */

/* Refuses a rule that can never match; `name` is the file's. */
enum err_code price_book_check(const struct price_book *book, const char *name, struct err *err);

/* ---- price_glob.c ---- */

/* Whether `path` is matched by `pattern`: '*' is anything within a segment, "**" anything. */
bool price_glob(const char *pattern, struct slice path);

/* Whether `wide` matches whatever `narrow` matches, as far as the patterns themselves tell. */
bool price_glob_covers(const char *wide, const char *narrow);

/* The path of a path or URL as patterns see it: percent-decoded, without "//", "." and "..", and
 * without a slash at the end. Appends to `out`. */
void price_path_clean(struct slice path, struct buf *out);

/* ---- price_match.c ---- */

struct price_match {
    const struct price_book *book;
    const struct price_call *call;
    struct slice path; /* cleaned */
    struct slice query;
    bool before; /* the call was not made yet */
    struct {
        bool done;
        bool known;
        price_wide value;
    } values[FORMULA_NAMES_MAX];
};

/* Whether a rule matches. False, with *ret_problem, when a condition cannot be computed. */
bool price_match_rule(struct price_match *match, const struct price_rule *rule, enum tri *ret,
                      const char **ret_problem);

/* A formula_lookup_fn over a struct price_match. */
bool price_match_lookup(void *user, uint16_t index, price_wide *ret_value);

/* ---- price_json.c ---- */

/* One version as a JSON object; `meaning`: only what prices depend on, for the digest. */
void price_book_write(const struct price_book *book, bool meaning, struct buf *out);

/* ---- made at build from prices/ ---- */

struct price_shipped {
    const char *name;
    struct slice text;
};
extern const struct price_shipped prices_shipped[];
extern const size_t prices_shipped_count;

#endif
