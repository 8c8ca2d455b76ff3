/* Users' SQL that names few cold files answers as it does with all of them. */

#include "store/duckdb/seal_testing.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "store/contract.h"
#include "store/duckdb/duck_read.h"

#define CASE(function) cmocka_unit_test_setup_teardown(function, place_setup, place_teardown)

/* A WITH that nobody uses keeps a statement from being narrowed. */
#define WHOLE "WITH nothing AS (SELECT 1) "

enum { DAYS = 5, ANSWER_BYTES = 1 << 16, STATEMENTS = 150, ROUNDS = 20 };

static const char *const series_lines = "1|price|A|-\n2|price|B|-\n3|volume|A|-\n";

/* Three rows a day of samples and two of market data; the first four days are sealed. */
static void
fill(struct place *place)
{
    char lines[512];

    place_put(place, TABLE_SERIES, series_lines);
    for (int day = 0; day < DAYS; day++) {
        long long us = day * 86400000000LL;
        snprintf(lines, sizeof(lines), "1|%lld|%d.5\n2|%lld|%d.25\n3|%lld|%d\n", us + 10, day,
                 us + 43200000000, day, us + 86399999999, day);
        place_put(place, TABLE_SAMPLES, lines);
        snprintf(lines, sizeof(lines), "%lld|A|%d|-|-|7|1|0\n%lld|B|%d|-|-|8|2|0\n", us + 20, day,
                 us + 43200000000, day + 10);
        place_put(place, TABLE_MARKET_DATA, lines);
    }
    for (int day = 0; day < DAYS - 1; day++) {
        place_seal_day(place, TABLE_SAMPLES, day, false);
        place_seal_day(place, TABLE_MARKET_DATA, day, false);
    }
}

static void
ask(struct place *place, const char *sql, char text[ANSWER_BYTES])
{
    struct err err = {0};

    if (place_ask(place, sql, text, ANSWER_BYTES, &err)) {
        snprintf(text, ANSWER_BYTES, "error: %s", err.msg);
    }
}

/* Whether the plan of a statement reads files. */
static bool
reads_files(struct place *place, const char *sql)
{
    static char plan[ANSWER_BYTES];
    char explain[1024];

    snprintf(explain, sizeof(explain), "EXPLAIN %s", sql);
    ask(place, explain, plan);
    assert_false(strncmp(plan, "error", 5) == 0);
    return strstr(plan, "READ_PARQUET") != NULL;
}

static void
expect_same(struct place *place, const char *sql)
{
    static char narrowed[ANSWER_BYTES];
    static char whole[ANSWER_BYTES];
    char text[2048];

    ask(place, sql, narrowed);
    snprintf(text, sizeof(text), WHOLE "%s", sql);
    ask(place, text, whole);
    if (strcmp(narrowed, whole) != 0) {
        fail_msg("%s:\n%sbut all files say\n%s", sql, narrowed, whole);
    }
}

static void
test_statements_open_the_files_of_their_times(void **state)
{
    struct place *place = *state;

    fill(place);
    assert_true(reads_files(place, "SELECT * FROM samples"));
    assert_true(reads_files(place, "SELECT * FROM samples WHERE timestamp >= '1970-01-04'"));
    assert_false(reads_files(place, "SELECT * FROM samples WHERE timestamp >= '1970-01-05'"));
    assert_false(reads_files(place, "SELECT * FROM trading_metrics p JOIN trading_metrics v ON "
                                    "p.symbol = v.symbol WHERE p.timestamp >= '1970-01-05' AND "
                                    "v.timestamp >= '1970-01-05'"));
    assert_true(reads_files(place, "SELECT * FROM trading_metrics p JOIN samples v ON v.timestamp "
                                   "= p.timestamp WHERE p.timestamp >= '1970-01-05'"));
    place_expect_sql(place,
                     "SELECT symbol, value FROM trading_metrics WHERE metric_name = 'price' AND "
                     "timestamp >= TIMESTAMP '1970-01-04 12:00:00' ORDER BY timestamp",
                     "B|3.25\nA|4.5\nB|4.25\n");
    place_expect_sql(place,
                     "SELECT count(*), min(value) FROM samples WHERE timestamp < "
                     "TIMESTAMP '1970-01-02'",
                     "3|0\n");
}

