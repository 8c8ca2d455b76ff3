/* Fail-points; see the header. */
#include "store/failpoint.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/slice.h"

enum { NAME_MAX_BYTES = 64 };

/* One line a name; tests/fault reads this table. "put" is every file that gets its place in cold/:
 * of a seal and of a merge, raw rows and rollups. */
const char *const failpoint_names[] = {
    "seal.copied",      /* a file is in cold/tmp, not synced */
    "put.synced",       /* it is synced, still in cold/tmp */
    "put.renamed",      /* it has its place, its directory is not synced */
    "seal.ready",       /* all files of the day have their places; nobody lists them */
    "commit.deleted",   /* in the transaction: the day's hot rows are deleted */
    "commit.listed",    /* in the transaction: the files are listed */
    "commit.answered",  /* the transaction is durable, its COMMIT seems to fail */
    "commit.done",      /* behind the transaction */
    "unseal.restored",  /* in the transaction: a day's rows are hot again */
    "unseal.delisted",  /* in the transaction: its files have left the list */
    "drop.delisted",    /* in the transaction: retention's files have left the list */
    "drop.done",        /* behind the transaction */
    "dropped.noted",    /* their names stand in cold/dropped; they are still there */
    "dropped.unlinked", /* the first of them is gone */
    "gc.unlinked",      /* a file that nobody lists is gone */
    "series.written",   /* definitions are in cold/series, not synced */
    "series.synced",    /* they are synced; the file that needs them is not listed */
    "manifest.written", /* cold/manifest.json.tmp is synced */
    "manifest.renamed", /* it has its name */
    "sidecar.written",  /* backup/eider-<lsn>.cold.tmp is synced */
    "sidecar.renamed",  /* it has its name; the snapshot is not there yet */
    "snapshot.taken",   /* both are there; older ones are not dropped yet */
    "compact.written",  /* the compact copy is synced under a temporary name */
    "compact.renamed",  /* it has its name */
    "schema.statement", /* a statement of a migration, or its ledger's row, in the transaction */
    "schema.ready",     /* all of them, before the commit */
    "schema.done",      /* behind the commit */
    "swap.closed",      /* the compact copy is there, the database is closed */
    "swap.renamed",     /* the copy has the database's name */
    "export.copied",    /* a backup's file of hot rows is in cold/tmp */
    "backup.pinned",    /* its cold files have second names in cold/tmp */
    "backup.pooled",    /* a file is in the pool, its directory is not synced */
    "backup.complete",  /* all files are in the pool, the manifest is not written */
    "backup.listed",    /* the manifest has its name */
    "backup.unlisted",  /* an old backup's manifest is removed, its directory is there */
    "archive.begun",    /* a segment is about to get its name in the archive */
    "restore.marked",   /* the new directory is marked unfinished */
    "restore.rows",     /* the rows of a file are in the new database */
    "restore.cold",     /* a cold file is in its place */
    "restore.lsn",      /* the new database has its LSN */
    "restore.logged",   /* a segment of the log is in its place */
    "restore.applied",  /* everything is applied, the mark is still there */
    "salvage.swapped",  /* the readable part of a log has its place, the damaged one is not aside */
    "adopt.aside",      /* a repair has moved a cold file that it cannot adopt to quarantine/ */
    "adopt.made",       /* the new database is complete under a temporary name */
    "adopt.renamed",    /* it has its name; the log is not replayed */
    NULL,
};

atomic_bool failpoint_is_armed;

/* Guards what follows, as a test may arm beside threads that pass points. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char armed_name[NAME_MAX_BYTES];
static bool armed_kills;
static int armed_nth;
static int passes;

static bool
is_known(const char *name)
{
    for (size_t i = 0; failpoint_names[i]; i++) {
        if (strcmp(failpoint_names[i], name) == 0) {
            return true;
        }
    }
    return false;
}

/* With the lock held. */
static bool
parse_point(const char *text)
{
    struct slice rest = slice_of(text);
    struct slice name;
    struct slice action;
    struct slice nth;
    char digits[12];

    slice_split(&rest, ':', &name);
    bool has_nth = slice_split(&rest, ':', &action);
    slice_split(&rest, ':', &nth);
    armed_nth = 1;
    if (has_nth) {
        char *end;
        if (!slice_to_cstr(nth, digits, sizeof(digits))) {
            return false;
        }
        long number = strtol(digits, &end, 10);
        if (*end != '\0' || number < 1 || number > 1000000) {
            return false;
        }
        armed_nth = (int)number;
    }
    armed_kills = slice_is(action, "kill");
    return slice_to_cstr(name, armed_name, sizeof(armed_name)) && is_known(armed_name) &&
           (armed_kills || slice_is(action, "error"));
}

bool
failpoint_arm(const char *text)
{
    pthread_mutex_lock(&lock);
    passes = 0;
    bool is_armed = text && parse_point(text);
    atomic_store(&failpoint_is_armed, is_armed);
    pthread_mutex_unlock(&lock);
    return is_armed || !text;
}

bool
failpoint_reached(const char *name)
{
    assert(is_known(name));
    pthread_mutex_lock(&lock);
    bool reached =
        atomic_load(&failpoint_is_armed) && strcmp(name, armed_name) == 0 && ++passes == armed_nth;
    if (reached && armed_kills) {
        raise(SIGKILL);
    }
    pthread_mutex_unlock(&lock);
    return reached;
}

/* Before main, so that no thread ever sees it change. */
static void __attribute__((constructor)) arm_from_environment(void)
{
    const char *text = secure_getenv("EIDER_FAILPOINT");

    if (text && *text && !failpoint_arm(text)) {
        fprintf(stderr, "EIDER_FAILPOINT=%s: expected name:kill|error[:nth] of a known name\n",
                text);
    }
}
