/* The layers of the configuration, its values and its error messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/config.h"

static char *const no_env[] = {NULL};
static char dir[] = "/tmp/eider-config-test-XXXXXX";

static void
write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

/* Loads `yaml` (NULL: no file) as eider.yaml of the working directory. */
static enum err_code
load(const char *yaml, char *const *env, const struct config_flag *flags, size_t flag_count,
     struct config *ret_config, struct err *err)
{
    struct config_options options = {
        .flags = flags, .flag_count = flag_count, .env = env ? env : no_env};

    unlink("eider.yaml");
    if (yaml) {
        write_text("eider.yaml", yaml);
    }
    return config_load(&options, ret_config, err);
}

static const struct config_origin *
origin(const struct config *config, const char *name)
{
    const struct config_setting *wanted = config_find(slice_of(name));
    size_t index = 0;

    assert_non_null(wanted);
    while (config_setting_at(index) != wanted) {
        index++;
    }
    return &config->origins[index];
}

static void
expect_refusal(const char *yaml, const char *message)
{
    struct config config = {0};
    struct err err = {0};

    assert_int_equal(load(yaml, NULL, NULL, 0, &config, &err), ERR_USAGE);
    assert_string_equal(err.msg, message);
    assert_null(config.data_dir);
}

static void
test_config_gives_defaults_without_a_file(void **state)
{
    struct config config CONFIG_AUTO;
    struct err err = {0};

    (void)state;
    assert_int_equal(load(NULL, NULL, NULL, 0, &config, &err), ERR_OK);
    assert_string_equal(config.server.host, "127.0.0.1");
    assert_int_equal(config.server.port, 8000);
    assert_int_equal(config.server.workers, 1);
    assert_null(config.server.token);
    assert_int_equal(config.server.cors_origins.count, 2);
    assert_string_equal(config.server.cors_origins.items[1], "http://localhost:5173");
    assert_string_equal(config.data_dir, "data");
    assert_int_equal(config.storage.type, CONFIG_STORAGE_DUCKDB);
    assert_string_equal(config.storage.duckdb.path, "eider.duckdb");
    assert_int_equal(config.websocket.heartbeat_interval_ms, 15000);
    assert_int_equal(config.websocket.interval_ms, 100);
    assert_int_equal(config.wal.segment_bytes, 64 << 20);
    assert_string_equal(config.metrics.namespace, "eider");
    assert_null(config.file);
    assert_string_equal(origin(&config, "server.port")->where, "default");
}

static void
test_config_layers_override_each_other_and_remember_it(void **state)
{
    char *const env[] = {"API_PORT=9001", "EIDER_PORT=9002", "API_HOST=", "LOG_LEVEL=WARN", NULL};
    const struct config_flag flags[] = {{"port", "9003", false}, {"demo", NULL, false}};
    struct config config CONFIG_AUTO;
    struct config fewer CONFIG_AUTO;
    struct err err = {0};
    const char *yaml = "server:\n  port: 9000\n  host: 127.0.0.2\n";

    (void)state;
    assert_int_equal(load(yaml, env, flags, 2, &config, &err), ERR_OK);
    assert_int_equal(config.server.port, 9003);
    assert_string_equal(origin(&config, "server.port")->where, "flag --port");
    assert_string_equal(config.server.host, "127.0.0.2");
    assert_string_equal(origin(&config, "server.host")->where, "eider.yaml:3");
    assert_int_equal(config.log.level, 2);
    assert_string_equal(origin(&config, "log.level")->where, "environment LOG_LEVEL");
    assert_true(config.demo);

    assert_int_equal(load(yaml, env, NULL, 0, &fewer, &err), ERR_OK);
    assert_int_equal(fewer.server.port, 9002);
    assert_string_equal(origin(&fewer, "server.port")->where, "environment EIDER_PORT");
}

