/* Known records and their answers. */
#include "wal/wal_oracle.h"

#include <assert.h>
#include <pthread.h>
#include <string.h>

#include "base/mem.h"

enum { ITEMS_MAX = 4096, ID_BYTES = 8 };

enum answer { ANSWER_NONE, ANSWER_OK, ANSWER_FAILED };

struct item {
    struct wal_entry entry; /* first: an entry is its item */
    struct wal_oracle *oracle;
    struct wal *wal;
    uint64_t id; /* its index */
    size_t size;
    uint8_t *payload;
    enum answer answer;
    enum err_code code;
    uint64_t lsn;
    size_t position; /* of the answer in the journal */
    size_t follow;   /* this many of the items behind it are submitted from its `done` */
};

struct wal_oracle {
    struct wal_memfs *fs;
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct item *items[ITEMS_MAX];
    size_t count;
    size_t open_count; /* without an answer */
};

/* The contents follow from id and size alone. */
static void
fill(uint8_t *dst, uint64_t id, size_t size)
{
    memcpy(dst, &id, ID_BYTES);
    for (size_t i = ID_BYTES; i < size; i++) {
        dst[i] = (uint8_t)(id * 131 + i * 7 + (i >> 8));
    }
}

struct wal_oracle *
wal_oracle_new(struct wal_memfs *fs)
{
    struct wal_oracle *oracle = mem_zalloc(1, sizeof(*oracle));

    oracle->fs = fs;
    pthread_mutex_init(&oracle->lock, NULL);
    pthread_cond_init(&oracle->answered, NULL);
    return oracle;
}

void
wal_oracle_free(struct wal_oracle *oracle)
{
    if (!oracle) {
        return;
    }
    assert(oracle->open_count == 0);
    for (size_t i = 0; i < oracle->count; i++) {
        free(oracle->items[i]->payload);
        free(oracle->items[i]);
    }
    pthread_cond_destroy(&oracle->answered);
    pthread_mutex_destroy(&oracle->lock);
    free(oracle);
}

static void
item_done(struct wal_entry *entry, enum err_code code, const struct err *err)
{
    struct item *item = (struct item *)entry;
    struct wal_oracle *oracle = item->oracle;
    size_t follow = item->follow;
    uint64_t id = item->id;

    assert((code == ERR_OK) == !err && (code == ERR_OK) == (entry->lsn > 0));
    size_t position = oracle->fs ? wal_memfs_journal_len(oracle->fs) : 0;
    for (size_t i = 1; i <= follow; i++) {
        wal_submit(item->wal, &oracle->items[id + i]->entry);
    }
    pthread_mutex_lock(&oracle->lock);
    item->answer = code == ERR_OK ? ANSWER_OK : ANSWER_FAILED;
    item->code = code;
    item->lsn = entry->lsn;
    item->position = position;
    oracle->open_count--;
    pthread_cond_signal(&oracle->answered);
    pthread_mutex_unlock(&oracle->lock);
}

/* Makes an item; the payload is handed over in two parts. */
static struct item *
add_item(struct wal_oracle *oracle, struct wal *wal, size_t size)
{
    struct item *item = mem_zalloc(1, sizeof(*item));

    assert(oracle->count < ITEMS_MAX && size >= ID_BYTES);
    item->oracle = oracle;
    item->wal = wal;
    item->id = oracle->count;
    item->size = size;
    item->payload = mem_alloc(size);
    fill(item->payload, item->id, size);
    item->entry = (struct wal_entry){
        .type = (uint16_t)(item->id % 60000),
        .part_count = 2,
        .parts = {slice_make(item->payload, ID_BYTES),
                  slice_make(item->payload + ID_BYTES, size - ID_BYTES)},
        .done = item_done,
    };
    pthread_mutex_lock(&oracle->lock);
    oracle->items[oracle->count++] = item;
    oracle->open_count++;
    pthread_mutex_unlock(&oracle->lock);
    return item;
}

void
wal_oracle_submit(struct wal_oracle *oracle, struct wal *wal, size_t size)
{
    wal_submit(wal, &add_item(oracle, wal, size)->entry);
}

void
wal_oracle_wait(struct wal_oracle *oracle)
{
    pthread_mutex_lock(&oracle->lock);
    while (oracle->open_count > 0) {
        pthread_cond_wait(&oracle->answered, &oracle->lock);
    }
    pthread_mutex_unlock(&oracle->lock);
}

enum err_code
wal_oracle_append(struct wal_oracle *oracle, struct wal *wal, size_t size)
{
    struct item *item = add_item(oracle, wal, size);

    wal_submit(wal, &item->entry);
    wal_oracle_wait(oracle);
    return item->code;
}

