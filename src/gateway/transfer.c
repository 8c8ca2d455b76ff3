/* One attempt: a request to the upstream, by libcurl. Its callbacks run within the lane's turn. */
#include <stdio.h>
#include <string.h>

#include "gateway/gateway_private.h"

static int64_t
after_ms(const struct call *call, int ms)
{
    return gateway_now_us(call->gateway) + (int64_t)ms * US_PER_MS;
}

/* ---- the request's body ---- */

/* Forgets what was sent when it is more than could be sent again. Under the lane's lock. */
static void
trim(struct call *call)
{
    if (call->up_trimmed || call->up_at > REPLAY_BYTES_MAX) {
        call->up_trimmed = true;
        buf_consume(&call->up, call->up_at);
        call->up_at = 0;
    }
}

static size_t
on_read(char *to, size_t size, size_t count, void *ctx)
{
    struct call *call = ctx;
    struct lane *lane = call->lane;

    pthread_mutex_lock(&lane->lock);
    size_t left = call->up.len - call->up_at;
    size_t len = left < size * count ? left : size * count;
    if (len > 0) {
        memcpy(to, call->up.ptr + call->up_at, len);
        call->up_at += len;
        trim(call);
    }
    bool more = len > 0 || !call->up_complete;
    bool resume = call->up_paused && call->up.len - call->up_at <= UP_LOW_BYTES;
    call->up_paused = call->up_paused && !resume;
    pthread_mutex_unlock(&lane->lock);
    if (resume) {
        http_body_resume(call->exchange);
    }
    call->read_paused = more && len == 0;
    call->bytes_up += len;
    atomic_fetch_add(&call->gateway->bytes_up, len);
    /* While the client's bytes are waited for, its own time runs. */
    call->due_us = call->read_paused ? 0 : after_ms(call, call->upstream->options.timeout_ms);
    return call->read_paused ? CURL_READFUNC_PAUSE : len;
}

/* libcurl begins anew on another connection when a kept one turns out to be closed. */
static int
on_seek(void *ctx, curl_off_t offset, int origin)
{
    struct call *call = ctx;
    int result = CURL_SEEKFUNC_CANTSEEK;

    pthread_mutex_lock(&call->lane->lock);
    if (origin == SEEK_SET && offset == 0 && !call->up_trimmed) {
        call->up_at = 0;
        result = CURL_SEEKFUNC_OK;
    }
    pthread_mutex_unlock(&call->lane->lock);
    return result;
}

/* ---- the answer ---- */

static int64_t
parse_length(struct slice value)
{
    int64_t length = 0;

    if (value.len == 0 || value.len > 18) {
        return -1;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9') {
            return -1;
        }
        length = length * 10 + (value.ptr[i] - '0');
    }
    return length;
}

/* Behind the empty line: an interim head is forgotten, any other decides. */
static bool
end_of_head(struct call *call)
{
    long status = 0;

    curl_easy_getinfo(call->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status < 200) {
        buf_reset(&call->head);
        return true;
    }
    if (status > 599) {
        snprintf(call->fail_text, sizeof(call->fail_text), "the upstream answered %ld", status);
        return false;
    }
    call->status = (int)status;
    call->head_done = true;
    call->due_us = after_ms(call, call->upstream->options.idle_timeout_ms);
    return call_on_head(call);
}

static size_t
on_header(char *bytes, size_t size, size_t count, void *ctx)
{
    struct call *call = ctx;
    struct slice line = slice_make(bytes, size * count);
    struct slice value = slice_trim(line);
    struct slice name;

    if (call->head_done) {
        return line.len; /* trailers are hop by hop here */
    }
    if (value.len == 0) {
        return end_of_head(call) ? line.len : 0;
    }
    if (slice_starts(line, "HTTP/")) {
        call->length = -1;
        call->retry_after_s = -1;
        buf_reset(&call->head);
        return line.len;
    }
    buf_add_slice(&call->head, value);
    buf_add_char(&call->head, '\n');
    if (call->head.overflow) {
        snprintf(call->fail_text, sizeof(call->fail_text),
                 "the head of the upstream's answer is over %d KiB", HEAD_BYTES_MAX >> 10);
        return 0;
    }
    slice_split(&value, ':', &name);
    value = slice_trim(value);
    if (slice_is_nocase(name, "Content-Length")) {
        call->length = parse_length(value);
    } else if (slice_is_nocase(name, "Transfer-Encoding")) {
        call->length = -1;
    } else if (slice_is_nocase(name, "Retry-After")) {
        call->retry_after_s = forward_retry_after_s(value);
    }
    return line.len;
}

