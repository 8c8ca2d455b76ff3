/* Parser and evaluator of formulas: recursive descent into an array of nodes. */
#include "meter/price_formula.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "catalog/suggest.h"
#include "codec/decimal.h"
#include "codec/number.h"

enum { SCALE_DIGITS = 12, EXPONENT_MAX = 40 };

struct parser {
    struct slice text;
    size_t at;
    const struct formula_names *names;
    struct formula_node nodes[FORMULA_NODES_MAX];
    uint16_t count;
    unsigned depth;
    uint64_t used;
    struct formula_fault *fault;
    bool failed;
};

/* An operand of the parser: a node and whether it is a truth. */
struct part {
    uint16_t node;
    bool truth;
};

static struct part parse_or(struct parser *p);
static enum formula_result evaluate(const struct formula_node *nodes, uint16_t index,
                                    formula_lookup_fn *lookup, void *user, price_wide *ret_value,
                                    const char **ret_problem);

bool
price_wide_parse(struct slice text, price_wide *ret_value)
{
    struct number number;

    if (!number_parse(text, &number) || number.truncated) {
        return false;
    }
    if (number.digits == 0) {
        *ret_value = 0;
        return true;
    }
    int64_t shift = (int64_t)number.exponent + SCALE_DIGITS;
    if (shift > EXPONENT_MAX || shift < -EXPONENT_MAX) {
        return false;
    }
    price_wide value = (price_wide)number.digits;
    for (; shift > 0; shift--) {
        value *= 10;
        if (value > PRICE_WIDE_MAX) {
            return false;
        }
    }
    for (; shift < 0; shift++) {
        if (value % 10 != 0) {
            return false;
        }
        value /= 10;
    }
    if (value > PRICE_WIDE_MAX) {
        return false;
    }
    *ret_value = number.negative ? -value : value;
    return true;
}

price_wide
price_wide_from_u64(uint64_t value)
{
    const uint64_t max = UINT64_C(1000000000000);

    return (price_wide)(value < max ? value : max) * PRICE_WIDE_ONE;
}

int64_t
price_wide_to_micro(price_wide value)
{
    const price_wide step = PRICE_WIDE_ONE / DECIMAL_ONE;
    price_wide half = value < 0 ? -step / 2 : step / 2;

    return (int64_t)((value + half) / step);
}

/* ---- evaluation ---- */

static enum formula_result
bounded(price_wide value, price_wide *ret_value, const char **ret_problem)
{
    if (value > PRICE_WIDE_MAX || value < -PRICE_WIDE_MAX) {
        *ret_problem = "the result is beyond 1 000 000 000 000";
        return FORMULA_FAULT;
    }
    *ret_value = value;
    return FORMULA_KNOWN;
}

/* The next whole number towards minus (up: plus) infinity. */
static price_wide
whole(price_wide value, bool up)
{
    price_wide rest = value % PRICE_WIDE_ONE;

    value -= rest;
    if (rest > 0 && up) {
        value += PRICE_WIDE_ONE;
    } else if (rest < 0 && !up) {
        value -= PRICE_WIDE_ONE;
    }
    return value;
}

/* Quotient to the nearest, half away from zero; `divisor` is not 0. */
static price_wide
nearest(price_wide dividend, price_wide divisor)
{
    price_wide quotient = dividend / divisor;
    price_wide rest = dividend % divisor;
    price_wide rest_size = rest < 0 ? -rest : rest;
    price_wide size = divisor < 0 ? -divisor : divisor;

    if (rest_size >= size - rest_size) {
        quotient += (dividend < 0) == (divisor < 0) ? 1 : -1;
    }
    return quotient;
}

