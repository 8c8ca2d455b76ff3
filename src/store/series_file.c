/* Reading and adding to cold/series; see the header and docs/formats/series.md. */
#include "store/series_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/cold_internal.h"
#include "store/failpoint.h"

enum {
    FILE_MODE = 0640,
    DIR_MODE = 0750,
    ALIGNMENT = 8,
    ID_MAX = 1 << 26, /* of a series; a larger one is damage */
    VISIT_MS = 600000
};

static const uint64_t file_bytes_max = UINT64_C(16) << 30;

static const char file_head[16] = "EIDER SERIES 1\n";
static const char block_magic[8] = "SERIESBL";

struct block_head {
    char magic[8];
    uint64_t len; /* of the encoded batch behind it, a multiple of 8 */
    uint64_t sum; /* XXH3-64 of that */
};

struct series_file {
    char *cold_dir;
    char *path;
    atomic_bool expected; /* the store may have others than were seen */
    pthread_mutex_t lock; /* of all that follows */
    bool loaded;
    uint32_t *hashes; /* of the definition of each number; 0: the file has none */
    size_t hash_count;
    uint64_t end;       /* behind the last whole block */
    uint64_t rows_seen; /* of the store, when it was compared last */
};

/* ---- reading ---- */

static bool
is_block(struct slice bytes, size_t at, struct slice *ret_payload)
{
    struct block_head head;

    if (bytes.len - at < sizeof(head)) {
        return false;
    }
    memcpy(&head, bytes.ptr + at, sizeof(head));
    if (memcmp(head.magic, block_magic, sizeof(block_magic)) != 0 || head.len % ALIGNMENT != 0 ||
        head.len > bytes.len - at - sizeof(head)) {
        return false;
    }
    *ret_payload = slice_make(bytes.ptr + at + sizeof(head), (size_t)head.len);
    return XXH3_64bits(ret_payload->ptr, ret_payload->len) == head.sum;
}

static enum err_code
read_block(struct slice payload, series_file_fn *fn, void *ctx, struct series_summary *summary,
           struct err *err)
{
    struct batch rows BATCH_AUTO = {0};
    struct err ignored;
    size_t used;

    if (batch_decode(payload, &rows, &used, &ignored) != ERR_OK || rows.table->id != TABLE_SERIES) {
        summary->damaged++; /* of a later version, or not ours */
        return ERR_OK;
    }
    summary->series += rows.rows;
    return fn ? fn(ctx, &rows, err) : ERR_OK;
}

static enum err_code
read_blocks(struct slice bytes, series_file_fn *fn, void *ctx, struct series_summary *summary,
            struct err *err)
{
    size_t at = sizeof(file_head);
    bool skipped = false;
    enum err_code code = ERR_OK;

    summary->end = at;
    while (at < bytes.len && code == ERR_OK) {
        struct slice payload;
        if (!is_block(bytes, at, &payload)) {
            skipped = true;
            at += ALIGNMENT;
            continue;
        }
        summary->damaged += skipped;
        skipped = false;
        code = read_block(payload, fn, ctx, summary, err);
        at += sizeof(struct block_head) + payload.len;
        summary->end = at;
    }
    summary->torn_bytes = bytes.len - summary->end;
    return code;
}

static enum err_code
read_path(const char *path, series_file_fn *fn, void *ctx, struct series_summary *ret_summary,
          struct err *err)
{
    struct series_summary summary = {0};
    struct buf bytes BUF_AUTO = {0};

    buf_init(&bytes, file_bytes_max);
    enum err_code code = cold_read_file(path, &bytes, err);
    if (code != ERR_OK) {
        return code;
    }
    /* A crash may have come before the head was whole: then nothing was ever in it. */
    size_t head = bytes.len < sizeof(file_head) ? bytes.len : sizeof(file_head);
    bool blank = true;
    for (size_t i = 0; i < bytes.len; i++) {
        blank = blank && bytes.ptr[i] == '\0';
    }
    if (blank || (head < sizeof(file_head) && memcmp(bytes.ptr, file_head, head) == 0)) {
        *ret_summary = (struct series_summary){.torn_bytes = bytes.len};
        return ERR_OK;
    }
    if (memcmp(bytes.ptr, file_head, head) != 0 || head < sizeof(file_head)) {
        return err_set(err, ERR_CORRUPT, "%s is no file of series", path);
    }
    code = read_blocks(buf_slice(&bytes), fn, ctx, &summary, err);
    if (code == ERR_OK) {
        *ret_summary = summary;
    }
    return code;
}

enum err_code
series_file_read(const char *cold_dir, series_file_fn *fn, void *ctx,
                 struct series_summary *ret_summary, struct err *err)
{
    char path[COLD_PATH_MAX];

