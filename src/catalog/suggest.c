/* "Did you mean": the nearest name by edit distance (insert, delete, replace, swap neighbours). */
#include "catalog/suggest.h"

#include <stdio.h>

#include "catalog/catalog.h"

enum { NAME_MAX = 48 };

static size_t
smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static char
lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

/* Optimal string alignment over three rows of the table; both at most NAME_MAX long. */
static size_t
distance(struct slice a, struct slice b)
{
    size_t rows[3][NAME_MAX + 1];

    for (size_t j = 0; j <= b.len; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *two_above = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            char x = lower(a.ptr[i - 1]);
            char y = lower(b.ptr[j - 1]);
            row[j] = smaller(smaller(above[j], row[j - 1]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == lower(b.ptr[j - 2]) && lower(a.ptr[i - 2]) == y) {
                row[j] = smaller(row[j], two_above[j - 2] + 1);
            }
        }
    }
    return rows[a.len % 3][b.len];
}

/* The best so far; a suggestion may be a third of the name away, and at least two edits. */
struct nearest {
    const char *name;
    size_t distance;
};

static void
consider(struct nearest *nearest, struct slice wanted, const char *candidate)
{
    struct slice name = slice_of(candidate);
    size_t allowed = wanted.len / 3 > 2 ? wanted.len / 3 : 2;

    if (wanted.len == 0 || wanted.len > NAME_MAX || name.len > NAME_MAX) {
        return;
    }
    size_t d = distance(wanted, name);
    if (d <= allowed && d < wanted.len && (!nearest->name || d < nearest->distance)) {
        *nearest = (struct nearest){candidate, d};
    }
}

const char *
catalog_suggest_table(struct slice name)
{
    struct nearest nearest = {0};
    const struct catalog_table *table;

    for (size_t i = 0; (table = catalog_at(i)) != NULL; i++) {
        if (table->ingestible) {
            consider(&nearest, name, table->name);
        }
    }
    consider(&nearest, name, "metrics");
    return nearest.name;
}

const char *
catalog_suggest_column(const struct catalog_table *table, struct slice name)
{
    struct nearest nearest = {0};

    for (size_t i = 0; i < table->column_count; i++) {
        consider(&nearest, name, table->columns[i].name);
    }
    return nearest.name;
}

const char *
catalog_suggest_name(struct slice name, const char *const *names, size_t count)
{
    struct nearest nearest = {0};

    for (size_t i = 0; i < count; i++) {
        consider(&nearest, name, names[i]);
    }
    return nearest.name;
}

static void
name_tables(bool sealed, char ret_names[CATALOG_NAMES_MAX])
{
    const struct catalog_table *table;
    size_t used = 0;

    ret_names[0] = '\0';
    for (size_t i = 0; (table = catalog_at(i)) && used < CATALOG_NAMES_MAX; i++) {
        if (sealed ? !table->sealed : !table->ingestible) {
            continue;
        }
        bool metrics = table->id == TABLE_SAMPLES || table->id == TABLE_METRICS;
        const char *name = metrics ? "metrics" : table->name;
        int len =
            snprintf(ret_names + used, CATALOG_NAMES_MAX - used, "%s%s", used ? ", " : "", name);
        used += len > 0 ? (size_t)len : 0;
    }
}

void
catalog_name_ingestible(char ret_names[CATALOG_NAMES_MAX])
{
    name_tables(false, ret_names);
}

void
catalog_name_sealed(char ret_names[CATALOG_NAMES_MAX])
{
    name_tables(true, ret_names);
}