static void
test_config_reads_every_type_in_yaml(void **state)
{
    struct config config CONFIG_AUTO;
    struct err err = {0};

    (void)state;
    assert_int_equal(load("server: {port: 0, access_log: yes, cors_origins: [a, 'b,c'],\n"
                          "  idle_timeout: 1.5m, body_bytes_max: 1.5MiB}\n"
                          "storage.duckdb.memory_limit: 4GB\n"
                          "storage.duckdb.threads: auto\n"
                          "storage: {type: memory}\n"
                          "log:\n  level: ERROR\n  file: ~\n"
                          "collect:\n",
                          NULL, NULL, 0, &config, &err),
                     ERR_OK);
    assert_true(config.server.access_log);
    assert_int_equal(config.server.cors_origins.count, 2);
    assert_string_equal(config.server.cors_origins.items[1], "b,c");
    assert_int_equal(config.server.idle_timeout_ms, 90000);
    assert_int_equal(config.server.body_bytes_max, 3 << 19);
    assert_int_equal(config.storage.duckdb.memory_limit_bytes, 4000000000);
    assert_int_equal(config.storage.type, CONFIG_STORAGE_MEMORY);
    assert_int_equal(config.log.level, 3);
    assert_null(config.log.file);
}

static void
test_config_reads_json_and_the_originals_section(void **state)
{
    struct config config CONFIG_AUTO;
    struct err err = {0};

    (void)state;
    assert_int_equal(load("{\"observability\": {\"database\": {\"type\": \"duckdb\",\n"
                          "  \"path\": \"old/metrics.duckdb\", \"threads\": 4,\n"
                          "  \"memory_limit\": \"4GB\"}}}\n",
                          NULL, NULL, 0, &config, &err),
                     ERR_OK);
    assert_string_equal(config.data_dir, "old");
    assert_string_equal(config.storage.duckdb.path, "metrics.duckdb");
    assert_int_equal(config.storage.duckdb.threads, 4);
    assert_int_equal(config.storage.duckdb.memory_limit_bytes, 4000000000);
    assert_string_equal(origin(&config, "data_dir")->where, "eider.yaml:2");
}

static void
test_config_expands_variables_in_values_only(void **state)
{
    char *const env[] = {"SECRET=a: b # c", "EMPTY=", NULL};
    struct config config CONFIG_AUTO;
    struct err err = {0};

    (void)state;
    assert_int_equal(load("server:\n  token: ${SECRET}\n  port: ${PORT:-81}${EMPTY:-80}\n"
                          "data_dir: /x/$${HOME}\n",
                          env, NULL, 0, &config, &err),
                     ERR_OK);
    assert_string_equal(config.server.token, "a: b # c");
    assert_int_equal(config.server.port, 8180);
    assert_string_equal(config.data_dir, "/x/${HOME}");
    expect_refusal(
        "server:\n  token: ${NONE}\n",
        "eider.yaml:2: server.token: environment variable NONE is not set; set it or write "
        "${NONE:-default}");
    expect_refusal("data_dir: \"${NONE\"\n", "eider.yaml:1: \"${\" has no closing \"}\"");
    expect_refusal("data_dir: ${}\n",
                   "eider.yaml:1: ${} names no variable; expected ${NAME} or ${NAME:-default}");
}

static void
test_config_needs_a_variable_only_for_what_is_used(void **state)
{
    const struct config_options options = {.env = no_env, .missing_later = true};
    struct config config CONFIG_AUTO = {0};
    struct err err = {0};

    (void)state;
    write_text("eider.yaml", "server:\n  cors_origins: [a, \"${ONE}\"]\n  port: ${TWO}\n"
                             "meter: {price_books: {Birdeye: \"${THREE}\"}}\n"
                             "gateway: {upstreams: {a: {retries: \"${FOUR}\"}}}\n"
                             "sql: {rows_max: \"${FIVE:-5}${FIVE}\"}\n");
    assert_int_equal(config_load(&options, &config, &err), ERR_OK);
    assert_int_equal(origin(&config, "server.cors_origins")->layer, CONFIG_DEFAULT);
    assert_int_equal(config.server.port, 8000);
    assert_int_equal(config.meter.price_books.count, 0);
    assert_int_equal(config.sql.rows_max, 100000);
    assert_int_equal(config_need(&config, "server.token", &err), ERR_OK);
    assert_int_equal(config_need(&config, "server.por", &err), ERR_OK);
    assert_int_equal(config_need(&config, "server.port", &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "eider.yaml:3: server.port: environment variable TWO is not"));
    assert_int_equal(config_need(&config, "server.", &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "eider.yaml:2: server.cors_origins: environment variable ONE"));
    assert_int_equal(config_need(&config, "meter.price_books", &err), ERR_USAGE);
    assert_int_equal(config_need(&config, "gateway.", &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "gateway.upstreams.a.retries: environment variable FOUR"));
    assert_int_equal(config_need_usual(&config, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "eider.yaml:6: sql.rows_max: environment variable FIVE"));
}

