/* What a refusal to connect is, by libpq's text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "store/postgres/pg.h"

static void
test_refused_state_is_found_in_any_language(void **state)
{
    static const struct {
        const char *message, *state, *text;
    } cases[] = {
        {"connection to server at \"h\", port 1 failed: FATAL:  3D000: database \"n\" does not "
         "exist\nLOCATION:  InitPostgres, postinit.c:1\n",
         "3D000", "database \"n\" does not exist\n"},
        {"Verbindung zum Server auf »h« fehlgeschlagen: SCHWERWIEGEND:  28P01: Passwort\n", "28P01",
         "Passwort\n"},
        {"connection to server at \"a:  b\", port 1 failed: FATAL:  28000: no\n", "28000", "no\n"},
        {"first failed: FATAL:  57P03: starting\nsecond failed: FATAL:  28000: no\n", "57P03",
         "starting\n"},
    };
    static const char *const without[] = {"",
                                          "FATAL:  ",
                                          "FATAL:  3D00",
                                          "FATAL:  3D000",
                                          "FATAL:  3D000:",
                                          "FATAL:  3d000: small",
                                          "FATAL:  3D0000: long",
                                          "FATAL: 3D000: one blank",
                                          "fe_sendauth: no password supplied\n"};

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char found[6] = "";
        const char *text = pg_find_state(cases[i].message, found);
        assert_non_null(text);
        assert_string_equal(found, cases[i].state);
        assert_int_equal(strncmp(text, cases[i].text, strlen(cases[i].text)), 0);
    }
    for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++) {
        char found[6] = "kept";
        assert_null(pg_find_state(without[i], found));
        assert_string_equal(found, "kept");
    }
}

static void
test_refused_values_know_their_setting(void **state)
{
    const struct store_postgres_options options = {
        .dsn = "postgresql://u:p@h/d", .database = "other", .user = ""};
    struct pg_params params;
    struct err err;

    (void)state;
    assert_int_equal(pg_params_init(&params, &options, &err), ERR_OK);
    assert_string_equal(params.database_by, "storage.postgres.database");
    assert_string_equal(params.user_by, "storage.postgres.dsn");
    assert_string_equal(params.password_by, "storage.postgres.dsn");
    pg_params_fini(&params);
    const struct store_postgres_options nothing = {.host = "h"};
    assert_int_equal(pg_params_init(&params, &nothing, &err), ERR_OK);
    assert_non_null(strstr(params.database_by, "storage.postgres.database is not set"));
    assert_non_null(strstr(params.user_by, "storage.postgres.user is not set"));
    assert_non_null(strstr(params.password_by, "storage.postgres.password is not set"));
    pg_params_fini(&params);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_state_is_found_in_any_language),
        cmocka_unit_test(test_refused_values_know_their_setting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
