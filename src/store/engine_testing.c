/* The engine's test rig. */
#include "store/engine_testing.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

enum { WAIT_MS = 60000 };

struct plan rig_plan;

/* A store that passes calls on to another, and fails as rig_plan says. */
struct flaky {
    struct store store; /* first */
    struct store *inner;
    enum err_code broken; /* what apply answers from now on; ERR_OK: it works */
};

static struct store *
inner_of(struct store *store)
{
    return ((struct flaky *)store)->inner;
}

static bool
is_poisoned(const struct store_group *group)
{
    int64_t poison = atomic_load(&rig_plan.poison);

    for (size_t i = 0; i < group->batch_count && poison != 0; i++) {
        const struct batch *batch = &group->batches[i];
        for (size_t row = 0; row < batch->rows && batch->table->id == TABLE_SAMPLES; row++) {
            if (batch_get_i64(batch, 0, row) == poison) {
                return true;
            }
        }
    }
    return false;
}

static enum err_code
flaky_apply(struct store *store, const struct store_group *group, struct err *err)
{
    struct flaky *flaky = (struct flaky *)store;
    int number = atomic_fetch_add(&rig_plan.applies, 1) + 1;
    int from = atomic_load(&rig_plan.fail_from);
    bool planned = from > 0 && number >= from && number < from + atomic_load(&rig_plan.fail_count);
    enum err_code code = (enum err_code)atomic_load(&rig_plan.fail_code);

    if (rig_plan.on_apply) {
        rig_plan.on_apply(rig_plan.on_apply_ctx);
    }
    if (flaky->broken) {
        return err_set(err, flaky->broken, "planned: broken before");
    }
    if (planned || is_poisoned(group)) {
        if (code == ERR_CORRUPT || code == ERR_INTERNAL) {
            flaky->broken = code;
        }
        return err_set(err, code, "planned: apply %d fails", number);
    }
    return store_apply(flaky->inner, group, err);
}

static enum err_code
flaky_scan(struct store *store, const struct store_scan *scan, struct batch *ret_rows,
           struct err *err)
{
    if (atomic_load(&rig_plan.fail_scans) > 0) {
        atomic_fetch_sub(&rig_plan.fail_scans, 1);
        return err_set(err, ERR_UNAVAILABLE, "planned: the scan fails");
    }
    return store_scan(inner_of(store), scan, ret_rows, err);
}

static enum err_code
flaky_bucket(struct store *store, const struct store_bucket *bucket, struct batch *ret_rows,
             struct err *err)
{
    return store_bucket(inner_of(store), bucket, ret_rows, err);
}

static enum err_code
flaky_visit(struct store *store, const struct store_scan *scan, store_visit_fn *fn, void *ctx,
            struct err *err)
{
    return store_visit(inner_of(store), scan, fn, ctx, err);
}

static enum err_code
flaky_sql(struct store *store, const struct store_sql *sql, struct batch *ret_rows,
          bool *ret_truncated, struct err *err)
{
    return store_sql(inner_of(store), sql, ret_rows, ret_truncated, err);
}

static enum err_code
flaky_latest(struct store *store, enum table_id table, const struct store_patience *patience,
             struct batch *ret_rows, struct err *err)
{
    return store_latest(inner_of(store), table, patience, ret_rows, err);
}

static enum err_code
flaky_checkpoint(struct store *store, struct err *err)
{
    atomic_fetch_add(&rig_plan.checkpoints, 1);
    if (atomic_load(&rig_plan.fail_checkpoint) > 0) {
        atomic_fetch_sub(&rig_plan.fail_checkpoint, 1);
        return err_set(err, ERR_INTERNAL, "planned: it is another store");
    }
    return store_checkpoint(inner_of(store), err);
}

static enum err_code
flaky_snapshot(struct store *store, const char *path, struct err *err)
{
    if (atomic_load(&rig_plan.fail_snapshot) > 0) {
        atomic_fetch_sub(&rig_plan.fail_snapshot, 1);
        return err_set(err, ERR_NO_SPACE, "planned: the snapshot fails");
    }
    return store_snapshot(inner_of(store), path, err);
}

static uint64_t
flaky_applied_lsn(struct store *store)
{
    return store_applied_lsn(inner_of(store));
}

static void
flaky_stats(struct store *store, struct store_stats *ret_stats)
{
    store_stats(inner_of(store), ret_stats);
}

