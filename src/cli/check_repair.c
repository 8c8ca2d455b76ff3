/*
 * eider check --repair. First what can be moved or put back file by file, then the log, then the
 * database, which the engine rebuilds from snapshot and log when it is opened, or which is made
 * anew with the cold files of their manifest when both copies of it are lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "backup/backup.h"
#include "base/mem.h"
#include "cli/check_repair.h"
#include "cli/target.h"
#include "server/open_engine.h"
#include "store/cold.h"
#include "store/failpoint.h"

enum {
    APPLY_MS = 24 * 3600 * 1000,
    LOCK_MODE = 0640,
    NAMES_MAX = 10000,
    ROUND_NAP_NS = 10000000,
    ROUND_NAPS = 60000
};

void
repair_did(const struct repairing *repairing, const char *what, const char *path)
{
    cli_note(repairing->check->cli, "%s %s", what, path);
}

/* A raw file and its rollups have one name, so the directories belong to it. */
static enum err_code
name_aside(const struct repairing *repairing, const char *dir, const char *path,
           char ret_to[FILES_PATH_MAX], struct err *err)
{
    struct slice name = slice_of(path);
    struct slice data_dir = slice_of(repairing->check->config->data_dir);
    char flat[256];
    size_t len = 0;

    if (slice_starts(name, repairing->check->config->data_dir)) {
        name = slice_sub(name, data_dir.len, name.len);
    }
    for (size_t i = 0; i < name.len && len < sizeof(flat) - 1; i++) {
        if (name.ptr[i] != '/') {
            flat[len++] = name.ptr[i];
        } else if (len > 0) {
            flat[len++] = '-';
        }
    }
    flat[len] = '\0';
    for (unsigned i = 0; i < NAMES_MAX; i++) {
        char again[16] = "";
        if (i > 0) {
            snprintf(again, sizeof(again), "-%u", i);
        }
        snprintf(ret_to, FILES_PATH_MAX, "%.3000s/%s%s-%s", dir, repairing->stamp, again, flat);
        if (access(ret_to, F_OK) != 0) {
            return ERR_OK;
        }
    }
    return err_set(err, ERR_CONFLICT, "%s has too many files of the name %s", dir, flat);
}

enum err_code
repair_set_aside(const struct repairing *repairing, const char *path, struct err *err)
{
    char dir[FILES_PATH_MAX];
    char to[FILES_PATH_MAX];

    snprintf(dir, sizeof(dir), "%.3000s/quarantine", repairing->check->config->data_dir);
    enum err_code code = files_make_dirs(dir, err);
    code = code ? code : name_aside(repairing, dir, path, to, err);
    if (code == ERR_OK && rename(path, to) != 0) {
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "cannot move %s to %s", path, to);
    }
    code = code ? code : files_sync_dir(dir, err);
    code = code ? code : files_sync_parent(path, err);
    if (code == ERR_OK && !repairing->quiet) {
        repair_did(repairing, "set aside:", to);
    }
    return code;
}

enum copy { COPY_NONE, COPY_DAMAGED, COPY_FOUND };

/* The pool's files are named by what is in them, so the checksum finds the right one. Only a name
 * that is not there, or bytes that were read and are others, say that a backup does not have it. */
static enum err_code
find_copy(const struct repairing *repairing, const struct finding *finding,
          char ret_from[FILES_PATH_MAX], enum copy *ret_copy, struct err *err)
{
    const struct manifest_file wanted = {.file = finding->file, .cold = true};
    char relative[MANIFEST_PATH_MAX];
    char sum[FILES_SUM_MAX];
    uint64_t bytes;

    *ret_copy = COPY_NONE;
    manifest_pool_path(&wanted, relative);
    for (size_t i = 0; i < repairing->pools->count; i++) {
        enum err_code code = files_join(repairing->pools->at[i], relative, ret_from, err);
        code = code ? code : files_sum(ret_from, sum, &bytes, err);
        if (code == ERR_OK && strcmp(sum, finding->file.checksum) == 0) {
            *ret_copy = COPY_FOUND;
            return ERR_OK;
        }
        if (code != ERR_OK && code != ERR_NOT_FOUND) {
            return err_context(err, code, "whether a backup has a lost file is not known");
        }
        if (code == ERR_OK) {
            /* On one disk both may be names of the same bytes. */
            *ret_copy = COPY_DAMAGED;
            repair_did(repairing, "its copy in the backup is damaged, too:", ret_from);
        }
    }
    return ERR_OK;
}

