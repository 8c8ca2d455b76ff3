/* Holds a call against a rule. What the call does not tell yet leaves the answer open: TRI_MAYBE.
 */
#include <string.h>

#include "meter/price_internal.h"

enum { NUMBER_BYTES_MAX = 64, STATUS_MIN = 100, STATUS_MAX = 599 };

static int
hex_digit(char c)
{
    const char *digits = "0123456789abcdef0123456789ABCDEF";
    const char *found = c ? strchr(digits, c) : NULL;

    return found ? (int)((found - digits) % 16) : -1;
}

/* Takes one byte off a text in the form of a query: %XX and '+' decoded. */
static char
take_decoded(struct slice *text)
{
    char c = text->ptr[0];
    size_t used = 1;

    if (c == '+') {
        c = ' ';
    } else if (c == '%' && text->len > 2 && hex_digit(text->ptr[1]) >= 0 &&
               hex_digit(text->ptr[2]) >= 0) {
        c = (char)(hex_digit(text->ptr[1]) * 16 + hex_digit(text->ptr[2]));
        used = 3;
    }
    *text = slice_sub(*text, used, text->len);
    return c;
}

static bool
decoded_is(struct slice raw, const char *text)
{
    while (raw.len > 0 && *text) {
        if (take_decoded(&raw) != *text++) {
            return false;
        }
    }
    return raw.len == 0 && !*text;
}

/* Walks a raw query; false at its end. */
static bool
next_pair(struct slice *query, struct slice *ret_name, struct slice *ret_value)
{
    struct slice pair;

    do {
        if (query->len == 0) {
            return false;
        }
        slice_split(query, '&', &pair);
    } while (pair.len == 0);
    *ret_value = pair;
    if (!slice_split(ret_value, '=', ret_name)) {
        *ret_value = SLICE_LITERAL("");
    }
    return true;
}

/* Finds a query parameter. *ret_clear is false when it is there with different values: nobody
 * knows which one the API takes. */
static bool
find_query(struct slice query, const char *wanted, struct slice *ret_value, bool *ret_clear)
{
    struct slice name;
    struct slice value;
    bool found = false;

    *ret_clear = true;
    while (next_pair(&query, &name, &value)) {
        if (!decoded_is(name, wanted)) {
            continue;
        }
        if (found && !slice_eq(value, *ret_value)) {
            *ret_clear = false;
        }
        *ret_value = value;
        found = true;
    }
    return found;
}

static bool
find_field(const struct price_call *call, const char *wanted, struct slice *ret_value)
{
    for (size_t i = 0; i < call->field_count; i++) {
        if (slice_is_nocase(call->fields[i].name, wanted)) {
            *ret_value = call->fields[i].value;
            return true;
        }
    }
    return false;
}

/* ---- values of parameters ---- */

/* A number that is not negative. */
static bool
read_number(struct slice text, bool encoded, price_wide *ret_value)
{
    char decoded[NUMBER_BYTES_MAX];
    size_t len = 0;

    text = slice_trim(text);
    while (encoded && text.len > 0) {
        if (len == sizeof(decoded)) {
            return false;
        }
        decoded[len++] = take_decoded(&text);
    }
    return price_wide_parse(encoded ? slice_make(decoded, len) : text, ret_value) &&
           *ret_value >= 0;
}

/* Seconds of a step as APIs of market data write it: 1m, 15m, 1H, 4h, 1D, 1W; a month (1M) is 28
 * days, which gives the most candles. */
static bool
read_step(struct slice text, price_wide *ret_seconds)
{
    char decoded[NUMBER_BYTES_MAX];
    size_t len = 0;
    int64_t unit;

    while (text.len > 0 && len < sizeof(decoded)) {
        decoded[len++] = take_decoded(&text);
    }
    if (text.len > 0 || len < 2) {
        return false;
    }
    switch (decoded[len - 1]) {
    case 's':
        unit = 1;
        break;
    case 'm':
        unit = 60;
        break;
    case 'h':
    case 'H':
        unit = 3600;
        break;
    case 'd':
    case 'D':
        unit = 86400;
        break;
    case 'w':
    case 'W':
        unit = INT64_C(7) * 86400;
        break;
    case 'M':
        unit = INT64_C(28) * 86400;
        break;
    default:
        return false;
    }
    return price_wide_parse(slice_make(decoded, len - 1), ret_seconds) && *ret_seconds > 0 &&
           !__builtin_mul_overflow(*ret_seconds, (price_wide)unit, ret_seconds);
}

/* (to - from) / step, rounded up. */
static bool
read_span(const struct price_match *match, const struct price_source *source, price_wide *ret_value)
{
    const char *const names[] = {source->from, source->to, source->step};
    struct slice texts[3];
    price_wide from;
    price_wide to;
    price_wide step;
    bool clear;

    for (size_t i = 0; i < 3; i++) {
        if (!find_query(match->query, names[i], &texts[i], &clear) || !clear) {
            return false;
        }
    }
    if (!read_number(texts[0], true, &from) || !read_number(texts[1], true, &to) ||
        !read_step(texts[2], &step) || to < from) {
        return false;
    }
    price_wide count = (to - from) / step + ((to - from) % step > 0);
    if (count > PRICE_WIDE_MAX / PRICE_WIDE_ONE) {
        return false;
    }
    *ret_value = count * PRICE_WIDE_ONE;
    return true;
}

