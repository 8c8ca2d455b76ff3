/*
 * Writing: POST /api/v1/ingest/{table} and the Influx paths. Small plain bodies are decoded on the
 * loop, the others on a job thread; the answer is sent by whichever thread made it durable.
 */
#include "api/api_private.h"
#include "base/mem.h"

struct write_job {
    struct api *api;
    struct ingest *ingest;
    struct http_exchange *exchange;
    struct ingest_request request;
    bool influx; /* success is 204 without a body, failure has "error" too */
};

static void
write_row_errors(struct json_writer *w, const struct ingest_answer *answer)
{
    json_array_begin(w);
    for (size_t i = 0; i < answer->error_count; i++) {
        const struct ingest_row_error *error = &answer->errors[i];

        json_object_begin(w);
        json_key(w, "row");
        json_u64(w, error->row);
        json_key(w, "field");
        json_str(w, error->field);
        json_key(w, "value");
        json_str(w, error->value);
        json_key(w, "expected");
        json_str(w, error->expected);
        json_object_end(w);
    }
    json_array_end(w);
}

static void
write_members(struct json_writer *w, const struct ingest_answer *answer)
{
    json_key(w, "accepted");
    json_u64(w, answer->accepted);
    json_key(w, "rejected");
    json_u64(w, answer->rejected);
    json_key(w, "errors");
    write_row_errors(w, answer);
    json_key(w, "lsn");
    json_u64(w, answer->lsn);
}

static void
answer_refused(struct write_job *job, const struct ingest_answer *answer)
{
    struct http_exchange *exchange = job->exchange;
    struct json_writer w;

    if (answer->retry_after_s > 0) {
        const char *text = arena_fmt(http_arena(exchange), "%d", answer->retry_after_s);
        http_add_header(exchange, "Retry-After", slice_of(text));
    }
    http_set_status(exchange, err_http_status(answer->code));
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "detail");
    json_cstr(&w, answer->err->msg);
    json_key(&w, "code");
    json_cstr(&w, err_name(answer->code));
    json_key(&w, "request_id");
    json_str(&w, http_request_id(exchange));
    if (job->influx) {
        json_key(&w, "error");
        json_cstr(&w, answer->err->msg);
    }
    write_members(&w, answer);
    json_object_end(&w);
    http_reply(exchange);
}

static void
answer_written(void *ctx, const struct ingest_answer *answer)
{
    struct write_job *job = ctx;
    struct http_exchange *exchange = job->exchange;
    struct json_writer w;

    if (answer->code != ERR_OK) {
        answer_refused(job, answer);
        return;
    }
    if (!answer->replayed) {
        rate_limit_count(job->api->rate, clock_mono_us(job->api->clock), answer->accepted);
    }
    if (answer->replayed) {
        http_add_header(exchange, "Idempotent-Replayed", slice_of("true"));
    }
    if (job->influx && answer->rejected == 0) {
        const char *lsn = arena_fmt(http_arena(exchange), "%llu", (unsigned long long)answer->lsn);
        http_add_header(exchange, "X-Eider-Lsn", slice_of(lsn));
        http_set_status(exchange, 204);
        http_reply(exchange);
        return;
    }
    reply_json(exchange, &w);
    json_object_begin(&w);
    write_members(&w, answer);
    json_object_end(&w);
    http_reply(exchange);
}

static void
run_write(void *arg)
{
    struct write_job *job = arg;
    struct err err;

    if (atomic_load(&job->api->closing)) {
        err_set(&err, ERR_UNAVAILABLE, "the server is stopping; nothing was written");
        reply_error(job->exchange, &err, 1);
        return;
    }
    ingest_submit(job->ingest, &job->request, answer_written, job);
}

static void
start_write(struct write_job *job)
{
    struct err err;

    if (!job->request.gzip && job->request.body.len <= API_INLINE_BODY_BYTES) {
        run_write(job);
        return;
    }
    if (!jobs_submit(job->api->writers, run_write, job)) {
        err_set(&err, ERR_BUSY, "too many requests are waiting to be decoded; try again");
        reply_error(job->exchange, &err, 1);
    }
}

static enum err_code
read_options(const struct http_exchange *exchange, struct ingest_request *request, struct err *err)
{
    static const char *const acks[] = {"durable", "applied", NULL};
    static const char *const on_errors[] = {"reject", "skip", NULL};
    static const char *const precisions[] = {"auto", "ns", "us", "ms", "s", "n", "u", NULL};
    static const enum ingest_precision precision_of[] = {
        PRECISION_AUTO_US, PRECISION_NS, PRECISION_US, PRECISION_MS,
        PRECISION_S,       PRECISION_NS, PRECISION_US};
    int word;
    enum err_code code = request_word(exchange, "ack", acks, 0, &word, err);

    if (code == ERR_OK) {
        request->wait_applied = word == 1;
        code = request_word(exchange, "on_error", on_errors, 0, &word, err);
    }
    if (code == ERR_OK) {
        request->skip_bad_rows = word == 1;
        code = request_word(exchange, "precision", precisions, 0, &word, err);
    }
    if (code == ERR_OK) {
        request->precision = precision_of[word];
        code = request_encoding(exchange, &request->gzip, err);
    }
    return code;
}

/* Fills what both kinds of writes share and starts, or answers why not. */
static void
begin(struct api *api, struct http_exchange *exchange, enum ingest_format format,
      const struct catalog_table *table)
{
    struct err err;
    struct ingest *ingest = atomic_load(&api->ingest);
    struct write_job *job = arena_zalloc(http_arena(exchange), 1, sizeof(*job));
    int wait_s = 0;

    if (!job || !ingest) {
        err_set(&err, ERR_UNAVAILABLE, "the service is starting: the log is being applied");
        reply_error(exchange, &err, 1);
        return;
    }
    if (!rate_limit_allows(api->rate, clock_mono_us(api->clock), &wait_s)) {
        err_set(&err, ERR_BUSY,
                "limits.rows_per_second is %llu, and more rows came; nothing was written",
                (unsigned long long)rate_limit_rows(api->rate));
        reply_error(exchange, &err, wait_s);
        return;
    }
    job->api = api;
    job->ingest = ingest;
    job->exchange = exchange;
    job->influx = format == INGEST_LINE;
    job->request.body = http_body(exchange);
    job->request.format = format;
    job->request.table = table;
    http_header(exchange, "Idempotency-Key", &job->request.idempotency_key);
    if (read_options(exchange, &job->request, &err) != ERR_OK) {
        reply_error(exchange, &err, 0);
        return;
    }
    start_write(job);
}

void
post_ingest(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct slice name = route_segment(route, exchange);
    const struct catalog_table *table = catalog_find(name);
    struct err err;

    if (!table || !table->ingestible) {
        const char *near = catalog_suggest_table(name);
        char names[CATALOG_NAMES_MAX];
        catalog_name_ingestible(names);
        err_set(&err, ERR_NOT_FOUND, "table \"%.*s\" is unknown%s%s%s",
                SLICE_FMT(slice_sub(name, 0, 60)),
                near ? "; did you mean \"" : "; expected one of ", near ? near : names,
                near ? "\"?" : "");
        reply_error(exchange, &err, 0);
        return;
    }
    begin(api, exchange, INGEST_JSON, table);
}

void
post_write(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    (void)route;
    begin(api, exchange, INGEST_LINE, NULL);
}

/* Influx clients ask here whether the server is up. */
void
get_write_ping(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    (void)api;
    (void)route;
    http_add_header(exchange, "X-Influxdb-Version", slice_of("eider-" EIDER_VERSION));
    http_set_status(exchange, 204);
    http_reply(exchange);
}