static enum formula_result
compute(enum formula_op op, price_wide a, price_wide b, price_wide *ret_value,
        const char **ret_problem)
{
    price_wide value = 0;

    switch ((int)op) {
    case OP_NEGATE:
        return bounded(-a, ret_value, ret_problem);
    case OP_CEIL:
        return bounded(whole(a, true), ret_value, ret_problem);
    case OP_FLOOR:
        return bounded(whole(a, false), ret_value, ret_problem);
    case OP_ROUND:
        return bounded(nearest(a, PRICE_WIDE_ONE) * PRICE_WIDE_ONE, ret_value, ret_problem);
    case OP_ADD:
        return bounded(a + b, ret_value, ret_problem);
    case OP_SUB:
        return bounded(a - b, ret_value, ret_problem);
    case OP_MUL:
        /* A product that does not fit 128 bits is beyond 1e12 anyway: both are in 1e-12. */
        if (__builtin_mul_overflow(a, b, &value)) {
            return bounded(PRICE_WIDE_MAX + 1, ret_value, ret_problem);
        }
        return bounded(nearest(value, PRICE_WIDE_ONE), ret_value, ret_problem);
    case OP_DIV:
        if (b == 0) {
            *ret_problem = "division by zero";
            return FORMULA_FAULT;
        }
        return bounded(nearest(a * PRICE_WIDE_ONE, b), ret_value, ret_problem);
    case OP_MIN:
        return bounded(a < b ? a : b, ret_value, ret_problem);
    case OP_MAX:
        return bounded(a > b ? a : b, ret_value, ret_problem);
    case OP_LT:
        *ret_value = a < b;
        return FORMULA_KNOWN;
    case OP_LE:
        *ret_value = a <= b;
        return FORMULA_KNOWN;
    case OP_GT:
        *ret_value = a > b;
        return FORMULA_KNOWN;
    case OP_GE:
        *ret_value = a >= b;
        return FORMULA_KNOWN;
    case OP_EQ:
        *ret_value = a == b;
        return FORMULA_KNOWN;
    case OP_NE:
        *ret_value = a != b;
        return FORMULA_KNOWN;
    default:
        assert(op == OP_NOT);
        *ret_value = !a;
        return FORMULA_KNOWN;
    }
}

/* `and` and `or`: what the left side decides is not asked of the right, so that a condition can
 * guard a division; an unknown side leaves the other to decide. */
static enum formula_result
evaluate_logic(const struct formula_node *nodes, const struct formula_node *node,
               formula_lookup_fn *lookup, void *user, price_wide *ret_value,
               const char **ret_problem)
{
    price_wide decides = node->op == OP_OR;
    price_wide left;
    price_wide right;
    enum formula_result first = evaluate(nodes, node->left, lookup, user, &left, ret_problem);

    if (first == FORMULA_FAULT || (first == FORMULA_KNOWN && left == decides)) {
        *ret_value = decides;
        return first;
    }
    enum formula_result second = evaluate(nodes, node->right, lookup, user, &right, ret_problem);
    if (second == FORMULA_FAULT || (second == FORMULA_KNOWN && right == decides)) {
        *ret_value = decides;
        return second;
    }
    *ret_value = !decides;
    return first == FORMULA_KNOWN && second == FORMULA_KNOWN ? FORMULA_KNOWN : FORMULA_UNKNOWN;
}

/* The parser bounds the depth of the tree. */
static enum formula_result
evaluate(const struct formula_node *nodes, uint16_t index, formula_lookup_fn *lookup, void *user,
         price_wide *ret_value, const char **ret_problem)
{
    const struct formula_node *node = &nodes[index];
    price_wide a = 0;
    price_wide b = 0;

    if (node->op == OP_NUMBER || node->op == OP_TRUTH) {
        *ret_value = node->value;
        return FORMULA_KNOWN;
    }
    if (node->op == OP_NAME) {
        bool known = lookup && lookup(user, node->name, ret_value);
        return known ? FORMULA_KNOWN : FORMULA_UNKNOWN;
    }
    if (node->op == OP_AND || node->op == OP_OR) {
        return evaluate_logic(nodes, node, lookup, user, ret_value, ret_problem);
    }
    enum formula_result first = evaluate(nodes, node->left, lookup, user, &a, ret_problem);
    enum formula_result second = FORMULA_KNOWN;
    if (first != FORMULA_FAULT && node->op >= OP_ADD && node->op != OP_NOT) {
        second = evaluate(nodes, node->right, lookup, user, &b, ret_problem);
    }
    if (first == FORMULA_FAULT || second == FORMULA_FAULT) {
        return FORMULA_FAULT;
    }
    if (first == FORMULA_UNKNOWN || second == FORMULA_UNKNOWN) {
        return FORMULA_UNKNOWN;
    }
    return compute(node->op, a, b, ret_value, ret_problem);
}

