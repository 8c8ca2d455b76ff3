/*
 * What the corrections of a log come to, by the entry they correct: gathered in one walk, asked in
 * the next.
 *
 * Ownership: init/fini. One thread.
 */
#ifndef EIDER_CLI_EVENTLOG_CORRECTIONS_H
#define EIDER_CLI_EVENTLOG_CORRECTIONS_H

#include "base/arena.h"
#include "cli/ledger.h"

struct corrected {
    const char *id;
    int64_t credits; /* of all its corrections together */
    uint32_t count;
};

struct corrections {
    struct arena texts;
    size_t count;
    size_t room;
    struct corrected *items; /* in order of ids once they are gathered */
};

void corrections_init(struct corrections *corrections);
void corrections_fini(struct corrections *corrections);

/* Walks the log. ERR_TOO_LARGE when the ids do not fit 1 GiB. */
enum err_code corrections_gather(struct corrections *corrections, struct ledger *ledger,
                                 struct err *err);

/* Zeros when the entry has none. */
struct corrected corrections_find(const struct corrections *corrections, struct slice id);

/* Whether an entry passes a filter, but for its status. */
bool corrections_passes(const struct event_filter *filter, const struct event *event);

/* The scalar members at the top of an entry's metadata, at most `max`; texts borrow from the
 * metadata and the arena. */
struct price_field;
size_t corrections_fields(struct slice metadata, struct arena *arena,
                          struct price_field *ret_fields, size_t max);

#endif
