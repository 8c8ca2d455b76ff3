/* Dropping files, collecting what nobody lists, the manifest. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/failpoint.h"
#include "store/maintain_private.h"

enum {
    GRACE_MS = 5000, /* behind the longest query */
    SNAPSHOTS_MAX = 64,
    LEDGER_KEPT = 1000, /* names of removed files that are kept without looking whether to */
    US_PER_MS = 1000
};

/* ---- dropping ---- */

static enum err_code
drop_in_store(void *ctx, struct store *store, struct err *err)
{
    return store_cold_drop(store, ctx, err);
}

enum err_code
maintain_drop_between(struct maintain *maintain, struct cold_drop *drop, struct err *err)
{
    return engine_between_groups(maintain->engine, drop_in_store, drop, MAINTAIN_COMMIT_MS, err);
}

/* Space may be short: behind a backup that takes very long it does not wait for its turn. */
static enum err_code
drop_at_turn(struct maintain *maintain, struct cold_drop *drop, struct err *err)
{
    enum err_code code = maintain_turn_take(maintain, "retention", MAINTAIN_DROP_MS, err);

    return code == ERR_OK || code == ERR_TIMEOUT ? maintain_drop_between(maintain, drop, err)
                                                 : code;
}

/* Whoever keeps answers or points must not give out what is gone: at once behind each commit, for
 * the next one may wait long for its turn. Behind one that failed, too: it may have been made. */
static void
forget_day(struct maintain *maintain, enum table_id table, int32_t day)
{
    engine_hot_invalidate(maintain->engine, table, cold_day_begin_us(day),
                          cold_day_end_us(day) - 1);
}

static void
forget_files(struct maintain *maintain, const struct cold_file *files, size_t count,
             enum cold_kind kind)
{
    const struct cold_file *last = NULL;

    for (size_t i = 0; i < count; i++) {
        bool same = last && last->table == files[i].table && last->day == files[i].day;
        if (files[i].kind == kind && !same) {
            forget_day(maintain, files[i].table, files[i].day);
            last = &files[i];
        }
    }
}

/* Takes `files` off the list. One call a kind, for a raw file's name is that of its rollups. */
static enum err_code
delist(struct maintain *maintain, const struct cold_file *files, size_t count, struct err *err)
{
    const char **names MEM_AUTO = mem_zalloc(count + 1, sizeof(*names));
    enum err_code code = ERR_OK;

    for (int kind = 0; kind < COLD_KIND_COUNT && code == ERR_OK; kind++) {
        size_t found = 0;
        for (size_t i = 0; i < count; i++) {
            if (files[i].kind == (enum cold_kind)kind) {
                names[found++] = files[i].name;
            }
        }
        names[found] = NULL;
        struct cold_drop drop = {.names = names, .kind = (enum cold_kind)kind};
        if (found > 0) {
            code = drop_at_turn(maintain, &drop, err);
            forget_files(maintain, files, count, (enum cold_kind)kind);
        }
    }
    return code;
}

static enum err_code
drop_hot(struct maintain *maintain, const struct retention_step *step, struct err *err)
{
    const char **metrics MEM_AUTO = mem_zalloc(step->metric_count + 1, sizeof(*metrics));
    struct cold_drop drop = {.metrics = step->metric_count > 0 ? metrics : NULL,
                             .kind = COLD_KIND_COUNT,
                             .table = step->table,
                             .hot = true,
                             .first_day = step->day,
                             .last_day = step->day};

    for (size_t i = 0; i < step->metric_count; i++) {
        metrics[i] = step->metrics[i].name;
    }
    enum err_code code = drop_at_turn(maintain, &drop, err);
    forget_day(maintain, step->table, step->day);
    return code;
}

static enum err_code
unlink_all(struct maintain *maintain, const struct cold_file *files, size_t count, struct err *err)
{
    enum err_code code = ERR_OK;

    if (atomic_load(&maintain->engine->cold_held) > 0) {
        return ERR_OK; /* they are copied just now; collecting removes them later */
    }
    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        code = cold_unlink(maintain->cold_dir, &files[i], err);
        code = code ? code : failpoint_fails("dropped.unlinked", err);
    }
    return code;
}

enum err_code
maintain_drop(struct maintain *maintain, const struct retention_step *step, struct err *err)
{
    /* First the note: a crash from here on is finished by maintain_finish_drops, and a snapshot
     * that lists the files is not missing them. */
    enum err_code code =
        cold_ledger_add(maintain->cold_dir, COLD_DROPPED, step->files, step->file_count, err);

    code = code || step->file_count == 0 ? code : failpoint_fails("dropped.noted", err);
    if (code == ERR_OK && (step->hot_rows > 0 || step->metric_count > 0) && !step->seal_first) {
        code = drop_hot(maintain, step, err);
    }
    code = code ? code : delist(maintain, step->files, step->file_count, err);
    return code ? code : unlink_all(maintain, step->files, step->file_count, err);
}