    snprintf(path, sizeof(path), "%.4000s/" SERIES_FILE, cold_dir);
    return read_path(path, fn, ctx, ret_summary, err);
}

/* ---- what the file has ---- */

struct series_file *
series_file_new(const char *cold_dir)
{
    struct series_file *file = mem_zalloc(1, sizeof(*file));
    char path[COLD_PATH_MAX];

    snprintf(path, sizeof(path), "%.4000s/" SERIES_FILE, cold_dir);
    file->cold_dir = mem_strdup(slice_of(cold_dir));
    file->path = mem_strdup(slice_of(path));
    atomic_init(&file->expected, true);
    pthread_mutex_init(&file->lock, NULL);
    return file;
}

void
series_file_free(struct series_file *file)
{
    if (!file) {
        return;
    }
    pthread_mutex_destroy(&file->lock);
    free(file->hashes);
    free(file->cold_dir);
    free(file->path);
    free(file);
}

void
series_file_expect(struct series_file *file)
{
    if (file) {
        atomic_store(&file->expected, true);
    }
}

static void
forget(struct series_file *file)
{
    free(file->hashes);
    file->hashes = NULL;
    file->hash_count = 0;
    file->loaded = false;
    file->end = 0;
}

static uint32_t
hash_row(const struct batch *rows, size_t row)
{
    uint64_t hash = 0;

    for (size_t column = 1; column < rows->column_count; column++) {
        struct slice text = batch_get_text(rows, column, row);
        hash = XXH3_64bits_withSeed(text.ptr ? text.ptr : "", text.len, hash + column);
    }
    return (uint32_t)hash ? (uint32_t)hash : 1;
}

/* The place of a number's hash; NULL for what is no number of a series. */
static uint32_t *
place_of(struct series_file *file, int64_t id)
{
    if (id < 1 || id >= ID_MAX) {
        return NULL;
    }
    if ((size_t)id >= file->hash_count) {
        size_t count = (size_t)id < 512 ? 1024 : (size_t)id * 2;
        file->hashes = mem_resize(file->hashes, count, sizeof(*file->hashes));
        memset(file->hashes + file->hash_count, 0,
               (count - file->hash_count) * sizeof(*file->hashes));
        file->hash_count = count;
    }
    return &file->hashes[id];
}

static enum err_code
note_rows(void *ctx, const struct batch *rows, struct err *err)
{
    (void)err;
    for (size_t row = 0; row < rows->rows; row++) {
        uint32_t *place = place_of(ctx, batch_get_i64(rows, 0, row));
        if (place) {
            *place = hash_row(rows, row);
        }
    }
    return ERR_OK;
}

/* Out of the way, for whoever looks into it: quarantine/<time in us>-series. */
static enum err_code
set_aside(struct series_file *file, struct err *err)
{
    char dir[COLD_PATH_MAX];
    char to[COLD_PATH_MAX];

    snprintf(dir, sizeof(dir), "%.4000s/../quarantine", file->cold_dir);
    snprintf(to, sizeof(to), "%.4000s/%lld-" SERIES_FILE, dir,
             (long long)clock_wall_us(clock_system()));
    if (mkdir(dir, DIR_MODE) != 0 && errno != EEXIST) {
        return err_sys(err, errno, "cannot make %s", dir);
    }
    if (rename(file->path, to) != 0 && errno != ENOENT) {
        return err_sys(err, errno, "cannot move %s to %s", file->path, to);
    }
    enum err_code code = cold_sync_dir(dir, err);
    code = code ? code : cold_sync_dir(file->cold_dir, err);
    forget(file);
    file->loaded = code == ERR_OK; /* and has nothing */
    return code;
}

static enum err_code
load(struct series_file *file, struct err *err)
{
    struct series_summary summary = {0};
    enum err_code code = read_path(file->path, note_rows, file, &summary, err);

    if (code == ERR_NOT_FOUND) {
        code = ERR_OK;
    } else if (code == ERR_CORRUPT || (code == ERR_OK && summary.damaged > 0)) {
        return set_aside(file, err);
    }
    file->loaded = code == ERR_OK;
    file->end = summary.end;
    return code;
}

/* ---- adding ---- */

struct adding {
    struct series_file *file;
    int fd;         /* -1: nothing to add so far */
    bool conflicts; /* the store defines a number otherwise than the file */
};

static enum err_code
write_at(struct adding *adding, const void *bytes, size_t len, struct err *err)
{
    struct series_file *file = adding->file;
    size_t done = 0;

    while (done < len) {
        ssize_t count =
            pwrite(adding->fd, (const char *)bytes + done, len - done, (off_t)(file->end + done));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return err_sys(err, count < 0 ? errno : EIO, "cannot write %s", file->path);
        }
        done += (size_t)count;
    }
    file->end += len;
    return ERR_OK;
}

