/* Sealing and merging days. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>

#include "base/mem.h"
#include "catalog/catalog.h"
#include "store/maintain_private.h"

enum {
    SPARE_BYTES = 32 << 20, /* that sealing leaves of the disk */
    PACKED = 3,             /* rows in a file are at least so much smaller than in memory */
    PERCENT = 100,
    CHECKPOINT_MS = 60000
};

/* ---- which days ---- */

struct finding {
    struct store_seal_find find;
    struct store_day *days;
    size_t count;
};

static enum err_code
find_days(void *ctx, struct store *store, struct err *err)
{
    struct finding *finding = ctx;

    return store_seal_find(store, &finding->find, finding->days, MAINTAIN_DAYS_MAX + 1,
                           &finding->count, err);
}

enum err_code
maintain_find_days(struct engine *engine, const struct store_seal_find *find,
                   struct store_day **ret_days, size_t *ret_count, bool *ret_more, struct err *err)
{
    struct finding finding = {
        .find = *find,
        .days = mem_zalloc(MAINTAIN_DAYS_MAX + 1, sizeof(*finding.days)),
    };
    enum err_code code = engine_with_store(engine, find_days, &finding, err);

    if (code != ERR_OK) {
        free(finding.days);
        return code;
    }
    *ret_days = finding.days;
    *ret_more = finding.count > MAINTAIN_DAYS_MAX;
    *ret_count = *ret_more ? MAINTAIN_DAYS_MAX : finding.count;
    return ERR_OK;
}

static int64_t
bound_of(struct engine *engine, int64_t after_us, const struct maintain_seal *seal)
{
    int64_t now_us = clock_wall_us(engine->clock);

    /* A day that is not over is never sealed, whatever was asked for. */
    return seal->before_us == 0       ? now_us - after_us
           : seal->before_us > now_us ? now_us
                                      : seal->before_us;
}

enum err_code
engine_seal_plan(struct engine *engine, const struct maintain_seal *seal,
                 struct store_day **ret_days, size_t *ret_count, bool *ret_more, struct err *err)
{
    int64_t after_us = engine->maintain ? engine->maintain->options.after_us : 0;
    struct store_seal_find find = {.before_us = bound_of(engine, after_us, seal),
                                   .table = seal->table};

    if (engine->maintain && engine->maintain->rows_only) {
        return err_set(err, ERR_UNSUPPORTED,
                       "the rows are in PostgreSQL, which has no cold files: there is nothing "
                       "to seal");
    }
    if (engine->maintain && !seal->small) {
        find.rows_min = engine->maintain->options.rows_min;
    }
    return maintain_find_days(engine, &find, ret_days, ret_count, ret_more, err);
}

/* ---- one day ---- */

/* Begin, commit and end happen with the store borrowed: a sealing must not outlive its store. What
 * went wrong is kept here, for it is not the database's fault: a damaged cold file that is merged
 * must not make the engine quarantine it. */
struct sealing {
    struct maintain *maintain;
    const struct store_seal *seal;
    struct store_sealing *handle;
    struct store_seal_result result;
    enum err_code code;
    struct err err;
};

static enum err_code
commit_seal(void *ctx, struct store *store, struct err *err)
{
    struct sealing *sealing = ctx;

    return store_seal_commit(store, sealing->handle, &sealing->result, err);
}

static enum err_code
commit_between(struct sealing *sealing)
{
    return engine_between_groups(sealing->maintain->engine, commit_seal, sealing,
                                 MAINTAIN_COMMIT_MS, &sealing->err);
}

/* What the file's numbers mean is durable before the file is listed. */
static enum err_code
seal_with_store(void *ctx, struct store *store, struct err *err)
{
    struct sealing *sealing = ctx;
    struct engine *engine = sealing->maintain->engine;

    (void)err;
    sealing->code = store_seal_begin(store, sealing->seal, &sealing->handle, &sealing->err);
    if (sealing->code != ERR_OK) {
        return ERR_OK;
    }
    if (sealing->seal->table == TABLE_SAMPLES) {
        sealing->code = series_file_sync(engine->series, store, &sealing->err);
    }
    if (sealing->code == ERR_OK) {
        sealing->code = commit_between(sealing);
    }
    store_seal_free(store, sealing->handle);
    return ERR_OK;
}

