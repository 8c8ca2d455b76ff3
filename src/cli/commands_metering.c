/* Options, examples and descriptions of eider eventlog and eider spend. */
#include "cli/commands_metering.h"

static const char *const operations[] = {"init", "log", "get_credits_in_window", "get_stats", NULL};
static const char *const formats[] = {"table", "csv", "json", "ndjson", "parquet", NULL};
static const char *const modes[] = {"enforce", "metrics-only", "force-open", NULL};

const char *const eventlog_actions[] = {"list",   "tail",   "stats",   "export",    "head",
                                        "verify", "import", "reprice", "reconcile", NULL};

const char *const spend_actions[] = {
    "status",       "budgets",      "set",     "delete",       "reset",
    "force-open",   "metrics-only", "enforce", "forecast",     "simulate",
    "reservations", "quote",        "prices",  "check-prices", NULL};

const char eventlog_description[] =
    "Works on the log of paid API calls: through the server that has the data directory, or, when "
    "none runs, in the directory itself.\n\n"
    "list and tail show entries, stats sums of them, export writes all of it to a file. head "
    "prints number and hash of the newest entry: written down elsewhere, it proves later that "
    "nothing before it was changed. verify walks the chain of hashes; --proof makes the proof of "
    "one entry, --check-proof checks one without a log. import brings in the event log of the "
    "original (.duckdb). reprice compares what was booked with a price book and, without "
    "--dry-run, books the differences as corrections. reconcile compares the log with a "
    "provider's CSV of calls.\n\n"
    "With --operation it is the original's program: one JSON document on standard output, exit "
    "status 0 whatever the answer, 2 for wrong usage. --db-path data/event_log.duckdb means the "
    "data directory data/event_log.eider, unless a server or another directory is named (--url, "
    "EIDER_URL, --data-dir, EIDER_DATA_DIR, eider.yaml) or the file stands in a data directory. "
    "What the original wrote to the file is brought in at the first call; the file stays as it is.";

