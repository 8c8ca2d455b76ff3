/*
 * How many calls each budget refused, and why, for /metrics. Names stay when their budget is gone:
 * a counter never goes back.
 *
 * Threads: any.
 */
#ifndef EIDER_API_REFUSALS_H
#define EIDER_API_REFUSALS_H

#include <stdint.h>

#include "meter/budget.h"

struct refusals;

struct refusals *refusals_new(void);
void refusals_free(struct refusals *refusals); /* NULL is fine */

void refusals_add(struct refusals *refusals, const struct refusal *refusal);

/* Index 0, 1, ... until false. Budgets over some 250 are counted together as "other". */
struct refusal_count {
    char budget[BUDGET_NAME_MAX + 1];
    enum refusal_reason reason;
    uint64_t count;
};
bool refusals_at(struct refusals *refusals, size_t index, struct refusal_count *ret_count);

#endif
