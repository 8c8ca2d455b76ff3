/* Names, paths and files of the cold directory; its lists are in cold_lists.c. */
#include "store/cold.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/mem.h"
#include "catalog/catalog.h"
#include "codec/time.h"
#include "store/cold_internal.h"
#include "store/failpoint.h"

enum { DIR_MODE = 0750, FILE_MODE = 0640, PIECE_BYTES = 1 << 20, DAY_LEN = 10 };

static const char day_prefix[] = "date=";
static const char file_suffix[] = ".parquet";

static const struct {
    const char *name;
    const char *suffix;
    int64_t width_us;
} kinds[COLD_KIND_COUNT] = {
    [COLD_RAW] = {"raw", "", 0},
    [COLD_1M] = {"1m", "_1m", 60 * TIME_US_PER_S},
    [COLD_5M] = {"5m", "_5m", 300 * TIME_US_PER_S},
    [COLD_1H] = {"1h", "_1h", 3600 * TIME_US_PER_S},
    [COLD_1D] = {"1d", "_1d", TIME_US_PER_DAY},
};

const char *
cold_kind_name(enum cold_kind kind)
{
    assert(kind < COLD_KIND_COUNT);
    return kinds[kind].name;
}

bool
cold_kind_parse(struct slice text, enum cold_kind *ret_kind)
{
    for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
        if (slice_is(text, kinds[kind].name)) {
            *ret_kind = (enum cold_kind)kind;
            return true;
        }
    }
    return false;
}

const char *
cold_kind_suffix(enum cold_kind kind)
{
    assert(kind < COLD_KIND_COUNT);
    return kinds[kind].suffix;
}

int64_t
cold_kind_width_us(enum cold_kind kind)
{
    assert(kind < COLD_KIND_COUNT);
    return kinds[kind].width_us;
}

int32_t
cold_day_of(int64_t us)
{
    int64_t day = us / TIME_US_PER_DAY;

    return (int32_t)(us % TIME_US_PER_DAY < 0 ? day - 1 : day);
}

/* The first and the last day there are begin and end outside what 64 bits hold. */
static int64_t
midnight_us(int64_t day)
{
    if (day > INT64_MAX / TIME_US_PER_DAY) {
        return INT64_MAX;
    }
    return day < INT64_MIN / TIME_US_PER_DAY ? INT64_MIN : day * TIME_US_PER_DAY;
}

int64_t
cold_day_begin_us(int32_t day)
{
    return midnight_us(day);
}

int64_t
cold_day_end_us(int32_t day)
{
    return midnight_us((int64_t)day + 1);
}

bool
cold_day_in_range(int32_t day)
{
    return day >= TIME_MIN_US / TIME_US_PER_DAY && day < TIME_MAX_US / TIME_US_PER_DAY;
}

void
cold_day_format(int32_t day, char ret_text[COLD_DAY_TEXT])
{
    struct time_civil civil;

    time_to_civil(cold_day_begin_us(day), &civil);
    int year = (int)(civil.year < 0 ? 0 : civil.year > 9999 ? 9999 : civil.year);
    snprintf(ret_text, COLD_DAY_TEXT, "%04d-%02d-%02d", year, civil.month % 100, civil.day % 100);
}

bool
cold_day_parse(struct slice text, int32_t *ret_day)
{
    int64_t us;

    /* Ten bytes leave no room for a time of day. */
    if (text.len != DAY_LEN || !time_parse_iso8601(text, &us)) {
        return false;
    }
    *ret_day = cold_day_of(us);
    return true;
}

bool
cold_days_are_fixed(const struct catalog_table *table)
{
    return table->sealed &&
           (table->kind == TABLE_APPEND || table->key_mask >> table->time_column & 1);
}

static const char *
table_name(enum table_id id)
{
    const struct catalog_table *table = catalog_table(id);

    assert(table);
    return table->name;
}

void
cold_relative(const struct cold_file *file, char ret_path[COLD_RELATIVE_MAX])
{
    char day[COLD_DAY_TEXT];

    cold_day_format(file->day, day);
    snprintf(ret_path, COLD_RELATIVE_MAX, "%.60s%s/%s%s/%s", table_name(file->table),
             cold_kind_suffix(file->kind), day_prefix, day, file->name);
}