static enum err_code
flaky_table_stats(struct store *store, enum table_id table, struct store_table_stats *ret_stats,
                  struct err *err)
{
    return store_table_stats(inner_of(store), table, ret_stats, err);
}

static void
flaky_interrupt(struct store *store)
{
    store_interrupt(inner_of(store));
}

static void
flaky_close(struct store *store)
{
    store_close(inner_of(store));
    free(store);
}

static const struct store_ops flaky_ops = {
    .type = "flaky",
    .apply = flaky_apply,
    .scan = flaky_scan,
    .bucket = flaky_bucket,
    .visit = flaky_visit,
    .sql = flaky_sql,
    .latest = flaky_latest,
    .checkpoint = flaky_checkpoint,
    .snapshot = flaky_snapshot,
    .applied_lsn = flaky_applied_lsn,
    .stats = flaky_stats,
    .table_stats = flaky_table_stats,
    .interrupt = flaky_interrupt,
    .close = flaky_close,
};

enum err_code
rig_store_open(const struct store_open_options *options, struct store **ret_store, struct err *err)
{
    struct store *inner;

    atomic_fetch_add(&rig_plan.opens, 1);
    if (atomic_load(&rig_plan.fail_opens) > 0) {
        atomic_fetch_sub(&rig_plan.fail_opens, 1);
        return err_set(err, ERR_IO, "planned: the open fails");
    }
    enum err_code code = rig_plan.open(options, &inner, err);
    if (code) {
        return code;
    }
    struct flaky *flaky = mem_zalloc(1, sizeof(*flaky));
    flaky->store.ops = &flaky_ops;
    flaky->inner = inner;
    *ret_store = &flaky->store;
    return ERR_OK;
}

static void
note_event(void *ctx, bool is_problem, const char *text)
{
    struct rig *rig = ctx;

    atomic_fetch_add(&rig->events, 1);
    atomic_fetch_add(&rig->problems, is_problem);
    if (getenv("RIG_VERBOSE")) { /* NOLINT(concurrency-mt-unsafe): nobody sets it */
        fprintf(stderr, "%s: %s\n", is_problem ? "problem" : "event", text);
    }
}

static void
rig_init(struct rig *rig)
{
    memset((void *)rig, 0, sizeof(*rig));
    snprintf(rig->dir, sizeof(rig->dir), "/tmp/eider-engine-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    rig->options = (struct engine_options){
        .data_dir = rig->dir,
        .store_open = rig_store_open,
        .store = {.threads = 1, .readers = 2},
        .wal = {.segment_bytes = 64 << 10},
        .event = note_event,
        .event_ctx = rig,
    };
}

int
rig_setup(void **state)
{
    struct rig *rig = mem_zalloc(1, sizeof(*rig));
    store_open_fn *open = rig_plan.open;

    memset((void *)&rig_plan, 0, sizeof(rig_plan));
    rig_plan.open = open;
    rig_init(rig);
    *state = rig;
    return 0;
}

int
rig_teardown(void **state)
{
    rig_fini(*state);
    free(*state);
    return 0;
}

void
rig_fini(struct rig *rig)
{
    rig_close(rig);
    rig_remove_tree(rig->dir);
}

void
rig_open(struct rig *rig)
{
    struct err err = {0};

    assert_null(rig->engine);
    if (engine_open(&rig->options, &rig->engine, &err)) {
        fail_msg("engine_open: %s", err.msg);
    }
}

void
rig_close(struct rig *rig)
{
    engine_close(rig->engine);
    rig->engine = NULL;
}

/* A write that somebody waits for. */
struct waiting {
    struct wal_entry entry;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    enum err_code code;
};

static void
write_done(struct wal_entry *entry, enum err_code code, const struct err *err)
{
    struct waiting *waiting = entry->ctx;

    (void)err;
    pthread_mutex_lock(&waiting->lock);
    waiting->done = true;
    waiting->code = code;
    pthread_cond_signal(&waiting->changed);
    pthread_mutex_unlock(&waiting->lock);
}

uint64_t
rig_write_bytes(struct rig *rig, struct slice bytes)
{
    struct waiting waiting = {
        .entry = {.part_count = 1, .parts = {bytes}, .done = write_done},
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .changed = PTHREAD_COND_INITIALIZER,
    };

    waiting.entry.ctx = &waiting;
    engine_submit(rig->engine, &waiting.entry);
    pthread_mutex_lock(&waiting.lock);
    while (!waiting.done) {
        pthread_cond_wait(&waiting.changed, &waiting.lock);
    }
    pthread_mutex_unlock(&waiting.lock);
    assert_int_equal(waiting.code, ERR_OK);
    return waiting.entry.lsn;
}