static void
test_config_refuses_unknown_keys_with_line_and_nearest_name(void **state)
{
    (void)state;
    expect_refusal("server:\n  host: 127.0.0.1\n  prot: 1\n",
                   "eider.yaml:3: unknown setting server.prot; did you mean server.port?");
    expect_refusal("workerz: 3\n",
                   "eider.yaml:1: unknown setting workerz; did you mean server.workers?");
    expect_refusal("zzz: 3\n",
                   "eider.yaml:1: unknown setting zzz; `eider config` lists all of them");
    expect_refusal("server: 3\n", "eider.yaml:1: server is a section; expected settings below it");
    expect_refusal("demo: true\ndemo: false\n",
                   "eider.yaml:2: demo is given twice; first in line 1");
    expect_refusal("- a\n", "eider.yaml:1: expected settings, such as \"server:\"");
    expect_refusal("? [a]\n: b\n",
                   "eider.yaml:1: unknown setting ?; `eider config` lists all of them");
}

static void
test_config_refuses_values_with_what_was_expected(void **state)
{
    (void)state;
    expect_refusal("server.port: 70000",
                   "eider.yaml:1: server.port is \"70000\"; expected a whole number from 0 to "
                   "65535");
    expect_refusal("server.port: 8e3", "eider.yaml:1: server.port is \"8e3\"; expected a whole "
                                       "number from 0 to 65535");
    expect_refusal("server.port: 99999999999999999999",
                   "eider.yaml:1: server.port is \"99999999999999999999\"; expected a whole number "
                   "from 0 to 65535");
    expect_refusal("demo: maybe", "eider.yaml:1: demo is \"maybe\"; expected true or false");
    expect_refusal("log.level: loud",
                   "eider.yaml:1: log.level is \"loud\"; expected one of debug, info, warning, "
                   "error");
    expect_refusal("wal.segment_bytes: 1KB",
                   "eider.yaml:1: wal.segment_bytes is \"1KB\"; expected a size such as 64MiB or "
                   "4GB from 1MiB to 1GiB");
    expect_refusal("websocket.interval: 5 parsecs",
                   "eider.yaml:1: websocket.interval is \"5 parsecs\"; expected a time such as 30s "
                   "or 250ms from 10ms to 1m");
    expect_refusal("server.cors_origins: {a: b}",
                   "eider.yaml:1: server.cors_origins is \"{...}\"; expected a list, or texts with "
                   "commas between them");
    expect_refusal("server.port: [1]", "eider.yaml:1: server.port is \"[...]\"; expected a whole "
                                       "number from 0 to 65535");
    expect_refusal("metrics.namespace: 9lives",
                   "eider.yaml:1: metrics.namespace is \"9lives\"; expected letters, digits and _, "
                   "not starting with a digit");
}

static void
test_config_refuses_stores_it_does_not_have(void **state)
{
    (void)state;
    expect_refusal("storage.type: mongo",
                   "eider.yaml:1: storage.type: unknown storage type: mongo; expected "
                   "duckdb, memory or postgres");
    expect_refusal(
        "storage.type: postgresql",
        "eider.yaml:1: storage.type: unknown storage type: postgresql; expected duckdb, memory or "
        "postgres (did you mean postgres?)");
    expect_refusal("storage.postgres.sslmode: on",
                   "eider.yaml:1: storage.postgres.sslmode is \"on\"; expected disable, allow, "
                   "prefer, require, verify-ca or verify-full");
    expect_refusal("storage.postgres.max_connections: 1",
                   "eider.yaml:1: storage.postgres.max_connections is \"1\"; expected a whole "
                   "number from 2 to 1000");
}

