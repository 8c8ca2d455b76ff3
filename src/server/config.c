/* The four layers of the configuration, and the checks that span settings. */
#include "server/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "nats/url.h"
#include "server/config_databases.h"
#include "server/config_internal.h"
#include "server/config_upstreams.h"
#include "server/suggest.h"

enum { ENV_NAME_MAX = 96 };

static const char default_file[] = "eider.yaml";
static const char blanks[] = " \t\r\n\v\f";

const struct config_setting *
config_find(struct slice name)
{
    const struct config_setting *setting;

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (slice_is(name, setting->name) || (setting->alias && slice_is(name, setting->alias))) {
            return setting;
        }
    }
    return NULL;
}

const struct config_setting *
config_find_flag(struct slice flag)
{
    const struct config_setting *setting;

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if ((setting->flag && slice_is(flag, setting->flag)) ||
            (setting->flag_alias && slice_is(flag, setting->flag_alias))) {
            return setting;
        }
    }
    return NULL;
}

void
config_env_name(const struct config_setting *setting, char *ret_name, size_t size)
{
    static const char section[] = "server.";
    const char *name = setting->name;

    if (strncmp(name, section, strlen(section)) == 0) {
        name += strlen(section);
    }
    snprintf(ret_name, size, "EIDER_%s", name);
    for (char *c = ret_name; *c; c++) {
        *c = (char)(*c == '.' ? '_' : toupper((unsigned char)*c));
    }
}

const char *
config_suggest(struct slice name)
{
    const struct config_setting *setting;
    struct suggest suggest;

    suggest_init(&suggest, name);
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        suggest_offer(&suggest, setting->name);
        /* "prot" alone is meant to be "server.port". */
        const char *last = strrchr(setting->name, '.');
        if (last && !memchr(name.ptr, '.', name.len)) {
            suggest_offer_as(&suggest, slice_of(last + 1), setting->name);
        }
    }
    return suggest.best;
}

const char *
config_getenv(char *const *env, struct slice name)
{
    for (; *env; env++) {
        if (strncmp(*env, name.ptr, name.len) == 0 && (*env)[name.len] == '=') {
            return *env + name.len + 1;
        }
    }
    return NULL;
}

void
config_add_note(struct config *config, const char *fmt, ...)
{
    struct buf text;
    char line[256];
    va_list ap;

    if (config->note_count == CONFIG_NOTES_MAX) {
        return;
    }
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    buf_init(&text, 0);
    buf_add_cstr(&text, line);
    buf_add_char(&text, '\0');
    config->notes[config->note_count++] = buf_take(&text, &(size_t){0});
}

static enum err_code
load_defaults(struct config *config, struct err *err)
{
    const struct config_setting *setting;

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        struct config_origin origin = {.layer = CONFIG_DEFAULT, .where = "default"};
        config->origins[i] = origin;
        if (setting->preset) {
            enum err_code code =
                config_set(config, setting, slice_of(setting->preset), &origin, err);
            if (code != ERR_OK) {
                return code;
            }
        }
    }
    return ERR_OK;
}

static enum err_code
read_file(const char *path, struct buf *ret_text, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;

    if (fd < 0) {
        return err_sys(err, errno, "cannot read the configuration file %s", path);
    }
    if (fstat(fd, &info) != 0 || S_ISDIR(info.st_mode)) {
        close(fd);
        return err_set(err, ERR_USAGE, "%s is a directory; expected a configuration file", path);
    }
    for (ssize_t got = 1; got > 0;) {
        char *room = buf_reserve(ret_text, 4096);
        if (!room) {
            close(fd);
            return err_set(err, ERR_USAGE, "%s is larger than %d bytes", path,
                           CONFIG_FILE_BYTES_MAX);
        }
        got = read(fd, room, 4096);
        if (got < 0) {
            int sys = errno;
            close(fd);
            return err_sys(err, sys, "cannot read the configuration file %s", path);
        }
        ret_text->len += (size_t)got;
    }
    close(fd);
    return ERR_OK;
}

static enum err_code
load_file(struct config *config, const struct config_options *options, char *const *env,
          struct err *err)
{
    const char *path = options->file ? options->file : default_file;
    struct buf text BUF_AUTO = {0};

    buf_init(&text, CONFIG_FILE_BYTES_MAX + 4096);
    if (!options->file && access(path, F_OK) != 0) {
        return ERR_OK;
    }
    enum err_code code = read_file(path, &text, err);
    if (code != ERR_OK) {
        return code;
    }
    config->file = mem_strdup(slice_of(path));
    return config_read_yaml(config, path, buf_slice(&text), env, options->missing_later, err);
}