enum err_code
maintain_seal_one(struct maintain *maintain, const struct store_seal *seal,
                  struct store_seal_result *ret_result, struct err *err)
{
    struct sealing sealing = {.maintain = maintain, .seal = seal};
    enum err_code code = maintain_turn_take(maintain, "sealing", MAINTAIN_TURN_MS, err);
    char day[COLD_DAY_TEXT];

    if (code == ERR_OK) {
        code = engine_with_store(maintain->engine, seal_with_store, &sealing, err);
    }
    if (code == ERR_OK && sealing.code != ERR_OK) {
        *err = sealing.err;
        code = sealing.code;
    }
    if (code != ERR_OK) {
        cold_day_format(seal->day, day);
        return err_context(err, code, "sealing %s of %s", catalog_table(seal->table)->name, day);
    }
    *ret_result = sealing.result;
    return ERR_OK;
}

/* Sealing on a disk that cannot hold the file would only fill it. */
static enum err_code
check_space(const struct maintain *maintain, enum table_id table, uint64_t rows,
            uint64_t merged_bytes, struct err *err)
{
    uint64_t needed =
        rows * retention_row_bytes(catalog_table(table)) / PACKED + merged_bytes + SPARE_BYTES;
    struct statvfs disk;

    if (statvfs(maintain->cold_dir, &disk) != 0) {
        return err_sys(err, errno, "cannot ask for the free space of %s", maintain->cold_dir);
    }
    uint64_t free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    if (free_bytes < needed) {
        return err_set(err, ERR_NO_SPACE,
                       "sealing %s may need %" PRIu64 " bytes in %s, the disk has %" PRIu64,
                       catalog_table(table)->name, needed, maintain->cold_dir, free_bytes);
    }
    return ERR_OK;
}

/* ---- days of the list ---- */

/* Raw files of a day, and whether it has rollups of rows that are gone: those cannot be made anew,
 * so such a day must not be merged. */
struct day_files {
    size_t raw;
    uint64_t raw_bytes;
    bool has_lone_rollups;
};

static bool
has_raw(const struct cold_file *files, size_t count, const struct cold_file *rollup)
{
    struct cold_file key = *rollup;

    key.kind = COLD_RAW;
    return bsearch(&key, files, count, sizeof(key), cold_file_compare) != NULL;
}

static struct day_files
count_files(const struct cold_file *files, size_t count, enum table_id table, int32_t day)
{
    struct day_files found = {0};

    for (size_t i = 0; i < count; i++) {
        if (files[i].table != table || files[i].day != day) {
            continue;
        }
        if (files[i].kind == COLD_RAW) {
            found.raw++;
            found.raw_bytes += files[i].bytes;
        } else if (!has_raw(files, count, &files[i])) {
            found.has_lone_rollups = true;
        }
    }
    return found;
}

/* More files than allowed, or late rows enough to be worth writing the day anew. */
static bool
wants_merge(const struct maintain *maintain, const struct store_day *day,
            const struct day_files *files)
{
    bool too_many = files->raw + (day->hot_rows > 0) > maintain->options.merge_files;
    bool too_late = files->raw > 0 &&
                    day->hot_rows * PERCENT > day->cold_rows * maintain->options.merge_percent;

    return !files->has_lone_rollups && (too_many || too_late);
}

static void
note_sealed(struct maintain *maintain, const struct store_day *day, bool merged,
            const struct store_seal_result *result)
{
    char text[COLD_DAY_TEXT];

    pthread_mutex_lock(&maintain->lock);
    maintain->status.days_sealed += !merged;
    maintain->status.days_merged += merged;
    maintain->status.rows_sealed += day->hot_rows;
    pthread_mutex_unlock(&maintain->lock);
    cold_day_format(day->day, text);
    engine_event(maintain->engine, false,
                 "%s %s of %s: %" PRIu64 " rows, %" PRIu64 " bytes in %zu files",
                 merged ? "merged" : "sealed", catalog_table(day->table)->name, text, result->rows,
                 result->bytes, result->files);
}

