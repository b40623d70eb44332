#include "common/http1.h"

#include "common/check.h"
#include "common/http_chars.h"

/* Of all extensions of a body together: by how many times the bound of one they may exceed its content (RFC
 * 9112 section 7.1.1 wants a limit of their total; but a body without end may well have them, if it has
 * content too). */
enum { EXT_EXCESS = 16 };

/* The chunked coding, byte by byte (RFC 9112 section 7.1); only CHUNK_DATA goes by more than one byte.
 *
 *   SIZE [SIZE_BWS NAME_FIRST ... VALUE_BWS] SIZE_LF --> DATA DATA_CR DATA_LF --> SIZE
 *                                               `--> TRAILER [NAME VALUE LF]* LAST_LF --> DONE   after size 0
 */
enum chunk_state {
    CHUNK_BAD = 0, /* what the table of extensions does not list */
    CHUNK_SIZE,
    EXT_SIZE_BWS,
    EXT_NAME_FIRST,
    EXT_NAME,
    EXT_NAME_BWS,
    EXT_VALUE_FIRST,
    EXT_VALUE,
    EXT_QUOTED,
    EXT_ESCAPED,
    EXT_VALUE_END,
    EXT_VALUE_BWS,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER_FIRST,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    CHUNK_LAST_LF,
    CHUNK_DONE,
};

enum ext_class {
    C_OTHER,
    C_BWS,
    C_SEMICOLON,
    C_EQUALS,
    C_QUOTE,
    C_BACKSLASH,
    C_TOKEN,
    C_TEXT,
    C_CR,
    C_COUNT
};

/* chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] ), RFC 9112 section 7.1.1.
 * Nobody reads extensions, but one that does not parse may hide a line that ends elsewhere for somebody else.
 */
static const uint8_t ext_moves[CHUNK_SIZE_LF][C_COUNT] = {
    [CHUNK_SIZE] = {[C_BWS] = EXT_SIZE_BWS, [C_SEMICOLON] = EXT_NAME_FIRST, [C_CR] = CHUNK_SIZE_LF},
    [EXT_SIZE_BWS] = {[C_BWS] = EXT_SIZE_BWS, [C_SEMICOLON] = EXT_NAME_FIRST},
    [EXT_NAME_FIRST] = {[C_BWS] = EXT_NAME_FIRST, [C_TOKEN] = EXT_NAME},
    [EXT_NAME] = {[C_TOKEN] = EXT_NAME,
                  [C_BWS] = EXT_NAME_BWS,
                  [C_EQUALS] = EXT_VALUE_FIRST,
                  [C_SEMICOLON] = EXT_NAME_FIRST,
                  [C_CR] = CHUNK_SIZE_LF},
    [EXT_NAME_BWS] = {[C_BWS] = EXT_NAME_BWS, [C_EQUALS] = EXT_VALUE_FIRST, [C_SEMICOLON] = EXT_NAME_FIRST},
    [EXT_VALUE_FIRST] = {[C_BWS] = EXT_VALUE_FIRST, [C_TOKEN] = EXT_VALUE, [C_QUOTE] = EXT_QUOTED},
    [EXT_VALUE] = {[C_TOKEN] = EXT_VALUE,
                   [C_BWS] = EXT_VALUE_BWS,
                   [C_SEMICOLON] = EXT_NAME_FIRST,
                   [C_CR] = CHUNK_SIZE_LF},
    [EXT_QUOTED] = {[C_QUOTE] = EXT_VALUE_END,
                    [C_BACKSLASH] = EXT_ESCAPED,
                    [C_BWS] = EXT_QUOTED,
                    [C_SEMICOLON] = EXT_QUOTED,
                    [C_EQUALS] = EXT_QUOTED,
                    [C_TOKEN] = EXT_QUOTED,
                    [C_TEXT] = EXT_QUOTED},
    [EXT_ESCAPED] = {[C_QUOTE] = EXT_QUOTED,
                     [C_BACKSLASH] = EXT_QUOTED,
                     [C_BWS] = EXT_QUOTED,
                     [C_SEMICOLON] = EXT_QUOTED,
                     [C_EQUALS] = EXT_QUOTED,
                     [C_TOKEN] = EXT_QUOTED,
                     [C_TEXT] = EXT_QUOTED},
    [EXT_VALUE_END] = {[C_BWS] = EXT_VALUE_BWS, [C_SEMICOLON] = EXT_NAME_FIRST, [C_CR] = CHUNK_SIZE_LF},
    [EXT_VALUE_BWS] = {[C_BWS] = EXT_VALUE_BWS, [C_SEMICOLON] = EXT_NAME_FIRST},
};

static enum ext_class ext_class(char c)
{
    switch (c) {
    case ' ':
    case '\t':
        return C_BWS;
    case ';':
        return C_SEMICOLON;
    case '=':
        return C_EQUALS;
    case '"':
        return C_QUOTE;
    case '\\':
        return C_BACKSLASH;
    case '\r':
        return C_CR;
    default:
        return http_char_is(c, CHAR_TOKEN) ? C_TOKEN : http_char_is(c, CHAR_VALUE) ? C_TEXT : C_OTHER;
    }
}

