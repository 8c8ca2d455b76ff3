/* Which database a request is for; the list of them, and their part of health. */
#include "api/databases.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "api/api_private.h"
#include "api/databases_private.h"
#include "base/mem.h"
#include "catalog/suggest.h"

enum { DOWN_RETRY_S = 5, SHOWN_BYTES = 80 };

static const char prefix[] = "/db/";

void
databases_new(struct databases **ret_databases)
{
    struct databases *databases = mem_zalloc(1, sizeof(*databases));

    pthread_rwlock_init(&databases->apis, NULL);
    pthread_mutex_init(&databases->lock, NULL);
    *ret_databases = databases;
}

void
databases_free(struct databases *databases)
{
    if (databases) {
        pthread_mutex_destroy(&databases->lock);
        pthread_rwlock_destroy(&databases->apis);
        free(databases);
    }
}

size_t
databases_add(struct databases *databases, const char *name, const struct database_limits *limits)
{
    size_t index = databases->count++;

    assert(index < DATABASES_MAX && strlen(name) <= DATABASE_NAME_MAX);
    struct database_entry *entry = &databases->entries[index];
    snprintf(entry->name, sizeof(entry->name), "%s", name);
    snprintf(entry->problem, sizeof(entry->problem), "it is being opened");
    entry->limits = *limits;
    return index;
}

void
databases_attach(struct databases *databases, size_t index, struct api *api)
{
    api_attach_databases(api, databases, index);
    atomic_store(&databases->entries[index].api, api);
}

void
databases_detach(struct databases *databases, size_t index)
{
    pthread_rwlock_wrlock(&databases->apis);
    atomic_store(&databases->entries[index].api, NULL);
    pthread_rwlock_unlock(&databases->apis);
}

void
databases_tell(struct databases *databases, size_t index, const char *problem)
{
    struct database_entry *entry = &databases->entries[index];

    pthread_mutex_lock(&databases->lock);
    snprintf(entry->problem, sizeof(entry->problem), "%s", problem);
    pthread_mutex_unlock(&databases->lock);
}

void
databases_figures(struct databases *databases, size_t index, double rows_per_second,
                  uint64_t disk_bytes)
{
    pthread_mutex_lock(&databases->lock);
    databases->entries[index].rows_per_second = rows_per_second;
    databases->entries[index].disk_bytes = disk_bytes;
    pthread_mutex_unlock(&databases->lock);
}

/* ---- choosing ---- */

static struct database_entry *
find(struct databases *databases, struct slice name)
{
    for (size_t i = 0; i < databases->count; i++) {
        if (slice_is(name, databases->entries[i].name)) {
            return &databases->entries[i];
        }
    }
    return NULL;
}

/* Whose tokens tell whether the names may be shown: the default one's, unless it is down. */
static struct api *
any_api(struct databases *databases)
{
    struct api *api = NULL;

    for (size_t i = 0; i < databases->count && !api; i++) {
        api = atomic_load(&databases->entries[i].api);
    }
    return api;
}

static enum err_code
refuse_unknown(struct databases *databases, const struct http_exchange *exchange, struct slice name,
               struct err *err)
{
    const struct api *api = any_api(databases);
    const char *names[DATABASES_MAX];
    struct buf known BUF_AUTO = {0};
    struct slice shown = slice_sub(name, 0, SHOWN_BYTES);

