/* Learning series: see the header. */
#include "ingest/learn.h"

#include <assert.h>
#include <string.h>

void
learner_init(struct learner *learner, struct job *job, struct err *err)
{
    *learner = (struct learner){
        .job = job,
        .generation = series_cache_enter(&job->ingest->cache),
        .err = err,
    };
}

void
learner_fini(struct learner *learner)
{
    series_cache_leave(learner->generation);
}

struct head *
learner_add_head(struct learner *learner, struct slice key, uint64_t hash,
                 const struct catalog_table *table, const struct head_tag *tags, size_t tag_count)
{
    struct head *head = series_cache_add(&learner->job->ingest->cache, learner->generation, key,
                                         hash, table, tags, tag_count);

    if (head) {
        return head;
    }
    arena_reset(&learner->job->local);
    head = arena_alloc(&learner->job->local, sizeof(*head) + tag_count * sizeof(*tags));
    assert(head);
    *head = (struct head){
        .key = key, .hash = hash, .table = table, .local = true, .tag_count = (uint32_t)tag_count};
    if (tag_count > 0) {
        memcpy(head->tags, tags, tag_count * sizeof(*tags));
    }
    return head;
}

struct head_field *
learner_add_field(struct learner *learner, struct head *head, struct slice name,
                  struct series *series, int32_t id)
{
    struct head_field *field = NULL;

    if (!head->local) {
        field = series_cache_add_field(&learner->job->ingest->cache, learner->generation, head,
                                       name, series, id);
    }
    if (!field) {
        field = &learner->field;
        *field = (struct head_field){.name = name, .series = series, .id = id};
    }
    return field;
}

struct series *
learner_series(struct learner *learner, struct slice name, struct slice symbol, uint64_t row)
{
    struct job *job = learner->job;
    struct series_key key = {.name = name, .symbol = symbol};
    struct series *series = NULL;
    struct err problem;

    if (name.len > SERIES_NAME_BYTES_MAX || symbol.len > SERIES_NAME_BYTES_MAX) {
        bool is_name = name.len > SERIES_NAME_BYTES_MAX;
        row_errors_add(&job->errors, row, slice_of(is_name ? "metric_name" : "symbol"),
                       is_name ? name : symbol, slice_of("at most 1024 bytes"));
        return NULL;
    }
    if (!labels_canonical(&job->labels, &key.labels)) {
        row_errors_add(&job->errors, row, slice_of("labels"), job->labels.culprit,
                       slice_of(job->labels.expected));
        return NULL;
    }
    if (series_get(&job->ingest->registry, &key, &series, &problem) == ERR_OK) {
        return series;
    }
    if (job->skip_bad_rows) {
        row_errors_add(&job->errors, row, slice_of("metric_name"), name, slice_of(problem.msg));
    } else {
        learner->code = err_set(learner->err, problem.code, "%s", problem.msg);
    }
    return NULL;
}

void
learner_announce(struct learner *learner, struct head_field *field)
{
    if (series_is_durable(field->series)) {
        atomic_store_explicit(&field->durable, true, memory_order_relaxed);
    } else {
        rows_announce(&learner->job->rows, field->series);
    }
}

/* What identifies a metric row, in one run of bytes that no line of line protocol starts with. */
static struct slice
metric_key(struct job *job, const struct batch *batch, size_t row)
{
    struct slice name = batch_get_text(batch, METRIC_NAME, row);
    struct slice symbol = batch_get_text(batch, METRIC_SYMBOL, row);
    struct slice labels = batch_get_text(batch, METRIC_LABELS, row);
    uint32_t lengths[2] = {(uint32_t)name.len, (uint32_t)symbol.len};

    buf_reset(&job->name);
    buf_add_char(&job->name, '\n');
    buf_add(&job->name, lengths, sizeof(lengths));
    buf_add_slice(&job->name, name);
    buf_add_slice(&job->name, symbol);
    buf_add_slice(&job->name, labels);
    return buf_slice(&job->name);
}

static struct head_field *
learn_metric(struct learner *learner, const struct batch *batch, size_t row, uint64_t number,
             struct slice key, uint64_t hash)
{
    struct job *job = learner->job;
    struct slice labels = batch_get_text(batch, METRIC_LABELS, row);

    arena_reset(&job->scratch);
    labels_reset(&job->labels);
    if (labels.len > 0) {
        labels_add_json(&job->labels, labels, &job->scratch);
    }
    struct series *series = learner_series(learner, batch_get_text(batch, METRIC_NAME, row),
                                           batch_get_text(batch, METRIC_SYMBOL, row), number);
    if (!series) {
        return NULL;
    }
    struct head *head =
        key.len > LINE_KEY_MAX ? NULL : learner_add_head(learner, key, hash, NULL, NULL, 0);
    struct head none = {.local = true};
    return learner_add_field(learner, head ? head : &none, slice_of(""), series, series->id);
}

bool
learner_add_metric(struct learner *learner, const struct batch *batch, size_t row, uint64_t number)
{
    struct job *job = learner->job;
    struct slice key = metric_key(job, batch, row);
    uint64_t hash = series_cache_hash(key);
    struct head *head = series_cache_find(learner->generation, key, hash);
    struct head_field *field = head ? series_cache_field(head, NULL, slice_of("")) : NULL;

    if (!field) {
        field = learn_metric(learner, batch, row, number, key, hash);
    }
    if (!field) {
        return false;
    }
    if (!rows_sample_room(&job->rows, 1)) {
        learner->code = rows_too_many(learner->err);
        return false;
    }
    int32_t id = learner_series_id(learner, field);
    rows_add_sample(&job->rows, id, batch_get_i64(batch, METRIC_TIMESTAMP, row),
                    batch_get_f64(batch, METRIC_VALUE, row));
    return true;
}
