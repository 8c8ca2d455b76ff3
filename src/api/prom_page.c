/* How families begin, and those of one sample, which most of the page is made of. */
#include "api/prom_page.h"

#include <stdio.h>

const char *
page_family(struct page *page, const char *name, enum prom_type type, const char *help)
{
    snprintf(page->name, sizeof(page->name), "%s_%s", page->namespace, name);
    prom_family(page->out, page->name, type, help);
    return page->name;
}

void
page_counter(struct page *page, const char *name, const char *help, uint64_t value)
{
    prom_sample_u64(page->out, page_family(page, name, PROM_COUNTER, help), NULL, 0, value);
}

void
page_gauge(struct page *page, const char *name, const char *help, double value)
{
    prom_sample(page->out, page_family(page, name, PROM_GAUGE, help), NULL, 0, value);
}
