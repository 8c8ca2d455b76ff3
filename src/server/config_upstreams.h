/*
 * The map gateway.upstreams of the configuration file: a name for each, and its settings by a table
 * of their own. It cannot be given by environment or flags; ${VAR} expands in all values.
 *
 *   gateway:
 *     upstreams:
 *       birdeye:
 *         base_url: https://public-api.birdeye.so
 *         api_name: Birdeye
 *         headers: {X-API-KEY: "${BIRDEYE_API_KEY}"}
 *
 * Ownership: config_upstreams_read makes it, the configuration frees it; texts are its own.
 */
#ifndef EIDER_SERVER_CONFIG_UPSTREAMS_H
#define EIDER_SERVER_CONFIG_UPSTREAMS_H

#include <yaml.h>

#include "gateway/gateway.h"
#include "server/config.h"

/* How booking goes when the client leaves while the upstream is at work. */
enum config_abort { CONFIG_ABORT_RESERVED, CONFIG_ABORT_NOTHING };

struct config_upstream {
    char *name;
    char *base_url;
    char *api_name;
    char *ca_file;
    char *credits_per_call;
    size_t header_count;
    char *header_names[GATEWAY_HEADERS_MAX];
    char *header_values[GATEWAY_HEADERS_MAX];
    bool forward_credentials;
    bool forwarded_for;
    int charge_on_abort; /* enum config_abort */
    int64_t connect_timeout_ms;
    int64_t timeout_ms;
    int64_t idle_timeout_ms;
    int64_t retries;
    int64_t retry_delay_ms;
    int64_t retry_delay_max_ms;
    bool breaker_enabled;
    int64_t breaker_pause_after;
    int64_t breaker_open_after;
    int64_t breaker_pause_ms;
    int64_t breaker_open_ms;
};

struct config_upstreams {
    size_t count;
    struct config_upstream items[GATEWAY_UPSTREAMS_MAX];
};

/* The document that is being read. */
struct config_yaml {
    const char *name; /* of the file */
    yaml_document_t *document;
    char *const *env;
    struct config_missing_list *missing; /* NULL: a variable that is not set is an error */
    const char *database;                /* whose settings are read; NULL: the top level's */
};

/* Reads the map; errors are ERR_USAGE and begin with file and line. */
enum err_code config_upstreams_read(const struct config_yaml *yaml, const yaml_node_t *node,
                                    struct config_upstreams **ret_upstreams, struct err *err);
void config_upstreams_free(struct config_upstreams *upstreams); /* NULL is fine */

/* Fills what gateway_open takes; texts stay the configuration's. */
void config_upstream_options(const struct config_upstream *upstream,
                             struct gateway_upstream *ret_options);

/* Appends the value of a scalar of a setting with ${VAR} expanded (config_yaml.c); *ret_missing: a
 * variable is not set, which was noted, and the setting should stay as it is. */
enum err_code config_yaml_expand(const struct config_yaml *yaml, const char *setting,
                                 const yaml_node_t *node, struct buf *ret_text, bool *ret_missing,
                                 struct err *err);

/* Sets one setting of a configuration from its node; as at the top level of the file. */
enum err_code config_yaml_set(const struct config_yaml *yaml, struct config *config,
                              const struct config_setting *setting, const yaml_node_t *node,
                              struct err *err);

#endif