/* What tells them apart: a file that cannot be read fails those alone that ask for its day. */
static void
test_statements_leave_the_other_files_closed(void **state)
{
    struct place *place = *state;
    struct cold_file files[8];
    char dir[PLACE_PATH_BYTES];
    char path[COLD_PATH_MAX];
    char answer[256];
    struct err err = {0};

    fill(place);
    assert_int_equal(place_raw_files(place, TABLE_SAMPLES, files), DAYS - 1);
    place_cold_dir(place, dir);
    cold_path(dir, &files[0], path, sizeof(path));
    assert_int_equal(truncate(path, 3), 0);
    place_expect_sql(place, "SELECT count(*) FROM samples WHERE timestamp >= '1970-01-02'", "12\n");
    assert_int_not_equal(place_ask(place,
                                   "SELECT value FROM samples WHERE timestamp < "
                                   "'1970-01-02'",
                                   answer, sizeof(answer), &err),
                         ERR_OK);
}

/* One of many statements of the known form, and of those beside it. */
static void
make_statement(unsigned seed, char sql[512])
{
    static const char *const selects[] = {"SELECT *",
                                          "SELECT count(*), sum(value)",
                                          "SELECT value, timestamp",
                                          "SELECT timestamp + INTERVAL 3 DAY AS timestamp, value",
                                          "SELECT max(value) FILTER (WHERE value > 1)",
                                          "SELECT DISTINCT value"};
    static const char *const tables[][3] = {
        {"samples", "timestamp", "samples.timestamp"},
        {"trading_metrics", "Timestamp", "trading_metrics.timestamp"},
        {"\"SAMPLES\" x", "timestamp", "x.\"timestamp\""},
        {"samples s LEFT JOIN series r USING (series_id)", "s.timestamp", "timestamp"},
        {"trading_metrics AS t, samples u", "t.timestamp", "u.timestamp"}};
    static const char *const operators[] = {">=", ">", "<", "<=", "=", "<>"};
    static const char *const glues[] = {" AND ",
                                        " OR ",
                                        " AND NOT ",
                                        " AND value > 1 AND ",
                                        " AND value BETWEEN 0 AND 2 AND ",
                                        " OR value > 3 AND "};
    static const char *const tails[] = {"", " ORDER BY ALL", " GROUP BY ALL ORDER BY ALL",
                                        " ORDER BY ALL LIMIT 2"};
    static const int sides[] = {0, 1};
    static const char *const clocks[] = {"", " 12:00:00", " 23:59:59.999999"};
    unsigned state = seed * 2654435761U + 12345;
#define PICK(list)                                                                                 \
    list[(state = state * 1664525U + 1013904223U, state >> 16) % (sizeof(list) / sizeof(*(list)))]
    const char *select = PICK(selects);
    const char *const *table = PICK(tables);
    const char *first = table[1 + PICK(sides)];
    const char *compare = PICK(operators);
    const char *clock = PICK(clocks);
    const char *glue = PICK(glues);
    const char *second = table[1 + PICK(sides)];
    const char *other = PICK(operators);
    const char *tail = PICK(tails);
#undef PICK

    snprintf(sql, 512, "%s FROM %s WHERE %s %s TIMESTAMP '1970-01-0%u%s'%s%s %s '1970-01-0%u'%s",
             select, table[0], first, compare, 1 + state % 6, clock, glue, second, other,
             1 + (state >> 8) % 6, tail);
}

static void
test_narrowed_statements_answer_as_all_files_do(void **state)
{
    struct place *place = *state;
    static char answer[ANSWER_BYTES];
    char sql[512];
    int answered = 0;

    fill(place);
    place_put(place, TABLE_SAMPLES, "2|86400000020|77\n1|10|-9\n"); /* a late row, a second one */
    place_put(place, TABLE_MARKET_DATA,
              "172800000020|A|99|-|-|7|1|0\n"); /* replaces a sealed one */
    for (unsigned seed = 0; seed < STATEMENTS; seed++) {
        make_statement(seed, sql);
        expect_same(place, sql);
        ask(place, sql, answer);
        answered += strncmp(answer, "error", 5) != 0;
    }
    assert_true(answered > STATEMENTS / 4); /* the others name a column that two tables have */
    expect_same(place, "SELECT symbol, last_price FROM market_data WHERE timestamp >= "
                       "'1970-01-03' AND timestamp < '1970-01-04' ORDER BY ALL");
    place_seal_day(place, TABLE_SAMPLES, 1, true);
    place_expect_sql(place,
                     "SELECT count(*), max(value) FROM samples WHERE timestamp >= '1970-01-02' AND "
                     "timestamp < '1970-01-03'",
                     "4|77\n");
}

static void
test_what_is_wrong_is_said_of_the_statement_as_it_was_written(void **state)
{
    struct place *place = *state;

    fill(place);
    expect_same(place, "SELECT nothing FROM samples WHERE timestamp >= '1970-01-05'");
    expect_same(place, "SELECT rowid FROM samples WHERE timestamp >= '1970-01-05'");
    expect_same(place,
                "SELECT value::INT, value // 'x' FROM samples WHERE timestamp >= '1970-01-05'");
    place_expect_sql(place,
                     "SELECT main.samples.value FROM samples WHERE timestamp >= '1970-01-05' "
                     "AND value > 4.25",
                     "4.5\n");
}

