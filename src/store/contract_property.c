/* Random groups, and answers that must agree. */
#include "store/contract_property.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "base/mem.h"
#include "store/contract.h"

enum {
    TEXT_BYTES_MAX = 64 << 20,
    LONG_TEXT = 1 << 20,
    ROWS_MAX = 40,
    BATCHES_MAX = 6,
    SERIES = 5,
    KEYS = 6,
    WORD_MAX = 24
};

static const enum table_id tables[] = {
    TABLE_MARKET_DATA,         TABLE_STRATEGY_METRICS, TABLE_EXECUTION_METRICS,
    TABLE_SYSTEM_METRICS,      TABLE_TRADES,           TABLE_CANDLES,
    TABLE_PERFORMANCE_HISTORY, TABLE_SAMPLES,          TABLE_RESERVATION_CHANGES,
    TABLE_BUDGET_CHANGES,      TABLE_PRICE_BOOK,       TABLE_IDEMPOTENCY};

struct making {
    struct rng rng;
    const struct contract_property *property;
    int64_t seq;
};

static void
add_code_point(struct buf *out, uint32_t c)
{
    if (c < 0x80) {
        buf_add_char(out, (char)c);
    } else if (c < 0x800) {
        buf_add_char(out, (char)(0xc0 | c >> 6));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_add_char(out, (char)(0xe0 | c >> 12));
        buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_add_char(out, (char)(0xf0 | c >> 18));
        buf_add_char(out, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_add_char(out, (char)(0x80 | (c & 0x3f)));
    }
}

/* Any character but U+0000 (which no row may hold) and the surrogates (which are none). */
static uint32_t
any_code_point(struct rng *rng)
{
    static const uint32_t planes[] = {0x80, 0x800, 0x10000, 0x110000};
    uint32_t c = 1 + (uint32_t)rng_below(rng, planes[rng_below(rng, 4)] - 1);

    return c >= 0xd800 && c <= 0xdfff ? 0xfffd : c;
}

static struct slice
any_text(struct making *making, struct batch *batch)
{
    struct buf text BUF_AUTO;
    uint64_t kind = rng_below(&making->rng, 100);
    size_t count = kind < 10 ? 0 : (size_t)rng_below(&making->rng, WORD_MAX);

    buf_init(&text, 0);
    for (size_t i = 0; i < count; i++) {
        add_code_point(&text, any_code_point(&making->rng));
    }
    if (kind == 99) {
        while (text.len < LONG_TEXT) {
            buf_add_u64(&text, rng_next(&making->rng)); /* that nothing compresses away */
        }
    }
    return batch_keep_text(batch, buf_slice(&text));
}

/* One of a few, so that keys meet; one of them long. */
static struct slice
any_key(struct making *making, struct batch *batch)
{
    static const char *const some[KEYS] = {"A", "a", "", "\xc3\xa9", "\xf0\x9f\xa6\x86", NULL};
    const char *chosen = some[rng_below(&making->rng, KEYS)];
    struct buf text BUF_AUTO;
    struct rng same;

    buf_init(&text, 0);
    if (chosen) {
        return slice_of(chosen);
    }
    rng_init(&same, making->property->seed);
    while (text.len < 20000) {
        buf_add_u64(&text, rng_next(&same));
    }
    return batch_keep_text(batch, buf_slice(&text));
}

static int64_t
any_time(struct making *making)
{
    switch (rng_below(&making->rng, 10)) {
    case 0:
        return making->property->time_min_us;
    case 1:
        return INT64_MAX - 1 - (int64_t)rng_below(&making->rng, 3);
    case 2:
        return -62135596800000000 + (int64_t)rng_below(&making->rng, 3);
    default:
        return (int64_t)rng_below(&making->rng, 60) * 1000000;
    }
}

/* Quarters, so that sums are the same in any order; now and then what is no number. No -0: it is
 * equal to 0, and which of the two is the least, or the sum, is nobody's promise. */
static double
any_double(struct making *making)
{
    switch (rng_below(&making->rng, 40)) {
    case 0:
        return NAN;
    case 1:
        return INFINITY;
    case 2:
        return -INFINITY;
    default:
        return ((double)rng_below(&making->rng, 4000) - 2000) / 4;
    }
}

static void
set_any(struct making *making, struct batch *batch, size_t column, size_t row)
{
    const struct catalog_column *of = &batch->table->columns[column];
    bool is_key = batch->table->key_mask >> column & 1;
    bool required = is_key || of->missing == MISSING_REFUSE || of->missing == MISSING_NOW ||
                    of->missing == MISSING_UUID || batch->table->id == TABLE_CANDLES ||
                    batch->table->id == TABLE_PERFORMANCE_HISTORY;
    bool is_seq = strcmp(of->name, "seq") == 0;

    if (!required && rng_below(&making->rng, 5) == 0) {
        return;
    }
    switch (of->type) {
    case COL_BOOL:
        batch_set_bool(batch, column, row, rng_below(&making->rng, 2) != 0);
        break;
    case COL_INT32:
        batch_set_i32(batch, column, row, (int32_t)rng_below(&making->rng, SERIES) + 1);
        break;
    case COL_INT64:
        batch_set_i64(batch, column, row,
                      is_seq ? ++making->seq : (int64_t)rng_below(&making->rng, 1000) - 500);
        break;
    case COL_DOUBLE:
        batch_set_f64(batch, column, row, any_double(making));
        break;
    case COL_TIMESTAMP:
        batch_set_i64(batch, column, row, any_time(making));
        break;
    case COL_TEXT:
        batch_set_text(batch, column, row,
                       is_key || of->missing == MISSING_REFUSE ? any_key(making, batch)
                                                               : any_text(making, batch));
        break;
    case COL_JSON:
        batch_set_text(batch, column, row, SLICE_LITERAL("{\"a\": [1, \"\\u0000\xc3\xa9\"]}"));
        break;
    case COL_DECIMAL:
        batch_set_i64(batch, column, row,
                      (int64_t)rng_below(&making->rng, 2000000000) - 1000000000);
        break;
    case COL_TYPE_COUNT:
        break;
    }
}

static void
make_batch(struct making *making, enum table_id id, struct batch *batch)
{
    uint64_t rows = rng_below(&making->rng, ROWS_MAX);

    batch_init(batch, catalog_table(id), TEXT_BYTES_MAX);
    for (uint64_t i = 0; i < rows; i++) {
        size_t row = batch_add_row(batch);
        for (size_t c = 0; c < batch->column_count; c++) {
            set_any(making, batch, c, row);
        }
    }
}

/* Definitions of the series that the samples are of. */
static void
make_series(struct batch *batch)
{
    static const char *const names[SERIES] = {"cpu", "cpu", "price", "\xc3\xa9", "x y"};

    batch_init(batch, catalog_table(TABLE_SERIES), TEXT_BYTES_MAX);
    for (int i = 0; i < SERIES; i++) {
        size_t row = batch_add_row(batch);
        batch_set_i32(batch, 0, row, i + 1);
        batch_set_text(batch, 1, row, slice_of(names[i]));
        if (i % 2) {
            batch_set_text(batch, 2, row, SLICE_LITERAL("S"));
        }
        if (i != 2) {
            batch_set_text(batch, 3, row, SLICE_LITERAL("{\"host\":\"a\"}"));
        }
    }
}

/* ---- comparing ---- */

static bool
agree(const struct contract_property *property, const char *what, const char *table,
      struct buf *texts)
{
    for (size_t i = 1; i < property->store_count; i++) {
        size_t at = 0;
        if (texts[i].len == texts[0].len && memcmp(texts[i].ptr, texts[0].ptr, texts[0].len) == 0) {
            continue;
        }
        while (at < texts[i].len && at < texts[0].len && texts[i].ptr[at] == texts[0].ptr[at]) {
            at++;
        }
        size_t from = at > 200 ? at - 200 : 0;
        fprintf(stderr,
                "seed %" PRIu64 ": %s of %s differs at byte %zu\n%s: ...%.*s\n%s: ...%.*s\n",
                property->seed, what, table, at, property->stores[0]->ops->type,
                (int)(texts[0].len - from < 400 ? texts[0].len - from : 400), texts[0].ptr + from,
                property->stores[i]->ops->type,
                (int)(texts[i].len - from < 400 ? texts[i].len - from : 400), texts[i].ptr + from);
        return false;
    }
    return true;
}

static int
compare_lines(const void *left, const void *right)
{
    const struct slice *a = left;
    const struct slice *b = right;
    int order = memcmp(a->ptr, b->ptr, a->len < b->len ? a->len : b->len);

    return order ? order : (a->len > b->len) - (a->len < b->len);
}

/* Sorts the lines of a text: rows that are alike in all that orders them may come in any order. */
static void
sort_lines(struct buf *text)
{
    struct slice rest = buf_slice(text);
    struct slice *lines = mem_zalloc(text->len + 1, sizeof(*lines));
    struct buf sorted;
    size_t count = 0;

    while (slice_split(&rest, '\n', &lines[count])) {
        count++;
    }
    qsort(lines, count, sizeof(*lines), compare_lines);
    buf_init(&sorted, 0);
    for (size_t i = 0; i < count; i++) {
        buf_add_slice(&sorted, lines[i]);
        buf_add_char(&sorted, '\n');
    }
    free(lines);
    buf_fini(text);
    *text = sorted;
}

/* Whether no two rows are alike in all that a scan orders by. */
static bool
is_ordered(enum table_id id)
{
    const struct catalog_table *table = catalog_table(id);

    return table->kind == TABLE_REPLACE || id == TABLE_RESERVATION_CHANGES ||
           id == TABLE_BUDGET_CHANGES || id == TABLE_SERIES;
}

typedef enum err_code ask_fn(struct store *store, const void *ctx, struct batch *ret_rows,
                             struct err *err);

static bool
compare(const struct contract_property *property, const char *what, enum table_id id, ask_fn *ask,
        const void *ctx)
{
    struct buf texts[CONTRACT_STORES_MAX];
    struct batch rows;
    struct err err = {0};

    for (size_t i = 0; i < property->store_count; i++) {
        buf_init(&texts[i], 0);
        if (ask(property->stores[i], ctx, &rows, &err) == ERR_OK) {
            contract_dump(&rows, &texts[i]);
            batch_fini(&rows);
        } else {
            buf_add_cstr(&texts[i], err.msg);
        }
        buf_add_char(&texts[i], '\n');
        if (!is_ordered(id)) {
            sort_lines(&texts[i]);
        }
    }
    bool same = agree(property, what, catalog_table(id)->name, texts);
    for (size_t i = 0; i < property->store_count; i++) {
        buf_fini(&texts[i]);
    }
    return same;
}

static enum err_code
ask_scan(struct store *store, const void *ctx, struct batch *ret_rows, struct err *err)
{
    return store_scan(store, ctx, ret_rows, err);
}

static enum err_code
ask_bucket(struct store *store, const void *ctx, struct batch *ret_rows, struct err *err)
{
    return store_bucket(store, ctx, ret_rows, err);
}

static enum err_code
ask_latest(struct store *store, const void *ctx, struct batch *ret_rows, struct err *err)
{
    return store_latest(store, *(const enum table_id *)ctx, NULL, ret_rows, err);
}

static bool
compare_scans(struct making *making, enum table_id id)
{
    const struct contract_property *property = making->property;
    const struct catalog_table *table = catalog_table(id);
    struct store_scan scan = {.table = id, .from_us = INT64_MIN, .to_us = INT64_MAX};
    struct slice values[] = {SLICE_LITERAL("a"), SLICE_LITERAL("\xc3\xa9"), SLICE_LITERAL("")};

    bool same = compare(property, "scan", id, ask_scan, &scan);
    scan.from_us = (int64_t)rng_below(&making->rng, 30) * 1000000;
    scan.to_us = scan.from_us + (int64_t)rng_below(&making->rng, 30) * 1000000;
    scan.newest_first = true;
    same = same && compare(property, "scan of a range", id, ask_scan, &scan);
    if (table->series_column != CATALOG_NONE &&
        table->columns[table->series_column].type == COL_TEXT) {
        scan.filters[0] = (struct store_filter){table->columns[table->series_column].name, values,
                                                1 + (size_t)rng_below(&making->rng, 3)};
        scan.filter_count = 1;
        same = same && compare(property, "scan by a filter", id, ask_scan, &scan);
    }
    if (!same || !is_ordered(id)) {
        return same;
    }
    scan.limit = 1 + rng_below(&making->rng, 5);
    scan.offset = rng_below(&making->rng, 5);
    return compare(property, "page of a scan", id, ask_scan, &scan);
}

static bool
compare_buckets(struct making *making, enum table_id id)
{
    const struct catalog_table *table = catalog_table(id);
    struct store_bucket bucket = {
        .scan = {.table = id, .from_us = -62135596800000000, .to_us = 253402300799999999},
        .bucket_us = (int64_t)rng_below(&making->rng, 4) * 7000000};

    bucket.aggregates[bucket.aggregate_count++] = (struct store_aggregate){AGG_COUNT, NULL, "rows"};
    for (size_t i = 0; i < table->column_count && bucket.aggregate_count + 4 < STORE_AGGREGATES_MAX;
         i++) {
        const struct catalog_column *column = &table->columns[i];
        enum store_aggregate_fn sum =
            column->type == COL_DOUBLE || column->type == COL_DECIMAL || column->type == COL_INT32
                ? AGG_SUM
                : AGG_COUNT;
        if ((int)i == table->time_column || column->type == COL_JSON) {
            continue;
        }
        bucket.aggregates[bucket.aggregate_count++] =
            (struct store_aggregate){AGG_MIN, column->name, "least"};
        bucket.aggregates[bucket.aggregate_count++] =
            (struct store_aggregate){AGG_MAX, column->name, "most"};
        bucket.aggregates[bucket.aggregate_count++] =
            (struct store_aggregate){sum, column->name, "sum"};
    }
    if (bucket.bucket_us > 0 && table->series_column != CATALOG_NONE &&
        rng_below(&making->rng, 2)) {
        bucket.group_column = table->columns[table->series_column].name;
    }
    return compare(making->property, "buckets", id, ask_bucket, &bucket);
}

static bool
compare_all(struct making *making)
{
    static const enum table_id views[] = {TABLE_SERIES, TABLE_METRICS};
    bool same = true;

    for (size_t i = 0; i < sizeof(tables) / sizeof(*tables) && same; i++) {
        enum table_id id = tables[i];
        same = compare_scans(making, id) && compare_buckets(making, id) &&
               compare(making->property, "newest rows", id, ask_latest, &id);
    }
    for (size_t i = 0; i < 2 && same; i++) {
        same = compare_scans(making, views[i]);
    }
    return same;
}

static bool
put_group(struct making *making, uint64_t lsn)
{
    struct batch batches[BATCHES_MAX];
    struct store_group group = {
        .first_lsn = lsn, .last_lsn = lsn, .batches = batches, .batch_count = 0};
    struct err err = {0};
    bool good = true;

    make_series(&batches[group.batch_count++]);
    for (uint64_t n = rng_below(&making->rng, BATCHES_MAX - 1); n > 0; n--) {
        make_batch(making, tables[rng_below(&making->rng, sizeof(tables) / sizeof(*tables))],
                   &batches[group.batch_count++]);
    }
    for (size_t i = 0; i < making->property->store_count && good; i++) {
        /* Twice, now and then: what is in already changes nothing. */
        unsigned times = rng_below(&making->rng, 4) == 0 ? 2 : 1;
        for (unsigned t = 0; t < times && good; t++) {
            good = store_apply(making->property->stores[i], &group, &err) == ERR_OK;
        }
        if (!good) {
            fprintf(stderr, "seed %" PRIu64 ": group %" PRIu64 " into %s: %s\n",
                    making->property->seed, lsn, making->property->stores[i]->ops->type, err.msg);
        }
    }
    for (size_t i = 0; i < group.batch_count; i++) {
        batch_fini(&batches[i]);
    }
    return good;
}

bool
contract_property_holds(const struct contract_property *property)
{
    struct making making = {.property = property};
    bool good = true;

    rng_init(&making.rng, property->seed);
    for (uint64_t lsn = 1; lsn <= property->groups && good; lsn++) {
        good = put_group(&making, lsn);
        if (good && (lsn % 8 == 0 || lsn == property->groups)) {
            good = compare_all(&making);
        }
    }
    return good;
}
