/* Reading `databases`, and making a configuration of each. */
#include "server/config_databases.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "server/config_internal.h"
#include "server/suggest.h"
#include "store/duckdb/store_duckdb.h"

enum { PATH_BYTES = 128, KEYS_DEPTH = 4, DIR_BYTES = 4096 };

/* Names that are shorter within a database than in the table. */
static const struct {
    const char *key;
    const char *setting;
} short_keys[] = {
    {"tokens", "server.tokens"},
    {"collect", "collect.system"},
    {"meter", "meter.enabled"},
    {"limits.memory_limit", "storage.duckdb.memory_limit"},
    {"limits.readers", "storage.duckdb.readers"},
    {"limits.series_max", "ingest.series_max"},
    {"limits.inflight_bytes_max", "ingest.inflight_bytes_max"},
    {"limits.unapplied_bytes_max", "wal.max_unapplied_bytes"},
};

enum { SHORT_COUNT = sizeof(short_keys) / sizeof(short_keys[0]) };

/* What belongs to the process, and not to one of its databases. */
static const char *const process_wide[] = {"server.",     "log.",     "websocket.", "collect.",
                                           "demo",        "metrics.", "meter.",     "gateway.",
                                           "prometheus.", NULL};

struct reader {
    const struct config_yaml *yaml;
    struct config_database *database;
    size_t lines[CONFIG_SETTINGS_MAX]; /* where a key was given, to refuse it a second time */
    struct err *err;
};

bool
config_database_name_fits(struct slice name)
{
    bool fits = name.len > 0 && name.len <= CONFIG_DATABASE_NAME_MAX && name.ptr[0] != '-' &&
                name.ptr[0] != '_';

    for (size_t i = 0; i < name.len && fits; i++) {
        char c = name.ptr[i];
        fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    }
    return fits;
}

bool
config_database_takes(const struct config_setting *setting)
{
    for (const char *const *prefix = process_wide; *prefix; prefix++) {
        if (strncmp(setting->name, *prefix, strlen(*prefix)) == 0) {
            return false;
        }
    }
    return true;
}

static const struct config_setting *
find_key(const char *path)
{
    for (size_t i = 0; i < SHORT_COUNT; i++) {
        if (strcmp(short_keys[i].key, path) == 0) {
            return config_find(slice_of(short_keys[i].setting));
        }
    }
    const struct config_setting *setting = config_find(slice_of(path));
    return setting && config_database_takes(setting) ? setting : NULL;
}

static bool
begins(const char *name, const char *section, size_t len)
{
    return strncmp(name, section, len) == 0 && name[len] == '.';
}

static bool
is_section(const char *path)
{
    const struct config_setting *setting;
    size_t len = strlen(path);

    for (size_t i = 0; i < SHORT_COUNT; i++) {
        if (begins(short_keys[i].key, path, len)) {
            return true;
        }
    }
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (config_database_takes(setting) && begins(setting->name, path, len)) {
            return true;
        }
    }
    return false;
}

static size_t
line_of(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}

static struct slice
text_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE
               ? slice_make(node->data.scalar.value, node->data.scalar.length)
               : SLICE_LITERAL("?");
}

static bool
is_null(const yaml_node_t *node)
{
    struct slice text = text_of(node);

    return node->type == YAML_SCALAR_NODE &&
           (text.len == 0 || slice_is(text, "null") || slice_is(text, "~"));
}

static enum err_code
refuse_key(const struct reader *reader, const char *path, size_t line)
{
    const struct config_setting *setting;
    struct suggest suggest;

    suggest_init(&suggest, slice_of(path));
    for (size_t i = 0; i < SHORT_COUNT; i++) {
        suggest_offer(&suggest, short_keys[i].key);
    }
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (config_database_takes(setting)) {
            suggest_offer(&suggest, setting->name);
        }
    }
    setting = config_find(slice_of(path));
    if (setting) {
        return err_set(reader->err, ERR_USAGE,
                       "%s:%zu: databases.%s.%s: %s is for the whole process; give it at the top "
                       "level",
                       reader->yaml->name, line, reader->database->name, path, setting->name);
    }
    return err_set(reader->err, ERR_USAGE, "%s:%zu: unknown setting databases.%s.%s%s%s%s",
                   reader->yaml->name, line, reader->database->name, path,
                   suggest.best ? "; did you mean " : "", suggest.best ? suggest.best : "",
                   suggest.best ? "?" : "; see docs/databases.md");
}

/* The error of a value calls the setting as it is called at the top level; here it has the name
 * that the reader of the message wrote. */
