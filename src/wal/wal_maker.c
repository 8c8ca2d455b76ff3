/*
 * The maker: a thread that makes the next segment before it is needed, so that the committer never
 * waits for 64 MiB of zeros, and that cuts and deletes what the log left behind.
 */
#include <string.h>

#include "wal/wal_private.h"
#include "wal/wal_segment.h"

void
wal_maker_want(struct wal *wal, bool warm)
{
    if (wal->made.state == WAL_MAKE_IDLE || wal->made.state == WAL_MAKE_FAILED) {
        wal->made = (struct wal_made){.state = WAL_MAKE_WANTED, .warm = warm, .fd = -1};
        pthread_cond_signal(&wal->maker_work);
    }
}

enum err_code
wal_maker_take(struct wal *wal, struct wal_made *ret_made, struct err *err)
{
    enum err_code code = ERR_OK;

    pthread_mutex_lock(&wal->lock);
    wal_maker_want(wal, false);
    while (wal->made.state == WAL_MAKE_WANTED) {
        pthread_cond_wait(&wal->maker_done, &wal->lock);
    }
    if (wal->made.state == WAL_MAKE_READY) {
        *ret_made = wal->made;
        wal->made = (struct wal_made){.state = WAL_MAKE_IDLE, .fd = -1};
    } else {
        *err = wal->made.err;
        code = err->code;
    }
    pthread_mutex_unlock(&wal->lock);
    return code;
}

/* Under `lock`, which it gives up meanwhile. */
static void
make(struct wal *wal)
{
    struct wal_segment_plan plan = {
        .sys = wal->sys,
        .dir = wal->dir,
        .seq = wal->next_seq++,
        .bytes = wal->segment_bytes,
        .reserve_free_bytes = wal->reserve_free_bytes,
        .warm = wal->made.warm,
        .stop = &wal->maker_stop,
    };
    struct err err;
    int fd = -1;

    pthread_mutex_unlock(&wal->lock);
    enum err_code code = wal_segment_make(&plan, &fd, &err);
    pthread_mutex_lock(&wal->lock);
    wal->made.seq = plan.seq;
    wal->made.fd = fd;
    if (code == ERR_OK) {
        wal->made.state = WAL_MAKE_READY;
    } else {
        wal->made.err = err;
        wal->made.state = WAL_MAKE_FAILED;
    }
    pthread_cond_signal(&wal->maker_done);
}

/* Under `lock`, which it gives up meanwhile. A file that cannot be cut, or is gone, only keeps its
 * space until it is deleted. */
static void
cut(struct wal *wal)
{
    uint64_t seq = wal->to_cut.at[0];
    uint64_t end = 0;

    wal_seqs_remove(&wal->to_cut, 0);
    for (size_t i = 0; i < wal->extent_count; i++) {
        end = wal->extents[i].seq == seq ? wal->extents[i].end : end;
    }
    pthread_mutex_unlock(&wal->lock);
    if (end > 0) {
        wal_segment_cut(wal->sys, wal->dir, seq, end, NULL);
    }
    pthread_mutex_lock(&wal->lock);
}

enum err_code
wal_maker_delete(struct wal *wal, struct err *err)
{
    enum err_code code = ERR_OK;

    pthread_mutex_lock(&wal->delete_lock);
    pthread_mutex_lock(&wal->lock);
    while (code == ERR_OK && wal->doomed.count > 0) {
        size_t oldest = 0;
        for (size_t i = 1; i < wal->doomed.count; i++) {
            oldest = wal->doomed.at[i] < wal->doomed.at[oldest] ? i : oldest;
        }
        uint64_t seq = wal->doomed.at[oldest];
        pthread_mutex_unlock(&wal->lock);
        code = wal_segment_delete(wal->sys, wal->dir, seq, err);
        pthread_mutex_lock(&wal->lock);
        for (size_t i = 0; code == ERR_OK && i < wal->doomed.count; i++) {
            if (wal->doomed.at[i] == seq) {
                wal_seqs_remove(&wal->doomed, i);
                break;
            }
        }
    }
    pthread_mutex_unlock(&wal->lock);
    pthread_mutex_unlock(&wal->delete_lock);
    return code;
}

void *
wal_maker_main(void *arg)
{
    struct wal *wal = arg;

    pthread_mutex_lock(&wal->lock);
    while (!atomic_load(&wal->maker_stop)) {
        if (wal->made.state == WAL_MAKE_WANTED) {
            make(wal);
        } else if (wal->to_cut.count > 0) {
            cut(wal);
        } else if (wal->doomed_news) {
            wal->doomed_news = false;
            pthread_mutex_unlock(&wal->lock);
            wal_maker_delete(wal, NULL); /* what fails is tried again by the next release */
            pthread_mutex_lock(&wal->lock);
        } else {
            pthread_cond_wait(&wal->maker_work, &wal->lock);
        }
    }
    pthread_mutex_unlock(&wal->lock);
    return NULL;
}
