/*
 * The archive of the log: closed segments, whole, by the database's id, since two databases give
 * the same numbers to different records. A closed segment is one that a later header names: nothing
 * is written to it any more but that space behind its end may be given back.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backup/private.h"
#include "base/mem.h"
#include "store/failpoint.h"
#include "wal/wal_format.h"

enum { ID_FILE_MAX = 64 };

static bool
is_uuid(struct slice text)
{
    return text.len == ID_UUID_LEN && strspn(text.ptr, "0123456789abcdef-") >= (size_t)ID_UUID_LEN;
}

enum err_code
backup_database_id(const char *data_dir, bool make, const struct clock *clock,
                   char ret_id[ID_UUID_LEN + 1], struct err *err)
{
    struct buf text BUF_AUTO = {0};
    char path[FILES_PATH_MAX];
    char line[ID_UUID_LEN + 2];
    enum err_code code = files_join(data_dir, "id", path, err);

    buf_init(&text, 1 << 21);
    code = code ? code : files_read(path, ID_FILE_MAX, &text, err);
    if (code == ERR_NOT_FOUND && make) {
        id_uuid7(clock_wall_us(clock), ret_id);
        int len = snprintf(line, sizeof(line), "%s\n", ret_id);
        return files_write(path, slice_make(line, (size_t)len), err);
    }
    if (code != ERR_OK) {
        return code;
    }
    buf_add_char(&text, '\0');
    struct slice id = slice_trim(slice_of(text.ptr));
    if (!is_uuid(id)) {
        return err_set(err, ERR_CORRUPT,
                       "%s does not hold the id of a database (36 characters); put it back from "
                       "a manifest's database_id, or remove it: a new archive begins then",
                       path);
    }
    slice_to_cstr(id, ret_id, ID_UUID_LEN + 1);
    return ERR_OK;
}

enum err_code
archive_header(const char *path, struct wal_header *ret_header, struct err *err)
{
    uint8_t block[WAL_HEADER_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        return err_set(err, ERR_NOT_FOUND, "there is no segment %s", path);
    }
    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    ssize_t got = pread(fd, block, sizeof(block), 0);
    int sys = errno;
    close(fd);
    if (got < 0) {
        return err_sys(err, sys, "cannot read %s", path);
    }
    if (got != sizeof(block) || wal_header_decode(block, ret_header) != WAL_HEADER_VALID) {
        return err_set(err, ERR_CORRUPT, "%s has no header of a segment", path);
    }
    return ERR_OK;
}

static enum err_code
archive_one(const char *wal_dir, const char *archive, const struct wal_header *next,
            uint64_t *new_count, struct err *err)
{
    char from[WAL_PATH_MAX];
    char to[WAL_PATH_MAX];

    wal_path_format(wal_dir, next->prev_seq, from);
    wal_path_format(archive, next->prev_seq, to);
    struct wal_header mine = {0};
    struct wal_header archived = {0};
    struct err ignored;
    enum err_code code = archive_header(from, &mine, err);
    if (code != ERR_OK) {
        return code;
    }
    uint64_t there = files_bytes(to);
    if (there != UINT64_MAX && archive_header(to, &archived, &ignored) == ERR_OK) {
        if (archived.salt != mine.salt) {
            return err_set(err, ERR_PRECONDITION, "%s is of another log", to);
        }
        if (there >= next->prev_end) {
            return ERR_OK;
        }
    }
    const struct files_copy copy = {from, to, next->prev_end};
    bool linked = false;
    code = failpoint_fails("archive.begun", err);
    /* A second name costs nothing; a copy is cut at the segment's end. */
    code = code ? code : files_link(from, to, &linked, err);
    if (code == ERR_OK && !linked) {
        code = files_copy(&copy, NULL, err);
    }
    code = code ? code : files_sync_dir(archive, err);
    *new_count += code == ERR_OK;
    return code;
}