static enum err_code
put_back(const struct repairing *repairing, const struct finding *finding, const char *from,
         struct err *err)
{
    const struct files_copy copy = {from, finding->path, UINT64_MAX};
    char dir[FILES_PATH_MAX];

    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(finding->path, '/') - finding->path),
             finding->path);
    enum err_code code = files_make_dirs(dir, err);
    code = code ? code : files_copy(&copy, NULL, err);
    code = code ? code : files_sync_dir(dir, err);
    if (code == ERR_OK) {
        repair_did(repairing, "put back from the backup:", finding->path);
    }
    return code;
}

static const char *
without(const struct repairing *repairing, const struct finding *finding, enum copy copy)
{
    bool named = repairing->pools->count > 0;

    if (finding->repair == REPAIR_GIVEN_UP) {
        return copy == COPY_DAMAGED ? "stays off the list:"
               : named              ? "no backup there has it, it stays off the list:"
                                    : "no backup is named (--from DIR), it stays off the list:";
    }
    return copy == COPY_DAMAGED ? "the next start goes on without:"
           : named              ? "no backup there has it, the next start goes on without:"
                   : "no backup is named (--from DIR), the next start goes on without:";
}

static enum err_code
repair_cold(const struct repairing *repairing, const struct finding *finding, struct err *err)
{
    char from[FILES_PATH_MAX];
    enum copy copy;
    enum err_code code = find_copy(repairing, finding, from, &copy, err);

    if (code == ERR_OK && copy != COPY_FOUND && finding->unreadable) {
        repair_did(repairing,
                   "cannot be read here, and is in no backup; left as it is:", finding->path);
        return ERR_OK;
    }
    if (code == ERR_OK && access(finding->path, F_OK) == 0) {
        code = repair_set_aside(repairing, finding->path, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    if (copy == COPY_FOUND) {
        return put_back(repairing, finding, from, err);
    }
    repair_did(repairing, without(repairing, finding, copy), finding->path);
    return ERR_OK;
}

/* ---- forgetting ---- */

static enum err_code
forget(const struct repairing *repairing, const struct cold_file *file, const char *path,
       struct err *err)
{
    char dir[FILES_PATH_MAX];

    snprintf(dir, sizeof(dir), "%.3000s/cold", repairing->check->config->data_dir);
    enum err_code code = cold_missing_forget(dir, file, err);
    if (code == ERR_OK) {
        repair_did(repairing, "given up for good:", path);
    }
    return code;
}

/* Of a file whose name alone is known the manifests of backups tell whether they have it. */
static enum err_code
is_in_backup(const char *pool, const struct cold_file *file, bool *ret_is, struct err *err)
{
    struct backup_entry *entries MEM_AUTO = NULL;
    size_t count = 0;
    enum err_code code = backup_list(pool, &entries, &count, err);

    for (size_t i = 0; i < count && code == ERR_OK && !*ret_is; i++) {
        struct manifest manifest MANIFEST_AUTO = {0};
        code = manifest_read(pool, entries[i].id, &manifest, err);
        for (size_t k = 0; k < manifest.file_count && code == ERR_OK; k++) {
            *ret_is = *ret_is || (manifest.files[k].cold &&
                                  cold_file_compare(&manifest.files[k].file, file) == 0);
        }
    }
    return code;
}

static enum err_code
forget_one(const struct repairing *repairing, const struct finding *finding, struct err *err)
{
    bool is_there = access(finding->path, F_OK) == 0; /* put back, or left as it is */
    bool has = false;
    enum err_code code = ERR_OK;

    if (!is_there && errno != ENOENT) {
        return err_sys(err, errno, "cannot look at %s", finding->path);
    }
    for (size_t i = 0; i < repairing->pools->count && finding->repair == REPAIR_FORGET; i++) {
        code =
            code || has ? code : is_in_backup(repairing->pools->at[i], &finding->file, &has, err);
    }
    if (code == ERR_OK && has) {
        repair_did(repairing, "a backup has it, restore that; not given up:", finding->path);
    }
    return code || has || is_there ? code : forget(repairing, &finding->file, finding->path, err);
}

/* Behind all else, so that nothing is forgotten when anything before went wrong. */
static enum err_code
forget_lost(const struct repairing *repairing, struct err *err)
{
    const struct check *check = repairing->check;
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < check->finding_count && code == ERR_OK; i++) {
        const struct finding *finding = &check->findings[i];
        if (finding->repair == REPAIR_GIVEN_UP || finding->repair == REPAIR_FORGET) {
            code = forget_one(repairing, finding, err);
        }
    }
    return code;
}

/* Why the start that was just made did not list it, when that stays so; else NULL. */
static const char *
lasting_refusal(const struct check_refusals *refusals, const struct cold_file *file)
{
    for (size_t i = refusals->count; i > 0; i--) {
        const struct check_refusal *refusal = &refusals->at[i - 1];
        if (cold_file_compare(&refusal->file, file) == 0) {
            bool lasts = strcmp(refusal->why, COLD_BACK_TWICE) == 0 ||
                         strcmp(refusal->why, COLD_BACK_NO_RAW) == 0 ||
                         strcmp(refusal->why, COLD_BACK_COUNTED) == 0;
            return lasts ? refusal->why : NULL;
        }
    }
    return NULL;
}

/* Whole files that were there before this repair and that its start could not list: their bytes
 * stay in quarantine. */
static enum err_code
forget_refused(const struct repairing *repairing, struct err *err)
{
    const struct check *check = repairing->check;
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < check->finding_count && code == ERR_OK; i++) {
        const struct finding *finding = &check->findings[i];
        const char *why = finding->repair == REPAIR_BACK
                              ? lasting_refusal(repairing->refusals, &finding->file)
                              : NULL;
        if (why) {
            code = repair_set_aside(repairing, finding->path, err);
            code = code ? code : forget(repairing, &finding->file, finding->path, err);
        }
    }
    return code;
}

