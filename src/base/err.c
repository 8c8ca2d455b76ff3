/* The table of error codes, and the three ways to fill a `struct err`. */
#include "base/err.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http_status;
    int exit_status;
} err_table[ERR_COUNT] = {
    [ERR_OK] = {"EIDER_OK", 200, 0},
    [ERR_SYNTAX] = {"EIDER_SYNTAX", 400, 1},
    [ERR_INVALID] = {"EIDER_INVALID", 422, 1},
    [ERR_USAGE] = {"EIDER_USAGE", 400, 2},
    [ERR_UNAUTHORIZED] = {"EIDER_UNAUTHORIZED", 401, 1},
    [ERR_FORBIDDEN] = {"EIDER_FORBIDDEN", 403, 1},
    [ERR_NOT_FOUND] = {"EIDER_NOT_FOUND", 404, 1},
    [ERR_METHOD] = {"EIDER_METHOD", 405, 1},
    [ERR_CONFLICT] = {"EIDER_CONFLICT", 409, 1},
    [ERR_PRECONDITION] = {"EIDER_PRECONDITION", 412, 1},
    [ERR_TOO_LARGE] = {"EIDER_TOO_LARGE", 413, 1},
    [ERR_MEDIA_TYPE] = {"EIDER_MEDIA_TYPE", 415, 1},
    [ERR_BUSY] = {"EIDER_BUSY", 429, 1},
    [ERR_UNAVAILABLE] = {"EIDER_UNAVAILABLE", 503, 1},
    [ERR_NO_SPACE] = {"EIDER_NO_SPACE", 503, 1},
    [ERR_TIMEOUT] = {"EIDER_TIMEOUT", 504, 1},
    [ERR_UNSUPPORTED] = {"EIDER_UNSUPPORTED", 501, 1},
    [ERR_IO] = {"EIDER_IO", 500, 1},
    [ERR_CORRUPT] = {"EIDER_CORRUPT", 500, 1},
    [ERR_INTERNAL] = {"EIDER_INTERNAL", 500, 1},
};

__attribute__((format(printf, 4, 0))) static void
fill(struct err *err, enum err_code code, int sys, const char *fmt, va_list ap)
{
    if (!err) {
        return;
    }
    err->code = code;
    err->sys = sys;
    vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
}

enum err_code
err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    assert(code > ERR_OK && code < ERR_COUNT);
    va_start(ap, fmt);
    fill(err, code, 0, fmt, ap);
    va_end(ap);
    return code;
}

enum err_code
err_sys(struct err *err, int sys, const char *fmt, ...)
{
    bool full = sys == ENOSPC || sys == EDQUOT || sys == EFBIG;
    enum err_code code = full ? ERR_NO_SPACE : ERR_IO;
    va_list ap;

    va_start(ap, fmt);
    fill(err, code, sys, fmt, ap);
    va_end(ap);
    if (err) {
        char text[128];
        size_t used = strlen(err->msg);
        snprintf(err->msg + used, sizeof(err->msg) - used, ": %s",
                 strerror_r(sys, text, sizeof(text)));
    }
    return code;
}

enum err_code
err_context(struct err *err, enum err_code code, const char *fmt, ...)
{
    char old[ERR_MSG_MAX];
    char context[ERR_MSG_MAX / 2];
    va_list ap;

    if (!err) {
        return code;
    }
    memcpy(old, err->msg, sizeof(old));
    va_start(ap, fmt);
    vsnprintf(context, sizeof(context), fmt, ap);
    va_end(ap);
    int written = snprintf(err->msg, sizeof(err->msg), "%s: %s", context, old);
    if (written >= (int)sizeof(err->msg)) {
        memcpy(err->msg + sizeof(err->msg) - 4, "...", 4);
    }
    return code;
}

const char *
err_name(enum err_code code)
{
    assert(code < ERR_COUNT);
    return err_table[code].name;
}

int
err_http_status(enum err_code code)
{
    assert(code < ERR_COUNT);
    return err_table[code].http_status;
}

int
err_exit_status(enum err_code code)
{
    assert(code < ERR_COUNT);
    return err_table[code].exit_status;
}
