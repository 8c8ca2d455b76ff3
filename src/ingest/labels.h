/*
 * The labels of a series in canonical form: a JSON object without blanks, names in byte order, each
 * name once (the last one sent counts), every value a string. "" when there are none.
 *
 * One thread at a time; the memory is kept from one use to the next.
 */
#ifndef EIDER_INGEST_LABELS_H
#define EIDER_INGEST_LABELS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

enum { LABELS_MAX = 128, LABELS_BYTES_MAX = 16 << 10 };

struct label {
    struct slice name;
    struct slice value;
};

struct labels {
    struct label items[LABELS_MAX];
    size_t count;
    const char *expected; /* sticky: what was wrong; NULL while all is well */
    struct slice culprit; /* the name or text that was wrong */
    struct buf canonical;
};

void labels_init(struct labels *labels);
void labels_fini(struct labels *labels);
void labels_reset(struct labels *labels);

/* Adds one; texts are borrowed until labels_canonical. */
void labels_add(struct labels *labels, struct slice name, struct slice value);

/* Adds the members of a JSON object; numbers and booleans become strings as they were written,
 * null is as if not sent. Texts with escapes go into the arena. */
void labels_add_json(struct labels *labels, struct slice json, struct arena *arena);

/* The canonical text, valid until the next reset; false when `expected` is set. */
bool labels_canonical(struct labels *labels, struct slice *ret_text);

#endif
