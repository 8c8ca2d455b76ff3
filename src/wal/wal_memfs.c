/* Files in memory, faults, and crashes made from a journal. */
#include "wal/wal_memfs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "wal/wal_format.h"

enum { FILES_MAX = 512, HANDLES_MAX = 64, COIN_SIDES = 4 };

struct file {
    char name[WAL_NAME_LEN + 1];
    bool linked;
    uint8_t *bytes;
    size_t len;
    size_t cap;
};

struct handle {
    bool open;
    size_t file;
};

enum entry_kind {
    ENTRY_CREATE,
    ENTRY_UNLINK,
    ENTRY_WRITE,
    ENTRY_LENGTH,
    ENTRY_SYNC_DATA,
    ENTRY_SYNC_DIR
};

struct entry {
    enum entry_kind kind;
    size_t file;
    uint64_t value; /* offset or length */
    uint8_t *bytes;
    size_t len;
    bool good; /* a sync that succeeded */
};

struct wal_memfs {
    struct wal_sys sys;
    pthread_mutex_t lock;
    struct file files[FILES_MAX];
    size_t file_count;
    struct handle handles[HANDLES_MAX];
    uint64_t room;
    bool has_dir;
    struct rng rng;
    struct wal_memfs_fault fault;
    uint64_t calls[WAL_MEMFS_CALL_COUNT];
    bool journal_on;
    struct entry *entries;
    size_t entry_count;
    size_t entry_cap;
};

/* Begins a call: takes the lock and says whether the call is to fail, with errno set. */
static bool
begin(struct wal_memfs *fs, enum wal_memfs_call call)
{
    pthread_mutex_lock(&fs->lock);
    uint64_t n = ++fs->calls[call];
    const struct wal_memfs_fault *fault = &fs->fault;
    if (fault->call != call || fault->nth == 0 || n < fault->nth ||
        (fault->times > 0 && n >= fault->nth + fault->times) ||
        (fault->step > 0 && (n - fault->nth) % fault->step != 0)) {
        return false;
    }
    errno = fault->sys;
    return true;
}

static int
end(struct wal_memfs *fs, int result)
{
    int sys = errno;

    pthread_mutex_unlock(&fs->lock);
    errno = sys;
    return result;
}

static int
fail(struct wal_memfs *fs, int sys)
{
    errno = sys;
    return end(fs, -1);
}

static void
record(struct wal_memfs *fs, const struct entry *entry)
{
    if (!fs->journal_on) {
        return;
    }
    if (fs->entry_count == fs->entry_cap) {
        fs->entry_cap = fs->entry_cap ? 2 * fs->entry_cap : 64;
        fs->entries = mem_resize(fs->entries, fs->entry_cap, sizeof(fs->entries[0]));
    }
    struct entry *copy = &fs->entries[fs->entry_count++];
    *copy = *entry;
    if (entry->len > 0) {
        copy->bytes = mem_alloc(entry->len);
        memcpy(copy->bytes, entry->bytes, entry->len);
    }
}

static const char *
name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static struct file *
find(struct wal_memfs *fs, const char *name)
{
    for (size_t i = 0; i < fs->file_count; i++) {
        if (fs->files[i].linked && strcmp(fs->files[i].name, name) == 0) {
            return &fs->files[i];
        }
    }
    return NULL;
}

static struct file *
add_file(struct wal_memfs *fs, const char *name)
{
    assert(fs->file_count < FILES_MAX && strlen(name) <= WAL_NAME_LEN);
    struct file *file = &fs->files[fs->file_count++];
    *file = (struct file){.linked = true};
    memcpy(file->name, name, strlen(name) + 1);
    return file;
}

static void
set_len(struct file *file, size_t len)
{
    if (len > file->cap) {
        file->bytes = mem_resize(file->bytes, len, 1);
        file->cap = len;
    }
    if (len > file->len) {
        memset(file->bytes + file->len, 0, len - file->len);
    }
    file->len = len;
}

