/* The Prometheus text format; see prom_text.h. */
#include "codec/prom_text.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "codec/number.h"

static void
add_escaped(struct buf *out, struct slice text, bool quotes)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\n') {
            buf_add(out, "\\n", 2);
        } else if (c == '\\' || (c == '"' && quotes)) {
            buf_add_char(out, '\\');
            buf_add_char(out, c);
        } else {
            buf_add_char(out, c);
        }
    }
}

void
prom_family(struct buf *out, const char *name, enum prom_type type, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram", "untyped"};

    buf_add_cstr(out, "# HELP ");
    buf_add_cstr(out, name);
    buf_add_char(out, ' ');
    add_escaped(out, slice_of(help), false);
    buf_add_cstr(out, "\n# TYPE ");
    buf_add_cstr(out, name);
    buf_add_char(out, ' ');
    buf_add_cstr(out, types[type]);
    buf_add_char(out, '\n');
}

static void
add_label(struct buf *out, char before, const char *name, struct slice value)
{
    buf_add_char(out, before);
    buf_add_cstr(out, name);
    buf_add_cstr(out, "=\"");
    add_escaped(out, value, true);
    buf_add_char(out, '"');
}

/* name{labels} and a blank; `suffix` is put behind the name, `le` in front of the labels. */
static void
begin_sample(struct buf *out, const char *name, const char *suffix, struct slice le,
             const struct prom_label *labels, size_t label_count)
{
    char before = '{';

    buf_add_cstr(out, name);
    buf_add_cstr(out, suffix);
    if (le.len > 0) {
        add_label(out, before, "le", le);
        before = ',';
    }
    for (size_t i = 0; i < label_count; i++) {
        add_label(out, before, labels[i].name, labels[i].value);
        before = ',';
    }
    if (before == ',') {
        buf_add_char(out, '}');
    }
    buf_add_char(out, ' ');
}

/* Whole numbers without ".0", as Prometheus' own clients write them. */
static struct slice
format_value(double value, char text[NUMBER_F64_MAX])
{
    if (isnan(value)) {
        return SLICE_LITERAL("NaN");
    }
    if (isinf(value)) {
        return value > 0 ? SLICE_LITERAL("+Inf") : SLICE_LITERAL("-Inf");
    }
    struct slice number = slice_make(text, number_format_f64(value, text));
    if (slice_ends(number, ".0")) {
        number.len -= 2;
    }
    return number;
}

static void
end_f64(struct buf *out, double value)
{
    char text[NUMBER_F64_MAX];

    buf_add_slice(out, format_value(value, text));
    buf_add_char(out, '\n');
}

static void
end_u64(struct buf *out, uint64_t value)
{
    buf_add_u64(out, value);
    buf_add_char(out, '\n');
}

void
prom_sample(struct buf *out, const char *name, const struct prom_label *labels, size_t label_count,
            double value)
{
    begin_sample(out, name, "", (struct slice){0}, labels, label_count);
    end_f64(out, value);
}

void
prom_sample_u64(struct buf *out, const char *name, const struct prom_label *labels,
                size_t label_count, uint64_t value)
{
    begin_sample(out, name, "", (struct slice){0}, labels, label_count);
    end_u64(out, value);
}

void
prom_hist(struct buf *out, const char *name, const struct prom_label *labels, size_t label_count,
          const struct hist *hist_us, const double *bounds_s, size_t bound_count)
{
    const struct slice none = {0};
    /* Read before the buckets and raised to the largest of them: values recorded meanwhile must not
     * make a bucket larger than the count. */
    uint64_t total = hist_count(hist_us);
    uint64_t below = 0;

    for (size_t i = 0; i < bound_count; i++) {
        char text[NUMBER_F64_MAX];
        uint64_t count = hist_count_below(hist_us, (uint64_t)llround(bounds_s[i] * 1e6));
        below = count > below ? count : below;
        begin_sample(out, name, "_bucket", format_value(bounds_s[i], text), labels, label_count);
        end_u64(out, below);
    }
    total = total > below ? total : below;
    begin_sample(out, name, "_bucket", SLICE_LITERAL("+Inf"), labels, label_count);
    end_u64(out, total);
    begin_sample(out, name, "_sum", none, labels, label_count);
    end_f64(out, (double)hist_sum(hist_us) / 1e6);
    begin_sample(out, name, "_count", none, labels, label_count);
    end_u64(out, total);
}