static void
test_config_takes_the_original_settings_of_postgres_and_prometheus(void **state)
{
    char *const env[] = {"DB_PASSWORD=s3cret", NULL};
    struct config config;
    struct buf shown BUF_AUTO;
    struct err err = {0};

    (void)state;
    /* JSON is YAML; the names are the original's. */
    assert_int_equal(
        load("{\"storage\": {\"type\": \"postgres\", \"postgres\": {\"host\": \"db\", \"port\": "
             "5433, "
             "\"database\": \"metrics\", \"user\": \"eider\", \"password\": \"${DB_PASSWORD}\", "
             "\"sslmode\": \"verify-full\"}}, \"prometheus\": {\"enabled\": false, \"namespace\": "
             "\"hedera\", \"subsystem\": \"monitor\"}}\n",
             env, NULL, 0, &config, &err),
        ERR_OK);
    assert_int_equal(config.storage.type, CONFIG_STORAGE_POSTGRES);
    assert_string_equal(config.storage.postgres.host, "db");
    assert_int_equal(config.storage.postgres.port, 5433);
    assert_string_equal(config.storage.postgres.password, "s3cret");
    assert_int_equal(config.storage.postgres.max_connections, 25);
    assert_int_equal(config.storage.postgres.keep_wal_bytes, 1 << 30);
    assert_null(config.storage.postgres.dsn);
    assert_false(config.metrics.enabled);
    assert_string_equal(config.metrics.namespace, "hedera");
    assert_string_equal(config.metrics.subsystem, "monitor");
    buf_init(&shown, 0);
    config_show(&config, &shown);
    config_show_json(&config, &shown);
    buf_add_char(&shown, '\0');
    assert_null(strstr(shown.ptr, "s3cret"));
    config_fini(&config);
}

static void
test_config_refuses_a_file_that_is_not_yaml(void **state)
{
    struct config_options options = {.file = "/nonexistent/e.yaml", .env = no_env};
    struct config config;
    struct err err = {0};

    (void)state;
    assert_int_equal(load("server: [1,\n", NULL, NULL, 0, &config, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "eider.yaml:2:1: "));
    assert_int_equal(load("a: \xff\xfe\n", NULL, NULL, 0, &config, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, "eider.yaml: byte"));
    assert_int_equal(config_load(&options, &config, &err), ERR_IO);
    assert_string_equal(err.msg, "cannot read the configuration file /nonexistent/e.yaml: No such "
                                 "file or directory");
    options.file = "/tmp";
    assert_int_equal(config_load(&options, &config, &err), ERR_USAGE);
    assert_string_equal(err.msg, "/tmp is a directory; expected a configuration file");
}

static void
test_config_refuses_flags_and_variables_by_their_name(void **state)
{
    char *const env[] = {"WS_MAX_CONNECTIONS=many", NULL};
    const struct config_flag wrong[] = {{"port", "x", false}};
    const struct config_flag empty[] = {{"port", NULL, false}};
    const struct config_flag unknown[] = {{"server.prot", "1", true}};
    struct config config;
    struct err err = {0};

    (void)state;
    assert_int_equal(load(NULL, env, NULL, 0, &config, &err), ERR_USAGE);
    assert_string_equal(err.msg, "environment WS_MAX_CONNECTIONS: websocket.max_connections is "
                                 "\"many\"; expected a whole number from 1 to 1000000");
    assert_int_equal(load(NULL, NULL, wrong, 1, &config, &err), ERR_USAGE);
    assert_string_equal(err.msg,
                        "flag --port: server.port is \"x\"; expected a whole number from 0 to "
                        "65535");
    assert_int_equal(load(NULL, NULL, empty, 1, &config, &err), ERR_USAGE);
    assert_string_equal(err.msg, "flag --port needs a value");
    assert_int_equal(load(NULL, NULL, unknown, 1, &config, &err), ERR_USAGE);
    assert_string_equal(err.msg, "flag --set server.prot: unknown setting server.prot; did you "
                                 "mean server.port?");
}

