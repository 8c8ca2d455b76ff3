/* Options, examples and descriptions of eider backup, restore and optimize. */
#include "cli/commands_backup.h"

const char backup_description[] =
    "Takes a backup of everything that is acknowledged when it begins: the rows as Parquet by day, "
    "the cold files, and a manifest with a checksum of each, written last. Days that did not "
    "change since an earlier backup in the same directory are not stored again. Writes go on "
    "meanwhile.\n\n"
    "With a server running it is the server that does it, into its backup.dir; with the server "
    "stopped it is done here, into --to. --list, --verify and --prune work on the directory and "
    "need neither.\n\n"
    "--verify reads every byte of one backup (the newest, or the ID given), compares checksums, "
    "opens every file and counts its rows; exit status 1 when anything is wrong. What to do in "
    "bad nights stands in docs/backup.md.";

const struct cli_option backup_options[] = {
    {.name = "to",
     .arg = "DIR",
     .help = "Directory of backups; backup.dir when not given.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "list", .letter = 'l', .help = "List the backups in the directory."},
    {.name = "verify", .help = "Check a backup: the ID given, or the newest."},
    {.name = "prune",
     .arg = "KEEP",
     .help = "Remove all but the newest KEEP backups and what only they need."},
    {.name = "url", .arg = "URL", .help = "Ask the server at this address."},
    {.name = "json", .help = "Print the result as JSON."},
    {0},
};

const struct cli_example backup_examples[] = {
    {"eider backup", "have the running server take one into backup.dir"},
    {"eider backup --to /mnt/backup/eider", "take one of a stopped data directory"},
    {"eider backup --list --to /mnt/backup/eider", "what is there"},
    {"eider backup --verify --to /mnt/backup/eider", "is the newest whole?"},
    {"eider backup --prune 14 --to /mnt/backup/eider", "keep the newest fourteen"},
    {0},
};

const char restore_description[] =
    "Makes a new data directory (--data-dir, which must be empty or not there) of a backup and of "
    "the log behind it, up to the log's end, to an LSN or to a moment. Everything is checked "
    "before the first file is written. A restore that is cut short leaves a directory that no "
    "server opens; run the same command again.\n\n"
    "--from names the directory of backups (the newest that is old enough is taken) or one backup "
    "in it. --wal names where the log is: the archive (backup.wal_archive, which is read without "
    "being named), an old data directory, or its wal/; it may be repeated. The newest records are "
    "in the log of the data directory alone, not yet in the archive: name it, too, to have them. "
    "Without any log the backup itself is restored.\n\n"
    "--dry-run checks and says what one would get.";

const struct cli_option restore_options[] = {
    {.name = "from",
     .arg = "DIR[/ID]",
     .help = "Directory of backups, or one backup; backup.dir when not given.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "wal",
     .arg = "DIR",
     .help = "Where the log behind the backup is; may be repeated.",
     .complete = CLI_COMPLETE_FILE},
    {.name = "to-lsn", .arg = "LSN", .help = "The last record to have."},
    {.name = "to-time",
     .arg = "TIME",
     .help = "Have what was written until then, ISO 8601 (no zone means UTC)."},
    {.name = "dry-run", .letter = 'n', .help = "Check everything, write nothing."},
    {.name = "json", .help = "Print the result as JSON."},
    {0},
};

const struct cli_example restore_examples[] = {
    {"eider restore --from /mnt/backup/eider --data-dir /srv/eider-new",
     "the newest backup and the archived log"},
    {"eider restore --from /mnt/backup/eider --wal /srv/eider-old --data-dir /srv/eider-new",
     "up to the last acknowledged write, when the old wal/ is still there"},
    {"eider restore --from /mnt/backup/eider --to-time 2026-11-20T09:30:00Z --data-dir /srv/new",
     "as it was before the mistake"},
    {0},
};

const char optimize_description[] =
    "Gives back what space can be had: a checkpoint, closed days to cold files, small cold files "
    "merged, the database file written anew without its holes, files that nothing lists removed. "
    "With a server running it is the server that does it; reads wait for a moment while the file "
    "is swapped. Prints bytes before and after.";

const struct cli_option optimize_options[] = {
    {.name = "url", .arg = "URL", .help = "Ask the server at this address."},
    {.name = "json", .help = "Print the result as JSON."},
    {0},
};

const struct cli_example optimize_examples[] = {
    {"eider optimize", "of the running server, or of the stopped data directory"},
    {0},
};
