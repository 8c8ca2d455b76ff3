/* Keeping retention's rules: what is there, the plan, and doing it step by step. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/catalog.h"
#include "codec/number.h"
#include "codec/time.h"
#include "store/cold_internal.h"
#include "store/maintain_private.h"

enum { METRIC_DAYS_MAX = 10000000, CHECKPOINT_MS = 60000, STAMP_BYTES = 64 };

/* ---- when ---- */

int64_t
maintain_retained_us(const char *cold_dir)
{
    char path[COLD_PATH_MAX];
    struct buf text BUF_AUTO = {0};
    struct err ignored;
    int64_t us = 0;

    buf_init(&text, COLD_FILE_BYTES_MAX);
    snprintf(path, sizeof(path), "%.4000s/retention", cold_dir);
    if (cold_read_file(path, &text, &ignored) != ERR_OK ||
        !time_parse_iso8601(slice_trim(buf_slice(&text)), &us)) {
        return 0; /* then it is due, which does no harm */
    }
    return us;
}

static enum err_code
note_retained(struct maintain *maintain, int64_t now_us, struct err *err)
{
    char path[COLD_PATH_MAX];
    char text[STAMP_BYTES];
    char stamp[TIME_TEXT_MAX];

    time_format_iso8601(now_us, stamp);
    snprintf(text, sizeof(text), "%s\n", stamp);
    snprintf(path, sizeof(path), "%.4000s/retention", maintain->cold_dir);
    return cold_replace_file(path, slice_of(text), NULL, NULL, err);
}

/* The first time of day behind the last run; one that was missed is due at once. */
int64_t
maintain_retention_due(const struct maintain *maintain, int64_t last_us, int64_t now_us)
{
    int64_t minute_us = (int64_t)maintain->options.retention_minute * 60 * TIME_US_PER_S;

    if (maintain->rule_count == 0) {
        return 0;
    }
    int64_t from_us = last_us > 0 && last_us < now_us ? last_us : now_us;
    int64_t due_us = cold_day_begin_us(cold_day_of(from_us)) + minute_us;
    due_us += due_us <= from_us ? TIME_US_PER_DAY : 0;
    return last_us > 0 ? due_us : now_us;
}

/* ---- the plan ---- */

void
maintain_plan_fini(struct maintain_plan *plan)
{
    retention_plan_fini(&plan->plan);
    for (size_t i = 0; i < plan->metric_count; i++) {
        free((void *)(uintptr_t)plan->metrics[i].name); /* NOLINT: a plan's own copy */
    }
    free(plan->metrics);
    free(plan->files);
    free(plan->hot);
    free(plan->rules);
    memset(plan, 0, sizeof(*plan));
}

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

static enum err_code
count_metrics(struct engine *engine, int64_t before_us, struct maintain_plan *plan, struct err *err)
{
    static const char sql[] =
        "SELECT (s.timestamp::DATE - DATE '1970-01-01')::BIGINT, x.metric_name, count(*)::BIGINT "
        "FROM samples s JOIN series x USING (series_id) WHERE s.timestamp < ? "
        "AND s.timestamp >= DATE '0001-01-01' GROUP BY 1, 2";
    const struct store_param before = {.type = PARAM_TIMESTAMP, .i64 = before_us};
    const struct store_sql query = {
        .sql = slice_of(sql),
        .params = &before,
        .param_count = 1,
        .timeout_ms = MAINTAIN_QUERY_MS,
        .rows_max = METRIC_DAYS_MAX,
        .bytes_max = INT64_C(1) << 30,
    };
    struct batch rows;
    bool truncated = false;
    enum err_code code = engine_sql(engine, &query, &rows, &truncated, err);

    if (code != ERR_OK) {
        return err_context(err, code, "counting the rows of metrics for retention");
    }
    if (truncated) {
        batch_fini(&rows);
        return err_set(err, ERR_TOO_LARGE, "there are more than %d metrics and days for retention",
                       METRIC_DAYS_MAX);
    }
    plan->metrics = mem_zalloc(rows.rows + 1, sizeof(*plan->metrics));
    for (size_t i = 0; i < rows.rows; i++) {
        plan->metrics[i] =
            (struct retention_metric){.day = (int32_t)batch_get_i64(&rows, 0, i),
                                      .name = mem_strdup(batch_get_text(&rows, 1, i)),
                                      .rows = (uint64_t)batch_get_i64(&rows, 2, i)};
    }
    plan->metric_count = rows.rows;
    batch_fini(&rows);
    if (plan->metric_count > 1) {
        qsort(plan->metrics, plan->metric_count, sizeof(*plan->metrics), compare_metrics);
    }
    return ERR_OK;
}

