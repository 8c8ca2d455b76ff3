/* Values of the file that name a variable which is not set: noted while the file is read, refused
 * when somebody wants the setting. */
#include <string.h>

#include "base/mem.h"
#include "server/config_internal.h"

/*
 * What a program that is no server does not read, or asks config_need for before it does: what the
 * process of a server has, and the way to PostgreSQL. All else it uses, or may.
 */
static const char *const on_demand[] = {
    "server.",  "log.",   "storage.postgres.", "limits.", "demo", "websocket.", "collect.",
    "metrics.", "meter.", "gateway.",          NULL};

void
config_missing_take(struct config_missing_list *list, const struct config_missing *missing)
{
    list->items = mem_resize(list->items, list->count + 1, sizeof(list->items[0]));
    list->items[list->count] = *missing;
    list->items[list->count++].elsewhere = *missing->database != '\0';
}

void
config_missing_free(struct config_missing_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].database);
        free(list->items[i].setting);
        free(list->items[i].variable);
        free(list->items[i].where);
    }
    free(list->items);
    *list = (struct config_missing_list){0};
}

void
config_missing_choose(struct config_missing_list *list, const char *database, const bool *own)
{
    for (size_t i = 0; i < list->count; i++) {
        struct config_missing *item = &list->items[i];
        const struct config_setting *setting = config_find(slice_of(item->setting));
        if (*item->database) {
            item->elsewhere = strcmp(item->database, database) != 0;
        } else {
            item->elsewhere = setting && own[config_setting_index(setting)];
        }
    }
}

enum err_code
config_refuse_variable(const char *where, const char *database, const char *setting,
                       struct slice variable, struct err *err)
{
    return err_set(err, ERR_USAGE,
                   "%s: %s%s%s%s: environment variable %.*s is not set; set it or write "
                   "${%.*s:-default}",
                   where, *database ? "databases." : "", database, *database ? "." : "", setting,
                   SLICE_FMT(variable), SLICE_FMT(variable));
}

/* A value of the environment or of a flag stands above the file's, but not above a database's. */
static bool
is_given_otherwise(const struct config *config, const struct config_missing *missing)
{
    const struct config_setting *setting = config_find(slice_of(missing->setting));

    return !*missing->database && setting &&
           config->origins[config_setting_index(setting)].layer > CONFIG_FILE;
}

bool
config_lacks(const struct config *config, const char *database, const bool *own, const char *name)
{
    const struct config_setting *wanted = config_find(slice_of(name));

    for (size_t i = 0; i < config->missing.count; i++) {
        const struct config_missing *item = &config->missing.items[i];
        bool top = !*item->database;
        if (config_find(slice_of(item->setting)) != wanted || is_given_otherwise(config, item)) {
            continue;
        }
        if (top ? !own || !own[config_setting_index(wanted)]
                : strcmp(item->database, database) == 0) {
            return true;
        }
    }
    return false;
}

static bool
begins_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

enum err_code
config_need(const struct config *config, const char *name, struct err *err)
{
    bool section = *name && name[strlen(name) - 1] == '.';

    for (size_t i = 0; i < config->missing.count; i++) {
        const struct config_missing *missing = &config->missing.items[i];
        bool meant =
            section ? begins_with(missing->setting, name) : strcmp(missing->setting, name) == 0;
        if (meant && !missing->elsewhere && !is_given_otherwise(config, missing)) {
            return config_refuse_variable(missing->where, missing->database, missing->setting,
                                          slice_of(missing->variable), err);
        }
    }
    return ERR_OK;
}

enum err_code
config_need_usual(const struct config *config, struct err *err)
{
    for (size_t i = 0; i < config->missing.count; i++) {
        const char *name = config->missing.items[i].setting;
        bool later = false;
        for (const char *const *prefix = on_demand; *prefix && !later; prefix++) {
            later = begins_with(name, *prefix);
        }
        enum err_code code = later ? ERR_OK : config_need(config, name, err);
        if (code != ERR_OK) {
            return code;
        }
    }
    return ERR_OK;
}
