/* The directory of backups: lock, pool of files, listing, verification, pruning. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "backup/private.h"
#include "base/mem.h"
#include "store/failpoint.h"

enum { LOCK_MODE = 0640, ID_LEN = 20 };

/* 20261121T103000.123Z */
bool
backup_is_id(const char *name)
{
    if (strlen(name) != ID_LEN || name[8] != 'T' || name[15] != '.' || name[19] != 'Z') {
        return false;
    }
    for (size_t i = 0; i < ID_LEN; i++) {
        bool is_mark = i == 8 || i == 15 || i == 19;
        if (!is_mark && (name[i] < '0' || name[i] > '9')) {
            return false;
        }
    }
    return true;
}

enum err_code
pool_lock(const char *dir, bool exclusive, int *ret_fd, struct err *err)
{
    char path[FILES_PATH_MAX];
    enum err_code code = files_join(dir, "lock", path, err);

    if (code != ERR_OK) {
        return code;
    }
    int fd = open(path, exclusive ? O_RDWR | O_CREAT | O_CLOEXEC : O_RDONLY | O_CLOEXEC, LOCK_MODE);
    if (fd < 0 && !exclusive) {
        /* A copy without its lock, or one on a medium that is read-only: nobody writes to it. */
        *ret_fd = -1;
        return ERR_OK;
    }
    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    if (flock(fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) != 0) {
        int sys = errno;
        close(fd);
        if (sys == EWOULDBLOCK) {
            return err_set(err, ERR_CONFLICT,
                           "another process is at work on the backups in %s; try again when it "
                           "has ended",
                           dir);
        }
        return err_sys(err, sys, "cannot lock %s", path);
    }
    *ret_fd = fd;
    return ERR_OK;
}

static bool
has_manifest(const char *dir, const char *id)
{
    char path[FILES_PATH_MAX];

    return snprintf(path, sizeof(path), "%s/%s/manifest.json", dir, id) < (int)sizeof(path) &&
           access(path, F_OK) == 0;
}

enum err_code
pool_ids(const char *dir, struct files_names *ret_ids, struct err *err)
{
    struct files_names names;
    size_t kept = 0;

    if (access(dir, F_OK) != 0) {
        return err_set(err, ERR_NOT_FOUND, "there is no directory %s with backups", dir);
    }
    enum err_code code = files_list(dir, &names, err);
    if (code != ERR_OK) {
        return code;
    }
    for (size_t i = 0; i < names.count; i++) {
        if (backup_is_id(names.at[i]) && has_manifest(dir, names.at[i])) {
            names.at[kept++] = names.at[i];
        } else {
            free(names.at[i]);
        }
    }
    names.count = kept;
    *ret_ids = names;
    return ERR_OK;
}

static enum err_code
drop_temporary(void *ctx, const char *relative, struct err *err)
{
    char path[FILES_PATH_MAX];
    enum err_code code = ERR_OK;

    if (slice_ends(slice_of(relative), ".tmp")) {
        code = files_join(ctx, relative, path, err);
        if (code == ERR_OK && unlink(path) != 0 && errno != ENOENT) {
            code = err_sys(err, errno, "cannot remove %s", path);
        }
    }
    return code;
}

enum err_code
pool_clean(const char *dir, struct err *err)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    char path[FILES_PATH_MAX];
    enum err_code code = files_list(dir, &names, err);

    for (size_t i = 0; code == ERR_OK && i < names.count; i++) {
        if (backup_is_id(names.at[i]) && !has_manifest(dir, names.at[i])) {
            code = files_join(dir, names.at[i], path, err);
            code = code ? code : files_remove_tree(path, err);
        }
    }
    code = code ? code : files_join(dir, "files", path, err);
    return code ? code : files_walk(path, drop_temporary, path, err);
}

/* Whether the pool has this content: the name says so, and a file gets its name only when it is
 * whole; the size is looked at because a disk that failed may have taken bytes. */
static bool
has_file(const char *path, const struct manifest_file *file)
{
    return files_bytes(path) == file->file.bytes;
}

static enum err_code
prepare_place(const char *path, struct err *err)
{
    char dir[FILES_PATH_MAX];

    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
    return files_make_dirs(dir, err);
}

/* A cold file is immutable, so a second name does; what was linked or copied is read once to see
 * that it is what the list says. */
static enum err_code
put_cold(const char *from, const char *path, struct manifest_file *file, struct err *err)
{
    char sum[FILES_SUM_MAX];
    uint64_t bytes;
    enum err_code code = files_sum(from, sum, &bytes, err);

    if (code == ERR_OK && (bytes != file->file.bytes || strcmp(sum, file->file.checksum) != 0)) {
        return err_set(err, ERR_CORRUPT,
                       "the cold file %s is damaged (%" PRIu64 " bytes, checksum %s; listed with "
                       "%" PRIu64 " and %s): run \"eider check --explain\"",
                       from, bytes, sum, file->file.bytes, file->file.checksum);
    }
    return code ? code : files_link_or_copy(from, path, err);
}

