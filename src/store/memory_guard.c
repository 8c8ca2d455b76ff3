/* Watching the process' memory while statements run. */
#include "store/memory_guard.h"

#include <assert.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"

enum {
    LOOK_US = 10000,
    TRIM_PAUSE_US = 500000, /* a statement at the limit is not saved by trimming again and again */
    STATM_BYTES = 256,
    US = 1000000,
    NS_PER_US = 1000,
    MIN_SHARE = 16, /* of the limit: what a statement that is ended has at least */
    SLACK_SHARE = 8,
    MUCH_MIB = 64,     /* worth being given back at once */
    PATIENCE_SHARE = 8 /* so far above the limit a second one goes before the first has ended */
};

static const uint64_t mib = 1 << 20;

struct memory_guard {
    struct memory_guard_options options;
    const struct memory_system *system;
    const struct clock *clock;
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t changed;
    struct memory_statement *statements;
    uint64_t used_bytes;      /* when last looked */
    uint64_t idle_used_bytes; /* the least without statements since the last trim then */
    int64_t trimmed_us;
    bool left_since_trim; /* a statement, which may have freed something */
    bool left_much;       /* one that had a large share */
    uint64_t ended;
    uint64_t trims;
    bool stopping;
    bool has_thread;
    pthread_t thread;
};

/* ---- this process ---- */

/* The figures of /proc/self/statm, in pages. */
enum statm_field { SIZE, RESIDENT, SHARED, TEXT, LIB, DATA, STATM_FIELDS };

static bool
look_at_process(void *ctx, struct memory_figures *ret_figures)
{
    static _Atomic uint64_t page_bytes;
    char text[STATM_BYTES];
    uint64_t pages[STATM_FIELDS];

    (void)ctx;
    if (page_bytes == 0) {
        page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    }
    if (limits_read_file("/proc/self/statm", text, sizeof(text)) == 0) {
        return false;
    }
    char *at = text;
    for (int i = 0; i < STATM_FIELDS; i++) {
        char *end;
        pages[i] = strtoull(at, &end, 10);
        if (end == at) {
            return false;
        }
        at = end;
    }
    uint64_t own = pages[RESIDENT] > pages[SHARED] ? pages[RESIDENT] - pages[SHARED] : 0;
    *ret_figures = (struct memory_figures){.used_bytes = own * page_bytes,
                                           .mapped_bytes = pages[DATA] * page_bytes};
    return true;
}

static void
trim_process(void *ctx)
{
    (void)ctx;
    malloc_trim(0);
}

static void
fuse_process(void *ctx, uint64_t mapped_bytes_max)
{
    struct rlimit limit;

    (void)ctx;
    /* The allocators of the sanitizers end the program where others fail. */
    if (!EIDER_SANITIZED && getrlimit(RLIMIT_DATA, &limit) == 0) {
        rlim_t wanted = mapped_bytes_max < limit.rlim_max ? mapped_bytes_max : limit.rlim_max;
        if (wanted != limit.rlim_cur) {
            limit.rlim_cur = wanted;
            setrlimit(RLIMIT_DATA, &limit); /* refused: there is no fuse */
        }
    }
}

static const struct memory_system process = {look_at_process, trim_process, fuse_process, NULL};

/* ---- looking ---- */

/* What comes is shared evenly, what goes is taken from those who have. */
static void
share_change(struct memory_guard *guard, uint64_t used_bytes)
{
    bool grew = used_bytes > guard->used_bytes;
    uint64_t change = grew ? used_bytes - guard->used_bytes : guard->used_bytes - used_bytes;
    uint64_t shared = 0;
    uint64_t count = 0;

    for (struct memory_statement *s = guard->statements; s; s = s->next) {
        shared += s->share_bytes;
        count++;
    }
    for (struct memory_statement *s = guard->statements; s; s = s->next) {
        if (grew) {
            s->share_bytes += change / count;
        } else if (change < shared) {
            s->share_bytes -= (uint64_t)((double)change * (double)s->share_bytes / (double)shared);
        } else {
            s->share_bytes = 0;
        }
    }
    guard->used_bytes = used_bytes;
}

