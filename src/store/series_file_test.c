/* The file of series: what is written is read, what a crash or a disk did to it is told apart. */
#include "store/series_file.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/contract.h"
#include "store/memory/store_memory.h"

struct world {
    char root[64];
    char dir[80];
    char path[96];
    struct series_file *file;
    struct store *store;
    uint64_t lsn;
};

static void
add_series(struct world *world, const char *lines)
{
    struct batch batch;
    struct err err;

    contract_fill(&batch, TABLE_SERIES, lines);
    world->lsn++;
    const struct store_group group = {world->lsn, world->lsn, 1, &batch};
    assert_int_equal(store_apply(world->store, &group, &err), ERR_OK);
    batch_fini(&batch);
}

static void
open_store(struct world *world)
{
    const struct store_open_options options = {.memory_limit_bytes = 64 << 20};
    struct err err;

    store_close(world->store);
    world->lsn = 0;
    assert_int_equal(store_memory_open(&options, &world->store, &err), ERR_OK);
}

static int
setup(void **state)
{
    struct world *world = calloc(1, sizeof(*world));

    snprintf(world->root, sizeof(world->root), "/tmp/eider-series-XXXXXX");
    assert_non_null(mkdtemp(world->root));
    snprintf(world->dir, sizeof(world->dir), "%s/cold", world->root);
    snprintf(world->path, sizeof(world->path), "%s/series", world->dir);
    world->file = series_file_new(world->dir);
    open_store(world);
    *state = world;
    return 0;
}

static int
teardown(void **state)
{
    struct world *world = *state;
    char command[128];

    series_file_free(world->file);
    store_close(world->store);
    snprintf(command, sizeof(command), "rm -rf %s", world->root);
    assert_int_equal(system(command), 0); /* NOLINT: a path of our own */
    free(world);
    return 0;
}

static void
sync_file(struct world *world)
{
    struct err err = {0};

    assert_int_equal(series_file_sync(world->file, world->store, &err), ERR_OK);
}

/* "id name symbol labels;" of every definition, in the file's order. */
static enum err_code
print_rows(void *ctx, const struct batch *rows, struct err *err)
{
    struct buf *out = ctx;

    (void)err;
    for (size_t row = 0; row < rows->rows; row++) {
        buf_add_fmt(out, "%lld %.*s %.*s %.*s;", (long long)batch_get_i64(rows, 0, row),
                    SLICE_FMT(batch_get_text(rows, 1, row)),
                    SLICE_FMT(batch_get_text(rows, 2, row)),
                    SLICE_FMT(batch_get_text(rows, 3, row)));
    }
    return ERR_OK;
}

static struct series_summary
expect(const struct world *world, const char *text)
{
    struct series_summary summary = {0};
    struct buf out BUF_AUTO = {0};
    struct err err = {0};

    buf_init(&out, 0);
    assert_int_equal(series_file_read(world->dir, print_rows, &out, &summary, &err), ERR_OK);
    buf_add_char(&out, '\0');
    assert_string_equal(out.ptr, text);
    return summary;
}

static off_t
size_of(const struct world *world)
{
    struct stat info;

    assert_int_equal(stat(world->path, &info), 0);
    return info.st_size;
}

static void
patch(const struct world *world, off_t at, const char *bytes, size_t len)
{
    int fd = open(world->path, O_WRONLY);

    assert_int_equal(pwrite(fd, bytes, len, at), len);
    close(fd);
}