enum err_code
pool_put(const char *dir, const char *from, struct manifest_file *file, struct err *err)
{
    const struct files_copy copy = {.from = from, .bytes_max = UINT64_MAX};
    char relative[MANIFEST_PATH_MAX];
    char path[FILES_PATH_MAX];
    enum err_code code = ERR_OK;

    if (!file->cold) {
        code = files_sum(from, file->file.checksum, &file->file.bytes, err);
    }
    manifest_pool_path(file, relative);
    code = code ? code : files_join(dir, relative, path, err);
    if (code != ERR_OK) {
        return code;
    }
    file->reused = has_file(path, file);
    if (file->reused) {
        return ERR_OK;
    }
    code = prepare_place(path, err);
    if (code == ERR_OK && file->cold) {
        code = put_cold(from, path, file, err);
    } else if (code == ERR_OK) {
        struct files_copy here = copy;
        here.to = path;
        code = files_copy(&here, NULL, err);
    }
    code = code ? code : failpoint_fails("backup.pooled", err);
    return code ? code : files_sync_parent(path, err);
}

enum err_code
backup_list(const char *dir, struct backup_entry **ret_entries, size_t *ret_count, struct err *err)
{
    struct files_names ids FILES_NAMES_AUTO = {0};
    enum err_code code = pool_ids(dir, &ids, err);

    if (code != ERR_OK) {
        return code;
    }
    struct backup_entry *entries = mem_zalloc(ids.count + 1, sizeof(*entries));
    for (size_t i = 0; i < ids.count; i++) {
        struct manifest manifest MANIFEST_AUTO = {0};
        struct backup_entry *entry = &entries[i];
        slice_to_cstr(slice_of(ids.at[i]), entry->id, sizeof(entry->id));
        if (manifest_read(dir, entry->id, &manifest, &entry->problem) == ERR_OK) {
            entry->problem.code = ERR_OK;
            memcpy(entry->database_id, manifest.database_id, sizeof(entry->database_id));
            entry->lsn = manifest.lsn;
            entry->taken_us = manifest.taken_us;
            entry->files = manifest.file_count;
            manifest_sum(&manifest, &entry->sums);
        }
    }
    *ret_entries = entries;
    *ret_count = ids.count;
    return ERR_OK;
}

/* ---- verification ---- */

static enum backup_damage
damage_of(enum err_code code)
{
    return code == ERR_NOT_FOUND ? BACKUP_MISSING : BACKUP_UNREADABLE;
}

/* ERR_OK, or what is wrong; *ret_damage says which kind. */
static enum err_code
verify_file(const struct backup_verify *verify, const struct manifest_file *file,
            enum backup_damage *ret_damage, struct err *err)
{
    char relative[MANIFEST_PATH_MAX];
    char path[FILES_PATH_MAX];
    char sum[FILES_SUM_MAX];
    uint64_t bytes;
    uint64_t rows = file->file.rows;

    manifest_pool_path(file, relative);
    enum err_code code = files_join(verify->dir, relative, path, err);
    code = code ? code : files_sum(path, sum, &bytes, err);
    if (code != ERR_OK) {
        *ret_damage = damage_of(code);
        return code;
    }
    if (bytes != file->file.bytes || strcmp(sum, file->file.checksum) != 0) {
        *ret_damage = BACKUP_WRONG_BYTES;
        return err_set(err, ERR_CORRUPT,
                       "%s has %" PRIu64 " bytes with checksum %s, the manifest says %" PRIu64
                       " and %s",
                       path, bytes, sum, file->file.bytes, file->file.checksum);
    }
    if (verify->rows && verify->rows(verify->ctx, path, &rows, err) != ERR_OK) {
        *ret_damage = BACKUP_UNREADABLE;
        return ERR_CORRUPT;
    }
    if (rows != file->file.rows) {
        *ret_damage = BACKUP_WRONG_ROWS;
        return err_set(err, ERR_CORRUPT, "%s has %" PRIu64 " rows, the manifest says %" PRIu64,
                       path, rows, file->file.rows);
    }
    return ERR_OK;
}

