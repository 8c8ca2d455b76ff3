/* Price books as JSON: for the API, and for the digest of a version. */
#include <assert.h>
#include <stdio.h>

#include "codec/decimal.h"
#include "codec/json_write.h"
#include "meter/price_internal.h"

static void
write_texts(struct json_writer *json, const char *key, const char *const *texts, size_t count)
{
    if (count == 0) {
        return;
    }
    json_key(json, key);
    json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        json_cstr(json, texts[i]);
    }
    json_array_end(json);
}

static void
write_source(struct json_writer *json, const struct price_source *source)
{
    const char *const *names = (const char *const *)source->names;

    json_object_begin(json);
    switch (source->kind) {
    case SOURCE_QUERY:
        write_texts(json, "query", names, source->name_count);
        break;
    case SOURCE_FIELD:
        write_texts(json, "field", names, source->name_count);
        break;
    case SOURCE_SPAN:
        json_key(json, "span");
        json_object_begin(json);
        json_key(json, "from");
        json_cstr(json, source->from);
        json_key(json, "to");
        json_cstr(json, source->to);
        json_key(json, "step");
        json_cstr(json, source->step);
        json_object_end(json);
        break;
    case SOURCE_FORMULA:
        json_key(json, "formula");
        json_cstr(json, source->formula.source);
        break;
    }
    json_object_end(json);
}

static void
write_params(struct json_writer *json, const struct price_book *book)
{
    json_key(json, "params");
    json_object_begin(json);
    for (size_t i = 0; i < book->param_count; i++) {
        json_key(json, book->params[i].name);
        json_array_begin(json);
        for (size_t j = 0; j < book->params[i].source_count; j++) {
            write_source(json, &book->params[i].sources[j]);
        }
        json_array_end(json);
    }
    json_object_end(json);
}

static void
write_conditions(struct json_writer *json, const char *key,
                 const struct price_condition *conditions, size_t count)
{
    if (count == 0) {
        return;
    }
    json_key(json, key);
    json_object_begin(json);
    for (size_t i = 0; i < count; i++) {
        if (conditions[i].value_count > 0) {
            write_texts(json, conditions[i].name, (const char *const *)conditions[i].values,
                        conditions[i].value_count);
            continue;
        }
        json_key(json, conditions[i].name);
        json_object_begin(json);
        json_key(json, "exists");
        json_bool(json, conditions[i].exists);
        json_object_end(json);
    }
    json_object_end(json);
}

static void
write_statuses(struct json_writer *json, const struct price_rule *rule)
{
    if (rule->status_count == 0) {
        return;
    }
    json_key(json, "status");
    json_array_begin(json);
    for (size_t i = 0; i < rule->status_count; i++) {
        char text[32];
        snprintf(text, sizeof(text), "%d-%d", rule->statuses[i].from, rule->statuses[i].to);
        json_cstr(json, text);
    }
    json_array_end(json);
}

static void
write_rule(struct json_writer *json, const struct price_rule *rule)
{
    json_object_begin(json);
    json_key(json, "name");
    json_cstr(json, rule->name);
    json_key(json, "match");
    json_object_begin(json);
    write_texts(json, "method", (const char *const *)rule->methods, rule->method_count);
    write_texts(json, "path", (const char *const *)rule->paths, rule->path_count);
    write_conditions(json, "query", rule->query, rule->query_count);
    write_conditions(json, "fields", rule->fields, rule->field_count);
    write_statuses(json, rule);
    json_object_end(json);
    if (rule->when.nodes) {
        json_key(json, "when");
        json_cstr(json, rule->when.source);
    }
    json_key(json, "credits");
    if (rule->credits.names == 0) {
        const char *problem;
        price_wide value = 0;
        formula_number(&rule->credits, NULL, NULL, &value, &problem);
        char text[DECIMAL_TEXT_MAX];
        size_t len = decimal_format(price_wide_to_micro(value), text);
        json_raw(json, slice_make(text, len));
    } else {
        json_cstr(json, rule->credits.source);
    }
    if (rule->has_max) {
        json_key_decimal(json, "max", rule->max);
    }
    if (rule->failure_same) {
        json_key(json, "on_failure");
        json_cstr(json, "same");
    } else {
        json_key_decimal(json, "on_failure", rule->on_failure);
    }
    json_object_end(json);
}

void
price_book_write(const struct price_book *book, bool meaning, struct buf *out)
{
    struct json_writer json;

    json_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "book");
    json_cstr(&json, book->book);
    json_key(&json, "api");
    json_cstr(&json, book->api);
    json_key(&json, "version");
    json_u64(&json, book->version);
    json_key(&json, "effective_from");
    json_time_us(&json, book->effective_from_us);
    if (!meaning) {
        json_key(&json, "active");
        json_bool(&json, book->active);
        json_key(&json, "source");
        json_cstr(&json, book->source);
        json_key(&json, "digest");
        json_cstr(&json, book->digest);
        json_key(&json, "description");
        json_cstr(&json, book->description);
    }
    write_params(&json, book);
    json_key(&json, "rules");
    json_array_begin(&json);
    for (size_t i = 0; i < book->rule_count; i++) {
        write_rule(&json, &book->rules[i]);
    }
    json_array_end(&json);
    json_object_end(&json);
}

void
prices_version_json(const struct prices *prices, size_t index, struct buf *out)
{
    assert(index < prices->count);
    price_book_write(prices->books[index], false, out);
}

void
prices_write_json(const struct prices *prices, struct buf *out)
{
    buf_add_char(out, '[');
    for (size_t i = 0; i < prices->count; i++) {
        if (i) {
            buf_add_char(out, ',');
        }
        price_book_write(prices->books[i], false, out);
    }
    buf_add_char(out, ']');
}