enum err_code
maintain_finish_drops(struct maintain *maintain, struct err *err)
{
    struct cold_names dropped COLD_NAMES_AUTO = {0};
    struct cold_file *files MEM_AUTO = NULL;
    size_t count = 0;
    size_t left = 0;
    enum err_code code = cold_ledger_read(maintain->cold_dir, COLD_DROPPED, &dropped, err);

    code = code ? code : engine_cold_list(maintain->engine, &files, &count, err);
    if (code != ERR_OK) {
        return code;
    }
    for (size_t i = 0; i < count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&files[i], relative);
        if (cold_names_has(&dropped, relative)) {
            files[left++] = files[i];
        }
    }
    code = delist(maintain, files, left, err);
    code = code ? code : unlink_all(maintain, files, left, err);
    if (code == ERR_OK && left > 0) {
        engine_event(maintain->engine, false,
                     "finished dropping %zu cold files that retention had begun to drop", left);
    }
    return code;
}

/* ---- collecting ---- */

/* The names that may not be removed, or must. */
struct collecting {
    struct maintain *maintain;
    struct cold_names listed;
    struct cold_names needed; /* by snapshots that are kept, or missing once and back again */
    struct cold_names dropped;
    struct cold_names on_disk; /* of the dropped ones */
    int64_t now_us;
    int64_t grace_us;
    uint64_t files;
    uint64_t bytes;
};

static enum err_code
read_names(struct collecting *collecting, struct err *err)
{
    struct maintain *maintain = collecting->maintain;
    struct cold_file *files MEM_AUTO = NULL;
    size_t count = 0;
    enum err_code code = engine_cold_list(maintain->engine, &files, &count, err);

    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&files[i], relative);
        cold_names_add(&collecting->listed, relative);
    }
    cold_names_sort(&collecting->listed);
    code =
        code ? code : cold_ledger_read(maintain->cold_dir, COLD_DROPPED, &collecting->dropped, err);
    return code ? code
                : cold_ledger_read(maintain->cold_dir, COLD_MISSING, &collecting->needed, err);
}

/* A snapshot whose sidecar is missing or damaged may need any file: then nothing is collected but
 * what retention dropped. */
static bool
read_sidecars(struct collecting *collecting)
{
    const char *data_dir = collecting->maintain->engine->data_dir;
    uint64_t lsns[SNAPSHOTS_MAX];
    size_t count = datadir_snapshots(data_dir, lsns, SNAPSHOTS_MAX);

    for (size_t i = 0; i < count; i++) {
        char path[ENGINE_PATH_MAX];
        struct err ignored;
        datadir_sidecar_path(data_dir, lsns[i], path, sizeof(path));
        if (cold_sidecar_read(path, &collecting->needed, &ignored) != ERR_OK) {
            return false;
        }
    }
    cold_names_sort(&collecting->needed);
    return count < SNAPSHOTS_MAX;
}

/* Since when the file is known to be listed by nobody. */
static struct maintain_orphan *
find_orphan(struct maintain *maintain, const char *relative, int64_t now_us)
{
    for (size_t i = 0; i < maintain->orphan_count; i++) {
        if (strcmp(maintain->orphans[i].relative, relative) == 0) {
            return &maintain->orphans[i];
        }
    }
    maintain->orphans =
        mem_resize(maintain->orphans, maintain->orphan_count + 1, sizeof(*maintain->orphans));
    struct maintain_orphan *orphan = &maintain->orphans[maintain->orphan_count++];
    *orphan = (struct maintain_orphan){.since_us = now_us};
    snprintf(orphan->relative, sizeof(orphan->relative), "%s", relative);
    return orphan;
}

static enum err_code
note_orphan(void *ctx, const struct cold_file *file, struct err *err)
{
    struct maintain *maintain = ctx;
    char relative[COLD_RELATIVE_MAX];

    (void)err;
    cold_relative(file, relative);
    if (!cold_names_has(&maintain->first_listed, relative)) {
        find_orphan(maintain, relative, INT64_MIN / 2); /* long ago */
    }
    return ERR_OK;
}

void
maintain_note_orphans(struct maintain *maintain)
{
    struct err ignored; /* collecting will tell */

    if (maintain->first_known) {
        cold_walk(maintain->cold_dir, note_orphan, maintain, &ignored);
    }
    cold_names_fini(&maintain->first_listed);
}

static enum err_code
collect_file(void *ctx, const struct cold_file *file, struct err *err)
{
    struct collecting *collecting = ctx;
    struct maintain *maintain = collecting->maintain;
    char relative[COLD_RELATIVE_MAX];

    cold_relative(file, relative);
    if (cold_names_has(&collecting->listed, relative)) {
        return ERR_OK;
    }
    bool dropped = cold_names_has(&collecting->dropped, relative);
    if (dropped) {
        cold_names_add(&collecting->on_disk, relative);
    } else if (cold_names_has(&collecting->needed, relative)) {
        return ERR_OK;
    }
    struct maintain_orphan *orphan = find_orphan(maintain, relative, collecting->now_us);
    orphan->seen = true;
    if (!dropped && collecting->now_us - orphan->since_us < collecting->grace_us) {
        return ERR_OK;
    }
    enum err_code code = cold_unlink(maintain->cold_dir, file, err);
    code = code ? code : failpoint_fails("gc.unlinked", err);
    collecting->files += code == ERR_OK;
    collecting->bytes += code == ERR_OK ? file->bytes : 0;
    orphan->seen = code != ERR_OK;
    return code;
}