static void start(struct http1_body *b, bool is_response, const struct http1_limits *limits)
{
    *b = (struct http1_body){
        .is_response = is_response,
        .state = CHUNK_SIZE,
        .max_chunk_ext = limits->max_chunk_ext,
        .max_trailers = limits->max_trailers,
    };
}

static int fail(struct http1_body *b, int err, const char *why)
{
    b->state = CHUNK_BAD;
    b->err = b->is_response ? ERR_PROTOCOL : err;
    b->cause = err;
    b->why = why;
    return b->err;
}

/* Only "Transfer-Encoding: chunked" will do, once, in HTTP/1.1, and without Content-Length. */
static int check_coding(struct http1_body *b, const struct http_head *h)
{
    struct http_list_it it = {0};
    struct span item;
    uint32_t n = 0, n_chunked = 0;
    bool last_is_chunked = false;

    if (h->minor == 0)
        return fail(b, ERR_BAD_REQUEST, "Transfer-Encoding in HTTP/1.0");
    if (http_has(h, FIELD_CONTENT_LENGTH))
        return fail(b, ERR_BAD_REQUEST, "Transfer-Encoding with Content-Length");
    if (http_count(h, FIELD_TRANSFER_ENCODING) == 1 &&
        span_eq_nocase(http_value(h, FIELD_TRANSFER_ENCODING), SPAN("chunked")))
        return 0;
    while (http_list_each(h, FIELD_TRANSFER_ENCODING, &it, &item)) {
        last_is_chunked = span_eq_nocase(item, SPAN("chunked"));
        n_chunked += last_is_chunked;
        n++;
    }
    /* Section 6.3 demands 400 where chunked is not the last, 6.1 suggests 501 for a coding that is not known.
     */
    if (n > 1 && last_is_chunked && n_chunked == 1)
        return fail(b, ERR_NOT_IMPLEMENTED, "Transfer-Encoding other than chunked");
    return fail(b, ERR_BAD_REQUEST, "Transfer-Encoding is not one final chunked");
}

/* Section 6.3 would let "5, 5" pass as 5. We do not: whoever sends it was joined together from parts. */
static int check_length(struct http1_body *b, const struct http_head *h)
{
    if (http_count(h, FIELD_CONTENT_LENGTH) > 1)
        return fail(b, ERR_BAD_REQUEST, "more than one Content-Length");
    if (!http_parse_uint(http_value(h, FIELD_CONTENT_LENGTH), &b->length))
        return fail(b, ERR_BAD_REQUEST, "malformed Content-Length");
    return 0;
}

static int decide(struct http1_body *b, const struct http_head *h)
{
    int err = 0;
    if (http_has(h, FIELD_TRANSFER_ENCODING)) {
        b->framing = BODY_CHUNKED;
        err = check_coding(b, h);
    } else if (http_has(h, FIELD_CONTENT_LENGTH)) {
        b->framing = BODY_LENGTH;
        err = check_length(b, h);
        b->remaining = b->length;
    } else {
        b->framing = b->is_response ? BODY_UNTIL_CLOSE : BODY_NONE;
    }
    return err;
}

int http1_body_for_request(struct http1_body *b, const struct http_head *head,
                           const struct http1_limits *limits)
{
    start(b, false, limits);
    return decide(b, head);
}

int http1_body_for_response(struct http1_body *b, const struct http_head *head,
                            enum http_method request_method, const struct http1_limits *limits)
{
    int s = head->status;
    start(b, true, limits);
    if (request_method == METHOD_CONNECT && s >= 200 && s <= 299)
        return 0; /* section 6.3, rule 2: a tunnel, whatever the fields say */
    int err = decide(b, head);
    if (err == 0 && (request_method == METHOD_HEAD || s < 200 || s == 204 || s == 304)) {
        b->framing = BODY_NONE;
        b->length = b->remaining = 0;
    }
    return err;
}

static void step_ext(struct http1_body *b, char c)
{
    b->state = ext_moves[b->state][ext_class(c)];
    if (b->state == CHUNK_BAD)
        fail(b, ERR_BAD_REQUEST, "malformed chunk size or extension");
    else if (b->state != CHUNK_SIZE_LF &&
             (++b->ext_bytes > b->max_chunk_ext || ++b->ext_excess > EXT_EXCESS * b->max_chunk_ext))
        fail(b, ERR_CONTENT_TOO_LARGE, "chunk extensions too long");
}

static void step_size(struct http1_body *b, char c)
{
    if (http_char_is(c, CHAR_HEX)) {
        b->remaining = b->remaining << 4 | http_hex_value(c);
        if (++b->size_digits > 16 || b->remaining > (uint64_t)INT64_MAX)
            fail(b, ERR_BAD_REQUEST, "chunk size too large");
        return;
    }
    b->ext_bytes = 0;
    if (b->size_digits == 0)
        fail(b, ERR_BAD_REQUEST, "chunk without a size");
    else
        step_ext(b, c);
}