static void
put_bytes(struct file *file, uint64_t at, const uint8_t *bytes, size_t len)
{
    if (at + len > file->len) {
        set_len(file, (size_t)at + len);
    }
    memcpy(file->bytes + at, bytes, len);
}

static uint64_t
used(const struct wal_memfs *fs)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < fs->file_count; i++) {
        sum += fs->files[i].linked ? fs->files[i].len : 0;
    }
    return sum;
}

static struct file *
file_of(struct wal_memfs *fs, int fd)
{
    assert(fd >= 0 && fd < HANDLES_MAX && fs->handles[fd].open);
    return &fs->files[fs->handles[fd].file];
}

static int
mem_open(void *ctx, const char *path, int flags, mode_t mode)
{
    struct wal_memfs *fs = ctx;
    int fd = 0;

    (void)mode;
    if (begin(fs, WAL_MEMFS_OPEN)) {
        return end(fs, -1);
    }
    struct file *file = find(fs, name_of(path));
    if (file && (flags & O_EXCL)) {
        return fail(fs, EEXIST);
    }
    if (!file && !(flags & O_CREAT)) {
        return fail(fs, ENOENT);
    }
    if (!file) {
        file = add_file(fs, name_of(path));
        record(fs, &(struct entry){.kind = ENTRY_CREATE, .file = (size_t)(file - fs->files)});
    }
    while (fd < HANDLES_MAX && fs->handles[fd].open) {
        fd++;
    }
    assert(fd < HANDLES_MAX);
    fs->handles[fd] = (struct handle){.open = true, .file = (size_t)(file - fs->files)};
    return end(fs, fd);
}

static int
mem_close(void *ctx, int fd)
{
    struct wal_memfs *fs = ctx;

    pthread_mutex_lock(&fs->lock);
    file_of(fs, fd);
    fs->handles[fd].open = false;
    return end(fs, 0);
}

static ssize_t
mem_pread(void *ctx, int fd, void *dst, size_t len, off_t offset)
{
    struct wal_memfs *fs = ctx;

    if (begin(fs, WAL_MEMFS_PREAD)) {
        return end(fs, -1);
    }
    const struct file *file = file_of(fs, fd);
    size_t at = (size_t)offset;
    size_t left = at < file->len ? file->len - at : 0;
    len = len < left ? len : left;
    if (len > 0) {
        memcpy(dst, file->bytes + at, len);
    }
    end(fs, 0);
    return (ssize_t)len;
}

static ssize_t
mem_pwritev(void *ctx, int fd, const struct iovec *parts, int count, off_t offset)
{
    struct wal_memfs *fs = ctx;
    size_t len = 0;
    size_t done = 0;

    bool faulty = begin(fs, WAL_MEMFS_PWRITEV);
    bool half = fs->fault.half_first && fs->calls[WAL_MEMFS_PWRITEV] == fs->fault.nth;
    if (faulty && fs->fault.sys != 0 && !half) {
        return end(fs, -1);
    }
    for (int i = 0; i < count; i++) {
        len += parts[i].iov_len;
    }
    len = faulty ? (len + 1) / 2 : len;
    struct file *file = file_of(fs, fd);
    for (int i = 0; i < count && done < len; i++) {
        size_t part = parts[i].iov_len < len - done ? parts[i].iov_len : len - done;
        put_bytes(file, (uint64_t)offset + done, parts[i].iov_base, part);
        done += part;
    }
    record(fs, &(struct entry){.kind = ENTRY_WRITE,
                               .file = fs->handles[fd].file,
                               .value = (uint64_t)offset,
                               .bytes = file->bytes + offset,
                               .len = len});
    end(fs, 0);
    return (ssize_t)len;
}

static int
change_len(struct wal_memfs *fs, int fd, size_t len)
{
    set_len(file_of(fs, fd), len);
    record(fs, &(struct entry){.kind = ENTRY_LENGTH, .file = fs->handles[fd].file, .value = len});
    return end(fs, 0);
}