enum formula_result
formula_number(const struct formula *formula, formula_lookup_fn *lookup, void *user,
               price_wide *ret_value, const char **ret_problem)
{
    assert(formula->nodes && !formula->condition);
    return evaluate(formula->nodes, formula->root, lookup, user, ret_value, ret_problem);
}

bool
formula_truth(const struct formula *formula, formula_lookup_fn *lookup, void *user,
              enum tri *ret_truth, const char **ret_problem)
{
    price_wide value = 0;

    assert(formula->nodes && formula->condition);
    switch (evaluate(formula->nodes, formula->root, lookup, user, &value, ret_problem)) {
    case FORMULA_KNOWN:
        *ret_truth = value ? TRI_YES : TRI_NO;
        return true;
    case FORMULA_UNKNOWN:
        *ret_truth = TRI_MAYBE;
        return true;
    case FORMULA_FAULT:
        break;
    }
    return false;
}

/* ---- parsing ---- */

static struct part
fail(struct parser *p, size_t offset, const char *expected)
{
    if (!p->failed) {
        struct slice rest = slice_sub(p->text, offset, 24);
        p->failed = true;
        p->fault->offset = offset;
        snprintf(p->fault->msg, sizeof(p->fault->msg), "%s%.*s%s; expected %s",
                 rest.len ? "\"" : "the end of the text", SLICE_FMT(rest), rest.len ? "\"" : "",
                 expected);
    }
    return (struct part){0, false};
}

static void
skip_blanks(struct parser *p)
{
    while (p->at < p->text.len && isspace((unsigned char)p->text.ptr[p->at])) {
        p->at++;
    }
}

