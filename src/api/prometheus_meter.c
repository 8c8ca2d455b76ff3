/*
 * The meter's families of GET /metrics. With the namespace "quantbot" the first six are, name for
 * name and bucket for bucket, those of the original (compatibility.md).
 *
 * Families stand together, so what the meter tells one by one, under its lock, is copied first.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "api/metering.h"
#include "api/prom_page.h"
#include "base/mem.h"
#include "codec/decimal.h"
#include "codec/time.h"

enum { GAUGES_MAX = 1000 };

/* One instance of a budget. */
struct gauge {
    char budget[BUDGET_NAME_MAX + 1];
    char *instance;
    char api_name[BUDGET_VALUE_MAX + 1]; /* of the scope, or "all" */
    char window_minutes[24];             /* "60"; "hour", "day", "month" */
    bool tripped;
    int state; /* 0 closed, 1 half-open, 2 open, 3 forced open */
    int64_t used, reserved, limit;
    int64_t would_refuse;
    double exhausted_s; /* seconds until then; +Inf: never */
};

struct series_copy {
    struct meter_series series;
    char *api_name;
    char *endpoint;
};

/* What the meter told. */
struct copies {
    int64_t now_us;
    struct series_copy *series;
    size_t series_count, series_capacity;
    struct gauge *gauges;
    size_t gauge_count, gauge_capacity, gauges_omitted;
};

/* ---- copies ---- */

static void
copy_series(void *ctx, const struct meter_series *series)
{
    struct copies *copies = ctx;

    if (copies->series_count == copies->series_capacity) {
        copies->series_capacity = copies->series_capacity ? 2 * copies->series_capacity : 16;
        copies->series =
            mem_resize(copies->series, copies->series_capacity, sizeof(*copies->series));
    }
    copies->series[copies->series_count++] =
        (struct series_copy){.series = *series,
                             .api_name = mem_strdup(slice_of(series->api_name)),
                             .endpoint = mem_strdup(slice_of(series->endpoint))};
}

static int
compare_series(const void *a, const void *b)
{
    const struct series_copy *x = a;
    const struct series_copy *y = b;
    int order = strcmp(x->api_name, y->api_name);

    return order ? order : strcmp(x->endpoint, y->endpoint);
}

/* The api that an instance is about: a value of its scope, its own value of "*", or "all". */
static void
name_api(const struct budget_view *view, char ret_name[BUDGET_VALUE_MAX + 1])
{
    static const char key[] = "api=";
    struct slice rest = slice_of(view->instance);

    snprintf(ret_name, BUDGET_VALUE_MAX + 1, "all");
    if (!view->def->has_value[DIM_API]) {
        return;
    }
    if (strcmp(view->def->value[DIM_API], "*") != 0) {
        snprintf(ret_name, BUDGET_VALUE_MAX + 1, "%s", view->def->value[DIM_API]);
        return;
    }
    /* The api is the first dimension: the instance begins with it. */
    if (slice_starts(rest, key)) {
        struct slice value;
        rest = slice_sub(rest, sizeof(key) - 1, rest.len);
        slice_split(&rest, ',', &value);
        slice_to_cstr(value, ret_name, BUDGET_VALUE_MAX + 1);
    }
}

static int
state_number(const struct budget_view *view)
{
    if (view->def->mode == BUDGET_FORCED_OPEN) {
        return 3;
    }
    return view->state == BREAKER_OPEN ? 2 : view->state == BREAKER_HALF_OPEN ? 1 : 0;
}