/* Cuts off what a crash left behind the last whole block. */
static enum err_code
open_to_add(struct adding *adding, struct err *err)
{
    struct series_file *file = adding->file;

    if (mkdir(file->cold_dir, DIR_MODE) != 0 && errno != EEXIST) {
        return err_sys(err, errno, "cannot make %s", file->cold_dir);
    }
    adding->fd = open(file->path, O_WRONLY | O_CREAT | O_CLOEXEC, FILE_MODE);
    if (adding->fd < 0 || ftruncate(adding->fd, (off_t)file->end) != 0) {
        return err_sys(err, errno, "cannot open %s", file->path);
    }
    return file->end == 0 ? write_at(adding, file_head, sizeof(file_head), err) : ERR_OK;
}

static enum err_code
add_block(struct adding *adding, const struct batch *rows, struct err *err)
{
    struct buf bytes BUF_AUTO = {0};
    struct block_head head;
    enum err_code code = adding->fd < 0 ? open_to_add(adding, err) : ERR_OK;

    buf_init(&bytes, 0);
    batch_encode(rows, &bytes);
    memcpy(head.magic, block_magic, sizeof(head.magic));
    head.len = bytes.len;
    head.sum = XXH3_64bits(bytes.ptr, bytes.len);
    code = code ? code : write_at(adding, &head, sizeof(head), err);
    return code ? code : write_at(adding, bytes.ptr, bytes.len, err);
}

static enum err_code
add_rows(void *ctx, const struct batch *rows, struct err *err)
{
    struct adding *adding = ctx;
    struct batch added BATCH_AUTO = {0};

    batch_init(&added, catalog_table(TABLE_SERIES), 0); /* texts are those of `rows` */
    for (size_t row = 0; row < rows->rows; row++) {
        uint32_t *place = place_of(adding->file, batch_get_i64(rows, 0, row));
        if (!place) {
            continue;
        }
        uint32_t hash = hash_row(rows, row);
        adding->conflicts |= *place != 0 && *place != hash;
        if (*place == 0) {
            *place = hash;
            batch_copy_row(&added, rows, row);
        }
    }
    return added.rows > 0 && !adding->conflicts ? add_block(adding, &added, err) : ERR_OK;
}

static enum err_code
finish(struct adding *adding, struct err *err)
{
    const struct series_file *file = adding->file;
    enum err_code code = failpoint_fails("series.written", err);

    if (code == ERR_OK && fsync(adding->fd) != 0) {
        code = err_sys(err, errno, "cannot sync %s", file->path);
    }
    code = code ? code : cold_sync_dir(file->cold_dir, err);
    return code ? code : failpoint_fails("series.synced", err);
}

static enum err_code
add(struct series_file *file, struct store *store, bool *ret_conflicts, struct err *err)
{
    const struct store_scan scan = {
        .table = TABLE_SERIES, .from_us = INT64_MIN, .to_us = INT64_MAX, .timeout_ms = VISIT_MS};
    struct adding adding = {.file = file, .fd = -1};
    enum err_code code = store_visit(store, &scan, add_rows, &adding, err);

    if (adding.fd >= 0) {
        code = code ? code : finish(&adding, err);
        close(adding.fd);
    }
    *ret_conflicts = adding.conflicts;
    return code;
}

static enum err_code
sync_locked(struct series_file *file, struct store *store, struct err *err)
{
    struct store_table_stats stats = {0};
    bool conflicts = false;
    enum err_code code = store_table_stats(store, TABLE_SERIES, &stats, err);

    if (code != ERR_OK) {
        return code;
    }
    bool expected = atomic_exchange(&file->expected, false);
    if (file->loaded && !expected && stats.rows == file->rows_seen) {
        return ERR_OK;
    }
    code = file->loaded ? ERR_OK : load(file, err);
    code = code ? code : add(file, store, &conflicts, err);
    if (code == ERR_OK && conflicts) {
        code = set_aside(file, err);
        code = code ? code : add(file, store, &conflicts, err);
    }
    if (code != ERR_OK) {
        forget(file); /* what is in the file is not known any more */
        atomic_store(&file->expected, true);
        return code;
    }
    file->rows_seen = stats.rows;
    return ERR_OK;
}

enum err_code
series_file_sync(struct series_file *file, struct store *store, struct err *err)
{
    pthread_mutex_lock(&file->lock);
    enum err_code code = sync_locked(file, store, err);
    pthread_mutex_unlock(&file->lock);
    return code ? err_context(err, code, "keeping the definitions of series") : ERR_OK;
}
