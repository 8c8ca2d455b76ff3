/* Live state from the store. */
#include "server/warm.h"

#include <stdint.h>

enum { TRADES_MAX = 1000 };

static enum err_code
take(struct live *live, struct batch *rows, enum table_id id, enum err_code code, struct err *err)
{
    if (code != ERR_OK) {
        return err_context(err, code, "%s", catalog_table(id)->name);
    }
    live_load(live, id, rows);
    batch_fini(rows);
    return ERR_OK;
}

enum err_code
warm_live(struct engine *engine, struct live *live, struct laps *laps, struct err *err)
{
    static const enum table_id newest[] = {TABLE_MARKET_DATA, TABLE_STRATEGY_METRICS,
                                           TABLE_EXECUTION_METRICS, TABLE_SAMPLES};
    const struct store_scan series = {
        .table = TABLE_SERIES, .from_us = INT64_MIN, .to_us = INT64_MAX};
    const struct store_scan trades = {.table = TABLE_TRADES,
                                      .from_us = INT64_MIN,
                                      .to_us = INT64_MAX,
                                      .newest_first = true,
                                      .limit = TRADES_MAX};
    const struct store_scan events = {.table = TABLE_EVENTS,
                                      .from_us = INT64_MIN,
                                      .to_us = INT64_MAX,
                                      .newest_first = true,
                                      .limit = LIVE_RECENT_EVENTS};
    struct batch rows;
    enum err_code code =
        take(live, &rows, TABLE_SERIES, engine_scan(engine, &series, &rows, err), err);

    laps_mark(laps, "live series");

    for (size_t i = 0; i < sizeof(newest) / sizeof(newest[0]) && code == ERR_OK; i++) {
        code = take(live, &rows, newest[i], engine_latest(engine, newest[i], &rows, err), err);
        laps_mark(laps, catalog_table(newest[i])->name);
    }
    if (code == ERR_OK) {
        code = take(live, &rows, TABLE_TRADES, engine_scan(engine, &trades, &rows, err), err);
    }
    if (code == ERR_OK) {
        code = take(live, &rows, TABLE_EVENTS, engine_scan(engine, &events, &rows, err), err);
    }
    laps_mark(laps, "newest trades and events");
    return code;
}
