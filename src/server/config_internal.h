/* What the files of the configuration share; not for other parts. */
#ifndef EIDER_SERVER_CONFIG_INTERNAL_H
#define EIDER_SERVER_CONFIG_INTERNAL_H

#include "server/config.h"

/* Environment names of other systems that are accepted without effect. */
struct config_retired {
    const char *env;
    const char *reason;
};
const struct config_retired *config_retired_at(size_t index);

static inline void *
config_field(struct config *config, const struct config_setting *setting)
{
    return (char *)config + setting->offset;
}

static inline const void *
config_field_const(const struct config *config, const struct config_setting *setting)
{
    return (const char *)config + setting->offset;
}

size_t config_setting_index(const struct config_setting *setting);

/* Parses one text into the setting's field and notes its origin. */
enum err_code config_set(struct config *config, const struct config_setting *setting,
                         struct slice text, const struct config_origin *origin, struct err *err);

/* Parses one text into the field at the setting's offset from `base`, which need not be a struct
 * config; not for lists. */
enum err_code config_set_value(void *base, const struct config_setting *setting, struct slice text,
                               const struct config_origin *origin, struct err *err);

/* Puts a list of texts into a CONFIG_LIST field. */
enum err_code config_set_items(struct config *config, const struct config_setting *setting,
                               const struct slice *items, size_t count,
                               const struct config_origin *origin, struct err *err);

/* The error for a value that does not fit. */
enum err_code config_refuse(const struct config_setting *setting, struct slice text,
                            const struct config_origin *origin, struct err *err);

/* What a server asks of one database's settings together: "" or "eu", a view's own name, is for
 * messages. Adds notes to `config`, the top level's. */
enum err_code config_check_database(struct config *config, const struct config *view,
                                    const char *name, struct err *err);

/* Adds a remark; see config.notes. */
void config_add_note(struct config *config, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Frees the memory of one field and clears it. */
void config_clear(struct config *config, const struct config_setting *setting);

/* Reads bytes of YAML into the file layer; `name` is for messages. With `missing_later` a variable
 * that is not set is noted in config->missing. */
enum err_code config_read_yaml(struct config *config, const char *name, struct slice text,
                               char *const *env, bool missing_later, struct err *err);

/* Reads a JSON list ("[...]") given in an environment variable or a flag. */
enum err_code config_read_list(struct config *config, const struct config_setting *setting,
                               struct slice text, const struct config_origin *origin,
                               struct err *err);

/* ---- items of lists that are more than texts (config_item.c) ---- */

/* Checks the texts of a list; errors name setting, item and expectation, never a token. */
enum err_code config_check_items(const struct config_setting *setting, const struct slice *items,
                                 size_t count, const struct config_origin *origin, struct err *err);

/* How much of an item may be shown: all of it, or what is before a token. */
struct slice config_item_shown(const struct config_setting *setting, struct slice item);

/* ---- values whose variable is not set (config_missing.c) ---- */

/* Adds one, whose texts are the list's from now on. */
void config_missing_take(struct config_missing_list *list, const struct config_missing *missing);
void config_missing_free(struct config_missing_list *list);

/* The error; `database` is empty for a setting of the top level. */
enum err_code config_refuse_variable(const char *where, const char *database, const char *setting,
                                     struct slice variable, struct err *err);

/* The configuration becomes that of a database, which says the settings `own` (by index) itself. */
void config_missing_choose(struct config_missing_list *list, const char *database, const bool *own);

/* Whether a database (one that says the settings `own` by itself; "" and NULL: the top level) has
 * no value of a setting for want of a variable, its own or the top level's. */
bool config_lacks(const struct config *config, const char *database, const bool *own,
                  const char *name);

/* Value of a variable in an environment block, or NULL. */
const char *config_getenv(char *const *env, struct slice name);

/* The setting nearest to a name that is none, or NULL. */
const char *config_suggest(struct slice name);

#endif
