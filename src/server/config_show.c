/* The configuration for readers: a table, JSON, and the Markdown reference. */
#include <stdio.h>
#include <string.h>

#include "server/config_databases.h"
#include "server/config_internal.h"

static void
add_padded(struct buf *out, struct slice text, size_t width)
{
    buf_add_slice(out, text);
    for (size_t i = text.len; i < width; i++) {
        buf_add_char(out, ' ');
    }
}

/* What a database says itself, and what every one has of its own. */
static bool
is_of_database(const struct config_database *database, size_t index)
{
    const char *name = config_setting_at(index)->name;

    return database->own[index] || strcmp(name, "data_dir") == 0 ||
           strcmp(name, "storage.type") == 0 || strcmp(name, "storage.duckdb.memory_limit") == 0;
}

static void
show_database(const struct config_database *database, struct buf *out)
{
    const struct config_setting *setting;

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        struct buf value BUF_AUTO = {0};
        if (!is_of_database(database, i)) {
            continue;
        }
        buf_init(&value, 0);
        config_format(&database->view, setting, &value);
        buf_add_fmt(out, "databases.%s.%s  %.*s  %s\n", database->name, setting->name,
                    SLICE_FMT(value.len ? buf_slice(&value) : SLICE_LITERAL("-")),
                    database->own[i] ? database->view.origins[i].where : "default");
    }
}

void
config_show(const struct config *config, struct buf *ret_text)
{
    const struct config_setting *setting;
    size_t name_width = 0;
    size_t value_width = 0;

    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        struct buf value BUF_AUTO = {0};
        buf_init(&value, 0);
        config_format(config, setting, &value);
        size_t name_len = strlen(setting->name);
        name_width = name_len > name_width ? name_len : name_width;
        value_width = value.len > value_width ? value.len : value_width;
    }
    value_width = value_width > 48 ? 48 : value_width;
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        struct buf value BUF_AUTO = {0};
        buf_init(&value, 0);
        config_format(config, setting, &value);
        add_padded(ret_text, slice_of(setting->name), name_width + 2);
        add_padded(ret_text, value.len ? buf_slice(&value) : SLICE_LITERAL("-"), value_width);
        buf_add_fmt(ret_text, "  %s\n", config->origins[i].where);
    }
    for (size_t i = 0; config->databases && i < config->databases->count; i++) {
        show_database(&config->databases->items[i], ret_text);
    }
    for (size_t i = 0; i < config->note_count; i++) {
        buf_add_fmt(ret_text, "note: %s\n", config->notes[i]);
    }
}

static void
add_json_text(struct buf *out, const char *text)
{
    buf_add_char(out, '"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            buf_add_char(out, '\\');
            buf_add_char(out, (char)c);
        } else if (c < 0x20) {
            buf_add_fmt(out, "\\u%04x", c);
        } else {
            buf_add_char(out, (char)c);
        }
    }
    buf_add_char(out, '"');
}

static void
add_json_value(const struct config *config, const struct config_setting *setting, struct buf *out)
{
    const void *field = config_field_const(config, setting);

    switch (setting->type) {
    case CONFIG_BOOL:
        buf_add_cstr(out, *(const bool *)field ? "true" : "false");
        break;
    case CONFIG_INT:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        buf_add_i64(out, *(const int64_t *)field);
        break;
    case CONFIG_LIST: {
        const struct config_list *list = field;
        buf_add_char(out, '[');
        for (size_t i = 0; i < list->count; i++) {
            buf_add_cstr(out, i ? "," : "");
            char shown[CONFIG_WHERE_MAX];
            snprintf(shown, sizeof(shown), "%.*s%s",
                     SLICE_FMT(config_item_shown(setting, slice_of(list->items[i]))),
                     setting->secret ? "****" : "");
            add_json_text(out, setting->secret ? shown : list->items[i]);
        }
        buf_add_char(out, ']');
        break;
    }
    case CONFIG_TEXT:
        if (!*(char *const *)field) {
            buf_add_cstr(out, "null");
        } else {
            add_json_text(out, setting->secret ? "****" : *(char *const *)field);
        }
        break;
    case CONFIG_CHOICE:
        add_json_text(out, setting->choices[*(const int *)field]);
        break;
    }
}