static int
mem_preallocate(void *ctx, int fd, off_t len)
{
    struct wal_memfs *fs = ctx;

    if (begin(fs, WAL_MEMFS_PREALLOCATE)) {
        return end(fs, -1);
    }
    if (used(fs) + (uint64_t)len > fs->room) {
        return fail(fs, ENOSPC);
    }
    return change_len(fs, fd, (size_t)len);
}

static int
mem_truncate(void *ctx, int fd, off_t len)
{
    struct wal_memfs *fs = ctx;

    if (begin(fs, WAL_MEMFS_TRUNCATE)) {
        return end(fs, -1);
    }
    return change_len(fs, fd, (size_t)len);
}

static void
mem_forget(void *ctx, int fd)
{
    (void)ctx;
    (void)fd;
}

static int
mem_sync_data(void *ctx, int fd)
{
    struct wal_memfs *fs = ctx;

    bool faulty = begin(fs, WAL_MEMFS_SYNC_DATA);
    int sys = errno;
    record(fs,
           &(struct entry){.kind = ENTRY_SYNC_DATA, .file = fs->handles[fd].file, .good = !faulty});
    errno = sys;
    return end(fs, faulty ? -1 : 0);
}

static int
mem_sync_dir(void *ctx, const char *path)
{
    struct wal_memfs *fs = ctx;

    if (begin(fs, WAL_MEMFS_SYNC_DIR)) {
        return end(fs, -1);
    }
    if (strcmp(path, WAL_MEMFS_DIR) == 0) {
        record(fs, &(struct entry){.kind = ENTRY_SYNC_DIR, .good = true});
    }
    return end(fs, 0);
}

static int
mem_unlink(void *ctx, const char *path)
{
    struct wal_memfs *fs = ctx;

    if (begin(fs, WAL_MEMFS_UNLINK)) {
        return end(fs, -1);
    }
    struct file *file = find(fs, name_of(path));
    if (!file) {
        return fail(fs, ENOENT);
    }
    file->linked = false;
    record(fs, &(struct entry){.kind = ENTRY_UNLINK, .file = (size_t)(file - fs->files)});
    return end(fs, 0);
}

static int
mem_mkdir(void *ctx, const char *path, mode_t mode)
{
    struct wal_memfs *fs = ctx;

    (void)mode;
    assert(strcmp(path, WAL_MEMFS_DIR) == 0);
    if (begin(fs, WAL_MEMFS_MKDIR)) {
        return end(fs, -1);
    }
    if (fs->has_dir) {
        return fail(fs, EEXIST);
    }
    fs->has_dir = true;
    return end(fs, 0);
}

static int
mem_list(void *ctx, const char *path, wal_sys_visit_fn *visit, void *arg)
{
    struct wal_memfs *fs = ctx;

    (void)path;
    if (begin(fs, WAL_MEMFS_LIST)) {
        return end(fs, -1);
    }
    if (!fs->has_dir) {
        return fail(fs, ENOENT);
    }
    for (size_t i = 0; i < fs->file_count; i++) {
        if (fs->files[i].linked) {
            visit(arg, fs->files[i].name);
        }
    }
    return end(fs, 0);
}

static off_t
mem_file_bytes(void *ctx, int fd)
{
    struct wal_memfs *fs = ctx;

    pthread_mutex_lock(&fs->lock);
    off_t len = (off_t)file_of(fs, fd)->len;
    pthread_mutex_unlock(&fs->lock);
    return len;
}

static int64_t
mem_free_bytes(void *ctx, const char *path)
{
    struct wal_memfs *fs = ctx;

    (void)path;
    if (begin(fs, WAL_MEMFS_FREE_BYTES)) {
        return end(fs, -1);
    }
    uint64_t left = fs->room > used(fs) ? fs->room - used(fs) : 0;
    end(fs, 0);
    return left > INT64_MAX ? INT64_MAX : (int64_t)left;
}

static uint64_t
mem_random(void *ctx)
{
    struct wal_memfs *fs = ctx;

    pthread_mutex_lock(&fs->lock);
    uint64_t value = rng_next(&fs->rng);
    pthread_mutex_unlock(&fs->lock);
    return value;
}