static void
test_series_file_adds_what_is_new_and_only_that(void **state)
{
    struct world *world = *state;
    struct err err;

    assert_int_equal(series_file_read(world->dir, NULL, NULL, NULL, &err), ERR_NOT_FOUND);
    sync_file(world);
    assert_int_equal(access(world->path, F_OK), -1); /* nothing is defined */
    add_series(world, "1|cpu|-|{\"host\":\"a\"}\n2|price|BTC|-\n");
    sync_file(world);
    expect(world, "1 cpu  {\"host\":\"a\"};2 price BTC ;");
    off_t size = size_of(world);
    sync_file(world);
    series_file_expect(world->file);
    sync_file(world);
    assert_int_equal(size_of(world), size);
    add_series(world, "4|late|-|-\n");
    sync_file(world);
    const struct series_summary summary =
        expect(world, "1 cpu  {\"host\":\"a\"};2 price BTC ;4 late  ;");
    assert_int_equal(summary.series, 3);
    assert_int_equal(summary.damaged + summary.torn_bytes, 0);
}

/* Whatever a crash leaves of a write is cut off by the next one, of another process. */
static void
test_series_file_cut_at_every_length_is_completed(void **state)
{
    struct world *world = *state;

    add_series(world, "1|cpu|-|-\n");
    sync_file(world);
    off_t one = size_of(world);
    add_series(world, "2|mem|-|-\n");
    sync_file(world);
    off_t two = size_of(world);
    char *whole = calloc(1, (size_t)two);
    int fd = open(world->path, O_RDONLY);
    assert_int_equal(pread(fd, whole, (size_t)two, 0), two);
    close(fd);
    for (off_t cut = 0; cut < two; cut++) {
        assert_int_equal(truncate(world->path, 0), 0);
        patch(world, 0, whole, (size_t)cut);
        const struct series_summary summary = expect(world, cut < one ? "" : "1 cpu  ;");
        assert_int_equal(summary.damaged, 0);
        series_file_free(world->file);
        world->file = series_file_new(world->dir);
        sync_file(world);
        expect(world, "1 cpu  ;2 mem  ;");
    }
    free(whole);
}

static void
test_series_file_damaged_in_the_middle_is_set_aside_and_written_anew(void **state)
{
    struct world *world = *state;
    char quarantine[96];

    add_series(world, "1|cpu|-|-\n");
    sync_file(world);
    off_t one = size_of(world);
    add_series(world, "2|mem|-|-\n");
    sync_file(world);
    patch(world, one - 8, "#", 1); /* of the first block */
    const struct series_summary summary = expect(world, "2 mem  ;");
    assert_int_equal(summary.damaged, 1);
    series_file_free(world->file);
    world->file = series_file_new(world->dir);
    sync_file(world);
    expect(world, "1 cpu  ;2 mem  ;");
    snprintf(quarantine, sizeof(quarantine), "%s/quarantine", world->root);
    assert_int_equal(access(quarantine, F_OK), 0);
}

static void
test_series_file_of_another_format_is_refused_and_replaced(void **state)
{
    struct world *world = *state;
    struct series_summary summary;
    struct err err;

    add_series(world, "1|cpu|-|-\n");
    sync_file(world);
    patch(world, 0, "X", 1);
    assert_int_equal(series_file_read(world->dir, NULL, NULL, &summary, &err), ERR_CORRUPT);
    series_file_free(world->file);
    world->file = series_file_new(world->dir);
    sync_file(world);
    expect(world, "1 cpu  ;");
}

/* A database that was made anew may give a number to another series. */
static void
test_series_file_follows_a_store_that_defines_otherwise(void **state)
{
    struct world *world = *state;

    add_series(world, "1|cpu|-|-\n2|mem|-|-\n");
    sync_file(world);
    open_store(world);
    add_series(world, "1|cpu|-|-\n2|disk|-|-\n");
    series_file_expect(world->file);
    sync_file(world);
    expect(world, "1 cpu  ;2 disk  ;");
}

int
main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_series_file_adds_what_is_new_and_only_that),
        CASE(test_series_file_cut_at_every_length_is_completed),
        CASE(test_series_file_damaged_in_the_middle_is_set_aside_and_written_anew),
        CASE(test_series_file_of_another_format_is_refused_and_replaced),
        CASE(test_series_file_follows_a_store_that_defines_otherwise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
