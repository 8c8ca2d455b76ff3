/* eider eventlog list, tail, stats, head, import: what the log holds. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/eventlog.h"
#include "cli/eventlog_place.h"
#include "cli/rows.h"
#include "codec/json_write.h"
#include "codec/time.h"

enum { LIST_DEFAULT = 100, TAIL_DEFAULT = 20, KEPT_MAX = 1 << 30 };

static enum err_code
choose_format(const struct cli *cli, enum rows_format *ret_format, struct err *err)
{
    const char *format = cli_value(cli, "format");

    *ret_format = cli_has(cli, "json") ? ROWS_JSON : ROWS_TABLE;
    if (format && cli_has(cli, "json") && strcmp(format, "json") != 0) {
        return err_set(err, ERR_USAGE, "eventlog: --json and --format %s contradict each other",
                       format);
    }
    if (format && !rows_parse_format(format, ret_format)) {
        return err_set(err, ERR_USAGE, "eventlog: --format %s is for export", format);
    }
    return ERR_OK;
}

static enum err_code
print_rows(const struct cli *cli, enum rows_format format, const struct batch *rows,
           struct err *err)
{
    struct rows_writer writer = {.out = cli->out, .format = format};
    enum err_code code = rows_write(&writer, rows, err);

    return code == ERR_OK ? rows_end(&writer, err) : code;
}

/* Copies one value of the same type; texts are borrowed. */
static void
copy_value(struct batch *to, size_t to_column, size_t to_row, const struct batch *from,
           size_t column, size_t row)
{
    if (batch_is_null(from, column, row)) {
        return;
    }
    switch (from->columns[column].type) {
    case COL_BOOL:
        batch_set_bool(to, to_column, to_row, from->columns[column].b[row]);
        break;
    case COL_INT32:
        batch_set_i32(to, to_column, to_row, from->columns[column].i32[row]);
        break;
    case COL_INT64:
    case COL_TIMESTAMP:
    case COL_DECIMAL:
        batch_set_i64(to, to_column, to_row, from->columns[column].i64[row]);
        break;
    case COL_DOUBLE:
        batch_set_f64(to, to_column, to_row, from->columns[column].f64[row]);
        break;
    case COL_TEXT:
    case COL_JSON:
    case COL_TYPE_COUNT:
        batch_set_text(to, to_column, to_row, batch_get_text(from, column, row));
        break;
    }
}

/* What a person looks for; programs get every column. */
static void
project(const struct batch *rows, bool all, bool turn, struct batch *ret_rows)
{
    static const enum event_column shown[] = {
        EVENT_SEQ,         EVENT_TIMESTAMP,     EVENT_API_NAME,   EVENT_ENDPOINT,
        EVENT_STATUS_CODE, EVENT_SUCCESS,       EVENT_LATENCY_MS, EVENT_CREDITS_COST,
        EVENT_RUN_ID,      EVENT_ERROR_MESSAGE, EVENT_ID};
    size_t count = all ? rows->column_count : sizeof(shown) / sizeof(shown[0]);

    batch_init_answer(ret_rows, KEPT_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct column *column = &rows->columns[all ? i : shown[i]];
        batch_add_column(ret_rows, slice_of(column->name), column->type);
    }
    for (size_t row = 0; row < rows->rows; row++) {
        size_t from = turn ? rows->rows - 1 - row : row;
        size_t to = batch_add_row(ret_rows);
        for (size_t i = 0; i < count; i++) {
            copy_value(ret_rows, i, to, rows, all ? i : shown[i], from);
        }
    }
}

