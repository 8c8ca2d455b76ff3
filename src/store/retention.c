/* Making a plan; see the header. */
#include "store/retention.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/catalog.h"

enum { NO_RULE = -1 };

static_assert(RETENTION_RULES_MAX <= 32, "a step has a bit for each");

/* One day of one table, while the plan is made. */
struct day {
    int32_t day;
    uint64_t hot_rows;
    const struct cold_file *files[COLD_KIND_COUNT]; /* first of the kind */
    size_t counts[COLD_KIND_COUNT];
    bool gone[COLD_KIND_COUNT]; /* by an earlier step; COLD_RAW: hot rows too */
};

struct planner {
    const struct retention_input *input;
    const struct catalog_table *table;
    struct retention_plan *plan;
    struct day *days;
    size_t day_count;
};

static bool
is_named(const struct retention_rule *rule, enum table_id table, enum cold_kind kind)
{
    return (rule->table == 0 || rule->table == table) &&
           (rule->kind == COLD_KIND_COUNT || rule->kind == kind);
}

static bool
may_drop(const struct retention_rule *rule, enum table_id table)
{
    return table != TABLE_EVENTS || rule->even_event_log;
}

/* The rule by age that decides on a metric (NULL: of a table without, or of none that a pattern
 * names); NO_RULE: keep. */
static int
decide(const struct planner *planner, enum cold_kind kind, const char *metric)
{
    for (size_t i = 0; i < planner->input->rule_count; i++) {
        const struct retention_rule *rule = &planner->input->rules[i];
        if (rule->max_age_us > 0 && is_named(rule, planner->table->id, kind) &&
            (!rule->metric[0] || (metric && retention_matches(rule->metric, metric)))) {
            return (int)i;
        }
    }
    return NO_RULE;
}

static bool
is_older(const struct planner *planner, int rule, int32_t day)
{
    int64_t now_us = planner->input->now_us;
    int64_t age_us = planner->input->rules[rule].max_age_us;

    return cold_day_end_us(day) <= now_us && now_us - cold_day_end_us(day) >= age_us;
}

/* The rule by which a kind of a day goes as a whole, or NO_RULE. Patterns before the deciding rule
 * may keep some metric in it. */
static int
whole_rule(const struct planner *planner, enum cold_kind kind, int32_t day)
{
    int decided = decide(planner, kind, NULL);

    if (decided == NO_RULE || !is_older(planner, decided, day) ||
        !may_drop(&planner->input->rules[decided], planner->table->id)) {
        return NO_RULE;
    }
    for (int i = 0; i < decided; i++) {
        const struct retention_rule *rule = &planner->input->rules[i];
        if (rule->max_age_us > 0 && is_named(rule, planner->table->id, kind) &&
            !is_older(planner, i, day)) {
            return NO_RULE;
        }
    }
    return decided;
}

static struct retention_step *
add_step(struct planner *planner, enum retention_action action, int rule, const struct day *day)
{
    struct retention_plan *plan = planner->plan;

    if (plan->count == plan->cap) {
        plan->cap = plan->cap ? plan->cap * 2 : 32;
        plan->steps = mem_resize(plan->steps, plan->cap, sizeof(*plan->steps));
    }
    struct retention_step *step = &plan->steps[plan->count++];
    *step = (struct retention_step){.action = action,
                                    .rules = UINT32_C(1) << rule,
                                    .table = planner->table->id,
                                    .kind = COLD_RAW,
                                    .day = day->day};
    return step;
}

/* The files of a kind leave the list with this step. Rows of a rollup count only by themselves. */
static void
take_files(struct retention_step *step, struct day *day, enum cold_kind kind, bool count_rows)
{
    size_t count = day->gone[kind] ? 0 : day->counts[kind];

    if (count > 0) {
        step->files = mem_resize(step->files, step->file_count + count, sizeof(*step->files));
        memcpy(step->files + step->file_count, day->files[kind], count * sizeof(*step->files));
        for (size_t i = 0; i < count; i++) {
            step->bytes += day->files[kind][i].bytes;
            step->rows += count_rows ? day->files[kind][i].rows : 0;
        }
        step->file_count += count;
    }
    day->gone[kind] = true;
}

static bool
has_kind(const struct day *day, enum cold_kind kind)
{
    return !day->gone[kind] && (day->counts[kind] > 0 || (kind == COLD_RAW && day->hot_rows > 0));
}