enum err_code
engine_retention_plan(struct engine *engine, struct maintain_plan *ret_plan, struct err *err)
{
    const struct maintain *maintain = engine->maintain;
    struct maintain_plan plan = {.rule_count = maintain ? maintain->rule_count : 0};
    int64_t now_us = clock_wall_us(engine->clock);
    int64_t before_us;
    bool more; /* for the next run */

    plan.rules = mem_zalloc(plan.rule_count + 1, sizeof(*plan.rules));
    if (plan.rule_count > 0) {
        memcpy(plan.rules, maintain->rules, plan.rule_count * sizeof(*plan.rules));
    }
    enum err_code code = engine_cold_list(engine, &plan.files, &plan.file_count, err);
    if (code == ERR_OK) {
        const struct store_seal_find all = {.before_us = now_us};
        code = maintain_find_days(engine, &all, &plan.hot, &plan.hot_count, &more, err);
    }
    if (code == ERR_OK &&
        retention_metrics_before(plan.rules, plan.rule_count, now_us, &before_us)) {
        code = count_metrics(engine, before_us, &plan, err);
    }
    if (code != ERR_OK) {
        maintain_plan_fini(&plan);
        return code;
    }
    const struct retention_input input = {
        .rules = plan.rules,
        .rule_count = plan.rule_count,
        .files = plan.files,
        .file_count = plan.file_count,
        .hot = plan.hot,
        .hot_count = plan.hot_count,
        .metrics = plan.metrics,
        .metric_count = plan.metric_count,
        .now_us = now_us,
        .no_rollups = maintain && maintain->rows_only,
    };
    retention_plan_make(&input, &plan.plan);
    *ret_plan = plan;
    return ERR_OK;
}

/* ---- doing it ---- */

/* Files of a day; raw ones, or all. */
static enum err_code
list_day(struct maintain *maintain, const struct retention_step *step, bool raw_only,
         struct cold_file **ret_files, size_t *ret_count, struct err *err)
{
    struct cold_file *files = NULL;
    size_t count = 0;
    size_t kept = 0;
    enum err_code code = engine_cold_list(maintain->engine, &files, &count, err);

    for (size_t i = 0; i < count && code == ERR_OK; i++) {
        if (files[i].table == step->table && files[i].day == step->day &&
            (!raw_only || files[i].kind == COLD_RAW)) {
            files[kept++] = files[i];
        }
    }
    *ret_files = files;
    *ret_count = kept;
    return code;
}

static uint64_t
sum_bytes(const struct cold_file *files, size_t count)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        bytes += files[i].bytes;
    }
    return bytes;
}

/* Hot rows become a file first, so that their rollups are made; then all raw files of the day go.
 */
static enum err_code
seal_before_drop(struct maintain *maintain, struct retention_step *step, struct err *err)
{
    const struct store_seal seal = {.table = step->table, .day = step->day};
    struct store_seal_result result;
    enum err_code code = maintain_seal_one(maintain, &seal, &result, err);

    if (code != ERR_OK && code != ERR_NOT_FOUND) {
        return code;
    }
    free(step->files);
    step->files = NULL;
    step->file_count = 0;
    code = list_day(maintain, step, true, &step->files, &step->file_count, err);
    step->bytes = sum_bytes(step->files, step->file_count);
    step->bytes_estimated = false;
    return code;
}

