/* Tests of `databases` in the configuration. */
#include "server/config_databases.h"
#include "server/config_testing.h"

static void
test_databases_have_their_own_settings_and_else_the_top_level_s(void **state)
{
    struct config config CONFIG_AUTO = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(
        load("data_dir: /srv/main\n"
             "storage: {duckdb: {threads: 3, readers: 7}}\n"
             "server: {tokens: [{name: all, token: process-token, scopes: [read]}]}\n"
             "meter: {head_file: /srv/heads}\n"
             "demo: true\n"
             "databases:\n"
             "  eu:\n"
             "  us-1:\n"
             "    data_dir: /fast/us\n"
             "    storage: {type: memory, duckdb: {threads: 2}}\n"
             "    limits: {disk_bytes_max: 2GiB, memory_limit: 128MiB, series_max: 9,\n"
             "             readers: 1, rows_per_second: 50, unapplied_bytes_max: 8MiB}\n"
             "    tokens: [{name: w, token: \"${KEY}\", scopes: [ingest]}]\n"
             "    collect: true\n"
             "    meter: false\n",
             false, &config, &err),
        ERR_OK);
    assert_int_equal(config.databases->count, 2);
    const struct config *eu = config_database_find(&config, SLICE_LITERAL("eu"));
    assert_string_equal(eu->data_dir, "/srv/main/databases/eu");
    assert_int_equal(eu->storage.duckdb.threads, 3);
    assert_int_equal(eu->storage.duckdb.readers, 7);
    assert_true(eu->meter.enabled);
    assert_false(eu->collect.system || eu->demo);
    assert_string_equal(eu->meter.head_file, "/srv/heads.eu");
    assert_false(config_database_says(&config.databases->items[0], "server.tokens"));
    const struct config *us = config_database_find(&config, SLICE_LITERAL("us-1"));
    assert_string_equal(us->data_dir, "/fast/us");
    assert_int_equal(us->storage.type, CONFIG_STORAGE_MEMORY);
    assert_int_equal(us->storage.duckdb.threads, 2);
    assert_int_equal(us->storage.duckdb.readers, 1);
    assert_int_equal(us->storage.duckdb.memory_limit_bytes, 128 << 20);
    assert_int_equal(us->limits.disk_bytes_max, INT64_C(2) << 30);
    assert_int_equal(us->limits.rows_per_second, 50);
    assert_int_equal(us->ingest.series_max, 9);
    assert_int_equal(us->wal.unapplied_bytes_max, 8 << 20);
    assert_string_equal(us->server.tokens.items[0], "w:ingest:s3cret-token");
    assert_true(config_database_says(&config.databases->items[1], "server.tokens"));
    assert_true(us->collect.system);
    assert_false(us->meter.enabled);
    assert_int_equal(config.storage.duckdb.threads, 3);
    assert_ptr_equal(config_database_find(&config, SLICE_LITERAL("default")), &config);
    assert_null(config_database_find(&config, SLICE_LITERAL("none")));
    assert_string_equal(config_database_suggest(&config, SLICE_LITERAL("us1")), "us-1");
}

static void
test_databases_errors_say_where_and_what(void **state)
{
    static const struct {
        const char *yaml;
        const char *parts[3];
    } cases[] = {
        {"databases:\n  Bad: {}\n", {":2: databases has the name \"Bad\"", "a-z"}},
        {"databases:\n  -a: {}\n", {"\"-a\""}},
        {"databases:\n  default: {}\n", {":2: databases.default", "top level"}},
        {"databases:\n  a: {}\n  a: {}\n", {":3: databases.a is given twice", "line 2"}},
        {"databases: [a]\n", {":1: databases: expected a mapping"}},
        {"databases:\n  a: 5\n", {":2: databases.a: expected settings below it"}},
        {"databases:\n  a:\n    data_dri: x\n",
         {":3: unknown setting databases.a.data_dri", "did you mean data_dir?"}},
        {"databases:\n  a:\n    limits: {disk_byte_max: 1GiB}\n",
         {"unknown setting databases.a.limits.disk_byte_max", "limits.disk_bytes_max"}},
        {"databases:\n  a:\n    server: {port: 1}\n", {":3: unknown setting databases.a.server"}},
        {"databases:\n  a:\n    demo: true\n", {"databases.a.demo", "for the whole process"}},
        {"databases:\n  a:\n    limits: 5\n", {":3: databases.a.limits is a section"}},
        {"databases:\n  a:\n    limits: {readers: 0}\n",
         {":3: databases.a.limits.readers is \"0\"; expected", "from 1 to 64"}},
        {"databases:\n  a:\n    storage: {type: mongo}\n",
         {":3: databases.a.storage.type: unknown storage type: mongo"}},
        {"databases:\n  a:\n    meter: true\n    meter: true\n",
         {":4: databases.a.meter is given twice", "line 3"}},
        {"databases:\n  a:\n    tokens: [{name: x, token: short, scopes: [read]}]\n",
         {"databases.a.tokens", ":3"}},
        {"data_dir: /x\ndatabases:\n  a:\n    data_dir: /x\n",
         {":3: databases.a.data_dir is /x", "default"}},
        {"databases:\n  a: {data_dir: /x}\n  b: {data_dir: /x}\n",
         {":3: databases.b.data_dir is /x", "the database a has"}},
        {"databases:\n  a:\n    storage: {duckdb: {path: /y/z.db}}\n",
         {"databases.a.storage.duckdb.path is \"/y/z.db\""}},
        {"storage: {type: postgres, postgres: {database: m}}\ndatabases:\n  a: {}\n",
         {":3: databases.a.storage.postgres is the same"}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config;
        struct err err = {0};
        assert_int_equal(load(cases[i].yaml, false, &config, &err), ERR_USAGE);
        for (size_t j = 0; j < 3 && cases[i].parts[j]; j++) {
            if (!strstr(err.msg, cases[i].parts[j])) {
                fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.msg, cases[i].parts[j]);
            }
        }
    }
}