static void
take_hot(const struct planner *planner, struct retention_step *step, const struct day *day)
{
    step->hot_rows = day->hot_rows;
    step->rows += day->hot_rows;
    step->bytes += day->hot_rows * retention_row_bytes(planner->table);
    step->bytes_estimated = day->hot_rows > 0;
}

/* Drops kinds of a day that have a rule; `asking` has all that ask for it, as bits. */
static void
drop_kinds(struct planner *planner, struct day *day, const int rules[COLD_KIND_COUNT],
           const uint32_t asking[COLD_KIND_COUNT])
{
    bool keeps_rollup = false;

    for (int kind = COLD_1M; kind < COLD_KIND_COUNT; kind++) {
        bool has = has_kind(day, (enum cold_kind)kind) ||
                   (day->hot_rows > 0 && !planner->input->no_rollups);
        keeps_rollup = keeps_rollup || (planner->table->rolled_up && rules[kind] == NO_RULE && has);
    }
    if (rules[COLD_RAW] != NO_RULE && has_kind(day, COLD_RAW)) {
        struct retention_step *step = add_step(
            planner, keeps_rollup ? RETENTION_DROP_ROWS : RETENTION_DROP_DAY, rules[COLD_RAW], day);
        step->seal_first = keeps_rollup && day->hot_rows > 0;
        step->rules |= asking[COLD_RAW];
        take_hot(planner, step, day);
        take_files(step, day, COLD_RAW, true);
        for (int kind = COLD_1M; kind < COLD_KIND_COUNT && !keeps_rollup; kind++) {
            step->rules |= has_kind(day, (enum cold_kind)kind) ? asking[kind] : 0;
            take_files(step, day, (enum cold_kind)kind, false);
        }
    }
    for (int kind = COLD_1M; kind < COLD_KIND_COUNT; kind++) {
        if (rules[kind] != NO_RULE && has_kind(day, (enum cold_kind)kind)) {
            struct retention_step *step =
                add_step(planner, RETENTION_DROP_ROLLUP, rules[kind], day);
            step->kind = (enum cold_kind)kind;
            step->rules |= asking[kind];
            take_files(step, day, (enum cold_kind)kind, true);
        }
    }
}

/* ---- metrics ---- */

static int
compare_metrics(const void *a, const void *b)
{
    const struct retention_metric *x = a;
    const struct retention_metric *y = b;

    if (x->day != y->day) {
        return x->day < y->day ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

/* A name with "*" or "?" in it, taken as a pattern, must not take others along. */
static bool
is_safe_pattern(const struct retention_metric *metrics, size_t count, size_t index)
{
    const char *name = metrics[index].name;

    if (strlen(name) >= COLD_PATTERN_MAX) {
        return false;
    }
    for (size_t i = 0; i < count && strpbrk(name, "*?"); i++) {
        if (i != index && retention_matches(name, metrics[i].name)) {
            return false;
        }
    }
    return true;
}

static void
add_metric(struct retention_step *step, const struct retention_metric *metric)
{
    step->metrics = mem_resize(step->metrics, step->metric_count + 1, sizeof(*step->metrics));
    step->metrics[step->metric_count++] = *metric;
    step->rows += metric->rows;
}

/* What the step frees of the day's raw files, about. */
static void
estimate_metrics(const struct day *day, uint64_t all_rows, struct retention_step *step)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < day->counts[COLD_RAW]; i++) {
        bytes += day->files[COLD_RAW][i].bytes;
    }
    step->bytes_estimated = true;
    step->bytes =
        all_rows > 0 ? (uint64_t)((double)bytes * (double)step->rows / (double)all_rows) : 0;
}

/* Steps for the metrics of one day that are too old while others stay; returns the rule by which
 * all of them go, or NO_RULE. */
static int
plan_metrics(struct planner *planner, struct day *day, const struct retention_metric *metrics,
             size_t count)
{
    int *rules MEM_AUTO = mem_zalloc(count + 1, sizeof(*rules));
    uint64_t all_rows = 0;
    size_t going = 0;

    for (size_t i = 0; i < count; i++) {
        rules[i] = decide(planner, COLD_RAW, metrics[i].name);
        if (rules[i] != NO_RULE && !is_older(planner, rules[i], day->day)) {
            rules[i] = NO_RULE;
        }
        going += rules[i] != NO_RULE;
        all_rows += metrics[i].rows;
    }
    if (count > 0 && going == count) {
        return rules[0];
    }
    for (int rule = 0; rule < (int)planner->input->rule_count; rule++) {
        struct retention_step *step = NULL;
        for (size_t i = 0; i < count; i++) {
            if (rules[i] != rule || !is_safe_pattern(metrics, count, i)) {
                continue;
            }
            if (!step) {
                step = add_step(planner, RETENTION_DROP_METRICS, rule, day);
                step->keep_rollups = planner->input->rules[rule].kind == COLD_RAW;
            }
            add_metric(step, &metrics[i]);
        }
        if (step) {
            estimate_metrics(day, all_rows, step);
        }
    }
    return NO_RULE;
}

