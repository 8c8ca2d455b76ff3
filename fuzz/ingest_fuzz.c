/*
 * Whole requests: the first two bytes choose format, table, precision, compression, key and what
 * happens to bad rows; the rest is the body, which is sent twice. Invariants: one answer a request;
 * a refusal writes nothing; what was written decodes; its samples have their series in a record up
 * to theirs; no bytes stay counted as in flight.
 */
#include "fuzz.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"
#include "ingest/fake_engine.h"

enum { CHOICES = 2, SERIES_MAX = 1 << 16 };

static struct ingest_request
choose(const uint8_t *data, size_t size)
{
    struct ingest_request request = {
        .body = slice_make(data + CHOICES, size - CHOICES),
        .format = data[0] & 1 ? INGEST_LINE : INGEST_JSON,
        .skip_bad_rows = (data[0] & 2) != 0,
        .gzip = (data[0] & 12) == 12,
        .precision = (enum ingest_precision)(data[0] >> 4 & 3),
        .wait_applied = (data[0] & 64) != 0,
        .idempotency_key = slice_of(data[0] & 128 ? "key" : ""),
    };

    do {
        request.table = catalog_table((enum table_id)(1 + data[1] % (TABLE_ID_END - 1)));
    } while (!request.table);
    return request;
}

static void
check_records(const struct fake_engine *engine)
{
    MEM_AUTO bool *defined = mem_zalloc(SERIES_MAX, sizeof(*defined));
    struct batch batch;

    for (size_t i = 0; i < engine->record_count; i++) {
        if (fake_engine_batch(engine, i, TABLE_SERIES, &batch)) {
            for (size_t row = 0; row < batch.rows; row++) {
                defined[batch_get_i64(&batch, 0, row) % SERIES_MAX] = true;
            }
            batch_fini(&batch);
        }
        if (fake_engine_batch(engine, i, TABLE_SAMPLES, &batch)) {
            for (size_t row = 0; row < batch.rows; row++) {
                assert(defined[batch_get_i64(&batch, 0, row) % SERIES_MAX]);
            }
            batch_fini(&batch);
        }
    }
}

static void
submit(struct fake_world *world, const struct ingest_request *request)
{
    size_t records = world->engine.record_count;
    const struct ingest_answer *answer = fake_world_submit(world, request);

    assert(world->answer.calls == 1);
    if (answer->code != ERR_OK) {
        assert(world->engine.record_count == records && answer->accepted == 0);
        assert(answer->err->msg[0]);
    } else {
        assert((answer->accepted > 0) == (answer->lsn > 0));
        assert(request->skip_bad_rows || answer->rejected == 0);
    }
    assert(world->ingest->inflight_bytes == 0 && world->ingest->active == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ingest_options options = {.series_max = 1000, .request_bytes_max = 1 << 20};
    struct fake_world world;

    if (size < CHOICES) {
        return 0;
    }
    struct ingest_request request = choose(data, size);
    fake_world_init(&world, FAKE_INSTANT, &options);
    world.engine.apply_at_once = true;
    submit(&world, &request);
    submit(&world, &request);
    check_records(&world.engine);
    fake_world_fini(&world);
    return 0;
}
