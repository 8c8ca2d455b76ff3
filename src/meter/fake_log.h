/*
 * A log and a store in memory for the tests and the simulation of the meter: records wait until the
 * test makes them durable or fails them; what is durable can be read as the store would answer.
 *
 * One thread.
 */
#ifndef EIDER_METER_FAKE_LOG_H
#define EIDER_METER_FAKE_LOG_H

#include "base/arena.h"
#include "meter/meter.h"

enum fake_log_mode {
    FAKE_LOG_INSTANT, /* durable before submit returns */
    FAKE_LOG_HELD,    /* waits for fake_log_end */
    FAKE_LOG_FAILING  /* fails before submit returns */
};

struct fake_log {
    enum fake_log_mode mode;
    struct wal_entry *held; /* the meter has one record in flight at most */
    uint64_t lsn;
    uint64_t records, failures;
    uint64_t double_submits;         /* records that came while one was held: must stay 0 */
    struct batch rows[TABLE_ID_END]; /* durable ones of each table, with texts of their own */
    struct arena texts;
    enum err_code read_code; /* what reads answer */
};

void fake_log_init(struct fake_log *log);
void fake_log_fini(struct fake_log *log);
void fake_log_io(struct fake_log *log, struct meter_io *ret_io);

/* Ends the held record, if there is one: durable, or failed with `code`. */
void fake_log_end(struct fake_log *log, enum err_code code);

/* The power goes: the held record is durable or not, and nobody is answered. */
void fake_log_crash(struct fake_log *log, bool was_written);

#endif