/* Writes the day anew without the metrics. What it replaces is collected as after every merge. */
static enum err_code
rewrite_day(struct maintain *maintain, struct retention_step *step, struct err *err)
{
    assert(step->metric_count > 0);
    const char **names MEM_AUTO = mem_zalloc(step->metric_count + 1, sizeof(*names));
    struct cold_file *before MEM_AUTO = NULL;
    struct cold_file *after MEM_AUTO = NULL;
    struct store_seal_result result = {.rows = 0};
    size_t before_count = 0;
    size_t after_count = 0;

    for (size_t i = 0; i < step->metric_count; i++) {
        names[i] = step->metrics[i].name;
    }
    const struct store_seal seal = {.table = step->table,
                                    .day = step->day,
                                    .merge = true,
                                    .drop_metrics = names,
                                    .keep_rollups_of_dropped = step->keep_rollups};
    enum err_code code = list_day(maintain, step, false, &before, &before_count, err);
    if (code == ERR_OK) {
        code = maintain_seal_one(maintain, &seal, &result, err);
        engine_hot_invalidate(maintain->engine, step->table, cold_day_begin_us(step->day),
                              cold_day_end_us(step->day) - 1);
    }
    code = code ? code : list_day(maintain, step, false, &after, &after_count, err);
    if (code == ERR_OK) {
        uint64_t had = sum_bytes(before, before_count);
        uint64_t has = sum_bytes(after, after_count);
        step->rows = result.rows_dropped;
        step->bytes = had > has ? had - has : 0;
        step->bytes_estimated = false;
    }
    return code;
}

static void
note_step(struct maintain *maintain, const struct retention_step *step, const char *rule)
{
    char day[COLD_DAY_TEXT];

    pthread_mutex_lock(&maintain->lock);
    maintain->status.retention_steps++;
    maintain->status.retention_files += step->file_count;
    maintain->status.retention_rows += step->rows;
    maintain->status.retention_bytes += step->bytes;
    pthread_mutex_unlock(&maintain->lock);
    cold_day_format(step->day, day);
    engine_event(maintain->engine, false,
                 "retention: %s of %s, %s%s: %" PRIu64 " rows, %zu files, %" PRIu64
                 " bytes, by \"%s\"",
                 retention_action_name(step->action), catalog_table(step->table)->name, day,
                 cold_kind_suffix(step->kind), step->rows, step->file_count, step->bytes, rule);
}

/* ERR_BUSY and ERR_NOT_FOUND, rows came or went meanwhile, are for the next run. */
static enum err_code
do_step(struct maintain *maintain, struct retention_step *step, const char *rule, struct err *err)
{
    struct cold_file *replaced MEM_AUTO = NULL;
    size_t replaced_count = 0;
    bool rewrites = step->action == RETENTION_DROP_METRICS && !maintain->rows_only;
    enum err_code code = ERR_OK;

    if (step->seal_first) {
        code = seal_before_drop(maintain, step, err);
    }
    if (code == ERR_OK && rewrites) {
        code = list_day(maintain, step, true, &replaced, &replaced_count, err);
    }
    code =
        code ? code : maintain_receipt_begin(maintain, step, rule, replaced, replaced_count, err);
    if (code == ERR_OK) {
        code = rewrites ? rewrite_day(maintain, step, err) : maintain_drop(maintain, step, err);
    }
    if (code != ERR_OK) {
        return code; /* begin's note is looked at by the next recovery */
    }
    note_step(maintain, step, rule);
    return maintain_receipt_end(maintain, step, rule, err);
}

/* Those of `steps` that were given up: a rule would drop them if they were there. */
static enum err_code
drop_given_up(struct maintain *maintain, const struct retention_plan *plan,
              const struct cold_manifest *missing, struct err *err)
{
    struct cold_names dropped COLD_NAMES_AUTO = {0};
    struct cold_file *files MEM_AUTO = mem_zalloc(missing->count + 1, sizeof(*files));
    size_t count = 0;
    enum err_code code = cold_ledger_read(maintain->cold_dir, COLD_DROPPED, &dropped, err);

    for (size_t i = 0; i < plan->count && code == ERR_OK; i++) {
        for (size_t k = 0; k < plan->steps[i].file_count; k++) {
            const struct cold_file *file = &plan->steps[i].files[k];
            char relative[COLD_RELATIVE_MAX];
            cold_relative(file, relative);
            if (count < missing->count && !cold_names_has(&dropped, relative) &&
                bsearch(file, missing->files, missing->count, sizeof(*file), cold_file_compare)) {
                files[count++] = *file;
            }
        }
    }
    code = code ? code : cold_ledger_add(maintain->cold_dir, COLD_DROPPED, files, count, err);
    if (code == ERR_OK && count > 0) {
        engine_event(maintain->engine, false,
                     "retention: %zu cold files that are missing are not listed again when they "
                     "come back, for the rules drop their rows",
                     count);
    }
    return code;
}

