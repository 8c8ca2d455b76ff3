/* A hashed timing wheel with lazily moved timers. */
#include "net/wheel.h"

#include <assert.h>

static size_t
slot_of(uint64_t tick)
{
    return (size_t)(tick % NET_WHEEL_SLOTS);
}

static uint64_t
tick_reached(int64_t now_us)
{
    return now_us < 0 ? 0 : (uint64_t)now_us / NET_WHEEL_TICK_US;
}

static uint64_t
tick_after(int64_t due_us)
{
    return due_us < 0 ? 0 : ((uint64_t)due_us + NET_WHEEL_TICK_US - 1) / NET_WHEEL_TICK_US;
}

void
net_wheel_init(struct net_wheel *wheel, int64_t now_us)
{
    *wheel = (struct net_wheel){.tick = tick_reached(now_us)};
    for (size_t i = 0; i < NET_WHEEL_SLOTS; i++) {
        wheel->slots[i] = (struct net_timer_link){&wheel->slots[i], &wheel->slots[i]};
    }
}

static void
unlink_timer(struct net_timer_link *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    *link = (struct net_timer_link){NULL, NULL};
}

static void
link_behind(struct net_timer_link *head, struct net_timer_link *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Puts an unlinked timer where the wheel finds it in time. */
static void
place(struct net_wheel *wheel, struct net_timer *timer)
{
    uint64_t tick = tick_after(timer->due_us);

    if (tick <= wheel->tick) {
        tick = wheel->tick + 1;
    }
    if (tick > wheel->tick + NET_WHEEL_SLOTS - 1) {
        tick = wheel->tick + NET_WHEEL_SLOTS - 1;
    }
    timer->tick = tick;
    size_t slot = slot_of(tick);
    wheel->filled[slot / 64] |= 1ULL << (slot % 64);
    link_behind(&wheel->slots[slot], &timer->link);
}

void
net_wheel_set(struct net_wheel *wheel, struct net_timer *timer, int64_t due_us)
{
    assert(timer->fn);
    timer->due_us = due_us;
    if (timer->link.next) {
        if (timer->tick > wheel->tick && tick_after(due_us) >= timer->tick) {
            return;
        }
        unlink_timer(&timer->link);
    }
    place(wheel, timer);
}

void
net_wheel_cancel(struct net_timer *timer)
{
    if (timer->link.next) {
        unlink_timer(&timer->link);
    }
}

static void
expire_slot(struct net_wheel *wheel, size_t slot, uint64_t now_tick)
{
    struct net_timer_link due;
    struct net_timer_link *head = &wheel->slots[slot];

    wheel->filled[slot / 64] &= ~(1ULL << (slot % 64));
    if (head->next == head) {
        return;
    }
    /* The list moves to a head of its own, so that callbacks may set and cancel any timer. */
    due = *head;
    due.next->prev = &due;
    due.prev->next = &due;
    *head = (struct net_timer_link){head, head};
    while (due.next != &due) {
        struct net_timer *timer = (struct net_timer *)due.next;
        unlink_timer(&timer->link);
        if (tick_after(timer->due_us) <= now_tick) {
            timer->fn(timer);
        } else {
            place(wheel, timer);
        }
    }
}

void
net_wheel_expire(struct net_wheel *wheel, int64_t now_us)
{
    uint64_t now_tick = tick_reached(now_us);

    if (now_tick > wheel->tick + NET_WHEEL_SLOTS) {
        /* Every slot is visited once below, whatever its timers' ticks were. */
        wheel->tick = now_tick - NET_WHEEL_SLOTS;
    }
    while (wheel->tick < now_tick) {
        wheel->tick++;
        size_t slot = slot_of(wheel->tick);
        if (wheel->filled[slot / 64] & (1ULL << (slot % 64))) {
            expire_slot(wheel, slot, now_tick);
        }
    }
}

int64_t
net_wheel_wait_us(struct net_wheel *wheel, int64_t now_us)
{
    for (uint64_t tick = wheel->tick + 1; tick < wheel->tick + NET_WHEEL_SLOTS;) {
        size_t slot = slot_of(tick);
        uint64_t word = wheel->filled[slot / 64] >> (slot % 64);
        if (word == 0) {
            tick += 64 - slot % 64;
            continue;
        }
        tick += (uint64_t)__builtin_ctzll(word);
        slot = slot_of(tick);
        if (wheel->slots[slot].next == &wheel->slots[slot]) {
            wheel->filled[slot / 64] &= ~(1ULL << (slot % 64));
            continue;
        }
        int64_t at_us = (int64_t)tick * NET_WHEEL_TICK_US;
        return at_us > now_us ? at_us - now_us : 0;
    }
    return -1;
}
