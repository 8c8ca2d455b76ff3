/*
 * Chunks hold up to CHUNK_MAX entries; the first is small, because most windows are. Each knows its
 * sum and the most that its beginning frees, so that questions over a million entries look at a few
 * thousand chunks and one of them closely.
 */
#include "meter/window.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

enum { CHUNK_FIRST = 4, CHUNK_MAX = 128 };

/* Sums of some millions of amounts up to 10^18 each. */
__extension__ typedef __int128 wide;

struct window_entry {
    int64_t at_us;
    int64_t amount;
};

struct window_chunk {
    unsigned first; /* entries before it are drained */
    unsigned end;
    unsigned capacity;
    bool stale; /* the sums below are to be made again */
    wide sum;
    wide sum_peak; /* the largest sum of its first entries, at least 0 */
    struct window_entry entries[];
};

static int64_t
saturate(wide value)
{
    if (value > INT64_MAX) {
        return INT64_MAX;
    }
    return value < INT64_MIN ? INT64_MIN : (int64_t)value;
}

void
window_init(struct window *window, size_t entries_max)
{
    assert(entries_max >= WINDOW_ENTRIES_MIN);
    *window = (struct window){.entries_max = entries_max, .cutoff_us = INT64_MIN};
}

void
window_fini(struct window *window)
{
    for (size_t i = 0; i < window->chunk_count; i++) {
        free(window->chunks[i]);
    }
    free(window->chunks);
    *window = (struct window){0};
}

static void
change_sum(struct window *window, wide by)
{
    window->exact += by;
    window->sum = saturate(window->exact);
}

static struct window_chunk *
resize_chunk(struct window_chunk *chunk, unsigned capacity)
{
    size_t size = sizeof(*chunk) + capacity * sizeof(chunk->entries[0]);

    chunk = mem_resize(chunk, 1, size);
    chunk->capacity = capacity;
    return chunk;
}

/* Makes an empty chunk the one at `index`. */
static struct window_chunk *
insert_chunk(struct window *window, size_t index, unsigned capacity)
{
    struct window_chunk *chunk = resize_chunk(NULL, capacity);

    if (window->chunk_count == window->chunk_capacity) {
        window->chunk_capacity = window->chunk_capacity ? 2 * window->chunk_capacity : 1;
        window->chunks =
            mem_resize(window->chunks, window->chunk_capacity, sizeof(struct window_chunk *));
    }
    memmove(window->chunks + index + 1, window->chunks + index,
            (window->chunk_count - index) * sizeof(struct window_chunk *));
    window->chunks[index] = chunk;
    window->chunk_count++;
    chunk->first = chunk->end = 0;
    chunk->stale = true;
    return chunk;
}

/* Frees the chunks [from, from + count). */
static void
remove_chunks(struct window *window, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++) {
        free(window->chunks[i]);
    }
    window->chunk_count -= count;
    memmove(window->chunks + from, window->chunks + from + count,
            (window->chunk_count - from) * sizeof(struct window_chunk *));
    if (window->join_next > from) {
        size_t past = window->join_next - from;
        window->join_next -= past < count ? past : count;
    }
}

static void
update_chunk(struct window_chunk *chunk)
{
    if (!chunk->stale) {
        return;
    }
    chunk->stale = false;
    chunk->sum = chunk->sum_peak = 0;
    for (unsigned i = chunk->first; i < chunk->end; i++) {
        chunk->sum += chunk->entries[i].amount;
        chunk->sum_peak = chunk->sum > chunk->sum_peak ? chunk->sum : chunk->sum_peak;
    }
}

