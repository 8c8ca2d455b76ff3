/*
 * The file layer: YAML (and so JSON) through libyaml's document tree, walked against the table of
 * settings. ${VAR} and ${VAR:-default} are expanded in values after parsing, so that a variable
 * cannot change the structure of the file; "$${" stands for a literal "${". A variable that is not
 * set is refused at once, or noted for config_need (config_missing.c).
 */
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/mem.h"
#include "server/config_databases.h"
#include "server/config_internal.h"
#include "server/config_upstreams.h"

enum { PATH_MAX_LEN = 128 };

struct reader {
    struct config *config;
    const char *name;
    yaml_document_t *document;
    char *const *env;
    struct config_missing_list *missing; /* NULL: a variable that is not set is an error */
    const char *database;
    const char *setting; /* whose value is expanded */
    bool missed;         /* the value names a variable that is not set */
    struct err *err;
    size_t lines[CONFIG_SETTINGS_MAX]; /* where a setting was given, to refuse it a second time */
};

static struct slice
node_text(const yaml_node_t *node)
{
    return slice_make(node->data.scalar.value, node->data.scalar.length);
}

static bool
node_is_null(const yaml_node_t *node)
{
    struct slice text;

    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) {
        return false;
    }
    text = node_text(node);
    return text.len == 0 || slice_is(text, "~") || slice_is_nocase(text, "null");
}

static size_t
node_line(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}

static enum err_code
miss_variable(struct reader *reader, struct slice name, size_t line)
{
    char where[CONFIG_WHERE_MAX];

    snprintf(where, sizeof(where), "%s:%zu", reader->name, line);
    reader->missed = true;
    if (!reader->missing) {
        return config_refuse_variable(where, "", reader->setting, name, reader->err);
    }
    config_missing_take(reader->missing, &(struct config_missing){
                                             .database = mem_strdup(slice_of(reader->database)),
                                             .setting = mem_strdup(slice_of(reader->setting)),
                                             .variable = mem_strdup(name),
                                             .where = mem_strdup(slice_of(where)),
                                         });
    return ERR_OK;
}

/* Appends the value of "NAME" or "NAME:-default". */
static enum err_code
expand_variable(struct reader *reader, struct slice inner, size_t line, struct buf *ret_text)
{
    struct slice fallback = {0};
    struct slice name = inner;
    const char *found = memmem(inner.ptr, inner.len, ":-", 2);

    if (found) {
        name = slice_sub(inner, 0, (size_t)(found - inner.ptr));
        fallback = slice_sub(inner, name.len + 2, inner.len);
    }
    if (name.len == 0) {
        return err_set(reader->err, ERR_USAGE,
                       "%s:%zu: ${} names no variable; expected ${NAME} or ${NAME:-default}",
                       reader->name, line);
    }
    const char *value = config_getenv(reader->env, name);
    if (value && (*value || !found)) {
        buf_add_cstr(ret_text, value);
    } else if (found) {
        buf_add_slice(ret_text, fallback);
    } else {
        return miss_variable(reader, name, line);
    }
    return ERR_OK;
}

static enum err_code
expand(struct reader *reader, const yaml_node_t *node, struct buf *ret_text)
{
    struct slice text = node_text(node);

    for (size_t i = 0; i < text.len;) {
        struct slice rest = slice_sub(text, i, text.len);
        if (slice_starts(rest, "$${")) {
            buf_add_cstr(ret_text, "${");
            i += 3;
        } else if (slice_starts(rest, "${")) {
            const char *end = memchr(rest.ptr, '}', rest.len);
            if (!end) {
                return err_set(reader->err, ERR_USAGE, "%s:%zu: \"${\" has no closing \"}\"",
                               reader->name, node_line(node));
            }
            size_t inner_len = (size_t)(end - rest.ptr) - 2;
            if (expand_variable(reader, slice_sub(rest, 2, inner_len), node_line(node), ret_text) !=
                ERR_OK) {
                return ERR_USAGE;
            }
            i += inner_len + 3;
        } else {
            buf_add_char(ret_text, text.ptr[i++]);
        }
    }
    return ERR_OK;
}

