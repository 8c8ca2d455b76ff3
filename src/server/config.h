/*
 * The configuration: one table of settings, four layers (defaults, eider.yaml, environment, flags),
 * one plain struct with the effective values, and for each of them where it came from.
 *
 *   defaults < eider.yaml (or --config FILE; JSON is YAML) < environment < flags
 *
 * Ownership: config_load fills a caller's struct, config_fini frees its texts. The struct is not
 * changed afterwards; a reload (SIGHUP) loads a second one and asks config_changes.
 * Threads: loading is single-threaded; a loaded struct may be read by all.
 */
#ifndef EIDER_SERVER_CONFIG_H
#define EIDER_SERVER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum config_type {
    CONFIG_TEXT,     /* char *, NULL when unset */
    CONFIG_BOOL,     /* bool */
    CONFIG_INT,      /* int64_t */
    CONFIG_BYTES,    /* int64_t; "4GB", "64MiB", "1048576" */
    CONFIG_DURATION, /* int64_t milliseconds; "30s", "250ms", "5m"; a bare number is seconds */
    CONFIG_CHOICE,   /* int, index into the choices */
    CONFIG_LIST      /* struct config_list; YAML list, JSON list or comma-separated text */
};

/* What the items of a list may be besides texts; see config_item.c. */
enum config_item {
    CONFIG_ITEM_TEXT,
    CONFIG_ITEM_TOKEN, /* {name, token or sha256, scopes}: "name:scope+scope:token" as a text */
    CONFIG_ITEM_RULE,  /* {table, metric, rollup, max_age, ...}: "table=x max_age=90d" as a text */
    CONFIG_ITEM_PAIR   /* a mapping instead of the list: "name=value" each as a text */
};

enum config_layer { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_ENVIRONMENT, CONFIG_FLAG };

enum config_storage { CONFIG_STORAGE_DUCKDB, CONFIG_STORAGE_MEMORY, CONFIG_STORAGE_POSTGRES };

enum {
    CONFIG_SETTINGS_MAX = 160,
    CONFIG_LIST_MAX = 32,
    CONFIG_NOTES_MAX = 32,
    CONFIG_ENV_MAX = 3,
    CONFIG_WHERE_MAX = 160,
    CONFIG_FILE_BYTES_MAX = 1 << 20
};

struct config_list {
    size_t count;
    char *items[CONFIG_LIST_MAX];
};

/* Where a value came from: "default", "eider.yaml:12", "environment API_PORT", "flag --port". */
struct config_origin {
    enum config_layer layer;
    char where[CONFIG_WHERE_MAX];
};

/* A value of the file that was not taken, since a variable it names is not set. */
struct config_missing {
    char *database; /* below `databases`; "": the top level's */
    char *setting;
    char *variable;
    char *where;    /* "eider.yaml:12" */
    bool elsewhere; /* not a value of the database that the configuration is for */
};

struct config_missing_list {
    size_t count;
    struct config_missing *items;
};

struct config_upstreams; /* see config_upstreams.h */
struct config_databases; /* see config_databases.h */

struct config {
    struct {
        char *host;
        int64_t port; /* 0: any free one */
        int64_t workers;
        struct {
            char *certfile; /* both or neither */
            char *keyfile;
        } tls;
        bool access_log;
        bool dev;
        bool insecure;
        char *token;               /* NULL: none asked for */
        struct config_list tokens; /* further ones, with scopes */
        struct config_list cors_origins;
        int64_t connections_max;
        int64_t body_bytes_max;
        int64_t idle_timeout_ms;
        int64_t memory_max_bytes; /* 0: from the databases' own limits (memory.h) */
    } server;
    struct {
        int level; /* enum log_level */
        bool json;
        char *file; /* NULL: standard error */
    } log;
    char *data_dir;
    struct {
        int type; /* enum config_storage */
        struct {
            char *path;                 /* a file name within data_dir */
            int64_t threads;            /* 0: from the machine */
            int64_t memory_limit_bytes; /* 0: a share of the machine's */
            int64_t readers;
            int64_t query_timeout_ms;
        } duckdb;
        struct {
            char *dsn; /* NULL, as all texts here: libpq's environment and defaults */
            char *host;
            int64_t port; /* 0: libpq's */
            char *database;
            char *user;
            char *password;
            char *sslmode;
            int64_t max_connections;
            int64_t keep_wal_bytes;
        } postgres;
        struct {
            int64_t points_max; /* 0: bounded by bytes alone */
            int64_t bytes_max;
        } memory;
        int64_t hot_cache_bytes; /* 0: none */
        struct {
            bool enabled;
            int64_t after_ms;
            int64_t min_rows;
            int64_t merge_files;
        } cold;
        int64_t snapshot_wal_bytes;
        int64_t checkpoint_interval_ms;
    } storage;
    struct config_list retention; /* rules, as store/retention.h reads them */
    int64_t retention_at_ms;      /* of the UTC day */
    struct {
        int64_t segment_bytes;
        int64_t unapplied_bytes_max;
    } wal;
    struct {
        char *dir;           /* NULL: no backups by itself or by request */
        int64_t interval_ms; /* 0: only when asked for */
        int64_t keep;        /* 0: all */
        char *wal_archive;   /* NULL: none */
    } backup;
    struct {
        int64_t request_bytes_max;
        int64_t inflight_bytes_max;
        int64_t series_max;
    } ingest;
    struct {
        int64_t max_connections;
        int64_t heartbeat_interval_ms;
        int64_t interval_ms;
    } websocket;
    struct {
        bool system;
        int64_t interval_ms;
    } collect;
    bool demo;
    int64_t demo_seed;
    struct {
        int64_t rows_max;
        int64_t bytes_max;
    } sql;
    struct {
        int64_t cache_bytes; /* 0: no answers are kept */
    } query;
    struct {
        bool enabled;
        char *namespace;
        char *subsystem; /* NULL: none */
        bool token_required;
        int64_t port; /* 0: none of its own */
        char *host;   /* NULL: the server's */
        bool process;
    } metrics;
    struct {
        bool enabled;
        struct {
            bool enabled;
            int64_t window_minutes;
            int64_t threshold; /* credits */
        } circuit_breaker;
        int64_t window_entries_max;
        int64_t reservations_max;
        int64_t ids_recent_max;
        char *prices_dir; /* NULL: ./prices, if it is there */
        struct config_list price_books;
        char *head_file; /* NULL: none */
        struct {
            char *url; /* NULL: none */
            char *subject;
            int64_t retry_ms;
        } head_nats;
    } meter;