/* ERR_OK, too, when the day must wait: rows come, or are gone. */
static enum err_code
seal_day(struct maintain *maintain, const struct store_day *day, struct err *err)
{
    struct cold_file *files MEM_AUTO = NULL;
    struct store_seal_result result = {0};
    size_t count = 0;
    enum err_code code = engine_cold_list(maintain->engine, &files, &count, err);

    if (code != ERR_OK) {
        return code;
    }
    struct day_files there = count_files(files, count, day->table, day->day);
    struct store_seal seal = {.table = day->table, .day = day->day};
    seal.merge = there.raw > 0 && wants_merge(maintain, day, &there);
    code = check_space(maintain, day->table, day->hot_rows, seal.merge ? there.raw_bytes : 0, err);
    code = code ? code : maintain_seal_one(maintain, &seal, &result, err);
    if (code == ERR_OK) {
        note_sealed(maintain, day, seal.merge, &result);
    }
    return code == ERR_BUSY || code == ERR_NOT_FOUND ? ERR_OK : code;
}

static enum err_code
seal_each(struct maintain *maintain, const struct store_day *days, size_t count, struct err *err)
{
    enum err_code first = ERR_OK;

    for (size_t i = 0; i < count && !atomic_load(&maintain->stopping); i++) {
        struct err step = {0};
        maintain_set_state(maintain, days[i].cold_files ? MAINTAIN_MERGING : MAINTAIN_SEALING,
                           days[i].table, days[i].day);
        maintain_set_steps(maintain, i, count);
        enum err_code code = seal_day(maintain, &days[i], &step);
        if (code != ERR_OK && first == ERR_OK) {
            first = code;
            *err = step;
        }
        if (code == ERR_NO_SPACE || code == ERR_UNAVAILABLE) {
            break; /* the other days would fare no better */
        }
    }
    return first;
}

enum err_code
maintain_seal_days(struct maintain *maintain, const struct maintain_seal *seal, bool late,
                   struct err *err)
{
    struct store_day *days MEM_AUTO = NULL;
    size_t found = 0;
    size_t count = 0;
    bool more;
    enum err_code code = engine_seal_plan(maintain->engine, seal, &days, &found, &more, err);

    if (code != ERR_OK) {
        return code;
    }
    for (size_t i = 0; i < found; i++) {
        if (late || days[i].cold_files == 0) {
            days[count++] = days[i];
        }
    }
    uint64_t before = maintain->status.days_sealed + maintain->status.days_merged;
    code = seal_each(maintain, days, count, err);
    if (maintain->status.days_sealed + maintain->status.days_merged > before) {
        /* The rows that went are free in the file, and out of its log, behind a checkpoint. */
        struct err ignored;
        engine_checkpoint(maintain->engine, CHECKPOINT_MS, &ignored);
    }
    return code;
}

/* Days whose files have become too many without late rows: the bound was lowered, say. */
enum err_code
maintain_merge_days(struct maintain *maintain, struct err *err)
{
    struct cold_file *files MEM_AUTO = NULL;
    size_t count = 0;
    enum err_code code = engine_cold_list(maintain->engine, &files, &count, err);

    for (size_t i = 0; i < count && code == ERR_OK && !atomic_load(&maintain->stopping); i++) {
        bool first_of_day = files[i].kind == COLD_RAW && (i == 0 || files[i - 1].kind != COLD_RAW ||
                                                          files[i - 1].table != files[i].table ||
                                                          files[i - 1].day != files[i].day);
        if (!first_of_day) {
            continue;
        }
        struct day_files there = count_files(files, count, files[i].table, files[i].day);
        struct store_day day = {
            .table = files[i].table, .day = files[i].day, .cold_files = there.raw};
        if (there.raw > 1 && wants_merge(maintain, &day, &there)) {
            maintain_set_state(maintain, MAINTAIN_MERGING, day.table, day.day);
            code = seal_day(maintain, &day, err);
        }
    }
    return code;
}
