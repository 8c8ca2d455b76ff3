/* Definitions of budgets as JSON. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "codec/decimal.h"
#include "codec/json_read.h"
#include "codec/json_write.h"
#include "codec/time.h"
#include "meter/budget.h"

enum { PROBES_MAX = 1000, PAUSE_MS_MAX = 3600000, DEFINITION_BYTES_MAX = 64 * 1024 };

#define MINUTE_US (60 * TIME_US_PER_S)
#define DEFAULT_LIMIT (1000000 * DECIMAL_ONE)

static const char *const window_names[] = {[WINDOW_SLIDING] = "sliding",
                                           [WINDOW_HOUR] = "hour",
                                           [WINDOW_DAY] = "day",
                                           [WINDOW_MONTH] = "month",
                                           NULL};
static const char *const mode_names[] = {[BUDGET_ENFORCE] = "enforce",
                                         [BUDGET_METRICS_ONLY] = "metrics_only",
                                         [BUDGET_FORCED_OPEN] = "forced_open",
                                         NULL};

const char *
budget_window_name(enum budget_window window)
{
    assert(window <= WINDOW_MONTH);
    return window_names[window];
}

const char *
budget_mode_name(enum budget_mode mode)
{
    assert(mode <= BUDGET_FORCED_OPEN);
    return mode_names[mode];
}

const char *
breaker_state_name(enum breaker_state state)
{
    static const char *const names[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};

    assert(state <= BREAKER_HALF_OPEN);
    return names[state];
}

struct parse {
    struct budget_def *def;
    const char *name;
    struct json_reader *json;
    struct err *err;
};

void
budget_def_init(struct budget_def *def, const char *name)
{
    *def = (struct budget_def){.window = WINDOW_SLIDING,
                               .window_us = 60 * MINUTE_US,
                               .hard_limit = DEFAULT_LIMIT,
                               .mode = BUDGET_ENFORCE,
                               .half_open_probes = 1,
                               .half_open_pause_us = 10 * TIME_US_PER_S};
    snprintf(def->name, sizeof(def->name), "%s", name ? name : "");
}

static enum err_code
wrong(struct parse *parse, const char *field, const struct scalar *value, const char *expected)
{
    struct slice text =
        slice_sub(value->type == SCALAR_NUMBER ? value->number.text : value->text, 0, 80);

    if (value->type == SCALAR_NULL || value->type == SCALAR_BOOL) {
        text = slice_of(value->type == SCALAR_NULL ? "null" : value->boolean ? "true" : "false");
    }
    return err_set(parse->err, ERR_INVALID, "%s is %.*s, expected %s", field, SLICE_FMT(text),
                   expected);
}

static enum err_code
take_word(struct parse *parse, const char *field, const struct scalar *value,
          const char *const *words, const char *expected, int *ret_index)
{
    for (int i = 0; value->type == SCALAR_STRING && words[i]; i++) {
        if (slice_is(value->text, words[i])) {
            *ret_index = i;
            return ERR_OK;
        }
    }
    return wrong(parse, field, value, expected);
}

static enum err_code
take_credits(struct parse *parse, const char *field, const struct scalar *value, int64_t *ret)
{
    struct slice text = value->type == SCALAR_NUMBER ? value->number.text : value->text;

    if ((value->type != SCALAR_NUMBER && value->type != SCALAR_STRING) ||
        !decimal_parse(text, ret) || *ret < 0) {
        return wrong(parse, field, value,
                     "credits from 0 to 999999999999.999999 with at most 6 decimals");
    }
    return ERR_OK;
}

static enum err_code
take_count(struct parse *parse, const char *field, const struct scalar *value, int64_t max,
           int64_t min, int64_t *ret)
{
    char expected[80];
    int64_t micro;

    snprintf(expected, sizeof(expected), "a whole number from %lld to %lld", (long long)min,
             (long long)max);
    if (value->type != SCALAR_NUMBER || !decimal_parse(value->number.text, &micro) ||
        micro % DECIMAL_ONE != 0 || micro / DECIMAL_ONE < min || micro / DECIMAL_ONE > max) {
        return wrong(parse, field, value, expected);
    }
    *ret = micro / DECIMAL_ONE;
    return ERR_OK;
}

static enum err_code
take_name(struct parse *parse, const struct scalar *value)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

    if (value->type != SCALAR_STRING || value->text.len == 0 || value->text.len > BUDGET_NAME_MAX) {
        return wrong(parse, "name", value, "1 to 64 of A-Z a-z 0-9 . _ -");
    }
    for (size_t i = 0; i < value->text.len; i++) {
        if (!memchr(allowed, value->text.ptr[i], sizeof(allowed) - 1)) {
            return wrong(parse, "name", value, "1 to 64 of A-Z a-z 0-9 . _ -");
        }
    }
    if (parse->name && !slice_is(value->text, parse->name)) {
        return wrong(parse, "name", value, "the name in the path, or nothing");
    }
    slice_to_cstr(value->text, parse->def->name, sizeof(parse->def->name));
    return ERR_OK;
}

static bool
has_nul(struct slice text)
{
    return text.len > 0 && memchr(text.ptr, '\0', text.len) != NULL;
}

static enum err_code
take_dimension(struct parse *parse, struct slice key, const struct scalar *value)
{
    char field[64];

    snprintf(field, sizeof(field), "scope.%.*s", SLICE_FMT(slice_sub(key, 0, 40)));
    for (size_t i = 0; i < DIM_COUNT; i++) {
        if (!slice_is(key, budget_dimension_name((enum budget_dimension)i))) {
            continue;
        }
        if (value->type == SCALAR_NULL) {
            return ERR_OK;
        }
        if (value->type != SCALAR_STRING || value->text.len == 0 || has_nul(value->text) ||
            !slice_to_cstr(value->text, parse->def->value[i], sizeof(parse->def->value[i]))) {
            return wrong(parse, field, value,
                         "a text of 1 to 256 bytes without NUL, or \"*\" for each");
        }
        parse->def->has_value[i] = true;
        return ERR_OK;
    }
    return err_set(parse->err, ERR_INVALID,
                   "%s is unknown, expected api, endpoint, key, run_id or project", field);
}

static enum err_code
take_scope(struct parse *parse, const struct scalar *value)
{
    struct slice key;
    struct scalar item;
    enum err_code code = ERR_OK;

    if (value->type == SCALAR_NULL ||
        (value->type == SCALAR_STRING && slice_is(value->text, "global"))) {
        return ERR_OK;
    }
    if (value->type != SCALAR_OBJECT) {
        return wrong(parse, "scope", value,
                     "an object of api, endpoint, key, run_id, project (empty: global)");
    }
    while (code == ERR_OK && json_read_key(parse->json, &key)) {
        if (!json_read_value(parse->json, &item) ||
            (item.type >= SCALAR_OBJECT && !json_read_rest(parse->json, &item))) {
            break;
        }
        code = take_dimension(parse, key, &item);
    }
    return code;
}

static enum err_code
take_description(struct parse *parse, const struct scalar *value)
{
    if (value->type == SCALAR_NULL) {
        return ERR_OK;
    }
    if (value->type != SCALAR_STRING || has_nul(value->text) ||
        !slice_to_cstr(value->text, parse->def->description, sizeof(parse->def->description))) {
        return wrong(parse, "description", value, "a text of at most 255 bytes without NUL");
    }
    return ERR_OK;
}

static enum err_code
take_numbers(struct parse *parse, struct slice key, const struct scalar *value, bool *ret_known)
{
    struct budget_def *def = parse->def;
    int64_t number = 0;
    enum err_code code;

    *ret_known = true;
    if (slice_is(key, "hard_limit")) {
        return take_credits(parse, "hard_limit", value, &def->hard_limit);
    }
    if (slice_is(key, "soft_limit")) {
        return value->type == SCALAR_NULL
                   ? ERR_OK
                   : take_credits(parse, "soft_limit", value, &def->soft_limit);
    }
    if (slice_is(key, "window_minutes")) {
        code = take_count(parse, "window_minutes", value, BUDGET_WINDOW_MINUTES_MAX, 1, &number);
        def->window_us = code == ERR_OK ? number * MINUTE_US : def->window_us;
        return code;
    }
    if (slice_is(key, "half_open_probes")) {
        code = take_count(parse, "half_open_probes", value, PROBES_MAX, 0, &number);
        def->half_open_probes = code == ERR_OK ? (unsigned)number : def->half_open_probes;
        return code;
    }
    if (slice_is(key, "half_open_pause_ms")) {
        code = take_count(parse, "half_open_pause_ms", value, PAUSE_MS_MAX, 0, &number);
        def->half_open_pause_us =
            code == ERR_OK ? number * TIME_US_PER_MS : def->half_open_pause_us;
        return code;
    }
    *ret_known = false;
    return ERR_OK;
}

static enum err_code
take_field(struct parse *parse, struct slice key, const struct scalar *value)
{
    int word = 0;
    bool known;
    enum err_code code = take_numbers(parse, key, value, &known);

    if (known) {
        return code;
    }
    if (slice_is(key, "name")) {
        return take_name(parse, value);
    }
    if (slice_is(key, "scope")) {
        return take_scope(parse, value);
    }
    if (slice_is(key, "window")) {
        code =
            take_word(parse, "window", value, window_names, "sliding, hour, day or month", &word);
        parse->def->window = code == ERR_OK ? (enum budget_window)word : parse->def->window;
        return code;
    }
    if (slice_is(key, "mode")) {
        code = take_word(parse, "mode", value, mode_names, "enforce, metrics_only or forced_open",
                         &word);
        parse->def->mode = code == ERR_OK ? (enum budget_mode)word : parse->def->mode;
        return code;
    }
    if (slice_is(key, "description")) {
        return take_description(parse, value);
    }
    return err_set(parse->err, ERR_INVALID,
                   "%.*s is unknown, expected name, scope, window, window_minutes, hard_limit, "
                   "soft_limit, mode, half_open_probes, half_open_pause_ms or description",
                   SLICE_FMT(slice_sub(key, 0, 60)));
}

static enum err_code
parse_object(struct parse *parse)
{
    struct scalar value;
    struct slice key;
    enum err_code code = ERR_OK;
    bool has_limit = false;

    if (!json_read_value(parse->json, &value)) {
        return json_read_error(parse->json, parse->err);
    }
    if (value.type != SCALAR_OBJECT) {
        return err_set(parse->err, ERR_INVALID, "a budget's definition is a JSON object");
    }
    while (code == ERR_OK && json_read_key(parse->json, &key)) {
        has_limit = has_limit || slice_is(key, "hard_limit");
        bool is_scope = slice_is(key, "scope");
        if (!json_read_value(parse->json, &value)) {
            break;
        }
        bool nested = value.type == SCALAR_ARRAY || (value.type == SCALAR_OBJECT && !is_scope);
        if (nested && !json_read_rest(parse->json, &value)) {
            break;
        }
        code = take_field(parse, key, &value);
    }
    if (code == ERR_OK && (json_read_failed(parse->json) || !json_read_end(parse->json))) {
        code = json_read_error(parse->json, parse->err);
    }
    if (code == ERR_OK && !has_limit) {
        code = err_set(parse->err, ERR_INVALID, "hard_limit is missing, expected credits");
    }
    return code;
}

enum err_code
budget_def_parse(struct slice json, const char *name, struct budget_def *ret_def, struct err *err)
{
    ARENA_AUTO struct arena arena;
    struct json_reader reader;
    struct budget_def def;
    struct parse parse = {.def = &def, .name = name, .json = &reader, .err = err};

    arena_init(&arena, DEFINITION_BYTES_MAX);
    budget_def_init(&def, name);
    json_read_init(&reader, json, &arena);
    enum err_code code = parse_object(&parse);
    if (code != ERR_OK) {
        return code;
    }
    if (def.name[0] == '\0') {
        return err_set(err, ERR_INVALID, "name is missing, expected 1 to 64 of A-Z a-z 0-9 . _ -");
    }
    if (def.soft_limit > def.hard_limit) {
        return err_set(err, ERR_INVALID, "soft_limit is above hard_limit, expected at most it");
    }
    *ret_def = def;
    return ERR_OK;
}

void
budget_def_write(const struct budget_def *def, struct buf *ret_json)
{
    struct json_writer json;

    json_init(&json, ret_json);
    json_object_begin(&json);
    json_key(&json, "name");
    json_cstr(&json, def->name);
    json_key(&json, "scope");
    json_object_begin(&json);
    for (size_t i = 0; i < DIM_COUNT; i++) {
        if (def->has_value[i]) {
            json_key(&json, budget_dimension_name((enum budget_dimension)i));
            json_cstr(&json, def->value[i]);
        }
    }
    json_object_end(&json);
    json_key(&json, "window");
    json_cstr(&json, window_names[def->window]);
    if (def->window == WINDOW_SLIDING) {
        json_key(&json, "window_minutes");
        json_i64(&json, def->window_us / MINUTE_US);
    }
    json_key_decimal(&json, "hard_limit", def->hard_limit);
    if (def->soft_limit > 0) {
        json_key_decimal(&json, "soft_limit", def->soft_limit);
    }
    json_key(&json, "mode");
    json_cstr(&json, mode_names[def->mode]);
    json_key(&json, "half_open_probes");
    json_u64(&json, def->half_open_probes);
    json_key(&json, "half_open_pause_ms");
    json_i64(&json, def->half_open_pause_us / TIME_US_PER_MS);
    if (def->description[0] != '\0') {
        json_key(&json, "description");
        json_cstr(&json, def->description);
    }
    json_object_end(&json);
}