    struct {
        int64_t threads;
        int64_t calls_max;
        int64_t body_bytes_max;
        int64_t lease_ms;
        struct config_upstreams *upstreams; /* gateway.upstreams; NULL: none */
    } gateway;

    struct {
        int64_t disk_bytes_max;  /* 0: none */
        int64_t rows_per_second; /* 0: none */
    } limits;

    struct config_databases *databases; /* besides this one; NULL: none */

    char *file;             /* the configuration file that was read, or NULL */
    char *process_data_dir; /* the top level's, once another database was chosen; else NULL */
    struct config_origin origins[CONFIG_SETTINGS_MAX]; /* by index of the setting */
    size_t note_count;
    char *notes[CONFIG_NOTES_MAX];      /* accepted without effect, and why; one line each */
    struct config_missing_list missing; /* with missing_later alone; see config_need */
};

struct config_setting {
    const char *name; /* dotted, as in the file */
    enum config_type type;
    size_t offset;      /* of the field in struct config */
    const char *preset; /* the default, as it would be written; NULL: unset */
    int64_t min;        /* numbers only; in bytes or milliseconds */
    int64_t max;
    const char *const *choices; /* CONFIG_CHOICE: ends in NULL */
    const char *auto_means;     /* what 0 (or "auto") stands for; NULL: 0 is a plain number */
    const char *flag;           /* "port" for --port; NULL: only --set NAME=VALUE */
    const char *flag_alias;
    const char *arg;                 /* what help calls the value; NULL: by its type */
    const char *env[CONFIG_ENV_MAX]; /* names other systems used; config_env_name gives ours */
    const char *env_word_or; /* the value of a variable in `env` counts up to its first blank; when
                                that is nothing or does not fit, this is taken: as the system that
                                has the name does */
    const char *alias;       /* another name in files */
    const char *help;
    enum config_item item; /* CONFIG_LIST */
    bool secret;
    bool reloadable; /* taken over by a running server at SIGHUP */
};

/* The table: index 0, 1, ... until NULL. */
const struct config_setting *config_setting_at(size_t index);

/* By dotted name (or alias), or by flag without its dashes; NULL when there is none. */
const struct config_setting *config_find(struct slice name);
const struct config_setting *config_find_flag(struct slice flag);

/* Our environment variable of a setting: EIDER_PORT, EIDER_LOG_LEVEL, ... */
void config_env_name(const struct config_setting *setting, char *ret_name, size_t size);

/* Where the value of a setting came from, by its dotted name: config_origin.where. */
const char *config_where(const struct config *config, const char *name);

/* What a value must look like, e.g. "a whole number from 1 to 64". */
void config_expected(const struct config_setting *setting, char *ret_text, size_t size);

struct config_flag {
    const char *name;  /* without dashes, or a setting's dotted name */
    const char *value; /* NULL: true (CONFIG_BOOL only) */
    bool dotted;       /* came as --set NAME=VALUE */
};

struct config_options {
    const char *file; /* NULL: eider.yaml in the working directory, if there is one */
    const struct config_flag *flags;
    size_t flag_count;
    char *const *env;   /* "NAME=value", ends in NULL; NULL: the process's */
    bool for_a_server;  /* also check what only a server needs: token off loopback, certificates */
    bool missing_later; /* ${NAME} of a variable that is not set leaves the setting as it is, and
                           config_need refuses it; else loading does */
};

/*
 * Loads all layers. Errors (ERR_USAGE, ERR_IO for the file) name the setting, where the value came
 * from, the value (secrets masked) and what was expected; ret_config is untouched then.
 */
enum err_code config_load(const struct config_options *options, struct config *ret_config,
                          struct err *err);
void config_fini(struct config *config);

/*
 * For a program that loaded with `missing_later`: ERR_USAGE, with file, line, setting and variable,
 * when the setting of this name (or, with a "." at the end, one of the section) has a value in the
 * file that names a variable which is not set, and nothing else gives one. Asked before the value
 * is used. config_need_usual asks for all that such a program uses without asking.
 */
enum err_code config_need(const struct config *config, const char *name, struct err *err);
enum err_code config_need_usual(const struct config *config, struct err *err);

/* Appends the effective value as text that config_load would read back; secrets as "****". */
void config_format(const struct config *config, const struct config_setting *setting,
                   struct buf *ret_text);

/* For `eider config`: a table for people, or one JSON object. */
void config_show(const struct config *config, struct buf *ret_text);
void config_show_json(const struct config *config, struct buf *ret_json);

/* The reference of all settings and environment names in Markdown (docs/configuration.md). */
void config_reference(struct buf *ret_markdown);

/* The settings whose values differ, at most `max`; returns how many. */
size_t config_changes(const struct config *before, const struct config *after,
                      const struct config_setting **ret_settings, size_t max);

/* True for 127.0.0.0/8, ::1 and localhost. */
bool config_is_loopback(const char *host);

#define CONFIG_AUTO __attribute__((cleanup(config_fini)))

#endif
