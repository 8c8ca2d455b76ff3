/* Memory, DuckDB and PostgreSQL answer alike, whatever was written. EIDER_SEED chooses where to
 * begin, EIDER_PROPERTY_RUNS how many seeds (3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/contract_property.h"
#include "store/duckdb/store_duckdb.h"
#include "store/memory/store_memory.h"
#include "store/postgres/pg.h"
#include "store/postgres/pg_testing.h"

static struct pg_testing server;

static uint64_t
number_of(const char *name, uint64_t preset)
{
    const char *text = getenv(name); /* NOLINT(concurrency-mt-unsafe): one thread */

    return text ? strtoull(text, NULL, 10) : preset;
}

static void
remove_dir(const char *dir)
{
    char command[256];

    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    assert_int_equal(system(command), 0); /* NOLINT(cert-env33-c,concurrency-mt-unsafe) */
}

static void
check_seed(uint64_t seed)
{
    char dir[] = "/tmp/eider-property-XXXXXX";
    char path[64];
    char schema[32];
    char dsn[PG_TESTING_DSN];
    struct contract_property property = {
        .store_count = 3, .seed = seed, .groups = 24, .time_min_us = pg_time_min_us};
    struct store_open_options options = {.path = path, .threads = 1, .readers = 2};
    struct err err = {0};

    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/p.duckdb", dir);
    snprintf(schema, sizeof(schema), "seed%llu", (unsigned long long)seed);
    assert_true(pg_testing_dsn(&server, schema, dsn));
    options.postgres = (struct store_postgres_options){.dsn = dsn, .max_connections = 3};
    assert_int_equal(store_memory_open(&options, &property.stores[0], &err), ERR_OK);
    if (store_duckdb_open(&options, &property.stores[1], &err) != ERR_OK ||
        store_postgres_open(&options, &property.stores[2], &err) != ERR_OK) {
        fail_msg("%s", err.msg);
    }
    bool holds = contract_property_holds(&property);
    for (size_t i = 0; i < property.store_count; i++) {
        store_close(property.stores[i]);
    }
    remove_dir(dir);
    assert_true(holds);
}

static void
test_stores_answer_alike(void **state)
{
    uint64_t first = number_of("EIDER_SEED", 1);

    (void)state;
    for (uint64_t i = 0; i < number_of("EIDER_PROPERTY_RUNS", 3); i++) {
        check_seed(first + i);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_stores_answer_alike)};
    int failed = 1;

    if (pg_testing_start(&server)) {
        failed = cmocka_run_group_tests_name("stores alike", tests, NULL, NULL);
    }
    pg_testing_end(&server);
    return failed;
}
