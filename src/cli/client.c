/* The client over libcurl. */
#include "cli/client.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum {
    CONNECT_TIMEOUT_MS = 5000,
    SILENCE_S = 120, /* a query may think for long; this ends what is dead */
    ANSWER_BYTES_MAX = 1 << 30
};

struct client {
    CURL *curl;
    char *url;
    char *token;
    struct buf body;
    int retry_after_s;
    bool replayed;
    char problem[CURL_ERROR_SIZE];
};

static size_t
take_body(char *bytes, size_t size, size_t count, void *ctx)
{
    struct client *client = ctx;

    buf_add(&client->body, bytes, size * count);
    return client->body.overflow ? 0 : size * count;
}

static size_t
take_header(char *bytes, size_t size, size_t count, void *ctx)
{
    struct client *client = ctx;
    struct slice value = slice_make(bytes, size * count);
    struct slice name;

    slice_split(&value, ':', &name);
    value = slice_trim(value);
    if (slice_is_nocase(name, "Retry-After") && value.len > 0 && value.len < 6) {
        client->retry_after_s = 0;
        for (size_t i = 0; i < value.len && value.ptr[i] >= '0' && value.ptr[i] <= '9'; i++) {
            client->retry_after_s = client->retry_after_s * 10 + (value.ptr[i] - '0');
        }
    }
    if (slice_is_nocase(name, "Idempotent-Replayed")) {
        client->replayed = slice_is_nocase(value, "true");
    }
    return size * count;
}

static bool
is_local(const char *url)
{
    static const char *const hosts[] = {"127.", "localhost", "[::1]"};
    const char *host = strstr(url, "://");

    for (size_t i = 0; host && i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        if (strncmp(host + 3, hosts[i], strlen(hosts[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void
set_up(struct client *client, const struct client_options *options)
{
    CURL *curl = client->curl;

    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, client);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, client->problem);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "eider/" EIDER_VERSION);
    if (is_local(options->url)) {
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
    }
    if (options->ca_file) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, options->ca_file);
    }
    if (options->same_machine) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

enum err_code
client_open(const struct client_options *options, struct client **ret_client, struct err *err)
{
    const char *url = options->url;
    size_t len = strlen(url);

    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        return err_set(err, ERR_USAGE,
                       "--url is \"%.100s\"; expected an address such as http://127.0.0.1:8000",
                       url);
    }
    CURL *curl = curl_easy_init();
    if (!curl) {
        return err_set(err, ERR_INTERNAL, "libcurl cannot start");
    }
    while (len > 0 && url[len - 1] == '/') {
        len--;
    }
    struct client *client = mem_zalloc(1, sizeof(*client));
    client->curl = curl;
    client->url = mem_strdup(slice_make(url, len));
    client->token = options->token ? mem_strdup(slice_of(options->token)) : NULL;
    buf_init(&client->body, ANSWER_BYTES_MAX);
    set_up(client, options);
    *ret_client = client;
    return ERR_OK;
}

void
client_close(struct client *client)
{
    if (!client) {
        return;
    }
    curl_easy_cleanup(client->curl);
    buf_fini(&client->body);
    free(client->url);
    free(client->token);
    free(client);
}

const char *
client_url(const struct client *client)
{
    return client->url;
}

static struct curl_slist *
add_header(struct curl_slist *list, const char *name, const char *value)
{
    struct buf line BUF_AUTO = {0};

    buf_init(&line, 0);
    buf_add_fmt(&line, "%s: %s", name, value);
    buf_add_char(&line, '\0');
    return curl_slist_append(list, line.ptr);
}

static struct curl_slist *
make_headers(const struct client *client, const struct client_request *request)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");

    if (client->token) {
        struct buf value BUF_AUTO = {0};
        buf_init(&value, 0);
        buf_add_fmt(&value, "Bearer %s", client->token);
        buf_add_char(&value, '\0');
        headers = add_header(headers, "Authorization", value.ptr);
    }
    if (request->content_type) {
        headers = add_header(headers, "Content-Type", request->content_type);
    }
    if (request->idempotency_key) {
        headers = add_header(headers, "Idempotency-Key", request->idempotency_key);
    }
    return headers;
}