/* The first chunk whose last entry is at or after a time; the last one when there is none. */
static size_t
find_chunk(const struct window *window, int64_t at_us)
{
    size_t low = 0;
    size_t high = window->chunk_count - 1;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const struct window_chunk *chunk = window->chunks[middle];
        if (chunk->entries[chunk->end - 1].at_us < at_us) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The first entry at or after a time, or chunk->end. */
static unsigned
find_entry(const struct window_chunk *chunk, int64_t at_us)
{
    unsigned low = chunk->first;
    unsigned high = chunk->end;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        if (chunk->entries[middle].at_us < at_us) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void
remove_entry(struct window *window, size_t chunk_index, unsigned at)
{
    struct window_chunk *chunk = window->chunks[chunk_index];

    chunk->end--;
    memmove(chunk->entries + at, chunk->entries + at + 1,
            (chunk->end - at) * sizeof(chunk->entries[0]));
    chunk->stale = true;
    window->entries--;
    if (chunk->first == chunk->end) {
        remove_chunks(window, chunk_index, 1);
    }
}

/* Makes room for one more entry in a chunk that is full; the entry may belong into the next one
 * afterwards. */
static void
split_chunk(struct window *window, size_t index, unsigned at)
{
    struct window_chunk *chunk = window->chunks[index];
    bool at_the_end = index + 1 == window->chunk_count && at == chunk->end;
    /* Entries mostly come in order: a full last chunk stays full. */
    unsigned keep = at_the_end ? CHUNK_MAX : CHUNK_MAX / 2;
    struct window_chunk *next = insert_chunk(window, index + 1, CHUNK_MAX);

    chunk->end = keep;
    next->end = CHUNK_MAX - keep;
    memcpy(next->entries, chunk->entries + keep, next->end * sizeof(next->entries[0]));
    chunk->stale = true;
}

static void
insert_entry(struct window *window, size_t index, unsigned at, struct window_entry entry)
{
    struct window_chunk *chunk = window->chunks[index];

    if (chunk->end == chunk->capacity && chunk->first > 0) {
        memmove(chunk->entries, chunk->entries + chunk->first,
                (chunk->end - chunk->first) * sizeof(chunk->entries[0]));
        at -= chunk->first;
        chunk->end -= chunk->first;
        chunk->first = 0;
    } else if (chunk->end == chunk->capacity && chunk->capacity < CHUNK_MAX) {
        chunk = window->chunks[index] = resize_chunk(chunk, 2 * chunk->capacity);
    } else if (chunk->end == chunk->capacity) {
        split_chunk(window, index, at);
        if (at > chunk->end || chunk->end == CHUNK_MAX) {
            at -= chunk->end;
            chunk = window->chunks[index + 1];
        }
    }
    memmove(chunk->entries + at + 1, chunk->entries + at,
            (chunk->end - at) * sizeof(chunk->entries[0]));
    chunk->entries[at] = entry;
    chunk->end++;
    chunk->stale = true;
    window->entries++;
}

static uint64_t
distance(const struct window_entry *from, const struct window_entry *to)
{
    return (uint64_t)to->at_us - (uint64_t)from->at_us;
}

/*
 * Makes one of two neighbours so that no sum over a window becomes smaller: what counts moves to
 * the later time, a correction alone to the earlier. False for a correction before something that
 * counts: neither may move.
 */
static bool
join_pair(const struct window_entry *a, const struct window_entry *b, struct window_entry *ret)
{
    int64_t amount;

    if (__builtin_add_overflow(a->amount, b->amount, &amount) || (a->amount < 0 && b->amount > 0)) {
        return false;
    }
    *ret = (struct window_entry){a->amount < 0 ? a->at_us : b->at_us, amount};
    return true;
}

/* Joins pairs of entries [first, end) of a chunk that are at most gap_us apart; returns how many
 * entries went. */
static unsigned
join_entries(struct window_chunk *chunk, unsigned end, uint64_t gap_us)
{
    struct window_entry *entries = chunk->entries;
    unsigned out = chunk->first;
    unsigned in = chunk->first;

    while (in < end) {
        if (in + 1 < end && distance(&entries[in], &entries[in + 1]) <= gap_us &&
            join_pair(&entries[in], &entries[in + 1], &entries[out])) {
            out += entries[out].amount != 0;
            in += 2;
        } else {
            entries[out++] = entries[in++];
        }
    }
    memmove(entries + out, entries + end, (chunk->end - end) * sizeof(entries[0]));
    chunk->end -= end - out;
    chunk->stale = true;
    return end - out;
}

/* Moves a chunk's entries into the one before it, if both fit in there. */
static void
merge_chunk(struct window *window, size_t index)
{
    struct window_chunk *before = window->chunks[index - 1];
    struct window_chunk *chunk = window->chunks[index];
    unsigned count = chunk->end - chunk->first;

    if (before->end + count > CHUNK_MAX) {
        return;
    }
    if (before->end + count > before->capacity) {
        before = window->chunks[index - 1] = resize_chunk(before, CHUNK_MAX);
    }
    memcpy(before->entries + before->end, chunk->entries + chunk->first,
           count * sizeof(chunk->entries[0]));
    before->end += count;
    before->stale = true;
    remove_chunks(window, index, 1);
}

/* One step of make_room: the next chunk but for the newest entries, which still grow. */
static void
join_next(struct window *window, uint64_t gap_us)
{
    size_t index = window->join_next + 1 < window->chunk_count ? window->join_next : 0;
    struct window_chunk *chunk = window->chunks[index];
    bool is_last = index + 1 == window->chunk_count;
    unsigned end = is_last ? chunk->first + (chunk->end - chunk->first + 1) / 2 : chunk->end;
    unsigned gone = join_entries(chunk, end, gap_us);

    window->entries -= gone;
    window->joined += gone;
    window->join_next = index + 1;
    if (chunk->first == chunk->end) {
        remove_chunks(window, index, 1);
    } else if (index > 0) {
        merge_chunk(window, index);
    }
}

/*
 * Frees room for at least one entry. Only neighbours within four times the mean distance are joined
 * (three of four are), so entries end up spread evenly and none moves by more than twice that. A
 * second round takes any: then two of three neighbours can be joined, unless their amounts do not
 * fit an int64_t.
 */
static void
make_room(struct window *window)
{
    const struct window_chunk *oldest = window->chunks[0];
    const struct window_chunk *newest = window->chunks[window->chunk_count - 1];
    uint64_t span_us = distance(&oldest->entries[oldest->first], &newest->entries[newest->end - 1]);
    uint64_t gap_us = span_us / (window->entries_max / 4) + 1;

    for (size_t left = window->chunk_count; left > 0; left--) {
        join_next(window, gap_us);
        if (window->entries < window->entries_max) {
            return;
        }
    }
    for (size_t left = window->chunk_count; left > 0; left--) {
        join_next(window, UINT64_MAX);
        if (window->entries < window->entries_max) {
            return;
        }
    }
}

bool
window_add(struct window *window, int64_t at_us, int64_t amount)
{
    if (at_us < window->cutoff_us) {
        return false;
    }
    if (amount == 0) {
        return true;
    }
    change_sum(window, amount);
    if (window->chunk_count == 0) { /* no chunk is ever left empty */
        insert_chunk(window, 0, CHUNK_FIRST);
        insert_entry(window, 0, 0, (struct window_entry){at_us, amount});
        return true;
    }
    size_t index = find_chunk(window, at_us);
    unsigned at = find_entry(window->chunks[index], at_us);
    struct window_entry *entry = &window->chunks[index]->entries[at];
    int64_t both;
    /* Amounts that do not fit together stand side by side. */
    if (at < window->chunks[index]->end && entry->at_us == at_us &&
        !__builtin_add_overflow(entry->amount, amount, &both)) {
        entry->amount = both;
        window->chunks[index]->stale = true;
        if (both == 0) {
            remove_entry(window, index, at);
        }
        return true;
    }
    if (window->entries >= window->entries_max) {
        make_room(window);
        index = find_chunk(window, at_us);
        at = find_entry(window->chunks[index], at_us);
    }
    insert_entry(window, index, at, (struct window_entry){at_us, amount});
    return true;
}

void
window_drain(struct window *window, int64_t cutoff_us)
{
    size_t gone = 0;

    if (cutoff_us <= window->cutoff_us) {
        return;
    }
    window->cutoff_us = cutoff_us;
    for (; gone < window->chunk_count; gone++) {
        struct window_chunk *chunk = window->chunks[gone];
        unsigned to = find_entry(chunk, cutoff_us);
        if (to == chunk->first) {
            break;
        }
        wide freed = 0;
        for (unsigned i = chunk->first; i < to; i++) {
            freed += chunk->entries[i].amount;
        }
        change_sum(window, -freed);
        window->entries -= to - chunk->first;
        chunk->first = to;
        chunk->stale = true;
        if (to < chunk->end) {
            break;
        }
    }
    if (gone > 0) {
        remove_chunks(window, 0, gone);
    }
}

bool
window_oldest(const struct window *window, int64_t *ret_at_us)
{
    if (window->entries == 0) {
        return false;
    }
    *ret_at_us = window->chunks[0]->entries[window->chunks[0]->first].at_us;
    return true;
}

int64_t
window_when_freed(const struct window *window, int64_t amount)
{
    wide freed = 0;

    assert(amount > 0);
    for (size_t i = 0; i < window->chunk_count; i++) {
        struct window_chunk *chunk = window->chunks[i];
        update_chunk(chunk);
        if (freed + chunk->sum_peak < amount) {
            freed += chunk->sum;
            continue;
        }
        for (unsigned at = chunk->first; at < chunk->end; at++) {
            freed += chunk->entries[at].amount;
            if (freed >= amount) {
                return chunk->entries[at].at_us;
            }
        }
    }
    return INT64_MAX;
}

int64_t
window_sum_since(const struct window *window, int64_t from_us)
{
    wide sum = 0;

    /* From the newest on: the time asked for is mostly near it. */
    for (size_t i = window->chunk_count; i > 0; i--) {
        struct window_chunk *chunk = window->chunks[i - 1];
        if (chunk->entries[chunk->first].at_us >= from_us) {
            update_chunk(chunk);
            sum += chunk->sum;
            continue;
        }
        for (unsigned at = find_entry(chunk, from_us); at < chunk->end; at++) {
            sum += chunk->entries[at].amount;
        }
        break;
    }
    return saturate(sum);
}

void
window_walk(const struct window *window, window_walk_fn *fn, void *ctx)
{
    for (size_t i = 0; i < window->chunk_count; i++) {
        const struct window_chunk *chunk = window->chunks[i];
        for (unsigned at = chunk->first; at < chunk->end; at++) {
            fn(ctx, chunk->entries[at].at_us, chunk->entries[at].amount);
        }
    }
}
