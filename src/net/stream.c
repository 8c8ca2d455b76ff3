/* Plain and TLS reads and writes. */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* One TLS record; small vectors are joined into it. */
enum { TLS_RECORD_MAX = 16384 };

static enum net_io
plain_result(ssize_t done, size_t *ret_len)
{
    if (done > 0) {
        *ret_len = (size_t)done;
        return NET_IO_OK;
    }
    if (done == 0) {
        return NET_IO_END;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK ? NET_IO_AGAIN : NET_IO_ERROR;
}

static enum net_io
tls_result(struct net_stream *stream, int rc, bool reading)
{
    switch (SSL_get_error(stream->ssl, rc)) {
    case SSL_ERROR_WANT_READ:
        stream->wants_read = !reading;
        return NET_IO_AGAIN;
    case SSL_ERROR_WANT_WRITE:
        stream->wants_write = reading;
        return NET_IO_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return NET_IO_END;
    default:
        stream->broken = true;
        return NET_IO_ERROR;
    }
}

enum net_io
net_stream_read(struct net_stream *stream, void *dst, size_t size, size_t *ret_len)
{
    assert(size > 0);
    if (!stream->ssl) {
        ssize_t done;
        do {
            done = recv(stream->fd, dst, size, 0);
        } while (done < 0 && errno == EINTR);
        return plain_result(done, ret_len);
    }
    stream->wants_write = false;
    if (stream->broken) {
        return NET_IO_ERROR;
    }
    ERR_clear_error();
    int rc = SSL_read_ex(stream->ssl, dst, size, ret_len);
    return rc == 1 ? NET_IO_OK : tls_result(stream, rc, true);
}

static enum net_io
plain_write(struct net_stream *stream, const struct iovec *iov, int count, size_t *ret_len)
{
    struct iovec copy[NET_IOV_MAX];
    struct msghdr msg = {.msg_iov = copy, .msg_iovlen = (size_t)count};
    ssize_t done;

    assert(count <= NET_IOV_MAX);
    memcpy(copy, iov, (size_t)count * sizeof(*iov));
    do {
        done = count == 1 ? send(stream->fd, iov[0].iov_base, iov[0].iov_len, MSG_NOSIGNAL)
                          : sendmsg(stream->fd, &msg, MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    return done == 0 ? NET_IO_ERROR : plain_result(done, ret_len);
}

/* Joins vectors until a record is full: a head and a small body travel as one. */
static size_t
gather(const struct iovec *iov, int count, char record[TLS_RECORD_MAX])
{
    size_t len = 0;

    for (int i = 0; i < count && len < TLS_RECORD_MAX; i++) {
        size_t room = TLS_RECORD_MAX - len;
        size_t part = iov[i].iov_len < room ? iov[i].iov_len : room;
        if (part > 0) {
            memcpy(record + len, iov[i].iov_base, part);
            len += part;
        }
    }
    return len;
}

enum net_io
net_stream_write(struct net_stream *stream, const struct iovec *iov, int count, size_t *ret_len)
{
    if (!stream->ssl) {
        return plain_write(stream, iov, count, ret_len);
    }
    char record[TLS_RECORD_MAX];
    const void *bytes = iov[0].iov_base;
    size_t len = iov[0].iov_len;

    stream->wants_read = false;
    if (stream->broken) {
        return NET_IO_ERROR;
    }
    if (count > 1 && len < TLS_RECORD_MAX) {
        len = gather(iov, count, record);
        bytes = record;
    }
    ERR_clear_error();
    int rc = SSL_write_ex(stream->ssl, bytes, len, ret_len);
    return rc == 1 ? NET_IO_OK : tls_result(stream, rc, false);
}

bool
net_stream_pending(const struct net_stream *stream)
{
    return stream->ssl && SSL_has_pending(stream->ssl);
}

void
net_stream_shutdown(struct net_stream *stream)
{
    if (stream->ssl && !stream->broken && SSL_is_init_finished(stream->ssl)) {
        ERR_clear_error();
        if (SSL_shutdown(stream->ssl) < 0) {
            stream->broken = true;
        }
    }
    shutdown(stream->fd, SHUT_WR);
}

void
net_stream_close(struct net_stream *stream)
{
    if (stream->ssl) {
        SSL_free(stream->ssl);
        stream->ssl = NULL;
        ERR_clear_error();
    }
    if (stream->fd >= 0) {
        close(stream->fd);
        stream->fd = -1;
    }
}

void
net_stream_bound(struct net_stream *stream, int send_buffer_bytes, int unacked_ms)
{
    (void)setsockopt(stream->fd, SOL_SOCKET, SO_SNDBUF, &send_buffer_bytes,
                     sizeof(send_buffer_bytes));
    (void)setsockopt(stream->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof(unacked_ms));
}
