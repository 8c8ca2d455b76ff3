/* Copying, linking and summing files, so that a crash at any moment leaves whole ones. */
#include "backup/files.h"

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

enum { DIR_MODE = 0750, FILE_MODE = 0640, COPY_BYTES = 1 << 20, DEPTH_MAX = 8 };

enum err_code
files_join(const char *dir, const char *name, char ret_path[FILES_PATH_MAX], struct err *err)
{
    if (snprintf(ret_path, FILES_PATH_MAX, "%s/%s", dir, name) >= FILES_PATH_MAX - 64) {
        return err_set(err, ERR_INVALID, "the path %.200s/%.100s is too long", dir, name);
    }
    return ERR_OK;
}

enum err_code
files_sync_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0) {
        return err_sys(err, errno, "cannot open the directory %s", path);
    }
    int result = fsync(fd);
    int sys = errno;
    close(fd);
    return result == 0 ? ERR_OK : err_sys(err, sys, "cannot sync the directory %s", path);
}

enum err_code
files_sync_parent(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char dir[FILES_PATH_MAX];

    if (!slash) {
        return files_sync_dir(".", err);
    }
    snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return files_sync_dir(dir, err);
}

enum err_code
files_make_dirs(const char *path, struct err *err)
{
    char part[FILES_PATH_MAX];
    size_t len = strlen(path);

    if (len == 0 || len >= sizeof(part)) {
        return err_set(err, ERR_INVALID, "the path of a directory has %zu bytes, not 1..%zu", len,
                       sizeof(part) - 1);
    }
    for (size_t i = 1; i <= len; i++) {
        if (path[i] != '/' && path[i] != '\0') {
            continue;
        }
        memcpy(part, path, i);
        part[i] = '\0';
        if (mkdir(part, DIR_MODE) != 0) {
            if (errno != EEXIST) {
                return err_sys(err, errno, "cannot make the directory %s", part);
            }
            continue;
        }
        enum err_code code = files_sync_parent(part, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}

static void
format_sum(XXH128_hash_t hash, char ret_sum[FILES_SUM_MAX])
{
    snprintf(ret_sum, FILES_SUM_MAX, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

void
files_sum_bytes(struct slice bytes, char ret_sum[FILES_SUM_MAX])
{
    format_sum(XXH3_128bits(bytes.ptr, bytes.len), ret_sum);
}

static enum err_code
open_to_read(const char *path, int *ret_fd, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0 && errno == ENOENT) {
        return err_set(err, ERR_NOT_FOUND, "there is no file %s", path);
    }
    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    *ret_fd = fd;
    return ERR_OK;
}

static enum err_code
write_all(int fd, const char *bytes, size_t len, const char *path, struct err *err)
{
    while (len > 0) {
        ssize_t written = write(fd, bytes, len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return err_sys(err, errno, "cannot write %s", path);
        }
        bytes += written;
        len -= (size_t)written;
    }
    return ERR_OK;
}

/* Reads to the end or to `left`; writes to `out` unless that is below 0. */
static enum err_code
pump(int in, int out, uint64_t left, const char *from, const char *to, XXH3_state_t *state,
     uint64_t *ret_bytes, struct err *err)
{
    char *buffer MEM_AUTO = mem_alloc(COPY_BYTES);
    uint64_t total = 0;

    while (left > 0) {
        ssize_t got = read(in, buffer, left < COPY_BYTES ? (size_t)left : COPY_BYTES);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return err_sys(err, errno, "cannot read %s", from);
        }
        if (got == 0) {
            break;
        }
        XXH3_128bits_update(state, buffer, (size_t)got);
        enum err_code code = out < 0 ? ERR_OK : write_all(out, buffer, (size_t)got, to, err);
        if (code != ERR_OK) {
            return code;
        }
        total += (uint64_t)got;
        left -= (uint64_t)got;
    }
    *ret_bytes = total;
    return ERR_OK;
}

enum err_code
files_sum(const char *path, char ret_sum[FILES_SUM_MAX], uint64_t *ret_bytes, struct err *err)
{
    int fd = -1;
    uint64_t bytes = 0;
    enum err_code code = open_to_read(path, &fd, err);

    if (code != ERR_OK) {
        return code;
    }
    XXH3_state_t *state = XXH3_createState();
    XXH3_128bits_reset(state);
    code = pump(fd, -1, UINT64_MAX, path, NULL, state, &bytes, err);
    if (code == ERR_OK) {
        format_sum(XXH3_128bits_digest(state), ret_sum);
        *ret_bytes = bytes;
    }
    XXH3_freeState(state);
    close(fd);
    return code;
}

static enum err_code
copy_open(const struct files_copy *copy, int in, const char *temporary, char *ret_sum,
          struct err *err)
{
    uint64_t bytes;
    int out = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);

    if (out < 0) {
        return err_sys(err, errno, "cannot make %s", temporary);
    }
    XXH3_state_t *state = XXH3_createState();
    XXH3_128bits_reset(state);
    enum err_code code = pump(in, out, copy->bytes_max, copy->from, temporary, state, &bytes, err);
    if (code == ERR_OK && fsync(out) != 0) {
        code = err_sys(err, errno, "cannot sync %s", temporary);
    }
    if (close(out) != 0 && code == ERR_OK) {
        code = err_sys(err, errno, "cannot close %s", temporary);
    }
    if (code == ERR_OK && ret_sum) {
        format_sum(XXH3_128bits_digest(state), ret_sum);
    }
    XXH3_freeState(state);
    return code;
}

enum err_code
files_copy(const struct files_copy *copy, char *ret_sum, struct err *err)
{
    char temporary[FILES_PATH_MAX];
    char sum[FILES_SUM_MAX];
    int in = -1;

    if (snprintf(temporary, sizeof(temporary), "%s.tmp", copy->to) >= (int)sizeof(temporary)) {
        return err_set(err, ERR_INVALID, "the path %.200s is too long", copy->to);
    }
    enum err_code code = open_to_read(copy->from, &in, err);
    if (code != ERR_OK) {
        return code;
    }
    code = copy_open(copy, in, temporary, sum, err);
    close(in);
    if (code == ERR_OK && rename(temporary, copy->to) != 0) {
        code = err_sys(err, errno, "cannot rename %s to %s", temporary, copy->to);
    }
    if (code != ERR_OK) {
        unlink(temporary);
    } else if (ret_sum) {
        memcpy(ret_sum, sum, sizeof(sum));
    }
    return code;
}

enum err_code
files_link(const char *from, const char *to, bool *ret_linked, struct err *err)
{
    char temporary[FILES_PATH_MAX];

    if (snprintf(temporary, sizeof(temporary), "%s.tmp", to) >= (int)sizeof(temporary)) {
        return err_set(err, ERR_INVALID, "the path %.200s is too long", to);
    }
    unlink(temporary); /* of one that did not come to its end */
    bool linked = link(from, temporary) == 0;
    if (!linked && errno == ENOENT) {
        return err_set(err, ERR_NOT_FOUND, "there is no file %s", from);
    }
    if (linked && rename(temporary, to) != 0) {
        int sys = errno;
        unlink(temporary);
        return err_sys(err, sys, "cannot rename %s to %s", temporary, to);
    }
    unlink(temporary); /* rename does nothing when both are names of one file already */
    *ret_linked = linked;
    return ERR_OK;
}

enum err_code
files_link_or_copy(const char *from, const char *to, struct err *err)
{
    const struct files_copy copy = {from, to, UINT64_MAX};
    bool linked = false;
    enum err_code code = files_link(from, to, &linked, err);

    return code || linked ? code : files_copy(&copy, NULL, err);
}

enum err_code
files_write(const char *path, struct slice bytes, struct err *err)
{
    char temporary[FILES_PATH_MAX];

    if (snprintf(temporary, sizeof(temporary), "%s.tmp", path) >= (int)sizeof(temporary)) {
        return err_set(err, ERR_INVALID, "the path %.200s is too long", path);
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);
    if (fd < 0) {
        return err_sys(err, errno, "cannot make %s", temporary);
    }
    enum err_code code = write_all(fd, bytes.ptr, bytes.len, temporary, err);
    if (code == ERR_OK && fsync(fd) != 0) {
        code = err_sys(err, errno, "cannot sync %s", temporary);
    }
    close(fd);
    if (code == ERR_OK && rename(temporary, path) != 0) {
        code = err_sys(err, errno, "cannot rename %s to %s", temporary, path);
    }
    if (code != ERR_OK) {
        unlink(temporary);
        return code;
    }
    return files_sync_parent(path, err);
}

enum err_code
files_read(const char *path, size_t max_bytes, struct buf *ret_bytes, struct err *err)
{
    struct stat info;
    int fd = -1;
    enum err_code code = open_to_read(path, &fd, err);

    if (code != ERR_OK) {
        return code;
    }
    if (fstat(fd, &info) != 0) {
        code = err_sys(err, errno, "cannot look at %s", path);
    } else if ((uint64_t)info.st_size > max_bytes) {
        code = err_set(err, ERR_TOO_LARGE, "%s has %lld bytes, more than %zu", path,
                       (long long)info.st_size, max_bytes);
    }
    while (code == ERR_OK) {
        char *room = buf_reserve(ret_bytes, COPY_BYTES);
        if (!room) {
            code = err_set(err, ERR_TOO_LARGE, "%s has more than %zu bytes", path, max_bytes);
            break;
        }
        ssize_t got = read(fd, room, COPY_BYTES);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            code = err_sys(err, errno, "cannot read %s", path);
        } else if (got == 0) {
            break;
        } else {
            ret_bytes->len += (size_t)got;
        }
    }
    close(fd);
    return code;
}

