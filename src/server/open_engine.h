/*
 * From the configuration to the engine's options: the one place that knows which settings mean
 * which store. The server and the command line both open their engines so.
 */
#ifndef EIDER_SERVER_OPEN_ENGINE_H
#define EIDER_SERVER_OPEN_ENGINE_H

#include "server/config.h"
#include "store/engine.h"

/* What storage.postgres says; texts stay the configuration's. ERR_USAGE: see config_need. */
enum err_code server_postgres_options(const struct config *config,
                                      struct store_postgres_options *ret_options, struct err *err);

/* Fills everything but the events; texts stay the configuration's. ERR_UNSUPPORTED when this
 * program lacks the store. */
enum err_code server_engine_options(const struct config *config, struct engine_options *ret_options,
                                    struct err *err);

/* ERR_IO (somebody may yet make it), with setting and origin, when data_dir is there and no
 * directory. */
enum err_code server_check_data_dir(const struct config *config, struct err *err);

#endif