enum err_code
repair_options(const struct repairing *repairing, struct engine_options *ret_options,
               struct err *err)
{
    return server_engine_options(repairing->check->config, ret_options, err);
}

static void
tell(void *ctx, bool is_problem, const char *text)
{
    (void)is_problem;
    cli_note(ctx, "%s", text);
}

static void
note_refused(void *ctx, const struct cold_file *file, const char *why)
{
    struct check_refusals *refusals = ctx;

    if (why) {
        refusals->at = mem_resize(refusals->at, refusals->count + 1, sizeof(*refusals->at));
        refusals->at[refusals->count++] = (struct check_refusal){*file, why};
    }
}

/* The first round writes what stands beside the cold files. What it fails at, the next look tells.
 */
static void
wait_maintained(struct engine *engine)
{
    const struct timespec nap = {.tv_nsec = ROUND_NAP_NS};
    struct maintain_status status;

    engine_maintain_status(engine, &status);
    for (int i = 0; i < ROUND_NAPS && status.state != MAINTAIN_OFF && status.rounds == 0; i++) {
        nanosleep(&nap, NULL);
        engine_maintain_status(engine, &status);
    }
}

/* The engine mends what it can when it opens: a torn tail, a database that does not open, files
 * that are listed and missing. */
static enum err_code
open_and_close(const struct repairing *repairing, bool adopted, struct err *err)
{
    struct engine_options options;
    struct engine_status status;
    struct engine *engine = NULL;
    enum err_code code = repair_options(repairing, &options, err);

    if (code != ERR_OK) {
        return code;
    }
    options.event = tell;
    options.event_ctx = repairing->check->cli;
    options.store.cold_back = note_refused;
    options.store.cold_back_ctx = repairing->refusals;
    code = engine_open(&options, &engine, err);
    if (code != ERR_OK) {
        return code;
    }
    engine_status(engine, &status);
    if (status.durable_lsn > 0) {
        code = engine_wait_applied(engine, status.durable_lsn, APPLY_MS, err);
    }
    if (code == ERR_OK && adopted) {
        code = repair_name_series(repairing, engine, err);
    }
    if (code == ERR_OK) {
        wait_maintained(engine);
    }
    engine_close(engine);
    return code;
}

