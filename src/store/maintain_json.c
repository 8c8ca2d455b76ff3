/* See the header. */
#include "store/maintain_json.h"

#include "catalog/catalog.h"

static void
write_day(struct json_writer *json, int32_t day)
{
    char text[COLD_DAY_TEXT];

    cold_day_format(day, text);
    json_key(json, "day");
    json_cstr(json, text);
}

static void
write_u64(struct json_writer *json, const char *key, uint64_t value)
{
    json_key(json, key);
    json_u64(json, value);
}

static void
write_time(struct json_writer *json, const char *key, int64_t us)
{
    json_key(json, key);
    if (us == 0) {
        json_write_null(json);
    } else {
        json_time_us(json, us);
    }
}

static void
write_table(struct json_writer *json, enum table_id table)
{
    const struct catalog_table *found = catalog_table(table);

    json_key(json, "table");
    json_cstr(json, found ? found->name : NULL);
}

void
maintain_json_days(struct json_writer *json, const struct store_day *days, size_t count, bool more)
{
    uint64_t rows = 0;

    json_key(json, "days");
    json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        json_object_begin(json);
        write_table(json, days[i].table);
        write_day(json, days[i].day);
        write_u64(json, "hot_rows", days[i].hot_rows);
        write_u64(json, "cold_rows", days[i].cold_rows);
        write_u64(json, "cold_files", days[i].cold_files);
        json_object_end(json);
        rows += days[i].hot_rows;
    }
    json_array_end(json);
    write_u64(json, "rows", rows);
    json_key(json, "more");
    json_bool(json, more);
}

static void
write_step(struct json_writer *json, const struct maintain_plan *plan,
           const struct retention_step *step)
{
    struct buf rules BUF_AUTO = {0};

    buf_init(&rules, 0);
    retention_step_rules(step, plan->rules, &rules);
    json_object_begin(json);
    json_key(json, "action");
    json_cstr(json, retention_action_name(step->action));
    write_table(json, step->table);
    json_key(json, "kind");
    json_cstr(json, cold_kind_name(step->kind));
    write_day(json, step->day);
    json_key(json, "rule");
    json_str(json, buf_slice(&rules));
    write_u64(json, "rows", step->rows);
    write_u64(json, "hot_rows", step->hot_rows);
    write_u64(json, "bytes", step->bytes);
    json_key(json, "bytes_estimated");
    json_bool(json, step->bytes_estimated);
    json_key(json, "seals_first");
    json_bool(json, step->seal_first);
    json_key(json, "files");
    json_array_begin(json);
    for (size_t i = 0; i < step->file_count; i++) {
        char relative[COLD_RELATIVE_MAX];
        cold_relative(&step->files[i], relative);
        json_cstr(json, relative);
    }
    json_array_end(json);
    if (step->metric_count > 0) {
        json_key(json, "metrics");
        json_object_begin(json);
        for (size_t i = 0; i < step->metric_count; i++) {
            write_u64(json, step->metrics[i].name, step->metrics[i].rows);
        }
        json_object_end(json);
    }
    json_object_end(json);
}

void
maintain_json_plan(struct json_writer *json, const struct maintain_plan *plan)
{
    uint64_t rows = 0;
    uint64_t bytes = 0;
    uint64_t files = 0;

    json_key(json, "rules");
    json_array_begin(json);
    for (size_t i = 0; i < plan->rule_count; i++) {
        json_cstr(json, plan->rules[i].text);
    }
    json_array_end(json);
    json_key(json, "steps");
    json_array_begin(json);
    for (size_t i = 0; i < plan->plan.count; i++) {
        const struct retention_step *step = &plan->plan.steps[i];
        write_step(json, plan, step);
        rows += step->rows;
        bytes += step->bytes;
        files += step->file_count;
    }
    json_array_end(json);
    write_u64(json, "rows", rows);
    write_u64(json, "bytes", bytes);
    write_u64(json, "files", files);
}

static void
write_error(struct json_writer *json, const char *key, const struct err *err)
{
    json_key(json, key);
    json_cstr(json, err->code == ERR_OK ? NULL : err->msg);
}

void
maintain_json_status(struct json_writer *json, const struct maintain_status *status)
{
    json_key(json, "state");
    json_cstr(json, maintain_state_name(status->state));
    write_table(json, status->table);
    if (status->table != 0) {
        write_day(json, status->day);
    }
    write_u64(json, "steps_done", status->steps_done);
    write_u64(json, "steps_all", status->steps_all);
    write_u64(json, "asked", status->asked);
    write_u64(json, "done", status->done);
    write_error(json, "outcome", &status->outcome);
    write_error(json, "problem", &status->problem);
    write_u64(json, "rounds", status->rounds);
    write_u64(json, "failures", status->failures);
    write_u64(json, "days_sealed", status->days_sealed);
    write_u64(json, "days_merged", status->days_merged);
    write_u64(json, "rows_sealed", status->rows_sealed);
    write_u64(json, "files_collected", status->files_collected);
    write_u64(json, "bytes_collected", status->bytes_collected);
    json_key(json, "retention");
    json_object_begin(json);
    write_time(json, "last", status->retention_us);
    write_time(json, "next", status->retention_next_us);
    write_u64(json, "steps", status->retention_steps);
    write_u64(json, "files", status->retention_files);
    write_u64(json, "rows", status->retention_rows);
    write_u64(json, "bytes", status->retention_bytes);
    json_object_end(json);
}

void
maintain_json_files(struct json_writer *json, const struct cold_file *files, size_t count)
{
    json_key(json, "tables");
    json_array_begin(json);
    for (size_t i = 0; i < count;) {
        const struct cold_file *first = &files[i];
        uint64_t days = 0;
        uint64_t rows = 0;
        uint64_t bytes = 0;
        size_t begin = i;
        for (; i < count && files[i].table == first->table && files[i].kind == first->kind; i++) {
            days += i == begin || files[i].day != files[i - 1].day;
            rows += files[i].rows;
            bytes += files[i].bytes;
        }
        json_object_begin(json);
        write_table(json, first->table);
        json_key(json, "kind");
        json_cstr(json, cold_kind_name(first->kind));
        write_u64(json, "days", days);
        write_u64(json, "files", i - begin);
        write_u64(json, "rows", rows);
        write_u64(json, "bytes", bytes);
        json_object_end(json);
    }
    json_array_end(json);
}
