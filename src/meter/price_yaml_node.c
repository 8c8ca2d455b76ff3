/* The small readers of YAML nodes that books, parameters and rules share. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "catalog/suggest.h"
#include "codec/decimal.h"
#include "meter/price_yaml.h"

enum { VISITS_MAX = 200000, SHOWN_MAX = 64 };

enum err_code
yaml_fail(const struct yaml_file *file, const yaml_node_t *node, const char *fmt, ...)
{
    char message[ERR_MSG_MAX];
    va_list args;

    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    return err_set(file->err, ERR_INVALID, "%s:%zu:%zu: %s", file->name, node->start_mark.line + 1,
                   node->start_mark.column + 1, message);
}

const yaml_node_t *
yaml_node(const struct yaml_file *file, int index)
{
    return yaml_document_get_node(file->document, index);
}

struct slice
yaml_text(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE) {
        return node->type == YAML_SEQUENCE_NODE ? SLICE_LITERAL("[...]") : SLICE_LITERAL("{...}");
    }
    return slice_make(node->data.scalar.value, node->data.scalar.length);
}

/* What an error shows of a value. */
static struct slice
shown(const yaml_node_t *node)
{
    return slice_sub(yaml_text(node), 0, SHOWN_MAX);
}

/* Aliases let one node stand in many places, so what they come to is bounded here: between two
 * visits less than half of the arena is asked for. */
static enum err_code
visit(struct yaml_file *file, const yaml_node_t *node)
{
    if (++file->visits > VISITS_MAX || file->prices->arena.used_bytes > PRICE_ARENA_BYTES_MAX / 2) {
        return yaml_fail(file, node,
                         "too many values; expected at most %d and %d MiB, aliases counted",
                         VISITS_MAX, PRICE_ARENA_BYTES_MAX >> 21);
    }
    return ERR_OK;
}

static enum err_code
refuse_key(struct yaml_file *file, const yaml_node_t *key, const char *what,
           const struct yaml_map *map)
{
    const char *near = catalog_suggest_name(yaml_text(key), map->keys, map->count);
    char known[256] = "";
    size_t len = 0;

    for (size_t i = 0; i < map->count && len < sizeof(known); i++) {
        len +=
            (size_t)snprintf(known + len, sizeof(known) - len, "%s%s", i ? ", " : "", map->keys[i]);
    }
    return yaml_fail(file, key, "unknown key \"%.*s\" in %s%s%s%s; expected one of %s",
                     SLICE_FMT(shown(key)), what, near ? "; did you mean \"" : "", near ? near : "",
                     near ? "\"?" : "", known);
}