static void
set_fuse(const struct memory_guard *guard, const struct memory_figures *figures)
{
    uint64_t slack = guard->options.limit_bytes / SLACK_SHARE;

    slack = slack < 64 * mib ? 64 * mib : slack;
    slack = slack > 1024 * mib ? 1024 * mib : slack;
    uint64_t most = guard->options.limit_bytes + slack;
    uint64_t room = figures->used_bytes < most ? most - figures->used_bytes : 0;
    guard->system->fuse(guard->system->ctx, figures->mapped_bytes + room);
}

/* With the lock held; false when the process cannot be looked at. */
static bool
look(struct memory_guard *guard, struct memory_figures *figures)
{
    if (!guard->system->look(guard->system->ctx, figures)) {
        return false;
    }
    share_change(guard, figures->used_bytes);
    if (guard->statements) {
        set_fuse(guard, figures);
    }
    return true;
}

/* Whether to give freed memory back: behind a statement that had much, at the limit, and behind all
 * statements when they left much together. */
static bool
is_time_to_trim(const struct memory_guard *guard)
{
    if (guard->left_much) {
        return true;
    }
    if (guard->statements) {
        return guard->used_bytes > guard->options.limit_bytes &&
               (guard->left_since_trim ||
                clock_mono_us(guard->clock) - guard->trimmed_us >= TRIM_PAUSE_US);
    }
    return guard->left_since_trim && guard->used_bytes > guard->idle_used_bytes + MUCH_MIB * mib;
}

/* Without the lock, which others need meanwhile: there may be much to give back. */
static void
trim(struct memory_guard *guard, struct memory_figures *figures)
{
    guard->left_since_trim = false;
    guard->left_much = false;
    pthread_mutex_unlock(&guard->lock);
    guard->system->trim(guard->system->ctx);
    if (guard->options.trim) {
        guard->options.trim();
    }
    pthread_mutex_lock(&guard->lock);
    guard->trims++;
    guard->trimmed_us = clock_mono_us(guard->clock);
    look(guard, figures);
}

/* The one that most memory came with; NULL when it came from elsewhere, or one is ending yet. */
static struct memory_statement *
choose(const struct memory_guard *guard)
{
    uint64_t limit = guard->options.limit_bytes;
    bool patient = guard->used_bytes <= limit + limit / PATIENCE_SHARE;
    struct memory_statement *most = NULL;

    for (struct memory_statement *s = guard->statements; s; s = s->next) {
        if (s->ended && patient) {
            return NULL;
        }
        if (!s->ended && s->share_bytes >= limit / MIN_SHARE &&
            (!most || s->share_bytes > most->share_bytes)) {
            most = s;
        }
    }
    return most;
}

void
memory_guard_look(struct memory_guard *guard)
{
    struct memory_figures figures;

    pthread_mutex_lock(&guard->lock);
    bool seen = look(guard, &figures);
    if (seen && is_time_to_trim(guard)) {
        bool idle = !guard->statements;
        trim(guard, &figures);
        guard->idle_used_bytes = idle ? guard->used_bytes : guard->idle_used_bytes;
    }
    if (!guard->statements) {
        guard->left_since_trim = false;
        if (guard->used_bytes < guard->idle_used_bytes) {
            guard->idle_used_bytes = guard->used_bytes;
        }
    }
    struct memory_statement *most =
        seen && guard->used_bytes > guard->options.limit_bytes ? choose(guard) : NULL;
    if (most) {
        most->ended = true;
        most->used_bytes = guard->used_bytes;
        most->ended_bytes = most->share_bytes;
        guard->ended++;
        most->interrupt(most->ctx);
    }
    pthread_mutex_unlock(&guard->lock);
}

static void *
watch(void *ctx)
{
    struct memory_guard *guard = ctx;

    pthread_mutex_lock(&guard->lock);
    while (!guard->stopping) {
        if (!guard->statements && !guard->left_since_trim) {
            pthread_cond_wait(&guard->changed, &guard->lock);
            continue;
        }
        /* The kernel's time, not the tests'. */
        int64_t until_us = clock_mono_us(clock_system()) + LOOK_US;
        struct timespec until = {until_us / US, until_us % US * NS_PER_US};
        pthread_cond_timedwait(&guard->changed, &guard->lock, &until);
        pthread_mutex_unlock(&guard->lock);
        memory_guard_look(guard);
        pthread_mutex_lock(&guard->lock);
    }
    pthread_mutex_unlock(&guard->lock);
    return NULL;
}

