/* What a condition allows: the box of parameter values around all that satisfies it. It serves to
 * find rules that can never match; where a condition is no box, the answer is "perhaps". */
#include <assert.h>

#include "meter/price_formula.h"

static const struct formula_bound DOMAIN = {0, PRICE_WIDE_MAX, false, false};

static void
everything(struct formula_bounds *ret)
{
    *ret = (struct formula_bounds){.exact = true, .culprit = FORMULA_NAMES_MAX};
    for (size_t i = 0; i < FORMULA_NAMES_MAX; i++) {
        ret->at[i] = DOMAIN;
    }
}

static bool
bound_empty(const struct formula_bound *bound)
{
    return bound->low > bound->high ||
           (bound->low == bound->high && (bound->low_open || bound->high_open));
}

static void
narrow(struct formula_bound *bound, const struct formula_bound *by)
{
    if (by->low > bound->low) {
        bound->low = by->low;
        bound->low_open = by->low_open;
    } else if (by->low == bound->low) {
        bound->low_open |= by->low_open;
    }
    if (by->high < bound->high) {
        bound->high = by->high;
        bound->high_open = by->high_open;
    } else if (by->high == bound->high) {
        bound->high_open |= by->high_open;
    }
}

static void
widen(struct formula_bound *bound, const struct formula_bound *by)
{
    if (by->low < bound->low) {
        bound->low = by->low;
        bound->low_open = by->low_open;
    } else if (by->low == bound->low) {
        bound->low_open &= by->low_open;
    }
    if (by->high > bound->high) {
        bound->high = by->high;
        bound->high_open = by->high_open;
    } else if (by->high == bound->high) {
        bound->high_open &= by->high_open;
    }
}

static enum formula_op
mirrored(enum formula_op op)
{
    switch ((int)op) {
    case OP_LT:
        return OP_GT;
    case OP_LE:
        return OP_GE;
    case OP_GT:
        return OP_LT;
    case OP_GE:
        return OP_LE;
    default:
        return op;
    }
}

static enum formula_op
opposite(enum formula_op op)
{
    switch ((int)op) {
    case OP_LT:
        return OP_GE;
    case OP_LE:
        return OP_GT;
    case OP_GT:
        return OP_LE;
    case OP_GE:
        return OP_LT;
    case OP_EQ:
        return OP_NE;
    default:
        return OP_EQ;
    }
}

static void
bounds_of_comparison(const struct formula *formula, const struct formula_node *node, bool negated,
                     struct formula_bounds *ret)
{
    const struct formula_node *left = &formula->nodes[node->left];
    const struct formula_node *right = &formula->nodes[node->right];
    enum formula_op op = negated ? opposite(node->op) : node->op;
    struct formula_bound bound = {-PRICE_WIDE_MAX, PRICE_WIDE_MAX, false, false};

    if (left->op == OP_NUMBER) {
        const struct formula_node *swapped = left;
        left = right;
        right = swapped;
        op = mirrored(op);
    }
    if (left->op != OP_NAME || right->op != OP_NUMBER || op == OP_NE) {
        ret->exact = false;
        return;
    }
    if (op == OP_LT || op == OP_LE || op == OP_EQ) {
        bound.high = right->value;
        bound.high_open = op == OP_LT;
    }
    if (op == OP_GT || op == OP_GE || op == OP_EQ) {
        bound.low = right->value;
        bound.low_open = op == OP_GT;
    }
    ret->limited = UINT64_C(1) << left->name;
    narrow(&ret->at[left->name], &bound);
    ret->empty = bound_empty(&ret->at[left->name]);
    ret->culprit = ret->empty ? left->name : FORMULA_NAMES_MAX;
}

static void
both_of(struct formula_bounds *ret, const struct formula_bounds *other)
{
    ret->exact = ret->exact && other->exact;
    ret->limited |= other->limited;
    if (!ret->empty && other->empty) {
        ret->empty = true;
        ret->culprit = other->culprit;
    }
    for (size_t i = 0; i < FORMULA_NAMES_MAX; i++) {
        narrow(&ret->at[i], &other->at[i]);
        if (!ret->empty && bound_empty(&ret->at[i])) {
            ret->empty = true;
            ret->culprit = (uint16_t)i;
        }
    }
}

static void
either_of(struct formula_bounds *ret, const struct formula_bounds *other)
{
    if (other->empty) {
        return;
    }
    if (ret->empty) {
        *ret = *other;
        return;
    }
    ret->exact = false;
    ret->limited &= other->limited;
    for (size_t i = 0; i < FORMULA_NAMES_MAX; i++) {
        widen(&ret->at[i], &other->at[i]);
    }
}

static void
bounds_of(const struct formula *formula, uint16_t index, bool negated, struct formula_bounds *ret)
{
    const struct formula_node *node = &formula->nodes[index];
    struct formula_bounds right;

    everything(ret);
    if (node->op == OP_TRUTH) {
        ret->empty = (node->value != 0) == negated;
    } else if (node->op == OP_NOT) {
        bounds_of(formula, node->left, !negated, ret);
    } else if (node->op == OP_AND || node->op == OP_OR) {
        bounds_of(formula, node->left, negated, ret);
        bounds_of(formula, node->right, negated, &right);
        if ((node->op == OP_AND) != negated) {
            both_of(ret, &right);
        } else {
            either_of(ret, &right);
        }
    } else {
        bounds_of_comparison(formula, node, negated, ret);
    }
}

void
formula_bounds(const struct formula *condition, struct formula_bounds *ret)
{
    everything(ret);
    if (condition->nodes) {
        assert(condition->condition);
        bounds_of(condition, condition->root, false, ret);
    }
}

bool
formula_implied(const struct formula_bounds *inner, const struct formula_bounds *outer)
{
    if (!outer->exact || outer->empty || (outer->limited & ~inner->limited)) {
        return false;
    }
    for (size_t i = 0; i < FORMULA_NAMES_MAX; i++) {
        const struct formula_bound *in = &inner->at[i];
        const struct formula_bound *out = &outer->at[i];
        if (!(outer->limited >> i & 1)) {
            continue;
        }
        bool low = in->low > out->low || (in->low == out->low && (in->low_open || !out->low_open));
        bool high =
            in->high < out->high || (in->high == out->high && (in->high_open || !out->high_open));
        if (!low || !high) {
            return false;
        }
    }
    return true;
}
