/*
 * The meter as the server runs it: opened behind the ingest with the prices of the configuration,
 * its problems logged, the head of its hash chain told every hour.
 *
 * Threads: the main thread.
 */
#ifndef EIDER_SERVER_METER_H
#define EIDER_SERVER_METER_H

#include "base/err.h"
#include "live/live.h"
#include "meter/meter.h"
#include "server/config.h"
#include "server/head_nats.h"
#include "store/engine.h"

/* Opens it and gives it its prices. ERR_UNAVAILABLE and ERR_TIMEOUT: the store is not there yet,
 * call again; anything else is a reason not to start. */
enum err_code server_meter_open(const struct config *config, struct engine *engine,
                                struct live *live, struct meter **ret_meter, struct err *err);

/* Loads the price books anew; when they are not valid the old ones stay. Logs which. */
void server_meter_reload(const struct config *config, struct meter *meter);

/* Logs the head of the event log, appends it to meter.head_file and leaves it to `head_nats` (may
 * be NULL), when it is not that of *last_seq any more. */
void server_meter_tell_head(const struct config *config, struct meter *meter,
                            struct head_nats *head_nats, uint64_t *last_seq);

#endif
