/* Tests of HTTP and WebSocket over TLS, with certificates made here. */
#include "http/testing.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

struct files {
    char cert[64];
    char key[64];
};

/* Writes a self-signed certificate of that serial number and its key. */
static void
write_certificate(const struct files *files, long serial)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    FILE *file;

    assert_non_null(key);
    assert_non_null(cert);
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), serial);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
                               (const unsigned char *)"localhost", -1, -1, 0);
    X509_set_issuer_name(cert, X509_get_subject_name(cert));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    file = fopen(files->cert, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_X509(file, cert), 1);
    fclose(file);
    file = fopen(files->key, "w");
    assert_non_null(file);
    assert_int_equal(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static struct files
new_files(void)
{
    struct files files = {"/tmp/eider-tls-cert-XXXXXX", "/tmp/eider-tls-key-XXXXXX"};
    int cert = mkstemp(files.cert);
    int key = mkstemp(files.key);

    assert_true(cert >= 0 && key >= 0);
    close(cert);
    close(key);
    write_certificate(&files, 1);
    return files;
}

static void
remove_files(const struct files *files)
{
    unlink(files->cert);
    unlink(files->key);
}

static struct fixture *
run_tls(const struct files *files)
{
    struct fixture *test = fixture_new();

    test->options.cert_file = files->cert;
    test->options.key_file = files->key;
    fixture_start(test);
    return test;
}

struct client {
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
};

/* Connects with at most that TLS version; ssl is NULL when the handshake fails. */
static struct client
connect_tls(const struct fixture *test, int version_max, int receive_buffer)
{
    struct client client = {.ctx = SSL_CTX_new(TLS_client_method())};

    client.fd = client_connect_with(http_server_port(test->server), receive_buffer);
    SSL_CTX_set_max_proto_version(client.ctx, version_max);
    SSL_CTX_set_security_level(client.ctx, 0);
    SSL_CTX_set_min_proto_version(client.ctx, TLS1_VERSION);
    client.ssl = SSL_new(client.ctx);
    SSL_set_fd(client.ssl, client.fd);
    SSL_set_alpn_protos(client.ssl, (const unsigned char *)"\x02h2\x08http/1.1", 12);
    if (SSL_connect(client.ssl) != 1) {
        SSL_free(client.ssl);
        client.ssl = NULL;
    }
    return client;
}

static void
close_tls(struct client *client)
{
    SSL_free(client->ssl);
    SSL_CTX_free(client->ctx);
    close(client->fd);
}

static void
send_tls(struct client *client, const char *text)
{
    assert_int_equal(SSL_write(client->ssl, text, (int)strlen(text)), (int)strlen(text));
}

/* Reads until `text` has come at the end of what was read. */
static void
read_until(struct client *client, const char *text, struct buf *to)
{
    while (!slice_ends(buf_slice(to), text)) {
        char bytes[16384];
        int got = SSL_read(client->ssl, bytes, sizeof(bytes));
        assert_true(got > 0);
        buf_add(to, bytes, (size_t)got);
    }
}

static long
serial_of(const struct client *client)
{
    X509 *cert = SSL_get1_peer_certificate(client->ssl);
    long serial = ASN1_INTEGER_get(X509_get0_serialNumber(cert));

    X509_free(cert);
    return serial;
}

static void
test_tls_answers_requests_in_1_2_and_1_3(void **state)
{
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    struct files files = new_files();
    struct fixture *test = run_tls(&files);

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct client client = connect_tls(test, versions[i], 0);
        const unsigned char *protocol;
        unsigned len;
        BUF_AUTO struct buf text;
        buf_init(&text, 0);
        assert_non_null(client.ssl);
        SSL_get0_alpn_selected(client.ssl, &protocol, &len);
        assert_int_equal(len, 8);
        assert_memory_equal(protocol, "http/1.1", 8);
        /* All of them in one record, one with a pause for another thread. */
        send_tls(&client, "GET /headers HTTP/1.1\r\nHost: a\r\n\r\n"
                          "POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
                          "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
        read_until(&client, "hello", &text);
        assert_non_null(memmem(text.ptr, text.len, "tls=1", 5));
        assert_non_null(memmem(text.ptr, text.len, "slow:hi", 7));
        close_tls(&client);
    }
    fixture_free(test);
    remove_files(&files);
}

static bool
one_parse_error(const struct http_stats *stats)
{
    return stats->parse_errors == 1 && stats->connections == 0;
}

static void
test_tls_refuses_old_versions_and_plain_text(void **state)
{
    struct files files = new_files();
    struct fixture *test = run_tls(&files);
    struct client old = connect_tls(test, TLS1_1_VERSION, 0);
    char bytes[64];

    (void)state;
    assert_null(old.ssl);
    close_tls(&old);
    fixture_wait_stats(test, one_parse_error);
    int fd = client_connect(test);
    client_send_text(fd, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    ssize_t got = recv(fd, bytes, sizeof(bytes), 0);
    assert_true(got <= 0 || bytes[0] == 0x15); /* nothing, or a TLS alert; never HTTP */
    close(fd);
    fixture_free(test);
    remove_files(&files);
}

static void
test_tls_moves_large_bodies_both_ways(void **state)
{
    enum { BODY = 3000000 };
    struct files files = new_files();
    struct fixture *test = run_tls(&files);
    struct client client = connect_tls(test, TLS1_3_VERSION, 4096);
    BUF_AUTO struct buf text;
    char head[128];

    (void)state;
    buf_init(&text, 0);
    send_tls(&client,
             "GET /static HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    read_until(&client, "\r\n\r\nhello", &text);
    const char *body = (const char *)memmem(text.ptr, text.len, "\r\n\r\n", 4) + 4;
    assert_memory_equal(body, test->static_body, TEST_STATIC_BYTES);
    buf_reset(&text);
    snprintf(head, sizeof(head), "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n",
             BODY);
    send_tls(&client, head);
    assert_int_equal(SSL_write(client.ssl, test->static_body, BODY), BODY);
    send_tls(&client, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    read_until(&client, "\r\n\r\nhello", &text);
    body = (const char *)memmem(text.ptr, text.len, "\r\n\r\n", 4) + 4;
    assert_memory_equal(body, test->static_body, BODY);
    close_tls(&client);
    fixture_free(test);
    remove_files(&files);
}

static void
test_tls_reload_changes_the_certificate_of_new_connections(void **state)
{
    struct files files = new_files();
    struct fixture *test = run_tls(&files);
    struct client old = connect_tls(test, TLS1_3_VERSION, 0);
    BUF_AUTO struct buf text;
    struct err err;

    (void)state;
    buf_init(&text, 0);
    assert_int_equal(serial_of(&old), 1);
    write_certificate(&files, 2);
    assert_int_equal(http_server_reload_tls(test->server, &err), ERR_OK);
    struct client new = connect_tls(test, TLS1_3_VERSION, 0);
    assert_int_equal(serial_of(&new), 2);
    send_tls(&old, "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n");
    read_until(&old, "\r\n\r\nhello", &text);
    FILE *file = fopen(files.key, "w");
    fputs("not a key\n", file);
    fclose(file);
    assert_int_equal(http_server_reload_tls(test->server, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, files.key));
    struct client again = connect_tls(test, TLS1_3_VERSION, 0);
    assert_int_equal(serial_of(&again), 2);
    close_tls(&old);
    close_tls(&new);
    close_tls(&again);
    fixture_free(test);
    remove_files(&files);
}

static void
test_tls_start_refuses_a_key_of_another_certificate(void **state)
{
    struct files files = new_files();
    struct files other = new_files();
    struct http_options options = {
        .handler = fixture_handler, .cert_file = files.cert, .key_file = other.key};
    struct http_server *server = NULL;
    struct err err;

    (void)state;
    assert_int_equal(http_server_start(&options, &server, &err), ERR_USAGE);
    assert_non_null(strstr(err.msg, other.key));
    assert_null(server);
    remove_files(&files);
    remove_files(&other);
}

static void
app_text(void *ctx, struct ws_client *client, struct slice text)
{
    (void)ctx;
    ws_join(client, 1);
    ws_send_text(client, text);
}

static void
test_tls_carries_websockets(void **state)
{
    enum { BIG = 300000 };
    struct files files = new_files();
    struct fixture *test = fixture_new();
    BUF_AUTO struct buf text;

    (void)state;
    test->ws = (struct ws_callbacks){NULL, app_text, NULL};
    test->options.cert_file = files.cert;
    test->options.key_file = files.key;
    fixture_start(test);
    struct client client = connect_tls(test, TLS1_3_VERSION, 4096);
    buf_init(&text, 0);
    send_tls(&client, "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
                      "\r\n\r\n");
    read_until(&client, "\r\n\r\n", &text);
    assert_int_equal(SSL_write(client.ssl, "\x81\x83\0\0\0\0abc", 9), 9);
    read_until(&client,
               "\x81\x03"
               "abc",
               &text);
    /* Frames that do not fit into the socket at once, and newer ones in between. */
    for (int i = 0; i < 20; i++) {
        struct ws_frame *frame =
            ws_frame_text(slice_make(test->static_body, (size_t)BIG + (size_t)i));
        http_broadcast(test->server, 0, frame);
        ws_frame_unref(frame);
    }
    struct ws_frame *last = ws_frame_text(SLICE_LITERAL("last"));
    http_broadcast(test->server, 0, last);
    ws_frame_unref(last);
    buf_reset(&text);
    read_until(&client, "\x81\x04last", &text);
    for (size_t at = 0; at < text.len - 6;) {
        assert_memory_equal(text.ptr + at, "\x81\x7f\0\0\0\0\0\x04", 8);
        size_t len = 0;
        for (size_t i = 2; i < 10; i++) {
            len = len << 8 | (unsigned char)text.ptr[at + i];
        }
        assert_true(len >= BIG && len < BIG + 20);
        assert_memory_equal(text.ptr + at + 10, test->static_body, len);
        at += 10 + len;
    }
    close_tls(&client);
    fixture_free(test);
    remove_files(&files);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tls_answers_requests_in_1_2_and_1_3),
        cmocka_unit_test(test_tls_refuses_old_versions_and_plain_text),
        cmocka_unit_test(test_tls_moves_large_bodies_both_ways),
        cmocka_unit_test(test_tls_reload_changes_the_certificate_of_new_connections),
        cmocka_unit_test(test_tls_start_refuses_a_key_of_another_certificate),
        cmocka_unit_test(test_tls_carries_websockets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