static struct config_origin
origin_of(const struct reader *reader, const yaml_node_t *node)
{
    struct config_origin origin = {.layer = CONFIG_FILE};

    snprintf(origin.where, sizeof(origin.where), "%s:%zu", reader->name, node_line(node));
    return origin;
}

/* The scopes of a token: a list, or a text with blanks, commas or "+" between them. */
static enum err_code
read_scopes(struct reader *reader, const yaml_node_t *node, struct buf *ret_text)
{
    if (node->type == YAML_SCALAR_NODE) {
        struct buf text BUF_AUTO = {0};
        buf_init(&text, CONFIG_FILE_BYTES_MAX);
        enum err_code code = expand(reader, node, &text);
        bool first = true;
        for (size_t i = 0; i < text.len; i++) {
            bool within = text.ptr[i] != ' ' && text.ptr[i] != ',';
            bool begins = within && (i == 0 || text.ptr[i - 1] == ' ' || text.ptr[i - 1] == ',');
            buf_add_cstr(ret_text, begins && !first ? "+" : "");
            if (within) {
                buf_add_char(ret_text, text.ptr[i]);
                first = false;
            }
        }
        return code;
    }
    enum err_code code = ERR_OK;
    const yaml_node_item_t *item = node->data.sequence.items.start;
    for (; code == ERR_OK && item < node->data.sequence.items.top; item++) {
        const yaml_node_t *scope = yaml_document_get_node(reader->document, *item);
        buf_add_cstr(ret_text, item > node->data.sequence.items.start ? "+" : "");
        if (scope->type != YAML_SCALAR_NODE) {
            return err_set(reader->err, ERR_USAGE, "%s:%zu: expected the name of a scope",
                           reader->name, node_line(scope));
        }
        code = expand(reader, scope, ret_text);
    }
    return code;
}

/* {name, token or sha256, scopes} as the text that stands for it elsewhere. */
static enum err_code
read_token(struct reader *reader, const yaml_node_t *mapping, struct buf *ret_text)
{
    static const char *const keys[] = {"name", "scopes", "token", "sha256"};
    const yaml_node_t *values[4] = {NULL};
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
    enum err_code code = ERR_OK;

    for (; pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
        size_t i = 0;
        while (i < 4 && !(key->type == YAML_SCALAR_NODE && slice_is(node_text(key), keys[i]))) {
            i++;
        }
        bool fits =
            i < 4 && !values[i] &&
            (value->type == YAML_SCALAR_NODE || (i == 1 && value->type == YAML_SEQUENCE_NODE));
        if (!fits) {
            return err_set(reader->err, ERR_USAGE,
                           "%s:%zu: a token of server.tokens has name, scopes, and token or "
                           "sha256, each once",
                           reader->name, node_line(key));
        }
        values[i] = value;
    }
    if (!values[0] || !values[1] || !values[2] == !values[3]) {
        return err_set(reader->err, ERR_USAGE,
                       "%s:%zu: a token of server.tokens needs name, scopes, and one of token and "
                       "sha256",
                       reader->name, node_line(mapping));
    }
    code = expand(reader, values[0], ret_text);
    buf_add_char(ret_text, ':');
    if (code == ERR_OK) {
        code = read_scopes(reader, values[1], ret_text);
    }
    buf_add_cstr(ret_text, values[3] ? ":sha256:" : ":");
    return code == ERR_OK ? expand(reader, values[2] ? values[2] : values[3], ret_text) : code;
}

/* {table, max_age, ...} as the text that stands for it elsewhere; what may stand there is told by
 * whoever reads that. */
static enum err_code
read_rule(struct reader *reader, const yaml_node_t *mapping, struct buf *ret_text)
{
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
    enum err_code code = ERR_OK;

    for (; code == ERR_OK && pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
        if (key->type != YAML_SCALAR_NODE || value->type != YAML_SCALAR_NODE) {
            return err_set(reader->err, ERR_USAGE, "%s:%zu: a rule has names and texts alone",
                           reader->name, node_line(key));
        }
        buf_add_cstr(ret_text, ret_text->len ? " " : "");
        buf_add_slice(ret_text, node_text(key));
        buf_add_char(ret_text, '=');
        code = expand(reader, value, ret_text);
    }
    return code;
}