static void
copy_gauge(void *ctx, const struct budget_view *view, const struct budget_forecast *forecast)
{
    struct copies *copies = ctx;

    if (copies->gauge_count == GAUGES_MAX) {
        copies->gauges_omitted++;
        return;
    }
    if (copies->gauge_count == copies->gauge_capacity) {
        copies->gauge_capacity = copies->gauge_capacity ? 2 * copies->gauge_capacity : 16;
        copies->gauges =
            mem_resize(copies->gauges, copies->gauge_capacity, sizeof(*copies->gauges));
    }
    struct gauge *one = &copies->gauges[copies->gauge_count++];
    *one = (struct gauge){.instance = mem_strdup(slice_of(view->instance)),
                          .state = state_number(view),
                          .used = view->used,
                          .reserved = view->reserved,
                          .limit = view->def->hard_limit,
                          .would_refuse = view->would_refuse,
                          .exhausted_s = INFINITY};
    one->tripped = one->state >= 2 && view->def->mode != BUDGET_METRICS_ONLY;
    snprintf(one->budget, sizeof(one->budget), "%s", view->def->name);
    name_api(view, one->api_name);
    if (view->def->window == WINDOW_SLIDING) {
        snprintf(one->window_minutes, sizeof(one->window_minutes), "%" PRId64,
                 view->def->window_us / (60 * TIME_US_PER_S));
    } else {
        snprintf(one->window_minutes, sizeof(one->window_minutes), "%s",
                 budget_window_name(view->def->window));
    }
    if (forecast && forecast->exhausted_at_us != 0) {
        double left = (double)(forecast->exhausted_at_us - copies->now_us) / TIME_US_PER_S;
        one->exhausted_s = left > 0 ? left : 0;
    }
}

static int
compare_gauges(const void *a, const void *b)
{
    const struct gauge *x = a;
    const struct gauge *y = b;
    int order = strcmp(x->api_name, y->api_name);

    return order ? order : strcmp(x->window_minutes, y->window_minutes);
}

/* ---- the original's families ---- */

static void
write_calls(struct page *page, const struct copies *copies)
{
    const char *full =
        page_family(page, "api_calls_total", PROM_COUNTER, "Total number of API calls");

    for (size_t i = 0; i < copies->series_count; i++) {
        const struct series_copy *one = &copies->series[i];
        const uint64_t counts[] = {one->series.success, one->series.error};
        static const char *const names[] = {"success", "error"};
        for (size_t j = 0; j < 2; j++) {
            const struct prom_label labels[] = {{"api_name", slice_of(one->api_name)},
                                                {"endpoint", slice_of(one->endpoint)},
                                                {"status", slice_of(names[j])}};
            if (counts[j] > 0) {
                prom_sample_u64(page->out, full, labels, 3, counts[j]);
            }
        }
    }
    full = page_family(page, "api_errors_total", PROM_COUNTER, "Total number of API call errors");
    for (size_t i = 0; i < copies->series_count; i++) {
        const struct series_copy *one = &copies->series[i];
        for (size_t j = 0; j < one->series.error_types; j++) {
            const struct prom_label labels[] = {
                {"api_name", slice_of(one->api_name)},
                {"endpoint", slice_of(one->endpoint)},
                {"error_type", slice_of(one->series.errors[j].type)}};
            prom_sample_u64(page->out, full, labels, 3, one->series.errors[j].count);
        }
    }
}

static void
write_credits_total(struct page *page, const struct copies *copies)
{
    const char *full =
        page_family(page, "api_credits_total", PROM_COUNTER, "Total credits spent on API calls");

    for (size_t i = 0; i < copies->series_count;) {
        const char *api_name = copies->series[i].api_name;
        int64_t credits = 0;
        for (; i < copies->series_count && strcmp(copies->series[i].api_name, api_name) == 0; i++) {
            credits += copies->series[i].series.credits;
        }
        const struct prom_label label = {"api_name", slice_of(api_name)};
        prom_sample(page->out, full, &label, 1, decimal_to_double(credits));
    }
}