/* The answer of a statement with its parameters, or what is wrong with it. */
static void
ask_with(struct place *place, const char *sql, const struct store_param *params, size_t count,
         char text[ANSWER_BYTES])
{
    struct store_sql statement = {.sql = slice_of(sql), .params = params, .param_count = count};
    struct buf lines BUF_AUTO = {0};
    struct err err = {0};
    struct batch rows;

    if (store_sql(place->store, &statement, &rows, NULL, &err)) {
        snprintf(text, ANSWER_BYTES, "error: %s", err.msg);
        return;
    }
    buf_init(&lines, 0);
    contract_dump(&rows, &lines);
    batch_fini(&rows);
    snprintf(text, ANSWER_BYTES, "%.*s", SLICE_FMT(buf_slice(&lines)));
}

/* Narrowed statements get a parameter more, which must be none of theirs. */
static void
test_parameters_of_narrowed_statements_are_their_own(void **state)
{
    static const struct {
        const char *sql;
        size_t params;
        const char *answer;
    } cases[] = {
        {"SELECT value FROM samples WHERE timestamp >= $1 AND value > $2 ORDER BY 1", 2,
         "2.25\n2.5\n3\n3.25\n3.5\n4\n4.25\n4.5\n"},
        {"SELECT value FROM samples WHERE timestamp >= ? AND value > ? ORDER BY 1", 2,
         "2.25\n2.5\n3\n3.25\n3.5\n4\n4.25\n4.5\n"},
        {"SELECT value, $2 FROM samples WHERE timestamp >= $1 AND timestamp < '1970-01-04' "
         "ORDER BY 1",
         2, "2|2\n2.25|2\n2.5|2\n"},
        {"SELECT ?, value FROM samples WHERE timestamp >= TIMESTAMP '1970-01-05 12:00:00'", 1,
         NULL},
        {"SELECT $1 FROM samples WHERE timestamp >= '1970-01-03'", 0, "error: "},
        {"SELECT ? FROM samples WHERE timestamp >= '1970-01-03'", 0, "error: "},
        {"SELECT $2 FROM samples WHERE timestamp >= '1970-01-03'", 1, "error: "},
        {"SELECT $1, $3 FROM samples WHERE timestamp >= '1970-01-03'", 2, "error: "},
        {"SELECT $1, $00003 FROM samples WHERE timestamp >= '1970-01-03'", 2, "error: "},
        {"SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $0012 FROM samples WHERE timestamp "
         ">= '1970-01-03'",
         11, "error: "},
        {"SELECT $a FROM samples WHERE timestamp >= '1970-01-03'", 0, "error: "},
        {"SELECT value FROM samples WHERE timestamp >= '1970-01-03'", 1, "error: "},
        {"SELECT '$1?' FROM samples WHERE timestamp >= '1970-01-05' LIMIT 1", 0, "$1?\n"},
    };
    const struct store_param params[11] = {{.type = PARAM_TEXT, .text = slice_of("1970-01-03")},
                                           {.type = PARAM_I64, .i64 = 2}};
    struct place *place = *state;
    static char narrowed[ANSWER_BYTES];
    static char whole[ANSWER_BYTES];
    char text[512];

    fill(place);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ask_with(place, cases[i].sql, params, cases[i].params, narrowed);
        snprintf(text, sizeof(text), WHOLE "%s", cases[i].sql);
        ask_with(place, text, params, cases[i].params, whole);
        bool as_wanted =
            !cases[i].answer || strncmp(narrowed, cases[i].answer, strlen(cases[i].answer)) == 0;
        if (!as_wanted || strcmp(narrowed, whole) != 0) {
            fail_msg("%s:\n%sbut all files say\n%sand \"%s\" was expected", cases[i].sql, narrowed,
                     whole, cases[i].answer);
        }
    }
}

/* Whether DuckDB knows the columns of a statement that it prepared, for it planned it. */
static bool
is_planned(struct duck_store *duck, const char *sql)
{
    struct store_sql statement = {.sql = slice_of(sql)};
    duckdb_connection connection = duck->pool.readers[0].connection;
    duckdb_prepared_statement prepared;
    struct sql_ranges ranges;
    struct buf text BUF_AUTO = {0};
    bool once;

    assert_true(sql_ranges_find(&statement, &ranges));
    buf_init(&text, 1 << 20);
    assert_true(duck_narrow(duck, &ranges, &statement, &text, &once));
    buf_add_char(&text, '\0');
    assert_int_equal(duckdb_prepare(connection, text.ptr, &prepared), DuckDBSuccess);
    assert_int_equal(duckdb_nparams(prepared), once);
    bool planned = duckdb_prepared_statement_column_type(prepared, 0) == DUCKDB_TYPE_DOUBLE;
    duckdb_destroy_prepare(&prepared);
    return planned;
}