static enum err_code
verify_files(const struct backup_verify *verify, const struct manifest *manifest,
             struct backup_verified *result, struct err *err)
{
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct manifest_file *file = &manifest->files[i];
        enum backup_damage damage;
        struct err why;
        result->files++;
        if (verify_file(verify, file, &damage, &why) == ERR_OK) {
            result->bytes += file->file.bytes;
            result->rows += file->file.kind == COLD_RAW ? file->file.rows : 0;
            continue;
        }
        if (result->damaged++ == 0 && err) {
            *err = why;
        }
        if (verify->damage) {
            verify->damage(verify->ctx, file, damage, why.msg);
        }
    }
    if (result->damaged == 0) {
        return ERR_OK;
    }
    struct err first = *err;
    return err_set(err, ERR_CORRUPT, "%zu of %zu files of backup %s are damaged or missing: %s",
                   result->damaged, result->files, result->id, first.msg);
}

enum err_code
backup_verify(const struct backup_verify *verify, struct backup_verified *ret_result,
              struct err *err)
{
    struct files_names ids FILES_NAMES_AUTO = {0};
    struct manifest manifest MANIFEST_AUTO = {0};
    struct backup_verified result = {0};
    struct err ignored;
    const char *id = verify->id;
    int lock = -1;
    enum err_code code = pool_lock(verify->dir, false, &lock, err);

    code = code ? code : pool_ids(verify->dir, &ids, err);
    if (code == ERR_OK && !id && ids.count == 0) {
        code = err_set(err, ERR_NOT_FOUND, "there is no backup in %s", verify->dir);
    }
    if (code == ERR_OK) {
        id = id ? id : ids.at[ids.count - 1];
        slice_to_cstr(slice_of(id), result.id, sizeof(result.id));
    }
    code = code ? code : manifest_read(verify->dir, id, &manifest, err);
    if (code == ERR_OK) {
        code = verify_files(verify, &manifest, &result, err ? err : &ignored);
        *ret_result = result;
    }
    if (lock >= 0) {
        close(lock);
    }
    return code;
}

/* ---- pruning ---- */

/* The oldest backup of one database: the log behind it must be kept. */
struct lineage {
    char database_id[ID_UUID_LEN + 1];
    uint64_t lsn;
};

struct sweep {
    const char *dir;
    struct files_names needed; /* pool paths, sorted */
    struct lineage *lineages;
    size_t lineage_count;
    struct backup_pruned *pruned;
};

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static enum err_code
sweep_one(void *ctx, const char *relative, struct err *err)
{
    struct sweep *sweep = ctx;
    char name[FILES_PATH_MAX];
    char path[FILES_PATH_MAX];
    const char *key = name;
    enum err_code code = files_join("files", relative, name, err);

    code = code ? code : files_join(sweep->dir, name, path, err);
    if (code != ERR_OK ||
        bsearch(&key, sweep->needed.at, sweep->needed.count, sizeof(*sweep->needed.at), by_name)) {
        return code;
    }
    uint64_t bytes = files_bytes(path);
    if (unlink(path) != 0 && errno != ENOENT) {
        return err_sys(err, errno, "cannot remove %s", path);
    }
    sweep->pruned->files++;
    sweep->pruned->bytes += bytes == UINT64_MAX ? 0 : bytes;
    return ERR_OK;
}

static void
note_lineage(struct sweep *sweep, const struct manifest *manifest)
{
    for (size_t i = 0; i < sweep->lineage_count; i++) {
        struct lineage *lineage = &sweep->lineages[i];
        if (strcmp(lineage->database_id, manifest->database_id) == 0) {
            lineage->lsn = manifest->lsn < lineage->lsn ? manifest->lsn : lineage->lsn;
            return;
        }
    }
    sweep->lineages =
        mem_resize(sweep->lineages, sweep->lineage_count + 1, sizeof(*sweep->lineages));
    struct lineage *added = &sweep->lineages[sweep->lineage_count++];
    memcpy(added->database_id, manifest->database_id, sizeof(added->database_id));
    added->lsn = manifest->lsn;
}

/* What prune knows of each backup. */
struct known {
    const char *id;
    char database_id[ID_UUID_LEN + 1];
    uint64_t lsn;
    bool stays;
};

/* By database, newest first. The clock may have gone back between two backups, the LSN never does.
 */
static int
by_age(const void *a, const void *b)
{
    const struct known *x = a;
    const struct known *y = b;
    int order = strcmp(x->database_id, y->database_id);

    if (order == 0 && x->lsn != y->lsn) {
        return x->lsn > y->lsn ? -1 : 1;
    }
    return order ? order : strcmp(y->id, x->id);
}

static void
note_needed(struct sweep *sweep, const struct manifest *manifest)
{
    sweep->needed.at = mem_resize(sweep->needed.at, sweep->needed.count + manifest->file_count + 1,
                                  sizeof(*sweep->needed.at));
    for (size_t i = 0; i < manifest->file_count; i++) {
        char path[MANIFEST_PATH_MAX];
        manifest_pool_path(&manifest->files[i], path);
        sweep->needed.at[sweep->needed.count++] = mem_strdup(slice_of(path));
    }
    note_lineage(sweep, manifest);
}

