/* Takes both sides in, and counts. */
#include "meter/reconcile.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/suggest.h"
#include "codec/csv.h"
#include "codec/decimal.h"
#include "codec/time.h"
#include "meter/reconcile_internal.h"

enum {
    ROWS_DEFAULT = 1000000,
    TEXT_DEFAULT = 256 << 20,
    LISTED_DEFAULT = 1000,
    RECORD_BYTES_MAX = 32 << 20,
    SHOWN_MAX = 80,
    COLUMNS_SHOWN = 20
};

#define TOLERANCE_DEFAULT (5 * TIME_US_PER_S)

/* Where the columns of the map stand in the file; CSV_FIELDS_MAX: it is not mapped. */
struct columns {
    size_t at[MAP_COLUMNS];
};

enum err_code
reconcile_new(const struct reconcile_options *options, struct reconcile **ret, struct err *err)
{
    struct reconcile *reconcile = mem_zalloc(1, sizeof(*reconcile));

    arena_init(&reconcile->arena, options->text_bytes_max ? options->text_bytes_max : TEXT_DEFAULT);
    reconcile->tolerance_us = options->tolerance_us ? options->tolerance_us : TOLERANCE_DEFAULT;
    reconcile->rows_max = options->rows_max ? options->rows_max : ROWS_DEFAULT;
    reconcile->listed_max = options->listed_max ? options->listed_max : LISTED_DEFAULT;
    enum err_code code = ERR_OK;
    if (reconcile->tolerance_us < 0) {
        code = err_set(err, ERR_INVALID, "tolerance: %lld us; expected 0 or more",
                       (long long)reconcile->tolerance_us);
    } else {
        code = reconcile_read_map(options->map, &reconcile->arena, &reconcile->map, err);
    }
    if (code != ERR_OK) {
        reconcile_free(reconcile);
        return code;
    }
    reconcile->bad = mem_zalloc(reconcile->listed_max, sizeof(reconcile->bad[0]));
    *ret = reconcile;
    return ERR_OK;
}

void
reconcile_free(struct reconcile *reconcile)
{
    if (reconcile) {
        arena_fini(&reconcile->arena);
        free(reconcile->rows);
        free(reconcile->bad);
        free(reconcile);
    }
}

/* ---- rows ---- */

/* Without scheme and host, query and the slash at the end. */
static struct slice
bare_endpoint(struct slice endpoint)
{
    const char *scheme = memmem(endpoint.ptr, endpoint.len, "://", 3);
    size_t end = 0;

    endpoint = slice_trim(endpoint);
    if (scheme && memchr(endpoint.ptr, '/', endpoint.len) == scheme + 1) {
        struct slice rest = endpoint;
        rest = slice_sub(rest, (size_t)(scheme + 3 - endpoint.ptr), endpoint.len);
        const char *path = memchr(rest.ptr, '/', rest.len);
        endpoint = path ? slice_sub(rest, (size_t)(path - rest.ptr), rest.len) : SLICE_LITERAL("/");
    }
    while (end < endpoint.len && endpoint.ptr[end] != '?' && endpoint.ptr[end] != '#') {
        end++;
    }
    while (end > 1 && endpoint.ptr[end - 1] == '/') {
        end--;
    }
    return slice_sub(endpoint, 0, end);
}

static enum err_code
add_row(struct reconcile *reconcile, struct reconcile_row row, uint64_t *count, int64_t *sum,
        struct err *err)
{
    const char *side = row.ours ? "entries of ours" : "rows of the file";
    int64_t total = *sum + row.credits; /* both are far from the end of int64_t */

    if (*count == reconcile->rows_max) {
        return err_set(err, ERR_TOO_LARGE,
                       "more than %zu %s; reconcile a shorter time, such as one month",
                       reconcile->rows_max, side);
    }
    if (row.credits > DECIMAL_MAX || row.credits < -DECIMAL_MAX || total > DECIMAL_MAX ||
        total < -DECIMAL_MAX) {
        return err_set(err, ERR_INVALID, "the credits of the %s sum up to more than 999999999999",
                       side);
    }
    row.id = arena_dup(&reconcile->arena, slice_trim(row.id));
    row.endpoint = arena_dup(&reconcile->arena, bare_endpoint(row.endpoint));
    row.event_id = arena_dup(&reconcile->arena, row.event_id);
    row.method = arena_dup(&reconcile->arena, row.method);
    row.mate = RECONCILE_NONE;
    if (reconcile->arena.overflow) {
        return err_set(err, ERR_TOO_LARGE,
                       "ids and endpoints take more than %zu bytes; reconcile a shorter time",
                       reconcile->arena.max_bytes);
    }
    if (reconcile->count == reconcile->cap) {
        reconcile->cap = reconcile->cap ? reconcile->cap * 2 : 1024;
        reconcile->rows = mem_resize(reconcile->rows, reconcile->cap, sizeof(reconcile->rows[0]));
    }
    reconcile->rows[reconcile->count++] = row;
    (*count)++;
    *sum = total;
    return ERR_OK;
}

