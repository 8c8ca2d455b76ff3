/* The families of GET /metrics that tell of cold data: files by table and kind, and what the
 * maintenance thread did. Families stand together, so the files are counted first. */
#include <stdio.h>
#include <stdlib.h>

#include "api/api_private.h"
#include "api/prom_page.h"
#include "base/mem.h"
#include "codec/time.h"

/* Files of one table and kind. */
struct group {
    uint64_t days;
    uint64_t files;
    uint64_t rows;
    uint64_t bytes;
};

struct groups {
    struct group all[TABLE_ID_END][COLD_KIND_COUNT];
};

/* `files` are sorted. */
static void
count_groups(const struct cold_file *files, size_t count, struct groups *groups)
{
    for (size_t i = 0; i < count; i++) {
        struct group *group = &groups->all[files[i].table][files[i].kind];
        bool same_day = i > 0 && files[i - 1].table == files[i].table &&
                        files[i - 1].kind == files[i].kind && files[i - 1].day == files[i].day;
        group->days += !same_day;
        group->files++;
        group->rows += files[i].rows;
        group->bytes += files[i].bytes;
    }
}

static void
by_group(struct page *page, const char *name, const char *help, const struct groups *groups,
         size_t offset)
{
    const char *full = page_family(page, name, PROM_GAUGE, help);
    for (int id = 1; id < TABLE_ID_END; id++) {
        for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
            const struct group *group = &groups->all[id][kind];
            if (group->files == 0) {
                continue;
            }
            const struct prom_label labels[] = {
                {"table", slice_of(catalog_table((enum table_id)id)->name)},
                {"kind", slice_of(cold_kind_name((enum cold_kind)kind))},
            };
            const uint64_t *value = (const uint64_t *)(const void *)((const char *)group + offset);
            prom_sample_u64(page->out, full, labels, 2, *value);
        }
    }
}

static void
write_work(struct page *page, const struct maintain_status *s)
{
    page_gauge(page, "maintenance_state",
               "0 off, 1 idle, 2 sealing, 3 merging, 4 retaining, 5 collecting, 6 waiting after a "
               "failure.",
               s->state);
    page_counter(page, "maintenance_failures_total", "Rounds of maintenance that failed.",
                 s->failures);
    page_counter(page, "cold_seals_total", "Days of tables sealed since the start.",
                 s->days_sealed);
    page_counter(page, "cold_merges_total", "Sealed days written anew since the start.",
                 s->days_merged);
    page_counter(page, "cold_rows_sealed_total", "Rows that went from the database to files.",
                 s->rows_sealed);
    page_counter(page, "cold_files_collected_total", "Files removed that nothing listed any more.",
                 s->files_collected);
    page_gauge(page, "retention_last_timestamp_seconds", "When retention ran last; 0: never.",
               (double)s->retention_us / (double)TIME_US_PER_S);
    page_gauge(page, "retention_next_timestamp_seconds",
               "When it runs next; 0: there are no rules.",
               (double)s->retention_next_us / (double)TIME_US_PER_S);
    page_counter(page, "retention_rows_dropped_total", "Rows dropped by retention since the start.",
                 s->retention_rows);
    page_counter(page, "retention_bytes_dropped_total",
                 "Bytes dropped by retention since the start.", s->retention_bytes);
    page_counter(page, "retention_files_dropped_total",
                 "Files dropped by retention since the start.", s->retention_files);
}

void
write_cold_metrics(struct api *api, const struct maintain_status *status, struct page *page)
{
    struct cold_file *files MEM_AUTO = NULL;
    struct groups *groups MEM_AUTO = NULL;
    size_t count = 0;
    struct err ignored;

    if (status->state == MAINTAIN_OFF) {
        return;
    }
    if (engine_cold_list(api->engine, &files, &count, &ignored) == ERR_OK) {
        groups = mem_zalloc(1, sizeof(*groups));
        count_groups(files, count, groups);
        by_group(page, "cold_days", "Sealed days, by table and kind.", groups,
                 offsetof(struct group, days));
        by_group(page, "cold_files", "Cold files, by table and kind.", groups,
                 offsetof(struct group, files));
        by_group(page, "cold_rows", "Rows in cold files, by table and kind.", groups,
                 offsetof(struct group, rows));
        by_group(page, "cold_bytes", "Bytes of cold files, by table and kind.", groups,
                 offsetof(struct group, bytes));
    }
    write_work(page, status);
}
