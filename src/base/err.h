/*
 * Errors: one enum, one struct, one table that maps a code to its JSON name, HTTP status and exit
 * status. Functions return the code and fill `struct err` as their last parameter; outputs are
 * untouched on failure. Parts return errors and never log them.
 *
 * Threads: a `struct err` belongs to its caller; the functions here keep no state.
 */
#ifndef EIDER_BASE_ERR_H
#define EIDER_BASE_ERR_H

#include <stdarg.h>
#include <stddef.h>

enum err_code {
    ERR_OK = 0,
    ERR_SYNTAX,       /* bytes that cannot be decoded */
    ERR_INVALID,      /* decoded, but a value is not allowed; names field, value and expectation */
    ERR_USAGE,        /* wrong command line or configuration */
    ERR_UNAUTHORIZED, /* no or wrong credentials */
    ERR_FORBIDDEN,    /* credentials without the needed scope */
    ERR_NOT_FOUND,
    ERR_METHOD,       /* the path exists, the method does not */
    ERR_CONFLICT,     /* contradicts what is stored */
    ERR_PRECONDITION, /* If-Match and the like do not hold */
    ERR_TOO_LARGE,    /* over a size limit; names the limit */
    ERR_MEDIA_TYPE,   /* content type or encoding not understood */
    ERR_BUSY,         /* over a rate or queue limit; retry later */
    ERR_UNAVAILABLE,  /* a part is down; nothing was done; retry later */
    ERR_NO_SPACE,     /* disk full */
    ERR_TIMEOUT,
    ERR_UNSUPPORTED, /* this store or build cannot do it */
    ERR_IO,          /* a system call failed; err.sys holds errno */
    ERR_CORRUPT,     /* stored data fails its check; names file and offset */
    ERR_INTERNAL,    /* a bug, or a library that failed for no known reason */
    ERR_COUNT
};

enum { ERR_MSG_MAX = 512 };

struct err {
    enum err_code code;
    int sys; /* errno of the failed call, 0 when there was none */
    char msg[ERR_MSG_MAX];
};

/* Fills `err` (may be NULL) with a formatted message and returns `code`. */
enum err_code err_set(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Fills `err` from the errno value `sys`, appending its text to the message. ENOSPC, EDQUOT and
 * EFBIG become ERR_NO_SPACE, everything else ERR_IO.
 */
enum err_code err_sys(struct err *err, int sys, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message on the way up; returns err->code. `err` may be NULL. */
enum err_code err_context(struct err *err, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The name that travels in JSON, e.g. "EIDER_INVALID". */
const char *err_name(enum err_code code);

/* The HTTP status of an answer that failed with this code. */
int err_http_status(enum err_code code);

/* The exit status of a program that failed with this code: 1, or 2 for wrong usage. */
int err_exit_status(enum err_code code);

#endif