enum err_code
reconcile_push(struct reconcile *reconcile, const struct reconcile_entry *entry, struct err *err)
{
    struct reconcile_row row = {
        .id = reconcile->map.values[MAP_ID].len ? entry->request_id : SLICE_LITERAL(""),
        .endpoint = reconcile->map.values[MAP_ENDPOINT].len ? entry->endpoint : SLICE_LITERAL(""),
        .event_id = entry->event_id,
        .method = entry->method,
        .time_us = entry->timestamp_us,
        .credits = entry->credits,
        .number = reconcile->summary.ours + 1,
        .status = entry->has_status ? entry->status : 0,
        .ours = true,
    };

    return add_row(reconcile, row, &reconcile->summary.ours, &reconcile->summary.our_credits, err);
}

/* ---- the file ---- */

static enum err_code
refuse_column(const char *name, const struct csv_record *header, enum reconcile_key key,
              struct slice wanted, struct err *err)
{
    const char *names[COLUMNS_SHOWN];
    char texts[COLUMNS_SHOWN][SHOWN_MAX];
    BUF_AUTO struct buf all;
    size_t count = header->field_count < COLUMNS_SHOWN ? header->field_count : COLUMNS_SHOWN;

    buf_init(&all, 0);
    for (size_t i = 0; i < count; i++) {
        struct slice text = slice_sub(slice_trim(header->fields[i].text), 0, SHOWN_MAX - 1);
        slice_to_cstr(text, texts[i], sizeof(texts[i]));
        names[i] = texts[i];
        buf_add_fmt(&all, "%s%s", i ? ", " : "", texts[i]);
    }
    const char *near = catalog_suggest_name(wanted, names, count);
    return err_set(err, ERR_INVALID, "%s:%llu: no column \"%.*s\" for %s%s%s%s; the file has %.*s",
                   name, (unsigned long long)header->line,
                   SLICE_FMT(slice_sub(wanted, 0, SHOWN_MAX)), RECONCILE_KEYS[key],
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "",
                   SLICE_FMT(slice_sub(buf_slice(&all), 0, 256)));
}

static enum err_code
find_columns(const struct reconcile *reconcile, const char *name, const struct csv_record *header,
             struct columns *ret, struct err *err)
{
    for (size_t key = 0; key < MAP_COLUMNS; key++) {
        struct slice wanted = reconcile->map.values[key];
        char text[SHOWN_MAX * 4];
        size_t found = 0;
        ret->at[key] = CSV_FIELDS_MAX;
        if (wanted.len == 0) {
            continue;
        }
        slice_to_cstr(wanted, text, sizeof(text));
        for (size_t i = 0; i < header->field_count; i++) {
            if (slice_is_nocase(slice_trim(header->fields[i].text), text)) {
                ret->at[key] = i;
                found++;
            }
        }
        if (found == 0) {
            return refuse_column(name, header, (enum reconcile_key)key, wanted, err);
        }
        if (found > 1) {
            return err_set(err, ERR_INVALID,
                           "%s:%llu: %zu columns are called \"%s\"; expected one for %s", name,
                           (unsigned long long)header->line, found, text, RECONCILE_KEYS[key]);
        }
    }
    return ERR_OK;
}

static void
note_bad(struct reconcile *reconcile, uint64_t line, const char *field, struct slice value,
         const char *expected)
{
    reconcile->summary.bad_rows++;
    if (reconcile->bad_listed < reconcile->listed_max) {
        reconcile->bad[reconcile->bad_listed++] = (struct reconcile_bad){
            .line = line,
            .field = field,
            .value = arena_dup(&reconcile->arena, slice_sub(value, 0, SHOWN_MAX)).ptr,
            .expected = expected,
        };
    }
}