struct wal_memfs *
wal_memfs_new(uint64_t seed)
{
    struct wal_memfs *fs = mem_zalloc(1, sizeof(*fs));

    fs->sys = (struct wal_sys){
        .ctx = fs,
        .open = mem_open,
        .close = mem_close,
        .pread = mem_pread,
        .pwritev = mem_pwritev,
        .preallocate = mem_preallocate,
        .truncate = mem_truncate,
        .sync_data = mem_sync_data,
        .forget = mem_forget,
        .sync_dir = mem_sync_dir,
        .unlink = mem_unlink,
        .mkdir = mem_mkdir,
        .list = mem_list,
        .file_bytes = mem_file_bytes,
        .free_bytes = mem_free_bytes,
        .random = mem_random,
    };
    fs->room = UINT64_MAX;
    rng_init(&fs->rng, seed);
    pthread_mutex_init(&fs->lock, NULL);
    return fs;
}

void
wal_memfs_free(struct wal_memfs *fs)
{
    if (!fs) {
        return;
    }
    for (size_t i = 0; i < fs->entry_count; i++) {
        free(fs->entries[i].bytes);
    }
    for (size_t i = 0; i < fs->file_count; i++) {
        free(fs->files[i].bytes);
    }
    pthread_mutex_destroy(&fs->lock);
    free(fs->entries);
    free(fs);
}

const struct wal_sys *
wal_memfs_sys(struct wal_memfs *fs)
{
    return &fs->sys;
}

void
wal_memfs_fail(struct wal_memfs *fs, const struct wal_memfs_fault *fault)
{
    pthread_mutex_lock(&fs->lock);
    fs->fault = *fault;
    memset(fs->calls, 0, sizeof(fs->calls));
    pthread_mutex_unlock(&fs->lock);
}

uint64_t
wal_memfs_calls(struct wal_memfs *fs, enum wal_memfs_call call)
{
    pthread_mutex_lock(&fs->lock);
    uint64_t calls = fs->calls[call];
    pthread_mutex_unlock(&fs->lock);
    return calls;
}

void
wal_memfs_resize(struct wal_memfs *fs, uint64_t bytes)
{
    pthread_mutex_lock(&fs->lock);
    fs->room = bytes;
    pthread_mutex_unlock(&fs->lock);
}

size_t
wal_memfs_open_count(struct wal_memfs *fs)
{
    size_t count = 0;

    for (int fd = 0; fd < HANDLES_MAX; fd++) {
        count += fs->handles[fd].open;
    }
    return count;
}

void
wal_memfs_journal(struct wal_memfs *fs)
{
    assert(fs->file_count == 0);
    fs->journal_on = true;
}

size_t
wal_memfs_journal_len(struct wal_memfs *fs)
{
    pthread_mutex_lock(&fs->lock);
    size_t len = fs->entry_count;
    pthread_mutex_unlock(&fs->lock);
    return len;
}

/*
 * Whether the change at `index` was sure to be on disk after `len` entries. The first sync behind a
 * write decides; a directory change is made good by any later sync.
 */
static bool
is_sure(const struct wal_memfs *fs, size_t index, size_t len)
{
    const struct entry *change = &fs->entries[index];
    bool of_dir = change->kind == ENTRY_CREATE || change->kind == ENTRY_UNLINK;

    for (size_t i = index + 1; i < len; i++) {
        const struct entry *entry = &fs->entries[i];
        if (of_dir && entry->kind == ENTRY_SYNC_DIR) {
            return true;
        }
        if (!of_dir && entry->kind == ENTRY_SYNC_DATA && entry->file == change->file) {
            return entry->good;
        }
    }
    return false;
}

/* Lands heads with `chance` in COIN_SIDES. */
static bool
toss(struct rng *rng, uint64_t chance)
{
    return rng_below(rng, COIN_SIDES) < chance;
}

