/* eider optimize: by the server, or of a stopped directory. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/cli.h"
#include "cli/json_table.h"
#include "cli/target.h"
#include "cli/work.h"
#include "codec/json_write.h"
#include "server/optimize.h"

static json_int_t
number_at(const json_t *result, const char *path)
{
    return json_integer_value(json_at(result, path));
}

static enum err_code
show(struct cli *cli, const json_t *result, struct err *err)
{
    struct buf out BUF_AUTO = {0};

    buf_init(&out, 0);
    if (cli_has(cli, "json")) {
        char *text = json_dumps(result, JSON_COMPACT);
        buf_add_fmt(&out, "%s\n", text ? text : "null");
        free(text);
        return cli_write(cli, &out, err);
    }
    buf_add_fmt(
        &out, "database    %" JSON_INTEGER_FORMAT " bytes, before %" JSON_INTEGER_FORMAT "%s\n",
        number_at(result, "after.database_bytes"), number_at(result, "before.database_bytes"),
        json_is_true(json_object_get(result, "compacted")) ? ", written anew" : "");
    buf_add_fmt(&out,
                "cold files  %" JSON_INTEGER_FORMAT " bytes in %" JSON_INTEGER_FORMAT
                " files, before %" JSON_INTEGER_FORMAT " in %" JSON_INTEGER_FORMAT "\n",
                number_at(result, "after.cold_bytes"), number_at(result, "after.cold_files"),
                number_at(result, "before.cold_bytes"), number_at(result, "before.cold_files"));
    return cli_write(cli, &out, err);
}

static enum err_code
optimize_here(struct engine *engine, json_t **ret_result, struct err *err)
{
    struct buf text BUF_AUTO = {0};
    struct json_writer json;

    buf_init(&text, 0);
    json_init(&json, &text);
    json_object_begin(&json);
    enum err_code code = optimize_run(engine, &json, err);
    json_object_end(&json);
    if (code == ERR_OK) {
        *ret_result = json_loadb(text.ptr, text.len, 0, NULL);
    }
    return code;
}

int
cli_optimize(struct cli *cli)
{
    struct config config CONFIG_AUTO = {0};
    struct target target = {0};
    json_t *result = NULL;
    struct err err = {0};
    enum err_code code = cli_load_config(cli, false, &config, &err);

    code = code ? code : target_open(cli, &config, TARGET_READ, &target, &err);
    if (code == ERR_OK) {
        code = target.client ? work_run(cli, target.client, "optimize", &result, &err)
                             : optimize_here(target.engine, &result, &err);
    }
    code = code ? code : show(cli, result, &err);
    json_decref(result);
    target_close(&target);
    return code == ERR_OK ? CLI_OK : cli_fail(cli, &err);
}
