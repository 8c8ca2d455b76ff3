/* The chunked decoder: a state a byte, except that data is taken in runs. */
#include "http/chunked.h"

#include "http/head.h"

enum { DIGITS_MAX = 15, EXTENSION_BYTES_MAX = 256, TRAILER_BYTES_MAX = 8192 };

static int
hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static enum http_chunked_state
next_of_size(struct http_chunked *chunked, char c)
{
    int digit = hex_value(c);

    if (digit >= 0) {
        if (chunked->digits == DIGITS_MAX) {
            return HTTP_CHUNKED_BAD;
        }
        chunked->digits++;
        chunked->left = chunked->left << 4 | (uint64_t)digit;
        return HTTP_CHUNKED_SIZE;
    }
    if (chunked->digits == 0) {
        return HTTP_CHUNKED_BAD;
    }
    if (c == ';') {
        return HTTP_CHUNKED_EXTENSION;
    }
    return c == '\r' ? HTTP_CHUNKED_SIZE_LF : HTTP_CHUNKED_BAD;
}

/* Extensions mean nothing here; they only must not be able to hide a line end. */
static enum http_chunked_state
next_of_extension(struct http_chunked *chunked, char c)
{
    if (c == '\r') {
        return HTTP_CHUNKED_SIZE_LF;
    }
    if (!http_is_value_char(c) || ++chunked->extra > EXTENSION_BYTES_MAX) {
        return HTTP_CHUNKED_BAD;
    }
    return HTTP_CHUNKED_EXTENSION;
}

static enum http_chunked_state
next_of_size_lf(struct http_chunked *chunked, char c)
{
    chunked->digits = 0;
    chunked->extra = 0;
    if (c != '\n') {
        return HTTP_CHUNKED_BAD;
    }
    return chunked->left > 0 ? HTTP_CHUNKED_DATA : HTTP_CHUNKED_TRAILER_START;
}

static enum http_chunked_state
next_of_trailer(struct http_chunked *chunked, char c)
{
    if (++chunked->extra > TRAILER_BYTES_MAX) {
        return HTTP_CHUNKED_BAD;
    }
    switch (chunked->state) {
    case HTTP_CHUNKED_TRAILER_START:
        if (c == '\r') {
            return HTTP_CHUNKED_END_LF;
        }
        return http_is_token_char(c) ? HTTP_CHUNKED_TRAILER_NAME : HTTP_CHUNKED_BAD;
    case HTTP_CHUNKED_TRAILER_NAME:
        if (c == ':') {
            return HTTP_CHUNKED_TRAILER_VALUE;
        }
        return http_is_token_char(c) ? HTTP_CHUNKED_TRAILER_NAME : HTTP_CHUNKED_BAD;
    case HTTP_CHUNKED_TRAILER_VALUE:
        if (c == '\r') {
            return HTTP_CHUNKED_TRAILER_LF;
        }
        return http_is_value_char(c) ? HTTP_CHUNKED_TRAILER_VALUE : HTTP_CHUNKED_BAD;
    default:
        return HTTP_CHUNKED_BAD;
    }
}

static enum http_chunked_state
next_state(struct http_chunked *chunked, char c)
{
    switch (chunked->state) {
    case HTTP_CHUNKED_SIZE:
        return next_of_size(chunked, c);
    case HTTP_CHUNKED_EXTENSION:
        return next_of_extension(chunked, c);
    case HTTP_CHUNKED_SIZE_LF:
        return next_of_size_lf(chunked, c);
    case HTTP_CHUNKED_DATA_CR:
        return c == '\r' ? HTTP_CHUNKED_DATA_LF : HTTP_CHUNKED_BAD;
    case HTTP_CHUNKED_DATA_LF:
        return c == '\n' ? HTTP_CHUNKED_SIZE : HTTP_CHUNKED_BAD;
    case HTTP_CHUNKED_TRAILER_START:
    case HTTP_CHUNKED_TRAILER_NAME:
    case HTTP_CHUNKED_TRAILER_VALUE:
        return next_of_trailer(chunked, c);
    case HTTP_CHUNKED_TRAILER_LF:
        return c == '\n' ? HTTP_CHUNKED_TRAILER_START : HTTP_CHUNKED_BAD;
    case HTTP_CHUNKED_END_LF:
        return c == '\n' ? HTTP_CHUNKED_DONE : HTTP_CHUNKED_BAD;
    case HTTP_CHUNKED_DATA:
    case HTTP_CHUNKED_DONE:
    case HTTP_CHUNKED_BAD:
        break;
    }
    return HTTP_CHUNKED_BAD;
}

size_t
http_chunked_take(struct http_chunked *chunked, struct slice bytes, struct slice *ret_data)
{
    size_t at = 0;

    *ret_data = (struct slice){"", 0};
    while (at < bytes.len) {
        if (chunked->state == HTTP_CHUNKED_DONE || chunked->state == HTTP_CHUNKED_BAD) {
            break;
        }
        if (chunked->state == HTTP_CHUNKED_DATA) {
            size_t rest = bytes.len - at;
            size_t run = chunked->left < rest ? (size_t)chunked->left : rest;
            *ret_data = slice_sub(bytes, at, run);
            chunked->left -= run;
            if (chunked->left == 0) {
                chunked->state = HTTP_CHUNKED_DATA_CR;
            }
            return at + run;
        }
        chunked->state = next_state(chunked, bytes.ptr[at]);
        at++;
    }
    return at;
}
