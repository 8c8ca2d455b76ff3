/* The part of the catalogue that stands in a file of its own; private to this folder. */
#ifndef EIDER_CATALOG_CATALOG_INTERNAL_H
#define EIDER_CATALOG_CATALOG_INTERNAL_H

#include "catalog/catalog.h"

enum { CATALOG_METERING_TABLES = 4, CATALOG_OWN_TABLES = 1 };

/* TABLE_EVENTS and what follows, in order of the numbers. */
extern const struct catalog_table catalog_metering_tables[CATALOG_METERING_TABLES];

/* TABLE_RETENTION_RECEIPTS and what follows. */
extern const struct catalog_table catalog_own_tables[CATALOG_OWN_TABLES];

#endif
