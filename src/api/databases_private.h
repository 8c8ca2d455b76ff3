/* What the files of several databases share. */
#ifndef EIDER_API_DATABASES_PRIVATE_H
#define EIDER_API_DATABASES_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "api/databases.h"

enum { DATABASES_MAX = HTTP_CHANNELS };

struct database_entry {
    char name[DATABASE_NAME_MAX + 1];
    _Atomic(struct api *) api; /* NULL: it does not serve */
    struct database_limits limits;
    char problem[ERR_MSG_MAX]; /* from here on under the lock */
    double rows_per_second;
    uint64_t disk_bytes;
};

struct databases {
    /* Read by whoever uses the api of another database than its own, for as long as it does;
     * written by the one that takes its own away. Above all others. */
    pthread_rwlock_t apis;
    pthread_mutex_t lock; /* below no other */
    size_t count;
    struct database_entry entries[DATABASES_MAX];
};

#endif