uint64_t
rig_write(struct rig *rig, enum table_id table, const char *lines)
{
    struct buf bytes BUF_AUTO = {0};
    struct batch batch;

    buf_init(&bytes, 0);
    contract_fill(&batch, table, lines);
    batch_encode(&batch, &bytes);
    uint64_t lsn = rig_write_bytes(rig, buf_slice(&bytes));
    batch_fini(&batch);
    return lsn;
}

uint64_t
rig_sample(struct rig *rig, int series, int time_us)
{
    char line[64];

    snprintf(line, sizeof(line), "%d|%d|0.5\n", series, time_us);
    return rig_write(rig, TABLE_SAMPLES, line);
}

void
rig_applied(struct rig *rig, uint64_t lsn)
{
    struct err err = {0};

    if (engine_wait_applied(rig->engine, lsn, WAIT_MS, &err)) {
        fail_msg("%s", err.msg);
    }
}

void
rig_expect_samples(struct rig *rig, int count)
{
    struct store_scan scan = {.table = TABLE_SAMPLES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct err err = {0};
    struct batch rows;

    if (engine_scan(rig->engine, &scan, &rows, &err)) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(rows.rows, count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(batch_get_i64(&rows, 0, (size_t)i), 1);
        assert_int_equal(batch_get_i64(&rows, 1, (size_t)i), i + 1);
    }
    batch_fini(&rows);
}

int
rig_count_files(const struct rig *rig, const char *sub, const char *part)
{
    char path[RIG_PATH_MAX + 64];
    const struct dirent *entry;
    int count = 0;

    snprintf(path, sizeof(path), "%s/%s", rig->dir, sub);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    while ((entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): its own stream */
        count += entry->d_name[0] != '.' && strstr(entry->d_name, part) != NULL;
    }
    closedir(dir);
    return count;
}

void
rig_spoil(const struct rig *rig, const char *name)
{
    char path[RIG_PATH_MAX + 64];
    char garbage[5000];

    memset(garbage, 'x', sizeof(garbage));
    snprintf(path, sizeof(path), "%s/%s", rig->dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_int_equal(fwrite(garbage, 1, sizeof(garbage), file), sizeof(garbage));
    assert_int_equal(fclose(file), 0);
}

static void
copy_file(const char *from, const char *to)
{
    char buffer[1 << 16];
    size_t got;
    FILE *in = fopen(from, "r");
    FILE *out = fopen(to, "w");

    assert_true(in && out);
    while ((got = fread(buffer, 1, sizeof(buffer), in)) > 0) {
        assert_int_equal(fwrite(buffer, 1, got, out), got);
    }
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

static void
copy_tree(const char *from, const char *to)
{
    const struct dirent *entry;
    DIR *dir = opendir(from);

    assert_non_null(dir);
    mkdir(to, 0755);
    while ((entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe): its own stream */
        char source[RIG_PATH_MAX + 512];
        char target[RIG_PATH_MAX + 512];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        snprintf(source, sizeof(source), "%.250s/%.250s", from, entry->d_name);
        snprintf(target, sizeof(target), "%.250s/%.250s", to, entry->d_name);
        assert_int_equal(stat(source, &info), 0);
        if (S_ISDIR(info.st_mode)) {
            copy_tree(source, target);
        } else {
            copy_file(source, target);
        }
    }
    closedir(dir);
}

void
rig_crash(struct rig *rig, struct rig *ret_copy)
{
    rig_init(ret_copy);
    copy_tree(rig->dir, ret_copy->dir);
    rig_open(ret_copy);
}

void
rig_remove_tree(const char *path)
{
    const struct dirent *entry;
    DIR *dir = opendir(path);

    while (dir && (entry = readdir(dir))) { /* NOLINT(concurrency-mt-unsafe) */
        char child[RIG_PATH_MAX + 512];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) {
            continue;
        }
        snprintf(child, sizeof(child), "%.250s/%.250s", path, entry->d_name);
        if (unlink(child) != 0) {
            rig_remove_tree(child);
        }
    }
    if (dir) {
        closedir(dir);
    }
    rmdir(path);
}