/* A variable of another system that is never refused; see env_word_or. */
static enum err_code
set_lenient(struct config *config, const struct config_setting *setting, const char *value,
            const struct config_origin *origin, struct err *err)
{
    size_t from = strspn(value, blanks);
    struct slice word = slice_make(value + from, strcspn(value + from, blanks));

    if (word.len > 0 && !slice_is(word, "0") &&
        config_set(config, setting, word, origin, err) == ERR_OK) {
        return ERR_OK;
    }
    return config_set(config, setting, slice_of(setting->env_word_or), origin, err);
}

/* Our own name wins over those of other systems, and those in order of the table. An empty
 * variable counts as unset, as compose files leave them. */
static enum err_code
load_env_setting(struct config *config, const struct config_setting *setting, char *const *env,
                 struct err *err)
{
    char own[ENV_NAME_MAX];

    config_env_name(setting, own, sizeof(own));
    for (size_t i = 0; i <= CONFIG_ENV_MAX; i++) {
        const char *name = i == 0 ? own : setting->env[i - 1];
        const char *value = name ? config_getenv(env, slice_of(name)) : NULL;
        bool lenient = i > 0 && setting->env_word_or;
        if (value && (*value || lenient)) {
            struct config_origin origin = {.layer = CONFIG_ENVIRONMENT};
            snprintf(origin.where, sizeof(origin.where), "environment %s", name);
            if (lenient) {
                return set_lenient(config, setting, value, &origin, err);
            }
            return config_set(config, setting, slice_of(value), &origin, err);
        }
    }
    return ERR_OK;
}

/* A variable of ours that is misspelt would be silently without effect. */
static void
note_unknown_env(struct config *config, struct slice name)
{
    const struct config_setting *setting;
    char known[CONFIG_SETTINGS_MAX][ENV_NAME_MAX];
    struct suggest suggest;

    suggest_init(&suggest, name);
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        config_env_name(setting, known[i], sizeof(known[i]));
        if (slice_is(name, known[i])) {
            return;
        }
        /* Only what differs behind the prefix tells names apart. */
        size_t prefix = strlen("EIDER_");
        if (suggest_distance(slice_sub(name, prefix, name.len), slice_of(known[i] + prefix)) <= 2) {
            suggest_offer(&suggest, known[i]);
        }
    }
    if (suggest.best) {
        config_add_note(config, "environment %.*s is no setting; did you mean %s?", SLICE_FMT(name),
                        suggest.best);
    }
}