/* list gives the newest first; tail the newest, too, but in the order they were written. */
enum err_code
eventlog_list(struct eventlog *log, struct err *err)
{
    bool tail = strcmp(log->cli->args[0], "tail") == 0;
    struct ledger_page page = {0};
    enum rows_format format;
    struct batch rows;
    struct batch shown;
    uint64_t next = 0;
    int64_t limit;
    enum err_code code = choose_format(log->cli, &format, err);

    if (code == ERR_OK) {
        code = cli_number(log->cli, "limit", 1, LEDGER_PAGE_MAX, tail ? TAIL_DEFAULT : LIST_DEFAULT,
                          &limit, err);
    }
    if (code == ERR_OK) {
        code = eventlog_filter(log->cli, &page.filter, err);
    }
    if (code == ERR_OK) {
        page.limit = (unsigned)limit;
        code = ledger_page(&log->ledger, &page, &rows, &next, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    project(&rows, format != ROWS_TABLE, tail, &shown);
    code = print_rows(log->cli, format, &shown, err);
    if (code == ERR_OK && next && !tail) {
        cli_note(log->cli, "there are more; --limit shows up to %d, `eider eventlog export` all",
                 LEDGER_PAGE_MAX);
    }
    batch_fini(&shown);
    batch_fini(&rows);
    return code;
}

/* ---- statistics ---- */

static enum err_code
read_groups(const struct cli *cli, enum event_group ret_groups[2], struct err *err)
{
    struct slice rest = slice_of(cli_value(cli, "by"));
    size_t count = 0;

    ret_groups[0] = ret_groups[1] = GROUP_NONE;
    while (rest.len > 0) {
        struct slice name;
        enum event_group found = GROUP_NONE;
        slice_split(&rest, ',', &name);
        for (int group = GROUP_API; group <= GROUP_PROJECT; group++) {
            const char *known = ledger_group_name((enum event_group)group);
            if (known && slice_is(slice_trim(name), known)) {
                found = (enum event_group)group;
            }
        }
        if (found == GROUP_NONE || count == 2 || (count == 1 && ret_groups[0] == found)) {
            return err_set(err, ERR_USAGE,
                           "eventlog: --by is \"%.60s\"; expected one or two of api, endpoint, "
                           "run_id, key, project, hour and day, such as api,day",
                           cli_value(cli, "by"));
        }
        ret_groups[count++] = found;
    }
    return ERR_OK;
}

/* A reader of a table wants milliseconds and thousandths, not what a division left. */
static void
round_doubles(struct batch *rows)
{
    for (size_t i = 0; i < rows->column_count; i++) {
        for (size_t row = 0; rows->columns[i].type == COL_DOUBLE && row < rows->rows; row++) {
            if (!batch_is_null(rows, i, row)) {
                batch_set_f64(rows, i, row, round(rows->columns[i].f64[row] * 1000) / 1000);
            }
        }
    }
}

enum err_code
eventlog_stats(struct eventlog *log, struct err *err)
{
    enum event_group groups[2];
    struct ledger_filter filter;
    enum rows_format format;
    struct batch rows;
    enum err_code code = choose_format(log->cli, &format, err);

    if (code == ERR_OK) {
        code = read_groups(log->cli, groups, err);
    }
    if (code == ERR_OK) {
        code = eventlog_filter(log->cli, &filter, err);
    }
    if (code == ERR_OK) {
        code = ledger_stats(&log->ledger, &filter, groups, &rows, err);
    }
    if (code == ERR_OK) {
        if (format == ROWS_TABLE) {
            round_doubles(&rows);
        }
        code = print_rows(log->cli, format, &rows, err);
        batch_fini(&rows);
    }
    return code;
}

/* ---- head and import ---- */

enum err_code
eventlog_head(struct eventlog *log, struct err *err)
{
    struct buf out BUF_AUTO = {0};
    struct ledger_head head;
    struct json_writer json;
    char hash[CHAIN_HEX_BYTES];
    char at[TIME_TEXT_MAX] = "";
    enum err_code code = ledger_head(&log->ledger, &head, err);

    if (code != ERR_OK) {
        return code;
    }
    chain_hex(head.chain.hash, hash);
    buf_init(&out, 0);
    if (cli_has(log->cli, "json")) {
        json_init(&json, &out);
        json_object_begin(&json);
        json_key(&json, "seq");
        json_u64(&json, head.chain.seq);
        json_key(&json, "hash");
        json_cstr(&json, hash);
        json_key(&json, "at");
        if (head.at_us) {
            json_time_us(&json, head.at_us);
        } else {
            json_write_null(&json);
        }
        json_object_end(&json);
        buf_add_char(&out, '\n');
    } else {
        /* "N:HASH" is what --head of verify takes, alone on its line. */
        if (head.at_us) {
            time_format_iso8601(head.at_us, at);
        }
        buf_add_fmt(&out, "%" PRIu64 ":%s\n", head.chain.seq, hash);
        if (log->cli->out_is_terminal) {
            cli_note(log->cli,
                     "%" PRIu64 " entries%s%s; keep the line above elsewhere, `eider eventlog "
                     "verify --head` checks it",
                     head.chain.seq, at[0] ? ", the newest of " : "", at);
        }
    }
    return cli_write(log->cli, &out, err);
}

enum err_code
eventlog_import(struct eventlog *log, struct err *err)
{
    struct place_imported imported;
    struct buf out BUF_AUTO = {0};
    enum err_code code = place_import_file(&log->ledger, log->cli->args[1], &imported, err);

    if (code != ERR_OK) {
        return code;
    }
    buf_init(&out, 0);
    if (cli_has(log->cli, "json")) {
        struct json_writer json;
        json_init(&json, &out);
        json_object_begin(&json);
        json_key(&json, "read");
        json_u64(&json, imported.read);
        json_key(&json, "stored");
        json_u64(&json, imported.stored);
        json_key(&json, "duplicates");
        json_u64(&json, imported.duplicates);
        json_key(&json, "refused");
        json_u64(&json, imported.refused);
        json_key(&json, "first_refusal");
        json_cstr(&json, imported.refused ? imported.refusal : NULL);
        json_object_end(&json);
        buf_add_char(&out, '\n');
    } else {
        buf_add_fmt(&out,
                    "%" PRIu64 " entries read, %" PRIu64 " stored, %" PRIu64
                    " were there already, %" PRIu64 " refused\n",
                    imported.read, imported.stored, imported.duplicates, imported.refused);
    }
    if (imported.refused > 0) {
        cli_note(log->cli, "first refused entry: %s", imported.refusal);
        log->status = CLI_FAILED;
    }
    return cli_write(log->cli, &out, err);
}
