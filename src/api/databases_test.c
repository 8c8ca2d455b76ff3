/* Tests of several databases, without their servers: one that goes while others look at it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "api/databases_private.h"
#include "base/mem.h"

static const struct database_limits no_limits = {0};

/* A page of the default database, with what is there of the others. */
static void
expect_page(struct api *own, const char *wanted)
{
    struct buf page BUF_AUTO;

    buf_init(&page, 0);
    buf_add_cstr(&page, "# HELP x X.\n# TYPE x gauge\nx 1\n");
    merge_databases_metrics(own, &page);
    buf_add_char(&page, '\0');
    if (!strstr(page.ptr, wanted)) {
        fail_msg("no %s in %s", wanted, page.ptr);
    }
}

static void
test_databases_that_are_detached_are_not_looked_at(void **state)
{
    struct databases *databases;
    struct api own = {.options.metrics_namespace = "eider"};
    struct api *other = mem_zalloc(1, sizeof(*other));

    (void)state;
    databases_new(&databases);
    size_t first = databases_add(databases, "default", &no_limits);
    size_t second = databases_add(databases, "eu", &no_limits);
    databases_attach(databases, first, &own);
    databases_attach(databases, second, other);
    /* It is closed: a look at it would end here. */
    databases_detach(databases, second);
    free(other);
    expect_page(&own, "eider_database_up{database=\"default\"} 1\n");
    expect_page(&own, "eider_database_up{database=\"eu\"} 0\n");
    databases_free(databases);
}

struct leaver {
    struct databases *databases;
    atomic_bool gone;
};

static void *
leave(void *arg)
{
    struct leaver *leaver = arg;

    databases_detach(leaver->databases, 0);
    atomic_store(&leaver->gone, true);
    return NULL;
}

static void
test_databases_wait_for_who_looks_at_them_before_they_go(void **state)
{
    struct leaver leaver = {.gone = false};
    struct api own = {0};
    pthread_t thread;

    (void)state;
    databases_new(&leaver.databases);
    databases_add(leaver.databases, "default", &no_limits);
    databases_attach(leaver.databases, 0, &own);
    pthread_rwlock_rdlock(&leaver.databases->apis);
    assert_int_equal(pthread_create(&thread, NULL, leave, &leaver), 0);
    for (int i = 0; i < 1000; i++) {
        assert_ptr_equal(atomic_load(&leaver.databases->entries[0].api), &own);
        assert_false(atomic_load(&leaver.gone));
    }
    pthread_rwlock_unlock(&leaver.databases->apis);
    pthread_join(thread, NULL);
    assert_null(atomic_load(&leaver.databases->entries[0].api));
    databases_free(leaver.databases);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_databases_that_are_detached_are_not_looked_at),
        cmocka_unit_test(test_databases_wait_for_who_looks_at_them_before_they_go),
    };

    return cmocka_run_group_tests_name("databases", tests, NULL, NULL);
}
