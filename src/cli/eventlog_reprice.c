/*
 * eider eventlog reprice: what the log would have cost by a price book, by API and day, and the
 * corrections that make it so. Two walks over the log: one gathers the corrections that are there
 * already, one compares. What differs is booked as new entries that name the old ones; the past
 * itself is never changed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/eventlog.h"
#include "cli/eventlog_corrections.h"
#include "cli/json_table.h"
#include "cli/rows.h"
#include "codec/decimal.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "meter/price.h"

enum {
    FIELDS_MAX = 32,
    GROUPS_MAX = 100000,
    KEPT_MAX = 1 << 30,
    DAY_TEXT = 10, /* "2026-01-31" */
    ID_TEXT_MAX = 64
};

struct group {
    const char *api;
    int64_t day;
    uint64_t calls;
    uint64_t changed;
    uint64_t unpriced; /* no rule of the book matches: left as they are */
    int64_t booked;
    int64_t repriced;
};

struct reprice {
    struct eventlog *log;
    struct prices *prices;
    struct ledger_filter filter;
    bool has_as_of;
    int64_t as_of_us;
    bool collect; /* make the corrections, too */
    struct arena texts;
    struct corrections before;
    size_t group_count;
    size_t group_room;
    struct group *groups; /* in order of api and day */
    size_t event_count;
    size_t event_room;
    struct event *events;
};

/* ---- comparing ---- */

static enum err_code
price(const struct reprice *job, const struct event *event, struct arena *arena,
      struct price_quote *ret_quote, struct err *err)
{
    struct price_field fields[FIELDS_MAX];
    struct price_call call = {
        .api = event->api_name,
        .method = event->method,
        .path = event->endpoint,
        .has_status = event->has_status,
        .status = event->status_code,
        .success = event->success,
        .at_us = job->has_as_of ? job->as_of_us : event->timestamp_us,
        .fields = fields,
    };

    arena_reset(arena);
    if (event->metadata_json.len > 0) {
        call.field_count = corrections_fields(event->metadata_json, arena, fields, FIELDS_MAX);
    }
    enum err_code code = prices_cost(job->prices, &call, ret_quote, err);
    return code == ERR_OK ? code
                          : err_context(err, code, "entry %.*s",
                                        SLICE_FMT(slice_sub(event->id, 0, ID_TEXT_MAX)));
}

/* The group of an entry; made at its place when there is none. NULL over the cap. */
static struct group *
find_group(struct reprice *job, const struct event *event)
{
    int64_t day =
        event->timestamp_us / TIME_US_PER_DAY - (event->timestamp_us % TIME_US_PER_DAY < 0 ? 1 : 0);
    size_t low = 0;
    size_t high = job->group_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        struct group *group = &job->groups[middle];
        int order = slice_cmp(slice_of(group->api), event->api_name);
        if (order == 0 && group->day == day) {
            return group;
        }
        if (order < 0 || (order == 0 && group->day < day)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (job->group_count == GROUPS_MAX) {
        return NULL;
    }
    if (job->group_count == job->group_room) {
        job->group_room = job->group_room ? job->group_room * 2 : 64;
        job->groups = mem_resize(job->groups, job->group_room, sizeof(*job->groups));
    }
    memmove(&job->groups[low + 1], &job->groups[low],
            (job->group_count++ - low) * sizeof(*job->groups));
    job->groups[low] =
        (struct group){.api = arena_dup(&job->texts, event->api_name).ptr, .day = day};
    return &job->groups[low];
}

/*
 * A new entry beside the old one, in the same window and of the same scope. Its id says which entry
 * and the how-manieth correction of it, so that a run that was cut short books nothing twice.
 */
static void
add_correction(struct reprice *job, const struct event *event, const struct price_quote *quote,
               int64_t difference, uint32_t nth)
{
    struct buf metadata BUF_AUTO = {0};
    struct json_writer json;
    const char *digest = strrchr(quote->rule_id, '@');

    if (job->event_count == job->event_room) {
        job->event_room = job->event_room ? job->event_room * 2 : 256;
        job->events = mem_resize(job->events, job->event_room, sizeof(*job->events));
    }
    buf_init(&metadata, 4096);
    json_init(&json, &metadata);
    json_object_begin(&json);
    json_key(&json, "reason");
    json_cstr(&json, "reprice");
    json_key(&json, "price_rule");
    json_cstr(&json, quote->rule_id);
    json_object_end(&json);
    job->events[job->event_count++] = (struct event){
        .id = slice_of(arena_fmt(&job->texts, "reprice-%" PRIu64 "-%s-%u", event->seq,
                                 digest ? digest + 1 : "0", nth)),
        .timestamp_us = event->timestamp_us,
        .api_name = arena_dup(&job->texts, event->api_name),
        .endpoint = arena_dup(&job->texts, event->endpoint),
        .method = arena_dup(&job->texts, event->method),
        .has_status = event->has_status,
        .status_code = event->status_code,
        .success = event->success,
        .credits = difference,
        .run_id = arena_dup(&job->texts, event->run_id),
        .metadata_json = arena_dup(&job->texts, buf_slice(&metadata)),
        .api_key = arena_dup(&job->texts, event->api_key),
        .project = arena_dup(&job->texts, event->project),
        .corrects = arena_dup(&job->texts, event->id),
    };
}

static enum err_code
too_large(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE,
                   "repricing this range needs more than %d bytes; give --from and --to", KEPT_MAX);
}