static void
test_databases_with_more_memory_than_there_is_are_told(void **state)
{
    struct config config CONFIG_AUTO = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(load("databases:\n"
                          "  a: {limits: {memory_limit: 32TiB}}\n"
                          "  b: {limits: {memory_limit: 32TiB}}\n",
                          true, &config, &err),
                     ERR_OK);
    bool told = false;
    for (size_t i = 0; i < config.note_count; i++) {
        told |= strstr(config.notes[i], "memory limits of all databases") &&
                strstr(config.notes[i], "a 33554432 MiB");
    }
    assert_true(told);
}

static void
test_databases_share_memory_that_nobody_set(void **state)
{
    struct config config CONFIG_AUTO = {0};
    struct err err = {0};
    int64_t total = 0;

    (void)state;
    assert_int_equal(load("databases: {a: {}, b: {}, c: {}, d: {}, e: {}}\n", true, &config, &err),
                     ERR_OK);
    for (size_t i = 0; i < config.databases->count; i++) {
        total += config.databases->items[i].view.storage.duckdb.memory_limit_bytes;
        assert_true(config.databases->items[i].view.storage.duckdb.memory_limit_bytes > 0);
    }
    for (size_t i = 0; i < config.note_count; i++) {
        assert_null(strstr(config.notes[i], "memory limits"));
    }
    assert_true(total > 0);
}

static void
test_databases_are_chosen_for_a_program_that_works_with_one(void **state)
{
    struct config config CONFIG_AUTO = {0};
    struct config bare CONFIG_AUTO = {0};
    struct err err = {0};

    (void)state;
    assert_int_equal(load("data_dir: /m\ndatabases:\n  a: {storage: {duckdb: {readers: 9}},\n"
                          "      tokens: [{name: w, token: \"${KEY}\", scopes: [read]}]}\n",
                          false, &config, &err),
                     ERR_OK);
    assert_false(config_database_choose(&config, SLICE_LITERAL("b")));
    assert_true(config_database_choose(&config, SLICE_LITERAL("default")));
    assert_string_equal(config.data_dir, "/m");
    assert_true(config_database_choose(&config, SLICE_LITERAL("a")));
    assert_string_equal(config.data_dir, "/m/databases/a");
    assert_int_equal(config.storage.duckdb.readers, 9);
    assert_string_equal(config.server.tokens.items[0], "w:read:s3cret-token");
    assert_int_equal(load("data_dir: /m\n", false, &bare, &err), ERR_OK);
    assert_true(config_database_choose(&bare, SLICE_LITERAL("any")));
    assert_string_equal(bare.data_dir, "/m/databases/any");
}

static enum err_code
load_later(const char *yaml, struct config *ret_config, struct err *err)
{
    char *env[] = {NULL};
    struct config_options options = {.file = config_file, .env = env, .missing_later = true};
    FILE *out = fopen(config_file, "w");

    assert_non_null(out);
    assert_true(fputs(yaml, out) >= 0);
    fclose(out);
    return config_load(&options, ret_config, err);
}

/* A variable that is not set says nothing of databases that do not name it. */
static void
test_databases_are_told_apart_though_a_variable_is_not_set(void **state)
{
    static const struct {
        const char *yaml;
        const char *part; /* NULL: nothing is wrong yet */
    } cases[] = {
        {"server: {token: \"${UNSET_ONE}\"}\ndatabases:\n  a: {data_dir: /x}\n  b: {data_dir: "
         "/x}\n",
         ":4: databases.b.data_dir is /x, which the database a has"},
        {"databases:\n  a: {data_dir: \"${UNSET_ONE}\"}\n  b: {data_dir: /x}\n"
         "  c: {data_dir: /x}\n",
         ":4: databases.c.data_dir is /x, which the database b has"},
        {"databases:\n  a: {data_dir: \"${UNSET_ONE}\"}\n  b: {data_dir: \"${UNSET_TWO}\"}\n",
         NULL},
        {"data_dir: \"${UNSET_ONE}\"\ndatabases:\n  a: {data_dir: ./data}\n", NULL},
        {"storage: {type: postgres, postgres: {database: \"${UNSET_ONE}\"}}\n"
         "databases:\n  a: {}\n  b: {storage: {postgres: {database: m}}}\n",
         NULL},
        {"storage: {type: postgres, postgres: {database: m, password: \"${UNSET_ONE}\"}}\n"
         "databases:\n  a: {}\n",
         ":3: databases.a.storage.postgres is the same"},
        {"databases:\n  a: {data_dir: \"${UNSET_ONE}\", storage: {duckdb: {path: /y/z}}}\n",
         "databases.a.storage.duckdb.path is \"/y/z\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config config CONFIG_AUTO = {0};
        struct err err = {0};
        enum err_code code = load_later(cases[i].yaml, &config, &err);
        assert_int_equal(code, cases[i].part ? ERR_USAGE : ERR_OK);
        if (cases[i].part && !strstr(err.msg, cases[i].part)) {
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, err.msg, cases[i].part);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_databases_have_their_own_settings_and_else_the_top_level_s),
        cmocka_unit_test(test_databases_errors_say_where_and_what),
        cmocka_unit_test(test_databases_are_told_apart_though_a_variable_is_not_set),
        cmocka_unit_test(test_databases_with_more_memory_than_there_is_are_told),
        cmocka_unit_test(test_databases_share_memory_that_nobody_set),
        cmocka_unit_test(test_databases_are_chosen_for_a_program_that_works_with_one),
    };

    return cmocka_run_group_tests(tests, make_file, remove_file);
}
