/*
 * A page of metrics being written: where it goes, and the namespace before every name. For the
 * files of GET /metrics.
 */
#ifndef EIDER_API_PROM_PAGE_H
#define EIDER_API_PROM_PAGE_H

#include <stdint.h>

#include "base/buf.h"
#include "codec/prom_text.h"

enum { PROM_NAME_BYTES = 128 };

struct page {
    struct buf *out;
    const char *namespace;
    char name[PROM_NAME_BYTES]; /* page_family's */
};

/* Begins a family; returns "<namespace>_<name>" for its samples, until the next family. */
const char *page_family(struct page *page, const char *name, enum prom_type type, const char *help);

/* A family of one sample without labels. */
void page_counter(struct page *page, const char *name, const char *help, uint64_t value);
void page_gauge(struct page *page, const char *name, const char *help, double value);

#endif