static void
test_statements_over_files_are_planned_when_they_run_alone(void **state)
{
    struct place *place = *state;
    struct duck_store *duck = (struct duck_store *)place->store;

    fill(place);
    assert_false(is_planned(duck, "SELECT value FROM samples WHERE timestamp >= '1970-01-03'"));
    assert_false(is_planned(duck, "SELECT value FROM samples WHERE timestamp < '1970-02-01'"));
    assert_false(is_planned(duck, "SELECT p.value FROM trading_metrics p JOIN samples v ON "
                                  "v.timestamp = p.timestamp WHERE p.timestamp < '1970-01-02' AND "
                                  "v.timestamp >= '1970-01-03'"));
    assert_true(is_planned(duck, "SELECT value FROM samples WHERE timestamp >= '1970-01-05'"));
    assert_true(is_planned(duck, "SELECT value FROM samples WHERE timestamp >= '1970-01-03' AND "
                                 "'?' = '?'"));
}

/* A plan is made for as many rows as the files have: the small side of a join is the one hashed. */
static void
test_plans_know_how_many_rows_files_have(void **state)
{
    struct place *place = *state;
    static char plan[ANSWER_BYTES];

    fill(place);
    ask(place, "EXPLAIN SELECT value FROM samples WHERE timestamp < '1970-01-02'", plan);
    assert_non_null(strstr(plan, "READ_PARQUET"));
    assert_null(strstr(plan, "~0 rows"));
    ask(place, "EXPLAIN SELECT value FROM samples", plan);
    assert_non_null(strstr(plan, "~12 rows"));
}

struct crowd {
    struct place *place;
    atomic_bool stop;
    atomic_int rows;
    sem_t read; /* posted behind each */
};

static void *
read_on(void *ctx)
{
    struct crowd *crowd = ctx;
    char answer[64];
    int rows;

    while (!atomic_load(&crowd->stop)) {
        int before = atomic_load(&crowd->rows);
        assert_int_equal(place_ask(crowd->place,
                                   "SELECT count(*) FROM samples WHERE timestamp >= '1970-01-02'",
                                   answer, sizeof(answer), NULL),
                         ERR_OK);
        assert_int_equal(sscanf(answer, "%d", &rows), 1); /* NOLINT(cert-err34-c): our own */
        assert_true(rows >= before && rows <= atomic_load(&crowd->rows) + 1);
        sem_post(&crowd->read);
    }
    return NULL;
}

static void
test_narrowed_statements_see_every_row_once_while_days_are_sealed(void **state)
{
    struct place *place = *state;
    struct crowd crowd = {.place = place};
    pthread_t reader;
    char line[64];

    assert_int_equal(sem_init(&crowd.read, 0, 0), 0);
    place_put(place, TABLE_SAMPLES, "1|10|1\n");
    place_seal_day(place, TABLE_SAMPLES, 0, false);
    assert_int_equal(pthread_create(&reader, NULL, read_on, &crowd), 0);
    for (int round = 0; round < ROUNDS; round++) {
        snprintf(line, sizeof(line), "1|%lld|2\n", 86400000000LL + round);
        place_put(place, TABLE_SAMPLES, line);
        atomic_fetch_add(&crowd.rows, 1);
        place_seal_day(place, TABLE_SAMPLES, 1, round % 4 == 3);
        assert_int_equal(sem_wait(&crowd.read), 0);
    }
    atomic_store(&crowd.stop, true);
    assert_int_equal(pthread_join(reader, NULL), 0);
    sem_destroy(&crowd.read);
    place_expect_sql(place, "SELECT count(*) FROM samples WHERE timestamp >= '1970-01-02'", "20\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_statements_open_the_files_of_their_times),
        CASE(test_statements_leave_the_other_files_closed),
        CASE(test_narrowed_statements_answer_as_all_files_do),
        CASE(test_what_is_wrong_is_said_of_the_statement_as_it_was_written),
        CASE(test_parameters_of_narrowed_statements_are_their_own),
        CASE(test_statements_over_files_are_planned_when_they_run_alone),
        CASE(test_plans_know_how_many_rows_files_have),
        CASE(test_narrowed_statements_see_every_row_once_while_days_are_sealed),
    };

    return cmocka_run_group_tests_name("store duckdb narrow", tests, NULL, NULL);
}