static enum err_code
read_known(const char *dir, const struct files_names *ids, struct known *known, struct err *err)
{
    for (size_t i = 0; i < ids->count; i++) {
        struct manifest manifest MANIFEST_AUTO = {0};
        enum err_code code = manifest_read(dir, ids->at[i], &manifest, err);
        if (code != ERR_OK) {
            return err_context(err, ERR_CORRUPT,
                               "nothing is removed while a backup's files are unknown");
        }
        known[i] = (struct known){.id = ids->at[i], .lsn = manifest.lsn};
        memcpy(known[i].database_id, manifest.database_id, sizeof(known[i].database_id));
    }
    return ERR_OK;
}

/* Which stay, and what they need: the newest `keep` of each database. */
static enum err_code
choose_kept(const struct pool_prune *prune, struct known *known, size_t count, struct sweep *sweep,
            struct err *err)
{
    unsigned keep = prune->keep > 0 ? prune->keep : 1;
    size_t first = 0;

    if (count > 0) {
        qsort(known, count, sizeof(*known), by_age);
    }
    for (size_t i = 0; i < count; i++) {
        struct manifest manifest MANIFEST_AUTO = {0};
        first = strcmp(known[i].database_id, known[first].database_id) == 0 ? first : i;
        bool is_other = prune->database_id && strcmp(known[i].database_id, prune->database_id) != 0;
        known[i].stays = is_other || i - first < keep;
        if (!known[i].stays) {
            continue;
        }
        enum err_code code = manifest_read(prune->dir, known[i].id, &manifest, err);
        if (code != ERR_OK) {
            return code;
        }
        note_needed(sweep, &manifest);
    }
    if (sweep->needed.count > 0) {
        qsort(sweep->needed.at, sweep->needed.count, sizeof(*sweep->needed.at), by_name);
    }
    return ERR_OK;
}

/* The manifest goes first: a backup that lacks files must not look like one. */
static enum err_code
remove_backup(const char *dir, const char *id, struct err *err)
{
    char path[FILES_PATH_MAX];
    char manifest[FILES_PATH_MAX];
    enum err_code code = files_join(dir, id, path, err);

    code = code ? code : files_join(path, "manifest.json", manifest, err);
    if (code == ERR_OK && unlink(manifest) != 0 && errno != ENOENT) {
        code = err_sys(err, errno, "cannot remove %s", manifest);
    }
    code = code ? code : files_sync_dir(path, err);
    code = code ? code : failpoint_fails("backup.unlisted", err);
    return code ? code : files_remove_tree(path, err);
}

enum err_code
backup_prune(const char *dir, const char *wal_archive, unsigned keep,
             struct backup_pruned *ret_pruned, struct err *err)
{
    const struct pool_prune prune = {.dir = dir, .wal_archive = wal_archive, .keep = keep};

    return pool_prune(&prune, ret_pruned, err);
}

enum err_code
pool_prune(const struct pool_prune *prune, struct backup_pruned *ret_pruned, struct err *err)
{
    const char *dir = prune->dir;
    struct files_names ids FILES_NAMES_AUTO = {0};
    struct known *known MEM_AUTO = NULL;
    struct backup_pruned pruned = {0};
    struct sweep sweep = {.dir = dir, .pruned = &pruned};
    char path[FILES_PATH_MAX];
    int lock = -1;

    if (access(dir, F_OK) != 0) {
        return err_set(err, ERR_NOT_FOUND, "there is no directory %s with backups", dir);
    }
    /* First the lock: what is not among the ids is swept. */
    enum err_code code = pool_lock(dir, true, &lock, err);
    code = code ? code : pool_ids(dir, &ids, err);
    if (code == ERR_OK) {
        known = mem_zalloc(ids.count + 1, sizeof(*known));
        code = read_known(dir, &ids, known, err);
        code = code ? code : choose_kept(prune, known, ids.count, &sweep, err);
    }
    for (size_t i = 0; code == ERR_OK && i < ids.count; i++) {
        if (!known[i].stays) {
            code = remove_backup(dir, known[i].id, err);
            pruned.backups += code == ERR_OK;
        }
    }
    code = code ? code : files_join(dir, "files", path, err);
    code = code ? code : files_walk(path, sweep_one, &sweep, err);
    for (size_t i = 0; code == ERR_OK && prune->wal_archive && i < sweep.lineage_count; i++) {
        code = archive_prune(prune->wal_archive, sweep.lineages[i].database_id,
                             sweep.lineages[i].lsn, &pruned.segments, err);
    }
    free(sweep.lineages);
    files_names_free(&sweep.needed);
    if (lock >= 0) {
        close(lock);
    }
    if (code == ERR_OK && ret_pruned) {
        *ret_pruned = pruned;
    }
    return code;
}
