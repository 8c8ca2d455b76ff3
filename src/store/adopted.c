/*
 * What the log gives again that cold files have already. Of a database that `eider check --repair`
 * made anew the list is ahead of the record that is applied: its files were sealed behind records
 * that are replayed. A file that was sealed at LSN s has, with the other files of its day, every
 * row of that day of records up to s (duck_seal.c: all hot rows of a day go at once, and nothing is
 * sealed that was touched behind the LSN that was read). So rows of the day from records up to the
 * highest s among its files are passed over; what came later is applied as always.
 *
 * Tables whose rows may move from day to day (trades, by their id) are replayed whole: an old
 * version is replaced by the later ones behind it, and the last one wins, as it did the first time.
 *
 * It also keeps files that nobody lists when records are nowhere: those files may be all that is
 * left of them.
 *
 * Threads: the applier's, and engine_open's before it.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "store/cold.h"
#include "store/engine_private.h"

/* Up to this record, rows of this table and day are in cold files. */
struct adopted_day {
    enum table_id table;
    int32_t day;
    uint64_t lsn;
};

static int
compare_days(const void *a, const void *b)
{
    const struct adopted_day *x = a;
    const struct adopted_day *y = b;

    if (x->table != y->table) {
        return x->table < y->table ? -1 : 1;
    }
    return x->day != y->day ? (x->day < y->day ? -1 : 1) : 0;
}

static void
note_file(struct engine *engine, const struct cold_file *file)
{
    const struct adopted_day day = {file->table, file->day, file->sealed_lsn};
    struct adopted_day *last =
        engine->adopted_count > 0 ? &engine->adopted[engine->adopted_count - 1] : NULL;

    engine->adopted_lsn =
        file->sealed_lsn > engine->adopted_lsn ? file->sealed_lsn : engine->adopted_lsn;
    if (last && compare_days(last, &day) == 0) {
        last->lsn = day.lsn > last->lsn ? day.lsn : last->lsn;
        return;
    }
    engine->adopted =
        mem_resize(engine->adopted, engine->adopted_count + 1, sizeof(*engine->adopted));
    engine->adopted[engine->adopted_count++] = day;
}

/* Folds days that kinds of files have put apart. */
static void
sort_days(struct engine *engine)
{
    size_t kept = 0;

    if (engine->adopted_count == 0) {
        return;
    }
    qsort(engine->adopted, engine->adopted_count, sizeof(*engine->adopted), compare_days);
    for (size_t i = 1; i < engine->adopted_count; i++) {
        struct adopted_day *to = &engine->adopted[kept];
        const struct adopted_day *from = &engine->adopted[i];
        if (compare_days(to, from) != 0) {
            engine->adopted[++kept] = *from;
        } else if (from->lsn > to->lsn) {
            to->lsn = from->lsn;
        }
    }
    engine->adopted_count = kept + 1;
}

void
adopted_note(struct engine *engine, struct store *store)
{
    struct cold_file *files MEM_AUTO = NULL;
    struct err ignored; /* of a store without cold data */
    size_t count = 0;
    uint64_t applied = store_applied_lsn(store);

    adopted_forget(engine);
    if (!store_has_cold(store) || store_cold_list(store, &files, &count, &ignored) != ERR_OK) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (files[i].sealed_lsn > applied && cold_days_are_fixed(catalog_table(files[i].table))) {
            note_file(engine, &files[i]);
        }
    }
    sort_days(engine);
    if (engine->adopted_count > 0) {
        engine_event(engine, false,
                     "cold files of %zu days are ahead of record %llu: what records up to %llu "
                     "give of these days is in them and is passed over",
                     engine->adopted_count, (unsigned long long)applied,
                     (unsigned long long)engine->adopted_lsn);
    }
}

void
adopted_forget(struct engine *engine)
{
    free(engine->adopted);
    engine->adopted = NULL;
    engine->adopted_count = 0;
    engine->adopted_lsn = 0;
}

static bool
is_in_file(const struct engine *engine, const struct batch *batch, size_t row, uint64_t lsn)
{
    const size_t column = (size_t)batch->table->time_column;

    if (batch_is_null(batch, column, row)) {
        return false;
    }
    const struct adopted_day key = {batch->table->id,
                                    cold_day_of(batch_get_i64(batch, column, row)), 0};
    const struct adopted_day *found = bsearch(&key, engine->adopted, engine->adopted_count,
                                              sizeof(*engine->adopted), compare_days);
    return found && lsn <= found->lsn;
}

void
adopted_pass_over(const struct engine *engine, struct batch *batch, uint64_t lsn)
{
    struct batch kept;
    size_t first = 0;

    if (lsn > engine->adopted_lsn || batch->table->kind == TABLE_VIEW ||
        !cold_days_are_fixed(batch->table)) {
        return;
    }
    while (first < batch->rows && !is_in_file(engine, batch, first, lsn)) {
        first++;
    }
    if (first == batch->rows) {
        return;
    }
    batch_init(&kept, batch->table, 0); /* texts are those of the record */
    batch_reserve(&kept, batch->rows);
    for (size_t row = 0; row < batch->rows; row++) {
        if (row < first || !is_in_file(engine, batch, row, lsn)) {
            batch_copy_row(&kept, batch, row);
        }
    }
    batch_fini(batch);
    *batch = kept;
}

/* ---- records that are nowhere ---- */

struct keeping {
    struct cold_names known; /* listed, dropped, or kept already */
    struct cold_file *files;
    size_t count;
};

static enum err_code
keep_file(void *ctx, const struct cold_file *file, struct err *err)
{
    struct keeping *keeping = ctx;
    char relative[COLD_RELATIVE_MAX];

    (void)err;
    cold_relative(file, relative);
    if (!cold_names_has(&keeping->known, relative)) {
        keeping->files = mem_resize(keeping->files, keeping->count + 1, sizeof(*keeping->files));
        keeping->files[keeping->count++] = *file;
    }
    return ERR_OK;
}

enum err_code
adopted_keep_unlisted(struct engine *engine, struct err *err)
{
    struct keeping keeping = {.files = NULL};
    struct cold_file *listed MEM_AUTO = NULL;
    char cold[ENGINE_PATH_MAX];
    size_t count = 0;

    if (!engine->store || !store_has_cold(engine->store)) {
        return ERR_OK;
    }
    snprintf(cold, sizeof(cold), "%.4000s/cold", engine->data_dir);
    enum err_code code = store_cold_list(engine->store, &listed, &count, err);
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&listed[i], relative);
        cold_names_add(&keeping.known, relative);
    }
    code = code ? code : cold_ledger_read(cold, COLD_DROPPED, &keeping.known, err);
    code = code ? code : cold_ledger_read(cold, COLD_MISSING, &keeping.known, err);
    cold_names_sort(&keeping.known);
    code = code ? code : cold_walk(cold, keep_file, &keeping, err);
    if (code == ERR_OK && keeping.count > 0) {
        code = cold_ledger_add(cold, COLD_MISSING, keeping.files, keeping.count, err);
        engine_event(engine, true,
                     "%zu cold files that the database does not list may have rows of those "
                     "records: they are kept, their names stand in cold/missing",
                     keeping.count);
    }
    cold_names_fini(&keeping.known);
    free(keeping.files);
    return code;
}
