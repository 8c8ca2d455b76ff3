/* Items of lists that are more than texts: tokens, and pairs "name=value". */
#include "server/config_internal.h"
#include "server/tokens.h"
#include "store/retention.h"

struct slice
config_item_shown(const struct config_setting *setting, struct slice item)
{
    struct slice rest = item;
    struct slice part;

    if (!setting->secret) {
        return item;
    }
    /* Name and scopes, with the colons; nothing of what has another form. */
    bool named = slice_split(&rest, ':', &part);
    if (!named || !slice_split(&rest, ':', &part)) {
        return slice_sub(item, 0, 0);
    }
    return slice_sub(item, 0, item.len - rest.len);
}

enum err_code
config_check_items(const struct config_setting *setting, const struct slice *items, size_t count,
                   const struct config_origin *origin, struct err *err)
{
    struct api_token token;
    struct retention_rule rule;

    for (size_t i = 0; i < count; i++) {
        struct slice value = items[i];
        struct slice name;
        switch (setting->item) {
        case CONFIG_ITEM_TEXT:
            break;
        case CONFIG_ITEM_TOKEN:
            if (token_parse(items[i], &token, err) != ERR_OK) {
                return err_context(err, ERR_USAGE, "%s: %s, item %zu", origin->where, setting->name,
                                   i + 1);
            }
            break;
        case CONFIG_ITEM_RULE:
            if (retention_rule_parse(items[i], &rule, err) != ERR_OK) {
                err_context(err, ERR_USAGE, "%s: %s, rule %zu", origin->where, setting->name,
                            i + 1);
                err->code = ERR_USAGE;
                return ERR_USAGE;
            }
            break;
        case CONFIG_ITEM_PAIR:
            if (!slice_split(&value, '=', &name) || name.len == 0 || value.len == 0) {
                return err_set(err, ERR_USAGE, "%s: %s has \"%.*s\"; expected API=BOOK",
                               origin->where, setting->name, SLICE_FMT(slice_sub(items[i], 0, 60)));
            }
            break;
        }
    }
    return ERR_OK;
}
