/*
 * eider eventlog verify: walks the hash chain, makes the proof of one entry, checks a proof
 * without a log.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cli/eventlog.h"
#include "cli/import_source.h"
#include "cli/progress.h"
#include "codec/json_write.h"
#include "codec/number.h"

enum { PROOF_BYTES_MAX = 256 << 20 };

/* "123:HASH", as `eventlog head` prints, or a hash alone. */
static enum err_code
read_head(const char *text, struct chain_head *ret_head, struct err *err)
{
    struct slice hash = slice_trim(slice_of(text));
    struct slice seq;
    struct chain_head head = {0};
    int64_t number = 0;
    bool fits = true;

    if (memchr(hash.ptr, ':', hash.len)) {
        slice_split(&hash, ':', &seq);
        fits = number_parse_i64(seq, &number) && number > 0;
    }
    head.seq = (uint64_t)number;
    if (!fits || !chain_from_hex(hash, head.hash)) {
        return err_set(err, ERR_USAGE,
                       "eventlog: --head is \"%.100s\"; expected SEQ:HASH as `eider eventlog head` "
                       "prints it, or a hash of 64 hex digits",
                       text);
    }
    *ret_head = head;
    return ERR_OK;
}

/* ---- the chain ---- */

struct walk {
    struct chain_verifier *verifier;
    struct chain_prover *prover;
    const struct clock *clock;
    uint64_t rows;
};

static enum err_code
push_to_verifier(void *ctx, const struct batch *rows, struct err *err)
{
    struct walk *walk = ctx;

    walk->rows += rows->rows;
    return chain_verifier_push(walk->verifier, rows, err);
}

static enum err_code
push_to_prover(void *ctx, const struct batch *rows, struct err *err)
{
    struct walk *walk = ctx;

    walk->rows += rows->rows;
    return chain_prover_push(walk->prover, rows, err);
}

static void
verdict_json(const struct chain_verdict *verdict, bool ok, double seconds, struct buf *out)
{
    struct json_writer json;
    char hash[CHAIN_HEX_BYTES];

    chain_hex(verdict->head.hash, hash);
    json_init(&json, out);
    json_object_begin(&json);
    json_key(&json, "ok");
    json_bool(&json, ok);
    json_key(&json, "checked");
    json_u64(&json, verdict->checked);
    json_key(&json, "head");
    json_object_begin(&json);
    json_key(&json, "seq");
    json_u64(&json, verdict->head.seq);
    json_key(&json, "hash");
    json_cstr(&json, hash);
    json_object_end(&json);
    json_key(&json, "head_found");
    json_bool(&json, verdict->head_found);
    if (verdict->bad_seq) {
        json_key(&json, "bad_seq");
        json_u64(&json, verdict->bad_seq);
        json_key(&json, "bad_id");
        json_cstr(&json, verdict->bad_id);
    }
    if (verdict->problem[0]) {
        json_key(&json, "problem");
        json_cstr(&json, verdict->problem);
    }
    json_key(&json, "seconds");
    json_f64(&json, seconds);
    json_object_end(&json);
    buf_add_char(out, '\n');
}

static void
verdict_text(const struct chain_verdict *verdict, bool has_head, bool ok, double seconds,
             struct buf *out)
{
    char hash[CHAIN_HEX_BYTES];

    chain_hex(verdict->head.hash, hash);
    buf_add_fmt(out, "%" PRIu64 " entries checked in %.2f s\n", verdict->checked, seconds);
    if (verdict->bad_seq) {
        buf_add_fmt(out, "entry %" PRIu64 " (%s): %s\n", verdict->bad_seq, verdict->bad_id,
                    verdict->problem);
    } else if (verdict->problem[0]) {
        buf_add_fmt(out, "%s\n", verdict->problem);
    }
    if (has_head) {
        buf_add_fmt(out, "the head that was written down is %s\n",
                    verdict->head_found ? "in the chain" : "NOT in the chain");
    }
    buf_add_fmt(out, "head %" PRIu64 ":%s\n%s\n", verdict->head.seq, hash, ok ? "OK" : "NOT OK");
}

static enum err_code
report(struct eventlog *log, const struct chain_verify_options *options,
       const struct chain_verdict *verdict, double seconds, struct err *err)
{
    struct buf out BUF_AUTO = {0};
    bool ok = verdict->ok && (!options->has_head || verdict->head_found);

    buf_init(&out, 0);
    if (cli_has(log->cli, "json")) {
        verdict_json(verdict, ok, seconds, &out);
    } else {
        verdict_text(verdict, options->has_head, ok, seconds, &out);
    }
    log->status = ok ? CLI_OK : CLI_FAILED;
    return cli_write(log->cli, &out, err);
}

static enum err_code
verify_chain(struct eventlog *log, const struct chain_verify_options *options, struct err *err)
{
    const struct clock *clock = log->cli->clock ? log->cli->clock : clock_system();
    struct walk walk = {.verifier = chain_verifier_new(options)};
    struct chain_verdict verdict;
    int64_t begin = clock_mono_us(clock);
    /* A part begins behind an entry that is taken as given. */
    uint64_t first = options->from_seq > 1 ? options->from_seq - 1 : 1;
    enum err_code code =
        ledger_visit(&log->ledger, first, options->to_seq, push_to_verifier, &walk, err);

    if (code == ERR_OK || code == ERR_CORRUPT) {
        chain_verifier_end(walk.verifier, &verdict);
        double seconds = (double)(clock_mono_us(clock) - begin) / 1e6;
        code = report(log, options, &verdict, seconds, err);
    }
    chain_verifier_free(walk.verifier);
    return code;
}