static enum err_code
call_by_path(const struct reader *reader, const struct config_setting *setting, const char *path,
             enum err_code code)
{
    struct err *err = reader->err;
    char full[2 * PATH_BYTES];
    char front[CONFIG_WHERE_MAX];
    char rest[ERR_MSG_MAX];
    int sys = err->sys;

    snprintf(full, sizeof(full), "databases.%s.%s", reader->database->name, path);
    const char *at = strstr(err->msg, ": ");
    size_t len = at ? (size_t)(at - err->msg) + 2 : 0;
    if (at && strncmp(at + 2, setting->name, strlen(setting->name)) == 0 && len < sizeof(front)) {
        snprintf(front, sizeof(front), "%.*s", (int)len, err->msg);
        snprintf(rest, sizeof(rest), "%s", at + 2 + strlen(setting->name));
        err_set(err, code, "%s%s%s", front, full, rest);
        err->sys = sys;
        return code;
    }
    return strstr(err->msg, full) ? code : err_context(err, code, "%s", full);
}

static enum err_code
set_key(struct reader *reader, const struct config_setting *setting, const char *path,
        const yaml_node_t *node)
{
    size_t index = config_setting_index(setting);

    if (reader->lines[index]) {
        return err_set(
            reader->err, ERR_USAGE, "%s:%zu: databases.%s.%s is given twice; first in line %zu",
            reader->yaml->name, line_of(node), reader->database->name, path, reader->lines[index]);
    }
    reader->lines[index] = line_of(node);
    enum err_code code =
        config_yaml_set(reader->yaml, &reader->database->view, setting, node, reader->err);
    if (code != ERR_OK) {
        return call_by_path(reader, setting, path, code);
    }
    reader->database->own[index] = reader->database->view.origins[index].layer != CONFIG_DEFAULT;
    return ERR_OK;
}

static enum err_code
read_keys(struct reader *reader, const yaml_node_t *mapping, const char *prefix, int depth)
{
    for (const yaml_node_pair_t *pair = mapping->data.mapping.pairs.start;
         pair < mapping->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->yaml->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->yaml->document, pair->value);
        char path[PATH_BYTES];
        int len = snprintf(path, sizeof(path), "%s%s%.*s", prefix, *prefix ? "." : "",
                           SLICE_FMT(slice_sub(text_of(key), 0, 80)));
        const struct config_setting *setting =
            len < (int)sizeof(path) && key->type == YAML_SCALAR_NODE ? find_key(path) : NULL;
        enum err_code code = ERR_OK;
        if (setting) {
            code = set_key(reader, setting, path, value);
        } else if (depth >= KEYS_DEPTH || !is_section(path)) {
            code = refuse_key(reader, path, line_of(key));
        } else if (value->type == YAML_MAPPING_NODE) {
            code = read_keys(reader, value, path, depth + 1);
        } else if (!is_null(value)) {
            code = err_set(reader->err, ERR_USAGE,
                           "%s:%zu: databases.%s.%s is a section; expected settings below it",
                           reader->yaml->name, line_of(value), reader->database->name, path);
        }
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}

static enum err_code
read_database(const struct config_yaml *yaml, const yaml_node_t *key, const yaml_node_t *value,
              struct config_databases *databases, struct err *err)
{
    struct slice name = text_of(key);

    if (key->type != YAML_SCALAR_NODE || !config_database_name_fits(name)) {
        return err_set(err, ERR_USAGE,
                       "%s:%zu: databases has the name \"%.*s\"; expected 1 to %d of a-z, 0-9, "
                       "\"_\" and \"-\", beginning with a letter or digit",
                       yaml->name, line_of(key), SLICE_FMT(slice_sub(name, 0, 80)),
                       CONFIG_DATABASE_NAME_MAX);
    }
    if (slice_is(name, CONFIG_DATABASE_DEFAULT)) {
        return err_set(err, ERR_USAGE,
                       "%s:%zu: databases." CONFIG_DATABASE_DEFAULT
                       " is the database of the top level; its settings are given there",
                       yaml->name, line_of(key));
    }
    for (size_t i = 0; i < databases->count; i++) {
        if (slice_is(name, databases->items[i].name)) {
            return err_set(err, ERR_USAGE, "%s:%zu: databases.%s is given twice; first in line %zu",
                           yaml->name, line_of(key), databases->items[i].name,
                           databases->items[i].line);
        }
    }
    struct config_database *database = &databases->items[databases->count++];
    struct config_yaml of_database = *yaml;
    struct reader reader = {.yaml = &of_database, .database = database, .err = err};
    slice_to_cstr(name, database->name, sizeof(database->name));
    of_database.database = database->name;
    database->line = line_of(key);
    if (is_null(value)) {
        return ERR_OK; /* all as at the top level */
    }
    if (value->type != YAML_MAPPING_NODE) {
        return err_set(err, ERR_USAGE,
                       "%s:%zu: databases.%s: expected settings below it, such as \"data_dir:\"",
                       yaml->name, line_of(value), database->name);
    }
    return read_keys(&reader, value, "", 0);
}

