/* The memory store: volatile rows in arrays a table; no SQL. */
#ifndef EIDER_STORE_MEMORY_STORE_MEMORY_H
#define EIDER_STORE_MEMORY_STORE_MEMORY_H

#include "store/engine.h"

enum err_code store_memory_open(const struct store_open_options *options, struct store **ret_store,
                                struct err *err);

#endif
