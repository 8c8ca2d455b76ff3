/* Canonical labels: collected, sorted by insertion (there are few, often in order), written. */
#include "ingest/labels.h"

#include "codec/json_read.h"
#include "codec/json_write.h"

void
labels_init(struct labels *labels)
{
    labels->count = 0;
    labels->expected = NULL;
    labels->culprit = slice_of("");
    buf_init(&labels->canonical, LABELS_BYTES_MAX);
}

void
labels_fini(struct labels *labels)
{
    buf_fini(&labels->canonical);
}

void
labels_reset(struct labels *labels)
{
    labels->count = 0;
    labels->expected = NULL;
    labels->culprit = slice_of("");
    buf_reset(&labels->canonical);
}

static void
fail(struct labels *labels, struct slice culprit, const char *expected)
{
    if (!labels->expected) {
        labels->expected = expected;
        labels->culprit = culprit;
    }
}

void
labels_add(struct labels *labels, struct slice name, struct slice value)
{
    size_t at = labels->count;

    if (name.len == 0) {
        fail(labels, name, "a name for every label");
        return;
    }
    while (at > 0) {
        int order = slice_cmp(labels->items[at - 1].name, name);
        if (order == 0) {
            labels->items[at - 1].value = value;
            return;
        }
        if (order < 0) {
            break;
        }
        at--;
    }
    if (labels->count == LABELS_MAX) {
        fail(labels, name, "at most 128 labels");
        return;
    }
    memmove(labels->items + at + 1, labels->items + at,
            (labels->count - at) * sizeof(*labels->items));
    labels->items[at] = (struct label){name, value};
    labels->count++;
}

void
labels_add_json(struct labels *labels, struct slice json, struct arena *arena)
{
    struct json_reader reader;
    struct scalar value;
    struct slice name;

    json_read_init(&reader, json, arena);
    if (!json_read_value(&reader, &value) || value.type != SCALAR_OBJECT) {
        fail(labels, json, "a JSON object of label names and values");
        return;
    }
    while (json_read_key(&reader, &name) && json_read_value(&reader, &value)) {
        if (value.type == SCALAR_OBJECT || value.type == SCALAR_ARRAY) {
            fail(labels, name, "a string, number or boolean as the value of a label");
            return;
        }
        if (value.type != SCALAR_NULL) {
            labels_add(labels, name, value.text);
        }
    }
    if (!json_read_end(&reader)) {
        fail(labels, json, "a JSON object of label names and values");
    }
}

bool
labels_canonical(struct labels *labels, struct slice *ret_text)
{
    struct buf *out = &labels->canonical;

    if (labels->expected) {
        return false;
    }
    buf_reset(out);
    if (labels->count > 0) {
        struct json_writer json;
        json_init(&json, out);
        json_object_begin(&json);
        for (size_t i = 0; i < labels->count; i++) {
            json_key_slice(&json, labels->items[i].name);
            json_str(&json, labels->items[i].value);
        }
        json_object_end(&json);
    }
    if (out->overflow) {
        fail(labels, labels->items[0].name, "at most 16384 bytes of labels");
        return false;
    }
    *ret_text = buf_slice(out);
    return true;
}
