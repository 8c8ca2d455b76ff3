/*
 * "Did you mean": the nearest of some known words to a word that is not known.
 *
 * Threads: pure functions; any thread.
 */
#ifndef EIDER_SERVER_SUGGEST_H
#define EIDER_SERVER_SUGGEST_H

#include <stddef.h>

#include "base/slice.h"

enum { SUGGEST_WORD_MAX = 64 };

/* Edits (insert, delete, replace, swap of neighbours) between two words, case ignored; a word
 * longer than SUGGEST_WORD_MAX is infinitely far (SIZE_MAX). */
size_t suggest_distance(struct slice a, struct slice b);

/* Collects the best of many candidates. Zeroed before the first suggest_offer. */
struct suggest {
    struct slice word;
    const char *best; /* NULL: nothing is near enough */
    size_t distance;
};

void suggest_init(struct suggest *suggest, struct slice word);

/* Considers `candidate`, which must outlive; it is near enough within a third of its length. */
void suggest_offer(struct suggest *suggest, const char *candidate);

/* As suggest_offer, judged by the spelling `as` but named `candidate` in the answer. */
void suggest_offer_as(struct suggest *suggest, struct slice as, const char *candidate);

#endif
