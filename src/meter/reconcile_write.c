/* What came out of a reconciliation, as JSON and as tables for people. */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "meter/reconcile_internal.h"

/* The sums of a day; differences may need one bit more than an amount has, which int64_t has. */
struct day {
    int64_t start_us;
    int64_t ours;
    int64_t theirs;
    uint64_t our_count;
    uint64_t their_count;
};

enum kind { KIND_EQUAL, KIND_DIFFERENT, KIND_OURS, KIND_THEIRS };

static const char *const KIND_NAMES[] = {
    [KIND_EQUAL] = "equal",
    [KIND_DIFFERENT] = "credits_differ",
    [KIND_OURS] = "ours_only",
    [KIND_THEIRS] = "theirs_only",
};

/* The rows in the order of their times. */
struct order {
    uint32_t *rows;
    size_t count;
};

static int
compare_rows(const void *left, const void *right, void *user)
{
    const struct reconcile *reconcile = user;
    const struct reconcile_row *a = &reconcile->rows[*(const uint32_t *)left];
    const struct reconcile_row *b = &reconcile->rows[*(const uint32_t *)right];
    int by = (a->time_us > b->time_us) - (a->time_us < b->time_us);

    by = by ? by : slice_cmp(a->endpoint, b->endpoint);
    by = by ? by : b->ours - a->ours;
    by = by ? by : slice_cmp(a->id, b->id);
    by = by ? by : slice_cmp(a->event_id, b->event_id);
    return by ? by : (a->number > b->number) - (a->number < b->number);
}

static void
order_init(struct order *order, const struct reconcile *reconcile)
{
    order->count = reconcile->count;
    order->rows = mem_alloc((order->count + 1) * sizeof(order->rows[0]));
    for (uint32_t i = 0; i < order->count; i++) {
        order->rows[i] = i;
    }
    qsort_r(order->rows, order->count, sizeof(order->rows[0]), compare_rows,
            (void *)(uintptr_t)reconcile); /* NOLINT(performance-no-int-to-ptr): only read */
}

static enum kind
kind_of(const struct reconcile *reconcile, const struct reconcile_row *row)
{
    if (row->mate == RECONCILE_NONE) {
        return row->ours ? KIND_OURS : KIND_THEIRS;
    }
    return reconcile->rows[row->mate].credits == row->credits ? KIND_EQUAL : KIND_DIFFERENT;
}

static int64_t
day_of(const struct reconcile_row *row)
{
    int64_t rest = row->time_us % TIME_US_PER_DAY;

    return row->time_us - rest - (rest < 0 ? TIME_US_PER_DAY : 0);
}

/* Adds up the day that begins at *at and moves behind it; false at the end. */
static bool
next_day(const struct reconcile *reconcile, const struct order *order, size_t *at, struct day *ret)
{
    if (*at == order->count) {
        return false;
    }
    *ret = (struct day){.start_us = day_of(&reconcile->rows[order->rows[*at]])};
    for (; *at < order->count; (*at)++) {
        const struct reconcile_row *row = &reconcile->rows[order->rows[*at]];
        if (day_of(row) != ret->start_us) {
            break;
        }
        *(row->ours ? &ret->ours : &ret->theirs) += row->credits;
        *(row->ours ? &ret->our_count : &ret->their_count) += 1;
    }
    return true;
}

/* The next row that is a difference, told once a call; NULL at the end. */
static const struct reconcile_row *
next_difference(const struct reconcile *reconcile, const struct order *order, size_t *at)
{
    while (*at < order->count) {
        const struct reconcile_row *row = &reconcile->rows[order->rows[(*at)++]];
        bool told = !row->ours && row->mate != RECONCILE_NONE;
        if (!told && kind_of(reconcile, row) != KIND_EQUAL) {
            return row;
        }
    }
    return NULL;
}

static struct slice
day_text(int64_t start_us, char text[TIME_TEXT_MAX])
{
    struct slice rest = slice_make(text, time_format_iso8601(start_us, text));
    struct slice day;

    slice_split(&rest, 'T', &day);
    return day;
}

/* ---- JSON ---- */

static void
write_count(struct json_writer *json, const char *key, uint64_t count)
{
    json_key(json, key);
    json_u64(json, count);
}

