/* For the tests of this part: a configuration from text, by way of a file. */
#ifndef EIDER_SERVER_CONFIG_TESTING_H
#define EIDER_SERVER_CONFIG_TESTING_H

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

static char config_file[] = "/tmp/eider-config-XXXXXX";

/* Loads `yaml` in an environment of KEY=s3cret-token alone. */
static inline enum err_code
load(const char *yaml, bool for_a_server, struct config *ret_config, struct err *err)
{
    char *env[] = {(char[]){"KEY=s3cret-token"}, NULL};
    struct config_options options = {.file = config_file, .env = env, .for_a_server = for_a_server};
    FILE *out = fopen(config_file, "w");

    assert_non_null(out);
    assert_true(fputs(yaml, out) >= 0);
    fclose(out);
    *ret_config = (struct config){0};
    return config_load(&options, ret_config, err);
}

/* Set-up and tear-down of a group. */
static inline int
make_file(void **state)
{
    int fd = mkstemp(config_file);

    (void)state;
    return fd < 0 ? -1 : close(fd);
}

static inline int
remove_file(void **state)
{
    (void)state;
    return unlink(config_file);
}

#endif