static bool
has_patterns(const struct planner *planner)
{
    bool found = false;

    for (size_t i = 0; i < planner->input->rule_count; i++) {
        found = found || planner->input->rules[i].metric[0];
    }
    return found && planner->table->id == TABLE_SAMPLES;
}

/* ---- days ---- */

static int
compare_days(const void *a, const void *b)
{
    const struct day *x = a;
    const struct day *y = b;

    return x->day < y->day ? -1 : x->day > y->day;
}

static struct day *
find_day(const struct planner *planner, int32_t day)
{
    struct day key = {.day = day};

    return bsearch(&key, planner->days, planner->day_count, sizeof(key), compare_days);
}

/* All days of the table that have anything, in order. */
static void
collect_days(struct planner *planner)
{
    const struct retention_input *input = planner->input;
    size_t max = input->file_count + input->hot_count;
    size_t count = 0;

    planner->days = mem_zalloc(max + 1, sizeof(*planner->days));
    for (size_t i = 0; i < input->file_count; i++) {
        if (input->files[i].table == planner->table->id) {
            planner->days[count++].day = input->files[i].day;
        }
    }
    for (size_t i = 0; i < input->hot_count; i++) {
        if (input->hot[i].table == planner->table->id && input->hot[i].hot_rows > 0) {
            planner->days[count++].day = input->hot[i].day;
        }
    }
    qsort(planner->days, count, sizeof(*planner->days), compare_days);
    for (size_t i = 0; i < count; i++) {
        if (planner->day_count == 0 ||
            planner->days[planner->day_count - 1].day != planner->days[i].day) {
            planner->days[planner->day_count++].day = planner->days[i].day;
        }
    }
    for (size_t i = 0; i < input->file_count; i++) {
        const struct cold_file *file = &input->files[i];
        if (file->table == planner->table->id) {
            struct day *day = find_day(planner, file->day);
            if (day->counts[file->kind]++ == 0) {
                day->files[file->kind] = file;
            }
        }
    }
    for (size_t i = 0; i < input->hot_count; i++) {
        if (input->hot[i].table == planner->table->id && input->hot[i].hot_rows > 0) {
            find_day(planner, input->hot[i].day)->hot_rows = input->hot[i].hot_rows;
        }
    }
}

/* All rules by which a kind of a day goes, whose metrics are these: as bits. */
static uint32_t
asking_rules(const struct planner *planner, enum cold_kind kind, int rule,
             const struct retention_metric *metrics, size_t count)
{
    uint32_t asking = rule == NO_RULE ? 0 : UINT32_C(1) << rule;

    for (size_t i = 0; i < count && rule != NO_RULE; i++) {
        int decided = decide(planner, kind, metrics[i].name);
        asking |= decided == NO_RULE ? 0 : UINT32_C(1) << decided;
    }
    return asking;
}

static void
plan_ages(struct planner *planner)
{
    const struct retention_input *input = planner->input;
    bool by_metric = has_patterns(planner);
    size_t at = 0;

    for (size_t i = 0; i < planner->day_count; i++) {
        struct day *day = &planner->days[i];
        int rules[COLD_KIND_COUNT];
        uint32_t asking[COLD_KIND_COUNT];
        for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
            rules[kind] = whole_rule(planner, (enum cold_kind)kind, day->day);
        }
        while (at < input->metric_count && input->metrics[at].day < day->day) {
            at++;
        }
        size_t end = at;
        while (end < input->metric_count && input->metrics[end].day == day->day) {
            end++;
        }
        if (by_metric && rules[COLD_RAW] == NO_RULE && end > at) {
            rules[COLD_RAW] = plan_metrics(planner, day, input->metrics + at, end - at);
        }
        for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
            asking[kind] = asking_rules(planner, (enum cold_kind)kind, rules[kind],
                                        input->metrics + at, by_metric ? end - at : 0);
        }
        drop_kinds(planner, day, rules, asking);
    }
}

