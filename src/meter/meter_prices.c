/* Which versions of price books were ever in force is written down, once each. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "meter/meter_private.h"

enum { SOURCE_MAX = 1 << 20, DIGESTS_MAX = 65536 };

static bool
is_recorded(const struct meter *meter, struct slice digest)
{
    for (size_t i = 0; i < meter->price_digest_count; i++) {
        if (slice_is(digest, meter->price_digests[i])) {
            return true;
        }
    }
    return false;
}

static void
remember(struct meter *meter, struct slice digest)
{
    if (meter->price_digest_count >= DIGESTS_MAX) {
        return; /* It is written down again by the next start: harmless. */
    }
    if (meter->price_digest_count == meter->price_digest_capacity) {
        meter->price_digest_capacity =
            meter->price_digest_capacity ? meter->price_digest_capacity * 2 : 16;
        meter->price_digests = mem_resize(meter->price_digests, meter->price_digest_capacity,
                                          sizeof(*meter->price_digests));
    }
    slice_to_cstr(digest, meter->price_digests[meter->price_digest_count++], METER_DIGEST_MAX);
}

void
meter_prices_forget(struct meter *meter, const struct op *op)
{
    for (size_t i = 0; i < op->price_count && meter->price_digest_count > 0; i++) {
        meter->price_digest_count--;
    }
}

void
meter_prices_fini(struct meter *meter)
{
    free(meter->price_digests);
}

/* Collects what is new into the op; under the lock. */
static void
collect(struct meter *meter, const struct prices *prices, struct op *op)
{
    struct buf source BUF_AUTO = {0};
    size_t count = prices_version_count(prices);

    buf_init(&source, SOURCE_MAX);
    op->prices = arena_zalloc(&op->arena, count ? count : 1, sizeof(*op->prices));
    for (size_t i = 0; i < count && op->prices; i++) {
        struct price_version version;
        prices_version_at(prices, i, &version);
        if (is_recorded(meter, slice_of(version.digest))) {
            continue;
        }
        buf_reset(&source);
        prices_version_json(prices, i, &source);
        struct price_row row = {.book = op_keep(op, slice_of(version.book)),
                                .digest = op_keep(op, slice_of(version.digest)),
                                .source = op_keep(op, buf_slice(&source)),
                                .effective_us = version.effective_from_us};
        if (op->arena.overflow) {
            return;
        }
        remember(meter, row.digest);
        op->prices[op->price_count++] = row;
    }
}

void
meter_record_prices(struct meter *meter, const struct prices *prices)
{
    struct op *op = op_new(meter, OP_PRICES, NULL, NULL);
    struct err err;

    pthread_mutex_lock(&meter->lock);
    if (meter_admit(meter, &err) == ERR_OK) {
        collect(meter, prices, op);
    }
    bool any = op->price_count > 0;
    if (any) {
        op_enqueue(meter, op);
    }
    pthread_mutex_unlock(&meter->lock);
    if (any) {
        meter_flush(meter);
    } else {
        op_free(op);
    }
}

static enum err_code
take_digests(void *ctx, const struct batch *rows, struct err *err)
{
    struct meter *meter = ctx;
    int column = batch_column_index(rows, SLICE_LITERAL("version"));

    (void)err;
    for (size_t i = 0; i < rows->rows && column != CATALOG_NONE; i++) {
        struct slice digest = batch_get_text(rows, (size_t)column, i);
        if (digest.len < METER_DIGEST_MAX && !is_recorded(meter, digest)) {
            remember(meter, digest);
        }
    }
    return ERR_OK;
}

enum err_code
meter_load_prices(struct meter *meter, struct err *err)
{
    struct store_scan scan = {.table = TABLE_PRICE_BOOK, .from_us = INT64_MIN, .to_us = INT64_MAX};

    return meter->options.io.visit(meter->options.io.ctx, &scan, take_digests, meter, err);
}
