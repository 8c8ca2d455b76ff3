/*
 * Bodies of metering: entries of the event log, and an object with known members. Invariants:
 * either all rows are valid and within their bounds, or there is an error and nothing to store.
 */
#include "fuzz.h"

#include <assert.h>

#include "api/body.h"
#include "api/event_rows.h"
#include "codec/decimal.h"
#include "meter/meter.h"

enum { ROWS_MAX = 16, ARENA_BYTES = 1 << 20 };

struct sample {
    struct slice text;
    int64_t credits;
    double number;
    struct slice object;
    struct body_params params;
};

static void
check_body(struct slice body)
{
    static const struct body_field fields[] = {
        {"text", "alias", BODY_TEXT, offsetof(struct sample, text), 1, 64},
        {"credits", NULL, BODY_CREDITS, offsetof(struct sample, credits), 0, DECIMAL_MAX},
        {"number", NULL, BODY_NUMBER, offsetof(struct sample, number), 0, 1000},
        {"object", NULL, BODY_OBJECT, offsetof(struct sample, object), 0, 64},
        {"params", NULL, BODY_PARAMS, offsetof(struct sample, params), 0, 0},
    };
    ARENA_AUTO struct arena arena;
    struct sample sample = {0};
    uint32_t seen = 0;
    struct err err = {0};

    arena_init(&arena, ARENA_BYTES);
    if (body_read(body, fields, 5, &sample, &seen, &arena, &err) != ERR_OK) {
        assert(err.code != ERR_OK && err.msg[0] != '\0');
        return;
    }
    assert(sample.text.len <= 64 && sample.object.len <= 64);
    assert(sample.credits >= 0 && sample.credits <= DECIMAL_MAX);
    assert(sample.number >= 0 && sample.number <= 1000);
    assert(sample.params.count <= BODY_PARAMS_MAX);
}

static void
check_event(const struct event *event)
{
    assert(event->api_name.len > 0 && event->api_name.len <= METER_TEXT_MAX);
    assert(event->endpoint.len > 0 && event->endpoint.len <= METER_TEXT_MAX);
    assert(event->id.len <= METER_ID_MAX);
    assert(event->credits >= -DECIMAL_MAX && event->credits <= DECIMAL_MAX);
    assert(event->credits >= 0 || event->corrects.len > 0);
    assert(event->latency_ms >= 0);
    assert(event->seq == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice body = slice_make(data, size);
    struct event_rows rows;
    struct err err = {0};

    check_body(body);
    event_rows_init(&rows);
    if (event_rows_read(&rows, body, ROWS_MAX, 0, &err) == ERR_OK) {
        assert(rows.count <= ROWS_MAX && rows.rejected == 0 && rows.error_count == 0);
        for (size_t i = 0; i < rows.count; i++) {
            check_event(&rows.events[i]);
        }
    } else {
        assert(rows.count == 0 && err.msg[0] != '\0');
        assert(err.code != ERR_INVALID || (rows.rejected > 0 && rows.error_count > 0));
    }
    event_rows_fini(&rows);
    return 0;
}
