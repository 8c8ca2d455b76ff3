/*
 * Turns: what reads for long in one transaction, what changes the list of cold files, and what
 * needs the database without either, one at a time (engine.h says why).
 */
#include <assert.h>

#include "store/engine_private.h"

enum { TICK_MS = 50, US_PER_S = 1000000 };

static bool
is_given_up(struct engine *engine, const struct engine_turn *turn)
{
    return engine->closing || atomic_load(&engine->reads_stopped) ||
           (turn->stopping && atomic_load(turn->stopping));
}

static void
leave(struct engine *engine, const struct engine_turn *turn)
{
    struct engine_turn **at = &engine->turns;

    while (*at != turn) {
        assert(*at);
        at = &(*at)->next;
    }
    bool had_it = at == &engine->turns;
    *at = turn->next;
    if (had_it && engine->turns) {
        engine->turns->begun_us = clock_mono_us(engine->clock);
    }
    pthread_cond_broadcast(&engine->changed);
}

/* Why it was not its turn. */
static enum err_code
explain(struct engine *engine, const struct engine_turn *turn, int timeout_ms, struct err *err)
{
    int64_t since_us = clock_mono_us(engine->clock) - engine->turns->begun_us;

    if (is_given_up(engine, turn)) {
        return err_set(err, ERR_UNAVAILABLE, "the store is closing");
    }
    return err_set(err, ERR_TIMEOUT,
                   "%s waited %d s for %s, which has been under way for %lld s; ask again when it "
                   "has ended",
                   turn->what, timeout_ms / 1000, engine->turns->what,
                   (long long)(since_us / US_PER_S));
}

enum err_code
engine_turn_begin(struct engine *engine, struct engine_turn *turn, int timeout_ms, struct err *err)
{
    struct timespec until = engine_deadline(timeout_ms);
    enum err_code code = ERR_OK;

    turn->next = NULL;
    turn->over = false;
    pthread_mutex_lock(&engine->lock);
    struct engine_turn **at = &engine->turns;
    while (*at) {
        at = &(*at)->next;
    }
    *at = turn;
    turn->begun_us = clock_mono_us(engine->clock);
    while (engine->turns != turn && code == ERR_OK) {
        struct timespec tick = engine_deadline(TICK_MS);
        if (is_given_up(engine, turn) || !engine_is_before(&tick, &until)) {
            code = explain(engine, turn, timeout_ms, err);
        } else {
            pthread_cond_timedwait(&engine->changed, &engine->lock, &tick);
        }
    }
    if (code != ERR_OK) {
        leave(engine, turn);
    }
    pthread_mutex_unlock(&engine->lock);
    return code;
}

void
engine_turn_end(struct engine *engine, struct engine_turn *turn)
{
    pthread_mutex_lock(&engine->lock);
    assert(engine->turns == turn);
    leave(engine, turn);
    pthread_mutex_unlock(&engine->lock);
}

bool
engine_turn_is_over(struct engine *engine, const struct engine_turn *turn)
{
    pthread_mutex_lock(&engine->lock);
    bool over = turn->over;
    pthread_mutex_unlock(&engine->lock);
    return over;
}

bool
engine_turn_is_wanted(struct engine *engine, const struct engine_turn *turn)
{
    pthread_mutex_lock(&engine->lock);
    bool wanted = turn->next != NULL;
    pthread_mutex_unlock(&engine->lock);
    return wanted;
}

void
engine_turn_call_off(struct engine *engine)
{
    pthread_mutex_lock(&engine->lock);
    if (engine->turns) {
        engine->turns->over = true;
    }
    pthread_mutex_unlock(&engine->lock);
}
