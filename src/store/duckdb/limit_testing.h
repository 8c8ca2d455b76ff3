/* A full disk for tests: no file grows beyond a bound. SIGXFSZ must be ignored. */
#ifndef EIDER_STORE_DUCKDB_LIMIT_TESTING_H
#define EIDER_STORE_DUCKDB_LIMIT_TESTING_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* */
#include <cmocka.h>

#include <sys/resource.h>

/* RLIM_INFINITY: the disk has space again. */
static inline void
limit_files(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

#endif
