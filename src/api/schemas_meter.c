/*
 * Shapes of metering for the reference: one list of members, in groups by shape. A type is one of
 * JSON Schema's, "time", "credits" (a number or a text), the name of another shape, or "[shape]".
 * A "!" behind the name: required.
 */
#include <ctype.h>

#include "api/api_private.h"

static const struct {
    const char *shape; /* NULL: as the one before */
    const char *name;
    const char *type;
    const char *help; /* may be NULL */
} members[] = {
    {"SpendReserve", "api_name!", "string", "API to be called, as the price book names it."},
    {NULL, "endpoint", "string", "Path to be called."},
    {NULL, "method", "string", "HTTP method (GET)."},
    {NULL, "key", "string", "Label of the API key, never the key."},
    {NULL, "run_id", "string", NULL},
    {NULL, "project", "string", NULL},
    {NULL, "params", "object", "What the price book asks for, e.g. {\"candles\": 5000}."},
    {NULL, "query", "string", "Query of the call, for the price book."},
    {NULL, "max_credits", "credits", "The most it can cost; without it the price book's maximum."},
    {NULL, "ttl_ms", "integer", "Lease in milliseconds: 60000, at most 24 hours."},
    {NULL, "reservation_id", "string", "Sending the same again is answered the same."},
    {"SpendReserved", "reservation_id", "string", NULL},
    {NULL, "credits", "number", "What was reserved."},
    {NULL, "expires_at", "time", NULL},
    {NULL, "price_rule", "string", "Rule that the credits came from; null: the caller said."},
    {NULL, "budgets", "[ReservedBudget]", "The budgets that cover the call."},
    {NULL, "replayed", "boolean", "It had been made before."},
    {NULL, "lsn", "integer", NULL},
    {"ReservedBudget", "name", "string", NULL},
    {NULL, "instance", "string", "Values of the dimensions that are \"*\"."},
    {NULL, "scope", "object", NULL},
    {NULL, "limit", "number", NULL},
    {NULL, "used", "number", NULL},
    {NULL, "reserved", "number", NULL},
    {NULL, "state", "string", "closed, half_open, open or forced_open."},
    {"SpendCommit", "reservation_id!", "string", NULL},
    {NULL, "status_code", "integer", "HTTP status; without it there was no answer."},
    {NULL, "success", "boolean", "Without it: whether the status is 2xx."},
    {NULL, "latency_ms", "number", NULL},
    {NULL, "credits", "credits", "What it cost; without it the price book's amount."},
    {NULL, "error_message", "string", NULL},
    {NULL, "metadata", "object", NULL},
    {NULL, "params", "object", "What the response told, for the price book."},
    {NULL, "query", "string", NULL},
    {NULL, "request_bytes", "integer", NULL},
    {NULL, "response_bytes", "integer", NULL},
    {NULL, "event_id", "string", "Id of the entry; without it one is made."},
    {NULL, "overrun", "boolean", "Book more than was reserved instead of refusing it."},
    {NULL, "api_name", "string", "Must be the reservation's, as key, run_id and project."},
    {NULL, "key", "string", NULL},
    {NULL, "run_id", "string", NULL},
    {NULL, "project", "string", NULL},
    {"SpendCommitted", "event_id", "string", NULL},
    {NULL, "reservation_id", "string", NULL},
    {NULL, "credits", "number", "What was booked."},
    {NULL, "price_rule", "string", NULL},
    {NULL, "replayed", "boolean", NULL},
    {NULL, "lsn", "integer", NULL},
    {"SpendRelease", "reservation_id!", "string", NULL},
    {"SpendReleased", "reservation_id", "string", NULL},
    {NULL, "credits", "number", NULL},
    {NULL, "expires_at", "time", "extend only"},
    {NULL, "replayed", "boolean", NULL},
    {NULL, "lsn", "integer", NULL},
    {"SpendExtend", "reservation_id!", "string", NULL},
    {NULL, "ttl_ms", "integer", "New lease from now on."},
    {NULL, "add_credits", "credits", "More credits to reserve."},
    {"SpendChecked", "allowed", "boolean", "false: with the members of a refusal."},
    {NULL, "credits", "number", NULL},
    {NULL, "price_rule", "string", NULL},
    {"SpendQuote", "credits", "number", "The most that the call can cost."},
    {NULL, "price_rule", "string", NULL},
    {"SpendRefusal", "code", "string", "CIRCUIT_BREAKER_TRIPPED"},
    {NULL, "detail", "string", NULL},
    {NULL, "reason", "string",
     "would_exceed, open, probes_out, forced_open, never_fits or instances."},
    {NULL, "budget", "string", NULL},
    {NULL, "instance", "string", NULL},
    {NULL, "threshold", "number", NULL},
    {NULL, "window", "string", NULL},
    {NULL, "window_minutes", "integer", NULL},
    {NULL, "used", "number", NULL},
    {NULL, "reserved", "number", NULL},
    {NULL, "requested", "number", NULL},
    {NULL, "state", "string", NULL},
    {NULL, "retry_after_ms", "integer", NULL},
    {NULL, "entry", "object", "What was asked, without secrets."},
    {NULL, "request_id", "string", NULL},
    {"BudgetScope", "api", "string", "A value, or \"*\" for a counter of each value."},
    {NULL, "endpoint", "string", NULL},
    {NULL, "key", "string", NULL},
    {NULL, "run_id", "string", NULL},
    {NULL, "project", "string", NULL},
    {"BudgetDefinition", "scope", "BudgetScope", "Calls it covers; empty: all."},
    {NULL, "window", "string", "sliding (default), hour, day or month (UTC)."},
    {NULL, "window_minutes", "integer", "Length of a sliding window (60)."},
    {NULL, "hard_limit", "credits", "Refuses what would pass it (1000000)."},
    {NULL, "soft_limit", "credits", "Tells when it is passed."},
    {NULL, "mode", "string", "enforce (default), metrics_only or forced_open."},
    {NULL, "half_open_probes", "integer", "Calls that try whether it may close again (1)."},
    {NULL, "half_open_pause_ms", "integer", "Pause after a failed one (10000)."},
    {NULL, "description", "string", NULL},
    {"Budget", "name", "string", NULL},
    {NULL, "scope", "BudgetScope", NULL},
    {NULL, "window", "string", NULL},
    {NULL, "window_minutes", "integer", NULL},
    {NULL, "hard_limit", "number", NULL},
    {NULL, "soft_limit", "number", NULL},
    {NULL, "mode", "string", NULL},
    {NULL, "half_open_probes", "integer", NULL},
    {NULL, "half_open_pause_ms", "integer", NULL},
    {NULL, "description", "string", NULL},
    {NULL, "instances", "[BudgetInstance]", NULL},
    {NULL, "instance_count", "integer", "Also those that are not listed."},
    {NULL, "already_over", "boolean", "More than the limit is spent already."},
    {"BudgetInstance", "instance", "string", NULL},
    {NULL, "used", "number", NULL},
    {NULL, "reserved", "number", NULL},
    {NULL, "state", "string", NULL},
    {NULL, "probes_out", "integer", NULL},
    {NULL, "refused", "integer", NULL},
    {NULL, "would_refuse", "integer", NULL},
    {NULL, "window_from", "time", NULL},
    {NULL, "resets_at", "time", NULL},
    {NULL, "exact", "boolean", "false: old entries were joined to save memory."},
    {NULL, "forecast", "Forecast", NULL},
    {"Forecast", "name", "string", NULL},
    {NULL, "instance", "string", NULL},
    {NULL, "rate_per_minute", "number", "Credits a minute over the last minutes."},
    {NULL, "exhausted_at", "time", "null: never within the window."},
    {NULL, "projected", "number", "Where it ends, or settles, at this rate."},
    {NULL, "text", "string", NULL},
    {"BudgetList", "budgets", "[Budget]", NULL},
    {NULL, "count", "integer", NULL},
    {"BudgetAction", "reason", "string", "For the record."},
    {"Breaker", "tripped", "boolean", NULL},
    {NULL, "state", "string", NULL},
    {NULL, "threshold", "number", NULL},
    {NULL, "window", "string", NULL},
    {NULL, "window_minutes", "integer", NULL},
    {NULL, "credits", "number", "Spent within the window."},
    {NULL, "budgets", "[Breaker]", "Each of them, with name and instance."},
    {"ForecastList", "forecasts", "[Forecast]", NULL},
    {"Reservation", "reservation_id", "string", NULL},
    {NULL, "api_name", "string", NULL},
    {NULL, "endpoint", "string", NULL},
    {NULL, "run_id", "string", NULL},
    {NULL, "credits", "number", NULL},
    {NULL, "created_at", "time", NULL},
    {NULL, "expires_at", "time", NULL},
    {"ReservationList", "reservations", "[Reservation]", NULL},
    {NULL, "count", "integer", NULL},
    {"SimulateRequest", "from", "time", "A day before `to` when it is left out."},
    {NULL, "to", "time", "Now when it is left out."},
    {NULL, "scope", "BudgetScope", "With the other members of a definition."},
    {NULL, "hard_limit", "credits", NULL},
    {"Simulation", "calls", "integer", NULL},
    {NULL, "refused", "integer", NULL},
    {NULL, "credits", "number", NULL},
    {NULL, "credits_refused", "number", NULL},
    {NULL, "first_refused_at", "time", NULL},
    {NULL, "last_refused_at", "time", NULL},
    {NULL, "peak_at", "time", NULL},
    {NULL, "peak_credits", "number", NULL},
    {NULL, "hours", "array", "Hours with refusals: hour, refused, credits_refused."},
    {"PriceBooks", "books", "array", NULL},
    {NULL, "count", "integer", NULL},
    {"EventEntry", "id", "string", "Made when it is absent; sending it again stores nothing."},
    {NULL, "timestamp", "time", "When the call was made; now when it is absent."},
    {NULL, "api_name!", "string", NULL},
    {NULL, "endpoint!", "string", NULL},
    {NULL, "method", "string", "GET when it is absent."},
    {NULL, "status_code", "integer", "Absent: there was no answer."},
    {NULL, "success", "boolean", "Absent: whether the status is 2xx."},
    {NULL, "latency_ms", "number", NULL},
    {NULL, "credits_cost", "credits", "Absent: by the price book, 0 without a rule."},
    {NULL, "run_id", "string", NULL},
    {NULL, "error_message", "string", NULL},
    {NULL, "metadata", "object", "As metadata_json."},
    {NULL, "key", "string", "As api_key: a label of the key, never the key."},
    {NULL, "project", "string", NULL},
    {NULL, "reservation_id", "string", NULL},
    {NULL, "corrects", "string", "Id of the entry that this one corrects by its credits."},
    {"EventsAnswer", "accepted", "integer", "Entries that were written."},
    {NULL, "duplicates", "integer", "Entries that were there already."},
    {NULL, "rejected", "integer", NULL},
    {NULL, "errors", "array", "row, field, value, expected"},
    {NULL, "lsn", "integer", NULL},
    {NULL, "ids", "array", "The entries' ids, in the order of the body."},
    {"EventPage", "events", "[api_event_log]", NULL},
    {NULL, "count", "integer", NULL},
    {NULL, "next_cursor", "integer", "null: this is the last page."},
    {"EventStats", "total_events", "integer", NULL},
    {NULL, "total_credits", "number", NULL},
    {NULL, "success_rate", "number", "0 to 1."},
    {NULL, "avg_latency", "number", "Milliseconds, as the percentiles."},
    {NULL, "p50_latency", "number", NULL},
    {NULL, "p95_latency", "number", NULL},
    {NULL, "p99_latency", "number", NULL},
    {NULL, "error_count", "integer", NULL},
    {NULL, "groups", "array", "With group_by: the same of each group."},
    {"EventCredits", "total_credits", "number", NULL},
    {NULL, "since", "time", NULL},
    {"EventHead", "seq", "integer", NULL},
    {NULL, "hash", "string", "64 hex digits."},
    {NULL, "at", "time", NULL},
};

