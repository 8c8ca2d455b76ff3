/*
 * The log behind a backup, out of any number of directories: which segments follow each other from
 * the first record wanted on, where to cut, and copies of them that a log opens.
 *
 *   archive  [11][12][13]            to LSN N: the run 12 13 14, segment 14 cut behind record N
 *   old wal/         [13][14][15]    a run ends where the next segment does not name the one before
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
#include "codec/time.h"
#include "store/failpoint.h"
#include "wal/wal_format.h"
#include "wal/wal_reader.h"
#include "wal/wal_tail.h"

struct segment {
    char *path;
    char *dir;
    struct wal_header header;
    uint64_t size;
    size_t log; /* which directory; a later one is believed */
};

struct run {
    struct segment *segments; /* by number, of all directories */
    size_t count;
    size_t first; /* the run: [first, end) */
    size_t end;
    size_t cut_index; /* the segment that is cut, */
    uint64_t cut_at;  /* and where; 0: nothing is wanted */
    struct replay_result result;
    bool stopped; /* at to_lsn or to_us: more may follow */
};

static void
run_fini(struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        free(run->segments[i].path);
        free(run->segments[i].dir);
    }
    free(run->segments);
}

static enum err_code
add_log(struct run *run, const char *dir, size_t log, struct err *err)
{
    struct files_names names FILES_NAMES_AUTO = {0};
    enum err_code code = files_list(dir, &names, err);

    for (size_t i = 0; code == ERR_OK && i < names.count; i++) {
        struct segment segment = {.log = log};
        char path[FILES_PATH_MAX];
        struct err ignored;
        uint64_t seq;
        if (!wal_name_parse(names.at[i], &seq)) {
            continue;
        }
        code = files_join(dir, names.at[i], path, err);
        /* One without a header was made ahead and never begun; a damaged one leaves a gap. */
        if (code != ERR_OK || archive_header(path, &segment.header, &ignored) != ERR_OK ||
            segment.header.first_lsn == 0 || segment.header.seq != seq) {
            continue;
        }
        segment.path = mem_strdup(slice_of(path));
        segment.dir = mem_strdup(slice_of(dir));
        segment.size = files_bytes(path);
        run->segments = mem_resize(run->segments, run->count + 1, sizeof(*run->segments));
        run->segments[run->count++] = segment;
    }
    return code;
}

static int
by_seq(const void *a, const void *b)
{
    const struct segment *x = a;
    const struct segment *y = b;

    if (x->header.seq != y->header.seq) {
        return x->header.seq < y->header.seq ? -1 : 1;
    }
    return x->log < y->log ? -1 : 1;
}

/* One of each number: that of the later directory. */
static void
drop_doubles(struct run *run)
{
    size_t kept = 0;

    if (run->count > 0) {
        qsort(run->segments, run->count, sizeof(*run->segments), by_seq);
    }
    for (size_t i = 0; i < run->count; i++) {
        if (i + 1 < run->count && run->segments[i].header.seq == run->segments[i + 1].header.seq) {
            free(run->segments[i].path);
            free(run->segments[i].dir);
        } else {
            run->segments[kept++] = run->segments[i];
        }
    }
    run->count = kept;
}

/* Whether `next` goes on where `segment` ends. */
static bool
follows(const struct segment *segment, const struct segment *next)
{
    return next->header.prev_seq == segment->header.seq &&
           next->header.prev_last_lsn + 1 == next->header.first_lsn &&
           next->header.prev_end <= segment->size;
}

/* The segment with from_lsn and those that follow it. Segments that no header names are passed
 * over: nothing in them was durable. */
static enum err_code
pick_run(struct run *run, const struct replay *replay, struct err *err)
{
    uint64_t from_lsn = replay->from_lsn;
    size_t kept = 0;
    size_t first = SIZE_MAX;

    for (size_t i = 0; i < run->count; i++) {
        if (run->segments[i].header.first_lsn <= from_lsn) {
            first = i;
        }
    }
    if (run->count == 0) {
        return ERR_OK;
    }
    if (first == SIZE_MAX && replay->salvage) {
        first = 0;
    }
    if (first == SIZE_MAX) {
        return err_set(err, ERR_NOT_FOUND,
                       "the log begins at LSN %" PRIu64 ", %" PRIu64
                       " is wanted: take a later backup, or give the archive that has them (--wal)",
                       run->segments[0].header.first_lsn, from_lsn);
    }
    run->first = first;
    run->end = first + 1;
    kept = first;
    for (size_t i = first + 1; i < run->count; i++) {
        if (follows(&run->segments[kept], &run->segments[i])) {
            struct segment swap = run->segments[++kept];
            run->segments[kept] = run->segments[i];
            run->segments[i] = swap;
            run->end = kept + 1;
        }
    }
    return ERR_OK;
}