static void
forget_orphans(struct maintain *maintain)
{
    size_t kept = 0;

    for (size_t i = 0; i < maintain->orphan_count; i++) {
        if (maintain->orphans[i].seen) {
            maintain->orphans[kept] = maintain->orphans[i];
            maintain->orphans[kept++].seen = false;
        }
    }
    maintain->orphan_count = kept;
}

/* A name may leave the ledger when nothing can list its file any more. */
static enum err_code
trim_ledger(struct collecting *collecting, struct err *err)
{
    struct cold_names kept COLD_NAMES_AUTO = {0};

    if (collecting->dropped.count <= LEDGER_KEPT) {
        return ERR_OK;
    }
    cold_names_sort(&collecting->on_disk);
    for (size_t i = 0; i < collecting->dropped.count; i++) {
        const char *name = collecting->dropped.names[i];
        if (cold_names_has(&collecting->listed, name) ||
            cold_names_has(&collecting->needed, name) ||
            cold_names_has(&collecting->on_disk, name)) {
            cold_names_add(&kept, name);
        }
    }
    return cold_ledger_replace(collecting->maintain->cold_dir, COLD_DROPPED, &kept, err);
}

static void
free_collecting(struct collecting *collecting)
{
    cold_names_fini(&collecting->listed);
    cold_names_fini(&collecting->needed);
    cold_names_fini(&collecting->dropped);
    cold_names_fini(&collecting->on_disk);
}

static void
note_collected(struct maintain *maintain, const struct collecting *collecting)
{
    if (collecting->files == 0) {
        return;
    }
    pthread_mutex_lock(&maintain->lock);
    maintain->status.files_collected += collecting->files;
    maintain->status.bytes_collected += collecting->bytes;
    pthread_mutex_unlock(&maintain->lock);
    engine_event(maintain->engine, false,
                 "removed %" PRIu64 " cold files (%" PRIu64 " bytes) that nothing lists any more",
                 collecting->files, collecting->bytes);
}

enum err_code
maintain_collect(struct maintain *maintain, struct err *err)
{
    struct collecting collecting = {
        .maintain = maintain,
        .now_us = clock_mono_us(maintain->engine->clock),
        .grace_us = ((int64_t)maintain->engine->options.store.timeout_ms + GRACE_MS) * US_PER_MS,
    };

    if (atomic_load(&maintain->engine->cold_held) > 0) {
        return ERR_OK;
    }
    enum err_code code = read_names(&collecting, err);
    if (code == ERR_OK && read_sidecars(&collecting)) {
        code = cold_walk(maintain->cold_dir, collect_file, &collecting, err);
        forget_orphans(maintain);
        code = code ? code : trim_ledger(&collecting, err);
    }
    note_collected(maintain, &collecting);
    free_collecting(&collecting);
    return code;
}

/* ---- the manifest ---- */

static uint64_t
hash_list(const struct cold_file *files, size_t count)
{
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */

    for (size_t i = 0; i < count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&files[i], relative);
        for (const char *at = relative; *at; at++) {
            hash = (hash ^ (unsigned char)*at) * UINT64_C(1099511628211);
        }
    }
    return hash ? hash : 1;
}

static enum err_code
keep_series(void *ctx, struct store *store, struct err *err)
{
    struct maintain *maintain = ctx;

    return series_file_sync(maintain->engine->series, store, err);
}

enum err_code
maintain_manifest(struct maintain *maintain, struct err *err)
{
    struct cold_file *files MEM_AUTO = NULL;
    size_t count = 0;
    uint64_t lsn = engine_applied_lsn(maintain->engine);
    enum err_code code = engine_cold_list(maintain->engine, &files, &count, err);

    if (code != ERR_OK) {
        return code;
    }
    /* Also for files that were sealed before series were kept, that were restored, or adopted. */
    code = engine_with_store(maintain->engine, keep_series, maintain, err);
    if (code != ERR_OK) {
        return code;
    }
    uint64_t hash = hash_list(files, count);
    if (hash == maintain->manifest_hash) {
        return ERR_OK;
    }
    const struct cold_manifest manifest = {
        .lsn = lsn,
        .written_us = clock_wall_us(maintain->engine->clock),
        .files = files,
        .count = count,
    };
    code = cold_manifest_write(maintain->cold_dir, &manifest, err);
    maintain->manifest_hash = code ? maintain->manifest_hash : hash;
    return code;
}