enum { MEMBERS = sizeof(members) / sizeof(members[0]) };

static struct slice
plain_name(size_t i)
{
    struct slice name = slice_of(members[i].name);

    name.len -= slice_ends(name, "!");
    return name;
}

static void
write_reference(struct json_writer *w, struct slice shape)
{
    char ref[96];

    snprintf(ref, sizeof(ref), "#/components/schemas/%.*s", SLICE_FMT(shape));
    json_key(w, "$ref");
    json_cstr(w, ref);
}

static void
write_type(struct json_writer *w, struct slice type)
{
    bool is_list = slice_starts(type, "[");

    if (is_list) {
        json_key(w, "type");
        json_cstr(w, "array");
        json_key(w, "items");
        json_object_begin(w);
        write_reference(w, slice_sub(type, 1, type.len - 2));
        json_object_end(w);
    } else if (isupper((unsigned char)type.ptr[0])) {
        write_reference(w, type);
    } else if (slice_is(type, "credits")) {
        json_key(w, "type");
        json_raw(w, slice_of("[\"number\",\"string\"]"));
    } else if (slice_is(type, "time")) {
        json_key(w, "type");
        json_cstr(w, "string");
        json_key(w, "format");
        json_cstr(w, "date-time");
    } else {
        json_key(w, "type");
        json_str(w, type);
    }
}

