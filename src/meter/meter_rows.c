/* A flight becomes a record: rows of the four tables, numbered, chained, encoded. */
#include <assert.h>

#include "meter/meter_private.h"

enum {
    ROW_TEXT_MAX = 256 << 20, /* hashes; far above what a record can hold */
    CHANGE_SEQ = 0,
    CHANGE_TIMESTAMP,
    CHANGE_RESERVATION_ID,
    CHANGE_CHANGE,
    CHANGE_CREDITS,
    CHANGE_EXPIRES_AT,
    CHANGE_API_NAME,
    CHANGE_ENDPOINT,
    CHANGE_METHOD,
    CHANGE_API_KEY,
    CHANGE_RUN_ID,
    CHANGE_PROJECT,
    CHANGE_EVENT_ID,
    CHANGE_PROBE_OF,
    CHANGE_PRICE_RULE,
    CHANGE_OPEN_FROM,
    BUDGET_SEQ = 0,
    BUDGET_TIMESTAMP,
    BUDGET_NAME,
    BUDGET_CHANGE,
    BUDGET_INSTANCE,
    BUDGET_DEFINITION,
    BUDGET_REASON,
    PRICE_TIMESTAMP = 0,
    PRICE_BOOK,
    PRICE_VERSION,
    PRICE_EFFECTIVE_FROM,
    PRICE_SOURCE
};

/* The words of reservation_changes.change. */
const char *const meter_change_names[] = {[OP_RESERVE] = "reserve",
                                          [OP_COMMIT] = "commit",
                                          [OP_RELEASE] = "release",
                                          [OP_EXTEND] = "extend",
                                          [OP_EXPIRE] = "expire"};

void
meter_rows_init(struct meter *meter)
{
    static const enum table_id tables[METER_BATCHES] = {TABLE_EVENTS, TABLE_RESERVATION_CHANGES,
                                                        TABLE_BUDGET_CHANGES, TABLE_PRICE_BOOK};

    for (size_t i = 0; i < METER_BATCHES; i++) {
        batch_init(&meter->batches[i], catalog_table(tables[i]), ROW_TEXT_MAX);
    }
    buf_init(&meter->record, WAL_RECORD_BYTES_MAX);
}

void
meter_rows_fini(struct meter *meter)
{
    for (size_t i = 0; i < METER_BATCHES; i++) {
        batch_fini(&meter->batches[i]);
    }
    buf_fini(&meter->record);
}

static void
set_text(struct batch *batch, size_t column, size_t row, struct slice text)
{
    if (text.len > 0) {
        batch_set_text(batch, column, row, text);
    }
}

static void
add_change(struct meter *meter, const struct op *op)
{
    struct batch *batch = &meter->batches[1];
    struct reservation *reservation = op->reservation;
    size_t row = batch_add_row(batch);

    batch_set_i64(batch, CHANGE_SEQ, row, (int64_t)++meter->next_change_seq);
    if (op->kind == OP_RESERVE) {
        reservation->row_seq = meter->next_change_seq;
    }
    batch_set_i64(batch, CHANGE_TIMESTAMP, row, op->at_us);
    batch_set_text(batch, CHANGE_RESERVATION_ID, row, slice_of(op->reservation_id));
    batch_set_text(batch, CHANGE_CHANGE, row, slice_of(meter_change_names[op->kind]));
    batch_set_i64(batch, CHANGE_CREDITS, row, op->credits);
    batch_set_i64(batch, CHANGE_EXPIRES_AT, row, op->expires_us);
    batch_set_i64(batch, CHANGE_OPEN_FROM, row, (int64_t)meter->open_from);
    set_text(batch, CHANGE_API_NAME, row, reservation->api_name);
    set_text(batch, CHANGE_ENDPOINT, row, reservation->endpoint);
    set_text(batch, CHANGE_METHOD, row, reservation->method);
    set_text(batch, CHANGE_API_KEY, row, reservation->api_key);
    set_text(batch, CHANGE_RUN_ID, row, reservation->run_id);
    set_text(batch, CHANGE_PROJECT, row, reservation->project);
    if (op->kind == OP_COMMIT) {
        batch_set_text(batch, CHANGE_EVENT_ID, row, op->events[0].id);
    }
    set_text(batch, CHANGE_PROBE_OF, row, slice_of(op->probe_of));
    set_text(batch, CHANGE_PRICE_RULE, row, slice_of(op->price_rule));
}