/* "<table>" or "<table>_1m": the longest table name that fits decides. */
static bool
parse_table(struct slice text, struct cold_file *ret_file)
{
    const struct catalog_table *table;

    for (size_t i = 0; (table = catalog_at(i)); i++) {
        struct slice name = slice_of(table->name);
        if (text.len < name.len || memcmp(text.ptr, name.ptr, name.len) != 0) {
            continue;
        }
        struct slice rest = slice_sub(text, name.len, text.len);
        for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
            if (slice_is(rest, kinds[kind].suffix)) {
                ret_file->table = table->id;
                ret_file->kind = (enum cold_kind)kind;
                return true;
            }
        }
    }
    return false;
}

bool
cold_parse_relative(struct slice path, struct cold_file *ret_file)
{
    struct cold_file file = {.rows = 0};
    struct slice rest = path;
    struct slice table;
    struct slice day;

    if (!slice_split(&rest, '/', &table) || !slice_split(&rest, '/', &day) ||
        !slice_starts(day, day_prefix) || !slice_ends(rest, file_suffix) ||
        memchr(rest.ptr, '/', rest.len) || rest.len < sizeof(file_suffix) ||
        !slice_to_cstr(rest, file.name, sizeof(file.name)) || !parse_table(table, &file) ||
        !cold_day_parse(slice_sub(day, sizeof(day_prefix) - 1, day.len), &file.day)) {
        return false;
    }
    *ret_file = file;
    return true;
}

void
cold_path(const char *cold_dir, const struct cold_file *file, char *ret_path, size_t size)
{
    char relative[COLD_RELATIVE_MAX];

    cold_relative(file, relative);
    snprintf(ret_path, size, "%s/%s", cold_dir, relative);
}

void
cold_tmp_path(const char *cold_dir, const struct cold_file *file, char *ret_path, size_t size)
{
    struct slice name = slice_of(file->name);
    size_t stem = slice_ends(name, file_suffix) ? name.len - (sizeof(file_suffix) - 1) : name.len;

    snprintf(ret_path, size, "%s/tmp/%.*s%s%s", cold_dir, (int)stem, file->name,
             cold_kind_suffix(file->kind), file_suffix);
}