uint64_t
files_bytes(const char *path)
{
    struct stat info;

    return stat(path, &info) == 0 ? (uint64_t)info.st_size : UINT64_MAX;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

enum err_code
files_list(const char *dir, struct files_names *ret_names, struct err *err)
{
    struct files_names names = {0};
    const struct dirent *entry;
    size_t cap = 0;
    DIR *stream = opendir(dir);

    if (!stream && errno != ENOENT) {
        return err_sys(err, errno, "cannot list %s", dir);
    }
    /* The stream is this function's own, so readdir is safe. */
    while (stream && (entry = readdir(stream)) != NULL) { /* NOLINT(concurrency-mt-unsafe) */
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        if (names.count == cap) {
            cap = cap ? cap * 2 : 64;
            names.at = mem_resize(names.at, cap, sizeof(*names.at));
        }
        names.at[names.count++] = mem_strdup(slice_of(entry->d_name));
    }
    if (stream) {
        closedir(stream);
    }
    if (names.count > 0) {
        qsort(names.at, names.count, sizeof(*names.at), by_name);
    }
    *ret_names = names;
    return ERR_OK;
}

void
files_names_free(struct files_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->at[i]);
    }
    free(names->at);
    *names = (struct files_names){0};
}

static bool
is_dir(const char *path)
{
    struct stat info;

    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

struct walk {
    const char *root;
    files_walk_fn *fn;
    void *ctx;
};

static enum err_code
walk_below(const struct walk *walk, const char *relative, int depth, struct err *err)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    char dir[FILES_PATH_MAX];
    char path[FILES_PATH_MAX];
    char below[FILES_PATH_MAX];
    enum err_code code = files_join(walk->root, relative, dir, err);

    if (depth > DEPTH_MAX) {
        return err_set(err, ERR_INVALID, "%s has directories more than %d deep", walk->root,
                       DEPTH_MAX);
    }
    code = code ? code : files_list(dir, &names, err);
    for (size_t i = 0; code == ERR_OK && i < names.count; i++) {
        code = files_join(dir, names.at[i], path, err);
        if (code == ERR_OK && relative[0]) {
            code = files_join(relative, names.at[i], below, err);
        } else {
            snprintf(below, sizeof(below), "%s", names.at[i]);
        }
        if (code == ERR_OK) {
            code = is_dir(path) ? walk_below(walk, below, depth + 1, err)
                                : walk->fn(walk->ctx, below, err);
        }
    }
    return code;
}

enum err_code
files_walk(const char *dir, files_walk_fn *fn, void *ctx, struct err *err)
{
    const struct walk walk = {dir, fn, ctx};

    return walk_below(&walk, "", 0, err);
}

static enum err_code
remove_below(const char *path, int depth, struct err *err)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    char below[FILES_PATH_MAX];
    enum err_code code = ERR_OK;

    if (depth > DEPTH_MAX) {
        return err_set(err, ERR_INVALID, "%s is more than %d directories deep", path, DEPTH_MAX);
    }
    if (is_dir(path)) {
        code = files_list(path, &names, err);
        for (size_t i = 0; code == ERR_OK && i < names.count; i++) {
            code = files_join(path, names.at[i], below, err);
            code = code ? code : remove_below(below, depth + 1, err);
        }
        if (code == ERR_OK && rmdir(path) != 0 && errno != ENOENT) {
            code = err_sys(err, errno, "cannot remove %s", path);
        }
        return code;
    }
    return unlink(path) == 0 || errno == ENOENT ? ERR_OK
                                                : err_sys(err, errno, "cannot remove %s", path);
}

enum err_code
files_remove_tree(const char *path, struct err *err)
{
    return remove_below(path, 0, err);
}