/* The members from `first` on; returns where the next shape begins. */
static size_t
write_members(struct json_writer *w, size_t first)
{
    size_t end = first + 1;

    while (end < MEMBERS && !members[end].shape) {
        end++;
    }
    json_key(w, "properties");
    json_object_begin(w);
    for (size_t i = first; i < end; i++) {
        json_key_slice(w, plain_name(i));
        json_object_begin(w);
        write_type(w, slice_of(members[i].type));
        if (members[i].help) {
            json_key(w, "description");
            json_cstr(w, members[i].help);
        }
        json_object_end(w);
    }
    json_object_end(w);
    json_key(w, "required");
    json_array_begin(w);
    for (size_t i = first; i < end; i++) {
        if (slice_ends(slice_of(members[i].name), "!")) {
            json_str(w, plain_name(i));
        }
    }
    json_array_end(w);
    return end;
}

void
write_meter_schemas(struct json_writer *w)
{
    for (size_t i = 0; i < MEMBERS;) {
        json_key(w, members[i].shape);
        json_object_begin(w);
        json_key(w, "type");
        json_cstr(w, "object");
        i = write_members(w, i);
        json_object_end(w);
    }
    json_key(w, "EventRows");
    json_raw(w, slice_of("{\"oneOf\":[{\"$ref\":\"#/components/schemas/EventEntry\"},{\"type\":"
                         "\"array\",\"items\":{\"$ref\":\"#/components/schemas/EventEntry\"}}]}"));
}
