/* Parameters and rules of a price book. */
#include <stdio.h>
#include <string.h>

#include "codec/decimal.h"
#include "codec/number.h"
#include "meter/price_yaml.h"

enum { STATUS_MIN = 100, STATUS_MAX = 599 };

static const char *const OWN_NAMES[PRICE_OWN_NAMES] = {
    [PRICE_REQUEST_BYTES] = "request_bytes",
    [PRICE_RESPONSE_BYTES] = "response_bytes",
    [PRICE_BYTES] = "bytes",
    [PRICE_STATUS] = "status",
};

/* ---- parameters ---- */

static enum err_code
read_span(struct yaml_file *file, const yaml_node_t *node, struct price_source *ret)
{
    static const char *const keys[] = {"from", "to", "step"};
    struct yaml_map map = {.keys = keys, .count = 3};
    const char **texts[] = {&ret->from, &ret->to, &ret->step};
    enum err_code code = yaml_read_map(file, node, "span", &map);

    for (size_t i = 0; i < 3 && code == ERR_OK; i++) {
        if (!map.values[i]) {
            return yaml_fail(file, node,
                             "span lacks \"%s\"; expected the names of three query parameters: "
                             "from, to, step",
                             keys[i]);
        }
        code = yaml_read_text(file, map.values[i], keys[i], texts[i]);
    }
    return code;
}

static enum err_code
read_source(struct yaml_file *file, const yaml_node_t *node, const struct formula_names *names,
            struct price_source *ret)
{
    static const char *const keys[] = {"query", "field", "span", "formula"};
    struct yaml_map map = {.keys = keys, .count = 4};
    enum err_code code = yaml_read_map(file, node, "a source of a parameter", &map);
    size_t given = 0;

    if (code != ERR_OK) {
        return code;
    }
    for (size_t i = 0; i < map.count; i++) {
        given += map.values[i] != NULL;
    }
    if (given != 1) {
        return yaml_fail(file, node,
                         "a source has %zu of the keys query, field, span, formula; expected one "
                         "(several sources are a list)",
                         given);
    }
    if (map.values[0]) {
        ret->kind = SOURCE_QUERY;
        return yaml_read_texts(file, map.values[0], "query", &ret->names, &ret->name_count);
    }
    if (map.values[1]) {
        ret->kind = SOURCE_FIELD;
        return yaml_read_texts(file, map.values[1], "field", &ret->names, &ret->name_count);
    }
    if (map.values[2]) {
        ret->kind = SOURCE_SPAN;
        return read_span(file, map.values[2], ret);
    }
    ret->kind = SOURCE_FORMULA;
    return yaml_read_formula(file, map.values[3], "formula", names, false, &ret->formula);
}

/* Formulas of a parameter know the ones before it. */
static enum err_code
read_param(struct yaml_file *file, const yaml_node_t *node, const struct formula_names *names,
           struct price_param *ret)
{
    size_t count = 1;
    enum err_code code = ERR_OK;

    if (node->type == YAML_SEQUENCE_NODE) {
        count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    }
    if (count == 0 || count > PRICE_CHOICES_MAX) {
        return yaml_fail(file, node, "%s: a list of %zu; expected 1 to %d sources", ret->name,
                         count, PRICE_CHOICES_MAX);
    }
    ret->sources = prices_alloc(file->prices, count, sizeof(ret->sources[0]));
    ret->source_count = count;
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        const yaml_node_t *item = node;
        if (node->type == YAML_SEQUENCE_NODE) {
            item = yaml_node(file, node->data.sequence.items.start[i]);
        }
        code = read_source(file, item, names, &ret->sources[i]);
    }
    return code;
}

