/* What batch.c and batch_codec.c share; private to them. */
#ifndef EIDER_CATALOG_BATCH_INTERNAL_H
#define EIDER_CATALOG_BATCH_INTERNAL_H

#include <stddef.h>

#include "catalog/catalog.h"

/* Bytes of one value in a column's array. */
size_t batch_type_size(enum col_type type);

#endif
