/* Appends: values of a series, sets of rows, bodies; each waiting and asynchronous. */
#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "codec/time.h"
#include "embed/append_internal.h"

_Static_assert((int)EIDER_PRECISION_S == (int)PRECISION_S, "handed on by number");
_Static_assert((int)EIDER_FORMAT_LINE == (int)INGEST_LINE, "handed on by number");

/* ---- values of a series ---- */

/* Values that were checked; owns its times when some had to be filled in. */
struct points {
    struct ingest_points ingest;
    struct series_text series;
    int64_t *times_us;
};

static void
points_fini(struct points *points)
{
    free(points->times_us);
    series_text_fini(&points->series);
}

#define POINTS_AUTO __attribute__((cleanup(points_fini)))

/* Times of one's own, for those that have to be filled in. */
static void
own_times(struct points *points, const int64_t *given, size_t count)
{
    points->times_us = mem_zalloc(count, sizeof(*points->times_us));
    for (size_t i = 0; i < count; i++) {
        points->times_us[i] = given ? given[i] : EIDER_NOW;
    }
}

static enum eider_status
check_times(struct points *points, const struct eider_points *given, struct eider_error *error)
{
    int64_t now_us = clock_wall_us(clock_system());

    for (size_t i = 0; i < given->count; i++) {
        int64_t time_us = given->timestamps_us ? given->timestamps_us[i] : EIDER_NOW;
        if (time_us == EIDER_NOW) {
            if (!points->times_us) {
                own_times(points, given->timestamps_us, given->count);
            }
            points->times_us[i] = now_us;
        } else if (!time_in_range(time_us)) {
            return embed_refuse(error, EIDER_INVALID,
                                "point %zu, timestamp_us: expected microseconds since 1970 in the "
                                "years 1 to 9999, or EIDER_NOW, got %lld",
                                i, (long long)time_us);
        }
    }
    points->ingest.times_us = points->times_us ? points->times_us : given->timestamps_us;
    return EIDER_OK;
}

