/*
 * The metering tables: the event log, and the journals from which reservations, budgets and prices
 * are rebuilt at a start. All of them are only added to, by the meter; nothing in them is ever
 * changed.
 */
#include <math.h>

#include "catalog/catalog_internal.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(*(array)))

static const char *const reservation_changes[] = {"reserve", "extend", "commit",
                                                  "release", "expire", NULL};
static const char *const budget_changes[] = {"set",          "delete",  "reset",  "force_open",
                                             "metrics_only", "enforce", "opened", "half_open",
                                             "closed",       NULL};

/* The order is that of enum event_column (meter/event.h), and of the hashed content. */
static const struct catalog_column event_columns[] = {
    {.name = "id",
     .type = COL_TEXT,
     .missing = MISSING_UUID,
     .help = "Identifier; a new UUID when absent."},
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the call was made, UTC."},
    {.name = "api_name",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "API that was called, e.g. birdeye."},
    {.name = "endpoint",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Path that was called."},
    {.name = "method",
     .type = COL_TEXT,
     .missing = MISSING_TEXT,
     .default_text = "GET",
     .help = "HTTP method."},
    {.name = "status_code",
     .type = COL_INT32,
     .missing = MISSING_NULL,
     .help = "HTTP status; NULL without an answer."},
    {.name = "success",
     .type = COL_BOOL,
     .missing = MISSING_ZERO,
     .help = "Whether the call succeeded."},
    {.name = "latency_ms",
     .type = COL_DOUBLE,
     .missing = MISSING_ZERO,
     .unit = "ms",
     .min = 0,
     .max = INFINITY,
     .help = "Time from the call to its answer."},
    {.name = "credits_cost",
     .type = COL_DECIMAL,
     .missing = MISSING_ZERO,
     .help = "Credits that the call cost; of a correction, the difference."},
    {.name = "run_id",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Run that the call belongs to."},
    {.name = "error_message",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "What went wrong, without secrets."},
    {.name = "metadata_json",
     .type = COL_JSON,
     .missing = MISSING_NULL,
     .help = "What the caller wanted to keep with it."},
    {.name = "created_at",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NOW,
     .unit = "us",
     .help = "When the entry was written, UTC."},
    {.name = "api_key",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Label of the key that was used, never the key itself."},
    {.name = "project",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Project that the call belongs to."},
    {.name = "reservation_id",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Reservation that the call was made under."},
    {.name = "corrects",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Identifier of the entry that this one corrects."},
    {.name = "price_rule",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Rule of the price book that the credits came from."},
    {.name = "seq",
     .type = COL_INT64,
     .missing = MISSING_REFUSE,
     .help = "Place in the chain: 1, 2, 3 and so on."},
    {.name = "hash",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "64 hex digits that vouch for this entry and all before it (SHA-256)."},
};

static const struct catalog_column reservation_columns[] = {
    {.name = "seq",
     .type = COL_INT64,
     .missing = MISSING_REFUSE,
     .help = "Place among all changes of reservations."},
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_REFUSE,
     .unit = "us",
     .help = "When it changed, UTC."},
    {.name = "reservation_id",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Reservation that changed."},
    {.name = "change",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .choices = reservation_changes,
     .help = "reserve, extend, commit, release or expire."},
    {.name = "credits",
     .type = COL_DECIMAL,
     .missing = MISSING_ZERO,
     .help = "reserve and extend: reserved from now on in all; commit: booked; release and expire: "
             "given back."},
    {.name = "expires_at",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NULL,
     .unit = "us",
     .help = "When its lease ends, UTC."},
    {.name = "api_name", .type = COL_TEXT, .missing = MISSING_NULL, .help = "API that it is for."},
    {.name = "endpoint", .type = COL_TEXT, .missing = MISSING_NULL, .help = "Path that it is for."},
    {.name = "method",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "HTTP method that it is for."},
    {.name = "api_key",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Label of the key that it is for, never the key itself."},
    {.name = "run_id",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Run that it belongs to."},
    {.name = "project",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Project that it belongs to."},
    {.name = "event_id",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Entry of the event log that a commit wrote."},
    {.name = "probe_of",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Budget whose half-open breaker let it pass as a probe."},
    {.name = "price_rule",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Rule of the price book that the credits came from."},
    {.name = "open_from",
     .type = COL_INT64,
     .missing = MISSING_NULL,
     .help = "The seq from which on the rows tell of every reservation that was open."},
};

static const struct catalog_column budget_columns[] = {
    {.name = "seq",
     .type = COL_INT64,
     .missing = MISSING_REFUSE,
     .help = "Place among all changes of budgets."},
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_REFUSE,
     .unit = "us",
     .help = "When it changed, UTC."},
    {.name = "name", .type = COL_TEXT, .missing = MISSING_REFUSE, .help = "Budget that changed."},
    {.name = "change",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .choices = budget_changes,
     .help = "set, delete, reset, force_open, metrics_only, enforce; of its breaker: opened, "
             "half_open, closed."},
    {.name = "instance",
     .type = COL_TEXT,
     .missing = MISSING_NULL,
     .help = "Counter whose breaker changed, e.g. run_id=r1."},
    {.name = "definition",
     .type = COL_JSON,
     .missing = MISSING_NULL,
     .help = "set: the whole definition."},
    {.name = "reason", .type = COL_TEXT, .missing = MISSING_NULL, .help = "Why."},
};

static const struct catalog_column price_columns[] = {
    {.name = "timestamp",
     .type = COL_TIMESTAMP,
     .missing = MISSING_REFUSE,
     .unit = "us",
     .help = "When it was loaded, UTC."},
    {.name = "book",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "Name of the price book."},
    {.name = "version",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "SHA-256 of the source, 64 hex digits."},
    {.name = "effective_from",
     .type = COL_TIMESTAMP,
     .missing = MISSING_NULL,
     .unit = "us",
     .help = "When its prices begin, UTC."},
    {.name = "source",
     .type = COL_TEXT,
     .missing = MISSING_REFUSE,
     .help = "The book as it was loaded."},
};

static const struct catalog_view event_views[] = {
    {.name = "api_quota_usage",
     .help = "Credits and calls of each API by UTC day.",
     .select =
         "SELECT api_name AS service, date_trunc('day', timestamp)::TIMESTAMP AS timestamp, "
         "sum(credits_cost) AS credits_used, count(*) FILTER (WHERE corrects IS NULL) AS calls "
         "FROM api_event_log GROUP BY 1, 2"},
};

static const struct catalog_view reservation_views[] = {
    {.name = "reservations",
     .help = "Every reservation as it stands.",
     .select = "SELECT reservation_id, "
               "CASE arg_max(change, seq) WHEN 'commit' THEN 'committed' "
               "WHEN 'release' THEN 'released' WHEN 'expire' THEN 'expired' ELSE 'reserved' END "
               "AS state, "
               "arg_max(credits, seq) FILTER (WHERE change IN ('reserve', 'extend')) "
               "AS credits_reserved, "
               "coalesce(arg_max(credits, seq) FILTER (WHERE change = 'commit'), 0::DECIMAL(18,6)) "
               "AS credits_booked, "
               "arg_min(timestamp, seq) AS created_at, arg_max(expires_at, seq) AS expires_at, "
               "arg_min(api_name, seq) AS api_name, arg_min(endpoint, seq) AS endpoint, "
               "arg_min(method, seq) AS method, arg_min(api_key, seq) AS api_key, "
               "arg_min(run_id, seq) AS run_id, arg_min(project, seq) AS project, "
               "arg_max(event_id, seq) AS event_id "
               "FROM reservation_changes GROUP BY reservation_id"},
};

/* A breaker's own changes are no changes of the budget. */
static const struct catalog_view budget_views[] = {
    {.name = "budgets",
     .help = "Every budget that is set, and its mode.",
     .select = "SELECT name, "
               "arg_max(definition, seq) FILTER (WHERE change = 'set')::JSON AS definition, "
               "arg_max(CASE change WHEN 'set' THEN coalesce(definition->>'$.mode', 'enforce') "
               "WHEN 'force_open' THEN 'forced_open' ELSE change END, seq) "
               "FILTER (WHERE change IN ('set', 'force_open', 'metrics_only', 'enforce')) AS mode, "
               "arg_max(timestamp, seq) AS changed_at "
               "FROM budget_changes WHERE change NOT IN ('opened', 'half_open', 'closed') "
               "GROUP BY name "
               "HAVING arg_max(change, seq) FILTER (WHERE change IN ('set', 'delete')) = 'set'"},
};

const struct catalog_table catalog_metering_tables[CATALOG_METERING_TABLES] = {
    {.id = TABLE_EVENTS,
     .kind = TABLE_APPEND,
     .name = "api_event_log",
     .help = "Every paid API call, chained by hashes.",
     .columns = event_columns,
     .column_count = COUNT_OF(event_columns),
     .order_mask = 1U << 18,
     .time_column = 1,
     .series_column = CATALOG_NONE,
     .sealed = true,
     .views = event_views,
     .view_count = COUNT_OF(event_views)},
    {.id = TABLE_RESERVATION_CHANGES,
     .kind = TABLE_APPEND,
     .name = "reservation_changes",
     .help = "What happened to reservations of credits.",
     .columns = reservation_columns,
     .column_count = COUNT_OF(reservation_columns),
     .order_mask = 1U << 0,
     .time_column = 1,
     .series_column = CATALOG_NONE,
     .views = reservation_views,
     .view_count = COUNT_OF(reservation_views)},
    {.id = TABLE_BUDGET_CHANGES,
     .kind = TABLE_APPEND,
     .name = "budget_changes",
     .help = "What happened to budgets and their breakers.",
     .columns = budget_columns,
     .column_count = COUNT_OF(budget_columns),
     .order_mask = 1U << 0,
     .time_column = 1,
     .series_column = CATALOG_NONE,
     .views = budget_views,
     .view_count = COUNT_OF(budget_views)},
    {.id = TABLE_PRICE_BOOK,
     .kind = TABLE_APPEND,
     .name = "price_book",
     .help = "Every price book that was loaded.",
     .columns = price_columns,
     .column_count = COUNT_OF(price_columns),
     .order_mask = 1U << 1 | 1U << 2,
     .time_column = 0,
     .series_column = CATALOG_NONE},
};
