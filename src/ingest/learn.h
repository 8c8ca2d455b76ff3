/*
 * Learning series: what a decoder does with rows of metrics whose head it finds in the cache, and
 * with those it does not. One for each request while it is decoded.
 */
#ifndef EIDER_INGEST_LEARN_H
#define EIDER_INGEST_LEARN_H

#include "ingest/ingest_priv.h"

struct learner {
    struct job *job;
    struct head_generation *generation;
    struct head_field field; /* the one in use, when the cache has no room for it */
    enum err_code code;      /* not ERR_OK: the request as a whole is refused */
    struct err *err;
};

/* Enters and leaves the cache. */
void learner_init(struct learner *learner, struct job *job, struct err *err);
void learner_fini(struct learner *learner);

/* Makes the head of a row: in the cache, or else for use until the next one is made. */
struct head *learner_add_head(struct learner *learner, struct slice key, uint64_t hash,
                              const struct catalog_table *table, const struct head_tag *tags,
                              size_t tag_count);

/* Makes a field of a head: of a series, or of a column (series NULL). Never NULL. */
struct head_field *learner_add_field(struct learner *learner, struct head *head, struct slice name,
                                     struct series *series, int32_t id);

/*
 * Finds or makes the series of job->labels, a name and a symbol. NULL with a row error (`row`), or
 * with learner->code set.
 */
struct series *learner_series(struct learner *learner, struct slice name, struct slice symbol,
                              uint64_t row);

/* A row of a TABLE_METRICS batch becomes a sample. False with a row error as row `number`, or with
 * learner->code set. */
bool learner_add_metric(struct learner *learner, const struct batch *batch, size_t row,
                        uint64_t number);

/* The slow half of learner_series_id. */
void learner_announce(struct learner *learner, struct head_field *field);

/* The id of a field's series, whose definition goes along if it must. */
static inline int32_t
learner_series_id(struct learner *learner, struct head_field *field)
{
    if (!atomic_load_explicit(&field->durable, memory_order_relaxed)) {
        learner_announce(learner, field);
    }
    return field->id;
}

#endif