static bool
is_name_char(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

static struct slice
peek_word(struct parser *p)
{
    skip_blanks(p);
    size_t end = p->at;
    if (end < p->text.len &&
        (isalpha((unsigned char)p->text.ptr[end]) || p->text.ptr[end] == '_')) {
        while (end < p->text.len && is_name_char(p->text.ptr[end])) {
            end++;
        }
    }
    return slice_sub(p->text, p->at, end - p->at);
}

static bool
take_word(struct parser *p, const char *word)
{
    struct slice next = peek_word(p);

    if (!slice_is(next, word)) {
        return false;
    }
    p->at += next.len;
    return true;
}

static bool
take(struct parser *p, const char *symbol)
{
    skip_blanks(p);
    if (!slice_starts(slice_sub(p->text, p->at, p->text.len), symbol)) {
        return false;
    }
    p->at += strlen(symbol);
    return true;
}

static bool
is_constant(const struct parser *p, uint16_t node)
{
    return p->nodes[node].op == OP_NUMBER || p->nodes[node].op == OP_TRUTH;
}

static struct part
add_node(struct parser *p, struct formula_node node, bool truth)
{
    if (p->count == FORMULA_NODES_MAX) {
        return fail(p, p->at, "a shorter formula");
    }
    p->nodes[p->count] = node;
    return (struct part){p->count++, truth};
}

/* Adds an operation; of constants, its result. */
static struct part
add_op(struct parser *p, size_t offset, enum formula_op op, struct part a, struct part b)
{
    bool truth = op >= OP_LT;
    bool wants_truth = op >= OP_AND;
    bool two = op >= OP_ADD && op != OP_NOT;

    if (p->failed) {
        return (struct part){0, truth};
    }
    if (a.truth != wants_truth || (two && b.truth != wants_truth)) {
        return fail(p, offset,
                    wants_truth ? "conditions (candles >= 10) around and, or, not"
                                : "numbers around an operator, not a condition");
    }
    struct part part =
        add_node(p, (struct formula_node){.op = op, .left = a.node, .right = b.node}, truth);
    if (p->failed || !is_constant(p, a.node) || (two && !is_constant(p, b.node))) {
        return part;
    }
    const char *problem = NULL;
    price_wide value = 0;
    if (evaluate(p->nodes, part.node, NULL, NULL, &value, &problem) == FORMULA_FAULT) {
        p->failed = true;
        p->fault->offset = offset;
        snprintf(p->fault->msg, sizeof(p->fault->msg), "%s", problem);
        return part;
    }
    p->nodes[part.node] = (struct formula_node){.op = truth ? OP_TRUTH : OP_NUMBER, .value = value};
    return part;
}

static struct part
parse_number(struct parser *p)
{
    struct number number;
    size_t offset = p->at;
    const char *end = number_scan(p->text.ptr + p->at, p->text.ptr + p->text.len, &number);
    price_wide value;

    if (!end || !price_wide_parse(number.text, &value)) {
        return fail(p, offset, "a number of at most 12 decimals and 1 000 000 000 000");
    }
    p->at = (size_t)(end - p->text.ptr);
    return add_node(p, (struct formula_node){.op = OP_NUMBER, .value = value}, false);
}

static struct part
parse_call(struct parser *p, size_t offset, enum formula_op op, bool several)
{
    struct part left = parse_or(p);
    size_t count = 1;

    while (!p->failed && several && take(p, ",")) {
        left = add_op(p, offset, op, left, parse_or(p));
        count++;
    }
    if (!p->failed && several && count < 2) {
        return fail(p, offset, "two arguments or more, as in min(candles, 100)");
    }
    if (!p->failed && !take(p, ")")) {
        return fail(p, p->at, several ? "\",\" or \")\"" : "\")\"");
    }
    return several ? left : add_op(p, offset, op, left, left);
}

static struct part
parse_name(struct parser *p, struct slice word)
{
    size_t offset = p->at;

    p->at += word.len;
    for (size_t i = 0; i < p->names->count; i++) {
        if (slice_is(word, p->names->names[i])) {
            p->used |= UINT64_C(1) << i;
            return add_node(p, (struct formula_node){.op = OP_NAME, .name = (uint16_t)i}, false);
        }
    }
    if (!p->failed) {
        const char *near = catalog_suggest_name(word, p->names->names, p->names->count);
        p->failed = true;
        p->fault->offset = offset;
        snprintf(p->fault->msg, sizeof(p->fault->msg),
                 "unknown parameter \"%.*s\"%s%s%s; parameters are declared under params",
                 (int)(word.len < 64 ? word.len : 64), word.ptr, near ? "; did you mean " : "",
                 near ? near : "", near ? "?" : "");
    }
    return (struct part){0, false};
}

static struct part
parse_primary(struct parser *p)
{
    static const struct {
        const char *name;
        enum formula_op op;
        bool several;
    } functions[] = {{"ceil", OP_CEIL, false},
                     {"floor", OP_FLOOR, false},
                     {"round", OP_ROUND, false},
                     {"min", OP_MIN, true},
                     {"max", OP_MAX, true}};
    struct slice word = peek_word(p);
    size_t offset = p->at;

    if (word.len == 0) {
        if (take(p, "(")) {
            struct part inner = parse_or(p);
            return p->failed || take(p, ")") ? inner : fail(p, p->at, "\")\"");
        }
        char c = p->at < p->text.len ? p->text.ptr[p->at] : '\0';
        if (isdigit((unsigned char)c) || (c == '.' && p->at + 1 < p->text.len &&
                                          isdigit((unsigned char)p->text.ptr[p->at + 1]))) {
            return parse_number(p);
        }
        return fail(p, p->at, "a number, a parameter, a function or \"(\"");
    }
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        if (slice_is(word, functions[i].name)) {
            p->at += word.len;
            if (!take(p, "(")) {
                return fail(p, p->at, "\"(\" behind the function's name");
            }
            return parse_call(p, offset, functions[i].op, functions[i].several);
        }
    }
    return parse_name(p, word);
}

/* Every recursion of the grammar passes here: this is where its depth is bounded. */
static struct part
parse_unary(struct parser *p)
{
    struct part part;

    skip_blanks(p);
    size_t offset = p->at;
    if (p->depth == FORMULA_DEPTH_MAX) {
        return fail(p, p->at, "less nesting");
    }
    p->depth++;
    if (!p->failed && take(p, "-")) {
        part = parse_unary(p);
        part = add_op(p, offset, OP_NEGATE, part, part);
    } else {
        part = p->failed ? (struct part){0, false} : parse_primary(p);
    }
    p->depth--;
    return part;
}