static void
test_config_takes_the_environment_of_the_originals(void **state)
{
    char *const env[] = {"API_HOST=127.0.0.3",
                         "API_WORKERS=4",
                         "CORS_ORIGINS=[\"http://a\", \"http://b\"]",
                         "WS_HEARTBEAT_INTERVAL=20",
                         "METRIC_COLLECTION_INTERVAL=0.1",
                         "DUCKDB_PATH=/app/data/metrics.duckdb",
                         "BATCH_SIZE=100",
                         "LOG_JSON_OUTPUT=true",
                         "EIDER_PROT=1",
                         "EIDER_ELSE=1",
                         NULL};
    struct config config CONFIG_AUTO;
    struct err err = {0};

    (void)state;
    assert_int_equal(load(NULL, env, NULL, 0, &config, &err), ERR_OK);
    assert_string_equal(config.server.host, "127.0.0.3");
    assert_int_equal(config.server.workers, 4);
    assert_int_equal(config.server.cors_origins.count, 2);
    assert_string_equal(config.server.cors_origins.items[0], "http://a");
    assert_int_equal(config.websocket.heartbeat_interval_ms, 20000);
    assert_int_equal(config.collect.interval_ms, 100);
    assert_string_equal(config.data_dir, "/app/data");
    assert_string_equal(config.storage.duckdb.path, "metrics.duckdb");
    assert_true(config.log.json);
    assert_int_equal(config.note_count, 2);
    assert_string_equal(config.notes[0], "environment BATCH_SIZE: accepted, no effect: writes are "
                                         "grouped by the write-ahead log, as many as wait");
    assert_string_equal(config.notes[1],
                        "environment EIDER_PROT is no setting; did you mean EIDER_PORT?");
}

static void
test_config_keeps_the_database_inside_the_data_directory(void **state)
{
    char *const env[] = {"DUCKDB_PATH=/app/data/m.duckdb", NULL};
    const struct config_flag same[] = {{"data-dir", "/app/data", false}};
    const struct config_flag other[] = {{"data-dir", "here", false}};
    struct config config CONFIG_AUTO;
    struct config untouched = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(load(NULL, env, same, 1, &config, &err), ERR_OK);
    assert_string_equal(config.storage.duckdb.path, "m.duckdb");
    assert_int_equal(load(NULL, env, other, 1, &untouched, &err), ERR_USAGE);
    assert_string_equal(err.msg, "environment DUCKDB_PATH: storage.duckdb.path /app/data/m.duckdb "
                                 "is outside data_dir here (flag --data-dir); expected a file "
                                 "name, or no data_dir");
    expect_refusal("storage.duckdb.path: x/", "eider.yaml:1: storage.duckdb.path is \"x/\"; "
                                              "expected the name of a file");
    expect_refusal("data_dir: ''", "eider.yaml:1: data_dir is empty; expected a path");
}

static void
expect_server_refusal(const struct config_flag *flags, size_t count, const char *message)
{
    struct config_options options = {
        .flags = flags, .flag_count = count, .env = no_env, .for_a_server = true};
    struct config config = {0};
    struct err err = {0};

    unlink("eider.yaml");
    assert_int_equal(config_load(&options, &config, &err), message ? ERR_USAGE : ERR_OK);
    if (message) {
        assert_string_equal(err.msg, message);
    }
    config_fini(&config);
}

static void
test_config_of_a_server_needs_a_token_off_loopback(void **state)
{
    const struct config_flag host[] = {
        {"host", "0.0.0.0", false}, {"insecure", NULL, false}, {"token", "t", false}};
    const struct config_flag local[] = {{"host", "::1", false}};

    (void)state;
    expect_server_refusal(host, 1,
                          "flag --host: server.host 0.0.0.0 can be reached from other machines; "
                          "set server.token (EIDER_TOKEN), or say --insecure");
    expect_server_refusal(host, 2, NULL);
    expect_server_refusal((const struct config_flag[]){host[0], host[2]}, 2, NULL);
    expect_server_refusal(local, 1, NULL);
}

