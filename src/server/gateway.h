/* The gateway as the server runs it: upstreams of the configuration, log lines of the program. */
#ifndef EIDER_SERVER_GATEWAY_H
#define EIDER_SERVER_GATEWAY_H

#include "api/api.h"
#include "gateway/gateway.h"
#include "server/config.h"

/* Opens it on the meter; api counts what is refused. Both outlive it. */
enum err_code server_gateway_open(const struct config *config, struct meter *meter, struct api *api,
                                  struct gateway **ret_gateway, struct err *err);

#endif
