#include "bench/fetch.h"

#include <sys/socket.h>
#include <unistd.h>

#include "bench/sock.h"
#include "common/http1.h"

enum { MAX_FIELDS = 64, READ_BYTES = 65536, PATIENCE_MS = 10000 };

static const struct http1_limits limits = {.max_head = 65536,
                                           .max_fields = MAX_FIELDS,
                                           .max_url = 4096,
                                           .max_chunk_ext = 1024,
                                           .max_trailers = 8192};

static bool send_all(int fd, const struct buf *b)
{
    for (size_t sent = 0; sent < b->len;) {
        ssize_t n = send(fd, b->p + sent, b->len - sent, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        sent += (size_t)n;
    }
    return true;
}

/* The request says "Connection: close": all of the answer is what comes until the end. */
static bool receive_all(int fd, struct buf *in)
{
    ssize_t n = 1;
    while (n > 0 && buf_reserve(in, READ_BYTES)) {
        n = recv(fd, in->p + in->len, READ_BYTES, 0);
        if (n > 0)
            in->len += (size_t)n;
    }
    return n == 0;
}

static const char *parse(const struct buf *in, int *status, struct buf *content)
{
    struct http_field fields[MAX_FIELDS];
    struct http_head head = {.fields = fields, .cap_fields = MAX_FIELDS};
    struct http1_scan scan = {0};
    struct http1_body body;
    struct http1_result r = http1_parse_response(&scan, in->p, in->len, &limits, &head);
    if (r.status != HTTP1_HEAD || http1_body_for_response(&body, &head, METHOD_GET, &limits) != 0)
        return "gave no whole HTTP answer";
    *status = head.status;
    enum http1_body_status fed = body.framing == BODY_NONE ? BODY_END : BODY_DATA;
    for (size_t at = r.head_bytes, used = 0; fed == BODY_DATA; at += used) {
        struct span data = {0};
        fed = http1_body_feed(&body, in->p + at, in->len - at, &used, &data);
        if (fed == BODY_DATA)
            buf_put_span(content, data);
    }
    if (fed == BODY_BAD || (fed == BODY_MORE && !http1_body_finish(&body)))
        return "gave a broken answer";
    return content->failed ? "out of memory" : NULL;
}

static void put_request(struct buf *out, const struct fetch_request *q)
{
    buf_printf(out, "%s %s HTTP/1.1\r\nHost: %.*s\r\nConnection: close\r\n",
               q->method != NULL ? q->method : "GET", q->path, SPAN_FMT(q->host));
    for (uint32_t i = 0; q->fields != NULL && i < q->fields->n; i++)
        buf_printf(out, "%.*s\r\n", SPAN_FMT(q->fields->item[i]));
    if (q->content.len > 0)
        buf_printf(out, "Content-Length: %zu\r\n", q->content.len);
    buf_put_lit(out, "\r\n");
    buf_put_span(out, q->content);
}

const char *fetch(const struct fetch_request *q, int *status, struct buf *content)
{
    int fd = sock_connect(q->to, PATIENCE_MS);
    if (fd < 0)
        return "does not accept a connection";
    struct buf request = {0}, in = {0};
    put_request(&request, q);
    const char *why = NULL;
    if (request.failed || !send_all(fd, &request) || !receive_all(fd, &in))
        why = "does not answer";
    else
        why = parse(&in, status, content);
    close(fd);
    buf_fini(&request);
    buf_fini(&in);
    return why;
}