/* A mapping of texts as a list of "name=value". */
static enum err_code
set_pairs(struct reader *reader, const struct config_setting *setting, const yaml_node_t *node)
{
    struct config_origin origin = origin_of(reader, node);
    const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
    struct buf texts[CONFIG_LIST_MAX];
    struct slice items[CONFIG_LIST_MAX];
    enum err_code code = ERR_OK;
    size_t used = 0;

    for (; code == ERR_OK && pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
        if (used == CONFIG_LIST_MAX || key->type != YAML_SCALAR_NODE ||
            value->type != YAML_SCALAR_NODE) {
            code = config_refuse(setting, SLICE_LITERAL("{...}"), &origin, reader->err);
            break;
        }
        buf_init(&texts[used++], CONFIG_FILE_BYTES_MAX);
        buf_add_slice(&texts[used - 1], node_text(key));
        buf_add_char(&texts[used - 1], '=');
        code = expand(reader, value, &texts[used - 1]);
        items[used - 1] = buf_slice(&texts[used - 1]);
    }
    if (code == ERR_OK && !reader->missed) {
        code = config_set_items(reader->config, setting, items, used, &origin, reader->err);
    }
    for (size_t i = 0; i < used; i++) {
        buf_fini(&texts[i]);
    }
    return code;
}

static enum err_code
set_sequence(struct reader *reader, const struct config_setting *setting, const yaml_node_t *node)
{
    struct config_origin origin = origin_of(reader, node);
    size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    struct buf texts[CONFIG_LIST_MAX];
    struct slice items[CONFIG_LIST_MAX];
    enum err_code code = ERR_OK;
    size_t used = 0;

    if (setting->type != CONFIG_LIST || count > CONFIG_LIST_MAX) {
        return config_refuse(setting, SLICE_LITERAL("[...]"), &origin, reader->err);
    }
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        const yaml_node_t *item =
            yaml_document_get_node(reader->document, node->data.sequence.items.start[i]);
        buf_init(&texts[used++], CONFIG_FILE_BYTES_MAX);
        if (item->type == YAML_MAPPING_NODE && setting->item == CONFIG_ITEM_TOKEN) {
            code = read_token(reader, item, &texts[i]);
            items[i] = buf_slice(&texts[i]);
        } else if (item->type == YAML_MAPPING_NODE && setting->item == CONFIG_ITEM_RULE) {
            code = read_rule(reader, item, &texts[i]);
            items[i] = buf_slice(&texts[i]);
        } else if (item->type != YAML_SCALAR_NODE) {
            code = config_refuse(setting, SLICE_LITERAL("[[...]]"), &origin, reader->err);
        } else {
            code = expand(reader, item, &texts[i]);
            items[i] = buf_slice(&texts[i]);
        }
    }
    if (code == ERR_OK && !reader->missed) {
        code = config_set_items(reader->config, setting, items, count, &origin, reader->err);
    }
    for (size_t i = 0; i < used; i++) {
        buf_fini(&texts[i]);
    }
    return code;
}

static enum err_code
set_node(struct reader *reader, const struct config_setting *setting, const yaml_node_t *node)
{
    struct config_origin origin = origin_of(reader, node);
    size_t index = config_setting_index(setting);

    if (reader->lines[index]) {
        return err_set(reader->err, ERR_USAGE, "%s:%zu: %s is given twice; first in line %zu",
                       reader->name, node_line(node), setting->name, reader->lines[index]);
    }
    reader->lines[index] = node_line(node);
    reader->setting = setting->name;
    reader->missed = false;
    if (node_is_null(node)) {
        return ERR_OK;
    }
    if (node->type == YAML_SEQUENCE_NODE) {
        return set_sequence(reader, setting, node);
    }
    if (node->type == YAML_MAPPING_NODE && setting->item == CONFIG_ITEM_PAIR) {
        return set_pairs(reader, setting, node);
    }
    if (node->type != YAML_SCALAR_NODE) {
        return config_refuse(setting, SLICE_LITERAL("{...}"), &origin, reader->err);
    }
    struct buf text BUF_AUTO = {0};
    buf_init(&text, CONFIG_FILE_BYTES_MAX);
    enum err_code code = expand(reader, node, &text);
    if (code == ERR_OK && !reader->missed) {
        code = config_set(reader->config, setting, buf_slice(&text), &origin, reader->err);
    }
    return code;
}