static void expect(struct http1_body *b, char c, char wanted, enum chunk_state next)
{
    if (c == wanted)
        b->state = (uint8_t)next;
    else
        fail(b, ERR_BAD_REQUEST, "chunk does not end in CRLF");
}

static void next_size(struct http1_body *b, char c)
{
    expect(b, c, '\n', CHUNK_SIZE);
    b->remaining = 0;
    b->size_digits = 0;
}

static void step_trailer(struct http1_body *b, char c)
{
    if (b->state == TRAILER_FIRST && c == '\r') {
        b->state = CHUNK_LAST_LF;
        return;
    }
    if (++b->trailer_bytes > b->max_trailers)
        fail(b, ERR_HEAD_TOO_LARGE, "trailer section too large");
    else if (b->state == TRAILER_LF)
        expect(b, c, '\n', TRAILER_FIRST);
    else if (b->state == TRAILER_VALUE && c == '\r')
        b->state = TRAILER_LF;
    else if (b->state == TRAILER_NAME && c == ':')
        b->state = TRAILER_VALUE;
    else if (!http_char_is(c, b->state == TRAILER_VALUE ? CHAR_VALUE : CHAR_TOKEN))
        fail(b, ERR_BAD_REQUEST, "malformed trailer field");
    else if (b->state == TRAILER_FIRST)
        b->state = TRAILER_NAME;
}

static void step(struct http1_body *b, char c)
{
    switch ((enum chunk_state)b->state) {
    case CHUNK_SIZE:
        step_size(b, c);
        break;
    case CHUNK_SIZE_LF:
        expect(b, c, '\n', b->remaining > 0 ? CHUNK_DATA : TRAILER_FIRST);
        break;
    case CHUNK_DATA_CR:
        expect(b, c, '\r', CHUNK_DATA_LF);
        break;
    case CHUNK_DATA_LF:
        next_size(b, c);
        break;
    case TRAILER_FIRST:
    case TRAILER_NAME:
    case TRAILER_VALUE:
    case TRAILER_LF:
        step_trailer(b, c);
        break;
    case CHUNK_LAST_LF:
        expect(b, c, '\n', CHUNK_DONE);
        break;
    default:
        step_ext(b, c);
    }
}

static enum http1_body_status give(struct http1_body *b, const char *in, size_t n, struct span *data)
{
    *data = (struct span){in, (size_t)MIN((uint64_t)n, b->remaining)};
    b->remaining -= data->len;
    b->ext_excess -= MIN(b->ext_excess, (uint64_t)data->len);
    return BODY_DATA;
}

static enum http1_body_status feed_chunked(struct http1_body *b, const char *in, size_t len, size_t *consumed,
                                           struct span *data)
{
    for (size_t i = 0;; i++) {
        *consumed = i;
        if (b->state == CHUNK_DONE)
            return BODY_END;
        if (b->state == CHUNK_BAD)
            return BODY_BAD;
        if (i == len)
            return BODY_MORE;
        if (b->state == CHUNK_DATA) {
            enum http1_body_status got = give(b, in + i, len - i, data);
            *consumed += data->len;
            if (b->remaining == 0)
                b->state = CHUNK_DATA_CR;
            return got;
        }
        step(b, in[i]);
    }
}

enum http1_body_status http1_body_feed(struct http1_body *b, const char *in, size_t len, size_t *consumed,
                                       struct span *data)
{
    *consumed = 0;
    *data = (struct span){in, 0};
    if (b->state == CHUNK_BAD)
        return BODY_BAD;
    switch (b->framing) {
    case BODY_NONE:
        return BODY_END;
    case BODY_CHUNKED:
        return feed_chunked(b, in, len, consumed, data);
    case BODY_LENGTH:
        if (b->remaining == 0)
            return BODY_END;
        break;
    case BODY_UNTIL_CLOSE:
        b->remaining = UINT64_MAX;
        break;
    }
    if (len == 0)
        return BODY_MORE;
    enum http1_body_status got = give(b, in, len, data);
    *consumed = data->len;
    return got;
}

bool http1_body_finish(struct http1_body *b)
{
    bool complete =
        b->state != CHUNK_BAD && (b->framing == BODY_NONE || b->framing == BODY_UNTIL_CLOSE ||
                                  (b->framing == BODY_LENGTH && b->remaining == 0) || b->state == CHUNK_DONE);
    if (!complete && b->state != CHUNK_BAD) {
        fail(b, ERR_BAD_REQUEST, "the body ended early");
        b->err = b->is_response ? ERR_TRUNCATED : ERR_BAD_REQUEST;
    }
    return complete;
}

size_t http1_chunk_prefix(char *out, uint64_t n)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = 1;
    while (len < 16 && n >> (4 * len) != 0)
        len++;
    for (size_t i = 0; i < len; i++)
        out[i] = digits[(n >> (4 * (len - 1 - i))) & 15];
    out[len] = '\r';
    out[len + 1] = '\n';
    return len + 2;
}
