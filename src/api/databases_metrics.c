/*
 * GET /metrics of a process with several databases: the default one's page as it is, and in each
 * family, behind its samples, those of the others with a label `database`. The format wants all
 * samples of a family together, so the pages are merged family by family, as text: whatever a part
 * tells is told of every database without its doing.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "api/databases_private.h"
#include "base/mem.h"
#include "codec/prom_text.h"

enum { FAMILIES_MAX = 1024, NAME_BYTES = 128 };

struct family {
    struct slice name;
    struct slice head;    /* HELP and TYPE */
    struct slice samples; /* lines */
    bool merged;
};

struct parted_page {
    struct buf text;
    size_t count;
    struct family families[FAMILIES_MAX];
};

/* Cuts a page into its families; each begins with a line of HELP. */
static void
cut(struct parted_page *page)
{
    struct slice rest = buf_slice(&page->text);
    struct family *family = NULL;
    struct slice line;

    for (bool more = rest.len > 0; more;) {
        more = slice_split(&rest, '\n', &line);
        if (slice_starts(line, "# HELP ") && page->count < FAMILIES_MAX) {
            struct slice words = slice_sub(line, 7, line.len);
            family = &page->families[page->count++];
            *family = (struct family){.head = {line.ptr, 0}};
            slice_split(&words, ' ', &family->name);
        }
        if (!family || line.len == 0) {
            continue;
        }
        size_t end = (size_t)(line.ptr - family->head.ptr) + line.len + 1;
        if (line.ptr[0] == '#') {
            family->head.len = end;
            family->samples = slice_make(family->head.ptr + end, 0);
        } else {
            family->samples.len = end - family->head.len;
        }
    }
}

static struct family *
find(struct parted_page *page, struct slice name, size_t near)
{
    for (size_t i = 0; i < page->count; i++) {
        struct family *family = &page->families[(near + i) % page->count];
        if (slice_eq(family->name, name)) {
            return family;
        }
    }
    return NULL;
}

/* "name{a="b"} 1" and "name 1" with the label in front. */
static void
add_labelled(struct buf *out, struct slice samples, const char *database)
{
    struct slice line;

    for (bool more = samples.len > 0; more;) {
        more = slice_split(&samples, '\n', &line);
        size_t name_len = 0;
        while (name_len < line.len && line.ptr[name_len] != '{' && line.ptr[name_len] != ' ') {
            name_len++;
        }
        if (line.len == 0) {
            continue;
        }
        bool has_labels = name_len < line.len && line.ptr[name_len] == '{';
        buf_add_slice(out, slice_sub(line, 0, name_len));
        buf_add_fmt(out, "{database=\"%s\"%s", database, has_labels ? "," : "}");
        buf_add_slice(out, slice_sub(line, name_len + (has_labels ? 1 : 0), line.len));
        buf_add_char(out, '\n');
    }
}

/* The samples of one family of all pages from `first` on. */
static void
add_others(struct buf *out, struct databases *databases, struct parted_page *const *pages,
           size_t first, struct slice name, size_t near)
{
    for (size_t i = first; i < databases->count; i++) {
        struct family *family = pages[i] ? find(pages[i], name, near) : NULL;
        if (family && !family->merged) {
            add_labelled(out, family->samples, databases->entries[i].name);
            family->merged = true;
        }
    }
}

static void
merge(struct buf *out, struct databases *databases, struct parted_page *const *pages)
{
    const struct parted_page *own = pages[0];

    assert(own); /* the default one's is always there */
    for (size_t i = 0; i < own->count; i++) {
        const struct family *family = &own->families[i];
        buf_add_slice(out, family->head);
        buf_add_slice(out, family->samples);
        add_others(out, databases, pages, 1, family->name, i);
    }
    /* What the default one does not have: no meter, say. */
    for (size_t i = 1; i < databases->count; i++) {
        for (size_t j = 0; pages[i] && j < pages[i]->count; j++) {
            struct family *family = &pages[i]->families[j];
            if (!family->merged) {
                buf_add_slice(out, family->head);
                add_others(out, databases, pages, i, family->name, j);
            }
        }
    }
}

static void
write_up(struct buf *out, struct databases *databases, const char *namespace)
{
    char name[NAME_BYTES];

    snprintf(name, sizeof(name), "%s_database_up", namespace);
    prom_family(out, name, PROM_GAUGE, "1 while the database is open, by name.");
    for (size_t i = 0; i < databases->count; i++) {
        struct database_entry *entry = &databases->entries[i];
        const struct prom_label label = {"database", slice_of(entry->name)};
        prom_sample(out, name, &label, 1, atomic_load(&entry->api) != NULL);
    }
}

void
merge_databases_metrics(struct api *api, struct buf *page)
{
    struct databases *databases = api->databases;
    struct parted_page *pages[DATABASES_MAX] = {NULL};

    if (!databases || databases->count < 2 || api->database_index != 0) {
        return;
    }
    pthread_rwlock_rdlock(&databases->apis);
    for (size_t i = 0; i < databases->count; i++) {
        struct api *other = atomic_load(&databases->entries[i].api);
        if (i > 0 && !other) {
            continue;
        }
        pages[i] = mem_zalloc(1, sizeof(*pages[i]));
        buf_init(&pages[i]->text, 0);
        if (i == 0) {
            buf_add_slice(&pages[i]->text, buf_slice(page));
        } else {
            write_database_metrics(other, &pages[i]->text);
        }
        cut(pages[i]);
    }
    pthread_rwlock_unlock(&databases->apis);
    buf_reset(page);
    merge(page, databases, pages);
    write_up(page, databases, api->options.metrics_namespace);
    for (size_t i = 0; i < databases->count; i++) {
        if (pages[i]) {
            buf_fini(&pages[i]->text);
            free(pages[i]);
        }
    }
}
