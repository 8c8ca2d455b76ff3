/*
 * The hash chain over the event log: whoever has written the newest hash down somewhere else can
 * tell whether any entry before it was changed, removed, added or moved.
 *
 *   leaf(n)  = SHA-256("eider-event-1" NUL, content of entry n)
 *   hash(n)  = SHA-256("eider-chain-1" NUL, hash(n-1), n as 8 bytes little-endian, leaf(n))
 *   hash(0)  = 32 zero bytes
 *
 * The content is every column of api_event_log up to price_rule, in order: one byte 0 for NULL or
 * 1, then the value: texts as 4 bytes length and bytes, whole numbers, times and credits as 8
 * bytes, booleans as 1, doubles as the 8 bytes of their IEEE 754 form; all little-endian. Format:
 * docs/formats/chain.md.
 *
 * Pure; any thread.
 */
#ifndef EIDER_METER_CHAIN_H
#define EIDER_METER_CHAIN_H

#include "base/buf.h"
#include "base/err.h"
#include "meter/event.h"

enum { CHAIN_HEX_BYTES = 2 * EVENT_HASH_BYTES + 1 };

struct chain_head {
    uint64_t seq; /* entries so far */
    uint8_t hash[EVENT_HASH_BYTES];
};

void chain_leaf(const struct event *event, uint8_t ret_leaf[EVENT_HASH_BYTES]);

/* Moves the head on by one entry whose leaf is given. */
void chain_link(struct chain_head *head, const uint8_t leaf[EVENT_HASH_BYTES]);

void chain_hex(const uint8_t hash[EVENT_HASH_BYTES], char ret_text[CHAIN_HEX_BYTES]);
bool chain_from_hex(struct slice text, uint8_t ret_hash[EVENT_HASH_BYTES]);

/* ---- verification ---- */

struct chain_verifier;

struct chain_verify_options {
    uint64_t from_seq;      /* first entry to check; 0 or 1: the beginning. The hash of the entry
                               before is then taken as given from the entry before, which must be
                               pushed first */
    uint64_t to_seq;        /* last; 0: to the end */
    bool has_head;          /* the head that was written down */
    struct chain_head head; /* seq 0: some entry must have this hash */
    unsigned threads;       /* for leaves; 0: as many as there are processors, at most 4 */
};

struct chain_verdict {
    bool ok;
    uint64_t checked;
    struct chain_head head; /* of the last entry that was checked */
    uint64_t bad_seq;       /* the first entry that does not fit; 0: none */
    char bad_id[64];        /* its id, cut */
    char problem[256];      /* what is wrong with it, as a sentence */
    bool head_found;        /* has_head: the entry with that hash is there */
};

struct chain_verifier *chain_verifier_new(const struct chain_verify_options *options);

/* Takes the next rows of the log in order of seq (all columns of TABLE_EVENTS). ERR_CORRUPT once
 * an entry did not fit (the verdict says which); further pushes change nothing. */
enum err_code chain_verifier_push(struct chain_verifier *verifier, const struct batch *rows,
                                  struct err *err);
void chain_verifier_end(struct chain_verifier *verifier, struct chain_verdict *ret_verdict);
void chain_verifier_free(struct chain_verifier *verifier); /* NULL is fine */

/* ---- inclusion proof of one entry ----
 *
 * A JSON text that proves, without the log, that an entry stands in the chain below a head: the
 * entry's content, hash(seq - 1), and the leaves of the entries behind it up to the head. Of a long
 * log, prove against a head written down soon behind the entry.
 */
struct chain_prover;
struct chain_prover *chain_prover_new(struct slice event_id, uint64_t to_seq);
enum err_code chain_prover_push(struct chain_prover *prover, const struct batch *rows,
                                struct err *err);
/* ERR_NOT_FOUND when the entry did not come by. */
enum err_code chain_prover_end(struct chain_prover *prover, struct buf *ret_json, struct err *err);
void chain_prover_free(struct chain_prover *prover);

/* Checks a proof offline. ERR_SYNTAX, or ERR_CORRUPT with what does not fit. */
enum err_code chain_proof_check(struct slice json, const struct chain_head *expected_head,
                                struct err *err);

#endif
