/*
 * The network by libcurl: one easy handle a running request, taken from a stack of idle ones and
 * put back, so that connections are reused, the warmest first.
 */
#include "client/transport.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { IDLE_CONNECTION_S = 60, DNS_CACHE_S = 60 };

struct curl_transport {
    struct transport transport; /* first */
    pthread_mutex_t lock;       /* guards idle */
    CURL **idle;
    unsigned idle_count;
    unsigned idle_max;
    char *user_agent;
    char *ca_file;
    bool compressed;
};

/* One request on its way; what the callbacks of libcurl share. */
struct exchange {
    const struct transport_request *request;
    struct transport_answer *answer;
    CURL *curl;
    bool stopped;
};

void
transport_answer_init(struct transport_answer *answer, size_t body_bytes_max)
{
    *answer = (struct transport_answer){0};
    buf_init(&answer->body, body_bytes_max);
}

void
transport_answer_fini(struct transport_answer *answer)
{
    headers_fini(&answer->headers);
    buf_fini(&answer->body);
}

static size_t
take_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct exchange *exchange = ctx;
    const struct transport_request *request = exchange->request;
    struct transport_answer *answer = exchange->answer;
    size_t len = size * count;
    long status = 0;

    curl_easy_getinfo(exchange->curl, CURLINFO_RESPONSE_CODE, &status);
    if (request->sink && status >= 200 && status < 300) {
        answer->sink_used = true;
        if (!request->sink(request->sink_ctx, bytes, len)) {
            exchange->stopped = true;
            return 0;
        }
        return len;
    }
    buf_add(&answer->body, bytes, len);
    return answer->body.overflow ? 0 : len;
}

static size_t
take_header(char *bytes, size_t size, size_t count, void *ctx)
{
    struct exchange *exchange = ctx;
    struct slice value = slice_make(bytes, size * count);
    struct slice name;

    if (slice_starts(value, "HTTP/")) {
        /* A new head: the one before was interim (100 Continue, 103). */
        headers_fini(&exchange->answer->headers);
    } else if (memchr(value.ptr, ':', value.len)) {
        slice_split(&value, ':', &name);
        /* What is no proper header, or one too many, is of no use to anybody. */
        (void)headers_set(&exchange->answer->headers, slice_trim(name), slice_trim(value));
    }
    return size * count;
}

static int
look_around(void *ctx, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
    struct exchange *exchange = ctx;

    (void)down_total;
    (void)down;
    (void)up_total;
    (void)up;
    if (exchange->request->stop && atomic_load(exchange->request->stop)) {
        exchange->stopped = true;
    }
    return exchange->stopped;
}

static CURL *
take_handle(struct curl_transport *transport)
{
    CURL *curl = NULL;

    pthread_mutex_lock(&transport->lock);
    if (transport->idle_count > 0) {
        curl = transport->idle[--transport->idle_count];
    }
    pthread_mutex_unlock(&transport->lock);
    return curl ? curl : curl_easy_init();
}

static void
give_handle(struct curl_transport *transport, CURL *curl)
{
    /* Forgets the options, keeps connections, DNS and TLS sessions. */
    curl_easy_reset(curl);
    pthread_mutex_lock(&transport->lock);
    if (transport->idle_count < transport->idle_max) {
        transport->idle[transport->idle_count++] = curl;
        curl = NULL;
    }
    pthread_mutex_unlock(&transport->lock);
    if (curl) {
        curl_easy_cleanup(curl);
    }
}

static struct curl_slist *
make_headers(const struct transport_request *request)
{
    /* Waiting for "100 Continue" costs a second with servers that do not know it. */
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    struct buf line BUF_AUTO = {0};

    buf_init(&line, 0);
    for (size_t i = 0; i < request->headers->count; i++) {
        const struct eider_header *header = &request->headers->items[i];
        buf_reset(&line);
        /* libcurl drops "Name:" and sends "Name;" as a header without a value. */
        buf_add_fmt(&line, header->value[0] ? "%s: %s" : "%s;%s", header->name, header->value);
        buf_add_char(&line, '\0');
        list = curl_slist_append(list, line.ptr);
    }
    return list;
}

