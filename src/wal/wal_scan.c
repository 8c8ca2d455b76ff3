/*
 * Three steps: every header is read and judged; the log is followed from the newest valid header
 * backwards, each naming the one before and where it ends; then every record of it is read. What a
 * header does not name is no part of the log, and whether that is right or a loss is told by the
 * numbers (pick_log). Where the newest segment ends is judged in wal_tail.c.
 */
#include "wal/wal_scan.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "wal/wal_format.h"
#include "wal/wal_reader.h"
#include "wal/wal_tail.h"

/* What a file turned out to be. */
enum file_state {
    FILE_VALID,
    FILE_BLANK,  /* made and not begun, or no valid header and only zeros behind it */
    FILE_DAMAGED /* no valid header, but something behind it */
};

struct file {
    uint64_t seq;
    uint64_t size;
    enum file_state state;
    struct wal_header header; /* of a valid one */
};

/* How far the frames of a segment could be read. */
struct walk {
    uint64_t next_lsn;
    uint64_t at;
    bool ends_in_mark;
};

struct scanner {
    const char *dir;
    const struct wal_sys *sys;
    wal_report_fn *report;
    void *report_ctx;
    struct wal_scan *scan;
    struct wal_seqs seqs;  /* of the files, ascending */
    uint64_t newest_bytes; /* what the newest segment was made with */
    struct file *files;
    struct wal_reader reader;
};

void
wal_seqs_add(struct wal_seqs *seqs, uint64_t seq)
{
    if (seqs->count == seqs->cap) {
        seqs->cap = seqs->cap ? 2 * seqs->cap : 16;
        seqs->at = mem_resize(seqs->at, seqs->cap, sizeof(seqs->at[0]));
    }
    seqs->at[seqs->count++] = seq;
}

void
wal_seqs_remove(struct wal_seqs *seqs, size_t index)
{
    assert(index < seqs->count);
    seqs->count--;
    memmove(seqs->at + index, seqs->at + index + 1, (seqs->count - index) * sizeof(seqs->at[0]));
}

void
wal_seqs_fini(struct wal_seqs *seqs)
{
    free(seqs->at);
    *seqs = (struct wal_seqs){0};
}

static void __attribute__((format(printf, 2, 3))) report(struct scanner *s, const char *fmt, ...)
{
    char line[ERR_MSG_MAX];
    va_list ap;

    if (s->report) {
        va_start(ap, fmt);
        vsnprintf(line, sizeof(line), fmt, ap);
        va_end(ap);
        s->report(s->report_ctx, line);
    }
}

/* The answer to damage; says what, where, and what to do. */
static enum err_code
corrupt(struct scanner *s, uint64_t seq, uint64_t offset, const char *what, struct err *err)
{
    char path[WAL_PATH_MAX];

    wal_path_format(s->dir, seq, path);
    report(s, "%016llu.wal: offset %llu: %s", (unsigned long long)seq, (unsigned long long)offset,
           what);
    return err_set(err, ERR_CORRUPT,
                   "log segment %.300s, offset %llu: %s; put the file back from a copy, or move "
                   "the log directory away and start from what the store has",
                   path, (unsigned long long)offset, what);
}

static enum err_code
open_file(struct scanner *s, uint64_t seq, int *ret_fd, uint64_t *ret_size, struct err *err)
{
    char path[WAL_PATH_MAX];

    wal_path_format(s->dir, seq, path);
    int fd = s->sys->open(s->sys->ctx, path, O_RDONLY, 0);
    if (fd < 0) {
        return err_sys(err, errno, "cannot open log segment %s", path);
    }
    off_t size = s->sys->file_bytes(s->sys->ctx, fd);
    if (size < 0) {
        enum err_code code = err_sys(err, errno, "cannot stat log segment %s", path);
        s->sys->close(s->sys->ctx, fd);
        return code;
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)size;
    return ERR_OK;
}

static void
visit_name(void *arg, const char *name)
{
    struct wal_seqs *seqs = arg;
    uint64_t seq;

    if (wal_name_parse(name, &seq)) {
        wal_seqs_add(seqs, seq);
    }
}

