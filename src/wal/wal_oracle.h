/*
 * Who knows what a log must hold: makes records with known contents, keeps what was answered to
 * each and when, and compares a log with that. For tests and fuzzing.
 *
 * Rules: an acknowledged record is there once, with its LSN and its bytes; a refused or failed one
 * is not there; one without an answer may be; LSNs have no gaps.
 *
 * Threads: submit, group, append, wait: one; answers come from the log's.
 */
#ifndef EIDER_WAL_WAL_ORACLE_H
#define EIDER_WAL_WAL_ORACLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "wal/wal.h"
#include "wal/wal_memfs.h"

struct wal_oracle;

/* `fs` (may be NULL) gives the journal positions of the answers. */
struct wal_oracle *wal_oracle_new(struct wal_memfs *fs);
void wal_oracle_free(struct wal_oracle *oracle);

/* Submits a record with a payload of `size` bytes (at least 8). */
void wal_oracle_submit(struct wal_oracle *oracle, struct wal *wal, size_t size);

/* Waits until everything submitted is answered. */
void wal_oracle_wait(struct wal_oracle *oracle);

/* Submits one and waits; gives its answer. */
enum err_code wal_oracle_append(struct wal_oracle *oracle, struct wal *wal, size_t size);

/* Writes one record and, from its `done`, hands in `count` more, which become one group; waits. */
void wal_oracle_group(struct wal_oracle *oracle, struct wal *wal, size_t count, size_t size);

size_t wal_oracle_acked(const struct wal_oracle *oracle);
size_t wal_oracle_failed(const struct wal_oracle *oracle);

/* The highest LSN acknowledged so far. */
uint64_t wal_oracle_acked_lsn(const struct wal_oracle *oracle);

/*
 * Compares; answers given later than journal position `position` don't count (SIZE_MAX: all do).
 * Records below the log's first LSN are taken as released. ERR_CONFLICT says what is wrong.
 */
enum err_code wal_oracle_check(const struct wal_oracle *oracle, struct wal *wal, size_t position,
                               struct err *err);

#endif