/* ---- statements ---- */

void
memory_guard_enter(struct memory_guard *guard, struct memory_statement *statement)
{
    struct memory_figures figures;

    if (!guard) {
        return;
    }
    statement->share_bytes = 0;
    statement->ended = false;
    pthread_mutex_lock(&guard->lock);
    if (!guard->statements) {
        /* What came before is nobody's share. */
        if (look(guard, &figures)) {
            set_fuse(guard, &figures);
        }
        pthread_cond_signal(&guard->changed);
    }
    statement->next = guard->statements;
    guard->statements = statement;
    pthread_mutex_unlock(&guard->lock);
}

void
memory_guard_leave(struct memory_guard *guard, struct memory_statement *statement)
{
    if (!guard) {
        return;
    }
    pthread_mutex_lock(&guard->lock);
    struct memory_statement **at = &guard->statements;
    while (*at != statement) {
        assert(*at);
        at = &(*at)->next;
    }
    *at = statement->next;
    guard->left_since_trim = true;
    if (statement->share_bytes >= MUCH_MIB * mib) {
        guard->left_much = true;
        pthread_cond_signal(&guard->changed);
    }
    if (!guard->statements) {
        guard->system->fuse(guard->system->ctx, UINT64_MAX);
    }
    pthread_mutex_unlock(&guard->lock);
}

enum err_code
memory_guard_why(struct memory_guard *guard, const struct memory_statement *statement,
                 struct err *err)
{
    pthread_mutex_lock(&guard->lock);
    unsigned long long share = statement->ended_bytes / mib;
    unsigned long long used = statement->used_bytes / mib;
    pthread_mutex_unlock(&guard->lock);
    return err_set(err, ERR_TOO_LARGE,
                   "the statement was ended: the server's memory came to %llu MiB, %llu MiB of it "
                   "with this statement, and server.memory_max is %llu MiB; ask of fewer rows, or "
                   "in another way: quantile_cont, median and mode keep every value, "
                   "approx_quantile does not (docs/sql.md)",
                   used, share, (unsigned long long)(guard->options.limit_bytes / mib));
}

void
memory_guard_stats(struct memory_guard *guard, struct memory_guard_stats *ret_stats)
{
    struct memory_figures figures = {0};

    guard->system->look(guard->system->ctx, &figures);
    pthread_mutex_lock(&guard->lock);
    *ret_stats = (struct memory_guard_stats){
        .limit_bytes = guard->options.limit_bytes,
        .used_bytes = figures.used_bytes,
        .ended = guard->ended,
        .trims = guard->trims,
    };
    pthread_mutex_unlock(&guard->lock);
}

/* ---- life ---- */

enum err_code
memory_guard_new(const struct memory_guard_options *options, struct memory_guard **ret_guard,
                 struct err *err)
{
    struct memory_guard *guard = mem_zalloc(1, sizeof(*guard));
    pthread_condattr_t attr;

    assert(options->limit_bytes > 0);
    guard->options = *options;
    guard->system = options->system ? options->system : &process;
    guard->clock = options->clock ? options->clock : clock_system();
    guard->trimmed_us = INT64_MIN / 2;
    pthread_mutex_init(&guard->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&guard->changed, &attr);
    pthread_condattr_destroy(&attr);
    int failed = options->no_thread ? 0 : pthread_create(&guard->thread, NULL, watch, guard);
    guard->has_thread = !options->no_thread && failed == 0;
    if (failed) {
        memory_guard_free(guard);
        return err_sys(err, failed, "starting the thread that watches memory");
    }
    *ret_guard = guard;
    return ERR_OK;
}

void
memory_guard_free(struct memory_guard *guard)
{
    if (!guard) {
        return;
    }
    assert(!guard->statements);
    if (guard->has_thread) {
        pthread_mutex_lock(&guard->lock);
        guard->stopping = true;
        pthread_cond_signal(&guard->changed);
        pthread_mutex_unlock(&guard->lock);
        pthread_join(guard->thread, NULL);
    }
    pthread_cond_destroy(&guard->changed);
    pthread_mutex_destroy(&guard->lock);
    free(guard);
}
