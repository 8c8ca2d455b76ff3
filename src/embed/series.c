/* Series as callers name them: checked, with labels in canonical form. */
#include "ingest/series.h"
#include "base/mem.h"
#include "codec/utf8.h"
#include "embed/embed_internal.h"
#include "ingest/labels.h"

enum { SHOWN_BYTES = 100 };

static enum eider_status
check_name(const char *field, struct slice text, bool required, struct eider_error *error)
{
    if (required && text.len == 0) {
        return embed_refuse(error, EIDER_INVALID, "%s is empty; expected 1 to %d bytes", field,
                            SERIES_NAME_BYTES_MAX);
    }
    if (text.len > SERIES_NAME_BYTES_MAX) {
        return embed_refuse(error, EIDER_INVALID, "%s has %zu bytes; expected at most %d", field,
                            text.len, SERIES_NAME_BYTES_MAX);
    }
    if (!utf8_is_text(text)) {
        return embed_refuse(error, EIDER_INVALID, "%s is no UTF-8 text", field);
    }
    return EIDER_OK;
}

static enum eider_status
gather_labels(struct labels *labels, const struct eider_series *series, struct eider_error *error)
{
    for (size_t i = 0; i < series->label_count; i++) {
        const struct eider_label *label = &series->labels[i];
        struct slice name = slice_of(label->name);
        struct slice value = slice_of(label->value);
        if (!utf8_is_text(name) || !utf8_is_text(value)) {
            return embed_refuse(error, EIDER_INVALID,
                                "labels, number %zu: name or value is no UTF-8 text", i);
        }
        labels_add(labels, name, value);
    }
    return EIDER_OK;
}

static enum eider_status
make_labels(struct series_text *text, const struct eider_series *series, struct eider_error *error)
{
    struct labels labels;
    struct slice canonical;

    labels_init(&labels);
    enum eider_status status = gather_labels(&labels, series, error);
    if (status == EIDER_OK && !labels_canonical(&labels, &canonical)) {
        status =
            embed_refuse(error, EIDER_INVALID, "labels, \"%.*s\": expected %s",
                         SLICE_FMT(slice_sub(labels.culprit, 0, SHOWN_BYTES)), labels.expected);
    }
    if (status == EIDER_OK) {
        text->labels_text = mem_strdup(canonical);
        text->labels = slice_make(text->labels_text, canonical.len);
    }
    labels_fini(&labels);
    return status;
}

enum eider_status
series_text_init(struct series_text *text, const struct eider_series *series,
                 struct eider_error *error)
{
    static const struct eider_series none = {.name = NULL};

    series = series ? series : &none;
    *text = (struct series_text){
        .name = slice_of(series->name), .symbol = slice_of(series->symbol), .labels = slice_of("")};
    enum eider_status status = check_name("name", text->name, true, error);

    if (status == EIDER_OK) {
        status = check_name("symbol", text->symbol, false, error);
    }
    if (status == EIDER_OK && series->label_count > 0) {
        if (series->label_count > LABELS_MAX) {
            return embed_refuse(error, EIDER_INVALID, "label_count is %zu; expected at most %d",
                                series->label_count, LABELS_MAX);
        }
        if (!series->labels) {
            return embed_refuse(error, EIDER_INVALID, "labels is NULL; expected %zu labels",
                                series->label_count);
        }
        status = make_labels(text, series, error);
    }
    return status;
}

void
series_text_fini(struct series_text *text)
{
    free(text->labels_text);
}
