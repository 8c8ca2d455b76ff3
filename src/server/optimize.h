/*
 * eider optimize: give back what space can be had. The server's work "optimize", and the same for a
 * directory that is opened here. Blocks; may take minutes.
 */
#ifndef EIDER_SERVER_OPTIMIZE_H
#define EIDER_SERVER_OPTIMIZE_H

#include "codec/json_write.h"
#include "store/engine.h"

/* Members of an open object: what was done, bytes before and after. */
enum err_code optimize_run(struct engine *engine, struct json_writer *json, struct err *err);

#endif
