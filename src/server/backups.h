/*
 * The backups of a running server: by the clock and by request, into backup.dir alone; and the
 * archive of its log.
 *
 * Threads: open and close by one; the hook by the applier.
 */
#ifndef EIDER_SERVER_BACKUPS_H
#define EIDER_SERVER_BACKUPS_H

#include "backup/backup.h"
#include "server/config.h"
#include "server/watch.h"
#include "server/work.h"

/* Fills engine_options.before_release when backup.wal_archive is set; `config` must outlive the
 * engine. */
void backups_hook(const struct config *config, struct engine_options *options);

/* False, with the setting and the reason in `err`, when backup.dir or backup.wal_archive is neither
 * a directory that can be written to nor in one where it could be made. Makes nothing. It blocks
 * for as long as their file systems do. */
bool backups_can_write(const struct config *config, struct err *err);

/* Asks that again and again, of a copy of the settings: a disk may come and go, and hang. NULL when
 * neither is set. */
struct watch *backups_watch(const struct config *config);

/* What the work is done with; it must outlive the work. */
struct backups {
    const struct config *config;
    struct engine *engine;
};

/* NULL without backup.dir. */
struct work *backups_start(struct backups *backups);

/* What `eider backup --json` and the server's answers say of a backup: members of an open object.
 */
void backups_describe(const struct backup_result *result, struct json_writer *json);

#endif
