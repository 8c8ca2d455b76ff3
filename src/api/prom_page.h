/*
 * A page of metrics being written: where it goes, and the namespace before every name. For the
 * files of GET /metrics.
 */
#ifndef EIDER_API_PROM_PAGE_H
#define EIDER_API_PROM_PAGE_H

#include <stdint.h>

#include "base/buf.h"

enum { PROM_NAME_BYTES = 128 };

struct page {
    struct buf *out;
    const char *namespace;
    char name[PROM_NAME_BYTES]; /* page_name's */
};

/* "<namespace>_<name>", until the next call for the page. */
const char *page_name(struct page *page, const char *name);

/* A family of one sample without labels. */
void page_counter(struct page *page, const char *name, const char *help, uint64_t value);
void page_gauge(struct page *page, const char *name, const char *help, double value);

#endif
