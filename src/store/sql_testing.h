/* For the tests of readers of statements. */
#ifndef EIDER_STORE_SQL_TESTING_H
#define EIDER_STORE_SQL_TESTING_H

#include <string.h>

#include "store/store.h"

enum { SQL_TESTING_BYTES = 512 };

/* Gives every beginning of a statement to `read`, and the statement with each byte replaced by
 * every other. */
static inline void
sql_damage(const char *text, void (*read)(const struct store_sql *sql))
{
    const struct store_param param = {.type = PARAM_TEXT, .text = slice_of("1970-01-05")};
    char damaged[SQL_TESTING_BYTES];
    size_t len = strlen(text);

    assert_true(len < sizeof(damaged));
    for (size_t at = 0; at <= len; at++) {
        struct store_sql sql = {.sql = slice_make(text, at), .params = &param, .param_count = 1};
        read(&sql);
        memcpy(damaged, text, len);
        for (int c = 0; c < 256 && at < len; c++) {
            damaged[at] = (char)c;
            sql.sql = slice_make(damaged, len);
            read(&sql);
        }
    }
}

#endif