static struct part
parse_product(struct parser *p)
{
    struct part left = parse_unary(p);

    while (!p->failed) {
        skip_blanks(p);
        size_t offset = p->at;
        if (take(p, "*")) {
            left = add_op(p, offset, OP_MUL, left, parse_unary(p));
        } else if (take(p, "/")) {
            left = add_op(p, offset, OP_DIV, left, parse_unary(p));
        } else {
            break;
        }
    }
    return left;
}

static struct part
parse_sum(struct parser *p)
{
    struct part left = parse_product(p);

    while (!p->failed) {
        skip_blanks(p);
        size_t offset = p->at;
        if (take(p, "+")) {
            left = add_op(p, offset, OP_ADD, left, parse_product(p));
        } else if (take(p, "-")) {
            left = add_op(p, offset, OP_SUB, left, parse_product(p));
        } else {
            break;
        }
    }
    return left;
}

static struct part
parse_comparison(struct parser *p)
{
    /* The longer of two with the same beginning first. */
    static const struct {
        const char *symbol;
        enum formula_op op;
    } comparisons[] = {{"<=", OP_LE}, {">=", OP_GE}, {"==", OP_EQ},
                       {"!=", OP_NE}, {"<", OP_LT},  {">", OP_GT}};
    struct part left = parse_sum(p);

    skip_blanks(p);
    size_t offset = p->at;
    for (size_t i = 0; !p->failed && i < sizeof(comparisons) / sizeof(comparisons[0]); i++) {
        if (take(p, comparisons[i].symbol)) {
            return add_op(p, offset, comparisons[i].op, left, parse_sum(p));
        }
    }
    return left;
}

static struct part
parse_not(struct parser *p)
{
    bool negated = false;

    skip_blanks(p);
    size_t offset = p->at;
    while (take_word(p, "not")) {
        negated = !negated;
        skip_blanks(p);
    }
    struct part part = parse_comparison(p);
    return negated ? add_op(p, offset, OP_NOT, part, part) : part;
}

static struct part
parse_and(struct parser *p)
{
    struct part left = parse_not(p);

    while (!p->failed) {
        skip_blanks(p);
        size_t offset = p->at;
        if (!take_word(p, "and")) {
            break;
        }
        left = add_op(p, offset, OP_AND, left, parse_not(p));
    }
    return left;
}

static struct part
parse_or(struct parser *p)
{
    struct part left = parse_and(p);

    while (!p->failed) {
        skip_blanks(p);
        size_t offset = p->at;
        if (!take_word(p, "or")) {
            break;
        }
        left = add_op(p, offset, OP_OR, left, parse_and(p));
    }
    return left;
}

bool
formula_parse(struct slice text, const struct formula_names *names, bool condition,
              struct arena *arena, struct formula *ret, struct formula_fault *ret_fault)
{
    struct parser p = {.text = text, .names = names, .fault = ret_fault};

    assert(names->count <= FORMULA_NAMES_MAX);
    if (text.len > FORMULA_BYTES_MAX) {
        fail(&p, 0, "at most 4096 bytes");
        return false;
    }
    struct part root = parse_or(&p);
    skip_blanks(&p);
    if (!p.failed && p.at < text.len) {
        fail(&p, p.at, "an operator (+ - * / < <= > >= == != and or) or the end");
    }
    if (!p.failed && root.truth != condition) {
        fail(&p, 0,
             condition ? "a condition, such as candles >= 1000" : "a number, not a condition");
    }
    if (p.failed) {
        return false;
    }
    struct formula_node *nodes = arena_alloc(arena, p.count * sizeof(nodes[0]));
    struct slice source = arena_dup(arena, text);
    if (arena->overflow) {
        fail(&p, 0, "fewer formulas in all");
        return false;
    }
    memcpy(nodes, p.nodes, p.count * sizeof(nodes[0]));
    *ret = (struct formula){.nodes = nodes,
                            .root = root.node,
                            .condition = condition,
                            .names = p.used,
                            .source = source.ptr};
    return true;
}