static enum err_code
check_param_name(struct yaml_file *file, const yaml_node_t *node, const char *name,
                 const char *const *known, size_t known_count)
{
    static const char *const reserved[] = {"and",   "or",    "not", "ceil",
                                           "floor", "round", "min", "max"};

    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        if (strcmp(name, reserved[i]) == 0) {
            return yaml_fail(file, node,
                             "params: \"%s\" is a word of formulas; expected another name", name);
        }
    }
    for (size_t i = 0; i < known_count; i++) {
        if (strcmp(name, known[i]) == 0) {
            return yaml_fail(file, node, "params: \"%s\" is %s; expected another name", name,
                             i < PRICE_OWN_NAMES ? "always there" : "given twice");
        }
    }
    if ((name[0] >= '0' && name[0] <= '9') || name[0] == '.' || strchr(name, '-')) {
        return yaml_fail(file, node,
                         "params: \"%s\"; expected a name of letters, digits, \"_\" and \".\" that "
                         "begins with a letter or \"_\"",
                         name);
    }
    return ERR_OK;
}

enum err_code
yaml_read_params(struct yaml_file *file, const yaml_node_t *node, struct price_book *book)
{
    size_t count = 0;

    if (node) {
        if (node->type != YAML_MAPPING_NODE) {
            return yaml_fail(file, node, "params: expected a mapping of names to sources");
        }
        count = (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
        if (count > PRICE_PARAMS_MAX) {
            return yaml_fail(file, node, "params: %zu of them; expected at most %d", count,
                             PRICE_PARAMS_MAX);
        }
    }
    book->params = prices_alloc(file->prices, count, sizeof(book->params[0]));
    book->names = prices_alloc(file->prices, PRICE_OWN_NAMES + count, sizeof(book->names[0]));
    memcpy(book->names, OWN_NAMES, sizeof(OWN_NAMES));
    for (; book->param_count < count; book->param_count++) {
        const yaml_node_pair_t *pair = &node->data.mapping.pairs.start[book->param_count];
        const yaml_node_t *key = yaml_node(file, pair->key);
        struct price_param *param = &book->params[book->param_count];
        struct formula_names names = {book->names, PRICE_OWN_NAMES + book->param_count};
        enum err_code code = yaml_read_name(file, key, "params", &param->name);
        if (code == ERR_OK) {
            code = check_param_name(file, key, param->name, names.names, names.count);
        }
        if (code == ERR_OK) {
            code = read_param(file, yaml_node(file, pair->value), &names, param);
        }
        if (code != ERR_OK) {
            return code;
        }
        book->names[names.count] = param->name;
    }
    return ERR_OK;
}

/* ---- match ---- */

/* "name: value", "name: [a, b]" or "name: {exists: true}". */
static enum err_code
read_condition(struct yaml_file *file, const yaml_node_t *node, struct price_condition *ret)
{
    static const char *const keys[] = {"exists"};
    struct yaml_map map = {.keys = keys, .count = 1};

    if (node->type != YAML_MAPPING_NODE) {
        ret->exists = true;
        return yaml_read_texts(file, node, ret->name, &ret->values, &ret->value_count);
    }
    enum err_code code = yaml_read_map(file, node, ret->name, &map);
    if (code == ERR_OK && !map.values[0]) {
        code = yaml_fail(file, node, "%s: {}; expected a value, a list of values or {exists: true}",
                         ret->name);
    }
    return code == ERR_OK ? yaml_read_bool(file, map.values[0], "exists", &ret->exists) : code;
}

static enum err_code
read_conditions(struct yaml_file *file, const yaml_node_t *node, const char *what,
                struct price_condition **ret, size_t *ret_count)
{
    if (node->type != YAML_MAPPING_NODE) {
        return yaml_fail(file, node, "%s: expected a mapping of names to values", what);
    }
    size_t count = (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    if (count == 0 || count > PRICE_CONDITIONS_MAX) {
        return yaml_fail(file, node, "%s: %zu conditions; expected 1 to %d", what, count,
                         PRICE_CONDITIONS_MAX);
    }
    *ret = prices_alloc(file->prices, count, sizeof((*ret)[0]));
    for (size_t i = 0; i < count; i++) {
        const yaml_node_pair_t *pair = &node->data.mapping.pairs.start[i];
        const yaml_node_t *key = yaml_node(file, pair->key);
        enum err_code code = yaml_read_text(file, key, what, &(*ret)[i].name);
        for (size_t j = 0; code == ERR_OK && j < i; j++) {
            if (strcmp((*ret)[j].name, (*ret)[i].name) == 0) {
                code = yaml_fail(file, key, "%s: \"%s\" is given twice; expected a list of values",
                                 what, (*ret)[i].name);
            }
        }
        if (code == ERR_OK) {
            code = read_condition(file, yaml_node(file, pair->value), &(*ret)[i]);
        }
        if (code != ERR_OK) {
            return code;
        }
    }
    *ret_count = count;
    return ERR_OK;
}

/* "429", "200-299" or "5xx". */
static bool
parse_status(struct slice text, struct price_status_range *ret)
{
    struct slice head;
    int64_t from;
    int64_t to;

    if (text.len == 3 && slice_ends(text, "xx") && text.ptr[0] >= '1' && text.ptr[0] <= '5') {
        ret->from = (text.ptr[0] - '0') * 100;
        ret->to = ret->from + 99;
        return true;
    }
    bool range = slice_split(&text, '-', &head);
    if (!number_parse_i64(slice_trim(head), &from) || from < STATUS_MIN || from > STATUS_MAX) {
        return false;
    }
    to = from;
    if (range && (!number_parse_i64(slice_trim(text), &to) || to < from || to > STATUS_MAX)) {
        return false;
    }
    *ret = (struct price_status_range){(int)from, (int)to};
    return true;
}

static enum err_code
read_statuses(struct yaml_file *file, const yaml_node_t *node, struct price_rule *rule)
{
    const char **texts;
    size_t count;
    enum err_code code = yaml_read_texts(file, node, "status", &texts, &count);

    if (code != ERR_OK) {
        return code;
    }
    rule->statuses = prices_alloc(file->prices, count, sizeof(rule->statuses[0]));
    for (size_t i = 0; i < count; i++) {
        if (!parse_status(slice_of(texts[i]), &rule->statuses[i])) {
            return yaml_fail(file, node,
                             "status: \"%.64s\"; expected 100 to 599, a range such as 200-299, or "
                             "2xx",
                             texts[i]);
        }
    }
    rule->status_count = count;
    return ERR_OK;
}

static enum err_code
read_paths(struct yaml_file *file, const yaml_node_t *node, struct price_rule *rule)
{
    enum err_code code = yaml_read_texts(file, node, "path", &rule->paths, &rule->path_count);

    for (size_t i = 0; i < rule->path_count && code == ERR_OK; i++) {
        const char *path = rule->paths[i];
        bool fits = (path[0] == '/' || strncmp(path, "**", 2) == 0) && !strstr(path, "***");
        for (const char *c = path; *c && fits; c++) {
            fits = *c > ' ' && *c != '?' && *c != '#' && *c != '\x7f' && *c != '%';
        }
        if (!fits) {
            code = yaml_fail(file, node,
                             "path: \"%.64s\"; expected a pattern that begins with \"/\" or "
                             "\"**\", such as /defi/*/price or /v1/**, in plain letters and "
                             "without a query",
                             path);
        }
    }
    return code;
}

static enum err_code
read_match(struct yaml_file *file, const yaml_node_t *node, struct price_rule *rule)
{
    static const char *const keys[] = {"method", "path", "query", "fields", "status"};
    struct yaml_map map = {.keys = keys, .count = 5};
    enum err_code code = yaml_read_map(file, node, "match", &map);

    if (code == ERR_OK && map.values[0]) {
        code = yaml_read_texts(file, map.values[0], "method", &rule->methods, &rule->method_count);
    }
    if (code == ERR_OK && map.values[1]) {
        code = read_paths(file, map.values[1], rule);
    }
    if (code == ERR_OK && map.values[2]) {
        code = read_conditions(file, map.values[2], "query", &rule->query, &rule->query_count);
    }
    if (code == ERR_OK && map.values[3]) {
        code = read_conditions(file, map.values[3], "fields", &rule->fields, &rule->field_count);
    }
    if (code == ERR_OK && map.values[4]) {
        code = read_statuses(file, map.values[4], rule);
    }
    return code;
}

/* ---- cost ---- */

enum err_code
yaml_read_failure(struct yaml_file *file, const yaml_node_t *node, struct price_rule *rule)
{
    rule->failure_same = slice_is(yaml_text(node), "same");
    return rule->failure_same ? ERR_OK
                              : yaml_read_credits(file, node, "on_failure", &rule->on_failure);
}

/* A price without parameters is known now: so it must be an amount. */
static enum err_code
check_constant(struct yaml_file *file, const yaml_node_t *node, const struct formula *credits)
{
    const char *problem = NULL;
    price_wide value = 0;

    if (credits->names == 0 &&
        (formula_number(credits, NULL, NULL, &value, &problem) != FORMULA_KNOWN || value < 0 ||
         price_wide_to_micro(value) > DECIMAL_MAX)) {
        return yaml_fail(file, node,
                         "credits: \"%.64s\"; expected 0 to 999999999999 credits, or a formula",
                         credits->source);
    }
    return ERR_OK;
}

static enum err_code
read_cost(struct yaml_file *file, const yaml_node_t *node, const struct yaml_map *map,
          const struct formula_names *names, struct price_rule *rule)
{
    const yaml_node_t *credits = map->values[3];
    const yaml_node_t *max = map->values[4];
    const uint64_t always_known = UINT64_C(1) << PRICE_REQUEST_BYTES;

    if (!credits) {
        return yaml_fail(file, node, "rule %s has no credits; expected a number or a formula",
                         rule->name);
    }
    enum err_code code = yaml_read_formula(file, credits, "credits", names, false, &rule->credits);
    if (code == ERR_OK) {
        code = check_constant(file, credits, &rule->credits);
    }
    if (code == ERR_OK && max) {
        rule->has_max = true;
        code = yaml_read_credits(file, max, "max", &rule->max);
    }
    if (code == ERR_OK && !max && (rule->credits.names & ~always_known)) {
        code = yaml_fail(file, credits,
                         "rule %s: the formula \"%.64s\" may be unknown before a call; expected "
                         "max, the most that it can come to",
                         rule->name, rule->credits.source);
    }
    if (code == ERR_OK && map->values[5]) {
        code = yaml_read_failure(file, map->values[5], rule);
    }
    return code;
}

enum err_code
yaml_read_rule(struct yaml_file *file, const yaml_node_t *node, const struct price_book *book,
               const struct price_rule *defaults, struct price_rule *ret)
{
    static const char *const keys[] = {"name", "match", "when", "credits", "max", "on_failure"};
    struct yaml_map map = {.keys = keys, .count = 6};
    struct formula_names names = {book->names, PRICE_OWN_NAMES + book->param_count};
    enum err_code code = yaml_read_map(file, node, "a rule", &map);

    if (code != ERR_OK) {
        return code;
    }
    *ret = *defaults;
    ret->line = node->start_mark.line + 1;
    if (!map.values[0]) {
        return yaml_fail(file, node, "a rule has no name; expected name: and a name of its own");
    }
    code = yaml_read_name(file, map.values[0], "name", &ret->name);
    if (code == ERR_OK && map.values[1]) {
        code = read_match(file, map.values[1], ret);
    }
    if (code == ERR_OK && map.values[2]) {
        code = yaml_read_formula(file, map.values[2], "when", &names, true, &ret->when);
    }
    return code == ERR_OK ? read_cost(file, node, &map, &names, ret) : code;
}