static struct reader
reader_of(const struct config_yaml *yaml, struct err *err)
{
    return (struct reader){.name = yaml->name,
                           .document = yaml->document,
                           .env = yaml->env,
                           .missing = yaml->missing,
                           .database = yaml->database,
                           .err = err};
}

static struct config_yaml
yaml_of(const struct reader *reader)
{
    return (struct config_yaml){.name = reader->name,
                                .document = reader->document,
                                .env = reader->env,
                                .missing = reader->missing};
}

enum err_code
config_yaml_expand(const struct config_yaml *yaml, const char *setting, const yaml_node_t *node,
                   struct buf *ret_text, bool *ret_missing, struct err *err)
{
    struct reader reader = reader_of(yaml, err);
    reader.setting = setting;
    enum err_code code = expand(&reader, node, ret_text);

    *ret_missing = reader.missed;
    return code;
}

enum err_code
config_yaml_set(const struct config_yaml *yaml, struct config *config,
                const struct config_setting *setting, const yaml_node_t *node, struct err *err)
{
    struct reader reader = reader_of(yaml, err);

    reader.config = config;
    return set_node(&reader, setting, node);
}

static enum err_code
read_databases(struct reader *reader, const yaml_node_t *node)
{
    const struct config_yaml yaml = yaml_of(reader);

    if (reader->config->databases) {
        return err_set(reader->err, ERR_USAGE, "%s:%zu: databases is given twice", reader->name,
                       node_line(node));
    }
    return config_databases_read(&yaml, node, &reader->config->databases, reader->err);
}

static enum err_code
read_upstreams(struct reader *reader, const yaml_node_t *node)
{
    const struct config_yaml yaml = yaml_of(reader);

    if (reader->config->gateway.upstreams) {
        return err_set(reader->err, ERR_USAGE, "%s:%zu: gateway.upstreams is given twice",
                       reader->name, node_line(node));
    }
    return config_upstreams_read(&yaml, node, &reader->config->gateway.upstreams, reader->err);
}

/* True when some setting's name (or alias) begins with "path.". */
static bool
is_section(const char *path)
{
    size_t len = strlen(path);
    const struct config_setting *setting;

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        const char *names[] = {setting->name, setting->alias};
        for (size_t j = 0; j < 2; j++) {
            if (names[j] && strncmp(names[j], path, len) == 0 && names[j][len] == '.') {
                return true;
            }
        }
    }
    return false;
}

static enum err_code
refuse_key(const struct reader *reader, const char *path, size_t line)
{
    const char *near = config_suggest(slice_of(path));

    return err_set(reader->err, ERR_USAGE, "%s:%zu: unknown setting %s%s%s%s", reader->name, line,
                   path, near ? "; did you mean " : "", near ? near : "",
                   near ? "?" : "; `eider config` lists all of them");
}