/* `le` is the first label, as the original's clients wrote it. */
static void
write_histogram(struct page *page, const char *full, const struct series_copy *one)
{
    static const char *const bounds[] = {"0.1", "0.5", "1", "2", "5", "10", "30", "60", "+Inf"};
    _Static_assert(sizeof(bounds) / sizeof(bounds[0]) == METER_LATENCY_BUCKETS, "a text a bucket");
    const struct prom_label labels[] = {{"le", {"", 0}},
                                        {"api_name", slice_of(one->api_name)},
                                        {"endpoint", slice_of(one->endpoint)}};
    char name[PROM_NAME_BYTES + 8];
    uint64_t below = 0;

    snprintf(name, sizeof(name), "%s_bucket", full);
    for (size_t i = 0; i < METER_LATENCY_BUCKETS; i++) {
        const struct prom_label with_le[] = {{"le", slice_of(bounds[i])}, labels[1], labels[2]};
        below += one->series.latency_buckets[i];
        prom_sample_u64(page->out, name, with_le, 3, below);
    }
    snprintf(name, sizeof(name), "%s_sum", full);
    prom_sample(page->out, name, labels + 1, 2, one->series.latency_sum_s);
    snprintf(name, sizeof(name), "%s_count", full);
    prom_sample_u64(page->out, name, labels + 1, 2, below);
}

/* Several budgets may be about the same api: the worst of them is told. */
static void
write_breakers(struct page *page, const struct copies *copies)
{
    const char *full = page_family(page, "circuit_breaker_tripped", PROM_GAUGE,
                                   "Circuit breaker status (1 = tripped, 0 = normal)");

    for (size_t i = 0; i < copies->gauge_count;) {
        const char *api_name = copies->gauges[i].api_name;
        bool tripped = false;
        for (; i < copies->gauge_count && strcmp(copies->gauges[i].api_name, api_name) == 0; i++) {
            tripped = tripped || copies->gauges[i].tripped;
        }
        const struct prom_label label = {"api_name", slice_of(api_name)};
        prom_sample(page->out, full, &label, 1, tripped);
    }
    full = page_family(page, "credits_spent_window", PROM_GAUGE,
                       "Credits spent in the last time window");
    for (size_t i = 0; i < copies->gauge_count;) {
        const struct gauge *first = &copies->gauges[i];
        int64_t used = 0;
        for (; i < copies->gauge_count && compare_gauges(first, &copies->gauges[i]) == 0; i++) {
            used = copies->gauges[i].used > used ? copies->gauges[i].used : used;
        }
        const struct prom_label labels[] = {{"api_name", slice_of(first->api_name)},
                                            {"window_minutes", slice_of(first->window_minutes)}};
        prom_sample(page->out, full, labels, 2, decimal_to_double(used));
    }
}

/* ---- our own ---- */

static double
gauge_value(const struct gauge *one, size_t family)
{
    switch (family) {
    case 0:
        return one->state;
    case 1:
        return decimal_to_double(one->used);
    case 2:
        return decimal_to_double(one->reserved);
    case 3:
        return decimal_to_double(one->limit);
    case 4:
        return one->exhausted_s;
    default:
        return (double)one->would_refuse;
    }
}

static void
write_budgets(struct page *page, const struct copies *copies)
{
    static const struct {
        const char *name;
        const char *help;
    } families[] = {
        {"budget_breaker_state", "0 closed, 1 half-open, 2 open, 3 forced open."},
        {"budget_used_credits", "Credits booked within the window."},
        {"budget_reserved_credits", "Credits of open reservations."},
        {"budget_limit_credits", "Hard limit."},
        {"budget_exhausted_seconds",
         "Seconds until the limit is reached at the present rate; +Inf: never within the window."},
        {"budget_would_refuse",
         "Calls that a budget in metrics-only mode would have refused, since it was made."}};

    for (size_t family = 0; family < sizeof(families) / sizeof(families[0]); family++) {
        const char *full =
            page_family(page, families[family].name, PROM_GAUGE, families[family].help);
        for (size_t i = 0; i < copies->gauge_count; i++) {
            const struct gauge *one = &copies->gauges[i];
            const struct prom_label labels[] = {{"budget", slice_of(one->budget)},
                                                {"instance", slice_of(one->instance)}};
            /* Of a budget without "*" there is one instance: the label would say nothing. */
            prom_sample(page->out, full, labels, one->instance[0] ? 2 : 1,
                        gauge_value(one, family));
        }
    }
    page_gauge(page, "budget_instances_omitted",
               "Counters of budgets beyond the first 1000, which are not told above.",
               (double)copies->gauges_omitted);
}

