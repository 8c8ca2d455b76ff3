/*
 * /api/v1/admin/seal, /retention, /cold: sealing days and keeping retention's rules. What would be
 * done is answered at once (dry_run); what is to be done is asked of the maintenance thread, 202
 * with a ticket, and GET /api/v1/admin/cold tells when it is done and how.
 */
#include "api/api_private.h"
#include "store/maintain_json.h"

#include <stdlib.h>

#include "base/mem.h"

enum { HTTP_ACCEPTED = 202, RETRY_S = 5 };

static const char *const words[] = {"false", "true", NULL};

static enum err_code
read_flag(const struct http_exchange *exchange, const char *name, bool *ret_flag, struct err *err)
{
    int word;
    enum err_code code = request_word(exchange, name, words, 0, &word, err);

    if (code == ERR_OK) {
        *ret_flag = word == 1;
    }
    return code;
}

static void
refuse(struct http_exchange *exchange, const struct err *err)
{
    reply_error(exchange, err, err->code == ERR_BUSY || err->code == ERR_UNAVAILABLE ? RETRY_S : 0);
}

static void
reply_ticket(struct http_exchange *exchange, uint64_t ticket)
{
    struct json_writer json;

    http_set_status(exchange, HTTP_ACCEPTED);
    reply_json(exchange, &json);
    json_object_begin(&json);
    json_key(&json, "ticket");
    json_u64(&json, ticket);
    json_key(&json, "status");
    json_cstr(&json, "/api/v1/admin/cold");
    json_object_end(&json);
    http_reply(exchange);
}

static enum err_code
read_seal(const struct http_exchange *exchange, struct maintain_seal *ret_seal, struct err *err)
{
    struct maintain_seal seal = {.table = 0};
    struct slice name;
    enum err_code code = request_time(exchange, "before", 0, &seal.before_us, err);

    if (code == ERR_OK && http_query(exchange, "table", &name)) {
        const struct catalog_table *table = catalog_find(name);
        if (table && table->id == TABLE_METRICS) {
            table = catalog_table(TABLE_SAMPLES);
        }
        if (!table || !table->sealed) {
            char names[CATALOG_NAMES_MAX];
            catalog_name_sealed(names);
            return err_set(err, ERR_INVALID,
                           "table is \"%.*s\"; expected a table that is sealed: %s",
                           SLICE_FMT(slice_sub(name, 0, 60)), names);
        }
        seal.table = table->id;
    }
    if (code == ERR_OK) {
        code = read_flag(exchange, "small", &seal.small, err);
    }
    *ret_seal = seal;
    return code;
}

static void
reply_days(struct http_exchange *exchange, const struct store_day *days, size_t count, bool more)
{
    struct json_writer json;

    reply_json(exchange, &json);
    json_object_begin(&json);
    json_key(&json, "dry_run");
    json_bool(&json, true);
    maintain_json_days(&json, days, count, more);
    json_object_end(&json);
    http_reply(exchange);
}

void
post_seal(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct store_day *days MEM_AUTO = NULL;
    struct maintain_seal seal;
    uint64_t ticket = 0;
    size_t count = 0;
    bool dry_run = false;
    bool more = false;
    struct err err;

    (void)route;
    enum err_code code = read_seal(exchange, &seal, &err);
    code = code ? code : read_flag(exchange, "dry_run", &dry_run, &err);
    if (code == ERR_OK) {
        code = dry_run ? engine_seal_plan(api->engine, &seal, &days, &count, &more, &err)
                       : engine_ask_seal(api->engine, &seal, &ticket, &err);
    }
    if (code != ERR_OK) {
        refuse(exchange, &err);
    } else if (dry_run) {
        reply_days(exchange, days, count, more);
    } else {
        reply_ticket(exchange, ticket);
    }
}

static void
reply_plan(struct http_exchange *exchange, const struct maintain_plan *plan)
{
    struct json_writer json;

    reply_json(exchange, &json);
    json_object_begin(&json);
    json_key(&json, "dry_run");
    json_bool(&json, true);
    maintain_json_plan(&json, plan);
    json_object_end(&json);
    http_reply(exchange);
}

void
post_retention(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct maintain_plan plan MAINTAIN_PLAN_AUTO = {0};
    uint64_t ticket = 0;
    bool dry_run = false;
    struct err err;

    (void)route;
    enum err_code code = read_flag(exchange, "dry_run", &dry_run, &err);
    if (code == ERR_OK) {
        code = dry_run ? engine_retention_plan(api->engine, &plan, &err)
                       : engine_ask_retention(api->engine, &ticket, &err);
    }
    if (code != ERR_OK) {
        refuse(exchange, &err);
    } else if (dry_run) {
        reply_plan(exchange, &plan);
    } else {
        reply_ticket(exchange, ticket);
    }
}

void
get_cold(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct cold_file *files MEM_AUTO = NULL;
    struct maintain_status status;
    struct json_writer json;
    size_t count = 0;
    struct err err;

    (void)route;
    if (engine_cold_list(api->engine, &files, &count, &err) != ERR_OK) {
        refuse(exchange, &err);
        return;
    }
    engine_maintain_status(api->engine, &status);
    reply_json(exchange, &json);
    json_object_begin(&json);
    maintain_json_status(&json, &status);
    maintain_json_files(&json, files, count);
    json_object_end(&json);
    http_reply(exchange);
}
