/* The PostgreSQL store keeps the contract, against a server of this test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "store/contract.h"
#include "store/postgres/pg.h"
#include "store/postgres/pg_testing.h"

static struct pg_testing server;

/* The suite's path becomes the name of a schema. */
static enum err_code
open_in_schema(const struct store_open_options *options, struct store **ret_store, struct err *err)
{
    char dsn[PG_TESTING_DSN];
    char schema[64];
    size_t at = 0;

    for (const char *c = options->path; *c && at < sizeof(schema) - 1; c++) {
        schema[at++] = *c == '/' || *c == '-' || *c == '.' ? '_' : *c;
    }
    schema[at] = '\0';
    assert_true(pg_testing_dsn(&server, schema, dsn));
    struct store_open_options with = *options;
    with.postgres = (struct store_postgres_options){.dsn = dsn, .max_connections = 3};
    return store_postgres_open(&with, ret_store, err);
}

int
main(void)
{
    const struct store_contract contract = {.name = "postgres",
                                            .open = open_in_schema,
                                            .durable = true,
                                            .remote = true,
                                            .sql = true,
                                            .time_min_us = pg_time_min_us};
    int failed = 1;

    if (pg_testing_start(&server)) {
        failed = store_contract_run(&contract);
    }
    pg_testing_end(&server);
    return failed;
}
