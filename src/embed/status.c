/* What functions answer, and whether a thread may wait. */
#include <stdarg.h>
#include <stdio.h>

#include "embed/embed_internal.h"

_Static_assert((int)EIDER_MESSAGE_MAX == (int)ERR_MSG_MAX, "messages are handed on whole");

const char *
eider_status_name(enum eider_status status)
{
    switch (status) {
    case EIDER_OK:
        return "ok";
    case EIDER_INVALID:
        return "invalid";
    case EIDER_NOT_FOUND:
        return "not_found";
    case EIDER_CONFLICT:
        return "conflict";
    case EIDER_TOO_LARGE:
        return "too_large";
    case EIDER_BUSY:
        return "busy";
    case EIDER_UNAVAILABLE:
        return "unavailable";
    case EIDER_NO_SPACE:
        return "no_space";
    case EIDER_TIMEOUT:
        return "timeout";
    case EIDER_UNSUPPORTED:
        return "unsupported";
    case EIDER_IO:
        return "io";
    case EIDER_CORRUPT:
        return "corrupt";
    case EIDER_INTERNAL:
        return "internal";
    }
    return "unknown";
}

enum eider_status
embed_status(enum err_code code)
{
    switch (code) {
    case ERR_OK:
        return EIDER_OK;
    case ERR_SYNTAX:
    case ERR_INVALID:
    case ERR_USAGE:
    case ERR_METHOD:
    case ERR_MEDIA_TYPE:
    case ERR_UNAUTHORIZED:
    case ERR_FORBIDDEN:
        return EIDER_INVALID;
    case ERR_NOT_FOUND:
        return EIDER_NOT_FOUND;
    case ERR_CONFLICT:
    case ERR_PRECONDITION:
        return EIDER_CONFLICT;
    case ERR_TOO_LARGE:
        return EIDER_TOO_LARGE;
    case ERR_BUSY:
        return EIDER_BUSY;
    case ERR_UNAVAILABLE:
        return EIDER_UNAVAILABLE;
    case ERR_NO_SPACE:
        return EIDER_NO_SPACE;
    case ERR_TIMEOUT:
        return EIDER_TIMEOUT;
    case ERR_UNSUPPORTED:
        return EIDER_UNSUPPORTED;
    case ERR_IO:
        return EIDER_IO;
    case ERR_CORRUPT:
        return EIDER_CORRUPT;
    case ERR_INTERNAL:
    case ERR_COUNT:
        break;
    }
    return EIDER_INTERNAL;
}

enum eider_status
embed_fail(struct eider_error *error, const struct err *err)
{
    enum eider_status status = embed_status(err->code);

    if (error) {
        error->status = status;
        error->sys = err->sys;
        snprintf(error->message, sizeof(error->message), "%s", err->msg);
    }
    return status;
}

enum eider_status
embed_refuse(struct eider_error *error, enum eider_status status, const char *fmt, ...)
{
    va_list ap;

    if (error) {
        error->status = status;
        error->sys = 0;
        va_start(ap, fmt);
        vsnprintf(error->message, sizeof(error->message), fmt, ap);
        va_end(ap);
    }
    return status;
}

enum eider_status
embed_check_reserved(const char *object, const uint64_t *reserved, size_t count,
                     struct eider_error *error)
{
    for (size_t i = 0; i < count; i++) {
        if (reserved[i] != 0) {
            return embed_refuse(error, EIDER_INVALID,
                                "%s, reserved is not 0: initialise it with {0}; a member that is "
                                "newer than this library, %d.%d.%d, is not known to it",
                                object, EIDER_VERSION_MAJOR, EIDER_VERSION_MINOR,
                                EIDER_VERSION_PATCH);
        }
    }
    return EIDER_OK;
}

/* Of this thread, so that no two handles share anything. */
static _Thread_local unsigned callback_depth;
static _Thread_local bool is_subscriber;

void
embed_be_subscriber(void)
{
    is_subscriber = true;
}

void
embed_enter_callback(void)
{
    callback_depth++;
}

void
embed_leave_callback(void)
{
    callback_depth--;
}

enum eider_status
embed_check_wait(const char *function, struct eider_error *error)
{
    if (callback_depth == 0) {
        return EIDER_OK;
    }
    return embed_refuse(error, EIDER_INVALID,
                        "%s waits and was called in a callback, which it would wait for; use the "
                        "asynchronous form, or another thread",
                        function);
}

enum eider_status
embed_check_end(const char *function)
{
    enum eider_status status = embed_check_wait(function, NULL);

    return status == EIDER_OK && is_subscriber ? EIDER_INVALID : status;
}