static void
test_config_of_a_server_needs_both_tls_files(void **state)
{
    const struct config_flag tls[] = {{"ssl-certfile", "c.pem", false},
                                      {"ssl-keyfile", "k.pem", false}};

    (void)state;
    unlink("c.pem");
    unlink("k.pem");
    expect_server_refusal(tls, 1,
                          "flag --ssl-certfile: server.tls.certfile is set without "
                          "server.tls.keyfile (--ssl-keyfile); TLS needs both");
    expect_server_refusal(tls, 2,
                          "flag --ssl-certfile: server.tls.certfile: cannot read c.pem: "
                          "No such file or directory");
    write_text("c.pem", "x");
    expect_server_refusal(tls, 2,
                          "flag --ssl-keyfile: server.tls.keyfile: cannot read k.pem: "
                          "No such file or directory");
    write_text("k.pem", "x");
    expect_server_refusal(tls, 2, NULL);
}

static void
test_config_masks_secrets_wherever_it_prints(void **state)
{
    const struct config_flag flags[] = {{"token", "tiger", false}};
    struct config config CONFIG_AUTO;
    struct err err = {0};
    struct buf text BUF_AUTO = {0};

    (void)state;
    buf_init(&text, 0);
    assert_int_equal(load(NULL, NULL, flags, 1, &config, &err), ERR_OK);
    config_show(&config, &text);
    config_show_json(&config, &text);
    buf_add_char(&text, '\0');
    assert_null(strstr(text.ptr, "tiger"));
    assert_non_null(strstr(text.ptr, "****"));
    assert_non_null(strstr(text.ptr, "\"server.port\":{\"value\":8000,\"layer\":\"default\""));
    assert_int_equal(load("server.token: [tiger]", NULL, NULL, 0, &config, &err), ERR_USAGE);
    assert_null(strstr(err.msg, "tiger"));
}

static void
test_config_prints_values_that_it_reads_back(void **state)
{
    struct config config CONFIG_AUTO;
    struct config again CONFIG_AUTO;
    const struct config_setting *setting;
    struct config_flag flags[CONFIG_SETTINGS_MAX];
    struct buf texts[CONFIG_SETTINGS_MAX];
    const struct config_setting *changed[1];
    struct err err = {0};
    size_t count = 0;

    (void)state;
    assert_int_equal(load(NULL, NULL, NULL, 0, &config, &err), ERR_OK);
    for (; (setting = config_setting_at(count)); count++) {
        buf_init(&texts[count], 0);
        config_format(&config, setting, &texts[count]);
        buf_add_char(&texts[count], '\0');
        flags[count] = (struct config_flag){setting->name, texts[count].ptr, true};
    }
    assert_int_equal(load(NULL, NULL, flags, count, &again, &err), ERR_OK);
    assert_int_equal(config_changes(&config, &again, changed, 1), 0);
    for (size_t i = 0; i < count; i++) {
        buf_fini(&texts[i]);
    }
}

static void
test_config_tells_what_a_reload_changes(void **state)
{
    const struct config_flag flags[] = {{"token", "b", false}, {"log-level", "debug", false}};
    const struct config_setting *changed[8];
    struct config a CONFIG_AUTO;
    struct config b CONFIG_AUTO;
    struct err err = {0};

    (void)state;
    assert_int_equal(load("server.token: a", NULL, NULL, 0, &a, &err), ERR_OK);
    assert_int_equal(load(NULL, NULL, flags, 2, &b, &err), ERR_OK);
    assert_int_equal(config_changes(&a, &b, changed, 8), 2);
    assert_string_equal(changed[0]->name, "server.token");
    assert_false(changed[0]->reloadable);
    assert_string_equal(changed[1]->name, "log.level");
    assert_true(changed[1]->reloadable);
}

