/* A file of price books: every YAML document in it is one version of one book. */
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "codec/number.h"
#include "codec/time.h"
#include "meter/price_yaml.h"

enum book_key {
    KEY_BOOK,
    KEY_API,
    KEY_DESCRIPTION,
    KEY_VERSION,
    KEY_EFFECTIVE_FROM,
    KEY_ACTIVE,
    KEY_ON_FAILURE,
    KEY_PARAMS,
    KEY_RULES,
    KEY_COUNT
};

static const char *const BOOK_KEYS[KEY_COUNT] = {
    "book",   "api",        "description", "version", "effective_from",
    "active", "on_failure", "params",      "rules",
};

static enum err_code
read_version(struct yaml_file *file, const yaml_node_t *node, uint32_t *ret)
{
    int64_t version;

    if (!number_parse_i64(yaml_text(node), &version) || version < 1 || version > INT32_MAX) {
        return yaml_fail(file, node, "version: \"%.*s\"; expected a whole number of 1 or more",
                         SLICE_FMT(slice_sub(yaml_text(node), 0, 64)));
    }
    *ret = (uint32_t)version;
    return ERR_OK;
}

static enum err_code
read_time(struct yaml_file *file, const yaml_node_t *node, int64_t *ret)
{
    if (node->type != YAML_SCALAR_NODE || !time_parse_iso8601(yaml_text(node), ret)) {
        return yaml_fail(file, node,
                         "effective_from: \"%.*s\"; expected a time such as 2025-01-01T00:00:00Z",
                         SLICE_FMT(slice_sub(yaml_text(node), 0, 64)));
    }
    return ERR_OK;
}

static enum err_code
read_rules(struct yaml_file *file, const yaml_node_t *node, const struct price_rule *defaults,
           struct price_book *book)
{
    size_t count = 0;

    if (node->type == YAML_SEQUENCE_NODE) {
        count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
    }
    if (count == 0 || count > PRICE_RULES_MAX) {
        return yaml_fail(file, node, "rules: %zu of them; expected a list of 1 to %d", count,
                         PRICE_RULES_MAX);
    }
    book->rules = prices_alloc(file->prices, count, sizeof(book->rules[0]));
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *item = yaml_node(file, node->data.sequence.items.start[i]);
        enum err_code code = yaml_read_rule(file, item, book, defaults, &book->rules[i]);
        for (size_t j = 0; code == ERR_OK && j < i; j++) {
            if (strcmp(book->rules[i].name, book->rules[j].name) == 0) {
                code =
                    yaml_fail(file, item, "name: \"%s\" is the name of the rule in line %zu, too",
                              book->rules[i].name, book->rules[j].line);
            }
        }
        if (code != ERR_OK) {
            return code;
        }
        book->rule_count++;
    }
    return ERR_OK;
}

static enum err_code
read_head(struct yaml_file *file, const yaml_node_t *root, const struct yaml_map *map,
          struct price_book *book)
{
    static const enum book_key needed[] = {KEY_BOOK, KEY_API, KEY_VERSION, KEY_EFFECTIVE_FROM,
                                           KEY_RULES};
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
        if (!map->values[needed[i]]) {
            return yaml_fail(file, root,
                             "the book has no %s; expected book, api, version, effective_from and "
                             "rules",
                             BOOK_KEYS[needed[i]]);
        }
    }
    code = yaml_read_name(file, map->values[KEY_BOOK], "book", &book->book);
    if (code == ERR_OK && slice_is(yaml_text(map->values[KEY_API]), "*")) {
        book->api = "*";
    } else if (code == ERR_OK) {
        code = yaml_read_name(file, map->values[KEY_API], "api", &book->api);
    }
    if (code == ERR_OK && map->values[KEY_DESCRIPTION]) {
        code =
            yaml_read_text(file, map->values[KEY_DESCRIPTION], "description", &book->description);
    }
    if (code == ERR_OK) {
        code = read_version(file, map->values[KEY_VERSION], &book->version);
    }
    if (code == ERR_OK) {
        code = read_time(file, map->values[KEY_EFFECTIVE_FROM], &book->effective_from_us);
    }
    if (code == ERR_OK && map->values[KEY_ACTIVE]) {
        code = yaml_read_bool(file, map->values[KEY_ACTIVE], "active", &book->active);
    }
    return code;
}

