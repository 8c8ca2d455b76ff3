/* Values of settings: from text into the typed field, and back to text. */
#include <ctype.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "server/config_internal.h"
#include "server/suggest.h"

struct unit {
    const char *name;
    double factor;
};

static const struct unit byte_units[] = {
    {"", 1},
    {"B", 1},
    {"K", 1024},
    {"KB", 1e3},
    {"KiB", 1024},
    {"M", 1048576},
    {"MB", 1e6},
    {"MiB", 1048576},
    {"G", 1073741824},
    {"GB", 1e9},
    {"GiB", 1073741824},
    {"T", 1099511627776},
    {"TB", 1e12},
    {"TiB", 1099511627776},
    {NULL, 0},
};

static const struct unit duration_units[] = {
    {"", 1e3},    {"ms", 1},    {"s", 1e3},    {"sec", 1e3}, {"m", 6e4},
    {"min", 6e4}, {"h", 3.6e6}, {"d", 8.64e7}, {NULL, 0},
};

static bool
parse_bool(struct slice text, bool *ret_value)
{
    static const char *const yes[] = {"true", "yes", "on", "1", NULL};
    static const char *const no[] = {"false", "no", "off", "0", NULL};

    for (size_t i = 0; yes[i]; i++) {
        if (slice_is_nocase(text, yes[i]) || slice_is_nocase(text, no[i])) {
            *ret_value = slice_is_nocase(text, yes[i]);
            return true;
        }
    }
    return false;
}

static bool
parse_int(struct slice text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    int64_t value = 0;

    if (text.len == (negative ? 1U : 0U)) {
        return false;
    }
    for (size_t i = negative ? 1 : 0; i < text.len; i++) {
        if (!isdigit((unsigned char)text.ptr[i]) || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, text.ptr[i] - '0', &value)) {
            return false;
        }
    }
    *ret_value = negative ? -value : value;
    return true;
}

/* "1.5GiB": digits, at most one point, an optional blank, a unit. */
static bool
parse_with_unit(struct slice text, const struct unit *units, int64_t *ret_value)
{
    char number[32];
    size_t len = 0;
    size_t points = 0;

    while (len < text.len && (isdigit((unsigned char)text.ptr[len]) || text.ptr[len] == '.')) {
        points += text.ptr[len] == '.';
        len++;
    }
    if (len == 0 || points > 1 || len == points ||
        !slice_to_cstr(slice_sub(text, 0, len), number, sizeof(number))) {
        return false;
    }
    struct slice name = slice_trim(slice_sub(text, len, text.len));
    for (size_t i = 0; units[i].name; i++) {
        if (slice_is_nocase(name, units[i].name)) {
            double value = strtod(number, NULL) * units[i].factor;
            if (value > 9e18) {
                return false;
            }
            *ret_value = llround(value);
            return true;
        }
    }
    return false;
}

static bool
parse_choice(const struct config_setting *setting, struct slice text, int *ret_value)
{
    enum log_level level;

    for (int i = 0; setting->choices[i]; i++) {
        if (slice_is_nocase(text, setting->choices[i])) {
            *ret_value = i;
            return true;
        }
    }
    if (slice_is(slice_of(setting->name), "log.level") && log_level_parse(text, &level)) {
        *ret_value = (int)level;
        return true;
    }
    return false;
}

struct shown_unit {
    const char *name;
    int64_t factor;
};

static const struct shown_unit shown_bytes[] = {
    {"TiB", INT64_C(1) << 40}, {"TB", 1000000000000}, {"GiB", 1 << 30}, {"GB", 1000000000},
    {"MiB", 1 << 20},          {"MB", 1000000},       {"KiB", 1 << 10}, {"", 1},
};

static const struct shown_unit shown_times[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};

/* A number and the largest unit that divides it. */
static void
format_units(int64_t value, const struct shown_unit *unit, char *dst, size_t size)
{
    while (unit->factor > 1 && (value == 0 || value % unit->factor != 0)) {
        unit++;
    }
    snprintf(dst, size, "%" PRId64 "%s", value / unit->factor, unit->name);
}

static void
format_number(int64_t value, enum config_type type, char *dst, size_t size)
{
    if (type == CONFIG_INT) {
        snprintf(dst, size, "%" PRId64, value);
    } else {
        format_units(value, type == CONFIG_BYTES ? shown_bytes : shown_times, dst, size);
    }
}