static void
set_up(const struct curl_transport *transport, struct exchange *exchange, char *problem)
{
    const struct transport_request *request = exchange->request;
    CURL *curl = exchange->curl;

    curl_easy_setopt(curl, CURLOPT_URL, request->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)request->connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, (long)IDLE_CONNECTION_S);
    curl_easy_setopt(curl, CURLOPT_DNS_CACHE_TIMEOUT, (long)DNS_CACHE_S);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, transport->user_agent);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, problem);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, exchange);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, look_around);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, exchange);
    if (transport->compressed) {
        curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    }
    if (transport->ca_file) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, transport->ca_file);
    }
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    } else if (request->has_body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.ptr);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    } else {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static enum transport_result
judge(const struct exchange *exchange, CURLcode code)
{
    if (exchange->stopped) {
        return TRANSPORT_STOPPED;
    }
    if (exchange->answer->body.overflow) {
        return TRANSPORT_TOO_LARGE;
    }
    if (code == CURLE_OK) {
        return TRANSPORT_ANSWERED;
    }
    return code == CURLE_OPERATION_TIMEDOUT ? TRANSPORT_TIMEOUT : TRANSPORT_NETWORK;
}

/*
 * curl_easy_perform without SIGPIPE: TLS writes by write(2), and a library must not change what
 * signals do in the program. So the signal is blocked for this thread, and one that came is taken.
 */
static CURLcode
perform(CURL *curl)
{
    const struct timespec no_wait = {0};
    sigset_t pipe_only;
    sigset_t pending;
    sigset_t before;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    CURLcode code = curl_easy_perform(curl);
    if (!was_pending) {
        (void)sigtimedwait(&pipe_only, NULL, &no_wait);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static void
send_by_curl(struct transport *self, const struct transport_request *request,
             struct transport_answer *ret_answer)
{
    struct curl_transport *transport = (struct curl_transport *)(void *)self;
    struct exchange exchange = {.request = request, .answer = ret_answer};
    char problem[CURL_ERROR_SIZE] = "";
    long status = 0;
    long sent = 0;

    exchange.curl = take_handle(transport);
    if (!exchange.curl) {
        ret_answer->result = TRANSPORT_NETWORK;
        snprintf(ret_answer->problem, sizeof(ret_answer->problem), "libcurl cannot start");
        return;
    }
    struct curl_slist *headers = make_headers(request);
    set_up(transport, &exchange, problem);
    curl_easy_setopt(exchange.curl, CURLOPT_HTTPHEADER, headers);
    CURLcode code = perform(exchange.curl);
    curl_easy_getinfo(exchange.curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(exchange.curl, CURLINFO_REQUEST_SIZE, &sent);
    ret_answer->result = judge(&exchange, code);
    ret_answer->status = (int)status;
    ret_answer->sent = sent > 0;
    ret_answer->hopeless = code == CURLE_PEER_FAILED_VERIFICATION ||
                           code == CURLE_SSL_CACERT_BADFILE || code == CURLE_UNSUPPORTED_PROTOCOL ||
                           code == CURLE_URL_MALFORMAT;
    if (code != CURLE_OK) {
        snprintf(ret_answer->problem, sizeof(ret_answer->problem), "%s",
                 problem[0] ? problem : curl_easy_strerror(code));
    }
    curl_slist_free_all(headers);
    give_handle(transport, exchange.curl);
}

static void
free_curl(struct transport *self)
{
    struct curl_transport *transport = (struct curl_transport *)(void *)self;

    for (unsigned i = 0; i < transport->idle_count; i++) {
        curl_easy_cleanup(transport->idle[i]);
    }
    pthread_mutex_destroy(&transport->lock);
    free(transport->idle);
    free(transport->user_agent);
    free(transport->ca_file);
    free(transport);
}

enum err_code
transport_curl_new(const struct transport_curl_options *options, struct transport **ret_transport,
                   struct err *err)
{
    static pthread_mutex_t once = PTHREAD_MUTEX_INITIALIZER;
    static bool started; /* guarded by once; libcurl stays started, others may use it */
    bool running;

    pthread_mutex_lock(&once);
    started = started || curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    running = started;
    pthread_mutex_unlock(&once);
    if (!running) {
        return err_set(err, ERR_INTERNAL, "libcurl cannot start");
    }
    struct curl_transport *transport = mem_zalloc(1, sizeof(*transport));
    transport->transport = (struct transport){.send = send_by_curl, .free = free_curl};
    pthread_mutex_init(&transport->lock, NULL);
    transport->idle_max = options->idle_max;
    transport->idle = mem_zalloc(options->idle_max, sizeof(CURL *));
    transport->user_agent = mem_strdup(slice_of(options->user_agent));
    transport->ca_file = options->ca_file ? mem_strdup(slice_of(options->ca_file)) : NULL;
    transport->compressed = options->compressed;
    *ret_transport = &transport->transport;
    return ERR_OK;
}