static void
compute_digest(struct price_book *book)
{
    static const char hex[] = "0123456789abcdef";
    unsigned char hash[SHA256_DIGEST_LENGTH];
    BUF_AUTO struct buf text;

    buf_init(&text, 0);
    price_book_write(book, true, &text);
    SHA256((const unsigned char *)buf_slice(&text).ptr, text.len, hash);
    for (size_t i = 0; i < sizeof(hash); i++) {
        book->digest[2 * i] = hex[hash[i] >> 4];
        book->digest[2 * i + 1] = hex[hash[i] & 15];
    }
}

static enum err_code
read_book(struct yaml_file *file, bool shipped)
{
    const yaml_node_t *root = yaml_document_get_root_node(file->document);
    struct yaml_map map = {.keys = BOOK_KEYS, .count = KEY_COUNT};
    struct price_book *book = prices_alloc(file->prices, 1, sizeof(*book));
    struct price_rule defaults = {0};
    struct prices *prices = file->prices;

    enum err_code code = yaml_read_map(file, root, "a price book", &map);
    book->active = true;
    book->shipped = shipped;
    book->line = root->start_mark.line + 1;
    if (code == ERR_OK) {
        code = read_head(file, root, &map, book);
    }
    if (code == ERR_OK && map.values[KEY_ON_FAILURE]) {
        code = yaml_read_failure(file, map.values[KEY_ON_FAILURE], &defaults);
    }
    if (code == ERR_OK) {
        code = yaml_read_params(file, map.values[KEY_PARAMS], book);
    }
    if (code == ERR_OK) {
        code = read_rules(file, map.values[KEY_RULES], &defaults, book);
    }
    if (code == ERR_OK) {
        code = price_book_check(book, file->name, file->err);
    }
    if (code == ERR_OK && prices->count == PRICE_VERSIONS_MAX) {
        code = yaml_fail(file, root, "one book too many; expected at most %d versions of books",
                         PRICE_VERSIONS_MAX);
    }
    if (code != ERR_OK) {
        return code;
    }
    book->source = arena_fmt(&prices->arena, "%s%s", shipped ? "builtin:" : "", file->name);
    compute_digest(book);
    prices->books = mem_resize(prices->books, prices->count + 1, sizeof(struct price_book *));
    prices->books[prices->count++] = book;
    return ERR_OK;
}

static enum err_code
refuse_syntax(const yaml_parser_t *parser, const char *name, struct err *err)
{
    const char *problem = parser->problem ? parser->problem : "not YAML";

    if (parser->error == YAML_READER_ERROR) {
        return err_set(err, ERR_SYNTAX, "%s: byte %zu: %s; expected UTF-8 text", name,
                       parser->problem_offset, problem);
    }
    return err_set(err, ERR_SYNTAX, "%s:%zu:%zu: %s%s%s", name, parser->problem_mark.line + 1,
                   parser->problem_mark.column + 1, problem, parser->context ? " " : "",
                   parser->context ? parser->context : "");
}

/* Reads documents until the end of the file or the first error. */
static enum err_code
read_documents(struct yaml_file *file, yaml_parser_t *parser, bool shipped)
{
    size_t before = file->prices->count;
    enum err_code code = ERR_OK;
    bool more = true;

    while (more && code == ERR_OK) {
        yaml_document_t document;
        if (!yaml_parser_load(parser, &document)) {
            return refuse_syntax(parser, file->name, file->err);
        }
        file->document = &document;
        more = yaml_document_get_root_node(&document) != NULL;
        if (more) {
            code = read_book(file, shipped);
        }
        yaml_document_delete(&document);
        file->document = NULL;
    }
    if (code == ERR_OK && file->prices->count == before) {
        code = err_set(file->err, ERR_INVALID,
                       "%s:1:1: the file is empty; expected a price book (book, api, version, "
                       "effective_from, rules)",
                       file->name);
    }
    return code;
}

enum err_code
prices_read_yaml(struct prices *prices, const char *name, struct slice text, bool shipped,
                 struct err *err)
{
    struct yaml_file file = {.prices = prices, .name = name, .err = err};
    yaml_parser_t parser;

    prices->input_bytes += text.len;
    if (text.len > PRICE_FILE_BYTES_MAX || prices->input_bytes > PRICE_TOTAL_BYTES_MAX) {
        return err_set(err, ERR_TOO_LARGE, "%s: %zu bytes; expected at most %d, and %d in all",
                       name, text.len, PRICE_FILE_BYTES_MAX, PRICE_TOTAL_BYTES_MAX);
    }
    if (!yaml_parser_initialize(&parser)) {
        return err_set(err, ERR_INTERNAL, "libyaml cannot start");
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    enum err_code code = read_documents(&file, &parser, shipped);
    yaml_parser_delete(&parser);
    return code;
}
