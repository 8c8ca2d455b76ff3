/* Corrections, by what they correct; and what else a walk over entries needs. */
#include "cli/eventlog_corrections.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "codec/json_read.h"
#include "meter/price.h"

enum { KEPT_MAX = 1 << 30 };

void
corrections_init(struct corrections *corrections)
{
    *corrections = (struct corrections){0};
    arena_init(&corrections->texts, KEPT_MAX);
}

void
corrections_fini(struct corrections *corrections)
{
    arena_fini(&corrections->texts);
    free(corrections->items);
}

static int
compare(const void *a, const void *b)
{
    const struct corrected *left = a;
    const struct corrected *right = b;

    return strcmp(left->id, right->id);
}

static enum err_code
gather(void *ctx, const struct batch *rows, struct err *err)
{
    struct corrections *all = ctx;

    for (size_t row = 0; row < rows->rows; row++) {
        struct slice id = batch_get_text(rows, EVENT_CORRECTS, row);
        if (id.len == 0) {
            continue;
        }
        if (all->count == all->room) {
            all->room = all->room ? all->room * 2 : 256;
            all->items = mem_resize(all->items, all->room, sizeof(*all->items));
        }
        const char *kept = arena_dup(&all->texts, id).ptr;
        if (all->texts.overflow) {
            return err_set(err, ERR_TOO_LARGE, "the ids of all corrections need more than %d bytes",
                           KEPT_MAX);
        }
        all->items[all->count++] = (struct corrected){
            .id = kept, .credits = batch_get_i64(rows, EVENT_CREDITS_COST, row), .count = 1};
    }
    return ERR_OK;
}

enum err_code
corrections_gather(struct corrections *corrections, struct ledger *ledger, struct err *err)
{
    struct corrected *items;
    size_t kept = 0;
    enum err_code code = ledger_visit(ledger, 1, 0, gather, corrections, err);

    if (code != ERR_OK || corrections->count == 0) {
        return code;
    }
    items = corrections->items;
    qsort(items, corrections->count, sizeof(*items), compare);
    for (size_t i = 1; i < corrections->count; i++) {
        if (strcmp(items[i].id, items[kept].id) == 0) {
            items[kept].credits += items[i].credits;
            items[kept].count++;
        } else {
            items[++kept] = items[i];
        }
    }
    corrections->count = kept + 1;
    return ERR_OK;
}

struct corrected
corrections_find(const struct corrections *corrections, struct slice id)
{
    struct corrected none = {0};
    char text[256];
    struct corrected key = {.id = text};

    if (corrections->count == 0 || !slice_to_cstr(id, text, sizeof(text))) {
        return none;
    }
    const struct corrected *found =
        bsearch(&key, corrections->items, corrections->count, sizeof(key), compare);
    return found ? *found : none;
}

bool
corrections_passes(const struct event_filter *filter, const struct event *event)
{
    const struct {
        struct slice wanted;
        struct slice given;
    } texts[] = {
        {filter->id, event->id},
        {filter->api_name, event->api_name},
        {filter->endpoint, event->endpoint},
        {filter->method, event->method},
        {filter->run_id, event->run_id},
        {filter->api_key, event->api_key},
        {filter->project, event->project},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (texts[i].wanted.len > 0 && !slice_eq(texts[i].wanted, texts[i].given)) {
            return false;
        }
    }
    return event->timestamp_us >= filter->from_us && event->timestamp_us <= filter->to_us &&
           (filter->has_success == 0 || (filter->has_success > 0) == event->success);
}

size_t
corrections_fields(struct slice metadata, struct arena *arena, struct price_field *ret_fields,
                   size_t max)
{
    struct json_reader json;
    struct scalar value;
    struct slice key;
    size_t count = 0;

    json_read_init(&json, metadata, arena);
    if (!json_read_value(&json, &value) || value.type != SCALAR_OBJECT) {
        return 0;
    }
    while (count < max && json_read_key(&json, &key)) {
        if (!json_read_value(&json, &value) ||
            (value.type >= SCALAR_OBJECT && !json_read_rest(&json, &value))) {
            return 0;
        }
        if (value.type == SCALAR_NUMBER || value.type == SCALAR_STRING) {
            ret_fields[count++] = (struct price_field){.name = key, .value = value.text};
        }
    }
    return count;
}
