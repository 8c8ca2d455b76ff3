/*
 * The store in a file, so that the log need not be kept for ever: what is lost with the process is
 * what came since, and that is in the log. Volatile is what the store is within; the file only
 * stands for the part of the log that it replaces.
 *
 *   magic  8 bytes   "EIDRMEM1"
 *   lsn    u64       applied, all of it
 *   then, until the end, for up to 8192 rows of one table, definitions first:
 *   length u64       of the encoded batch (docs/formats/batch.md), in whole 8 bytes
 *   hash   u64       XXH3 of it
 *   bytes
 *   and last a length of 0 with the hash of nothing: what has no end was not written to its end
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/mem.h"
#include "store/memory/mem.h"

enum { PATH_BYTES = 4200, TEXT_BYTES_MAX = 1 << 30 };

static const char magic[8] = "EIDRMEM1";

struct piece_head {
    uint64_t length;
    uint64_t hash;
};

static enum err_code
file_error(const char *path, const char *what, struct err *err)
{
    enum err_code code = errno == ENOSPC || errno == EDQUOT ? ERR_NO_SPACE : ERR_IO;

    return err_set(err, code, "%s: %s: %s", path, what, strerrordesc_np(errno));
}

/* ---- writing ---- */

static int
compare_orders(const void *left, const void *right)
{
    const struct mem_ref *a = left;
    const struct mem_ref *b = right;

    return (a->order > b->order) - (a->order < b->order);
}

static enum err_code
write_piece(FILE *file, const char *path, struct buf *bytes, struct err *err)
{
    while (bytes->len % sizeof(uint64_t) != 0) {
        buf_add_char(bytes, '\0');
    }
    const struct piece_head head = {bytes->len, XXH3_64bits(bytes->ptr, bytes->len)};
    if (fwrite(&head, sizeof(head), 1, file) != 1 ||
        (bytes->len > 0 && fwrite(bytes->ptr, bytes->len, 1, file) != 1)) {
        return file_error(path, "writing", err);
    }
    return ERR_OK;
}

/* Rows [from, to) of a reading, as a batch of their table. */
static enum err_code
write_rows(FILE *file, const char *path, const struct mem_reading *reading, size_t from, size_t to,
           struct err *err)
{
    struct batch rows BATCH_AUTO;
    struct buf bytes BUF_AUTO;

    batch_init(&rows, reading->table, TEXT_BYTES_MAX);
    buf_init(&bytes, 0);
    for (size_t i = from; i < to; i++) {
        size_t row = batch_add_row(&rows);
        for (size_t column = 0; column < reading->table->column_count; column++) {
            struct mem_value value = mem_value_of(reading->table, &reading->refs[i], column);
            mem_set_value(&rows, column, row, &value);
        }
    }
    if (rows.arena.overflow) {
        return err_set(err, ERR_TOO_LARGE, "rows of %s are too large for a snapshot",
                       reading->table->name);
    }
    batch_encode(&rows, &bytes);
    return write_piece(file, path, &bytes, err);
}

