/*
 * The server: every part put together in order, run until a signal, taken apart in reverse.
 *
 *   engine -> live -> api -> HTTP (answers 503 to writes) -> ingest (log applied) -> meter ->
 *   collectors
 *
 * SIGTERM and SIGINT drain and end; a second one ends at once. SIGHUP reads log level,
 * certificates and price books anew.
 *
 * Threads: server_run belongs to the main thread, before any other thread is started.
 */
#ifndef EIDER_SERVER_SERVER_H
#define EIDER_SERVER_SERVER_H

#include "base/err.h"
#include "server/config.h"

/*
 * Runs until SIGTERM or SIGINT. `sources` (may be NULL) are what `config` was loaded from, for
 * SIGHUP. Returns ERR_OK after a drained stop; an error when the start failed.
 */
enum err_code server_run(const struct config *config, const struct config_options *sources,
                         struct err *err);

#endif