static bool
read_source(struct price_match *match, const struct price_source *source, price_wide *ret_value)
{
    const char *problem;
    struct slice text;
    bool clear;

    switch (source->kind) {
    case SOURCE_QUERY:
        for (size_t i = 0; i < source->name_count; i++) {
            if (find_query(match->query, source->names[i], &text, &clear)) {
                return clear && read_number(text, true, ret_value);
            }
        }
        return false;
    case SOURCE_FIELD:
        for (size_t i = 0; i < source->name_count; i++) {
            if (find_field(match->call, source->names[i], &text)) {
                return read_number(text, false, ret_value);
            }
        }
        return false;
    case SOURCE_SPAN:
        return read_span(match, source, ret_value);
    case SOURCE_FORMULA:
        return formula_number(&source->formula, price_match_lookup, match, ret_value, &problem) ==
                   FORMULA_KNOWN &&
               *ret_value >= 0;
    }
    return false;
}

static bool
read_own(const struct price_match *match, enum price_name name, price_wide *ret_value)
{
    const struct price_call *call = match->call;

    switch (name) {
    case PRICE_REQUEST_BYTES:
        *ret_value = price_wide_from_u64(call->request_bytes);
        return true;
    case PRICE_RESPONSE_BYTES:
        *ret_value = price_wide_from_u64(call->response_bytes);
        return !match->before;
    case PRICE_BYTES: {
        uint64_t sum;
        bool over = __builtin_add_overflow(call->request_bytes, call->response_bytes, &sum);
        *ret_value = price_wide_from_u64(over ? UINT64_MAX : sum);
        return !match->before;
    }
    case PRICE_STATUS:
        *ret_value = call->status * PRICE_WIDE_ONE;
        return call->has_status && call->status >= STATUS_MIN && call->status <= STATUS_MAX;
    case PRICE_OWN_NAMES:
        break;
    }
    return false;
}

/* A parameter asks only for those before it, so this ends. */
bool
price_match_lookup(void *user, uint16_t index, price_wide *ret_value)
{
    struct price_match *match = user;

    if (!match->values[index].done) {
        price_wide value = 0;
        bool known = false;
        if (index < PRICE_OWN_NAMES) {
            known = read_own(match, (enum price_name)index, &value);
        } else {
            const struct price_param *param = &match->book->params[index - PRICE_OWN_NAMES];
            for (size_t i = 0; i < param->source_count && !known; i++) {
                known = read_source(match, &param->sources[i], &value);
            }
        }
        match->values[index].done = true;
        match->values[index].known = known;
        match->values[index].value = value;
    }
    *ret_value = match->values[index].value;
    return match->values[index].known;
}

/* ---- matching ---- */

static enum tri
match_condition(const struct price_condition *condition, bool found, bool may_come,
                struct slice value, bool encoded)
{
    if (!found) {
        return may_come ? TRI_MAYBE : condition->value_count == 0 && !condition->exists;
    }
    if (condition->value_count == 0) {
        return condition->exists ? TRI_YES : TRI_NO;
    }
    for (size_t i = 0; i < condition->value_count; i++) {
        if (encoded ? decoded_is(value, condition->values[i])
                    : slice_is(value, condition->values[i])) {
            return TRI_YES;
        }
    }
    return TRI_NO;
}

static enum tri
match_query(const struct price_match *match, const struct price_condition *condition)
{
    struct slice value = {0};
    bool clear = true;
    bool found = find_query(match->query, condition->name, &value, &clear);
    enum tri answer = match_condition(condition, found, false, value, true);

    return !clear && condition->value_count > 0 ? TRI_MAYBE : answer;
}

static enum tri
match_status(const struct price_match *match, const struct price_rule *rule)
{
    if (!match->call->has_status) {
        return match->before ? TRI_MAYBE : TRI_NO;
    }
    for (size_t i = 0; i < rule->status_count; i++) {
        if (match->call->status >= rule->statuses[i].from &&
            match->call->status <= rule->statuses[i].to) {
            return TRI_YES;
        }
    }
    return TRI_NO;
}

static bool
match_path(const struct price_match *match, const struct price_rule *rule)
{
    bool matched = rule->path_count == 0;

    for (size_t i = 0; i < rule->path_count && !matched; i++) {
        matched = price_glob(rule->paths[i], match->path);
    }
    return matched;
}

static bool
match_method(const struct price_match *match, const struct price_rule *rule)
{
    struct slice method = match->call->method.len ? match->call->method : SLICE_LITERAL("GET");
    bool matched = rule->method_count == 0;

    for (size_t i = 0; i < rule->method_count && !matched; i++) {
        matched = slice_is_nocase(method, rule->methods[i]);
    }
    return matched;
}

static enum tri
both(enum tri a, enum tri b)
{
    if (a == TRI_NO || b == TRI_NO) {
        return TRI_NO;
    }
    return a == TRI_YES ? b : a;
}

bool
price_match_rule(struct price_match *match, const struct price_rule *rule, enum tri *ret,
                 const char **ret_problem)
{
    enum tri answer = TRI_YES;
    enum tri when;

    if (!match_method(match, rule) || !match_path(match, rule)) {
        *ret = TRI_NO;
        return true;
    }
    for (size_t i = 0; i < rule->query_count; i++) {
        answer = both(answer, match_query(match, &rule->query[i]));
    }
    for (size_t i = 0; i < rule->field_count; i++) {
        const struct price_condition *condition = &rule->fields[i];
        struct slice value = {0};
        bool found = find_field(match->call, condition->name, &value);
        answer = both(answer, match_condition(condition, found, match->before, value, false));
    }
    if (rule->status_count > 0) {
        answer = both(answer, match_status(match, rule));
    }
    if (answer != TRI_NO && rule->when.nodes) {
        if (!formula_truth(&rule->when, price_match_lookup, match, &when, ret_problem)) {
            return false;
        }
        answer = both(answer, when);
    }
    *ret = answer;
    return true;
}
