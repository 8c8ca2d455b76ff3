/* Reading gateway.upstreams. */
#include "server/config_upstreams.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "codec/decimal.h"
#include "server/config_internal.h"
#include "server/suggest.h"

#define FIELD(field) offsetof(struct config_upstream, field)
#define HOUR_MS INT64_C(3600000)

enum { PATH_BYTES = 200, KEYS_DEPTH = 2 };

static const char *const abort_words[] = {"reserved", "nothing", NULL};

static const struct config_setting keys[] = {
    {.name = "base_url", .type = CONFIG_TEXT, .offset = FIELD(base_url)},
    {.name = "api_name", .type = CONFIG_TEXT, .offset = FIELD(api_name)},
    {.name = "ca_file", .type = CONFIG_TEXT, .offset = FIELD(ca_file)},
    {.name = "credits_per_call", .type = CONFIG_TEXT, .offset = FIELD(credits_per_call)},
    {.name = "forward_credentials",
     .type = CONFIG_BOOL,
     .offset = FIELD(forward_credentials),
     .preset = "true"},
    {.name = "forwarded_for",
     .type = CONFIG_BOOL,
     .offset = FIELD(forwarded_for),
     .preset = "true"},
    {.name = "charge_on_abort",
     .type = CONFIG_CHOICE,
     .offset = FIELD(charge_on_abort),
     .choices = abort_words,
     .preset = "reserved"},
    {.name = "connect_timeout",
     .type = CONFIG_DURATION,
     .offset = FIELD(connect_timeout_ms),
     .min = 1,
     .max = HOUR_MS,
     .preset = "5s"},
    {.name = "timeout",
     .type = CONFIG_DURATION,
     .offset = FIELD(timeout_ms),
     .min = 1,
     .max = HOUR_MS,
     .preset = "30s"},
    {.name = "idle_timeout",
     .type = CONFIG_DURATION,
     .offset = FIELD(idle_timeout_ms),
     .min = 1,
     .max = HOUR_MS,
     .preset = "60s"},
    {.name = "retries",
     .type = CONFIG_INT,
     .offset = FIELD(retries),
     .max = GATEWAY_RETRIES_MAX,
     .preset = "0"},
    {.name = "retry_delay",
     .type = CONFIG_DURATION,
     .offset = FIELD(retry_delay_ms),
     .min = 1,
     .max = HOUR_MS,
     .preset = "250ms"},
    {.name = "retry_delay_max",
     .type = CONFIG_DURATION,
     .offset = FIELD(retry_delay_max_ms),
     .min = 1,
     .max = HOUR_MS,
     .preset = "10s"},
    {.name = "breaker.enabled",
     .type = CONFIG_BOOL,
     .offset = FIELD(breaker_enabled),
     .preset = "true"},
    {.name = "breaker.pause_after",
     .type = CONFIG_INT,
     .offset = FIELD(breaker_pause_after),
     .min = 1,
     .max = 1000000,
     .preset = "10"},
    {.name = "breaker.open_after",
     .type = CONFIG_INT,
     .offset = FIELD(breaker_open_after),
     .min = 1,
     .max = 1000000,
     .preset = "20"},
    {.name = "breaker.pause",
     .type = CONFIG_DURATION,
     .offset = FIELD(breaker_pause_ms),
     .min = 1,
     .max = 24 * HOUR_MS,
     .preset = "60s"},
    {.name = "breaker.open",
     .type = CONFIG_DURATION,
     .offset = FIELD(breaker_open_ms),
     .min = 1,
     .max = 24 * HOUR_MS,
     .preset = "5m"},
};

enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };

struct reader {
    const struct config_yaml *yaml;
    struct config_upstream *upstream;
    size_t lines[KEY_COUNT]; /* where a key was given, to refuse it a second time */
    bool missed;             /* a value names a variable that is not set */
    struct err *err;
};

static size_t
line_of(const yaml_node_t *node)
{
    return node->start_mark.line + 1;
}

static struct slice
text_of(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE
               ? slice_make(node->data.scalar.value, node->data.scalar.length)
               : SLICE_LITERAL("?");
}

static enum err_code
refuse_key(const struct reader *reader, const char *path, size_t line)
{
    struct suggest suggest;

    suggest_init(&suggest, slice_of(path));
    for (size_t i = 0; i < KEY_COUNT; i++) {
        suggest_offer(&suggest, keys[i].name);
    }
    suggest_offer(&suggest, "headers");
    return err_set(reader->err, ERR_USAGE, "%s:%zu: unknown setting gateway.upstreams.%s.%s%s%s%s",
                   reader->yaml->name, line, reader->upstream->name, path,
                   suggest.best ? "; did you mean " : "", suggest.best ? suggest.best : "",
                   suggest.best ? "?" : "; see docs/metering.md");
}