/* A row of the file; what cannot be read is noted. */
static enum err_code
take_record(struct reconcile *reconcile, const struct csv_record *record,
            const struct columns *columns, struct err *err)
{
    struct slice texts[MAP_COLUMNS] = {{0}};
    struct reconcile_row row = {.number = record->line};

    for (size_t key = 0; key < MAP_COLUMNS; key++) {
        if (columns->at[key] == CSV_FIELDS_MAX) {
            texts[key] = SLICE_LITERAL("");
        } else if (columns->at[key] >= record->field_count) {
            note_bad(reconcile, record->line, RECONCILE_KEYS[key], SLICE_LITERAL(""),
                     "as many fields as the header has");
            return ERR_OK;
        } else {
            texts[key] = slice_trim(record->fields[columns->at[key]].text);
        }
    }
    if (!reconcile_read_time(&reconcile->map, texts[MAP_TIMESTAMP], &row.time_us)) {
        note_bad(reconcile, record->line, "timestamp", texts[MAP_TIMESTAMP],
                 reconcile->map.values[MAP_TIME_FORMAT].len
                     ? "a time in the map's time_format"
                     : "ISO 8601 or a Unix time; else name a time_format in the map");
        return ERR_OK;
    }
    if (!decimal_parse(texts[MAP_CREDITS], &row.credits)) {
        note_bad(reconcile, record->line, "credits", texts[MAP_CREDITS],
                 "a number of at most six decimals");
        return ERR_OK;
    }
    row.id = texts[MAP_ID];
    row.endpoint = texts[MAP_ENDPOINT];
    reconcile->fine_times |= row.time_us % TIME_US_PER_S != 0;
    return add_row(reconcile, row, &reconcile->summary.theirs, &reconcile->summary.their_credits,
                   err);
}

static enum err_code
read_records(struct reconcile *reconcile, const char *name, struct csv_reader *csv, struct err *err)
{
    struct csv_record record;
    struct columns columns = {0};
    struct err problem;
    bool header = true;
    bool more = true;

    for (;;) {
        arena_reset(csv->arena);
        uint64_t line = csv->line;
        enum err_code code = csv_next(csv, &record, &more, &problem);
        if (code == ERR_OK && !more) {
            break;
        }
        if (header) {
            code = code == ERR_OK ? find_columns(reconcile, name, &record, &columns, err)
                                  : err_set(err, ERR_INVALID, "%s: %s", name, problem.msg);
            header = false;
        } else if (code != ERR_OK) {
            note_bad(reconcile, line, "(row)", slice_of(problem.msg), "a row of CSV");
            code = ERR_OK;
        } else {
            code = take_record(reconcile, &record, &columns, err);
        }
        if (code != ERR_OK) {
            return code;
        }
    }
    return header ? err_set(err, ERR_INVALID, "%s: the file is empty; expected a header and rows",
                            name)
                  : ERR_OK;
}

enum err_code
reconcile_csv(struct reconcile *reconcile, const char *name, struct slice text, struct err *err)
{
    char delimiter =
        reconcile->map.delimiter ? reconcile->map.delimiter : csv_guess_delimiter(text);
    ARENA_AUTO struct arena arena;
    struct csv_reader csv;

    arena_init(&arena, RECORD_BYTES_MAX);
    csv_init(&csv, text, delimiter, &arena);
    enum err_code code = read_records(reconcile, name, &csv, err);
    csv_fini(&csv);
    return code;
}

/* ---- counting ---- */

void
reconcile_run(struct reconcile *reconcile)
{
    struct reconcile_summary *sum = &reconcile->summary;

    assert(sum->equal + sum->different + sum->ours_only + sum->theirs_only == 0);
    if (reconcile->count == 0) {
        return;
    }
    reconcile_match(reconcile);
    for (size_t i = 0; i < reconcile->count; i++) {
        const struct reconcile_row *row = &reconcile->rows[i];
        if (row->mate == RECONCILE_NONE) {
            *(row->ours ? &sum->ours_only : &sum->theirs_only) += 1;
        } else if (row->ours) {
            bool same = row->credits == reconcile->rows[row->mate].credits;
            *(same ? &sum->equal : &sum->different) += 1;
        }
    }
}

void
reconcile_summary(const struct reconcile *reconcile, struct reconcile_summary *ret)
{
    *ret = reconcile->summary;
}