static void
replay_write(struct file *file, const struct entry *entry, bool sure, struct rng *rng,
             uint64_t chance)
{
    size_t done = 0;

    while (done < entry->len) {
        uint64_t at = entry->value + done;
        size_t part = WAL_MEMFS_SECTOR_BYTES - (size_t)(at % WAL_MEMFS_SECTOR_BYTES);
        part = part < entry->len - done ? part : entry->len - done;
        if (sure || toss(rng, chance)) {
            put_bytes(file, at, entry->bytes + done, part);
        }
        done += part;
    }
}

struct wal_memfs *
wal_memfs_crashed(struct wal_memfs *fs, size_t len, enum wal_memfs_crash how, uint64_t seed)
{
    struct wal_memfs *image = wal_memfs_new(seed);
    struct rng rng;

    rng_init(&rng, seed);
    uint64_t chance = rng_below(&rng, COIN_SIDES + 1);
    if (how == WAL_MEMFS_KILLED) {
        image->journal_on = true;
        for (size_t i = 0; i < len; i++) {
            record(image, &fs->entries[i]);
        }
    }
    image->has_dir = true;
    image->file_count = fs->file_count;
    for (size_t i = 0; i < fs->file_count; i++) {
        memcpy(image->files[i].name, fs->files[i].name, sizeof(image->files[i].name));
    }
    for (size_t i = 0; i < len; i++) {
        const struct entry *entry = &fs->entries[i];
        struct file *file = &image->files[entry->file];
        bool sure = how == WAL_MEMFS_KILLED || is_sure(fs, i, len);
        switch (entry->kind) {
        case ENTRY_CREATE:
            file->linked = sure || toss(&rng, chance);
            break;
        case ENTRY_UNLINK:
            file->linked = file->linked && !sure && !toss(&rng, chance);
            break;
        case ENTRY_WRITE:
            replay_write(file, entry, sure, &rng, chance);
            break;
        case ENTRY_LENGTH:
            if (sure || toss(&rng, chance)) {
                set_len(file, (size_t)entry->value);
            }
            break;
        case ENTRY_SYNC_DATA:
        case ENTRY_SYNC_DIR:
            break;
        }
    }
    return image;
}

struct wal_memfs *
wal_memfs_copy(struct wal_memfs *fs, uint64_t seed)
{
    struct wal_memfs *copy = wal_memfs_new(seed);

    pthread_mutex_lock(&fs->lock);
    copy->has_dir = fs->has_dir;
    for (size_t i = 0; i < fs->file_count; i++) {
        if (fs->files[i].linked) {
            wal_memfs_put(copy, fs->files[i].name, fs->files[i].bytes, fs->files[i].len);
        }
    }
    pthread_mutex_unlock(&fs->lock);
    return copy;
}

const char *
wal_memfs_name(struct wal_memfs *fs, size_t index)
{
    const char *previous = "";
    const char *name = NULL;

    for (size_t n = 0; n <= index; n++) {
        name = NULL;
        for (size_t i = 0; i < fs->file_count; i++) {
            const struct file *file = &fs->files[i];
            if (file->linked && strcmp(file->name, previous) > 0 &&
                (!name || strcmp(file->name, name) < 0)) {
                name = file->name;
            }
        }
        if (!name) {
            return NULL;
        }
        previous = name;
    }
    return name;
}

uint8_t *
wal_memfs_bytes(struct wal_memfs *fs, const char *name, size_t *ret_len)
{
    struct file *file = find(fs, name);

    assert(file);
    *ret_len = file->len;
    return file->bytes;
}

void
wal_memfs_put(struct wal_memfs *fs, const char *name, const void *bytes, size_t len)
{
    fs->has_dir = true;
    struct file *file = add_file(fs, name);
    set_len(file, len);
    if (len > 0) {
        memcpy(file->bytes, bytes, len);
    }
}

void
wal_memfs_cut(struct wal_memfs *fs, const char *name, size_t len)
{
    struct file *file = find(fs, name);

    assert(file);
    set_len(file, len);
}