static enum err_code
set_key(struct reader *reader, size_t index, const yaml_node_t *node)
{
    char name[PATH_BYTES];
    struct config_setting setting = keys[index];
    struct config_origin origin = {.layer = CONFIG_FILE};
    struct buf text BUF_AUTO = {0};

    snprintf(name, sizeof(name), "gateway.upstreams.%s.%s", reader->upstream->name, setting.name);
    setting.name = name;
    snprintf(origin.where, sizeof(origin.where), "%s:%zu", reader->yaml->name, line_of(node));
    if (reader->lines[index]) {
        return err_set(reader->err, ERR_USAGE, "%s: %s is given twice; first in line %zu",
                       origin.where, name, reader->lines[index]);
    }
    reader->lines[index] = line_of(node);
    if (node->type != YAML_SCALAR_NODE) {
        return config_refuse(&setting, SLICE_LITERAL("{...}"), &origin, reader->err);
    }
    buf_init(&text, CONFIG_FILE_BYTES_MAX);
    bool missed = false;
    enum err_code code = config_yaml_expand(reader->yaml, name, node, &text, &missed, reader->err);
    if (missed) {
        reader->missed = true;
        return code;
    }
    if (code == ERR_OK) {
        code = config_set_value(reader->upstream, &setting, buf_slice(&text), &origin, reader->err);
    }
    int64_t credits;
    const char *amount = reader->upstream->credits_per_call;
    if (code == ERR_OK && amount && (!decimal_parse(slice_of(amount), &credits) || credits < 0)) {
        code = err_set(reader->err, ERR_USAGE,
                       "%s: %s is \"%.40s\"; expected credits from 0 with at most 6 decimals",
                       origin.where, name, amount);
    }
    return code;
}

static enum err_code
read_headers(struct reader *reader, const yaml_node_t *node)
{
    struct config_upstream *upstream = reader->upstream;

    if (node->type != YAML_MAPPING_NODE) {
        return err_set(reader->err, ERR_USAGE,
                       "%s:%zu: gateway.upstreams.%s.headers: expected a mapping, NAME: VALUE",
                       reader->yaml->name, line_of(node), upstream->name);
    }
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->yaml->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->yaml->document, pair->value);
        struct buf text BUF_AUTO = {0};
        buf_init(&text, CONFIG_FILE_BYTES_MAX);
        if (upstream->header_count == GATEWAY_HEADERS_MAX || key->type != YAML_SCALAR_NODE ||
            value->type != YAML_SCALAR_NODE) {
            return err_set(reader->err, ERR_USAGE,
                           "%s:%zu: gateway.upstreams.%s.headers: expected at most %d texts, NAME: "
                           "VALUE",
                           reader->yaml->name, line_of(key), upstream->name, GATEWAY_HEADERS_MAX);
        }
        char name[PATH_BYTES];
        bool missed = false;
        snprintf(name, sizeof(name), "gateway.upstreams.%s.headers.%.*s", upstream->name,
                 SLICE_FMT(slice_sub(text_of(key), 0, 80)));
        enum err_code code =
            config_yaml_expand(reader->yaml, name, value, &text, &missed, reader->err);
        if (code != ERR_OK) {
            return code;
        }
        if (missed) {
            reader->missed = true;
            continue;
        }
        size_t at = upstream->header_count++;
        upstream->header_names[at] = mem_strdup(text_of(key));
        upstream->header_values[at] = mem_strdup(buf_slice(&text));
    }
    return ERR_OK;
}

static size_t
find_key(const char *path)
{
    size_t index = 0;

    while (index < KEY_COUNT && strcmp(keys[index].name, path) != 0) {
        index++;
    }
    return index;
}

