/*
 * Answers of the server as tables: which members of a list's objects are columns is declared.
 *
 * One thread.
 */
#ifndef EIDER_CLI_JSON_TABLE_H
#define EIDER_CLI_JSON_TABLE_H

#include <jansson.h>

#include "catalog/batch.h"
#include "cli/cli.h"

struct json_column {
    const char *title;  /* NULL ends a list */
    const char *path;   /* "state", "forecast.text" */
    enum col_type type; /* COL_DECIMAL for credits; COL_TEXT shows anything */
};

/* An answer batch with these columns. batch_fini it. */
void json_table_init(struct batch *rows, const struct json_column *columns);

/*
 * Adds a row. A path that begins with '^' is looked up in `parent` (which may be NULL). Objects
 * are shown as "name=value name=value", arrays as "a,b".
 */
void json_table_add(struct batch *rows, const struct json_column *columns, const json_t *parent,
                    const json_t *object);

/* Prints the table; `empty` instead when it has no rows. Frees it. */
enum err_code json_table_print(struct cli *cli, struct batch *rows, const char *empty,
                               struct err *err);

/* The member at "a.b" of an object, or NULL. */
const json_t *json_at(const json_t *object, const char *path);

#endif
