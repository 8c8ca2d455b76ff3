/* POST /api/v1/spend/simulate: what a budget would have refused. Reads the log: on a job thread. */
#include "api/metering.h"

#include <stdlib.h>

#include "base/mem.h"
#include "codec/json_read.h"
#include "codec/time.h"
#include "meter/event_query.h"

/* The body without "from" and "to", for the reader of definitions; those two apart. What is no
 * object goes through as it is: that reader says what is wrong with it. */
static enum err_code
take_range(struct http_exchange *exchange, struct buf *ret_def, struct slice *ret_from,
           struct slice *ret_to, bool *ret_named, struct err *err)
{
    struct json_reader json;
    struct scalar value;
    struct slice key;
    struct json_writer w;

    json_read_init(&json, http_body(exchange), http_arena(exchange));
    json_init(&w, ret_def);
    if (!json_read_value(&json, &value) || value.type != SCALAR_OBJECT) {
        buf_add_slice(ret_def, http_body(exchange));
        return ERR_OK;
    }
    json_object_begin(&w);
    while (json_read_key(&json, &key)) {
        if (!json_read_value(&json, &value) ||
            (value.type >= SCALAR_OBJECT && !json_read_rest(&json, &value))) {
            break;
        }
        bool is_from = slice_is(key, "from");
        if (is_from || slice_is(key, "to")) {
            if (value.type != SCALAR_STRING) {
                return err_set(err, ERR_INVALID, "%s is no text; expected an ISO 8601 time",
                               is_from ? "from" : "to");
            }
            *(is_from ? ret_from : ret_to) = value.text;
            continue;
        }
        *ret_named = *ret_named || slice_is(key, "name");
        json_key_slice(&w, key);
        switch (value.type) {
        case SCALAR_NULL:
            json_write_null(&w);
            break;
        case SCALAR_BOOL:
            json_bool(&w, value.boolean);
            break;
        case SCALAR_STRING:
            json_str(&w, value.text);
            break;
        case SCALAR_NUMBER:
        case SCALAR_OBJECT:
        case SCALAR_ARRAY:
            json_raw(&w, value.text);
            break;
        }
    }
    json_object_end(&w);
    json_read_end(&json);
    return json_read_error(&json, err);
}

static enum err_code
read_time(struct slice text, const char *name, int64_t *ret_us, struct err *err)
{
    if (text.len > 0 && !time_parse_iso8601(text, ret_us)) {
        return err_set(err, ERR_INVALID,
                       "%s is \"%.*s\"; expected an ISO 8601 time such as 2026-01-02T03:04:05Z",
                       name, SLICE_FMT(slice_sub(text, 0, 60)));
    }
    return ERR_OK;
}

static void
write_simulation(struct json_writer *w, const struct spend_simulation *s)
{
    json_object_begin(w);
    json_key(w, "calls");
    json_u64(w, s->calls);
    json_key(w, "refused");
    json_u64(w, s->refused);
    json_key_decimal(w, "credits", s->credits);
    json_key_decimal(w, "credits_refused", s->credits_refused);
    write_time_key(w, "first_refused_at", s->first_refused_us);
    write_time_key(w, "last_refused_at", s->last_refused_us);
    write_time_key(w, "peak_at", s->peak_us);
    json_key_decimal(w, "peak_credits", s->peak_credits);
    json_key(w, "hours");
    json_array_begin(w);
    for (size_t i = 0; i < s->hour_count; i++) {
        json_object_begin(w);
        write_time_key(w, "hour", s->hours[i].hour_us);
        json_key(w, "refused");
        json_u64(w, s->hours[i].refused);
        json_key_decimal(w, "credits_refused", s->hours[i].credits_refused);
        json_object_end(w);
    }
    json_array_end(w);
    json_object_end(w);
}

void
post_simulate(struct api *api, const struct route *route, struct http_exchange *exchange)
{
    struct buf text BUF_AUTO = {0};
    struct slice from = {"", 0};
    struct slice to = {"", 0};
    bool named = false;
    struct budget_def def;
    int64_t to_us = clock_wall_us(api->clock);
    int64_t from_us = INT64_MIN;
    struct json_writer w;
    struct err err;

    (void)route;
    buf_init(&text, 0);
    enum err_code code = take_range(exchange, &text, &from, &to, &named, &err);
    if (code == ERR_OK) {
        code = budget_def_parse(buf_slice(&text), named ? NULL : "simulation", &def, &err);
    }
    if (code == ERR_OK) {
        code = read_time(to, "to", &to_us, &err);
    }
    if (code == ERR_OK) {
        from_us = to_us - TIME_US_PER_DAY;
        code = read_time(from, "from", &from_us, &err);
    }
    if (code == ERR_OK && from_us > to_us) {
        code = err_set(&err, ERR_INVALID, "from is behind to; expected an earlier time");
    }
    struct spend_simulation *simulation = mem_zalloc(1, sizeof(*simulation));
    if (code == ERR_OK) {
        code = spend_simulate(api->engine, &def, from_us, to_us, simulation, &err);
    }
    if (code == ERR_OK) {
        reply_json(exchange, &w);
        write_simulation(&w, simulation);
        http_reply(exchange);
    } else {
        metering_error(exchange, &err);
    }
    free(simulation);
}