void
config_expected(const struct config_setting *setting, char *ret_text, size_t size)
{
    static const char *const what[] = {
        [CONFIG_TEXT] = "a text",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_INT] = "a whole number",
        [CONFIG_BYTES] = "a size such as 64MiB or 4GB",
        [CONFIG_DURATION] = "a time such as 30s or 250ms",
        [CONFIG_CHOICE] = "one of",
        [CONFIG_LIST] = "a list, or texts with commas between them",
    };
    char min[32];
    char max[32];
    size_t used = (size_t)snprintf(ret_text, size, "%s", what[setting->type]);

    if (setting->type == CONFIG_CHOICE) {
        for (size_t i = 0; setting->choices[i] && used < size; i++) {
            used += (size_t)snprintf(ret_text + used, size - used, "%s%s", i ? ", " : " ",
                                     setting->choices[i]);
        }
    } else if (setting->type == CONFIG_INT || setting->type == CONFIG_BYTES ||
               setting->type == CONFIG_DURATION) {
        format_number(setting->min, setting->type, min, sizeof(min));
        format_number(setting->max, setting->type, max, sizeof(max));
        if (setting->max == INT64_MAX) {
            used += (size_t)snprintf(ret_text + used, size - used, " of at least %s", min);
        } else {
            used += (size_t)snprintf(ret_text + used, size - used, " from %s to %s", min, max);
        }
        if (setting->auto_means && used < size) {
            snprintf(ret_text + used, size - used, ", or auto");
        }
    }
}

enum err_code
config_refuse(const struct config_setting *setting, struct slice text,
              const struct config_origin *origin, struct err *err)
{
    char expected[160];

    config_expected(setting, expected, sizeof(expected));
    struct slice shown = setting->secret ? SLICE_LITERAL("****") : slice_sub(text, 0, 100);
    return err_set(err, ERR_USAGE, "%s: %s is \"%.*s\"; expected %s", origin->where, setting->name,
                   SLICE_FMT(shown), expected);
}

static bool
set_number(struct config *config, const struct config_setting *setting, struct slice text)
{
    int64_t value = 0;
    bool ok = false;

    if (setting->auto_means && slice_is_nocase(text, "auto")) {
        text = SLICE_LITERAL("0");
    }
    if (setting->type == CONFIG_INT) {
        ok = parse_int(text, &value);
    } else {
        ok = parse_with_unit(text, setting->type == CONFIG_BYTES ? byte_units : duration_units,
                             &value);
    }
    bool automatic = setting->auto_means && value == 0;
    if (!ok || (!automatic && (value < setting->min || value > setting->max))) {
        return false;
    }
    *(int64_t *)config_field(config, setting) = value;
    return true;
}

enum err_code
config_set_items(struct config *config, const struct config_setting *setting,
                 const struct slice *items, size_t count, const struct config_origin *origin,
                 struct err *err)
{
    if (count > CONFIG_LIST_MAX) {
        return err_set(err, ERR_USAGE, "%s: %s has %zu items; at most %d are allowed",
                       origin->where, setting->name, count, CONFIG_LIST_MAX);
    }
    if (config_check_items(setting, items, count, origin, err) != ERR_OK) {
        return ERR_USAGE;
    }
    config_clear(config, setting);
    struct config_list *list = config_field(config, setting);
    for (size_t i = 0; i < count; i++) {
        list->items[list->count++] = mem_strdup(items[i]);
    }
    config->origins[config_setting_index(setting)] = *origin;
    return ERR_OK;
}

static enum err_code
set_list(struct config *config, const struct config_setting *setting, struct slice text,
         const struct config_origin *origin, struct err *err)
{
    struct slice items[CONFIG_LIST_MAX + 1];
    size_t count = 0;

    if (slice_starts(text, "[")) {
        return config_read_list(config, setting, text, origin, err);
    }
    for (bool more = text.len > 0; more && count <= CONFIG_LIST_MAX;) {
        struct slice item;
        more = slice_split(&text, ',', &item);
        item = slice_trim(item);
        if (item.len > 0) {
            items[count++] = item;
        }
    }
    return config_set_items(config, setting, items, count, origin, err);
}