static enum err_code
explain(const struct client *client, CURLcode result, struct err *err)
{
    const char *why = client->problem[0] ? client->problem : curl_easy_strerror(result);

    if (client->body.overflow) {
        return err_set(err, ERR_TOO_LARGE, "%s: the answer is larger than %d bytes", client->url,
                       ANSWER_BYTES_MAX);
    }
    if (result == CURLE_OPERATION_TIMEDOUT) {
        return err_set(err, ERR_TIMEOUT, "%s does not answer: %s", client->url, why);
    }
    return err_set(err, ERR_UNAVAILABLE, "cannot reach %s: %s", client->url, why);
}

enum err_code
client_send(struct client *client, const struct client_request *request,
            struct client_reply *ret_reply, struct err *err)
{
    struct buf url BUF_AUTO = {0};
    CURL *curl = client->curl;

    buf_init(&url, 0);
    buf_add_fmt(&url, "%s%s", client->url, request->path);
    buf_add_char(&url, '\0');
    buf_reset(&client->body);
    client->retry_after_s = 0;
    client->replayed = false;
    client->problem[0] = '\0';
    struct curl_slist *headers = make_headers(client, request);
    curl_easy_setopt(curl, CURLOPT_URL, url.ptr);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    if (request->content_type) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body.ptr);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    } else {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    }
    /* NULL takes the method of the request before back. */
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
    CURLcode result = curl_easy_perform(curl);
    curl_slist_free_all(headers);
    if (result != CURLE_OK) {
        return explain(client, result, err);
    }
    ret_reply->status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret_reply->status);
    ret_reply->body = buf_slice(&client->body);
    ret_reply->retry_after_s = client->retry_after_s;
    ret_reply->replayed = client->replayed;
    return ERR_OK;
}

static enum err_code
code_of_status(long status)
{
    static const struct {
        long status;
        enum err_code code;
    } codes[] = {
        {400, ERR_INVALID},     {401, ERR_UNAUTHORIZED}, {403, ERR_FORBIDDEN}, {404, ERR_NOT_FOUND},
        {409, ERR_CONFLICT},    {413, ERR_TOO_LARGE},    {422, ERR_INVALID},   {429, ERR_BUSY},
        {503, ERR_UNAVAILABLE}, {504, ERR_TIMEOUT},      {507, ERR_NO_SPACE},
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i].status == status) {
            return codes[i].code;
        }
    }
    return ERR_INTERNAL;
}

/* Of rows that were refused the first says most. */
static void
add_first_error(const json_t *error, struct err *err)
{
    const char *field = json_string_value(json_object_get(error, "field"));
    const char *value = json_string_value(json_object_get(error, "value"));
    const char *expected = json_string_value(json_object_get(error, "expected"));
    size_t used = strlen(err->msg);

    if (field && expected) {
        snprintf(err->msg + used, sizeof(err->msg) - used, ": %s is \"%.100s\"; expected %s", field,
                 value ? value : "", expected);
    }
}

enum err_code
client_refusal(const struct client *client, const struct client_reply *reply, struct err *err)
{
    json_t *body = json_loadb(reply->body.ptr, reply->body.len, 0, NULL);
    const char *detail = json_string_value(json_object_get(body, "detail"));
    enum err_code code = code_of_status(reply->status);

    if (code == ERR_UNAUTHORIZED) {
        err_set(err, code, "%s asks for a token; give it with EIDER_TOKEN or --token", client->url);
    } else if (detail) {
        err_set(err, code, "%s", detail);
        add_first_error(json_array_get(json_object_get(body, "errors"), 0), err);
    } else {
        err_set(err, code, "%s answered with status %ld", client->url, reply->status);
    }
    json_decref(body);
    return code;
}