static enum eider_status
points_init(struct points *points, const struct eider_points *given, struct eider_error *error)
{
    enum eider_status status;

    *points = (struct points){.times_us = NULL};
    if (!given) {
        return embed_refuse(error, EIDER_INVALID, "points is NULL");
    }
    status = EMBED_CHECK_RESERVED("points", given, error);
    if (status == EIDER_OK) {
        status = series_text_init(&points->series, &given->series, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    if (given->count > EMBED_ROWS_MAX) {
        return embed_refuse(error, EIDER_TOO_LARGE, "count is %zu; expected at most %d",
                            given->count, EMBED_ROWS_MAX);
    }
    if (given->count > 0 && !given->values) {
        return embed_refuse(error, EIDER_INVALID, "values is NULL; expected %zu doubles",
                            given->count);
    }
    points->ingest = (struct ingest_points){.name = points->series.name,
                                            .symbol = points->series.symbol,
                                            .labels = points->series.labels,
                                            .values = given->values,
                                            .count = given->count};
    return check_times(points, given, error);
}

enum eider_status
eider_append_points(struct eider_db *db, const struct eider_points *given, uint64_t *ret_lsn,
                    struct eider_error *error)
{
    struct points points POINTS_AUTO = {.times_us = NULL};
    struct eider_receipt receipt;
    struct append_wait wait;
    enum eider_status status = embed_check_wait("eider_append_points", error);

    if (status == EIDER_OK) {
        status = points_init(&points, given, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    append_wait_init(&wait);
    ingest_write_points(db->ingest, &points.ingest, append_wait_answer, &wait);
    status = append_wait_end(&wait, &receipt, error);
    if (status == EIDER_OK && ret_lsn) {
        *ret_lsn = receipt.lsn;
    }
    return status;
}

enum eider_status
eider_append_metric(struct eider_db *db, const struct eider_series *series, int64_t timestamp_us,
                    double value, uint64_t *ret_lsn, struct eider_error *error)
{
    struct eider_points points = {.timestamps_us = &timestamp_us, .values = &value, .count = 1};

    if (series) {
        points.series = *series;
    }
    return eider_append_points(db, &points, ret_lsn, error);
}

enum eider_status
eider_append_points_async(struct eider_db *db, const struct eider_points *given,
                          eider_done_fn *done, void *ctx, struct eider_error *error)
{
    struct points points POINTS_AUTO = {.times_us = NULL};
    enum eider_status status = points_init(&points, given, error);
    struct append_frame frame;
    struct append_op *op;

    if (status != EIDER_OK) {
        return status;
    }
    op = append_op_begin(db, done, ctx, error);
    if (!op) {
        return EIDER_BUSY;
    }
    append_op_enter(&frame, op);
    ingest_write_points(db->ingest, &points.ingest, append_op_answer, op);
    return append_op_leave(&frame) ? append_op_end(op, error) : EIDER_OK;
}

/* ---- sets of rows ---- */

static enum eider_status
check_rows(const struct eider_rows *rows, struct eider_error *error)
{
    if (!rows) {
        return embed_refuse(error, EIDER_INVALID, "rows is NULL");
    }
    if (rows->open) {
        return embed_refuse(error, EIDER_INVALID, "a row of %s is open; end it first",
                            rows->open->table->name);
    }
    return EIDER_OK;
}

enum eider_status
eider_append_rows(struct eider_db *db, struct eider_rows *rows, struct eider_receipt *ret_receipt,
                  struct eider_error *error)
{
    struct batch view[TABLE_ID_END];
    struct append_wait wait;
    enum eider_status status = embed_check_wait("eider_append_rows", error);

    if (status == EIDER_OK) {
        status = check_rows(rows, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    append_wait_init(&wait);
    ingest_write_start(db->ingest, view, embed_rows_view(rows, view), append_wait_answer, &wait);
    status = append_wait_end(&wait, ret_receipt, error);
    if (status == EIDER_OK) {
        eider_rows_reset(rows);
    }
    return status;
}

enum eider_status
eider_append_rows_async(struct eider_db *db, struct eider_rows *rows, eider_done_fn *done,
                        void *ctx, struct eider_error *error)
{
    enum eider_status status = check_rows(rows, error);
    struct append_frame frame;
    struct append_op *op;

    if (status != EIDER_OK) {
        return status;
    }
    op = append_op_begin(db, done, ctx, error);
    if (!op) {
        return EIDER_BUSY;
    }
    struct append_set *set = mem_zalloc(1, sizeof(*set));
    op->set = set;
    set->rows = *rows;
    *rows = (struct eider_rows){.count = 0};
    append_op_enter(&frame, op);
    ingest_write_start(db->ingest, set->view, embed_rows_view(&set->rows, set->view),
                       append_op_answer, op);
    if (!append_op_leave(&frame)) {
        return EIDER_OK;
    }
    if (op->outcome.code != ERR_OK) {
        *rows = set->rows;
        set->rows = (struct eider_rows){.count = 0};
    }
    return append_op_end(op, error);
}

/* ---- bodies ---- */

static enum eider_status
make_request(const struct eider_body *body, struct ingest_request *ret_request,
             struct eider_error *error)
{
    if (!body || (!body->bytes && body->len > 0)) {
        return embed_refuse(error, EIDER_INVALID, "%s is NULL", body ? "bytes" : "body");
    }
    enum eider_status status = EMBED_CHECK_RESERVED("body", body, error);
    if (status != EIDER_OK) {
        return status;
    }
    if ((unsigned)body->format > EIDER_FORMAT_LINE ||
        (unsigned)body->precision > EIDER_PRECISION_S) {
        bool is_format = (unsigned)body->format > EIDER_FORMAT_LINE;
        return embed_refuse(error, EIDER_INVALID, "%s is %d; expected one of its enum",
                            is_format ? "format" : "precision",
                            is_format ? (int)body->format : (int)body->precision);
    }
    *ret_request = (struct ingest_request){
        .body = slice_make(body->bytes ? body->bytes : "", body->len),
        .gzip = body->gzip,
        .format = (enum ingest_format)body->format,
        .precision = (enum ingest_precision)body->precision,
        .skip_bad_rows = body->skip_bad_rows,
        .wait_applied = body->wait_applied,
        .idempotency_key = slice_of(body->idempotency_key),
    };
    if (body->format == EIDER_FORMAT_JSON) {
        ret_request->table = embed_table(body->table, error);
        return ret_request->table ? EIDER_OK : EIDER_NOT_FOUND;
    }
    return EIDER_OK;
}

enum eider_status
eider_append_body(struct eider_db *db, const struct eider_body *body,
                  struct eider_receipt *ret_receipt, struct eider_error *error)
{
    struct ingest_request request = {.table = NULL};
    struct append_wait wait;
    enum eider_status status = embed_check_wait("eider_append_body", error);

    if (status == EIDER_OK) {
        status = make_request(body, &request, error);
    }
    if (status != EIDER_OK) {
        return status;
    }
    append_wait_init(&wait);
    wait.on_row_problem = body->on_row_problem;
    wait.problem_ctx = body->problem_ctx;
    ingest_submit(db->ingest, &request, append_wait_answer, &wait);
    return append_wait_end(&wait, ret_receipt, error);
}

enum eider_status
eider_append_body_async(struct eider_db *db, const struct eider_body *body, eider_done_fn *done,
                        void *ctx, struct eider_error *error)
{
    struct ingest_request request = {.table = NULL};
    enum eider_status status = make_request(body, &request, error);
    struct append_frame frame;
    struct append_op *op;

    if (status != EIDER_OK) {
        return status;
    }
    op = append_op_begin(db, done, ctx, error);
    if (!op) {
        return EIDER_BUSY;
    }
    op->on_row_problem = body->on_row_problem;
    op->problem_ctx = body->problem_ctx;
    op->key = body->idempotency_key ? mem_strdup(request.idempotency_key) : NULL;
    request.idempotency_key = slice_of(op->key);
    append_op_enter(&frame, op);
    ingest_submit(db->ingest, &request, append_op_answer, op);
    return append_op_leave(&frame) ? append_op_end(op, error) : EIDER_OK;
}
