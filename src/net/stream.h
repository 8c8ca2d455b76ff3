/*
 * Bytes over a non-blocking socket, plain or TLS, with one face.
 *
 * TLS: after NET_IO_AGAIN from net_stream_write the next call must offer the same bytes again from
 * the same point (more may follow them). After a read event read until NET_IO_AGAIN, since what
 * OpenSSL has decrypted raises no further event. A read may have to wait for writability and the
 * other way round: see wants_write and wants_read.
 *
 * Ownership: net_stream_close closes the descriptor and frees the TLS state. One thread.
 */
#ifndef EIDER_NET_STREAM_H
#define EIDER_NET_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/uio.h>

struct ssl_st;

struct net_stream {
    int fd;
    struct ssl_st *ssl; /* NULL: plain */
    bool wants_write;   /* a read waits until the socket is writable */
    bool wants_read;    /* a write waits until the socket is readable */
    bool broken;        /* TLS failed: no goodbye */
};

enum net_io {
    NET_IO_OK,
    NET_IO_AGAIN, /* would block */
    NET_IO_END,   /* the peer sends no more */
    NET_IO_ERROR, /* close the stream */
};

enum { NET_IOV_MAX = 4 };

/* A vector of bytes to be written; struct iovec lacks the const. */
static inline struct iovec
net_iov(const void *ptr, size_t len)
{
    struct iovec iov = {.iov_len = len};

    memcpy(&iov.iov_base, &ptr, sizeof(ptr));
    return iov;
}

/* Reads at least one byte, at most `size`. */
enum net_io net_stream_read(struct net_stream *stream, void *dst, size_t size, size_t *ret_len);

/* Writes at least one byte of the given vectors (at most NET_IOV_MAX, not all of them empty). */
enum net_io net_stream_write(struct net_stream *stream, const struct iovec *iov, int count,
                             size_t *ret_len);

/* Whether bytes can be read that no event will announce. */
bool net_stream_pending(const struct net_stream *stream);

/* Ends our side: TLS close_notify and FIN. What the peer still sends can be read. */
void net_stream_shutdown(struct net_stream *stream);

void net_stream_close(struct net_stream *stream);

/* Bounds what a slow reader can hold in the kernel: send buffer and unacknowledged time. */
void net_stream_bound(struct net_stream *stream, int send_buffer_bytes, int unacked_ms);

#endif
