/*
 * The formulas and conditions of price rules: + - * / with ceil, floor, round, min, max over
 * numbers and parameters; < <= > >= == != with and, or, not for conditions.
 *
 * Numbers are fixed-point: __int128 in units of 1e-12, at most 1e12 in size, so that a price of a
 * millionth of a credit times a billion tokens is exact and every intermediate product fits. What
 * leaves that range, and a division by zero, is a fault with a message, never undefined behaviour.
 *
 * Truth has three values: a comparison over a parameter that is not known is TRI_MAYBE.
 *
 * Ownership: a formula lives in the arena it was parsed into. Pure; any thread.
 */
#ifndef EIDER_METER_PRICE_FORMULA_H
#define EIDER_METER_PRICE_FORMULA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

__extension__ typedef __int128 price_wide;

#define PRICE_WIDE_ONE ((price_wide)1000000000000)
#define PRICE_WIDE_MAX (PRICE_WIDE_ONE * 1000000000000)

enum {
    FORMULA_BYTES_MAX = 4096,
    FORMULA_NODES_MAX = 512,
    FORMULA_DEPTH_MAX = 32,
    FORMULA_NAMES_MAX = 40 /* names fit a bit set */
};

enum tri { TRI_NO, TRI_YES, TRI_MAYBE };

enum formula_op {
    OP_NUMBER, /* value */
    OP_TRUTH,  /* value is 0 or 1 */
    OP_NAME,   /* name is the index of a parameter */
    OP_NEGATE,
    OP_CEIL,
    OP_FLOOR,
    OP_ROUND,
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_MIN,
    OP_MAX,
    OP_LT,
    OP_LE,
    OP_GT,
    OP_GE,
    OP_EQ,
    OP_NE,
    OP_AND,
    OP_OR,
    OP_NOT
};

struct formula_node {
    enum formula_op op;
    uint16_t name;
    uint16_t left;
    uint16_t right;
    price_wide value;
};

struct formula {
    const struct formula_node *nodes; /* NULL: there is none */
    uint16_t root;
    bool condition;     /* its value is a truth, not a number */
    uint64_t names;     /* bit i: it refers to names[i] */
    const char *source; /* as it was written */
};

struct formula_names {
    const char *const *names;
    size_t count; /* at most FORMULA_NAMES_MAX */
};

/* Where and why a text is no formula. */
struct formula_fault {
    size_t offset;
    char msg[256];
};

/*
 * Parses `text`. Parts without parameters are computed here, so that 1/0 is refused and not met
 * later. False with *ret_fault: what stands where, what was expected, the nearest name.
 */
bool formula_parse(struct slice text, const struct formula_names *names, bool condition,
                   struct arena *arena, struct formula *ret, struct formula_fault *ret_fault);

/* Gives the value of names[index]; false when it is not known. */
typedef bool formula_lookup_fn(void *user, uint16_t index, price_wide *ret_value);

enum formula_result { FORMULA_KNOWN, FORMULA_UNKNOWN, FORMULA_FAULT };

/* The value of a formula over numbers. *ret_problem, a sentence without end, for a fault. */
enum formula_result formula_number(const struct formula *formula, formula_lookup_fn *lookup,
                                   void *user, price_wide *ret_value, const char **ret_problem);

/* The value of a condition; false for a fault. */
bool formula_truth(const struct formula *formula, formula_lookup_fn *lookup, void *user,
                   enum tri *ret_truth, const char **ret_problem);

/* A decimal number, exactly; false when it is none, is finer than 1e-12 or beyond 1e12. */
bool price_wide_parse(struct slice text, price_wide *ret_value);

/* Micro-credits, half away from zero. */
int64_t price_wide_to_micro(price_wide value);

price_wide price_wide_from_u64(uint64_t value); /* cut at the largest */

/* ---- what a condition allows ---- */

/* An interval a name must lie in for a condition to hold. Parameters are never negative. */
struct formula_bound {
    price_wide low;
    price_wide high;
    bool low_open; /* the end itself is not in it */
    bool high_open;
};

/* The box around all that satisfies a condition. */
struct formula_bounds {
    uint64_t limited; /* names that must be known and within at[name] */
    bool exact;       /* the condition holds for all of the box, too */
    bool empty;       /* nothing satisfies it */
    uint16_t culprit; /* empty: a name whose limits contradict; FORMULA_NAMES_MAX: none */
    struct formula_bound at[FORMULA_NAMES_MAX];
};

/* Of a formula without nodes: everything. */
void formula_bounds(const struct formula *condition, struct formula_bounds *ret);

/* Whether whatever satisfies `inner` certainly satisfies `outer`. */
bool formula_implied(const struct formula_bounds *inner, const struct formula_bounds *outer);

#endif
