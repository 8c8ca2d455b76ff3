/*
 * Writes the Prometheus text format 0.0.4: families of samples with HELP and TYPE.
 * Source: prometheus/docs, content/docs/instrumenting/exposition_formats.md. One thread at a time.
 */
#ifndef EIDER_CODEC_PROM_TEXT_H
#define EIDER_CODEC_PROM_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hist.h"
#include "base/slice.h"

#define PROM_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

enum prom_type { PROM_COUNTER, PROM_GAUGE, PROM_HISTOGRAM, PROM_UNTYPED };

struct prom_label {
    const char *name;   /* [a-zA-Z_][a-zA-Z0-9_]*, the caller's duty */
    struct slice value; /* any UTF-8; escaped here */
};

/* Starts a family: "# HELP name help" and "# TYPE name type". All its samples come next. */
void prom_family(struct buf *out, const char *name, enum prom_type type, const char *help);

/* One sample; NaN, +Inf and -Inf are values. Counters end in _total by convention. */
void prom_sample(struct buf *out, const char *name, const struct prom_label *labels,
                 size_t label_count, double value);
void prom_sample_u64(struct buf *out, const char *name, const struct prom_label *labels,
                     size_t label_count, uint64_t value);

/*
 * The samples of a histogram whose values are microseconds, written in seconds: name_bucket for
 * each bound (ascending, in seconds; `le` is the first label) and +Inf, name_sum, name_count.
 */
void prom_hist(struct buf *out, const char *name, const struct prom_label *labels,
               size_t label_count, const struct hist *hist_us, const double *bounds_s,
               size_t bound_count);

#endif
