/*
 * The access log: event loops put lines into a bounded ring, a thread writes them. A full ring
 * loses lines, which are counted and said.
 *
 * Threads: access_log_add from any thread, never blocks on output.
 */
#ifndef EIDER_SERVER_ACCESS_LOG_H
#define EIDER_SERVER_ACCESS_LOG_H

#include "http/http.h"

struct access_log;

/* Starts the writer on descriptor `fd`, which stays the caller's. */
struct access_log *access_log_start(int fd);

/* Writes what is queued, stops the thread, frees. NULL is fine. */
void access_log_stop(struct access_log *log);

/* http_access_fn with the log as ctx; the part of a target behind "access_token=" is masked. */
void access_log_add(struct access_log *log, const struct http_access *access);

#endif