static enum err_code
load_env(struct config *config, char *const *env, struct err *err)
{
    const struct config_setting *setting;
    const struct config_retired *retired;

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        enum err_code code = load_env_setting(config, setting, env, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    for (size_t i = 0; (retired = config_retired_at(i)); i++) {
        const char *value = config_getenv(env, slice_of(retired->env));
        if (value && *value) {
            config_add_note(config, "environment %s: accepted, no effect: %s", retired->env,
                            retired->reason);
        }
    }
    for (char *const *entry = env; *entry; entry++) {
        struct slice rest = slice_of(*entry);
        struct slice name;
        slice_split(&rest, '=', &name);
        if (slice_starts(name, "EIDER_")) {
            note_unknown_env(config, name);
        }
    }
    return ERR_OK;
}

const char *
config_where(const struct config *config, const char *name)
{
    return config->origins[config_setting_index(config_find(slice_of(name)))].where;
}

static enum err_code
load_flags(struct config *config, const struct config_options *options, struct err *err)
{
    for (size_t i = 0; i < options->flag_count; i++) {
        const struct config_flag *flag = &options->flags[i];
        struct slice name = slice_of(flag->name);
        const struct config_setting *setting =
            flag->dotted ? config_find(name) : config_find_flag(name);
        struct config_origin origin = {.layer = CONFIG_FLAG};
        snprintf(origin.where, sizeof(origin.where), "flag --%s%.100s", flag->dotted ? "set " : "",
                 flag->name);
        if (!setting) {
            const char *near = config_suggest(name);
            return err_set(err, ERR_USAGE, "%s: unknown setting %.100s%s%s%s", origin.where,
                           flag->name, near ? "; did you mean " : "", near ? near : "",
                           near ? "?" : "; `eider config` lists all of them");
        }
        if (!flag->value && setting->type != CONFIG_BOOL) {
            return err_set(err, ERR_USAGE, "%s needs a value", origin.where);
        }
        enum err_code code =
            config_set(config, setting, slice_of(flag->value ? flag->value : "true"), &origin, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}

static const struct config_origin *
origin_of(const struct config *config, const char *name)
{
    return &config->origins[config_setting_index(config_find(slice_of(name)))];
}

/*
 * The database lives in the data directory. A path with a directory (DUCKDB_PATH of the originals)
 * therefore says where the data directory is, unless that was said otherwise.
 */
static enum err_code
settle_paths(struct config *config, struct err *err)
{
    const struct config_origin *origin = origin_of(config, "storage.duckdb.path");
    struct config_origin *dir_origin =
        &config->origins[config_setting_index(config_find(SLICE_LITERAL("data_dir")))];
    char *path = config->storage.duckdb.path;

    if (!path || !config->data_dir) {
        return err_set(err, ERR_USAGE, "%s: %s is empty; expected a path",
                       path ? dir_origin->where : origin->where,
                       path ? "data_dir" : "storage.duckdb.path");
    }
    char *slash = strrchr(path, '/');
    const char *file = slash ? slash + 1 : path;
    if (*file == '\0' || strcmp(file, ".") == 0 || strcmp(file, "..") == 0) {
        return err_set(err, ERR_USAGE,
                       "%s: storage.duckdb.path is \"%.200s\"; expected the name of a file",
                       origin->where, path);
    }
    if (!slash) {
        return ERR_OK;
    }
    struct slice dir = slice_make(path, slash == path ? 1 : (size_t)(slash - path));
    if (dir_origin->layer == CONFIG_DEFAULT) {
        free(config->data_dir);
        config->data_dir = mem_strdup(dir);
        *dir_origin = *origin;
    } else if (!slice_is(dir, config->data_dir)) {
        return err_set(err, ERR_USAGE,
                       "%s: storage.duckdb.path %.100s is outside data_dir %.100s (%s); expected "
                       "a file name, or no data_dir",
                       origin->where, path, config->data_dir, dir_origin->where);
    }
    char *kept = mem_strdup(slice_of(file));
    free(path);
    config->storage.duckdb.path = kept;
    return ERR_OK;
}

bool
config_is_loopback(const char *host)
{
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           strcmp(host, "[::1]") == 0 || strncmp(host, "127.", 4) == 0;
}

static enum err_code
check_tls_file(const struct config *config, const char *name, const char *path, struct err *err)
{
    if (access(path, R_OK) != 0) {
        return err_set(err, ERR_USAGE, "%s: %s: cannot read %s: %s", origin_of(config, name)->where,
                       name, path, strerrordesc_np(errno));
    }
    return ERR_OK;
}

static enum err_code
check_head_nats(const struct config *config, struct err *err)
{
    struct nats_url url;
    const char *setting = "meter.head_nats.url";
    enum err_code code = nats_url_parse(slice_of(config->meter.head_nats.url), &url, err);

    if (code == ERR_OK) {
        setting = "meter.head_nats.subject";
        code = nats_subject_check(slice_of(config->meter.head_nats.subject), err);
    }
    if (code != ERR_OK) {
        err_context(err, code, "%s: %s", origin_of(config, setting)->where, setting);
        err->code = ERR_USAGE;
        return ERR_USAGE;
    }
    return code;
}

static enum err_code
check_server(const struct config *config, struct err *err)
{
    const char *cert = config->server.tls.certfile;
    const char *key = config->server.tls.keyfile;
    enum err_code code = ERR_OK;

    if (!config->server.host) {
        return err_set(err, ERR_USAGE, "%s: server.host is empty; expected an address",
                       origin_of(config, "server.host")->where);
    }
    if (!cert != !key) {
        const char *given = cert ? "server.tls.certfile" : "server.tls.keyfile";
        return err_set(err, ERR_USAGE, "%s: %s is set without %s; TLS needs both",
                       origin_of(config, given)->where, given,
                       cert ? "server.tls.keyfile (--ssl-keyfile)"
                            : "server.tls.certfile (--ssl-certfile)");
    }
    if (cert) {
        code = check_tls_file(config, "server.tls.certfile", cert, err);
    }
    if (code == ERR_OK && key) {
        code = check_tls_file(config, "server.tls.keyfile", key, err);
    }
    if (code == ERR_OK && !config_is_loopback(config->server.host) && !config->server.token &&
        config->server.tokens.count == 0 && !config->server.insecure) {
        code = err_set(err, ERR_USAGE,
                       "%s: server.host %s can be reached from other machines; set server.token "
                       "(EIDER_TOKEN), or say --insecure",
                       origin_of(config, "server.host")->where, config->server.host);
    }
    if (code == ERR_OK && config->meter.head_nats.url) {
        code = check_head_nats(config, err);
    }
    return code;
}

static void
note_backups(struct config *config, const struct config *view, const char *prefix)
{
    const char *why = view->storage.type == CONFIG_STORAGE_MEMORY
                          ? "the memory store has nothing that could be backed up but its log"
                          : "the rows are in PostgreSQL: back them up with pg_dump";

    if (view->backup.dir && view->storage.type != CONFIG_STORAGE_DUCKDB) {
        config_add_note(config, "%sbackup.dir has no effect: %s", prefix, why);
    }
}

enum err_code
config_check_database(struct config *config, const struct config *view, const char *name,
                      struct err *err)
{
    char prefix[CONFIG_WHERE_MAX] = "";
    struct buf value BUF_AUTO = {0};
    struct buf least BUF_AUTO = {0};

    if (*name) {
        snprintf(prefix, sizeof(prefix), "databases.%.64s.", name);
    }
    note_backups(config, view, prefix);
    if (view->limits.disk_bytes_max == 0 || view->limits.disk_bytes_max > view->wal.segment_bytes) {
        return ERR_OK;
    }
    buf_init(&value, CONFIG_WHERE_MAX);
    buf_init(&least, CONFIG_WHERE_MAX);
    config_format(view, config_find(SLICE_LITERAL("limits.disk_bytes_max")), &value);
    config_format(view, config_find(SLICE_LITERAL("wal.segment_bytes")), &least);
    return err_set(err, ERR_USAGE,
                   "%s: %slimits.disk_bytes_max is \"%.*s\"; expected more than wal.segment_bytes, "
                   "%.*s, which the empty log takes",
                   config_where(view, "limits.disk_bytes_max"), prefix,
                   SLICE_FMT(buf_slice(&value)), SLICE_FMT(buf_slice(&least)));
}

/* Development means more to read, unless somebody chose. */
static void
settle_dev(struct config *config)
{
    size_t level = config_setting_index(config_find(SLICE_LITERAL("log.level")));
    size_t access_log = config_setting_index(config_find(SLICE_LITERAL("server.access_log")));

    if (!config->server.dev) {
        return;
    }
    if (config->origins[level].layer == CONFIG_DEFAULT) {
        config->log.level = 0;
        config->origins[level] = *origin_of(config, "server.dev");
    }
    if (config->origins[access_log].layer == CONFIG_DEFAULT) {
        config->server.access_log = true;
        config->origins[access_log] = *origin_of(config, "server.dev");
    }
}

enum err_code
config_load(const struct config_options *options, struct config *ret_config, struct err *err)
{
    char *const *env = options->env ? options->env : environ;
    struct config config = {0};
    enum err_code code = load_defaults(&config, err);

    if (code == ERR_OK) {
        code = load_file(&config, options, env, err);
    }
    if (code == ERR_OK) {
        code = load_env(&config, env, err);
    }
    if (code == ERR_OK) {
        code = load_flags(&config, options, err);
    }
    if (code == ERR_OK) {
        code = settle_paths(&config, err);
    }
    if (code == ERR_OK && options->for_a_server) {
        code = check_server(&config, err);
    }
    if (code == ERR_OK && options->for_a_server) {
        code = config_check_database(&config, &config, "", err);
    }
    if (code == ERR_OK) {
        code = config_databases_settle(&config, options->for_a_server, err);
    }
    if (code != ERR_OK) {
        config_fini(&config);
        return code;
    }
    settle_dev(&config);
    *ret_config = config;
    return ERR_OK;
}

void
config_fini(struct config *config)
{
    const struct config_setting *setting;

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        config_clear(config, setting);
    }
    for (size_t i = 0; i < config->note_count; i++) {
        free(config->notes[i]);
    }
    config_upstreams_free(config->gateway.upstreams);
    config_databases_free(config->databases);
    config_missing_free(&config->missing);
    free(config->process_data_dir);
    free(config->file);
    *config = (struct config){0};
}

static bool
same_items(const struct config_list *a, const struct config_list *b)
{
    bool same = a->count == b->count;

    for (size_t i = 0; same && i < a->count; i++) {
        same = strcmp(a->items[i], b->items[i]) == 0;
    }
    return same;
}

size_t
config_changes(const struct config *before, const struct config *after,
               const struct config_setting **ret_settings, size_t max)
{
    const struct config_setting *setting;
    size_t count = 0;

    for (size_t i = 0; (setting = config_setting_at(i)) && count < max; i++) {
        struct buf a BUF_AUTO = {0};
        struct buf b BUF_AUTO = {0};
        buf_init(&a, 0);
        buf_init(&b, 0);
        config_format(before, setting, &a);
        config_format(after, setting, &b);
        bool same = slice_eq(buf_slice(&a), buf_slice(&b));
        if (setting->secret && setting->type == CONFIG_LIST) {
            same = same && same_items(config_field_const(before, setting),
                                      config_field_const(after, setting));
        } else if (setting->secret) {
            const char *const *x = config_field_const(before, setting);
            const char *const *y = config_field_const(after, setting);
            same = slice_eq(slice_of(*x), slice_of(*y));
        }
        if (!same) {
            ret_settings[count++] = setting;
        }
    }
    return count;
}