static void
write_side(struct json_writer *json, const char *key, const struct reconcile_row *row)
{
    json_key(json, key);
    if (!row) {
        json_write_null(json);
        return;
    }
    json_object_begin(json);
    if (row->ours) {
        json_key(json, "event_id");
        json_str(json, row->event_id);
        json_key(json, "method");
        json_str(json, row->method);
        json_key(json, "status_code");
        if (row->status) {
            json_i64(json, row->status);
        } else {
            json_write_null(json);
        }
    } else {
        write_count(json, "line", row->number);
    }
    json_key(json, "id");
    json_str(json, row->id);
    json_key(json, "timestamp");
    json_time_us(json, row->time_us);
    json_key(json, "endpoint");
    json_str(json, row->endpoint);
    json_key_decimal(json, "credits", row->credits);
    json_object_end(json);
}

static void
write_difference(struct json_writer *json, const struct reconcile *reconcile,
                 const struct reconcile_row *row)
{
    const struct reconcile_row *mate =
        row->mate == RECONCILE_NONE ? NULL : &reconcile->rows[row->mate];
    const struct reconcile_row *ours = row->ours ? row : mate;
    const struct reconcile_row *theirs = row->ours ? mate : row;

    json_object_begin(json);
    json_key(json, "kind");
    json_cstr(json, KIND_NAMES[kind_of(reconcile, row)]);
    write_side(json, "ours", ours);
    write_side(json, "theirs", theirs);
    json_key_decimal(json, "difference",
                     (theirs ? theirs->credits : 0) - (ours ? ours->credits : 0));
    json_object_end(json);
}

static void
write_summary(struct json_writer *json, const struct reconcile_summary *sum)
{
    write_count(json, "ours", sum->ours);
    write_count(json, "theirs", sum->theirs);
    write_count(json, "matched", sum->equal + sum->different);
    write_count(json, "equal", sum->equal);
    write_count(json, "credits_differ", sum->different);
    write_count(json, "ours_only", sum->ours_only);
    write_count(json, "theirs_only", sum->theirs_only);
    write_count(json, "bad_rows", sum->bad_rows);
    json_key(json, "credits");
    json_object_begin(json);
    json_key_decimal(json, "ours", sum->our_credits);
    json_key_decimal(json, "theirs", sum->their_credits);
    json_key_decimal(json, "difference", sum->their_credits - sum->our_credits);
    json_object_end(json);
}

static void
write_days(struct json_writer *json, const struct reconcile *reconcile, const struct order *order)
{
    char text[TIME_TEXT_MAX];
    struct day day;

    json_key(json, "days");
    json_array_begin(json);
    for (size_t at = 0; next_day(reconcile, order, &at, &day);) {
        json_object_begin(json);
        json_key(json, "day");
        json_str(json, day_text(day.start_us, text));
        json_key_decimal(json, "ours", day.ours);
        json_key_decimal(json, "theirs", day.theirs);
        json_key_decimal(json, "difference", day.theirs - day.ours);
        write_count(json, "our_calls", day.our_count);
        write_count(json, "their_calls", day.their_count);
        json_object_end(json);
    }
    json_array_end(json);
}

static void
write_bad(struct json_writer *json, const struct reconcile *reconcile)
{
    json_key(json, "bad");
    json_array_begin(json);
    for (size_t i = 0; i < reconcile->bad_listed; i++) {
        json_object_begin(json);
        write_count(json, "line", reconcile->bad[i].line);
        json_key(json, "field");
        json_cstr(json, reconcile->bad[i].field);
        json_key(json, "value");
        json_cstr(json, reconcile->bad[i].value);
        json_key(json, "expected");
        json_cstr(json, reconcile->bad[i].expected);
        json_object_end(json);
    }
    json_array_end(json);
}

void
reconcile_write_json(const struct reconcile *reconcile, struct buf *out)
{
    const struct reconcile_row *row;
    struct json_writer json;
    struct order order;
    size_t listed = 0;
    size_t at = 0;

    order_init(&order, reconcile);
    json_init(&json, out);
    json_object_begin(&json);
    write_summary(&json, &reconcile->summary);
    write_days(&json, reconcile, &order);
    json_key(&json, "differences");
    json_array_begin(&json);
    for (; listed < reconcile->listed_max && (row = next_difference(reconcile, &order, &at));
         listed++) {
        write_difference(&json, reconcile, row);
    }
    json_array_end(&json);
    json_key(&json, "differences_cut");
    json_bool(&json, next_difference(reconcile, &order, &at) != NULL);
    write_bad(&json, reconcile);
    json_object_end(&json);
    free(order.rows);
}

/* ---- tables ---- */

static const char *
amount(int64_t micro, char text[DECIMAL_TEXT_MAX])
{
    decimal_format(micro, text);
    return text;
}