/* Files that a start went on without are in no plan, and must not bring back rows that the rules
 * drop. They are asked about as if they were there. */
static enum err_code
retain_given_up(struct maintain *maintain, const struct maintain_plan *there, struct err *err)
{
    struct cold_manifest missing = {0};
    struct retention_plan plan RETENTION_PLAN_AUTO = {0};
    enum err_code code = cold_missing_read(maintain->cold_dir, &missing, err);

    if (code != ERR_OK || missing.count == 0) {
        free(missing.files);
        return code == ERR_NOT_FOUND || code == ERR_CORRUPT ? ERR_OK : code;
    }
    size_t count = there->file_count + missing.count;
    struct cold_file *files MEM_AUTO = mem_zalloc(count, sizeof(*files));
    memcpy(files, missing.files, missing.count * sizeof(*files));
    if (there->file_count > 0) {
        memcpy(files + missing.count, there->files, there->file_count * sizeof(*files));
    }
    qsort(files, count, sizeof(*files), cold_file_compare);
    qsort(missing.files, missing.count, sizeof(*missing.files), cold_file_compare);
    const struct retention_input input = {
        .rules = there->rules,
        .rule_count = there->rule_count,
        .files = files,
        .file_count = count,
        .hot = there->hot,
        .hot_count = there->hot_count,
        .now_us = clock_wall_us(maintain->engine->clock),
        .no_rollups = maintain->rows_only,
    };
    retention_plan_make(&input, &plan);
    code = drop_given_up(maintain, &plan, &missing, err);
    free(missing.files);
    return code;
}

enum err_code
maintain_retain(struct maintain *maintain, struct err *err)
{
    struct maintain_plan plan MAINTAIN_PLAN_AUTO = {0};
    int64_t now_us = clock_wall_us(maintain->engine->clock);
    enum err_code code = engine_retention_plan(maintain->engine, &plan, err);
    size_t count = plan.plan.count;

    code = code ? code : retain_given_up(maintain, &plan, err);
    for (size_t i = 0; i < count && code == ERR_OK && !atomic_load(&maintain->stopping); i++) {
        struct retention_step *step = &plan.plan.steps[i];
        struct buf rules BUF_AUTO = {0};
        buf_init(&rules, 0);
        retention_step_rules(step, plan.rules, &rules);
        buf_add_char(&rules, '\0');
        maintain_set_state(maintain, MAINTAIN_RETAINING, step->table, step->day);
        maintain_set_steps(maintain, i, count);
        code = do_step(maintain, step, rules.ptr, err);
        if (code == ERR_BUSY || code == ERR_NOT_FOUND) {
            engine_event(maintain->engine, false, "retention leaves a day to its next run: %s",
                         err->msg);
            code = maintain_receipt_recover(maintain, err);
        }
    }
    if (code == ERR_OK && count > 0) {
        /* Blocks of dropped hot rows are free in the file only behind a checkpoint. */
        struct err ignored;
        engine_checkpoint(maintain->engine, CHECKPOINT_MS, &ignored);
    }
    if (code == ERR_OK && !atomic_load(&maintain->stopping)) {
        code = note_retained(maintain, now_us, err);
        pthread_mutex_lock(&maintain->lock);
        maintain->status.retention_us = now_us;
        maintain->status.retention_next_us = maintain_retention_due(maintain, now_us, now_us);
        pthread_mutex_unlock(&maintain->lock);
    }
    return code;
}