enum err_code
config_databases_read(const struct config_yaml *yaml, const yaml_node_t *node,
                      struct config_databases **ret_databases, struct err *err)
{
    enum err_code code = ERR_OK;

    if (is_null(node)) {
        return ERR_OK;
    }
    if (node->type != YAML_MAPPING_NODE) {
        return err_set(err, ERR_USAGE, "%s:%zu: databases: expected a mapping of names to settings",
                       yaml->name, line_of(node));
    }
    size_t count = (size_t)(node->data.mapping.pairs.top - node->data.mapping.pairs.start);
    if (count > CONFIG_DATABASES_MAX) {
        return err_set(err, ERR_USAGE, "%s:%zu: databases has %zu of them; at most %d are allowed",
                       yaml->name, line_of(node), count, CONFIG_DATABASES_MAX);
    }
    struct config_databases *databases =
        mem_zalloc(1, sizeof(*databases) + count * sizeof(databases->items[0]));
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        const yaml_node_pair_t *pair = &node->data.mapping.pairs.start[i];
        code = read_database(yaml, yaml_document_get_node(yaml->document, pair->key),
                             yaml_document_get_node(yaml->document, pair->value), databases, err);
    }
    if (code != ERR_OK) {
        config_databases_free(databases);
        return code;
    }
    *ret_databases = databases;
    return ERR_OK;
}

void
config_databases_free(struct config_databases *databases)
{
    const struct config_setting *setting;

    for (size_t i = 0; databases && i < databases->count; i++) {
        struct config_database *database = &databases->items[i];
        for (size_t j = 0; (setting = config_setting_at(j)); j++) {
            if (database->own[j]) {
                config_clear(&database->view, setting);
            }
        }
        free(database->made_data_dir);
        free(database->made_head_file);
        free(database->made_backup_dir);
        free(database->made_wal_archive);
    }
    free(databases);
}

/* ---- views ---- */

static size_t
field_size(enum config_type type)
{
    switch (type) {
    case CONFIG_TEXT:
        return sizeof(char *);
    case CONFIG_BOOL:
        return sizeof(bool);
    case CONFIG_INT:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        return sizeof(int64_t);
    case CONFIG_CHOICE:
        return sizeof(int);
    case CONFIG_LIST:
        return sizeof(struct config_list);
    }
    return 0;
}

static char *
join(const char *a, const char *between, const char *b)
{
    struct buf text;

    buf_init(&text, DIR_BYTES);
    buf_add_fmt(&text, "%s%s%s%c", a, between, b, '\0');
    return buf_take(&text, &(size_t){0});
}

bool
config_database_says(const struct config_database *database, const char *setting)
{
    return database->own[config_setting_index(config_find(slice_of(setting)))];
}

/* Memory that nobody set: all named databases together get half of it at most, the top level's a
 * quarter. */
static int64_t
share_of_memory(size_t count)
{
    uint64_t memory = limits_memory_bytes();
    uint64_t share = memory / 2 / count;

    return share < memory / 4 ? (int64_t)share : 0; /* 0: the store's own choice, a quarter */
}

static void
make_view(const struct config *config, struct config_database *database, size_t count)
{
    struct config view = *config;
    const struct config_setting *setting;

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (database->own[i]) {
            memcpy(config_field(&view, setting), config_field(&database->view, setting),
                   field_size(setting->type));
            view.origins[i] = database->view.origins[i];
        }
    }
    if (!config_database_says(database, "data_dir")) {
        database->made_data_dir = join(config->data_dir, "/databases/", database->name);
        view.data_dir = database->made_data_dir;
    }
    if (!config_database_says(database, "collect.system")) {
        view.collect.system = false;
    }
    if (view.storage.duckdb.memory_limit_bytes == 0) {
        view.storage.duckdb.memory_limit_bytes = share_of_memory(count);
    }
    if (config->meter.head_file) {
        database->made_head_file = join(config->meter.head_file, ".", database->name);
        view.meter.head_file = database->made_head_file;
    }
    if (config->backup.dir && !config_database_says(database, "backup.dir")) {
        database->made_backup_dir = join(config->backup.dir, ".", database->name);
        view.backup.dir = database->made_backup_dir;
    }
    if (config->backup.wal_archive && !config_database_says(database, "backup.wal_archive")) {
        database->made_wal_archive = join(config->backup.wal_archive, ".", database->name);
        view.backup.wal_archive = database->made_wal_archive;
    }
    view.meter.head_nats.url = NULL; /* its one subject is the top level's */
    view.demo = false;
    view.databases = NULL;
    view.note_count = 0;
    database->view = view;
}

