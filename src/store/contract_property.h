/*
 * One seed, the same random groups into several stores, and every answer compared: late rows,
 * replacements, duplicates, NaN and infinities, extreme times, empty and long texts, all of
 * Unicode. Test support; called by store_property_test.c beside an implementation.
 */
#ifndef EIDER_STORE_CONTRACT_PROPERTY_H
#define EIDER_STORE_CONTRACT_PROPERTY_H

#include "store/engine.h"

enum { CONTRACT_STORES_MAX = 4 };

struct contract_property {
    struct store *stores[CONTRACT_STORES_MAX]; /* empty; answers are compared with the first's */
    size_t store_count;
    uint64_t seed;
    unsigned groups;
    int64_t time_min_us; /* the earliest time that all of them have */
};

/* True when all answers agree; otherwise says on standard error which did not, with the seed. */
bool contract_property_holds(const struct contract_property *property);

#endif
