#include "store/postgres/pg_testing.h"

#include <fcntl.h>
#include <grp.h>
#include <libpq-fe.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRIES = 600, TICK_MS = 50, COMMAND_MAX = 512, EXIT_NO_PROGRAM = 127 };

static const struct passwd *
other_user(void)
{
    if (geteuid() != 0) {
        return NULL;
    }
    /* Tests call this before they have threads. */
    const struct passwd *user = getpwnam("postgres"); /* NOLINT(concurrency-mt-unsafe) */
    return user ? user : getpwnam("nobody");          /* NOLINT(concurrency-mt-unsafe) */
}

static bool
find_programs(char *ret_dir, size_t size)
{
    FILE *pipe = popen("pg_config --bindir", "r"); /* NOLINT(cert-env33-c): a fixed command */

    if (!pipe) {
        return false;
    }
    bool read = fgets(ret_dir, (int)size, pipe) != NULL;
    pclose(pipe);
    ret_dir[strcspn(ret_dir, "\n")] = '\0';
    return read;
}

/* Starts a program as the other user, its output in the directory's log. */
static pid_t
spawn(const struct pg_testing *server, char *const *argv)
{
    const struct passwd *user = other_user();
    char log[PG_TESTING_PATH + 16];

    snprintf(log, sizeof(log), "%s/log", server->dir);
    pid_t pid = fork();
    if (pid != 0) {
        return pid;
    }
    if (user &&
        (setgroups(0, NULL) != 0 || setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) {
        _exit(EXIT_NO_PROGRAM);
    }
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    if (chdir(server->dir) == 0) {
        execv(argv[0], argv);
    }
    _exit(EXIT_NO_PROGRAM);
}

static bool
run(const struct pg_testing *server, char *const *argv)
{
    int status = 0;
    pid_t pid = spawn(server, argv);

    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
           WEXITSTATUS(status) == 0;
}

static void
admin_dsn(const struct pg_testing *server, char ret_dsn[PG_TESTING_DSN])
{
    snprintf(ret_dsn, PG_TESTING_DSN, "host=%s user=eider dbname=postgres", server->dir);
}

static bool
wait_until_ready(const struct pg_testing *server)
{
    char dsn[PG_TESTING_DSN];

    admin_dsn(server, dsn);
    for (int i = 0; i < TRIES; i++) {
        if (PQping(dsn) == PQPING_OK) {
            return true;
        }
        if (waitpid(server->pid, NULL, WNOHANG) == server->pid) {
            return false;
        }
        poll(NULL, 0, TICK_MS);
    }
    return false;
}

bool
pg_testing_again(struct pg_testing *server)
{
    char bin[COMMAND_MAX];
    char program[COMMAND_MAX + 16];
    char data[PG_TESTING_PATH + 16];

    if (!find_programs(bin, sizeof(bin))) {
        return false;
    }
    snprintf(program, sizeof(program), "%s/postgres", bin);
    snprintf(data, sizeof(data), "%s/data", server->dir);
    char *const argv[] = {program,     "-D",
                          data,        "-k",
                          server->dir, "-h",
                          "",          "-F",
                          "-c",        "max_connections=60",
                          "-c",        "shared_buffers=64MB",
                          NULL};
    server->pid = spawn(server, argv);
    return server->pid > 0 && wait_until_ready(server);
}

bool
pg_testing_start(struct pg_testing *server)
{
    const struct passwd *user = other_user();
    char bin[COMMAND_MAX];
    char program[COMMAND_MAX + 16];
    char data[PG_TESTING_PATH + 16];

    *server = (struct pg_testing){.dir = "/tmp/eider-pg-XXXXXX"};
    if (!find_programs(bin, sizeof(bin)) || !mkdtemp(server->dir) ||
        (user && chown(server->dir, user->pw_uid, user->pw_gid) != 0)) {
        fprintf(stderr, "PostgreSQL is not installed: run scripts/bootstrap\n");
        return false;
    }
    snprintf(program, sizeof(program), "%s/initdb", bin);
    snprintf(data, sizeof(data), "%s/data", server->dir);
    char *const argv[] = {program,     "-D",    data, "-U",   "eider",
                          "-A",        "trust", "-E", "UTF8", "--locale=C.UTF-8",
                          "--no-sync", NULL};
    if (!run(server, argv) || !pg_testing_again(server)) {
        fprintf(stderr, "PostgreSQL does not start: see %s/log\n", server->dir);
        return false;
    }
    return true;
}

void
pg_testing_stop(struct pg_testing *server, int signal)
{
    if (server->pid > 0) {
        kill(server->pid, signal);
        waitpid(server->pid, NULL, 0);
        server->pid = 0;
    }
}

void
pg_testing_end(struct pg_testing *server)
{
    char command[COMMAND_MAX];

    pg_testing_stop(server, SIGINT);
    snprintf(command, sizeof(command), "rm -rf '%s'", server->dir);
    if (system(command) != 0) { /* NOLINT(cert-env33-c,concurrency-mt-unsafe): our own name */
        fprintf(stderr, "%s is left behind\n", server->dir);
    }
}

bool
pg_testing_ask(const struct pg_testing *server, const char *sql, char *ret_text, size_t size)
{
    char dsn[PG_TESTING_DSN];

    admin_dsn(server, dsn);
    PGconn *pg = PQconnectdb(dsn);
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!good) {
        fprintf(stderr, "%s: %s", sql, PQerrorMessage(pg));
    }
    if (size > 0) {
        snprintf(ret_text, size, "%s",
                 good && PQntuples(result) > 0 ? PQgetvalue(result, 0, 0) : "");
    }
    PQclear(result);
    PQfinish(pg);
    return good;
}

bool
pg_testing_dsn(const struct pg_testing *server, const char *schema, char ret_dsn[PG_TESTING_DSN])
{
    char sql[COMMAND_MAX];

    snprintf(sql, sizeof(sql),
             "SET client_min_messages = warning; CREATE SCHEMA IF NOT EXISTS \"%s\"", schema);
    snprintf(ret_dsn, PG_TESTING_DSN,
             "host=%s user=eider dbname=postgres options='-csearch_path=\"%s\"'", server->dir,
             schema);
    return pg_testing_ask(server, sql, NULL, 0);
}