void
wal_oracle_group(struct wal_oracle *oracle, struct wal *wal, size_t count, size_t size)
{
    struct item *leader = add_item(oracle, wal, ID_BYTES);

    leader->follow = count;
    for (size_t i = 0; i < count; i++) {
        add_item(oracle, wal, size);
    }
    wal_submit(wal, &leader->entry);
    wal_oracle_wait(oracle);
}

static size_t
count_answers(const struct wal_oracle *oracle, enum answer answer)
{
    size_t count = 0;

    for (size_t i = 0; i < oracle->count; i++) {
        count += oracle->items[i]->answer == answer;
    }
    return count;
}

size_t
wal_oracle_acked(const struct wal_oracle *oracle)
{
    return count_answers(oracle, ANSWER_OK);
}

size_t
wal_oracle_failed(const struct wal_oracle *oracle)
{
    return count_answers(oracle, ANSWER_FAILED);
}

uint64_t
wal_oracle_acked_lsn(const struct wal_oracle *oracle)
{
    uint64_t lsn = 0;

    for (size_t i = 0; i < oracle->count; i++) {
        lsn = oracle->items[i]->lsn > lsn ? oracle->items[i]->lsn : lsn;
    }
    return lsn;
}

static enum err_code
check_record(const struct wal_oracle *oracle, const struct wal_record *record, uint8_t *seen,
             size_t position, struct err *err)
{
    uint64_t id = UINT64_MAX;

    if (record->payload.len >= ID_BYTES) {
        memcpy(&id, record->payload.ptr, ID_BYTES);
    }
    if (id >= oracle->count) {
        return err_set(err, ERR_CONFLICT, "LSN %llu was never submitted",
                       (unsigned long long)record->lsn);
    }
    const struct item *item = oracle->items[id];
    bool answered = item->answer != ANSWER_NONE && item->position <= position;
    if (seen[id]++) {
        return err_set(err, ERR_CONFLICT, "record %llu is there twice", (unsigned long long)id);
    }
    if (record->payload.len != item->size || record->type != item->entry.type ||
        memcmp(record->payload.ptr, item->payload, item->size) != 0) {
        return err_set(err, ERR_CONFLICT, "record %llu has other contents", (unsigned long long)id);
    }
    if ((uintptr_t)record->payload.ptr % 8 != 0) {
        return err_set(err, ERR_CONFLICT, "record %llu is not aligned", (unsigned long long)id);
    }
    if (answered && item->answer == ANSWER_FAILED) {
        return err_set(err, ERR_CONFLICT, "record %llu had failed", (unsigned long long)id);
    }
    if (answered && item->lsn != record->lsn) {
        return err_set(err, ERR_CONFLICT, "record %llu has LSN %llu, not %llu",
                       (unsigned long long)id, (unsigned long long)record->lsn,
                       (unsigned long long)item->lsn);
    }
    return ERR_OK;
}

static enum err_code
check_all_there(const struct wal_oracle *oracle, const uint8_t *seen, uint64_t first_lsn,
                size_t position, struct err *err)
{
    for (size_t i = 0; i < oracle->count; i++) {
        const struct item *item = oracle->items[i];
        bool wanted = item->answer == ANSWER_OK && item->position <= position;
        if (wanted && item->lsn >= first_lsn && !seen[i]) {
            return err_set(err, ERR_CONFLICT, "acknowledged record %zu (LSN %llu) is lost", i,
                           (unsigned long long)item->lsn);
        }
    }
    return ERR_OK;
}

enum err_code
wal_oracle_check(const struct wal_oracle *oracle, struct wal *wal, size_t position, struct err *err)
{
    MEM_AUTO uint8_t *seen = mem_zalloc(oracle->count + 1, 1);
    uint64_t first_lsn = wal_first_lsn(wal);
    uint64_t next_lsn = first_lsn;
    struct wal_cursor *cursor = NULL;
    struct wal_record record;

    enum err_code code = wal_cursor_open(wal, first_lsn, &cursor, err);
    while (code == ERR_OK) {
        code = wal_cursor_next(cursor, 0, &record, err);
        if (code == ERR_OK && record.lsn != next_lsn++) {
            code = err_set(err, ERR_CONFLICT, "LSN %llu follows %llu",
                           (unsigned long long)record.lsn, (unsigned long long)next_lsn - 2);
        }
        if (code == ERR_OK) {
            code = check_record(oracle, &record, seen, position, err);
        }
    }
    wal_cursor_close(cursor);
    if (code != ERR_TIMEOUT) {
        return code;
    }
    if (next_lsn != wal_durable_lsn(wal) + 1) {
        return err_set(err, ERR_CONFLICT, "the log ends at LSN %llu, not %llu",
                       (unsigned long long)next_lsn - 1, (unsigned long long)wal_durable_lsn(wal));
    }
    return check_all_there(oracle, seen, first_lsn, position, err);
}
