/* "Did you mean", for any list of names; catalog.h has the same for tables and columns. Pure; any
 * thread. */
#ifndef EIDER_CATALOG_SUGGEST_H
#define EIDER_CATALOG_SUGGEST_H

#include <stddef.h>

#include "base/slice.h"

/* The one of `names` that is nearest to `name`, or NULL when none is near enough. */
const char *catalog_suggest_name(struct slice name, const char *const *names, size_t count);

#endif
