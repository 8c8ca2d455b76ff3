/* Choosing the version and the rule, and what comes out of it. */
#include "meter/price.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/suggest.h"
#include "codec/decimal.h"
#include "meter/price_internal.h"

enum { PATH_BYTES_MAX = 1 << 16 };

void *
prices_alloc(struct prices *prices, size_t count, size_t size)
{
    void *memory = arena_zalloc(&prices->arena, count ? count : 1, size);

    assert(memory);
    return memory;
}

struct prices *
prices_ref(struct prices *prices)
{
    atomic_fetch_add_explicit(&prices->refs, 1, memory_order_relaxed);
    return prices;
}

void
prices_unref(struct prices *prices)
{
    if (prices && atomic_fetch_sub_explicit(&prices->refs, 1, memory_order_acq_rel) == 1) {
        arena_fini(&prices->arena);
        free(prices->books);
        free(prices);
    }
}

/* ---- choosing ---- */

/* The version of the api's active book that is in force at `at_us`: the last of those that began,
 * as versions are in the order of their times. `api` "*" is asked for when no other book has it. */
static const struct price_book *
find_version(const struct prices *prices, struct slice api, int64_t at_us, bool *ret_known)
{
    const struct price_book *found = NULL;

    for (size_t i = 0; i < prices->count; i++) {
        const struct price_book *book = prices->books[i];
        if (book->active && slice_is_nocase(api, book->api)) {
            *ret_known = true;
            if (book->effective_from_us <= at_us) {
                found = book;
            }
        }
    }
    return found;
}

static const struct price_book *
version_of(const struct prices *prices, const struct price_call *call)
{
    bool known = false;
    const struct price_book *book = find_version(prices, call->api, call->at_us, &known);

    return known ? book : find_version(prices, SLICE_LITERAL("*"), call->at_us, &known);
}