/* ---- proofs ---- */

static enum err_code
write_proof(struct eventlog *log, const struct buf *proof, struct err *err)
{
    const char *path = cli_value(log->cli, "output");

    if (!path) {
        return cli_write(log->cli, proof, err);
    }
    FILE *file = fopen(path, "we");
    if (!file) {
        return err_sys(err, errno, "cannot write %s", path);
    }
    bool written = fwrite(proof->ptr, 1, proof->len, file) == proof->len;
    written = fclose(file) == 0 && written;
    return written ? ERR_OK : err_sys(err, errno, "cannot write %s", path);
}

static enum err_code
prove(struct eventlog *log, const char *id, uint64_t to_seq, struct err *err)
{
    struct ledger_page page = {.limit = 1};
    struct walk walk = {.prover = NULL};
    struct buf proof BUF_AUTO = {0};
    struct batch rows;
    uint64_t next;
    uint64_t seq = 0;

    page.filter.event.id = slice_of(id);
    page.filter.event.from_us = INT64_MIN;
    page.filter.event.to_us = INT64_MAX;
    enum err_code code = ledger_page(&log->ledger, &page, &rows, &next, err);
    if (code != ERR_OK) {
        return code;
    }
    if (rows.rows > 0) {
        seq = (uint64_t)batch_get_i64(&rows, EVENT_SEQ, 0);
    }
    batch_fini(&rows);
    if (seq == 0) {
        return err_set(err, ERR_NOT_FOUND,
                       "there is no entry %.64s; `eider eventlog list` shows "
                       "ids",
                       id);
    }
    if (to_seq && to_seq < seq) {
        return err_set(err, ERR_USAGE,
                       "eventlog: entry %.64s is number %" PRIu64 ", behind --to %" PRIu64, id, seq,
                       to_seq);
    }
    walk.prover = chain_prover_new(slice_of(id), to_seq);
    code = ledger_visit(&log->ledger, seq > 1 ? seq - 1 : 1, to_seq, push_to_prover, &walk, err);
    if (code == ERR_OK) {
        buf_init(&proof, PROOF_BYTES_MAX);
        code = chain_prover_end(walk.prover, &proof, err);
    }
    chain_prover_free(walk.prover);
    if (code == ERR_OK) {
        buf_add_char(&proof, '\n');
        code = write_proof(log, &proof, err);
    }
    return code;
}

enum err_code
eventlog_check_proof(struct cli *cli, const char *path, struct err *err)
{
    const char *text = cli_value(cli, "head");
    struct import_bytes bytes = {0};
    struct chain_head head = {0};
    enum err_code code = text ? read_head(text, &head, err) : ERR_OK;

    if (code == ERR_OK) {
        code = import_bytes_open(path, &bytes, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    code = chain_proof_check(bytes.text, text ? &head : NULL, err);
    import_bytes_close(&bytes);
    if (code != ERR_OK) {
        return err_context(err, code, "%s", path);
    }
    fputs(text ? "OK: the entry is below the head that was written down\n"
               : "OK: the proof holds together; give --head to compare it with a head that was "
                 "written down\n",
          cli->out);
    return ERR_OK;
}

/*
 * Retention may have dropped the oldest entries, when a rule said so: the chain then begins at the
 * first that is kept, which is taken as given. Only as many may be missing as its receipts tell of.
 */
static void
begin_behind_dropped(struct eventlog *log, int64_t *from)
{
    struct batch rows BATCH_AUTO = {0};
    bool truncated = false;
    struct err ignored;
    enum err_code code = target_sql(
        &log->ledger.target,
        "SELECT (SELECT min(seq) FROM api_event_log)::BIGINT, (SELECT coalesce(sum(rows), 0) FROM "
        "retention_receipts WHERE table_name = 'api_event_log')::BIGINT",
        &rows, &truncated, &ignored);

    if (code != ERR_OK || rows.rows != 1) {
        return; /* a store without SQL has no retention, either */
    }
    int64_t first = batch_get_i64(&rows, 0, 0);
    int64_t dropped = batch_get_i64(&rows, 1, 0);
    if (first > 1 && dropped == first - 1) {
        cli_note(log->cli,
                 "retention dropped entries 1 to %" PRId64 "; the chain begins at entry %" PRId64
                 ", which is taken as given",
                 dropped, first);
        *from = first + 1;
    }
}

enum err_code
eventlog_verify(struct eventlog *log, struct err *err)
{
    struct chain_verify_options options = {0};
    const char *head = cli_value(log->cli, "head");
    int64_t from;
    int64_t to;
    enum err_code code = cli_number(log->cli, "from", 1, INT64_MAX, 1, &from, err);

    if (code == ERR_OK) {
        code = cli_number(log->cli, "to", 1, INT64_MAX, 0, &to, err);
    }
    if (code == ERR_OK && to && to < from) {
        code = err_set(err, ERR_USAGE, "eventlog: --from is %" PRId64 ", behind --to %" PRId64,
                       from, to);
    }
    if (code == ERR_OK && head) {
        options.has_head = true;
        code = read_head(head, &options.head, err);
    }
    if (code != ERR_OK) {
        return code;
    }
    if (cli_has(log->cli, "proof")) {
        return prove(log, cli_value(log->cli, "proof"), (uint64_t)to, err);
    }
    if (from == 1) {
        begin_behind_dropped(log, &from);
    }
    options.from_seq = (uint64_t)from;
    options.to_seq = (uint64_t)to;
    return verify_chain(log, &options, err);
}