static void
text_line(struct buf *out, const char *label, uint64_t our_count, uint64_t their_count,
          int64_t ours, int64_t theirs)
{
    char a[DECIMAL_TEXT_MAX];
    char b[DECIMAL_TEXT_MAX];
    char c[DECIMAL_TEXT_MAX];

    buf_add_fmt(out, "%-10s  %9llu  %9llu  %20s  %20s  %20s\n", label,
                (unsigned long long)our_count, (unsigned long long)their_count, amount(ours, a),
                amount(theirs, b), amount(theirs - ours, c));
}

/* Text from a file may hold what a terminal obeys. */
static void
text_safe(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        buf_add_char(out, (c >= 0 && c < ' ') || c == '\x7f' ? '?' : c);
    }
}

static void
text_difference(struct buf *out, const struct reconcile *reconcile, const struct reconcile_row *row)
{
    const struct reconcile_row *mate =
        row->mate == RECONCILE_NONE ? NULL : &reconcile->rows[row->mate];
    const struct reconcile_row *ours = row->ours ? row : mate;
    const struct reconcile_row *theirs = row->ours ? mate : row;
    char time[TIME_TEXT_MAX];
    char a[DECIMAL_TEXT_MAX];
    char b[DECIMAL_TEXT_MAX];

    time_format_iso8601(row->time_us, time);
    buf_add_fmt(out, "%-14s  %-26s  %12s  %12s  ", KIND_NAMES[kind_of(reconcile, row)], time,
                ours ? amount(ours->credits, a) : "-", theirs ? amount(theirs->credits, b) : "-");
    text_safe(out, row->endpoint);
    if (ours) {
        buf_add_cstr(out, "  ");
        text_safe(out, ours->event_id);
    }
    if (theirs) {
        buf_add_fmt(out, "  line %llu", (unsigned long long)theirs->number);
    }
    buf_add_char(out, '\n');
}

static void
text_differences(struct buf *out, const struct reconcile *reconcile, const struct order *order)
{
    const struct reconcile_row *row;
    size_t listed = 0;
    size_t at = 0;

    for (; listed < reconcile->listed_max && (row = next_difference(reconcile, order, &at));
         listed++) {
        if (listed == 0) {
            buf_add_fmt(out, "\n%-14s  %-26s  %12s  %12s  %s\n", "difference", "time (UTC)", "ours",
                        "theirs", "endpoint");
        }
        text_difference(out, reconcile, row);
    }
    if (next_difference(reconcile, order, &at)) {
        buf_add_cstr(out, "... and more\n");
    }
}

static void
text_bad(struct buf *out, const struct reconcile *reconcile)
{
    if (reconcile->summary.bad_rows == 0) {
        return;
    }
    buf_add_fmt(out, "\n%llu rows of the file could not be read:\n",
                (unsigned long long)reconcile->summary.bad_rows);
    for (size_t i = 0; i < reconcile->bad_listed; i++) {
        const struct reconcile_bad *bad = &reconcile->bad[i];
        buf_add_fmt(out, "line %llu: %s: \"", (unsigned long long)bad->line, bad->field);
        text_safe(out, slice_of(bad->value));
        buf_add_fmt(out, "\"; expected %s\n", bad->expected);
    }
}

void
reconcile_write_text(const struct reconcile *reconcile, struct buf *out)
{
    const struct reconcile_summary *sum = &reconcile->summary;
    char text[TIME_TEXT_MAX];
    struct order order;
    struct day day;

    order_init(&order, reconcile);
    buf_add_fmt(out, "%-10s  %9s  %9s  %20s  %20s  %20s\n", "day", "calls", "theirs",
                "credits, ours", "theirs", "difference");
    for (size_t at = 0; next_day(reconcile, &order, &at, &day);) {
        char label[16];
        slice_to_cstr(day_text(day.start_us, text), label, sizeof(label));
        text_line(out, label, day.our_count, day.their_count, day.ours, day.theirs);
    }
    text_line(out, "total", sum->ours, sum->theirs, sum->our_credits, sum->their_credits);
    buf_add_fmt(out, "\n%llu match, %llu with other credits, %llu only ours, %llu only theirs\n",
                (unsigned long long)sum->equal, (unsigned long long)sum->different,
                (unsigned long long)sum->ours_only, (unsigned long long)sum->theirs_only);
    text_differences(out, reconcile, &order);
    text_bad(out, reconcile);
    free(order.rows);
}
