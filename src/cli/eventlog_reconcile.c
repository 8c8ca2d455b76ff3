/* eider eventlog reconcile: the log beside a provider's CSV of calls. */
#include <string.h>

#include "cli/eventlog.h"
#include "cli/eventlog_corrections.h"
#include "cli/import_source.h"
#include "cli/spend_def.h"
#include "codec/time.h"
#include "meter/price.h"
#include "meter/reconcile.h"

enum { MAPS_MAX = 16, FIELDS_MAX = 32, REPORT_BYTES_MAX = 256 << 20 };

struct job {
    struct reconcile *reconcile;
    struct corrections corrections;
    struct ledger_filter filter;
};

/* The provider's own id, when the caller kept it with the call; else ours. */
static struct slice
request_id(const struct event *event, struct arena *arena)
{
    struct price_field fields[FIELDS_MAX];
    size_t count = event->metadata_json.len
                       ? corrections_fields(event->metadata_json, arena, fields, FIELDS_MAX)
                       : 0;

    for (size_t i = 0; i < count; i++) {
        if (slice_is(fields[i].name, "request_id")) {
            return fields[i].value;
        }
    }
    return event->id;
}

static enum err_code
push_rows(void *ctx, const struct batch *rows, struct err *err)
{
    struct job *job = ctx;
    struct arena arena ARENA_AUTO;
    enum err_code code = ERR_OK;

    arena_init(&arena, 1 << 20);
    for (size_t row = 0; row < rows->rows && code == ERR_OK; row++) {
        struct event event;
        if (!event_from_row(rows, row, &event)) {
            return err_set(err, ERR_CORRUPT,
                           "an entry has no hash of 64 hex digits; see `eider eventlog verify`");
        }
        if (event.corrects.len > 0 || !corrections_passes(&job->filter.event, &event)) {
            continue;
        }
        arena_reset(&arena);
        struct reconcile_entry entry = {
            .event_id = event.id,
            .request_id = request_id(&event, &arena),
            .timestamp_us = event.timestamp_us,
            .api = event.api_name,
            .endpoint = event.endpoint,
            .method = event.method,
            .has_status = event.has_status,
            .status = event.status_code,
            .credits = event.credits + corrections_find(&job->corrections, event.id).credits,
        };
        code = reconcile_push(job->reconcile, &entry, err);
    }
    return code;
}

/* --map may come in parts. */
static void
join_maps(const struct cli *cli, struct buf *ret_map)
{
    const char *maps[MAPS_MAX];
    size_t count = cli_all_values(cli, "map", maps, MAPS_MAX);

    for (size_t i = 0; i < count; i++) {
        buf_add_fmt(ret_map, "%s%s", i ? "," : "", maps[i]);
    }
}

static enum err_code
prepare(struct eventlog *log, struct job *job, struct err *err)
{
    const char *tolerance = cli_value(log->cli, "tolerance");
    struct reconcile_options options = {0};
    struct buf map BUF_AUTO = {0};
    int64_t ms = 0;

    if (!cli_has(log->cli, "map")) {
        return err_set(err, ERR_USAGE,
                       "eventlog reconcile: which column is what? give --map "
                       "timestamp=COLUMN,credits=COLUMN, and endpoint= and id= when there are");
    }
    if (tolerance && !spend_duration_ms(tolerance, 1000, &ms)) {
        return err_set(err, ERR_USAGE,
                       "eventlog: --tolerance is \"%.60s\"; expected a time such as 2s or 500ms",
                       tolerance);
    }
    enum err_code code = eventlog_filter(log->cli, &job->filter, err);
    if (code != ERR_OK) {
        return code;
    }
    buf_init(&map, 0);
    join_maps(log->cli, &map);
    options.map = buf_slice(&map);
    options.tolerance_us = ms * TIME_US_PER_MS;
    code = reconcile_new(&options, &job->reconcile, err);
    /* The user wrote --map: a mistake in it is wrong usage. */
    if (code == ERR_INVALID || code == ERR_SYNTAX) {
        err_context(err, code, "eventlog: --map");
        code = err->code = ERR_USAGE;
    }
    return code;
}

static enum err_code
compare(struct eventlog *log, struct job *job, struct err *err)
{
    const char *path = log->cli->args[1];
    struct import_bytes bytes;
    enum err_code code = import_bytes_open(path, &bytes, err);

    if (code != ERR_OK) {
        return code;
    }
    code = reconcile_csv(job->reconcile, path, bytes.text, err);
    import_bytes_close(&bytes);
    if (code == ERR_OK) {
        code = corrections_gather(&job->corrections, &log->ledger, err);
    }
    if (code == ERR_OK) {
        code = ledger_visit(&log->ledger, 1, 0, push_rows, job, err);
    }
    return code;
}

static enum err_code
report(struct eventlog *log, const struct job *job, struct err *err)
{
    struct reconcile_summary summary;
    struct buf out BUF_AUTO = {0};

    buf_init(&out, REPORT_BYTES_MAX);
    if (cli_has(log->cli, "json")) {
        reconcile_write_json(job->reconcile, &out);
    } else {
        reconcile_write_text(job->reconcile, &out);
    }
    if (out.len > 0 && out.ptr[out.len - 1] != '\n') {
        buf_add_char(&out, '\n');
    }
    reconcile_summary(job->reconcile, &summary);
    bool differs =
        summary.different || summary.ours_only || summary.theirs_only || summary.bad_rows;
    if (differs && cli_has(log->cli, "strict")) {
        log->status = CLI_FAILED;
    }
    return cli_write(log->cli, &out, err);
}

enum err_code
eventlog_reconcile(struct eventlog *log, struct err *err)
{
    struct job job = {0};
    enum err_code code = prepare(log, &job, err);

    corrections_init(&job.corrections);
    if (code == ERR_OK) {
        code = compare(log, &job, err);
    }
    if (code == ERR_OK) {
        reconcile_run(job.reconcile);
        code = report(log, &job, err);
    }
    reconcile_free(job.reconcile);
    corrections_fini(&job.corrections);
    return code;
}