/* The newest header that is begun: *ret_header. ERR_NOT_FOUND in an empty log. */
static enum err_code
find_newest(const char *wal_dir, struct wal_header *ret_header, struct err *err)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    enum err_code code = files_list(wal_dir, &names, err);

    for (size_t i = names.count; code == ERR_OK && i > 0; i--) {
        char path[FILES_PATH_MAX];
        uint64_t seq;
        struct err ignored;
        if (wal_name_parse(names.at[i - 1], &seq) &&
            files_join(wal_dir, names.at[i - 1], path, &ignored) == ERR_OK &&
            archive_header(path, ret_header, &ignored) == ERR_OK && ret_header->first_lsn > 0) {
            return ERR_OK;
        }
    }
    return code ? code : err_set(err, ERR_NOT_FOUND, "the log in %s is empty", wal_dir);
}

static enum err_code
archive_all(const char *wal_dir, const char *archive, uint64_t *new_count, struct err *err)
{
    struct wal_header header = {0};
    struct wal_header before = {0};
    char path[WAL_PATH_MAX];
    enum err_code code = find_newest(wal_dir, &header, err);

    if (code == ERR_NOT_FOUND) {
        return ERR_OK;
    }
    while (code == ERR_OK && header.prev_seq > 0) {
        wal_path_format(wal_dir, header.prev_seq, path);
        code = archive_header(path, &before, err);
        if (code == ERR_NOT_FOUND) {
            return ERR_OK; /* released, and archived before that */
        }
        code = code ? code : archive_one(wal_dir, archive, &header, new_count, err);
        header = before;
    }
    return code;
}

static enum err_code
forget_id(const char *data_dir, struct err *err)
{
    char path[FILES_PATH_MAX];
    char old[FILES_PATH_MAX];
    enum err_code code = files_join(data_dir, "id", path, err);

    code = code ? code : files_join(data_dir, "id.before", old, err);
    if (code == ERR_OK && rename(path, old) != 0 && errno != ENOENT) {
        code = err_sys(err, errno, "cannot rename %s to %s", path, old);
    }
    return code;
}

enum err_code
backup_archive(const char *data_dir, const char *wal_archive, const struct clock *clock,
               uint64_t *ret_new, struct err *err)
{
    char id[ID_UUID_LEN + 1];
    char wal_dir[FILES_PATH_MAX];
    char archive[FILES_PATH_MAX];
    uint64_t new_count = 0;
    enum err_code code = files_join(data_dir, "wal", wal_dir, err);

    for (int i = 0; i < 2 && code == ERR_OK; i++) {
        code = backup_database_id(data_dir, true, clock, id, err);
        code = code ? code : files_join(wal_archive, id, archive, err);
        code = code ? code : files_make_dirs(archive, err);
        code = code ? code : archive_all(wal_dir, archive, &new_count, err);
        if (code != ERR_PRECONDITION || i > 0) {
            break;
        }
        /* The log was begun anew, and its numbers with it: it needs an archive of its own. */
        code = forget_id(data_dir, err);
    }
    if (code == ERR_OK) {
        *ret_new = new_count;
    }
    return code ? err_context(err, code, "archive of the log") : ERR_OK;
}

enum err_code
archive_prune(const char *wal_archive, const char *database_id, uint64_t lsn, size_t *ret_removed,
              struct err *err)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    char archive[FILES_PATH_MAX];
    char path[FILES_PATH_MAX];
    char next[FILES_PATH_MAX];
    struct wal_header header = {0};
    uint64_t seq;
    enum err_code code = files_join(wal_archive, database_id, archive, err);

    code = code ? code : files_list(archive, &names, err);
    /* Oldest first, so that a crash leaves no gap; the newest stays, since only a later header
     * says where it ends. */
    for (size_t i = 0; code == ERR_OK && i + 1 < names.count; i++) {
        if (!wal_name_parse(names.at[i], &seq) || !wal_name_parse(names.at[i + 1], &seq)) {
            continue;
        }
        code = files_join(archive, names.at[i], path, err);
        code = code ? code : files_join(archive, names.at[i + 1], next, err);
        code = code ? code : archive_header(next, &header, err);
        if (code != ERR_OK || header.prev_last_lsn > lsn) {
            break;
        }
        if (unlink(path) != 0 && errno != ENOENT) {
            code = err_sys(err, errno, "cannot remove %s", path);
        } else {
            (*ret_removed)++;
            code = files_sync_dir(archive, err);
        }
    }
    return code;
}