static enum err_code
write_table(struct mem_store *mem, const struct catalog_table *table, FILE *file, const char *path,
            struct err *err)
{
    const struct store_scan all = {.table = table->id, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct mem_reading reading = {.mem = mem, .table = table};
    enum err_code code = mem_gather(&reading, &all, err);

    if (!code && reading.count > 1) {
        qsort(reading.refs, reading.count, sizeof(*reading.refs), compare_orders);
    }
    for (size_t at = 0; !code && at < reading.count; at += STORE_VISIT_ROWS) {
        size_t rest = reading.count - at;
        code = write_rows(file, path, &reading, at,
                          at + (rest < STORE_VISIT_ROWS ? rest : STORE_VISIT_ROWS), err);
    }
    free(reading.refs);
    return code;
}

static enum err_code
write_all(struct mem_store *mem, FILE *file, const char *path, struct err *err)
{
    const struct catalog_table *table;
    uint64_t lsn = atomic_load(&mem->applied_lsn);
    struct buf nothing BUF_AUTO;

    buf_init(&nothing, 0);
    if (fwrite(magic, sizeof(magic), 1, file) != 1 || fwrite(&lsn, sizeof(lsn), 1, file) != 1) {
        return file_error(path, "writing", err);
    }
    enum err_code code = write_table(mem, catalog_table(TABLE_SERIES), file, path, err);
    for (size_t i = 0; !code && (table = catalog_at(i)); i++) {
        if (table->kind != TABLE_VIEW && table->id != TABLE_SERIES) {
            code = write_table(mem, table, file, path, err);
        }
    }
    code = code ? code : write_piece(file, path, &nothing, err);
    if (!code && (fflush(file) != 0 || fsync(fileno(file)) != 0)) {
        code = file_error(path, "syncing", err);
    }
    return code;
}

static enum err_code
sync_directory(const char *path, struct err *err)
{
    char dir[PATH_BYTES];

    snprintf(dir, sizeof(dir), "%.4000s", path);
    char *slash = strrchr(dir, '/');
    if (!slash) {
        snprintf(dir, sizeof(dir), ".");
    } else {
        slash[slash == dir ? 1 : 0] = '\0';
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0) {
        enum err_code code = file_error(dir, "syncing", err);
        if (fd >= 0) {
            close(fd);
        }
        return code;
    }
    close(fd);
    return ERR_OK;
}

/* The applier's thread: nothing is written meanwhile, and readers share the lock with it. */
enum err_code
mem_snapshot(struct store *store, const char *path, struct err *err)
{
    struct mem_store *mem = (struct mem_store *)store;
    char temporary[PATH_BYTES];

    snprintf(temporary, sizeof(temporary), "%.4000s.tmp", path);
    FILE *file = fopen(temporary, "wbe");
    if (!file) {
        return file_error(temporary, "creating", err);
    }
    pthread_rwlock_rdlock(&mem->lock);
    enum err_code code = write_all(mem, file, temporary, err);
    pthread_rwlock_unlock(&mem->lock);
    if (fclose(file) != 0 && !code) {
        code = file_error(temporary, "closing", err);
    }
    if (!code && rename(temporary, path) != 0) {
        code = file_error(path, "renaming to it", err);
    }
    if (code) {
        unlink(temporary);
        return code;
    }
    return sync_directory(path, err);
}

/* ---- reading ---- */

static enum err_code
damaged(const char *path, const char *what, struct err *err)
{
    return err_set(err, ERR_CORRUPT, "%s: %s", path, what);
}

static enum err_code
load_piece(struct mem_store *mem, const char *path, struct slice bytes, struct err *err)
{
    struct batch rows;
    size_t used;
    enum err_code code = batch_decode(bytes, &rows, &used, err);

    if (code) {
        return err_context(err, code, "%s", path);
    }
    if (rows.table->kind == TABLE_VIEW) {
        batch_fini(&rows);
        return damaged(path, "it holds rows of a view", err);
    }
    for (size_t row = 0; row < rows.rows; row++) {
        mem_put_row(mem, &mem->tables[rows.table->id], &rows, row);
    }
    batch_fini(&rows);
    return ERR_OK;
}

/* The pieces between the head and the end. */
static enum err_code
load_pieces(struct mem_store *mem, const char *path, FILE *file, uint64_t left, struct err *err)
{
    struct piece_head head;
    enum err_code code = ERR_OK;

    for (;;) {
        if (left < sizeof(head) || fread(&head, sizeof(head), 1, file) != 1) {
            return damaged(path, "it has no end", err);
        }
        left -= sizeof(head);
        if (head.length == 0) {
            return left == 0 ? ERR_OK : damaged(path, "there is something behind its end", err);
        }
        if (head.length > left || head.length % sizeof(uint64_t) != 0) {
            return damaged(path, "a piece is longer than the file", err);
        }
        char *bytes = mem_alloc((size_t)head.length);
        if (fread(bytes, (size_t)head.length, 1, file) != 1) {
            code = damaged(path, "it cannot be read to its end", err);
        } else if (XXH3_64bits(bytes, (size_t)head.length) != head.hash) {
            code = damaged(path, "a checksum does not match", err);
        } else {
            code = load_piece(mem, path, slice_make(bytes, (size_t)head.length), err);
        }
        free(bytes);
        if (code) {
            return code;
        }
        left -= head.length;
    }
}

enum err_code
mem_load(struct mem_store *mem, const char *path, struct err *err)
{
    char start[sizeof(magic)];
    struct stat about;
    uint64_t lsn;

    FILE *file = fopen(path, "rbe");
    if (!file) {
        return errno == ENOENT ? ERR_OK : file_error(path, "opening", err);
    }
    enum err_code code = ERR_OK;
    if (fstat(fileno(file), &about) != 0 || fread(start, sizeof(start), 1, file) != 1 ||
        memcmp(start, magic, sizeof(magic)) != 0 || fread(&lsn, sizeof(lsn), 1, file) != 1) {
        code = damaged(path, "it is no snapshot of a memory store", err);
    } else {
        code = load_pieces(mem, path, file, (uint64_t)about.st_size - sizeof(start) - sizeof(lsn),
                           err);
    }
    fclose(file);
    if (!code) {
        atomic_store(&mem->applied_lsn, lsn);
    }
    return code;
}
