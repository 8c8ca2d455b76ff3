/* Finding embedded files. The table is sorted by scripts/embed. */
#include "web/web_assets.h"

#include "web/web_assets_table.h"

const struct web_asset *
web_assets(size_t *ret_count)
{
    *ret_count = web_assets_table_count;
    return web_assets_table;
}

/* Order of two paths, as memcmp has it; the shorter of two that begin alike comes first. */
static int
compare(struct slice a, struct slice b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common > 0 ? memcmp(a.ptr, b.ptr, common) : 0;

    if (order != 0 || a.len == b.len) {
        return order;
    }
    return a.len < b.len ? -1 : 1;
}

const struct web_asset *
web_asset_find(struct slice path)
{
    size_t low = 0;
    size_t high = web_assets_table_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare(path, slice_of(web_assets_table[middle].path));
        if (order == 0) {
            return &web_assets_table[middle];
        }
        if (order < 0) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return NULL;
}