static bool
same_text(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

/* Two logs applied to the same tables would overwrite each other's. */
static bool
same_tables(const struct config *a, const struct config *b)
{
    return a->storage.type == CONFIG_STORAGE_POSTGRES &&
           b->storage.type == CONFIG_STORAGE_POSTGRES &&
           same_text(a->storage.postgres.dsn, b->storage.postgres.dsn) &&
           same_text(a->storage.postgres.host, b->storage.postgres.host) &&
           same_text(a->storage.postgres.database, b->storage.postgres.database) &&
           a->storage.postgres.port == b->storage.postgres.port;
}

/* Whether one of these settings has no value for want of a variable: then it looks as if it were
 * another database's. NULL: the top level. */
static bool
lacks_any(const struct config *config, const struct config_database *database,
          const char *const *names)
{
    for (; *names; names++) {
        if (config_lacks(config, database ? database->name : "", database ? database->own : NULL,
                         *names)) {
            return true;
        }
    }
    return false;
}

static const char *const of_directory[] = {"data_dir", NULL};
static const char *const of_file[] = {"storage.duckdb.path", NULL};
static const char *const of_tables[] = {
    "storage.type",          "storage.postgres.dsn",      "storage.postgres.host",
    "storage.postgres.port", "storage.postgres.database", NULL};

static enum err_code
check_tables(const struct config *config, const struct config_databases *databases, size_t index,
             struct err *err)
{
    const struct config_database *database = &databases->items[index];

    if (lacks_any(config, database, of_tables)) {
        return ERR_OK;
    }
    bool twice = same_tables(&database->view, config) && !lacks_any(config, NULL, of_tables);
    for (size_t i = 0; i < index && !twice; i++) {
        const struct config_database *other = &databases->items[i];
        twice = same_tables(&database->view, &other->view) && !lacks_any(config, other, of_tables);
    }
    if (twice) {
        return err_set(err, ERR_USAGE,
                       "%s:%zu: databases.%s.storage.postgres is the same database as another's; "
                       "expected storage.postgres.database (or dsn) of its own",
                       config->file, database->line, database->name);
    }
    return ERR_OK;
}

static enum err_code
check_directory(const struct config *config, const struct config_databases *databases, size_t index,
                struct err *err)
{
    const struct config_database *database = &databases->items[index];
    const char *dir = database->view.data_dir;
    const char *other = CONFIG_DATABASE_DEFAULT;

    if (lacks_any(config, database, of_directory)) {
        return ERR_OK;
    }
    if (!dir || !*dir) {
        return err_set(err, ERR_USAGE, "%s:%zu: databases.%s.data_dir is empty; expected a path",
                       config->file, database->line, database->name);
    }
    bool twice = strcmp(dir, config->data_dir) == 0 && !lacks_any(config, NULL, of_directory);
    for (size_t i = 0; i < index && !twice; i++) {
        twice = strcmp(dir, databases->items[i].view.data_dir) == 0 &&
                !lacks_any(config, &databases->items[i], of_directory);
        other = databases->items[i].name;
    }
    if (twice) {
        return err_set(err, ERR_USAGE,
                       "%s:%zu: databases.%s.data_dir is %.200s, which the database %s has; "
                       "expected a directory of its own",
                       config->file, database->line, database->name, dir, other);
    }
    return ERR_OK;
}

static enum err_code
check_view(const struct config *config, const struct config_databases *databases, size_t index,
           struct err *err)
{
    const struct config_database *database = &databases->items[index];
    const char *path = database->view.storage.duckdb.path;

    if ((!path || !*path || strchr(path, '/')) && !lacks_any(config, database, of_file)) {
        return err_set(err, ERR_USAGE,
                       "%s:%zu: databases.%s.storage.duckdb.path is \"%.200s\"; expected the name "
                       "of a file (data_dir says where)",
                       config->file, database->line, database->name, path ? path : "");
    }
    enum err_code code = check_directory(config, databases, index, err);
    return code == ERR_OK ? check_tables(config, databases, index, err) : code;
}

static uint64_t
memory_of(const struct config *view)
{
    if (view->storage.type != CONFIG_STORAGE_DUCKDB) {
        return 0;
    }
    return store_duckdb_memory_limit((uint64_t)view->storage.duckdb.memory_limit_bytes);
}

static void
note_memory(struct config *config)
{
    uint64_t total = memory_of(config);
    uint64_t there = limits_memory_bytes();
    struct buf parts BUF_AUTO = {0};

    buf_init(&parts, 0);
    buf_add_fmt(&parts, CONFIG_DATABASE_DEFAULT " %" PRIu64 " MiB", total >> 20);
    for (size_t i = 0; i < config->databases->count; i++) {
        uint64_t limit = memory_of(&config->databases->items[i].view);
        total += limit;
        buf_add_fmt(&parts, ", %s %" PRIu64 " MiB", config->databases->items[i].name, limit >> 20);
    }
    if (total > there) {
        config_add_note(config,
                        "the memory limits of all databases are %" PRIu64
                        " MiB together, and there are %" PRIu64
                        " MiB: lower limits.memory_limit (%.*s)",
                        total >> 20, there >> 20, SLICE_FMT(slice_sub(buf_slice(&parts), 0, 120)));
    }
}

enum err_code
config_databases_settle(struct config *config, bool for_a_server, struct err *err)
{
    struct config_databases *databases = config->databases;

    if (!databases) {
        return ERR_OK;
    }
    for (size_t i = 0; i < databases->count; i++) {
        make_view(config, &databases->items[i], databases->count);
    }
    for (size_t i = 0; i < databases->count; i++) {
        enum err_code code = check_view(config, databases, i, err);
        if (code == ERR_OK && for_a_server) {
            code = config_check_database(config, &databases->items[i].view,
                                         databases->items[i].name, err);
        }
        if (code != ERR_OK) {
            return code;
        }
    }
    if (for_a_server) {
        note_memory(config);
    }
    return ERR_OK;
}

static const struct config_database *
find_named(const struct config *config, struct slice name)
{
    const struct config_databases *databases = config->databases;

    for (size_t i = 0; databases && i < databases->count; i++) {
        if (slice_is(name, databases->items[i].name)) {
            return &databases->items[i];
        }
    }
    return NULL;
}

const struct config *
config_database_find(const struct config *config, struct slice name)
{
    const struct config_database *database = find_named(config, name);

    if (slice_is(name, CONFIG_DATABASE_DEFAULT)) {
        return config;
    }
    return database ? &database->view : NULL;
}

static void
adopt(struct config *config, const struct config *view, const struct config_setting *setting)
{
    void *to = config_field(config, setting);
    const void *from = config_field_const(view, setting);

    if (memcmp(to, from, field_size(setting->type)) == 0) {
        return;
    }
    config_clear(config, setting);
    if (setting->type == CONFIG_TEXT) {
        const char *text = *(char *const *)from;
        *(char **)to = text ? mem_strdup(slice_of(text)) : NULL;
    } else if (setting->type == CONFIG_LIST) {
        const struct config_list *list = from;
        struct config_list *copy = to;
        for (size_t i = 0; i < list->count; i++) {
            copy->items[copy->count++] = mem_strdup(slice_of(list->items[i]));
        }
    } else {
        memcpy(to, from, field_size(setting->type));
    }
}

bool
config_database_choose(struct config *config, struct slice name)
{
    struct config_origin *origin =
        &config->origins[config_setting_index(config_find(SLICE_LITERAL("data_dir")))];
    const struct config_database *database = find_named(config, name);
    const struct config_setting *setting;

    if (slice_is(name, CONFIG_DATABASE_DEFAULT)) {
        return true;
    }
    if (!database && config->databases && config->databases->count > 0) {
        return false;
    }
    if (!config->process_data_dir) {
        config->process_data_dir = mem_strdup(slice_of(config->data_dir));
    }
    if (database) {
        for (size_t i = 0; (setting = config_setting_at(i)); i++) {
            adopt(config, &database->view, setting);
        }
        config_missing_choose(&config->missing, database->name, database->own);
    } else {
        char text[CONFIG_DATABASE_NAME_MAX + 1];
        slice_to_cstr(name, text, sizeof(text));
        char *dir = join(config->data_dir, "/databases/", text);
        free(config->data_dir);
        config->data_dir = dir;
    }
    *origin = (struct config_origin){.layer = CONFIG_FLAG, .where = "flag --database"};
    return true;
}

const char *
config_database_suggest(const struct config *config, struct slice name)
{
    struct suggest suggest;

    suggest_init(&suggest, name);
    suggest_offer(&suggest, CONFIG_DATABASE_DEFAULT);
    for (size_t i = 0; config->databases && i < config->databases->count; i++) {
        suggest_offer(&suggest, config->databases->items[i].name);
    }
    return suggest.best;
}