static enum err_code
compare_entry(struct reprice *job, const struct event *event, struct arena *arena, struct err *err)
{
    struct corrected before = corrections_find(&job->before, event->id);
    int64_t booked = event->credits + before.credits;
    struct price_quote quote = {0};
    struct group *group = find_group(job, event);
    enum err_code code = price(job, event, arena, &quote, err);

    if (!group) {
        return err_set(err, ERR_TOO_LARGE, "more than %d days and APIs; give --from and --to",
                       GROUPS_MAX);
    }
    if (code != ERR_OK) {
        return code;
    }
    int64_t repriced = quote.found ? quote.credits : booked;
    group->calls++;
    group->unpriced += !quote.found;
    group->booked += booked;
    group->repriced += repriced;
    if (repriced != booked) {
        group->changed++;
        if (job->collect) {
            add_correction(job, event, &quote, repriced - booked, before.count);
        }
    }
    return job->texts.overflow ? too_large(err) : ERR_OK;
}

static enum err_code
compare_rows(void *ctx, const struct batch *rows, struct err *err)
{
    struct reprice *job = ctx;
    struct arena arena ARENA_AUTO;
    enum err_code code = ERR_OK;

    arena_init(&arena, 1 << 20);
    for (size_t row = 0; row < rows->rows && code == ERR_OK; row++) {
        struct event event;
        if (!event_from_row(rows, row, &event)) {
            return err_set(err, ERR_CORRUPT,
                           "an entry has no hash of 64 hex digits; see `eider eventlog verify`");
        }
        if (event.corrects.len == 0 && corrections_passes(&job->filter.event, &event)) {
            code = compare_entry(job, &event, &arena, err);
        }
    }
    return code;
}

/* ---- the report ---- */

static void
fill_rows(const struct reprice *job, struct batch *rows)
{
    static const struct json_column columns[] = {
        {"api_name", "", COL_TEXT},    {"day", "", COL_TEXT},           {"calls", "", COL_INT64},
        {"changed", "", COL_INT64},    {"unpriced", "", COL_INT64},     {"booked", "", COL_DECIMAL},
        {"repriced", "", COL_DECIMAL}, {"difference", "", COL_DECIMAL}, {0},
    };

    json_table_init(rows, columns);
    for (size_t i = 0; i < job->group_count; i++) {
        const struct group *group = &job->groups[i];
        size_t row = batch_add_row(rows);
        char day[TIME_TEXT_MAX];
        time_format_iso8601(group->day * TIME_US_PER_DAY, day);
        batch_set_text(rows, 0, row, slice_of(group->api));
        batch_set_text(rows, 1, row, batch_keep_text(rows, slice_make(day, DAY_TEXT)));
        batch_set_i64(rows, 2, row, (int64_t)group->calls);
        batch_set_i64(rows, 3, row, (int64_t)group->changed);
        batch_set_i64(rows, 4, row, (int64_t)group->unpriced);
        batch_set_i64(rows, 5, row, group->booked);
        batch_set_i64(rows, 6, row, group->repriced);
        batch_set_i64(rows, 7, row, group->repriced - group->booked);
    }
}

static enum err_code
print_groups(const struct reprice *job, struct err *err)
{
    struct cli *cli = job->log->cli;
    const char *format = cli_value(cli, "format");
    struct rows_writer writer = {.out = cli->out, .format = ROWS_TABLE};
    struct batch rows;

    if (cli_has(cli, "json")) {
        writer.format = ROWS_JSON;
    } else if (format && !rows_parse_format(format, &writer.format)) {
        return err_set(err, ERR_USAGE, "eventlog: --format %s is for export", format);
    }
    fill_rows(job, &rows);
    enum err_code code = rows_write(&writer, &rows, err);
    if (code == ERR_OK) {
        code = rows_end(&writer, err);
    }
    batch_fini(&rows);
    return code;
}

/* ---- booking ---- */

static bool
agrees(struct cli *cli, size_t count, int64_t difference)
{
    char text[DECIMAL_TEXT_MAX];
    char answer[16] = "";

    if (cli_has(cli, "yes")) {
        return true;
    }
    decimal_format(difference, text);
    fprintf(cli->err, "Book %zu corrections, together %s credits? [y/N] ", count, text);
    fflush(cli->err);
    return fgets(answer, sizeof(answer), cli->in) && (answer[0] == 'y' || answer[0] == 'Y');
}