static bool
is_behind(const struct replay *replay, const struct wal_frame *frame)
{
    return (replay->has_lsn && frame->lsn > replay->to_lsn) ||
           (replay->has_time && frame->lsn >= replay->from_lsn && frame->wall_us > replay->to_us);
}

/* Behind the last segment's last whole record there may be the rest of a write that was never
 * acknowledged, but nothing that proves that more was. */
static enum err_code
judge_tail(const struct segment *segment, int fd, uint64_t at, uint64_t lsn, struct err *err)
{
    const struct wal_tail_file file = {wal_sys_real(), segment->dir, fd, segment->header.seq,
                                       segment->size};
    struct wal_tail tail;
    enum err_code code = wal_tail_judge(&file, at, segment->header.salt, lsn, &tail, err);

    if (code == ERR_OK && tail.hole) {
        code = err_set(err, ERR_CORRUPT,
                       "%s is damaged at offset %" PRIu64 ", and record %" PRIu64
                       " and later ones were acknowledged; --to-lsn %" PRIu64
                       " restores what is before them",
                       segment->path, at, lsn, lsn - 1);
    }
    return code;
}

/* Reads the records of one segment. */
static enum err_code
read_segment(struct run *run, const struct replay *replay, struct wal_reader *reader, size_t index,
             struct err *err)
{
    const struct segment *segment = &run->segments[index];
    bool is_last = index + 1 == run->end;
    const struct wal_header *next = is_last ? NULL : &run->segments[index + 1].header;
    uint64_t expected = segment->header.first_lsn;
    struct wal_frame frame;
    struct slice payload;
    int fd = open(segment->path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", segment->path);
    }
    reader->dir = segment->dir;
    wal_reader_attach(reader, fd, segment->header.seq, segment->header.salt,
                      next ? next->prev_end : segment->size & ~(uint64_t)(WAL_ALIGN - 1));
    enum err_code code = ERR_OK;
    while (code == ERR_OK && !run->stopped) {
        enum wal_step step = wal_reader_next(reader, &frame, &payload, err);
        bool record = step == WAL_STEP_RECORD && frame.lsn == expected;
        if (step == WAL_STEP_FAILED) {
            code = ERR_IO;
        } else if (record && is_behind(replay, &frame)) {
            run->stopped = true;
        } else if (record) {
            expected++;
            run->result.last_lsn = frame.lsn;
            run->result.last_us = frame.wall_us;
            run->cut_index = index;
            run->cut_at = reader->at;
        } else if (step != WAL_STEP_MARK) {
            break; /* the end, or the torn tail of the newest */
        }
    }
    if (code == ERR_OK && !run->stopped && next && expected != next->first_lsn) {
        code = err_set(err, ERR_CORRUPT,
                       "%s is damaged at offset %" PRIu64 ": records %" PRIu64 " to %" PRIu64
                       " cannot be read; --to-lsn %" PRIu64 " restores what is before them",
                       segment->path, reader->at, expected, next->first_lsn - 1, expected - 1);
    }
    if (code != ERR_OK && replay->salvage) {
        run->stopped = true;
        code = ERR_OK;
    }
    if (code == ERR_OK && !run->stopped && !next && !replay->salvage) {
        code = judge_tail(segment, fd, reader->at, expected, err);
    }
    close(fd);
    return code;
}

