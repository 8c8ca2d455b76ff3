/* What all headers of libeider share: which functions it exports, its version, its units. */
#ifndef EIDER_API_H
#define EIDER_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EIDER_API __attribute__((visibility("default")))

/* Of these headers. Until 1.0 every minor version has a soname of its own. */
#define EIDER_VERSION_MAJOR 0
#define EIDER_VERSION_MINOR 1
#define EIDER_VERSION_PATCH 0

/* Credits and money are whole millionths in an int64_t, never a float: 60 credits are
 * 60 * EIDER_CREDIT. */
#define EIDER_CREDIT INT64_C(1000000)

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that runs, "0.1.0". Any thread. */
EIDER_API const char *eider_version(void);

#ifdef __cplusplus
}
#endif

#endif
