/* Families of one sample, which most of the page is made of. */
#include "api/prom_page.h"

#include <stdio.h>

#include "codec/prom_text.h"

const char *
page_name(struct page *page, const char *name)
{
    snprintf(page->name, sizeof(page->name), "%s_%s", page->namespace, name);
    return page->name;
}

void
page_counter(struct page *page, const char *name, const char *help, uint64_t value)
{
    const char *full = page_name(page, name);

    prom_family(page->out, full, PROM_COUNTER, help);
    prom_sample_u64(page->out, full, NULL, 0, value);
}

void
page_gauge(struct page *page, const char *name, const char *help, double value)
{
    const char *full = page_name(page, name);

    prom_family(page->out, full, PROM_GAUGE, help);
    prom_sample(page->out, full, NULL, 0, value);
}
