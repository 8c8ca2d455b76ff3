/* Walking libyaml's document tree with errors that say file, line and column; for price_yaml*.c. */
#ifndef EIDER_METER_PRICE_YAML_H
#define EIDER_METER_PRICE_YAML_H

#include <yaml.h>

#include "meter/price_internal.h"

enum { YAML_KEYS_MAX = 16 };

struct yaml_file {
    struct prices *prices;
    const char *name;
    yaml_document_t *document;
    size_t visits; /* nodes looked at: aliases must not make a small file large */
    struct err *err;
};

/* "name:line:column: message", the place being the node's. */
enum err_code yaml_fail(const struct yaml_file *file, const yaml_node_t *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

const yaml_node_t *yaml_node(const struct yaml_file *file, int index);
struct slice yaml_text(const yaml_node_t *node);

/* The keys that a mapping may have, and then the nodes of their values; NULL where not given. */
struct yaml_map {
    const char *const *keys;
    size_t count;
    const yaml_node_t *values[YAML_KEYS_MAX];
};

/* Reads a mapping; refuses unknown keys (naming the nearest), keys given twice, other nodes. `what`
 * names the mapping in errors. */
enum err_code yaml_read_map(struct yaml_file *file, const yaml_node_t *node, const char *what,
                            struct yaml_map *map);

/* A scalar that is not empty, copied. */
enum err_code yaml_read_text(struct yaml_file *file, const yaml_node_t *node, const char *key,
                             const char **ret);

/* A name: letters, digits, '_', '-', '.', at most PRICE_NAME_MAX. */
enum err_code yaml_read_name(struct yaml_file *file, const yaml_node_t *node, const char *key,
                             const char **ret);

/* One text or a list of them, at most PRICE_CHOICES_MAX and at least one. */
enum err_code yaml_read_texts(struct yaml_file *file, const yaml_node_t *node, const char *key,
                              const char ***ret, size_t *ret_count);

enum err_code yaml_read_bool(struct yaml_file *file, const yaml_node_t *node, const char *key,
                             bool *ret);

/* An amount of credits of 0 or more. */
enum err_code yaml_read_credits(struct yaml_file *file, const yaml_node_t *node, const char *key,
                                int64_t *ret);

enum err_code yaml_read_formula(struct yaml_file *file, const yaml_node_t *node, const char *key,
                                const struct formula_names *names, bool condition,
                                struct formula *ret);

/* ---- price_yaml_rule.c ---- */

enum err_code yaml_read_params(struct yaml_file *file, const yaml_node_t *node,
                               struct price_book *book);

/* `book` has its parameters; `defaults` is what on_failure is without a word of the rule. */
enum err_code yaml_read_rule(struct yaml_file *file, const yaml_node_t *node,
                             const struct price_book *book, const struct price_rule *defaults,
                             struct price_rule *ret);

/* on_failure: an amount, or "same". */
enum err_code yaml_read_failure(struct yaml_file *file, const yaml_node_t *node,
                                struct price_rule *rule);

#endif