static void
test_config_for_development_logs_more_unless_told(void **state)
{
    const struct config_flag dev[] = {{"dev", NULL, false}, {"log-level", "error", false}};
    struct config config CONFIG_AUTO;
    struct config told CONFIG_AUTO;
    struct err err = {0};

    (void)state;
    assert_int_equal(load(NULL, NULL, dev, 1, &config, &err), ERR_OK);
    assert_int_equal(config.log.level, 0);
    assert_true(config.server.access_log);
    assert_int_equal(load(NULL, NULL, dev, 2, &told, &err), ERR_OK);
    assert_int_equal(told.log.level, 3);
}

static void
test_config_table_is_consistent(void **state)
{
    const struct config_setting *setting;

    (void)state;
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        assert_ptr_equal(config_find(slice_of(setting->name)), setting);
        assert_non_null(setting->help);
        assert_true((setting->type == CONFIG_CHOICE) == (setting->choices != NULL));
        if (setting->flag) {
            assert_ptr_equal(config_find_flag(slice_of(setting->flag)), setting);
        }
    }
    assert_null(config_find(SLICE_LITERAL("nothing")));
}

static void
test_config_reads_tokens_with_scopes(void **state)
{
    static const char yaml[] =
        "server:\n"
        "  tokens:\n"
        "    - {name: ci, scopes: [ingest, read], token: topsecret}\n"
        "    - name: bot\n"
        "      scopes: spend, admin\n"
        "      sha256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f"
        "20015ad\n"
        "    - plain:read:${SECRET}\n";
    char *const env[] = {"SECRET=topsecret2", NULL};
    char *const tokens_env[] = {"EIDER_TOKENS=a:read:topsecret3, b:spend+admin:topsecret4", NULL};
    struct config config CONFIG_AUTO;
    struct config other CONFIG_AUTO;
    const struct config_setting *changed[4];
    struct buf shown BUF_AUTO = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(load(yaml, env, NULL, 0, &config, &err), ERR_OK);
    assert_int_equal(config.server.tokens.count, 3);
    assert_string_equal(config.server.tokens.items[0], "ci:ingest+read:topsecret");
    assert_non_null(strstr(config.server.tokens.items[1], "bot:spend+admin:sha256:ba7816bf"));
    assert_string_equal(config.server.tokens.items[2], "plain:read:topsecret2");
    buf_init(&shown, 0);
    config_show(&config, &shown);
    config_show_json(&config, &shown);
    buf_add_char(&shown, '\0');
    assert_null(strstr(shown.ptr, "topsecret"));
    assert_null(strstr(shown.ptr, "ba7816bf"));
    assert_non_null(strstr(shown.ptr, "\"ci:ingest+read:****\""));

    assert_int_equal(load(NULL, tokens_env, NULL, 0, &other, &err), ERR_OK);
    assert_int_equal(other.server.tokens.count, 2);
    assert_string_equal(other.server.tokens.items[1], "b:spend+admin:topsecret4");
    assert_int_equal(config_changes(&config, &other, changed, 4), 1);
    assert_string_equal(changed[0]->name, "server.tokens");
}

static void
test_config_says_what_is_wrong_with_a_token(void **state)
{
    (void)state;
    expect_refusal("server: {tokens: [{name: ci, scopes: [wirte], token: topsecret}]}\n",
                   "eider.yaml:1: server.tokens, item 1: token ci: the scope \"wirte\" is unknown; "
                   "expected ingest, read, spend or admin");
    expect_refusal("server: {tokens: [{name: ci, scope: [read], token: topsecret}]}\n",
                   "eider.yaml:1: a token of server.tokens has name, scopes, and token or sha256, "
                   "each once");
    expect_refusal(
        "server: {tokens: [{name: ci, scopes: [read]}]}\n",
        "eider.yaml:1: a token of server.tokens needs name, scopes, and one of token and "
        "sha256");
    expect_refusal(
        "server: {tokens: [topsecret]}\n",
        "eider.yaml:1: server.tokens, item 1: expected name:scopes:token, the scopes with "
        "\"+\" between them");
}