static enum err_code
read_keys(struct reader *reader, const yaml_node_t *node, const char *prefix, int depth)
{
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(reader->yaml->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(reader->yaml->document, pair->value);
        char path[PATH_BYTES];
        snprintf(path, sizeof(path), "%s%.*s", prefix, SLICE_FMT(slice_sub(text_of(key), 0, 80)));
        size_t index = find_key(path);
        enum err_code code;
        if (index < KEY_COUNT) {
            code = set_key(reader, index, value);
        } else if (strcmp(path, "headers") == 0) {
            code = read_headers(reader, value);
        } else if (strcmp(path, "breaker") == 0 && value->type == YAML_MAPPING_NODE &&
                   depth < KEYS_DEPTH) {
            code = read_keys(reader, value, "breaker.", depth + 1);
        } else {
            code = refuse_key(reader, path, line_of(key));
        }
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}

static enum err_code
set_defaults(struct config_upstream *upstream, struct err *err)
{
    const struct config_origin origin = {.layer = CONFIG_DEFAULT, .where = "default"};
    enum err_code code = ERR_OK;

    for (size_t i = 0; i < KEY_COUNT && code == ERR_OK; i++) {
        if (keys[i].preset) {
            code = config_set_value(upstream, &keys[i], slice_of(keys[i].preset), &origin, err);
        }
    }
    return code;
}

static enum err_code
read_upstream(const struct config_yaml *yaml, const yaml_node_t *key, const yaml_node_t *value,
              struct config_upstreams *upstreams, struct err *err)
{
    if (upstreams->count == GATEWAY_UPSTREAMS_MAX) {
        return err_set(err, ERR_USAGE, "%s:%zu: more than %d gateway.upstreams", yaml->name,
                       line_of(key), GATEWAY_UPSTREAMS_MAX);
    }
    struct config_upstream *upstream = &upstreams->items[upstreams->count++];
    struct reader reader = {.yaml = yaml, .upstream = upstream, .err = err};
    upstream->name = mem_strdup(slice_sub(text_of(key), 0, 80));
    if (value->type != YAML_MAPPING_NODE) {
        return err_set(err, ERR_USAGE,
                       "%s:%zu: gateway.upstreams.%s: expected settings below it, such as "
                       "\"base_url:\"",
                       yaml->name, line_of(value), upstream->name);
    }
    enum err_code code = set_defaults(upstream, err);
    if (code == ERR_OK) {
        code = read_keys(&reader, value, "", 0);
    }
    if (code != ERR_OK || reader.missed) {
        return code; /* what lacks a value is checked by whoever uses it: a server has it */
    }
    struct gateway_upstream options;
    config_upstream_options(upstream, &options);
    code = gateway_check(&options, err);
    return code == ERR_OK ? code : err_context(err, code, "%s:%zu", yaml->name, line_of(key));
}

enum err_code
config_upstreams_read(const struct config_yaml *yaml, const yaml_node_t *node,
                      struct config_upstreams **ret_upstreams, struct err *err)
{
    bool empty = node->type == YAML_SCALAR_NODE &&
                 (node->data.scalar.length == 0 || slice_is(text_of(node), "null") ||
                  slice_is(text_of(node), "~"));
    enum err_code code = ERR_OK;

    if (empty) {
        return ERR_OK;
    }
    if (node->type != YAML_MAPPING_NODE) {
        return err_set(err, ERR_USAGE,
                       "%s:%zu: gateway.upstreams: expected a mapping of names to settings",
                       yaml->name, line_of(node));
    }
    struct config_upstreams *upstreams = mem_zalloc(1, sizeof(*upstreams));
    for (const yaml_node_pair_t *pair = node->data.mapping.pairs.start;
         pair < node->data.mapping.pairs.top && code == ERR_OK; pair++) {
        const yaml_node_t *key = yaml_document_get_node(yaml->document, pair->key);
        const yaml_node_t *value = yaml_document_get_node(yaml->document, pair->value);
        code = read_upstream(yaml, key, value, upstreams, err);
        const char *name = upstreams->items[upstreams->count - 1].name;
        for (size_t i = 0; code == ERR_OK && i + 1 < upstreams->count; i++) {
            if (strcmp(upstreams->items[i].name, name) == 0) {
                code = err_set(err, ERR_USAGE, "%s:%zu: gateway.upstreams.%s is given twice",
                               yaml->name, line_of(key), name);
            }
        }
    }
    if (code != ERR_OK) {
        config_upstreams_free(upstreams);
        return code;
    }
    *ret_upstreams = upstreams;
    return ERR_OK;
}

void
config_upstreams_free(struct config_upstreams *upstreams)
{
    for (size_t i = 0; upstreams && i < upstreams->count; i++) {
        struct config_upstream *upstream = &upstreams->items[i];
        free(upstream->name);
        free(upstream->base_url);
        free(upstream->api_name);
        free(upstream->ca_file);
        free(upstream->credits_per_call);
        for (size_t j = 0; j < upstream->header_count; j++) {
            free(upstream->header_names[j]);
            free(upstream->header_values[j]);
        }
    }
    free(upstreams);
}

void
config_upstream_options(const struct config_upstream *upstream,
                        struct gateway_upstream *ret_options)
{
    struct gateway_upstream options = {
        .name = upstream->name,
        .base_url = upstream->base_url,
        .api_name = upstream->api_name,
        .ca_file = upstream->ca_file,
        .header_count = upstream->header_count,
        .drop_credentials = !upstream->forward_credentials,
        .no_forwarded_for = !upstream->forwarded_for,
        .connect_timeout_ms = (int)upstream->connect_timeout_ms,
        .timeout_ms = (int)upstream->timeout_ms,
        .idle_timeout_ms = (int)upstream->idle_timeout_ms,
        .retries = (unsigned)upstream->retries,
        .retry_delay_ms = (int)upstream->retry_delay_ms,
        .retry_delay_max_ms = (int)upstream->retry_delay_max_ms,
        .abort_is_free = upstream->charge_on_abort == CONFIG_ABORT_NOTHING,
        .breaker = {.off = !upstream->breaker_enabled,
                    .pause_after = (unsigned)upstream->breaker_pause_after,
                    .open_after = (unsigned)upstream->breaker_open_after,
                    .pause_ms = upstream->breaker_pause_ms,
                    .open_ms = upstream->breaker_open_ms},
    };

    for (size_t i = 0; i < upstream->header_count; i++) {
        options.headers[i].name = upstream->header_names[i];
        options.headers[i].value = upstream->header_values[i];
    }
    if (upstream->credits_per_call) {
        /* It was checked when it was read. */
        (void)decimal_parse(slice_of(upstream->credits_per_call), &options.default_credits);
    }
    *ret_options = options;
}