enum err_code
yaml_read_map(struct yaml_file *file, const yaml_node_t *node, const char *what,
              struct yaml_map *map)
{
    memset(map->values, 0, sizeof(map->values));
    if (node->type != YAML_MAPPING_NODE) {
        return yaml_fail(file, node, "%s: \"%.*s\"; expected a mapping (key: value)", what,
                         SLICE_FMT(shown(node)));
    }
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    for (; pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_node(file, pair->key);
        size_t i = 0;
        while (i < map->count &&
               !(key->type == YAML_SCALAR_NODE && slice_is(yaml_text(key), map->keys[i]))) {
            i++;
        }
        if (i == map->count) {
            return refuse_key(file, key, what, map);
        }
        if (map->values[i]) {
            return yaml_fail(file, key, "%s is given twice in %s", map->keys[i], what);
        }
        map->values[i] = yaml_node(file, pair->value);
        enum err_code code = visit(file, map->values[i]);
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}

enum err_code
yaml_read_text(struct yaml_file *file, const yaml_node_t *node, const char *key, const char **ret)
{
    struct slice text = yaml_text(node);

    if (node->type != YAML_SCALAR_NODE || text.len == 0 || memchr(text.ptr, 0, text.len)) {
        return yaml_fail(file, node, "%s: \"%.*s\"; expected a text that is not empty", key,
                         SLICE_FMT(shown(node)));
    }
    enum err_code code = visit(file, node);
    if (code == ERR_OK) {
        char *copy = prices_alloc(file->prices, text.len + 1, 1);
        memcpy(copy, text.ptr, text.len);
        *ret = copy;
    }
    return code;
}

enum err_code
yaml_read_name(struct yaml_file *file, const yaml_node_t *node, const char *key, const char **ret)
{
    struct slice text = yaml_text(node);
    bool fits = node->type == YAML_SCALAR_NODE && text.len > 0 && text.len <= PRICE_NAME_MAX;

    for (size_t i = 0; fits && i < text.len; i++) {
        char c = text.ptr[i];
        fits = isalnum((unsigned char)c) || c == '_' || c == '-' || c == '.';
    }
    if (!fits) {
        return yaml_fail(file, node,
                         "%s: \"%.*s\"; expected 1 to %d letters, digits, \"_\", \"-\" or \".\"",
                         key, SLICE_FMT(shown(node)), PRICE_NAME_MAX);
    }
    return yaml_read_text(file, node, key, ret);
}

enum err_code
yaml_read_texts(struct yaml_file *file, const yaml_node_t *node, const char *key, const char ***ret,
                size_t *ret_count)
{
    size_t count = 1;
    enum err_code code = ERR_OK;

    if (node->type == YAML_SEQUENCE_NODE) {
        count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    }
    if (count == 0 || count > PRICE_CHOICES_MAX) {
        return yaml_fail(file, node, "%s: a list of %zu; expected 1 to %d texts", key, count,
                         PRICE_CHOICES_MAX);
    }
    const char **texts = prices_alloc(file->prices, count, sizeof(texts[0]));
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        const yaml_node_t *item = node;
        if (node->type == YAML_SEQUENCE_NODE) {
            item = yaml_node(file, node->data.sequence.items.start[i]);
        }
        code = yaml_read_text(file, item, key, &texts[i]);
    }
    if (code == ERR_OK) {
        *ret = texts;
        *ret_count = count;
    }
    return code;
}

enum err_code
yaml_read_bool(struct yaml_file *file, const yaml_node_t *node, const char *key, bool *ret)
{
    struct slice text = yaml_text(node);

    if (!slice_is(text, "true") && !slice_is(text, "false")) {
        return yaml_fail(file, node, "%s: \"%.*s\"; expected true or false", key,
                         SLICE_FMT(shown(node)));
    }
    *ret = slice_is(text, "true");
    return ERR_OK;
}

enum err_code
yaml_read_credits(struct yaml_file *file, const yaml_node_t *node, const char *key, int64_t *ret)
{
    int64_t micro;

    if (node->type != YAML_SCALAR_NODE || !decimal_parse(yaml_text(node), &micro) || micro < 0) {
        return yaml_fail(
            file, node, "%s: \"%.*s\"; expected credits of 0 to 999999999999, at most six decimals",
            key, SLICE_FMT(shown(node)));
    }
    *ret = micro;
    return ERR_OK;
}

enum err_code
yaml_read_formula(struct yaml_file *file, const yaml_node_t *node, const char *key,
                  const struct formula_names *names, bool condition, struct formula *ret)
{
    struct formula_fault fault;
    yaml_node_t place = *node;

    if (node->type != YAML_SCALAR_NODE || memchr(yaml_text(node).ptr, 0, yaml_text(node).len)) {
        return yaml_fail(file, node, "%s: \"%.*s\"; expected %s", key, SLICE_FMT(shown(node)),
                         condition ? "a condition, such as candles >= 1000"
                                   : "a number or a formula, such as ceil(tokens / 1000) * 2");
    }
    if (formula_parse(yaml_text(node), names, condition, &file->prices->arena, ret, &fault)) {
        return ERR_OK;
    }
    /* Within one line, the fault's own place is known. */
    if (node->start_mark.line == node->end_mark.line) {
        bool quoted = node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
        place.start_mark.column += fault.offset + (quoted ? 1 : 0);
    }
    return yaml_fail(file, &place, "%s \"%.*s\": %s", key, SLICE_FMT(shown(node)), fault.msg);
}
