/* Rules that can never match: because what they ask for contradicts itself, or because an earlier
 * rule takes all of it. Only certain cases are refused; what cannot be decided passes. */
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "meter/price_internal.h"

static bool
has_text(const char *const *texts, size_t count, const char *text, bool nocase)
{
    for (size_t i = 0; i < count; i++) {
        if (nocase ? strcasecmp(texts[i], text) == 0 : strcmp(texts[i], text) == 0) {
            return true;
        }
    }
    return false;
}

static bool
methods_cover(const struct price_rule *wide, const struct price_rule *narrow)
{
    bool cover = wide->method_count == 0 || narrow->method_count > 0;

    for (size_t i = 0; wide->method_count && i < narrow->method_count; i++) {
        cover &= has_text(wide->methods, wide->method_count, narrow->methods[i], true);
    }
    return cover;
}

static bool
paths_cover(const struct price_rule *wide, const struct price_rule *narrow)
{
    static const char *const anything[] = {"**"};
    const char *const *paths = narrow->path_count ? (const char *const *)narrow->paths : anything;
    size_t count = narrow->path_count ? narrow->path_count : 1;

    for (size_t i = 0; wide->path_count && i < count; i++) {
        bool covered = false;
        for (size_t j = 0; j < wide->path_count && !covered; j++) {
            covered = price_glob_covers(wide->paths[j], paths[i]);
        }
        if (!covered) {
            return false;
        }
    }
    return true;
}

/* Whether `narrow` says about the same name at least what `wide` does. */
static bool
condition_covers(const struct price_condition *wide, const struct price_condition *narrow)
{
    if (wide->value_count == 0) {
        return wide->exists == narrow->exists;
    }
    bool cover = narrow->value_count > 0;
    for (size_t i = 0; i < narrow->value_count; i++) {
        cover &= has_text(wide->values, wide->value_count, narrow->values[i], false);
    }
    return cover;
}

static bool
conditions_cover(const struct price_condition *wide, size_t wide_count,
                 const struct price_condition *narrow, size_t narrow_count)
{
    for (size_t i = 0; i < wide_count; i++) {
        bool covered = false;
        for (size_t j = 0; j < narrow_count && !covered; j++) {
            covered =
                strcmp(wide[i].name, narrow[j].name) == 0 && condition_covers(&wide[i], &narrow[j]);
        }
        if (!covered) {
            return false;
        }
    }
    return true;
}

static bool
statuses_cover(const struct price_rule *wide, const struct price_rule *narrow)
{
    bool cover = wide->status_count == 0 || narrow->status_count > 0;

    for (size_t i = 0; wide->status_count && i < narrow->status_count; i++) {
        bool covered = false;
        for (size_t j = 0; j < wide->status_count && !covered; j++) {
            covered = wide->statuses[j].from <= narrow->statuses[i].from &&
                      wide->statuses[j].to >= narrow->statuses[i].to;
        }
        cover &= covered;
    }
    return cover;
}

static bool
rule_covers(const struct price_rule *wide, const struct formula_bounds *wide_bounds,
            const struct price_rule *narrow, const struct formula_bounds *narrow_bounds)
{
    return methods_cover(wide, narrow) && paths_cover(wide, narrow) &&
           conditions_cover(wide->query, wide->query_count, narrow->query, narrow->query_count) &&
           conditions_cover(wide->fields, wide->field_count, narrow->fields, narrow->field_count) &&
           statuses_cover(wide, narrow) && formula_implied(narrow_bounds, wide_bounds);
}

static enum err_code
refuse_contradiction(const struct price_book *book, const struct price_rule *rule,
                     const struct formula_bounds *bounds, const char *name, struct err *err)
{
    if (bounds->culprit == FORMULA_NAMES_MAX) {
        return err_set(err, ERR_INVALID, "%s:%zu: rule %s can never match: \"%.128s\" never holds",
                       name, rule->line, rule->name, rule->when.source);
    }
    return err_set(err, ERR_INVALID,
                   "%s:%zu: rule %s can never match: no value of %s satisfies \"%.128s\" "
                   "(parameters are 0 or more)",
                   name, rule->line, rule->name, book->names[bounds->culprit], rule->when.source);
}

enum err_code
price_book_check(const struct price_book *book, const char *name, struct err *err)
{
    MEM_AUTO struct formula_bounds *bounds = mem_zalloc(book->rule_count + 1, sizeof(bounds[0]));

    for (size_t i = 0; i < book->rule_count; i++) {
        const struct price_rule *rule = &book->rules[i];
        formula_bounds(&rule->when, &bounds[i]);
        if (bounds[i].empty) {
            return refuse_contradiction(book, rule, &bounds[i], name, err);
        }
        for (size_t j = 0; j < i; j++) {
            if (rule_covers(&book->rules[j], &bounds[j], rule, &bounds[i])) {
                return err_set(err, ERR_INVALID,
                               "%s:%zu: rule %s can never match: rule %s in line %zu stands before "
                               "it and matches the same calls or more; put the narrower rule first",
                               name, rule->line, rule->name, book->rules[j].name,
                               book->rules[j].line);
            }
        }
    }
    return ERR_OK;
}