enum err_code
prices_check_api(const struct prices *prices, struct slice api, struct err *err)
{
    MEM_AUTO const char **names = mem_zalloc(prices->count + 1, sizeof(names[0]));
    size_t count = 0;

    for (size_t i = 0; i < prices->count; i++) {
        const struct price_book *book = prices->books[i];
        if (book->active && (slice_is_nocase(api, book->api) || strcmp(book->api, "*") == 0)) {
            return ERR_OK;
        }
        if (book->active) {
            names[count++] = book->api;
        }
    }
    const char *near = catalog_suggest_name(api, names, count);
    return err_set(err, ERR_NOT_FOUND,
                   "api_name \"%.*s\" has no price book%s%s%s; expected an api of an active book, "
                   "see docs/prices.md",
                   (int)(api.len < PRICE_NAME_MAX ? api.len : PRICE_NAME_MAX), api.ptr,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

static enum err_code
refuse_book(const struct prices *prices, struct slice api, struct slice book, struct err *err)
{
    MEM_AUTO const char **names = mem_zalloc(prices->count + 1, sizeof(names[0]));
    size_t count = 0;

    for (size_t i = 0; i < prices->count; i++) {
        if (slice_is_nocase(api, prices->books[i]->api)) {
            names[count++] = prices->books[i]->book;
        }
    }
    const char *near = count == 1 ? names[0] : catalog_suggest_name(book, names, count);
    return err_set(err, ERR_NOT_FOUND, "api \"%.*s\" has no price book \"%.*s\"%s%s%s",
                   (int)(api.len < PRICE_NAME_MAX ? api.len : PRICE_NAME_MAX), api.ptr,
                   (int)(book.len < PRICE_NAME_MAX ? book.len : PRICE_NAME_MAX), book.ptr,
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

enum err_code
prices_select(struct prices *prices, struct slice api, struct slice book, struct err *err)
{
    bool found = false;

    for (size_t i = 0; i < prices->count; i++) {
        found |=
            slice_is_nocase(api, prices->books[i]->api) && slice_is(book, prices->books[i]->book);
    }
    if (!found) {
        return refuse_book(prices, api, book, err);
    }
    for (size_t i = 0; i < prices->count; i++) {
        struct price_book *one = prices->books[i];
        if (slice_is_nocase(api, one->api)) {
            one->active = slice_is(book, one->book);
        }
    }
    return ERR_OK;
}

/* ---- pricing ---- */

static bool
failed(const struct price_call *call)
{
    return !call->success || (call->has_status && (call->status < 200 || call->status > 299));
}

static bool
rule_formula(struct price_match *match, const struct price_rule *rule, int64_t *ret_credits,
             const char **ret_problem)
{
    price_wide value = 0;

    switch (formula_number(&rule->credits, price_match_lookup, match, &value, ret_problem)) {
    case FORMULA_KNOWN:
        break;
    case FORMULA_UNKNOWN:
        assert(rule->has_max);
        *ret_credits = rule->max;
        return true;
    case FORMULA_FAULT:
        return false;
    }
    int64_t credits = price_wide_to_micro(value);
    if (credits < 0 || credits > DECIMAL_MAX) {
        *ret_problem = credits < 0 ? "the result is negative" : "the result is too large";
        return false;
    }
    *ret_credits = credits;
    return true;
}

static bool
rule_credits(struct price_match *match, const struct price_rule *rule, int64_t *ret_credits,
             const char **ret_problem)
{
    if (!match->before && failed(match->call) && !rule->failure_same) {
        *ret_credits = rule->on_failure;
        return true;
    }
    if (!rule_formula(match, rule, ret_credits, ret_problem)) {
        return false;
    }
    if (match->before && !rule->failure_same && rule->on_failure > *ret_credits) {
        *ret_credits = rule->on_failure;
    }
    return true;
}

static enum err_code
choose(struct price_match *match, struct price_quote *ret_quote, struct err *err)
{
    const struct price_book *book = match->book;
    const struct price_rule *best = NULL;
    const char *problem = "";
    int64_t most = 0;
    enum tri answer = TRI_NO;

    for (size_t i = 0; i < book->rule_count && answer != TRI_YES; i++) {
        const struct price_rule *rule = &book->rules[i];
        int64_t credits = 0;
        bool fine = price_match_rule(match, rule, &answer, &problem);
        if (fine && (answer == TRI_NO || (answer == TRI_MAYBE && !match->before))) {
            continue;
        }
        if (!fine || !rule_credits(match, rule, &credits, &problem)) {
            return err_set(err, ERR_INVALID,
                           "price rule %s/%s (%s:%zu) cannot price this call: %s; expected an "
                           "amount of 0 to 999999999999",
                           book->book, rule->name, book->source, rule->line, problem);
        }
        if (!best || credits > most) {
            best = rule;
            most = credits;
        }
    }
    struct price_quote quote = {.found = best != NULL, .credits = most, .book = book->book};
    if (best) {
        quote.rule = best->name;
        snprintf(quote.rule_id, sizeof(quote.rule_id), "%s/%s@%.8s", book->book, best->name,
                 book->digest);
    }
    *ret_quote = quote;
    return ERR_OK;
}

static enum err_code
price(const struct prices *prices, const struct price_call *call, bool before,
      struct price_quote *ret_quote, struct err *err)
{
    const struct price_book *book = version_of(prices, call);

    if (!book) {
        *ret_quote = (struct price_quote){0};
        return ERR_OK;
    }
    BUF_AUTO struct buf path;
    buf_init(&path, PATH_BYTES_MAX);
    price_path_clean(call->path, &path);
    if (path.overflow) {
        return err_set(err, ERR_TOO_LARGE, "the path of the call is longer than %d bytes",
                       PATH_BYTES_MAX);
    }
    struct price_match match = {.book = book, .call = call, .before = before};
    match.path = buf_slice(&path);
    match.query = call->query;
    if (match.query.len == 0) {
        struct slice rest = call->path;
        struct slice head;
        slice_split(&rest, '?', &head);
        slice_split(&rest, '#', &match.query);
    }
    return choose(&match, ret_quote, err);
}

enum err_code
prices_quote(const struct prices *prices, const struct price_call *call,
             struct price_quote *ret_quote, struct err *err)
{
    return price(prices, call, true, ret_quote, err);
}

enum err_code
prices_cost(const struct prices *prices, const struct price_call *call,
            struct price_quote *ret_quote, struct err *err)
{
    return price(prices, call, false, ret_quote, err);
}

/* ---- looking at what is loaded ---- */

size_t
prices_version_count(const struct prices *prices)
{
    return prices->count;
}

void
prices_version_at(const struct prices *prices, size_t index, struct price_version *ret)
{
    assert(index < prices->count);
    const struct price_book *book = prices->books[index];
    *ret = (struct price_version){
        .book = book->book,
        .api = book->api,
        .version = book->version,
        .effective_from_us = book->effective_from_us,
        .active = book->active,
        .source = book->source,
        .digest = book->digest,
        .rule_count = book->rule_count,
    };
}