const struct cli_option eventlog_options[] = {
    {.name = "operation",
     .arg = "NAME",
     .help = "As the original: init, log, get_credits_in_window or get_stats; needs --db-path.",
     .choices = operations},
    {.name = "db-path",
     .arg = "FILE",
     .help = "With --operation: where the original keeps its database.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "event", .arg = "JSON", .help = "The call to log, with --operation log."},
    {.name = "window-start",
     .arg = "TIME",
     .help = "Credits since then, with --operation get_credits_in_window."},
    {.name = "start-date", .arg = "TIME", .help = "First time of --operation get_stats."},
    {.name = "end-date", .arg = "TIME", .help = "Last time of it, inclusive."},
    {.name = "api-name", .arg = "NAME", .help = "Only calls of this API."},
    {.name = "endpoint", .arg = "PATH", .help = "Only calls of this endpoint."},
    {.name = "method", .arg = "METHOD", .help = "Only calls of this method."},
    {.name = "status", .arg = "STATUS", .help = "200, a class such as 5xx, or null (no answer)."},
    {.name = "run", .arg = "RUN", .help = "Only calls of this run_id."},
    {.name = "key", .arg = "LABEL", .help = "Only calls with the key of this label."},
    {.name = "project", .arg = "NAME", .help = "Only calls of this project."},
    {.name = "id", .arg = "ID", .help = "Only the entry of this id."},
    {.name = "success", .help = "Only calls that succeeded."},
    {.name = "failed", .help = "Only calls that failed."},
    {.name = "from", .arg = "TIME", .help = "First time, ISO 8601; verify: first entry's number."},
    {.name = "to", .arg = "TIME", .help = "Last time, inclusive; verify: last entry's number."},
    {.name = "limit", .arg = "N", .help = "list (100) and tail (20): at most so many, to 10000."},
    {.name = "by",
     .arg = "GROUP,...",
     .help = "stats: one or two of api, endpoint, run_id, key, project, hour, day."},
    {.name = "head",
     .arg = "SEQ:HASH",
     .help = "verify: the head that was written down; it must be in the chain."},
    {.name = "proof", .arg = "ID", .help = "verify: print the proof of this entry."},
    {.name = "check-proof",
     .arg = "FILE",
     .help = "verify: check a proof; needs no log. With --head it must lead there.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "as-of",
     .arg = "TIME",
     .help = "reprice: by the prices of this time; else of each call's own."},
    {.name = "prices",
     .arg = "DIRECTORY",
     .help = "reprice: price books to use; else those of meter.prices_dir.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "book", .arg = "NAME", .help = "reprice: the book that prices its API."},
    {.name = "dry-run", .letter = 'n', .help = "reprice: compare, book nothing."},
    {.name = "yes", .letter = 'y', .help = "reprice: book the corrections without asking."},
    {.name = "map",
     .letter = 'm',
     .arg = "FIELD=COLUMN",
     .help = "reconcile: which column of the CSV is what; may be repeated."},
    {.name = "tolerance",
     .arg = "TIME",
     .help = "reconcile: how far apart the times of one call may be, such as 2s."},
    {.name = "strict", .help = "reconcile: exit status 1 when anything differs."},
    {.name = "format",
     .letter = 'f',
     .arg = "FORMAT",
     .help = "table, csv, json or ndjson; export also parquet.",
     .choices = formats},
    {.name = "output",
     .letter = 'o',
     .arg = "FILE",
     .help = "export and --proof: the file to write.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "url", .arg = "URL", .help = "Ask the server at this address; EIDER_URL else."},
    {.name = "json", .help = "Print the result as JSON."},
    {0},
};

const struct cli_example eventlog_examples[] = {
    {"eider eventlog tail --failed", "the newest calls that failed"},
    {"eider eventlog stats --by api,day --from 2026-01-01", "calls, credits, latencies a day"},
    {"eider eventlog head >> /mnt/elsewhere/heads", "write the head down"},
    {"eider eventlog verify --head \"$(tail -n 1 /mnt/elsewhere/heads)\"",
     "nothing before it was changed"},
    {"eider eventlog reprice --dry-run --prices new-prices --as-of 2026-02-01",
     "what new prices would have made of it"},
    {"eider eventlog --operation get_stats --db-path data/event_log.duckdb", "as the original"},
    {0},
};

const char spend_description[] =
    "Shows and sets what a running server lets programs spend on paid APIs.\n\n"
    "status: every counter with its breaker. budgets: the definitions. set NAME makes or changes a "
    "budget; what is not given stays as it is. delete NAME. reset NAME empties its counters and "
    "closes its breaker; force-open NAME refuses everything until enforce NAME; metrics-only NAME "
    "counts what it would refuse. forecast: when each budget ends at this rate. simulate [NAME]: "
    "what a limit would have refused. reservations: those that are open. quote: what a call would "
    "cost. prices: the books in force, with their rules.\n\n"
    "check-prices FILE... checks price books (files or directories) and needs no server; mistakes "
    "are told as file:line:column, with exit status 1.";

const struct cli_option spend_options[] = {
    {.name = "limit", .arg = "CREDITS", .help = "Hard limit: what would pass it is refused."},
    {.name = "soft-limit", .arg = "CREDITS", .help = "Told when it is passed; 0: none."},
    {.name = "window",
     .arg = "WINDOW",
     .help = "hour, day or month of the calendar (UTC), or a sliding window such as 60m or 24h."},
    {.name = "scope",
     .arg = "NAME=VALUE",
     .help = "Which calls: api, endpoint, key, run_id or project and a value, or * for a counter "
             "of each value; may be repeated; none: all."},
    {.name = "mode",
     .arg = "MODE",
     .help = "enforce, metrics-only or force-open.",
     .choices = modes},
    {.name = "probes",
     .arg = "N",
     .help = "Calls let through to try before the breaker closes; 0: it closes by itself."},
    {.name = "pause", .arg = "TIME", .help = "Wait after a failed probe, such as 10s."},
    {.name = "description", .arg = "TEXT", .help = "What the budget is for."},
    {.name = "reason",
     .arg = "TEXT",
     .help = "Kept with reset, force-open, metrics-only, enforce."},
    {.name = "from", .arg = "TIME", .help = "simulate: first time of the calls, ISO 8601."},
    {.name = "to", .arg = "TIME", .help = "simulate: last time."},
    {.name = "count", .arg = "N", .help = "reservations: at most so many; 100 when not given."},
    {.name = "api", .arg = "NAME", .help = "quote: the API."},
    {.name = "endpoint", .arg = "PATH", .help = "quote: the path."},
    {.name = "method", .arg = "METHOD", .help = "quote: the method; GET when not given."},
    {.name = "param",
     .letter = 'p',
     .arg = "NAME=VALUE",
     .help = "quote: a parameter of the book, such as candles=5000; may be repeated."},
    {.name = "query", .arg = "TEXT", .help = "quote: the query of the URL, without '?'."},
    {.name = "url", .arg = "URL", .help = "The server at this address; EIDER_URL else."},
    {.name = "json", .help = "Print the server's answer as JSON."},
    {0},
};

const struct cli_example spend_examples[] = {
    {"eider spend status", "what is left, and when it ends"},
    {"eider spend set birdeye --limit 50000 --window day --scope api=birdeye",
     "50 000 credits a day for one API"},
    {"eider spend set runs --limit 1000 --window 60m --scope 'run_id=*'", "each run by itself"},
    {"eider spend simulate birdeye --limit 20000 --from 2026-01-01", "had the limit been lower"},
    {"eider spend quote --api birdeye --endpoint /defi/ohlcv -p candles=5000", "ask the price"},
    {"eider spend check-prices prices/*.yaml", "before they go into force"},
    {0},
};