/* An answer that is too long to be held is passed on after all. */
static bool
hold(struct call *call, struct slice piece)
{
    if (call->held.len + piece.len <= HELD_BYTES_MAX) {
        buf_add_slice(&call->held, piece);
        return true;
    }
    call->holding = false;
    reply_begin(call);
    bool taken = call->held.len == 0 ||
                 http_reply_write(call->exchange, buf_slice(&call->held)) == HTTP_WRITE_TAKEN;
    buf_reset(&call->held);
    return taken;
}

static size_t
on_write(char *bytes, size_t size, size_t count, void *ctx)
{
    struct call *call = ctx;
    struct slice piece = slice_make(bytes, size * count);

    if (call->holding && !hold(call, piece)) {
        return 0;
    }
    if (!call->holding) {
        enum http_write result = http_reply_write(call->exchange, piece);
        if (result == HTTP_WRITE_WAIT) {
            /* How long the client takes is watched by the server. */
            call->write_paused = true;
            call->due_us = 0;
            return CURL_WRITEFUNC_PAUSE;
        }
        if (result == HTTP_WRITE_GONE) {
            call->gone = true;
            return 0;
        }
    }
    call->due_us = after_ms(call, call->upstream->options.idle_timeout_ms);
    call->attempt_down += piece.len;
    call->bytes_down += piece.len;
    atomic_fetch_add(&call->gateway->bytes_down, piece.len);
    return piece.len;
}

/* ---- the request's head ---- */

static void
add_field(struct call *call, struct slice name, struct slice value)
{
    struct arena *arena = http_arena(call->exchange);
    const char *line = value.len > 0
                           ? arena_fmt(arena, "%.*s: %.*s", SLICE_FMT(name), SLICE_FMT(value))
                           : arena_fmt(arena, "%.*s;", SLICE_FMT(name)); /* libcurl's "empty" */

    call->fields = curl_slist_append(call->fields, line);
}

static bool
is_added(const struct upstream *upstream, struct slice name)
{
    for (size_t i = 0; i < upstream->options.header_count; i++) {
        if (slice_is_nocase(name, upstream->options.headers[i].name)) {
            return true;
        }
    }
    return false;
}

static bool
takes(const struct call *call, struct slice name)
{
    const struct upstream *upstream = call->upstream;
    struct slice field;
    struct slice connection;

    if (!forward_takes_request(name) || is_added(upstream, name) ||
        (call->authorization_is_ours && slice_is_nocase(name, "Authorization")) ||
        (upstream->options.drop_credentials && forward_is_credential(name)) ||
        (!upstream->options.no_forwarded_for && slice_is_nocase(name, "X-Forwarded-For"))) {
        return false;
    }
    for (size_t i = 0; http_header_at(call->exchange, i, &field, &connection); i++) {
        if (slice_is_nocase(field, "Connection") && forward_is_listed(connection, name)) {
            return false;
        }
    }
    return true;
}

static void
add_forwarded_for(struct call *call)
{
    struct slice peer = http_peer(call->exchange);
    struct slice before;

    while (peer.len > 0 && peer.ptr[peer.len - 1] != ':') {
        peer.len--;
    }
    peer.len -= peer.len > 0;
    if (http_header(call->exchange, "X-Forwarded-For", &before) && before.len > 0) {
        const char *list =
            arena_fmt(http_arena(call->exchange), "%.*s, %.*s", SLICE_FMT(before), SLICE_FMT(peer));
        peer = slice_of(list);
    }
    add_field(call, SLICE_LITERAL("X-Forwarded-For"), peer);
}

static void
add_fields(struct call *call)
{
    const struct gateway_upstream *options = &call->upstream->options;
    struct slice name;
    struct slice value;
    bool accepts = false;
    bool typed = false;

    for (size_t i = 0; http_header_at(call->exchange, i, &name, &value); i++) {
        if (takes(call, name)) {
            add_field(call, name, value);
            accepts = accepts || slice_is_nocase(name, "Accept");
            typed = typed || slice_is_nocase(name, "Content-Type");
        }
    }
    for (size_t i = 0; i < options->header_count; i++) {
        name = slice_of(options->headers[i].name);
        add_field(call, name, slice_of(options->headers[i].value));
        accepts = accepts || slice_is_nocase(name, "Accept");
        typed = typed || slice_is_nocase(name, "Content-Type");
    }
    if (!options->no_forwarded_for) {
        add_forwarded_for(call);
    }
    /* libcurl's own, which the client did not say. */
    call->fields = curl_slist_append(call->fields, "Expect:");
    if (!accepts) {
        call->fields = curl_slist_append(call->fields, "Accept:");
    }
    if (!typed) {
        call->fields = curl_slist_append(call->fields, "Content-Type:");
    }
}