int
cold_file_compare(const void *a, const void *b)
{
    const struct cold_file *x = a;
    const struct cold_file *y = b;

    if (x->table != y->table) {
        return x->table < y->table ? -1 : 1;
    }
    if (x->kind != y->kind) {
        return x->kind < y->kind ? -1 : 1;
    }
    if (x->day != y->day) {
        return x->day < y->day ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

enum err_code
cold_sync_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    int result = fsync(fd);
    int sys = errno;
    close(fd);
    return result == 0 ? ERR_OK : err_sys(err, sys, "cannot sync %s", path);
}

/* Makes a directory; the one it stands in is synced when it is new. */
static enum err_code
make_dir(const char *path, struct err *err)
{
    char parent[COLD_PATH_MAX];

    if (mkdir(path, DIR_MODE) != 0) {
        return errno == EEXIST ? ERR_OK : err_sys(err, errno, "cannot make the directory %s", path);
    }
    snprintf(parent, sizeof(parent), "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash && slash > parent) {
        *slash = '\0';
    }
    return cold_sync_dir(slash ? parent : ".", err);
}

enum err_code
cold_open(const char *cold_dir, struct err *err)
{
    char path[COLD_PATH_MAX];
    const struct dirent *entry;

    snprintf(path, sizeof(path), "%.4000s/tmp", cold_dir);
    enum err_code code = make_dir(cold_dir, err);
    code = code ? code : make_dir(path, err);
    if (code) {
        return code;
    }
    DIR *dir = opendir(path);
    if (!dir) {
        return err_sys(err, errno, "cannot read the directory %s", path);
    }
    /* The stream is this function's own, so readdir is safe. */
    while ((entry = readdir(dir)) != NULL) { /* NOLINT(concurrency-mt-unsafe) */
        bool is_dots = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        if (!is_dots && unlinkat(dirfd(dir), entry->d_name, 0) != 0 && errno != ENOENT && !code) {
            code = err_sys(err, errno, "cannot remove %.3000s/%.200s", path, entry->d_name);
        }
    }
    closedir(dir);
    return code;
}

/* <cold_dir>/<table>/date=...: the directory of a file's day, and the one of its table. */
static void
day_dirs(const char *cold_dir, const struct cold_file *file, char ret_table[COLD_PATH_MAX],
         char ret_day[COLD_PATH_MAX])
{
    char day[COLD_DAY_TEXT];

    cold_day_format(file->day, day);
    snprintf(ret_table, COLD_PATH_MAX, "%.3900s/%.60s%s", cold_dir, table_name(file->table),
             cold_kind_suffix(file->kind));
    snprintf(ret_day, COLD_PATH_MAX, "%.4000s/%s%s", ret_table, day_prefix, day);
}

enum err_code
cold_put(const char *cold_dir, const char *tmp_path, const struct cold_file *file, struct err *err)
{
    char table_dir[COLD_PATH_MAX];
    char day_dir[COLD_PATH_MAX];
    char path[COLD_PATH_MAX];

    int fd = open(tmp_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", tmp_path);
    }
    int failed = fsync(fd) != 0 ? errno : 0;
    close(fd);
    if (failed) {
        return err_sys(err, failed, "cannot sync %s", tmp_path);
    }
    enum err_code code = failpoint_fails("put.synced", err);
    day_dirs(cold_dir, file, table_dir, day_dir);
    code = code ? code : make_dir(table_dir, err);
    code = code ? code : make_dir(day_dir, err);
    if (code) {
        return code;
    }
    cold_path(cold_dir, file, path, sizeof(path));
    if (rename(tmp_path, path) != 0) {
        return err_sys(err, errno, "cannot rename %s to %s", tmp_path, path);
    }
    code = failpoint_fails("put.renamed", err);
    return code ? code : cold_sync_dir(day_dir, err);
}

enum err_code
cold_unlink(const char *cold_dir, const struct cold_file *file, struct err *err)
{
    char table_dir[COLD_PATH_MAX];
    char day_dir[COLD_PATH_MAX];
    char path[COLD_PATH_MAX];

    cold_path(cold_dir, file, path, sizeof(path));
    if (unlink(path) != 0 && errno != ENOENT) {
        return err_sys(err, errno, "cannot remove %s", path);
    }
    day_dirs(cold_dir, file, table_dir, day_dir);
    rmdir(day_dir); /* other files keep it */
    return ERR_OK;
}

static void
hash_text(XXH128_hash_t hash, char ret_text[COLD_CHECKSUM_MAX])
{
    snprintf(ret_text, COLD_CHECKSUM_MAX, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

void
cold_hash_text(struct slice bytes, char ret_text[COLD_CHECKSUM_MAX])
{
    hash_text(XXH3_128bits(bytes.ptr, bytes.len), ret_text);
}

static enum err_code
hash_fd(int fd, const char *path, XXH3_state_t *state, uint64_t *ret_bytes, struct err *err)
{
    char *piece MEM_AUTO = mem_alloc(PIECE_BYTES);
    uint64_t bytes = 0;

    for (;;) {
        ssize_t got = read(fd, piece, PIECE_BYTES);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_sys(err, errno, "cannot read %s", path);
        }
        if (got == 0) {
            *ret_bytes = bytes;
            return ERR_OK;
        }
        XXH3_128bits_update(state, piece, (size_t)got);
        bytes += (uint64_t)got;
    }
}

enum err_code
cold_checksum(const char *path, char ret_checksum[COLD_CHECKSUM_MAX], uint64_t *ret_bytes,
              struct err *err)
{
    uint64_t bytes = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        int sys = errno;
        return sys == ENOENT ? err_set(err, ERR_NOT_FOUND, "there is no file %s", path)
                             : err_sys(err, sys, "cannot open %s", path);
    }
    XXH3_state_t *state = XXH3_createState();
    if (!state) {
        close(fd);
        return err_set(err, ERR_INTERNAL, "no memory for the checksum of %s", path);
    }
    XXH3_128bits_reset(state);
    enum err_code code = hash_fd(fd, path, state, &bytes, err);
    if (!code) {
        hash_text(XXH3_128bits_digest(state), ret_checksum);
        if (ret_bytes) {
            *ret_bytes = bytes;
        }
    }
    XXH3_freeState(state);
    close(fd);
    return code;
}

/* ---- walking ---- */

struct walk {
    cold_walk_fn *fn;
    void *ctx;
};

/* Calls `each` for every name in <parent>/<name>. Something else than a directory has none. */
typedef enum err_code each_name_fn(const struct walk *walk, int dir_fd, const char *relative,
                                   struct err *err);

static enum err_code
each_in_dir(const struct walk *walk, int parent_fd, const char *name, const char *relative,
            each_name_fn *each, struct err *err)
{
    enum err_code code = ERR_OK;
    const struct dirent *entry;
    int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return errno == ENOTDIR || errno == ENOENT ? ERR_OK
                                                   : err_sys(err, errno, "cannot open %s", name);
    }
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return err_set(err, ERR_IO, "cannot read the directory %s", name);
    }
    while (!code && (entry = readdir(dir)) != NULL) { /* NOLINT(concurrency-mt-unsafe) */
        char path[COLD_PATH_MAX];
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof(path), "%.3000s%s%.255s", relative, *relative ? "/" : "",
                     entry->d_name);
            code = each(walk, dirfd(dir), path, err);
        }
    }
    closedir(dir);
    return code;
}