static enum err_code
read_mapping(struct reader *reader, const yaml_node_t *mapping, const char *prefix, int depth)
{
    const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;

    for (; pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->document, pair->value);
        char path[PATH_MAX_LEN];
        struct slice text = key->type == YAML_SCALAR_NODE ? node_text(key) : SLICE_LITERAL("?");
        int len =
            snprintf(path, sizeof(path), "%s%s%.*s", prefix, *prefix ? "." : "", SLICE_FMT(text));
        if (len >= (int)sizeof(path) || key->type != YAML_SCALAR_NODE) {
            return refuse_key(reader, path, node_line(key));
        }
        const struct config_setting *setting = config_find(slice_of(path));
        enum err_code code;
        if (setting) {
            code = set_node(reader, setting, value);
        } else if (strcmp(path, "gateway.upstreams") == 0) {
            code = read_upstreams(reader, value);
        } else if (strcmp(path, "databases") == 0) {
            code = read_databases(reader, value);
        } else if (depth >= 8 || !is_section(path)) {
            code = refuse_key(reader, path, node_line(key));
        } else if (value->type == YAML_MAPPING_NODE) {
            code = read_mapping(reader, value, path, depth + 1);
        } else if (node_is_null(value)) {
            code = ERR_OK;
        } else {
            code = err_set(reader->err, ERR_USAGE,
                           "%s:%zu: %s is a section; expected settings below it", reader->name,
                           node_line(value), path);
        }
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}

static enum err_code
refuse_syntax(const yaml_parser_t *parser, const char *name, struct err *err)
{
    const char *problem = parser->problem ? parser->problem : "not YAML";

    if (parser->error == YAML_READER_ERROR) {
        return err_set(err, ERR_USAGE, "%s: byte %zu: %s; expected UTF-8 text", name,
                       parser->problem_offset, problem);
    }
    return err_set(err, ERR_USAGE, "%s:%zu:%zu: %s%s%s", name, parser->problem_mark.line + 1,
                   parser->problem_mark.column + 1, problem, parser->context ? " " : "",
                   parser->context ? parser->context : "");
}

enum err_code
config_read_yaml(struct config *config, const char *name, struct slice text, char *const *env,
                 bool missing_later, struct err *err)
{
    yaml_parser_t parser;
    yaml_document_t document;
    enum err_code code = ERR_OK;

    if (!yaml_parser_initialize(&parser)) {
        return err_set(err, ERR_INTERNAL, "libyaml cannot start");
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    if (!yaml_parser_load(&parser, &document)) {
        code = refuse_syntax(&parser, name, err);
        yaml_parser_delete(&parser);
        return code;
    }
    struct reader reader = {.config = config,
                            .name = name,
                            .document = &document,
                            .env = env,
                            .missing = missing_later ? &config->missing : NULL,
                            .err = err};
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    if (root && root->type == YAML_MAPPING_NODE) {
        code = read_mapping(&reader, root, "", 0);
    } else if (root && !node_is_null(root)) {
        code = err_set(err, ERR_USAGE, "%s:%zu: expected settings, such as \"server:\"", name,
                       node_line(root));
    }
    yaml_document_delete(&document);
    yaml_parser_delete(&parser);
    return code;
}

enum err_code
config_read_list(struct config *config, const struct config_setting *setting, struct slice text,
                 const struct config_origin *origin, struct err *err)
{
    yaml_parser_t parser;
    yaml_document_t document;
    struct slice items[CONFIG_LIST_MAX];
    size_t count = 0;

    if (!yaml_parser_initialize(&parser)) {
        return err_set(err, ERR_INTERNAL, "libyaml cannot start");
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    int loaded = yaml_parser_load(&parser, &document);
    yaml_parser_delete(&parser);
    if (!loaded) {
        return config_refuse(setting, text, origin, err);
    }
    const yaml_node_t *root = yaml_document_get_root_node(&document);
    bool ok = root && root->type == YAML_SEQUENCE_NODE;
    size_t all = ok ? (size_t)(root->data.sequence.items.top - root->data.sequence.items.start) : 0;
    ok = ok && all <= CONFIG_LIST_MAX;
    for (; ok && count < all; count++) {
        const yaml_node_t *item =
            yaml_document_get_node(&document, root->data.sequence.items.start[count]);
        ok = item->type == YAML_SCALAR_NODE;
        items[count] = ok ? node_text(item) : (struct slice){0};
    }
    enum err_code code = ok ? config_set_items(config, setting, items, count, origin, err)
                            : config_refuse(setting, text, origin, err);
    yaml_document_delete(&document);
    return code;
}