/* The words of the original, and behind them what was probably meant. */
static enum err_code
check_storage(const struct config_setting *setting, struct slice text,
              const struct config_origin *origin, struct err *err)
{
    struct suggest suggest;

    suggest_init(&suggest, text);
    for (size_t i = 0; setting->choices[i]; i++) {
        if (slice_is_nocase(text, setting->choices[i])) {
            return ERR_OK;
        }
        suggest_offer(&suggest, setting->choices[i]);
    }
    const char *near = suggest.best;
    return err_set(err, ERR_USAGE,
                   "%s: %s: unknown storage type: %.*s; expected duckdb, memory or postgres%s%s%s",
                   origin->where, setting->name, SLICE_FMT(slice_sub(text, 0, 100)),
                   near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static enum err_code
check_sslmode(struct slice text, const struct config_origin *origin, struct err *err)
{
    static const char *const modes[] = {"disable", "allow",     "prefer",
                                        "require", "verify-ca", "verify-full"};

    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        if (text.len == 0 || slice_is(text, modes[i])) {
            return ERR_OK;
        }
    }
    return err_set(err, ERR_USAGE,
                   "%s: storage.postgres.sslmode is \"%.*s\"; expected disable, allow, prefer, "
                   "require, verify-ca or verify-full",
                   origin->where, SLICE_FMT(slice_sub(text, 0, 100)));
}

/* What cannot be said by a range. */
static enum err_code
check_text(const struct config_setting *setting, struct slice text,
           const struct config_origin *origin, struct err *err)
{
    if (slice_is(slice_of(setting->name), "storage.type")) {
        return check_storage(setting, text, origin, err);
    }
    if (slice_is(slice_of(setting->name), "storage.postgres.sslmode")) {
        return check_sslmode(text, origin, err);
    }
    if (slice_is(slice_of(setting->name), "metrics.namespace") ||
        slice_is(slice_of(setting->name), "metrics.subsystem")) {
        for (size_t i = 0; i < text.len; i++) {
            char c = text.ptr[i];
            if (!isalpha((unsigned char)c) && c != '_' && (i == 0 || !isdigit((unsigned char)c))) {
                return err_set(err, ERR_USAGE,
                               "%s: %s is \"%.*s\"; expected letters, digits and "
                               "_, not starting with a digit",
                               origin->where, setting->name, SLICE_FMT(slice_sub(text, 0, 100)));
            }
        }
    }
    return ERR_OK;
}

enum err_code
config_set_value(void *base, const struct config_setting *setting, struct slice text,
                 const struct config_origin *origin, struct err *err)
{
    struct config *config = base; /* offsets are all that is taken from it */
    bool ok = true;

    text = slice_trim(text);
    switch (setting->type) {
    case CONFIG_TEXT:
        if (memchr(text.ptr, '\0', text.len)) {
            return config_refuse(setting, text, origin, err);
        }
        config_clear(config, setting);
        *(char **)config_field(config, setting) = text.len ? mem_strdup(text) : NULL;
        break;
    case CONFIG_BOOL:
        ok = parse_bool(text, config_field(config, setting));
        break;
    case CONFIG_CHOICE:
        ok = parse_choice(setting, text, config_field(config, setting));
        break;
    case CONFIG_LIST:
        ok = false; /* by config_set */
        break;
    case CONFIG_INT:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        ok = set_number(config, setting, text);
        break;
    }
    return ok ? ERR_OK : config_refuse(setting, text, origin, err);
}

enum err_code
config_set(struct config *config, const struct config_setting *setting, struct slice text,
           const struct config_origin *origin, struct err *err)
{
    text = slice_trim(text);
    if (check_text(setting, text, origin, err) != ERR_OK) {
        return ERR_USAGE;
    }
    if (setting->type == CONFIG_LIST) {
        return set_list(config, setting, text, origin, err);
    }
    enum err_code code = config_set_value(config, setting, text, origin, err);
    if (code == ERR_OK) {
        config->origins[config_setting_index(setting)] = *origin;
    }
    return code;
}

void
config_clear(struct config *config, const struct config_setting *setting)
{
    if (setting->type == CONFIG_TEXT) {
        char **text = config_field(config, setting);
        free(*text);
        *text = NULL;
    } else if (setting->type == CONFIG_LIST) {
        struct config_list *list = config_field(config, setting);
        for (size_t i = 0; i < list->count; i++) {
            free(list->items[i]);
        }
        *list = (struct config_list){0};
    }
}

void
config_format(const struct config *config, const struct config_setting *setting,
              struct buf *ret_text)
{
    const void *field = config_field_const(config, setting);
    char number[32];

    switch (setting->type) {
    case CONFIG_TEXT: {
        const char *text = *(char *const *)field;
        buf_add_cstr(ret_text, text && setting->secret ? "****" : (text ? text : ""));
        break;
    }
    case CONFIG_BOOL:
        buf_add_cstr(ret_text, *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_CHOICE:
        buf_add_cstr(ret_text, setting->choices[*(const int *)field]);
        break;
    case CONFIG_LIST: {
        const struct config_list *list = field;
        for (size_t i = 0; i < list->count; i++) {
            struct slice shown = config_item_shown(setting, slice_of(list->items[i]));
            buf_add_cstr(ret_text, i ? "," : "");
            buf_add_slice(ret_text, shown);
            buf_add_cstr(ret_text, setting->secret ? "****" : "");
        }
        break;
    }
    case CONFIG_INT:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        if (setting->auto_means && *(const int64_t *)field == 0) {
            buf_add_cstr(ret_text, "auto");
        } else {
            format_number(*(const int64_t *)field, setting->type, number, sizeof(number));
            buf_add_cstr(ret_text, number);
        }
        break;
    }
}