static uint64_t
day_bytes(const struct planner *planner, const struct day *day, const struct retention_rule *rule)
{
    uint64_t bytes = 0;

    for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
        if (day->gone[kind] || !is_named(rule, planner->table->id, (enum cold_kind)kind)) {
            continue;
        }
        for (size_t i = 0; i < day->counts[kind]; i++) {
            bytes += day->files[kind][i].bytes;
        }
        bytes += kind == COLD_RAW ? day->hot_rows * retention_row_bytes(planner->table) : 0;
    }
    return bytes;
}

static void
plan_size(struct planner *planner, int index)
{
    const struct retention_rule *rule = &planner->input->rules[index];
    uint64_t bytes = 0;

    for (size_t i = 0; i < planner->day_count; i++) {
        bytes += day_bytes(planner, &planner->days[i], rule);
    }
    for (size_t i = 0; i < planner->day_count && bytes > rule->max_bytes; i++) {
        struct day *day = &planner->days[i];
        int rules[COLD_KIND_COUNT];
        uint32_t asking[COLD_KIND_COUNT] = {0}; /* but the rule itself */
        if (cold_day_end_us(day->day) > planner->input->now_us) {
            break;
        }
        uint64_t freed = day_bytes(planner, day, rule);
        for (int kind = 0; kind < COLD_KIND_COUNT; kind++) {
            rules[kind] =
                is_named(rule, planner->table->id, (enum cold_kind)kind) ? index : NO_RULE;
        }
        drop_kinds(planner, day, rules, asking);
        bytes -= freed;
    }
}

void
retention_plan_make(const struct retention_input *input, struct retention_plan *ret_plan)
{
    const struct catalog_table *table;

    *ret_plan = (struct retention_plan){.count = 0};
    for (size_t i = 1; i < input->metric_count; i++) {
        assert(compare_metrics(&input->metrics[i - 1], &input->metrics[i]) <= 0);
    }
    for (size_t i = 0; (table = catalog_at(i)); i++) {
        if (!table->sealed) {
            continue;
        }
        struct planner planner = {.input = input, .table = table, .plan = ret_plan};
        collect_days(&planner);
        plan_ages(&planner);
        for (size_t rule = 0; rule < input->rule_count; rule++) {
            if (input->rules[rule].max_bytes > 0 && input->rules[rule].table == table->id &&
                may_drop(&input->rules[rule], table->id)) {
                plan_size(&planner, (int)rule);
            }
        }
        free(planner.days);
    }
}

void
retention_plan_fini(struct retention_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        free(plan->steps[i].files);
        free(plan->steps[i].metrics);
    }
    free(plan->steps);
    *plan = (struct retention_plan){.count = 0};
}

bool
retention_metrics_before(const struct retention_rule *rules, size_t count, int64_t now_us,
                         int64_t *ret_before_us)
{
    int64_t youngest = INT64_MAX;
    bool by_metric = false;

    for (size_t i = 0; i < count; i++) {
        const struct retention_rule *rule = &rules[i];
        by_metric = by_metric || rule->metric[0];
        if (rule->max_age_us > 0 && is_named(rule, TABLE_SAMPLES, COLD_RAW) &&
            rule->max_age_us < youngest) {
            youngest = rule->max_age_us;
        }
    }
    if (!by_metric) {
        return false;
    }
    *ret_before_us = cold_day_begin_us(cold_day_of(now_us - youngest));
    return true;
}

void
retention_step_rules(const struct retention_step *step, const struct retention_rule *rules,
                     struct buf *ret_text)
{
    size_t told = 0;

    for (size_t i = 0; i < RETENTION_RULES_MAX; i++) {
        if (step->rules >> i & 1) {
            buf_add_cstr(ret_text, told++ ? "; " : "");
            buf_add_cstr(ret_text, rules[i].text);
        }
    }
}

const char *
retention_action_name(enum retention_action action)
{
    switch (action) {
    case RETENTION_DROP_DAY:
        return "drop day";
    case RETENTION_DROP_ROWS:
        return "drop rows";
    case RETENTION_DROP_ROLLUP:
        return "drop rollup";
    case RETENTION_DROP_METRICS:
        return "drop metrics";
    }
    return "";
}

uint64_t
retention_row_bytes(const struct catalog_table *table)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < table->column_count; i++) {
        switch (table->columns[i].type) {
        case COL_BOOL:
            bytes += 1;
            break;
        case COL_INT32:
            bytes += 4;
            break;
        case COL_INT64:
        case COL_DOUBLE:
        case COL_TIMESTAMP:
        case COL_DECIMAL:
            bytes += 8;
            break;
        case COL_TEXT:
        case COL_JSON:
        case COL_TYPE_COUNT:
            bytes += 16;
            break;
        }
    }
    return bytes;
}
