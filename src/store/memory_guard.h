/*
 * Keeps the statements of users from taking the process beyond a bound. What DuckDB counts it keeps
 * below its own limit; what its aggregates over all values (quantile_cont, median, mode) and its
 * functions over one huge value take it does not count. So the guard looks at the process:
 *
 *   every 10 ms while statements run      memory is at the limit: freed memory goes back to the
 *                                         system; still there: the statement that most memory came
 *                                         with is interrupted, and its error says so
 *   at the same times, the fuse           RLIMIT_DATA is set to what is there and room is left for,
 *                                         and some slack: one allocation beyond that fails at once,
 *                                         in the statement that wants it. The program's own memory
 *                                         is not held to it (base/mem.c lifts it)
 *   behind the statements                 freed memory goes back to the system
 *
 * Memory is what is resident and not of files. A growth is shared evenly by the statements that run
 * while it is seen; one that has less than a sixteenth of the limit is never ended for it. So the
 * bound is the limit and the slack (an eighth of the limit, 64 MiB to 1 GiB), and what a statement
 * takes between two looks of memory that was given back but is mapped still.
 *
 * Threads: any; one lock, held while a statement is interrupted (memory_statement.interrupt), so
 * before whatever that takes. A thread of the guard's own looks.
 */
#ifndef EIDER_STORE_MEMORY_GUARD_H
#define EIDER_STORE_MEMORY_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

struct memory_guard;

struct memory_figures {
    uint64_t used_bytes;   /* resident, and of no file */
    uint64_t mapped_bytes; /* what RLIMIT_DATA counts */
};

/* What is looked at and done; tests have their own. */
struct memory_system {
    bool (*look)(void *ctx, struct memory_figures *ret_figures);
    void (*trim)(void *ctx);
    void (*fuse)(void *ctx, uint64_t mapped_bytes_max); /* UINT64_MAX: none */
    void *ctx;
};

struct memory_guard_options {
    uint64_t limit_bytes;               /* above 0 */
    const struct memory_system *system; /* NULL: this process */
    const struct clock *clock;          /* NULL: the system's */
    bool no_thread;                     /* memory_guard_look is called by whoever tests */
    void (*trim)(
        void); /* gives back what an allocator of a store's own keeps; NULL: there is none */
};

/* One statement; the caller's memory, the guard's between enter and leave. */
struct memory_statement {
    void (*interrupt)(void *ctx); /* called at most once; must not block, nor call the guard */
    void *ctx;

    struct memory_statement *next;
    uint64_t share_bytes; /* of the growth while it runs */
    bool ended;           /* it was interrupted, */
    uint64_t used_bytes;  /* at this much of the process, */
    uint64_t ended_bytes; /* and this much of its own */
};

struct memory_guard_stats {
    uint64_t limit_bytes;
    uint64_t used_bytes; /* now */
    uint64_t ended;      /* statements that were interrupted */
    uint64_t trims;
};

enum err_code memory_guard_new(const struct memory_guard_options *options,
                               struct memory_guard **ret_guard, struct err *err);

/* No statement may be entered any more. NULL is fine. */
void memory_guard_free(struct memory_guard *guard);

/* Begins and ends to watch a statement. Does nothing without a guard. */
void memory_guard_enter(struct memory_guard *guard, struct memory_statement *statement);
void memory_guard_leave(struct memory_guard *guard, struct memory_statement *statement);

/* Says in `err` why a statement was interrupted, ERR_TOO_LARGE; before it leaves. */
enum err_code memory_guard_why(struct memory_guard *guard, const struct memory_statement *statement,
                               struct err *err);

void memory_guard_stats(struct memory_guard *guard, struct memory_guard_stats *ret_stats);

/* Looks once, as the thread does. */
void memory_guard_look(struct memory_guard *guard);

#endif