static void
add_json_database(const struct config_database *database, struct buf *out)
{
    const struct config_setting *setting;
    const char *between = "";

    buf_add_fmt(out, "\n  \"%s\":{", database->name);
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        if (is_of_database(database, i)) {
            buf_add_fmt(out, "%s\n    \"%s\":{\"value\":", between, setting->name);
            add_json_value(&database->view, setting, out);
            buf_add_cstr(out, ",\"origin\":");
            add_json_text(out, database->own[i] ? database->view.origins[i].where : "default");
            buf_add_char(out, '}');
            between = ",";
        }
    }
    buf_add_char(out, '}');
}

void
config_show_json(const struct config *config, struct buf *ret_json)
{
    static const char *const layers[] = {
        [CONFIG_DEFAULT] = "default",
        [CONFIG_FILE] = "file",
        [CONFIG_ENVIRONMENT] = "environment",
        [CONFIG_FLAG] = "flag",
    };
    static const char *const units[] = {
        [CONFIG_BYTES] = "bytes", [CONFIG_DURATION] = "ms", [CONFIG_LIST] = NULL};
    const struct config_setting *setting;

    buf_add_cstr(ret_json, "{\"file\":");
    if (config->file) {
        add_json_text(ret_json, config->file);
    } else {
        buf_add_cstr(ret_json, "null");
    }
    buf_add_cstr(ret_json, ",\"settings\":{");
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        buf_add_fmt(ret_json, "%s\n  \"%s\":{\"value\":", i ? "," : "", setting->name);
        add_json_value(config, setting, ret_json);
        if (units[setting->type]) {
            buf_add_fmt(ret_json, ",\"unit\":\"%s\"", units[setting->type]);
        }
        buf_add_fmt(ret_json, ",\"layer\":\"%s\",\"origin\":", layers[config->origins[i].layer]);
        add_json_text(ret_json, config->origins[i].where);
        buf_add_char(ret_json, '}');
    }
    buf_add_cstr(ret_json, "\n},\"databases\":{");
    for (size_t i = 0; config->databases && i < config->databases->count; i++) {
        buf_add_cstr(ret_json, i ? "," : "");
        add_json_database(&config->databases->items[i], ret_json);
    }
    buf_add_cstr(ret_json, "\n},\"notes\":[");
    for (size_t i = 0; i < config->note_count; i++) {
        buf_add_cstr(ret_json, i ? "," : "");
        add_json_text(ret_json, config->notes[i]);
    }
    buf_add_cstr(ret_json, "]}\n");
}

static void
add_reference_row(const struct config_setting *setting, struct buf *out)
{
    char expected[160];
    char own[96];

    config_expected(setting, expected, sizeof(expected));
    config_env_name(setting, own, sizeof(own));
    const char *preset = setting->preset;
    if (preset && setting->auto_means && strcmp(preset, "0") == 0) {
        preset = "auto";
    }
    buf_add_fmt(out, "| `%s` | %s%s%s | ", setting->name, preset ? "`" : "", preset ? preset : "-",
                preset ? "`" : "");
    if (setting->flag) {
        buf_add_fmt(out, "`--%s` ", setting->flag);
    }
    if (setting->flag_alias) {
        buf_add_fmt(out, "`--%s` ", setting->flag_alias);
    }
    buf_add_fmt(out, "| `%s`", own);
    for (size_t i = 0; i < CONFIG_ENV_MAX && setting->env[i]; i++) {
        buf_add_fmt(out, " `%s`", setting->env[i]);
    }
    buf_add_fmt(out, " | %s Expected: %s.", setting->help, expected);
    if (setting->auto_means) {
        buf_add_fmt(out, " `auto`: %s.", setting->auto_means);
    }
    if (setting->alias) {
        buf_add_fmt(out, " Also `%s` in files.", setting->alias);
    }
    buf_add_fmt(out, "%s |\n", setting->reloadable ? " Taken over at SIGHUP." : "");
}

void
config_reference(struct buf *ret_markdown)
{
    const struct config_setting *setting;
    const struct config_retired *retired;

    buf_add_cstr(ret_markdown, "| setting | default | flag | environment | meaning |\n"
                               "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; (setting = config_setting_at(i)); i++) {
        add_reference_row(setting, ret_markdown);
    }
    buf_add_cstr(ret_markdown, "\nEnvironment names of other systems that are accepted without "
                               "effect:\n\n| environment | why |\n| --- | --- |\n");
    for (size_t i = 0; (retired = config_retired_at(i)); i++) {
        buf_add_fmt(ret_markdown, "| `%s` | %s |\n", retired->env, retired->reason);
    }
}