/* At once, so that no crash leaves a directory without a log, which a start would begin anew. */
static enum err_code
put_salvaged(const struct repairing *repairing, const char *wal, const char *salvage,
             struct err *err)
{
    if (access(salvage, F_OK) != 0) {
        return repair_set_aside(repairing, wal, err); /* nothing of it can be read */
    }
    if (renameat2(AT_FDCWD, salvage, AT_FDCWD, wal, RENAME_EXCHANGE) != 0) {
        if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) {
            return err_sys(err, errno, "cannot exchange %s and %s", salvage, wal);
        }
        enum err_code code = repair_set_aside(repairing, wal, err);
        if (code == ERR_OK && rename(salvage, wal) != 0) {
            code = err_sys(err, errno, "cannot rename %s to %s", salvage, wal);
        }
        return code;
    }
    enum err_code code = files_sync_parent(wal, err);
    code = code ? code : failpoint_fails("salvage.swapped", err);
    return code ? code : repair_set_aside(repairing, salvage, err);
}

/* The whole records in front of the damage are a log of their own. */
static enum err_code
repair_log(const struct repairing *repairing, struct err *err)
{
    const char *data_dir = repairing->check->config->data_dir;
    char wal[FILES_PATH_MAX];
    char salvage[FILES_PATH_MAX];
    uint64_t last_lsn = 0;

    snprintf(wal, sizeof(wal), "%.3000s/wal", data_dir);
    snprintf(salvage, sizeof(salvage), "%.3000s/wal.salvaged", data_dir);
    /* Of a repair that was cut short: half a copy, or the damaged log itself. */
    enum err_code code = repair_set_aside(repairing, salvage, err);
    code =
        code ? code
             : backup_salvage_log(wal, salvage, repairing->check->applied_lsn + 1, &last_lsn, err);
    code = code ? code : put_salvaged(repairing, wal, salvage, err);
    code = code ? code : files_sync_dir(data_dir, err);
    if (code == ERR_OK) {
        cli_note(repairing->check->cli,
                 "the log was readable up to record %" PRIu64 "; later ones are set aside with it",
                 last_lsn);
    }
    return code;
}

/* ---- in order ---- */

static enum err_code
repair_one(const struct repairing *repairing, const struct finding *finding, struct err *err)
{
    switch (finding->repair) {
    case REPAIR_SET_ASIDE:
        return access(finding->path, F_OK) == 0 ? repair_set_aside(repairing, finding->path, err)
                                                : ERR_OK;
    case REPAIR_COLD_FILE:
    case REPAIR_GIVEN_UP:
        return repair_cold(repairing, finding, err);
    case REPAIR_LOG:
        return repair_log(repairing, err);
    case REPAIR_ADOPT:
        return repair_adopt(repairing, err);
    case REPAIR_NONE:
    case REPAIR_OPEN:
    case REPAIR_BACK:
    case REPAIR_FORGET:
        break;
    }
    return ERR_OK;
}

/* Nobody may start meanwhile; the engine takes the lock itself afterwards. */
static enum err_code
lock_directory(const char *data_dir, int *ret_fd, struct err *err)
{
    char path[FILES_PATH_MAX];
    enum err_code code = files_join(data_dir, "lock", path, err);

    if (code != ERR_OK) {
        return code;
    }
    *ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, LOCK_MODE);
    if (*ret_fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    if (flock(*ret_fd, LOCK_EX | LOCK_NB) != 0) {
        close(*ret_fd);
        return err_set(err, ERR_CONFLICT, "another process has %s: stop it before a repair",
                       data_dir);
    }
    return ERR_OK;
}

/* DIR, or one backup in it, whose files are in the same pool. */
static char *
pool_of(const char *from)
{
    struct slice dir = slice_of(from);

    while (dir.len > 1 && dir.ptr[dir.len - 1] == '/') {
        dir.len--;
    }
    char *pool = mem_strdup(dir);
    char *slash = strrchr(pool, '/');
    if (slash && slash > pool && backup_is_id(slash + 1)) {
        *slash = '\0';
    }
    return pool;
}

void
check_pools_free(struct check_pools *pools)
{
    for (size_t i = 0; i < pools->count; i++) {
        free(pools->at[i]);
    }
    pools->count = 0;
}

/* Why a directory is no place to look for files in, or an empty text; `whole`: every backup in it
 * must be readable, so that one can say what it does not have. */
