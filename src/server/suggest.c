/* Nearest names by the optimal string alignment distance, three rows at a time. */
#include "server/suggest.h"

#include <ctype.h>
#include <stdint.h>

static bool
same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t
suggest_distance(struct slice a, struct slice b)
{
    size_t rows[3][SUGGEST_WORD_MAX + 1];
    size_t *before = rows[0];
    size_t *above = rows[1];
    size_t *row = rows[2];

    if (a.len > SUGGEST_WORD_MAX || b.len > SUGGEST_WORD_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b.len; j++) {
        above[j] = j;
    }
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            bool same = same_letter(a.ptr[i - 1], b.ptr[j - 1]);
            row[j] = least(above[j - 1] + (same ? 0 : 1), least(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && same_letter(a.ptr[i - 1], b.ptr[j - 2]) &&
                same_letter(a.ptr[i - 2], b.ptr[j - 1])) {
                row[j] = least(row[j], before[j - 2] + 1);
            }
        }
        size_t *oldest = before;
        before = above;
        above = row;
        row = oldest;
    }
    return above[b.len];
}

void
suggest_init(struct suggest *suggest, struct slice word)
{
    *suggest = (struct suggest){.word = word, .distance = SIZE_MAX};
}

void
suggest_offer_as(struct suggest *suggest, struct slice as, const char *candidate)
{
    size_t distance = suggest_distance(suggest->word, as);
    size_t near_enough = as.len < 4 ? 1 : (as.len + 2) / 3;

    /* Every word of one letter is one edit from every other: that is no likeness. */
    if (distance <= near_enough && distance < as.len && distance < suggest->distance) {
        suggest->best = candidate;
        suggest->distance = distance;
    }
}

void
suggest_offer(struct suggest *suggest, const char *candidate)
{
    suggest_offer_as(suggest, slice_of(candidate), candidate);
}