    if (!api || !tokens_see_all(api, exchange)) {
        return err_set(err, ERR_NOT_FOUND, "there is no database \"%.*s\"", SLICE_FMT(shown));
    }
    buf_init(&known, 0);
    for (size_t i = 0; i < databases->count; i++) {
        names[i] = databases->entries[i].name;
        buf_add_fmt(&known, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = catalog_suggest_name(name, names, databases->count);
    return err_set(err, ERR_NOT_FOUND,
                   "there is no database \"%.*s\"%s%s%s; the databases are %.*s", SLICE_FMT(shown),
                   near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "",
                   SLICE_FMT(slice_sub(buf_slice(&known), 0, 300)));
}

/* The name in /db/{name}/...; false when the path does not begin so. */
static bool
name_in_path(const struct http_exchange *exchange, struct slice *ret_name)
{
    struct slice rest = http_raw_path(exchange);

    if (!slice_starts(rest, prefix)) {
        return false;
    }
    rest = slice_sub(rest, sizeof(prefix) - 1, rest.len);
    slice_split(&rest, '/', ret_name);
    return ret_name->len > 0;
}

/* Line protocol names a database in its own way: "db", "db/retention policy", or a bucket. Clients
 * of old name one that never existed here, so only a name that is known counts. */
static struct database_entry *
find_in_query(struct databases *databases, const struct http_exchange *exchange)
{
    struct slice path = http_path(exchange);
    const char *parameter = slice_is(path, "/write")          ? "db"
                            : slice_is(path, "/api/v2/write") ? "bucket"
                                                              : NULL;
    struct slice value;
    struct slice name;

    if (!parameter || !http_query(exchange, parameter, &value)) {
        return NULL;
    }
    slice_split(&value, '/', &name);
    return find(databases, name);
}

static enum err_code
refuse_conflict(const char *a, struct slice one, const char *b, struct slice other, struct err *err)
{
    return err_set(
        err, ERR_SYNTAX, "%s names the database \"%.*s\" and %s \"%.*s\"; expected one of them", a,
        SLICE_FMT(slice_sub(one, 0, SHOWN_BYTES)), b, SLICE_FMT(slice_sub(other, 0, SHOWN_BYTES)));
}

static enum err_code
choose(struct databases *databases, struct http_exchange *exchange,
       struct database_entry **ret_entry, struct err *err)
{
    struct database_entry *entry = &databases->entries[0];
    struct slice in_path = {"", 0};
    struct slice in_header = {"", 0};
    bool has_path = name_in_path(exchange, &in_path);
    bool has_header = http_header(exchange, "X-Eider-Database", &in_header);

    http_set_prefix(exchange, 0);
    if (has_path && has_header && !slice_eq(in_path, in_header)) {
        return refuse_conflict("the path", in_path, "the header X-Eider-Database", in_header, err);
    }
    if (has_path || has_header) {
        entry = find(databases, has_path ? in_path : in_header);
        if (!entry) {
            return refuse_unknown(databases, exchange, has_path ? in_path : in_header, err);
        }
    }
    if (has_path) {
        http_set_prefix(exchange, sizeof(prefix) - 1 + in_path.len);
    }
    struct database_entry *named = find_in_query(databases, exchange);
    if (named && named != entry && (has_path || has_header)) {
        return refuse_conflict("the parameter", slice_of(named->name),
                               has_path ? "the path" : "the header X-Eider-Database",
                               slice_of(entry->name), err);
    }
    *ret_entry = named ? named : entry;
    return ERR_OK;
}

static enum err_code
say_down(struct databases *databases, struct database_entry *entry, struct err *err)
{
    pthread_mutex_lock(&databases->lock);
    err_set(err, ERR_UNAVAILABLE, "the database %s does not serve: %s", entry->name,
            entry->problem);
    pthread_mutex_unlock(&databases->lock);
    return ERR_UNAVAILABLE;
}

/* The dashboard's paths are relative, so its address ends in a slash. */
static bool
redirect_bare(struct http_exchange *exchange)
{
    struct slice raw = http_raw_path(exchange);
    struct slice target = http_local_target(exchange);
    enum http_method method = http_method(exchange);

    if (http_prefix(exchange).len == 0 || raw.len != http_prefix(exchange).len ||
        (method != HTTP_GET && method != HTTP_HEAD)) {
        return false;
    }
    const char *where = arena_fmt(http_arena(exchange), "%.*s/%.*s", SLICE_FMT(raw),
                                  SLICE_FMT(target.ptr == raw.ptr ? SLICE_LITERAL("") : target));
    http_set_route(exchange, "/db/{name}");
    http_set_status(exchange, 307);
    http_add_header(exchange, "Location", slice_of(where));
    http_reply(exchange);
    return true;
}

void
databases_handle(void *ctx, struct http_exchange *exchange)
{
    struct databases *databases = ctx;
    struct database_entry *entry = NULL;
    struct err err;

    if (choose(databases, exchange, &entry, &err) != ERR_OK) {
        http_set_route(exchange, "not_found");
        reply_error(exchange, &err, 0);
        return;
    }
    struct api *api = atomic_load(&entry->api);
    if (!api) {
        http_set_route(exchange, "unavailable");
        say_down(databases, entry, &err);
        reply_error(exchange, &err, DOWN_RETRY_S);
        return;
    }
    if (!redirect_bare(exchange)) {
        api_handle(api, exchange);
    }
}

enum err_code
databases_accept(void *ctx, struct http_exchange *exchange, uint64_t *ret_body_max, struct err *err)
{
    struct databases *databases = ctx;
    struct database_entry *entry = NULL;
    enum err_code code = choose(databases, exchange, &entry, err);

    if (code != ERR_OK) {
        return code;
    }
    struct api *api = atomic_load(&entry->api);
    return api ? api_accept(api, exchange, ret_body_max, err) : say_down(databases, entry, err);
}

void
databases_handle_metrics(void *ctx, struct http_exchange *exchange)
{
    struct databases *databases = ctx;
    struct api *api = atomic_load(&databases->entries[0].api);
    struct err err;

    if (!api) {
        say_down(databases, &databases->entries[0], &err);
        reply_error(exchange, &err, DOWN_RETRY_S);
        return;
    }
    api_handle_metrics(api, exchange);
}

/* ---- the list ---- */

/* What is wrong with one, or "". */
static void
problem_of(struct databases *databases, struct database_entry *entry, char *ret_text, size_t size)
{
    struct api *api = atomic_load(&entry->api);
    char reason[ERR_MSG_MAX];

    pthread_mutex_lock(&databases->lock);
    snprintf(ret_text, size, "%s", entry->problem);
    pthread_mutex_unlock(&databases->lock);
    if (ret_text[0] == '\0' && api && !api_is_healthy(api, reason, sizeof(reason))) {
        snprintf(ret_text, size, "%s", reason);
    }
}

static void
write_limits(struct json_writer *w, const struct database_limits *limits)
{
    const struct {
        const char *name;
        uint64_t value;
    } all[] = {{"disk_bytes_max", limits->disk_bytes_max},
               {"memory_limit", limits->memory_bytes},
               {"series_max", limits->series_max},
               {"unapplied_bytes_max", limits->unapplied_bytes_max},
               {"inflight_bytes_max", limits->inflight_bytes_max},
               {"readers", limits->readers},
               {"rows_per_second", limits->rows_per_second}};

    json_key(w, "limits");
    json_object_begin(w);
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        json_key(w, all[i].name);
        if (all[i].value > 0) {
            json_u64(w, all[i].value);
        } else {
            json_write_null(w);
        }
    }
    json_object_end(w);
}

static void
write_entry(struct databases *databases, struct database_entry *entry, struct json_writer *w)
{
    struct api *api = atomic_load(&entry->api);
    char problem[ERR_MSG_MAX];
    char path[sizeof(prefix) + DATABASE_NAME_MAX];

    problem_of(databases, entry, problem, sizeof(problem));
    snprintf(path, sizeof(path), "%s%s", prefix, entry->name);
    json_object_begin(w);
    json_key(w, "name");
    json_cstr(w, entry->name);
    json_key(w, "path");
    json_cstr(w, path);
    json_key(w, "state");
    json_cstr(w, !api ? "unavailable" : problem[0] ? "unhealthy" : "serving");
    if (problem[0]) {
        json_key(w, "detail");
        json_cstr(w, problem);
    }
    pthread_mutex_lock(&databases->lock);
    json_key(w, "rows_per_second");
    json_f64(w, entry->rows_per_second);
    if (entry->disk_bytes > 0) {
        json_key(w, "disk_bytes");
        json_u64(w, entry->disk_bytes);
    }
    pthread_mutex_unlock(&databases->lock);
    if (api) {
        api_describe(api, w);
    }
    write_limits(w, &entry->limits);
    json_object_end(w);
}

void
get_databases(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct databases *databases = api->databases;
    bool all = tokens_see_all(api, exchange);
    struct json_writer w;
    uint64_t count = 0;

    (void)route;
    reply_json(exchange, &w);
    json_object_begin(&w);
    json_key(&w, "databases");
    json_array_begin(&w);
    if (databases) {
        pthread_rwlock_rdlock(&databases->apis);
    }
    for (size_t i = 0; databases && i < databases->count; i++) {
        if (all || i == api->database_index) {
            write_entry(databases, &databases->entries[i], &w);
            count++;
        }
    }
    if (databases) {
        pthread_rwlock_unlock(&databases->apis);
    }
    json_array_end(&w);
    json_key(&w, "count");
    json_u64(&w, count);
    json_object_end(&w);
    http_reply(exchange);
}

void
write_databases_health(struct api *api, const struct http_exchange *exchange, struct json_writer *w)
{
    struct databases *databases = api->databases;
    char problem[ERR_MSG_MAX];
    uint64_t unhealthy = 0;

    if (!databases || databases->count < 2 || api->database_index != 0) {
        return;
    }
    bool all = tokens_see_all(api, exchange);
    if (all) {
        json_key(w, "databases");
        json_object_begin(w);
    }
    for (size_t i = 1; i < databases->count; i++) {
        struct database_entry *entry = &databases->entries[i];
        pthread_rwlock_rdlock(&databases->apis);
        problem_of(databases, entry, problem, sizeof(problem));
        pthread_rwlock_unlock(&databases->apis);
        unhealthy += problem[0] != '\0';
        if (all) {
            json_key(w, entry->name);
            json_object_begin(w);
            json_key(w, "status");
            json_cstr(w, problem[0] ? "unhealthy" : "healthy");
            if (problem[0]) {
                json_key(w, "detail");
                json_cstr(w, problem);
            }
            json_object_end(w);
        }
    }
    if (all) {
        json_object_end(w);
    }
    json_key(w, "databases_unhealthy");
    json_u64(w, unhealthy);
}