static void
test_config_reads_the_meter_and_the_originals_names_for_it(void **state)
{
    char *const env[] = {"CIRCUIT_BREAKER_ENABLED=false",
                         "CIRCUIT_BREAKER_WINDOW_MINUTES=5",
                         "CIRCUIT_BREAKER_THRESHOLD=42",
                         "PROMETHEUS_PORT=9090",
                         "PROMETHEUS_ENABLE_DEFAULT_METRICS=false",
                         NULL};
    struct config config CONFIG_AUTO;
    struct config plain CONFIG_AUTO;
    struct err err = {0};

    (void)state;
    assert_int_equal(load("meter: {price_books: {birdeye: birdeye-original, x: y}}\n", env, NULL, 0,
                          &config, &err),
                     ERR_OK);
    assert_false(config.meter.circuit_breaker.enabled);
    assert_int_equal(config.meter.circuit_breaker.window_minutes, 5);
    assert_int_equal(config.meter.circuit_breaker.threshold, 42);
    assert_int_equal(config.metrics.port, 9090);
    assert_false(config.metrics.process);
    assert_int_equal(config.note_count, 0);
    assert_int_equal(config.meter.price_books.count, 2);
    assert_string_equal(config.meter.price_books.items[0], "birdeye=birdeye-original");

    assert_int_equal(load(NULL, NULL, NULL, 0, &plain, &err), ERR_OK);
    assert_true(plain.meter.enabled && plain.meter.circuit_breaker.enabled);
    assert_int_equal(plain.meter.circuit_breaker.window_minutes, 60);
    assert_int_equal(plain.meter.circuit_breaker.threshold, 1000000);
    assert_int_equal(plain.metrics.port, 0);
    expect_refusal("meter: {price_books: [birdeye]}\n",
                   "eider.yaml:1: meter.price_books has \"birdeye\"; expected API=BOOK");
}

static int
enter_directory(void **state)
{
    (void)state;
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int
leave_directory(void **state)
{
    (void)state;
    unlink("eider.yaml");
    unlink("c.pem");
    unlink("k.pem");
    return chdir("/") == 0 ? rmdir(dir) : -1;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_config_gives_defaults_without_a_file),
        cmocka_unit_test(test_config_layers_override_each_other_and_remember_it),
        cmocka_unit_test(test_config_reads_every_type_in_yaml),
        cmocka_unit_test(test_config_reads_json_and_the_originals_section),
        cmocka_unit_test(test_config_expands_variables_in_values_only),
        cmocka_unit_test(test_config_needs_a_variable_only_for_what_is_used),
        cmocka_unit_test(test_config_refuses_unknown_keys_with_line_and_nearest_name),
        cmocka_unit_test(test_config_refuses_values_with_what_was_expected),
        cmocka_unit_test(test_config_refuses_stores_it_does_not_have),
        cmocka_unit_test(test_config_takes_the_original_settings_of_postgres_and_prometheus),
        cmocka_unit_test(test_config_refuses_a_file_that_is_not_yaml),
        cmocka_unit_test(test_config_refuses_flags_and_variables_by_their_name),
        cmocka_unit_test(test_config_takes_the_environment_of_the_originals),
        cmocka_unit_test(test_config_keeps_the_database_inside_the_data_directory),
        cmocka_unit_test(test_config_of_a_server_needs_a_token_off_loopback),
        cmocka_unit_test(test_config_of_a_server_needs_both_tls_files),
        cmocka_unit_test(test_config_masks_secrets_wherever_it_prints),
        cmocka_unit_test(test_config_prints_values_that_it_reads_back),
        cmocka_unit_test(test_config_tells_what_a_reload_changes),
        cmocka_unit_test(test_config_for_development_logs_more_unless_told),
        cmocka_unit_test(test_config_reads_tokens_with_scopes),
        cmocka_unit_test(test_config_says_what_is_wrong_with_a_token),
        cmocka_unit_test(test_config_reads_the_meter_and_the_originals_names_for_it),
        cmocka_unit_test(test_config_table_is_consistent),
    };
    return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