static enum err_code
book(struct reprice *job, struct err *err)
{
    struct cli *cli = job->log->cli;
    size_t stored = 0;
    int64_t difference = 0;

    for (size_t i = 0; i < job->event_count; i++) {
        difference += job->events[i].credits;
    }
    if (job->event_count == 0) {
        cli_note(cli, "nothing to correct");
        return ERR_OK;
    }
    fflush(cli->out);
    if (!agrees(cli, job->event_count, difference)) {
        cli_note(cli, "nothing was booked");
        return ERR_OK;
    }
    for (size_t at = 0; at < job->event_count;) {
        struct ledger_appended appended;
        size_t count = job->event_count - at;
        count = count > LEDGER_APPEND_MAX ? LEDGER_APPEND_MAX : count;
        enum err_code code =
            ledger_append(&job->log->ledger, &job->events[at], count, &appended, err);
        if (code != ERR_OK) {
            return err_context(err, code, "after %zu corrections (run it again for the rest)",
                               stored);
        }
        stored += appended.stored;
        at += count;
    }
    cli_note(cli, "%zu corrections booked", stored);
    return ERR_OK;
}

/* ---- the action ---- */

static enum err_code
select_book(struct prices *prices, const char *book, struct err *err)
{
    struct price_version version;
    struct slice api = slice_of("");

    for (size_t i = 0; i < prices_version_count(prices); i++) {
        prices_version_at(prices, i, &version);
        if (strcmp(version.book, book) == 0) {
            api = slice_of(version.api);
        }
    }
    if (api.len == 0) {
        return err_set(err, ERR_NOT_FOUND,
                       "there is no price book %.60s; give --prices DIRECTORY, or see `eider spend "
                       "prices`",
                       book);
    }
    return prices_select(prices, api, slice_of(book), err);
}

/* The books that a server of this configuration would use. */
static enum err_code
load_prices(struct reprice *job, struct err *err)
{
    static const char preset[] = "prices";
    const struct config *config = job->log->config;
    const char *dir = cli_value(job->log->cli, "prices");

    enum err_code code = config_need(config, "meter.price_books", err);
    if (!dir) {
        code = code ? code : config_need(config, "meter.prices_dir", err);
        dir = config->meter.prices_dir;
    }
    if (!dir && access(preset, F_OK) == 0) {
        dir = preset;
    }
    code = code ? code : prices_load(dir, &job->prices, err);
    for (size_t i = 0; code == ERR_OK && i < config->meter.price_books.count; i++) {
        struct slice book = slice_of(config->meter.price_books.items[i]);
        struct slice api;
        slice_split(&book, '=', &api);
        code = prices_select(job->prices, slice_trim(api), slice_trim(book), err);
    }
    return code;
}

static enum err_code
read_wishes(struct reprice *job, struct err *err)
{
    const struct cli *cli = job->log->cli;
    bool dry = cli_has(cli, "dry-run");

    job->collect = !dry;
    job->has_as_of = cli_value(cli, "as-of") != NULL;
    if (cli_value(cli, "status")) {
        return err_set(err, ERR_USAGE,
                       "eventlog reprice takes no --status; --failed and --success "
                       "choose by outcome");
    }
    if (!dry && !cli_has(cli, "yes") && !cli->in_is_terminal) {
        return err_set(err, ERR_USAGE,
                       "eventlog reprice books corrections; give --dry-run to look only, or --yes");
    }
    enum err_code code = eventlog_time(cli, "as-of", 0, &job->as_of_us, err);
    if (code == ERR_OK) {
        code = eventlog_filter(cli, &job->filter, err);
    }
    if (code == ERR_OK) {
        code = load_prices(job, err);
    }
    if (code == ERR_OK && cli_value(cli, "book")) {
        code = select_book(job->prices, cli_value(cli, "book"), err);
    }
    return code;
}

enum err_code
eventlog_reprice(struct eventlog *log, struct err *err)
{
    struct reprice job = {.log = log};

    arena_init(&job.texts, KEPT_MAX);
    corrections_init(&job.before);
    enum err_code code = read_wishes(&job, err);
    if (code == ERR_OK) {
        code = corrections_gather(&job.before, &log->ledger, err);
    }
    if (code == ERR_OK) {
        code = ledger_visit(&log->ledger, 1, 0, compare_rows, &job, err);
    }
    if (code == ERR_OK) {
        code = print_groups(&job, err);
    }
    if (code == ERR_OK && job.collect) {
        code = book(&job, err);
    }
    prices_unref(job.prices);
    arena_fini(&job.texts);
    corrections_fini(&job.before);
    free(job.groups);
    free(job.events);
    return code;
}
