/*
 * Fail-points, for tests only: named places at which a test kills the process or makes a step fail,
 * so that every moment between two durable steps is tried. Armed by the environment, which is read
 * once, before main:
 *
 *   EIDER_FAILPOINT=seal.renamed:kill      SIGKILL at the first time
 *   EIDER_FAILPOINT=seal.copied:error:3    the third time fails with ERR_IO
 *
 * All names stand in one table, failpoint_names, that tests go through. Unarmed, a point costs the
 * reading of one boolean; armed, a mutex that nothing is waited for under. Any thread.
 */
#ifndef EIDER_STORE_FAILPOINT_H
#define EIDER_STORE_FAILPOINT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/err.h"

/* Ends in NULL. */
extern const char *const failpoint_names[];

extern atomic_bool failpoint_is_armed;

/* Whether this point is armed and its turn has come; does not return when it is to kill. A name
 * that is not in the table is a bug. */
bool failpoint_reached(const char *name);

/* For tests of this process: arms "name:action[:nth]", NULL disarms. False when it is no such
 * text. */
bool failpoint_arm(const char *text);

/* True when the step behind this point must fail. */
static inline bool
failpoint(const char *name)
{
    return atomic_load_explicit(&failpoint_is_armed, memory_order_relaxed) &&
           failpoint_reached(name);
}

/* The same as an error: ERR_IO, "the fail-point X is armed". */
static inline enum err_code
failpoint_fails(const char *name, struct err *err)
{
    return failpoint(name) ? err_set(err, ERR_IO, "the fail-point %s is armed", name) : ERR_OK;
}

#endif
