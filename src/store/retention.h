/*
 * The policy of retention: rules, what is there, and the time give a plan; nothing is read or
 * changed here. A dry run shows a plan, a real run does the same plan.
 *
 * Rules. Rows (COLD_RAW) and each rollup have an age of their own. The first rule, in the order of
 * the configuration, that names the table (or every table), the kind (or every kind) and the metric
 * decides on the age; without one everything is kept. A UTC day goes as a whole, when all of it is
 * older than the age, and never before it is over. Rules by size then take the oldest days until
 * what they name is under their bound. Of the event log nothing goes unless the deciding rule says
 * even_event_log.
 *
 * A step names every rule that asks for it: of a day that goes as a whole those of its rows, of
 * each metric among them, and of the rollups that are there.
 *
 * Rollups are made when a day is sealed. So where rows must go and a rollup of them lives longer,
 * hot rows are sealed first. A rollup with metrics of several rules lives as long as the longest.
 *
 * Pure; any thread.
 */
#ifndef EIDER_STORE_RETENTION_H
#define EIDER_STORE_RETENTION_H

#include "base/buf.h"
#include "store/cold.h"

enum { RETENTION_RULES_MAX = 32, RETENTION_TEXT_MAX = 320 };

struct retention_rule {
    enum table_id table;           /* 0: every sealed table */
    char metric[COLD_PATTERN_MAX]; /* TABLE_SAMPLES only: "*" any run, "?" one character; "": all */
    enum cold_kind kind;           /* COLD_KIND_COUNT: rows and all rollups */
    int64_t max_age_us;            /* 0: none */
    uint64_t max_bytes;            /* 0: none */
    bool even_event_log;
    char text[RETENTION_TEXT_MAX]; /* as it was written */
};

/*
 * Reads "table=trades max_age=90d", blanks between; keys: table (a name, "metrics" are the
 * samples), metric, rollup (raw, 1m, 5m, 1h, 1d), max_age (s, m, h, d, w, y), max_bytes (KB, KiB,
 * ...), even_event_log. ERR_INVALID names the key, the value and what was expected.
 */
enum err_code retention_rule_parse(struct slice text, struct retention_rule *ret_rule,
                                   struct err *err);

/* Whether a name matches a pattern. */
bool retention_matches(const char *pattern, const char *name);

/* Rows of one metric on one day, hot and cold, without those that only rollups have. */
struct retention_metric {
    int32_t day;
    const char *name;
    uint64_t rows;
};

struct retention_input {
    const struct retention_rule *rules;
    size_t rule_count;
    const struct cold_file *files; /* sorted by cold_file_compare */
    size_t file_count;
    const struct store_day *hot; /* closed days with hot rows */
    size_t hot_count;
    const struct retention_metric *metrics; /* of days that end before retention_metrics_before */
    size_t metric_count;
    int64_t now_us;
    bool no_rollups; /* the store makes none, so rows need not wait for them */
};

/* Whether a plan needs to know the metrics of days, and of which: those that end at or before
 * *ret_before_us. */
bool retention_metrics_before(const struct retention_rule *rules, size_t count, int64_t now_us,
                              int64_t *ret_before_us);

enum retention_action {
    RETENTION_DROP_DAY,    /* rows, hot rows and rollups */
    RETENTION_DROP_ROWS,   /* rows alone: the rollups stay */
    RETENTION_DROP_ROLLUP, /* one rollup alone */
    RETENTION_DROP_METRICS /* the day is written anew without some metrics */
};

struct retention_step {
    enum retention_action action;
    uint32_t rules; /* a bit for each rule that asks for it, by index */
    enum table_id table;
    enum cold_kind kind; /* of RETENTION_DROP_ROLLUP; else COLD_RAW */
    int32_t day;
    bool seal_first;      /* hot rows must become a file, for their rollups stay */
    bool keep_rollups;    /* RETENTION_DROP_METRICS: the rollups keep these metrics */
    bool bytes_estimated; /* hot rows, and what a day written anew will have, can only be guessed */
    uint64_t rows;
    uint64_t hot_rows; /* of these */
    uint64_t bytes;
    size_t file_count;
    struct cold_file *files; /* that leave the list */
    size_t metric_count;
    struct retention_metric *metrics; /* RETENTION_DROP_METRICS: what goes; names borrowed */
};

/* Steps in order of tables and days; those of one day as they must be done. */
struct retention_plan {
    size_t count;
    size_t cap;
    struct retention_step *steps;
};

void retention_plan_make(const struct retention_input *input, struct retention_plan *ret_plan);
void retention_plan_fini(struct retention_plan *plan);

#define RETENTION_PLAN_AUTO __attribute__((cleanup(retention_plan_fini)))

/* Appends the rules of a step as they were written, in their order, with "; " between them. */
void retention_step_rules(const struct retention_step *step, const struct retention_rule *rules,
                          struct buf *ret_text);

/* "drop day", "drop rows", ... */
const char *retention_action_name(enum retention_action action);

/* What a row of a table takes in the database, about. */
uint64_t retention_row_bytes(const struct catalog_table *table);

#endif