static void
look_at_pool(const char *pool, bool whole, char ret_problem[ERR_MSG_MAX])
{
    struct backup_entry *entries MEM_AUTO = NULL;
    char files[FILES_PATH_MAX];
    size_t count = 0;
    struct err why = {0};
    enum err_code code = backup_list(pool, &entries, &count, &why);

    ret_problem[0] = '\0';
    if (code != ERR_OK || count == 0) {
        snprintf(ret_problem, ERR_MSG_MAX, "%s",
                 code == ERR_NOT_FOUND ? "there is no such directory"
                 : code != ERR_OK      ? why.msg
                                       : "there is no backup of Eider in it");
        return;
    }
    for (size_t i = 0; i < count && whole && !ret_problem[0]; i++) {
        if (entries[i].problem.code != ERR_OK) {
            snprintf(ret_problem, ERR_MSG_MAX, "%.400s", entries[i].problem.msg);
        }
    }
    snprintf(files, sizeof(files), "%.4000s/files", pool);
    if (whole && !ret_problem[0] && access(files, R_OK | X_OK) != 0) {
        snprintf(ret_problem, ERR_MSG_MAX, "%.300s cannot be read: %s", files,
                 strerrordesc_np(errno));
    }
}

/* `option` is where it was named. */
static enum err_code
add_pool(const struct check *check, const char *option, const char *from, struct check_pools *pools,
         struct err *err)
{
    bool forgets = cli_has(check->cli, "forget-missing");
    char *pool MEM_AUTO = pool_of(from);
    char problem[ERR_MSG_MAX];

    look_at_pool(pool, forgets, problem);
    if (!problem[0]) {
        pools->at[pools->count++] = mem_strdup(slice_of(pool));
        return ERR_OK;
    }
    if (forgets) {
        return err_set(err, ERR_CONFLICT,
                       "%s is %.1000s: %.300s; --forget-missing gives up what no backup has, so "
                       "all of it must be read; nothing was repaired",
                       option, from, problem);
    }
    if (strcmp(option, "--from") == 0) {
        return err_set(err, ERR_NOT_FOUND, "--from is %s: %s; nothing was repaired", from, problem);
    }
    cli_note(check->cli, "%s is %s: %s; nothing is taken from a backup", option, from, problem);
    return ERR_OK;
}

enum err_code
check_find_backups(const struct check *check, struct check_pools *ret_pools, struct err *err)
{
    const char *named = cli_value(check->cli, "from");
    const char *configured = check->config->backup.dir;
    enum err_code code = named ? add_pool(check, "--from", named, ret_pools, err) : ERR_OK;

    /* What is forgotten must be in none of the two. */
    if (code == ERR_OK && configured && (!named || cli_has(check->cli, "forget-missing"))) {
        code = add_pool(check, "backup.dir", configured, ret_pools, err);
    }
    return code;
}

enum err_code
check_repair(const struct check *check, const struct check_pools *pools,
             struct check_refusals *refusals, struct err *err)
{
    struct repairing repairing = {.check = check, .pools = pools, .refusals = refusals};
    const struct clock *clock = check->cli->clock ? check->cli->clock : clock_system();
    bool forgets = cli_has(check->cli, "forget-missing");
    bool wants_open = false;
    bool adopted = false;
    int lock = -1;
    enum err_code code = lock_directory(check->config->data_dir, &lock, err);

    if (code != ERR_OK) {
        return code;
    }
    time_format_iso8601(clock_wall_us(clock), repairing.stamp);
    for (size_t i = 0; i < check->finding_count && code == ERR_OK; i++) {
        const struct finding *finding = &check->findings[i];
        wants_open = wants_open || finding->repair != REPAIR_NONE;
        adopted = adopted || finding->repair == REPAIR_ADOPT;
        code = repair_one(&repairing, finding, err);
    }
    code = code || !forgets ? code : forget_lost(&repairing, err);
    close(lock);
    code = code == ERR_OK && wants_open ? open_and_close(&repairing, adopted, err) : code;
    if (code != ERR_OK || !forgets) {
        return code;
    }
    code = lock_directory(check->config->data_dir, &lock, err);
    if (code == ERR_OK) {
        code = forget_refused(&repairing, err);
        close(lock);
    }
    return code;
}