static void
add_budget(struct meter *meter, const struct op *op)
{
    struct batch *batch = &meter->batches[2];
    size_t row = batch_add_row(batch);

    batch_set_i64(batch, BUDGET_SEQ, row, (int64_t)++meter->next_change_seq);
    batch_set_i64(batch, BUDGET_TIMESTAMP, row, op->at_us);
    batch_set_text(batch, BUDGET_NAME, row, slice_of(op->budget_name));
    batch_set_text(batch, BUDGET_CHANGE, row, slice_of(op->budget_change));
    set_text(batch, BUDGET_INSTANCE, row, slice_of(op->budget_instance));
    set_text(batch, BUDGET_DEFINITION, row, op->budget_definition);
    set_text(batch, BUDGET_REASON, row, op->budget_reason);
}

static void
add_events(struct meter *meter, struct op *op)
{
    uint8_t leaf[EVENT_HASH_BYTES];

    for (size_t i = 0; i < op->event_count; i++) {
        struct event *event = &op->events[i];
        chain_leaf(event, leaf);
        chain_link(&meter->next_head, leaf);
        event->seq = meter->next_head.seq;
        memcpy(event->hash, meter->next_head.hash, sizeof(event->hash));
        event_to_row(event, &meter->batches[0]);
    }
}

static void
add_prices(struct meter *meter, const struct op *op)
{
    struct batch *batch = &meter->batches[3];

    for (size_t i = 0; i < op->price_count; i++) {
        const struct price_row *price = &op->prices[i];
        size_t row = batch_add_row(batch);
        batch_set_i64(batch, PRICE_TIMESTAMP, row, op->at_us);
        batch_set_text(batch, PRICE_BOOK, row, price->book);
        batch_set_text(batch, PRICE_VERSION, row, price->digest);
        batch_set_i64(batch, PRICE_EFFECTIVE_FROM, row, price->effective_us);
        batch_set_text(batch, PRICE_SOURCE, row, price->source);
    }
}

static void
number_items(struct op *op)
{
    size_t event = 0;

    for (size_t i = 0; i < op->item_count; i++) {
        if (op->items[i].state == ITEM_STORED) {
            assert(event < op->event_count);
            op->items[i].seq = op->events[event++].seq;
        }
    }
}

static void
add_op(struct meter *meter, struct op *op)
{
    switch (op->kind) {
    case OP_RESERVE:
    case OP_RELEASE:
    case OP_EXTEND:
    case OP_EXPIRE:
        add_change(meter, op);
        break;
    case OP_COMMIT:
        add_events(meter, op);
        add_change(meter, op);
        break;
    case OP_APPEND:
        add_events(meter, op);
        number_items(op);
        break;
    case OP_BUDGET:
        add_budget(meter, op);
        break;
    case OP_PRICES:
        add_prices(meter, op);
        break;
    case OP_NOTHING:
        break;
    }
}

void
rows_encode(struct meter *meter)
{
    for (size_t i = 0; i < METER_BATCHES; i++) {
        batch_reset(&meter->batches[i]);
    }
    buf_reset(&meter->record);
    meter->next_head = meter->head;
    meter->next_change_seq = meter->change_seq;
    for (struct op *op = meter->flight.first; op; op = op->next) {
        add_op(meter, op);
    }
    for (size_t i = 0; i < METER_BATCHES; i++) {
        assert(!meter->batches[i].arena.overflow);
        if (meter->batches[i].rows > 0) {
            batch_encode(&meter->batches[i], &meter->record);
        }
    }
    assert(!meter->record.overflow);
}