static int
compare_seqs(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* A header can be intact and still tell nonsense only if someone made it so. */
static bool
is_sane(const struct wal_header *header, uint64_t seq)
{
    return header->seq == seq && header->first_lsn >= 1 && header->first_lsn <= INT64_MAX &&
           header->prev_last_lsn < header->first_lsn && header->prev_seq < seq &&
           header->prev_end <= INT64_MAX &&
           (header->prev_seq == 0 || header->prev_end > WAL_HEADER_BYTES);
}

static enum err_code
judge_file(struct scanner *s, struct file *file, struct err *err)
{
    uint8_t block[WAL_HEADER_BYTES] = {0};
    struct wal_tail tail = {0};
    int fd = -1;

    enum err_code code = open_file(s, file->seq, &fd, &file->size, err);
    if (code != ERR_OK) {
        return code;
    }
    file->state = FILE_BLANK;
    struct wal_tail_file source = {s->sys, s->dir, fd, file->seq, file->size};
    code = wal_tail_read(&source, 0, block, sizeof(block), err);
    if (code == ERR_OK) {
        switch (wal_header_decode(block, &file->header)) {
        case WAL_HEADER_VALID:
            if (file->header.first_lsn == 0 && file->header.seq == file->seq) {
                break; /* blank, and says so itself */
            }
            file->state = FILE_VALID;
            if (!is_sane(&file->header, file->seq)) {
                code = corrupt(s, file->seq, 0, "the header contradicts itself", err);
            }
            break;
        case WAL_HEADER_NEWER:
            code = err_set(err, ERR_UNSUPPORTED,
                           "log segment %s/%016llu.wal was written by a later version of eider",
                           s->dir, (unsigned long long)file->seq);
            break;
        case WAL_HEADER_INVALID:
            /* A header is written only once the file has its length: with less, it was cut. */
            code = wal_tail_judge(&source, file->size < WAL_HEADER_BYTES ? 0 : WAL_HEADER_BYTES, 0,
                                  0, &tail, err);
            file->state = tail.used_bytes == 0 ? FILE_BLANK : FILE_DAMAGED;
            break;
        }
    }
    s->sys->close(s->sys->ctx, fd);
    return code;
}

static enum err_code
judge_files(struct scanner *s, struct err *err)
{
    if (s->sys->list(s->sys->ctx, s->dir, visit_name, &s->seqs) != 0) {
        return errno == ENOENT ? ERR_OK : err_sys(err, errno, "cannot list %s", s->dir);
    }
    if (s->seqs.count == 0) {
        return ERR_OK;
    }
    qsort(s->seqs.at, s->seqs.count, sizeof(s->seqs.at[0]), compare_seqs);
    s->scan->seq_max = s->seqs.at[s->seqs.count - 1];
    s->files = mem_zalloc(s->seqs.count, sizeof(s->files[0]));
    for (size_t i = 0; i < s->seqs.count; i++) {
        s->files[i].seq = s->seqs.at[i];
        enum err_code code = judge_file(s, &s->files[i], err);
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}

/* Puts a file that is no part of the log where it belongs. */
static void
set_aside(struct scanner *s, const struct file *file)
{
    bool blank = file->state == FILE_BLANK;

    wal_seqs_add(blank ? &s->scan->unused : &s->scan->superseded, file->seq);
    report(s, "%016llu.wal: %s", (unsigned long long)file->seq,
           blank ? "made ahead, not begun" : "abandoned without a durable record");
}

/*
 * Takes the file at `index` as the newest of what remains and finds the one that it names as the
 * one before. Files between the two hold nothing durable: a log that fails goes on in a new file
 * that names the last one with records. Files older than a named one that is gone are proof that it
 * was lost, since release deletes the oldest first. *ret_index is SIZE_MAX at the log's start.
 */
static enum err_code
find_previous(struct scanner *s, size_t index, size_t *ret_index, struct err *err)
{
    const struct wal_header *header = &s->files[index].header;
    size_t at = index;

    *ret_index = SIZE_MAX;
    while (at > 0 && s->files[at - 1].seq > header->prev_seq) {
        set_aside(s, &s->files[--at]);
    }
    if (at == 0) {
        return ERR_OK;
    }
    const struct file *before = &s->files[at - 1];
    if (before->seq < header->prev_seq) {
        for (size_t i = 0; i < at; i++) {
            if (s->files[i].state != FILE_BLANK) {
                return corrupt(s, header->prev_seq, 0, "the segment is missing", err);
            }
            set_aside(s, &s->files[i]);
        }
        return ERR_OK;
    }
    if (before->state != FILE_VALID) {
        return corrupt(s, before->seq, 0, "the header is damaged", err);
    }
    if (before->header.first_lsn > header->prev_last_lsn || before->size < header->prev_end) {
        return corrupt(s, before->seq, before->size,
                       "the segment ends before the place that the next one names", err);
    }
    *ret_index = at - 1;
    return ERR_OK;
}

static void
add_extent(struct scanner *s, const struct file *file, const struct wal_header *next)
{
    struct wal_scan *scan = s->scan;

    scan->extents[scan->extent_count++] = (struct wal_extent){
        .seq = file->seq,
        .first_lsn = file->header.first_lsn,
        .last_lsn = next ? next->prev_last_lsn : file->header.first_lsn - 1,
        .end = next ? next->prev_end : WAL_HEADER_BYTES,
        .size = file->size,
        .salt = file->header.salt,
    };
}

/* Follows the log backwards from the newest valid header and fills scan->extents. */
static enum err_code
pick_log(struct scanner *s, struct err *err)
{
    size_t newest = s->seqs.count;

    while (newest > 0 && s->files[newest - 1].state != FILE_VALID) {
        const struct file *file = &s->files[--newest];
        if (file->state == FILE_DAMAGED) {
            return corrupt(s, file->seq, 0, "the header is damaged", err);
        }
        set_aside(s, file);
    }
    if (newest == 0) {
        return ERR_OK;
    }
    s->scan->extents = mem_zalloc(newest, sizeof(s->scan->extents[0]));
    s->newest_bytes = s->files[newest - 1].header.segment_bytes;
    const struct wal_header *next = NULL;
    for (size_t at = newest - 1; at != SIZE_MAX;) {
        add_extent(s, &s->files[at], next);
        next = &s->files[at].header;
        enum err_code code = find_previous(s, at, &at, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    for (size_t i = 0, j = s->scan->extent_count - 1; i < j; i++, j--) {
        struct wal_extent swap = s->scan->extents[i];
        s->scan->extents[i] = s->scan->extents[j];
        s->scan->extents[j] = swap;
    }
    return ERR_OK;
}

/*
 * Reads frames while they are whole and in order; counts the records and follows what is proven to
 * have been synced: a group's first frame and a mark prove what is before them, never themselves.
 */
static enum err_code
read_frames(struct scanner *s, uint64_t first_lsn, struct walk *ret_walk, struct err *err)
{
    struct walk walk = {.next_lsn = first_lsn};
    struct wal_frame frame;
    struct slice payload;

    for (;;) {
        walk.at = s->reader.at;
        enum wal_step step = wal_reader_next(&s->reader, &frame, &payload, err);
        if (step == WAL_STEP_FAILED) {
            return ERR_IO;
        }
        bool record = step == WAL_STEP_RECORD && frame.lsn == walk.next_lsn;
        bool mark = step == WAL_STEP_MARK && frame.lsn == walk.next_lsn - 1;
        if (!record && !mark) {
            *ret_walk = walk;
            return ERR_OK;
        }
        if (mark || frame.ahead == 1) {
            s->scan->unproven_at = walk.at;
        }
        walk.ends_in_mark = mark;
        walk.next_lsn += record;
        s->scan->records += record;
    }
}

/* A segment whose end is known: all of it must be there. */
static enum err_code
verify_ended(struct scanner *s, const struct wal_extent *extent, struct err *err)
{
    struct walk walk;

    enum err_code code = read_frames(s, extent->first_lsn, &walk, err);
    if (code != ERR_OK) {
        return code;
    }
    if (walk.at != extent->end) {
        return corrupt(s, extent->seq, walk.at, "a record is damaged and others follow it", err);
    }
    if (walk.next_lsn != extent->last_lsn + 1) {
        return corrupt(s, extent->seq, walk.at, "records are missing at the end of the segment",
                       err);
    }
    return ERR_OK;
}

/* The newest segment: finds where it ends. */
static enum err_code
verify_newest(struct scanner *s, struct wal_extent *extent, struct err *err)
{
    struct wal_tail tail;
    struct walk walk;

    s->scan->unproven_at = 0; /* the header comes before the records */
    enum err_code code = read_frames(s, extent->first_lsn, &walk, err);
    if (code != ERR_OK) {
        return code;
    }
    struct wal_tail_file source = {s->sys, s->dir, s->reader.fd, extent->seq, extent->size};
    code = wal_tail_judge(&source, walk.at, extent->salt, walk.next_lsn, &tail, err);
    if (code != ERR_OK) {
        return code;
    }
    if (tail.hole) {
        return corrupt(s, extent->seq, walk.at,
                       "a record is damaged, and a later one proves that it was durable", err);
    }
    bool was_closed = walk.ends_in_mark && walk.at == extent->size;
    if (extent->size != s->newest_bytes && !was_closed) {
        return corrupt(s, extent->seq, extent->size, "the file was cut", err);
    }
    extent->end = walk.at;
    extent->last_lsn = walk.next_lsn - 1;
    s->scan->torn_bytes = tail.used_bytes;
    if (tail.used_bytes > 0) {
        report(s, "%016llu.wal: torn tail of %llu bytes at offset %llu (a write without its sync)",
               (unsigned long long)extent->seq, (unsigned long long)tail.used_bytes,
               (unsigned long long)walk.at);
    }
    return ERR_OK;
}

/* Counts what is taken on trust: its header and the next one agree on it. */
static void
trust_extent(struct scanner *s, const struct wal_extent *extent)
{
    s->scan->records += extent->last_lsn + 1 - extent->first_lsn;
}

static enum err_code
verify_extent(struct scanner *s, size_t index, struct err *err)
{
    struct wal_extent *extent = &s->scan->extents[index];
    bool newest = index + 1 == s->scan->extent_count;
    uint64_t records = s->scan->records;
    int fd = -1;

    enum err_code code = open_file(s, extent->seq, &fd, &extent->size, err);
    if (code != ERR_OK) {
        return code;
    }
    uint64_t end = newest ? extent->size & ~(uint64_t)(WAL_ALIGN - 1) : extent->end;
    if (end < WAL_HEADER_BYTES) {
        end = WAL_HEADER_BYTES;
    }
    wal_reader_attach(&s->reader, fd, extent->seq, extent->salt, end);
    code = newest ? verify_newest(s, extent, err) : verify_ended(s, extent, err);
    s->sys->close(s->sys->ctx, fd);
    if (code == ERR_OK) {
        report(s, "%016llu.wal: LSN %llu to %llu, %llu records, %llu bytes",
               (unsigned long long)extent->seq, (unsigned long long)extent->first_lsn,
               (unsigned long long)extent->last_lsn,
               (unsigned long long)(s->scan->records - records), (unsigned long long)extent->end);
    }
    return code;
}

static enum err_code
run(struct scanner *s, uint64_t trusted_lsn, struct err *err)
{
    struct wal_scan *scan = s->scan;

    *scan = (struct wal_scan){0};
    wal_reader_init(&s->reader, s->sys, s->dir);
    enum err_code code = judge_files(s, err);
    if (code == ERR_OK) {
        code = pick_log(s, err);
    }
    for (size_t i = 0; code == ERR_OK && i < scan->extent_count; i++) {
        bool newest = i + 1 == scan->extent_count;
        if (!newest && scan->extents[i].last_lsn <= trusted_lsn) {
            trust_extent(s, &scan->extents[i]);
        } else {
            code = verify_extent(s, i, err);
        }
    }
    wal_reader_fini(&s->reader);
    wal_seqs_fini(&s->seqs);
    free(s->files);
    return code;
}

enum err_code
wal_scan_dir(const char *dir, const struct wal_sys *sys, wal_report_fn *report_fn, void *ctx,
             struct wal_scan *ret_scan, struct err *err)
{
    struct scanner s = {
        .dir = dir, .sys = sys, .report = report_fn, .report_ctx = ctx, .scan = ret_scan};

    return run(&s, 0, err);
}

enum err_code
wal_scan_above(const char *dir, const struct wal_sys *sys, uint64_t trusted_lsn,
               struct wal_scan *ret_scan, struct err *err)
{
    struct scanner s = {.dir = dir, .sys = sys, .scan = ret_scan};

    return run(&s, trusted_lsn, err);
}

void
wal_scan_fini(struct wal_scan *scan)
{
    free(scan->extents);
    wal_seqs_fini(&scan->unused);
    wal_seqs_fini(&scan->superseded);
    *scan = (struct wal_scan){0};
}

enum err_code
wal_check(const char *dir, const struct wal_sys *sys, wal_report_fn *report_fn, void *ctx,
          struct err *err)
{
    struct wal_scan scan;

    if (strlen(dir) >= WAL_PATH_MAX - WAL_NAME_LEN - 1) {
        return err_set(err, ERR_INVALID, "the path of the log directory is too long");
    }
    enum err_code code = wal_scan_dir(dir, sys ? sys : wal_sys_real(), report_fn, ctx, &scan, err);
    wal_scan_fini(&scan);
    return code;
}
