/* eider_client_open: the real environment. Alone in this file, because it needs every backend. */
#include <stdio.h>

#include "client/birdeye_internal.h"

enum { CONNECTIONS = 16, CONNECTIONS_MAX = 1024, EIDER_TIMEOUT_MS = 5000 };

static enum err_code
new_transport(const struct eider_client_options *options, bool for_eider,
              struct transport **ret_transport, struct err *err)
{
    unsigned idle = options->connections_max ? options->connections_max : CONNECTIONS;
    struct transport_curl_options curl = {
        .user_agent = options->user_agent ? options->user_agent : "eider/" EIDER_VERSION,
        .ca_file = options->ca_file,
        .idle_max = idle < CONNECTIONS_MAX ? idle : CONNECTIONS_MAX,
        .compressed = !for_eider,
    };

    if (!headers_valid(slice_of("User-Agent"), slice_of(curl.user_agent))) {
        return err_set(err, ERR_INVALID, "user_agent holds control characters");
    }
    return transport_curl_new(&curl, ret_transport, err);
}

static enum err_code
new_backend(const struct eider_client_options *options, struct metering_backend **ret_backend,
            struct err *err)
{
    if (options->data_dir) {
        const struct metering_embedded_options embedded = {
            .data_dir = options->data_dir,
            .budget_credits = options->budget_credits,
            .budget_minutes = options->budget_minutes,
        };
        return metering_embedded_open(&embedded, ret_backend, err);
    }
    struct metering_http_options http = {
        .url = options->eider_url,
        .token = options->eider_token,
        .timeout_ms = options->eider_timeout_ms > 0 ? options->eider_timeout_ms : EIDER_TIMEOUT_MS,
    };
    if (new_transport(options, true, &http.transport, err) != ERR_OK) {
        return err->code;
    }
    if (metering_http_new(&http, ret_backend, err) != ERR_OK) {
        env_close(&(struct client_env){.transport = http.transport});
        return err->code;
    }
    return ERR_OK;
}

enum eider_client_status
env_open(const struct eider_client_options *options, struct client_env *ret_env, char *ret_problem,
         size_t problem_size)
{
    struct client_env env = {0};
    struct err err = {0};

    enum err_code code = new_transport(options, false, &env.transport, &err);
    if (code == ERR_OK && (options->eider_url || options->data_dir)) {
        code = new_backend(options, &env.metering, &err);
    }
    if (code == ERR_OK) {
        *ret_env = env;
        return EIDER_CLIENT_OK;
    }
    env_close(&env);
    if (ret_problem && problem_size > 0) {
        snprintf(ret_problem, problem_size, "%s", err.msg);
    }
    return code == ERR_INVALID ? EIDER_CLIENT_INVALID : EIDER_CLIENT_FAILED;
}

void
env_close(struct client_env *env)
{
    if (env->transport) {
        env->transport->free(env->transport);
    }
    if (env->metering) {
        env->metering->free(env->metering);
    }
}

enum eider_client_status
eider_client_open(const struct eider_client_options *options, struct eider_client **ret_client,
                  char *ret_problem, size_t problem_size)
{
    struct client_settings checked;
    struct client_env env;

    if (!options || !ret_client) {
        if (ret_problem && problem_size > 0) {
            snprintf(ret_problem, problem_size, "options and ret_client must not be NULL");
        }
        return EIDER_CLIENT_INVALID;
    }
    /* Before a data directory is opened for nothing. */
    if (!settings_init(&checked, options, ret_problem, problem_size)) {
        return EIDER_CLIENT_INVALID;
    }
    settings_fini(&checked);
    enum eider_client_status status = env_open(options, &env, ret_problem, problem_size);
    if (status != EIDER_CLIENT_OK) {
        return status;
    }
    status = client_open_with(options, &env, ret_client, ret_problem, problem_size);
    if (status != EIDER_CLIENT_OK) {
        env_close(&env);
    }
    return status;
}

enum eider_client_status
eider_birdeye_open(const struct eider_birdeye_options *options, struct eider_birdeye **ret_birdeye,
                   char *ret_problem, size_t problem_size)
{
    struct eider_client_options client;
    struct client_env env;

    if (!options || !ret_birdeye) {
        if (ret_problem && problem_size > 0) {
            snprintf(ret_problem, problem_size, "options and ret_birdeye must not be NULL");
        }
        return EIDER_CLIENT_INVALID;
    }
    birdeye_client_options(options, &client);
    enum eider_client_status status = env_open(&client, &env, ret_problem, problem_size);
    if (status != EIDER_CLIENT_OK) {
        return status;
    }
    status = birdeye_open_with(options, &env, ret_birdeye, ret_problem, problem_size);
    if (status != EIDER_CLIENT_OK) {
        env_close(&env);
    }
    return status;
}