static void
set_method(struct call *call)
{
    CURL *curl = call->curl;
    enum http_method method = http_method(call->exchange);
    bool wants_length = method == HTTP_POST || method == HTTP_PUT || method == HTTP_PATCH;

    if (method == HTTP_HEAD) {
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
        return;
    }
    if (call->has_body) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->body_length);
    } else if (wants_length) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, "");
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, http_method_name(method));
}

static void
set_options(struct call *call, const char *url)
{
    const struct gateway_upstream *options = &call->upstream->options;
    CURL *curl = call->curl;

    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    /* A paused HTTP/2 stream may be given megabytes more; HTTP/1.1 stops at the socket. */
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)options->connect_timeout_ms);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, call->fields);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, call->curl_error);
    curl_easy_setopt(curl, CURLOPT_PRIVATE, call);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(curl, CURLOPT_READDATA, call);
    curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, on_seek);
    curl_easy_setopt(curl, CURLOPT_SEEKDATA, call);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, call);
    if (call->upstream->is_local) {
        curl_easy_setopt(curl, CURLOPT_PROXY, "");
    }
    if (options->ca_file) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
    }
    set_method(call);
}

bool
transfer_start(struct call *call)
{
    struct buf url BUF_AUTO = {0};

    buf_init(&url, 0);
    buf_add_cstr(&url, call->upstream->options.base_url);
    buf_add_slice(&url, call->target.path);
    if (call->target.query.len > 0) {
        buf_add_char(&url, '?');
        buf_add_slice(&url, call->target.query);
    }
    buf_add_char(&url, '\0');
    pthread_mutex_lock(&call->lane->lock);
    call->up_at = 0;
    pthread_mutex_unlock(&call->lane->lock);
    call->status = 0;
    call->head_done = false;
    call->holding = false;
    call->read_paused = false;
    call->write_paused = false;
    call->timed_out = false;
    call->attempt_down = 0;
    call->attempt_cost = 0;
    call->length = -1;
    call->retry_after_s = -1;
    call->curl_error[0] = '\0';
    buf_reset(&call->head);
    buf_reset(&call->held);
    call->curl = curl_easy_init();
    if (!call->curl) {
        return false;
    }
    add_fields(call);
    set_options(call, url.ptr);
    call->due_us = after_ms(call, call->upstream->options.timeout_ms);
    return curl_multi_add_handle(call->lane->multi, call->curl) == CURLM_OK;
}

void
transfer_end(struct call *call)
{
    if (call->curl) {
        call->has_sent = call->has_sent || transfer_has_sent(call);
        curl_multi_remove_handle(call->lane->multi, call->curl);
        curl_easy_cleanup(call->curl);
        call->curl = NULL;
    }
    curl_slist_free_all(call->fields);
    call->fields = NULL;
    call->due_us = 0;
}

bool
transfer_has_sent(const struct call *call)
{
    long bytes = 0;

    if (!call->curl) {
        return false;
    }
    curl_easy_getinfo(call->curl, CURLINFO_REQUEST_SIZE, &bytes);
    return bytes > 0;
}

void
transfer_go_on(struct call *call, unsigned words)
{
    bool go_on = false;

    if ((words & WORD_BODY) && call->read_paused) {
        call->read_paused = false;
        go_on = true;
        call->due_us = after_ms(call, call->upstream->options.timeout_ms);
    }
    if ((words & WORD_DRAIN) && call->write_paused) {
        call->write_paused = false;
        go_on = true;
        call->due_us = after_ms(call, call->upstream->options.idle_timeout_ms);
    }
    if (go_on) {
        /* The callbacks may pause again from within. */
        int still =
            (call->read_paused ? CURLPAUSE_SEND : 0) | (call->write_paused ? CURLPAUSE_RECV : 0);
        curl_easy_pause(call->curl, still);
    }
}