static void
write_refusals(struct page *page, struct refusals *refusals)
{
    struct refusal_count count;
    const char *full = page_family(page, "budget_refused_calls_total", PROM_COUNTER,
                                   "Calls that were refused, by budget and reason.");

    for (size_t i = 0; refusals_at(refusals, i, &count); i++) {
        const struct prom_label labels[] = {
            {"budget", slice_of(count.budget)},
            {"reason", slice_of(refusal_reason_name(count.reason))}};
        prom_sample_u64(page->out, full, labels, 2, count.count);
    }
}

static void
write_stats(struct page *page, struct meter *meter)
{
    struct meter_stats s;
    struct chain_head head;

    meter_stats(meter, &s);
    meter_head(meter, &head);
    page_counter(page, "meter_events_total", "Entries of the event log written since the start.",
                 s.events);
    page_counter(page, "meter_duplicates_total", "Entries that were there already.", s.duplicates);
    page_counter(page, "meter_conflicts_total", "Entries refused: same id, other content.",
                 s.conflicts);
    page_counter(page, "meter_corrections_total", "Entries that correct another.", s.corrections);
    page_counter(page, "meter_reserves_total", "Reservations made.", s.reserves);
    page_counter(page, "meter_refused_total", "Calls that budgets refused.", s.refused);
    page_counter(page, "meter_commits_total", "Reservations committed.", s.commits);
    page_counter(page, "meter_releases_total", "Reservations released.", s.releases);
    page_counter(page, "meter_expired_total", "Reservations whose lease ran out.", s.expired);
    page_counter(page, "meter_extends_total", "Leases made longer.", s.extends);
    page_counter(page, "meter_overruns_total", "Calls that cost more than was reserved.",
                 s.overruns);
    page_counter(page, "meter_records_total", "Records of the log.", s.records);
    page_counter(page, "meter_failures_total", "Records that could not be written.", s.failures);
    page_counter(page, "meter_ids_looked_up_total", "Event ids looked up in the store.",
                 s.ids_looked_up);
    /* Corrections give back: a sum that can fall is no counter. */
    page_gauge(page, "meter_booked_credits", "Credits booked since the start.",
               decimal_to_double(s.credits_booked));
    page_gauge(page, "meter_reserved_credits", "Credits of open reservations.",
               decimal_to_double(s.credits_reserved));
    page_gauge(page, "meter_reservations_open", "Open reservations.", (double)s.reservations_open);
    page_gauge(page, "meter_pending_bytes", "Decisions not yet durable.", (double)s.pending_bytes);
    page_gauge(page, "event_log_seq", "Number of the newest entry of the event log.",
               (double)head.seq);
}

static void
copies_fini(struct copies *copies)
{
    for (size_t i = 0; i < copies->series_count; i++) {
        free(copies->series[i].api_name);
        free(copies->series[i].endpoint);
    }
    for (size_t i = 0; i < copies->gauge_count; i++) {
        free(copies->gauges[i].instance);
    }
    free(copies->series);
    free(copies->gauges);
}

void
write_meter_metrics(struct api *api, struct meter *meter, struct page *page)
{
    struct copies copies = {.now_us = clock_wall_us(api->clock)};

    meter_each_series(meter, copy_series, &copies);
    meter_each_budget(meter, copy_gauge, &copies);
    if (copies.series_count > 0) {
        qsort(copies.series, copies.series_count, sizeof(*copies.series), compare_series);
    }
    write_calls(page, &copies);
    write_credits_total(page, &copies);
    const char *full =
        page_family(page, "api_latency_seconds", PROM_HISTOGRAM, "API call latency in seconds");
    for (size_t i = 0; i < copies.series_count; i++) {
        write_histogram(page, full, &copies.series[i]);
    }
    write_budgets(page, &copies); /* before the sorting: by budget, as they were defined */
    if (copies.gauge_count > 0) {
        qsort(copies.gauges, copies.gauge_count, sizeof(*copies.gauges), compare_gauges);
    }
    write_breakers(page, &copies);
    write_refusals(page, api->refusals);
    write_stats(page, meter);
    copies_fini(&copies);
}