/* The log ends before what is wanted, or goes on behind a gap. */
static enum err_code
check_reach(const struct run *run, const struct replay *replay, struct err *err)
{
    uint64_t last = run->result.last_lsn;

    if (run->stopped || replay->salvage || (replay->has_lsn && last >= replay->to_lsn)) {
        return ERR_OK;
    }
    size_t beyond = run->end;
    while (beyond < run->count && run->segments[beyond].header.first_lsn <= last + 1) {
        beyond++; /* abandoned: nothing in it was durable */
    }
    if (beyond < run->count) {
        return err_set(err, ERR_NOT_FOUND,
                       "the archive ends at LSN %" PRIu64 ": records up to %" PRIu64
                       " are missing before it goes on; --to-lsn %" PRIu64
                       " restores what is before the gap",
                       last, run->segments[beyond].header.first_lsn - 1, last);
    }
    if (replay->has_lsn) {
        return err_set(err, ERR_NOT_FOUND,
                       "the archive ends at LSN %" PRIu64 ", %" PRIu64
                       " wanted: the newest records are not in the archive but in the log of the "
                       "data directory; name it, too (--wal DATA_DIR)",
                       last, replay->to_lsn);
    }
    return ERR_OK;
}

static enum err_code
find_cut(struct run *run, const struct replay *replay, struct err *err)
{
    struct wal_reader reader;
    enum err_code code = ERR_OK;

    wal_reader_init(&reader, wal_sys_real(), replay->staging);
    for (size_t i = run->first; i < run->end && code == ERR_OK && !run->stopped; i++) {
        code = read_segment(run, replay, &reader, i, err);
    }
    wal_reader_fini(&reader);
    if (run->result.last_lsn < replay->from_lsn) {
        run->result.last_lsn = replay->from_lsn - 1; /* what there is, the backup has */
        run->cut_at = 0;
    }
    run->result.log_end_lsn = run->result.last_lsn;
    return code ? code : check_reach(run, replay, err);
}

/* The newest segment of a log has the length that it was made with: behind its end are zeros. */
static enum err_code
lengthen(const char *path, uint64_t bytes, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        return err_sys(err, errno, "cannot open %s", path);
    }
    enum err_code code = ERR_OK;
    if (ftruncate(fd, (off_t)bytes) != 0 || fsync(fd) != 0) {
        code = err_sys(err, errno, "cannot lengthen %s", path);
    }
    close(fd);
    return code;
}

static enum err_code
copy_run(const struct run *run, const char *staging, struct err *err)
{
    enum err_code code = files_make_dirs(staging, err);

    for (size_t i = run->first; i <= run->cut_index && code == ERR_OK; i++) {
        const struct segment *segment = &run->segments[i];
        char to[WAL_PATH_MAX];
        bool is_cut = i == run->cut_index;
        uint64_t end = is_cut ? run->cut_at : run->segments[i + 1].header.prev_end;
        wal_path_format(staging, segment->header.seq, to);
        const struct files_copy copy = {segment->path, to, end};
        code = files_copy(&copy, NULL, err);
        if (code == ERR_OK && is_cut && segment->header.segment_bytes > end) {
            code = lengthen(to, segment->header.segment_bytes, err);
        }
        code = code ? code : failpoint_fails("restore.logged", err);
    }
    return code ? code : files_sync_dir(staging, err);
}

enum err_code
replay_stage(const struct replay *replay, struct replay_result *ret_result, struct err *err)
{
    struct run run = {.result = {.last_lsn = replay->from_lsn - 1}};
    enum err_code code = ERR_OK;

    for (size_t i = 0; replay->logs && replay->logs[i] && code == ERR_OK; i++) {
        code = add_log(&run, replay->logs[i], i, err);
    }
    drop_doubles(&run);
    bool wants_none = replay->has_lsn && replay->to_lsn < replay->from_lsn;
    if (!wants_none) {
        code = code ? code : pick_run(&run, replay, err);
        code = code ? code : find_cut(&run, replay, err);
    }
    if (code == ERR_OK && run.cut_at > 0 && !replay->dry_run) {
        code = copy_run(&run, replay->staging, err);
    }
    if (code == ERR_OK) {
        *ret_result = run.result;
        ret_result->went_on = run.stopped;
    }
    run_fini(&run);
    return code;
}

enum err_code
backup_salvage_log(const char *wal_dir, const char *to, uint64_t from_lsn, uint64_t *ret_last_lsn,
                   struct err *err)
{
    const char *const logs[] = {wal_dir, NULL};
    const struct replay replay = {
        .logs = logs, .staging = to, .from_lsn = from_lsn, .salvage = true};
    struct replay_result result = {0};
    enum err_code code = replay_stage(&replay, &result, err);

    if (code == ERR_OK) {
        *ret_last_lsn = result.last_lsn;
    }
    return code;
}