static const char *
last_name(const char *relative)
{
    const char *slash = strrchr(relative, '/');

    return slash ? slash + 1 : relative;
}

static enum err_code
walk_file(const struct walk *walk, int dir_fd, const char *relative, struct err *err)
{
    struct cold_file file;
    struct stat info;

    if (!cold_parse_relative(slice_of(relative), &file) ||
        fstatat(dir_fd, last_name(relative), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISREG(info.st_mode)) {
        return ERR_OK;
    }
    file.bytes = (uint64_t)info.st_size;
    return walk->fn(walk->ctx, &file, err);
}

static enum err_code
walk_day(const struct walk *walk, int dir_fd, const char *relative, struct err *err)
{
    return each_in_dir(walk, dir_fd, last_name(relative), relative, walk_file, err);
}

static enum err_code
walk_table(const struct walk *walk, int dir_fd, const char *relative, struct err *err)
{
    return each_in_dir(walk, dir_fd, last_name(relative), relative, walk_day, err);
}

enum err_code
cold_walk(const char *cold_dir, cold_walk_fn *fn, void *ctx, struct err *err)
{
    const struct walk walk = {fn, ctx};

    return each_in_dir(&walk, AT_FDCWD, cold_dir, "", walk_table, err);
}

/* ---- small files ---- */

static enum err_code
write_synced(const char *path, struct slice bytes, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    size_t done = 0;
    int failed = fd < 0 ? errno : 0;

    while (!failed && done < bytes.len) {
        ssize_t count = write(fd, bytes.ptr + done, bytes.len - done);
        if (count < 0 && errno != EINTR) {
            failed = errno;
        }
        done += count > 0 ? (size_t)count : 0;
    }
    if (!failed && fsync(fd) != 0) {
        failed = errno;
    }
    if (fd >= 0) {
        close(fd);
    }
    return failed ? err_sys(err, failed, "cannot write %s", path) : ERR_OK;
}

enum err_code
cold_replace_file(const char *path, struct slice bytes, const char *point_written,
                  const char *point_renamed, struct err *err)
{
    char temporary[COLD_PATH_MAX];
    char dir[COLD_PATH_MAX];
    const char *slash = strrchr(path, '/');

    assert(slash);
    snprintf(temporary, sizeof(temporary), "%.4000s.tmp", path);
    snprintf(dir, sizeof(dir), "%.*s", (int)(slash - path), path);
    enum err_code code = write_synced(temporary, bytes, err);
    code = code || !point_written ? code : failpoint_fails(point_written, err);
    if (!code && rename(temporary, path) != 0) {
        code = err_sys(err, errno, "cannot rename %s to %s", temporary, path);
    }
    if (code) {
        unlink(temporary);
        return code;
    }
    code = point_renamed ? failpoint_fails(point_renamed, err) : ERR_OK;
    return code ? code : cold_sync_dir(dir, err);
}

enum err_code
cold_read_file(const char *path, struct buf *ret_bytes, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    enum err_code code = ERR_OK;

    if (fd < 0) {
        int sys = errno;
        return sys == ENOENT ? err_set(err, ERR_NOT_FOUND, "there is no file %s", path)
                             : err_sys(err, sys, "cannot open %s", path);
    }
    for (;;) {
        char *room = buf_reserve(ret_bytes, PIECE_BYTES);
        if (!room) {
            code = err_set(err, ERR_TOO_LARGE, "%s is larger than %zu bytes", path,
                           ret_bytes->max_bytes);
            break;
        }
        ssize_t got = read(fd, room, PIECE_BYTES);
        if (got < 0 && errno != EINTR) {
            code = err_sys(err, errno, "cannot read %s", path);
            break;
        }
        if (got == 0) {
            break;
        }
        ret_bytes->len += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    return code;
}
