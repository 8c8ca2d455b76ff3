/* What the generated source defines; for web_assets.c alone. */
#ifndef EIDER_WEB_WEB_ASSETS_TABLE_H
#define EIDER_WEB_WEB_ASSETS_TABLE_H

#include "web/web_assets.h"

/* In order of path, byte by byte. */
extern const struct web_asset web_assets_table[];
extern const size_t web_assets_table_count;

#endif
