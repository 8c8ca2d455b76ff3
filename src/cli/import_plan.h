/*
 * Which column of a file goes to which column of a table: what the user said, and guesses for the
 * rest.
 *
 * Ownership: a plan borrows names from the command line and from the source. One thread.
 */
#ifndef EIDER_CLI_IMPORT_PLAN_H
#define EIDER_CLI_IMPORT_PLAN_H

#include "catalog/catalog.h"
#include "cli/cli.h"
#include "cli/import_date.h"

enum { PLAN_PAIRS_MAX = 64, PLAN_NONE = -1 };

/* COLUMN=VALUE of --map or --set. */
struct plan_pair {
    struct slice column;
    struct slice value;
};

/* What the command line says. */
struct plan_wishes {
    const struct catalog_table *table; /* NULL: guess */
    size_t map_count;
    struct plan_pair maps[PLAN_PAIRS_MAX];
    size_t set_count;
    struct plan_pair sets[PLAN_PAIRS_MAX];
    bool has_date;
    struct import_date date;
};

struct plan {
    const struct catalog_table *table;
    bool table_guessed;
    struct {
        int source; /* index of the file's column, or PLAN_NONE */
        bool is_constant;
        struct slice constant;
    } columns[CATALOG_COLUMNS_MAX];
    struct import_date date; /* of the table's time column */
};

/* Reads --table, --map, --set and --date-format. */
enum err_code plan_read_wishes(const struct cli *cli, struct plan_wishes *ret_wishes,
                               struct err *err);

/*
 * Makes a plan for a file with these column names. ERR_USAGE when the table cannot be guessed, a
 * name is unknown, or a column the table needs would stay empty: the message says what to give.
 * The date format is left to the caller.
 */
enum err_code plan_make(const struct plan_wishes *wishes, const char *const *names, size_t count,
                        struct plan *ret_plan, struct err *err);

/* Whether rows need a value in this column: keys, times and required columns. */
bool plan_is_required(const struct catalog_table *table, size_t column);

/* Whether a source column goes anywhere. */
bool plan_uses(const struct plan *plan, size_t source);

#endif
