#include "shield/ctl/ctl.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/check.h"
#include "common/http1.h"
#include "shield/ctl/ctl_show.h"

enum {
    PATIENCE_S = 10,
    MAX_FIELDS = 64,
    READ_BYTES = 64 * 1024,
    MAX_BODY = 256 * 1024 * 1024,
    REFUSAL_SHOWN = 400
};

static const struct http1_limits limits = {.max_head = 32 * 1024,
                                           .max_fields = MAX_FIELDS,
                                           .max_url = 4096,
                                           .max_chunk_ext = 1024,
                                           .max_trailers = 8192};

static bool say(const struct ctl *c, const char *what, const char *remedy)
{
    fprintf(stderr, "shieldctl: %s: %s; %s\n", c->admin_text, what, remedy);
    return false;
}

/* ---- the connection ---- */

/* An address to listen on may say "any"; that is reached through loopback. */
static struct netaddr reachable(const struct netaddr *addr)
{
    struct netaddr to = *addr;
    struct sockaddr_in *sin = (struct sockaddr_in *)&to.ss;
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)&to.ss;
    if (to.ss.ss_family == AF_INET && sin->sin_addr.s_addr == htonl(INADDR_ANY))
        sin->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (to.ss.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&sin6->sin6_addr))
        sin6->sin6_addr = in6addr_loopback;
    return to;
}

/* A connected socket with timeouts, or -1 after saying why. */
static int reach(const struct ctl *c, const struct netaddr *to)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(to->ss.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        say(c, strerror(errno), "no socket could be made");
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience); /* for connect too, socket(7) */
    if (connect(fd, (const struct sockaddr *)&to->ss, to->len) == 0)
        return fd;
    say(c, errno == EINPROGRESS ? "no connection within 10 s" : strerror(errno),
        "is shield running, and is its admin port there? --admin ADDR says where");
    close(fd);
    return -1;
}

struct question {
    const char *method, *target;
    struct span content; /* may be empty */
};

static bool send_request(const struct ctl *c, int fd, const struct netaddr *to, const struct question *q)
{
    struct buf out = {0};
    buf_printf(&out, "%s %s HTTP/1.1\r\nHost: ", q->method, q->target);
    if (to->ss.ss_family == AF_UNIX)
        buf_put_lit(&out, "localhost");
    else
        netaddr_put(&out, (const struct sockaddr *)&to->ss);
    if (c->token.len > 0)
        buf_printf(&out, "\r\nAuthorization: Bearer %.*s", SPAN_FMT(buf_span(&c->token)));
    if (q->content.len > 0)
        buf_printf(&out, "\r\nContent-Type: %s\r\nContent-Length: %zu",
                   q->content.p[0] == '{' ? "application/json" : "text/plain", q->content.len);
    buf_put_lit(&out, "\r\nConnection: close\r\n\r\n");
    buf_put_span(&out, q->content);

    bool ok = !out.failed;
    for (size_t at = 0; ok && at < out.len;) {
        ssize_t n = send(fd, out.p + at, out.len - at, MSG_NOSIGNAL);
        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR)
            ok = say(c, strerror(errno), "the request could not be sent; try again");
    }
    buf_fini(&out);
    return ok;
}

/* More bytes behind `in`: their number, 0 at the end, -1 after saying why. */
static ssize_t receive(const struct ctl *c, int fd, struct buf *in)
{
    if (!buf_reserve(in, READ_BYTES)) {
        say(c, "out of memory", "the answer is too large for this host");
        return -1;
    }
    for (;;) {
        ssize_t n = recv(fd, in->p + in->len, READ_BYTES, 0);
        if (n >= 0) {
            in->len += (size_t)n;
            return n;
        }
        if (errno == EINTR)
            continue;
        say(c, errno == EAGAIN ? "no answer within 10 s" : strerror(errno),
            "is it shield's admin port, and not its traffic port?");
        return -1;
    }
}

/* ---- the answer ---- */

static bool not_http(const struct ctl *c, const char *why)
{
    return say(c, why, "is it shield's admin port?");
}

/* The head, taken out of `in`. */
static bool read_head(const struct ctl *c, int fd, struct buf *in, struct ctl_answer *out,
                      struct http1_body *body)
{
    struct http_field fields[MAX_FIELDS];
    struct http1_scan scan = {0};
    for (;;) {
        struct http_head head = {.fields = fields, .cap_fields = MAX_FIELDS};
        struct http1_result got = http1_parse_response(&scan, in->p, in->len, &limits, &head);
        if (got.status == HTTP1_BAD)
            return not_http(c, got.why);
        if (got.status == HTTP1_HEAD) {
            out->status = head.status;
            int err = http1_body_for_response(body, &head, METHOD_GET, &limits);
            buf_consume(in, got.head_bytes);
            return err == 0 || not_http(c, body->why);
        }
        ssize_t n = receive(c, fd, in);
        if (n < 0)
            return false;
        if (n == 0)
            return not_http(c, "the connection ended before an answer");
    }
}

/* What is in `in`, decoded. True when the body is complete; *bad after saying why it never will be. */
static bool take_body(const struct ctl *c, struct http1_body *body, struct buf *in, struct buf *out,
                      bool *bad)
{
    for (;;) {
        size_t used = 0;
        struct span data = {0};
        enum http1_body_status status = http1_body_feed(body, in->p, in->len, &used, &data);
        if (status == BODY_DATA)
            buf_put_span(out, data);
        buf_consume(in, used);
        if (status == BODY_BAD || out->failed || out->len > MAX_BODY) {
            *bad = true;
            return not_http(c, status == BODY_BAD ? body->why : "the answer is too large");
        }
        if (status != BODY_DATA)
            return status == BODY_END;
    }
}

static bool read_answer(const struct ctl *c, int fd, struct ctl_answer *out)
{
    struct http1_body body;
    struct buf in = {0};
    bool bad = !buf_reserve(&in, READ_BYTES) || !read_head(c, fd, &in, out, &body);
    bool whole = false;
    while (!bad && !(whole = take_body(c, &body, &in, &out->body, &bad)) && !bad) {
        ssize_t n = receive(c, fd, &in);
        bad = n < 0;
        if (n == 0) {
            whole = http1_body_finish(&body);
            if (!whole)
                not_http(c, "the answer was cut");
            break;
        }
    }
    buf_fini(&in);
    return whole;
}

static bool ask(const struct ctl *c, const struct question *q, struct ctl_answer *out)
{
    *out = (struct ctl_answer){0};
    struct netaddr to = reachable(&c->admin);
    int fd = reach(c, &to);
    if (fd < 0)
        return false;
    bool ok = send_request(c, fd, &to, q) && read_answer(c, fd, out);
    close(fd);
    return ok;
}

bool ctl_ask(const struct ctl *c, const char *target, struct ctl_answer *out)
{
    return ask(c, &(struct question){.method = "GET", .target = target}, out);
}

bool ctl_post(const struct ctl *c, const char *target, struct span content, struct ctl_answer *out)
{
    return ask(c, &(struct question){.method = "POST", .target = target, .content = content}, out);
}

/* ---- what follows from it ---- */

static const char *remedy_for(const struct ctl *c, int status)
{
    if (status == 401)
        return c->token.len == 0 ? "give --token-file FILE" : "the token is not one of admin.token_file";
    if (status == 400)
        return "shieldctl --help shows how it is written";
    if (status == 403)
        return "its line in admin.token_file says what it may do";
    if (status == 409)
        return "nothing has changed";
    if (status == 413)
        return "give less at a time";
    if (status == 404)
        return "is it shield's admin port, of a version that has this?";
    return "see shield's log";
}

void ctl_say_refusal(const struct ctl *c, const char *target, const struct ctl_answer *a)
{
    struct buf what = {0};
    struct span text = buf_span(&a->body);
    json_t *said = text.len > 0 ? json_loadb(text.p, text.len, 0, NULL) : NULL;
    const char *error = json_string_value(json_object_get(said, "error"));
    if (error != NULL)
        text = span_of(error);
    const char *end = text.len > 0 ? memchr(text.p, '\n', text.len) : NULL;
    text.len = MIN(end != NULL ? (size_t)(end - text.p) : text.len, REFUSAL_SHOWN);
    buf_printf(&what, "%s gave status %d: ", target, a->status);
    show_put_text(&what, text);
    buf_put(&what, "", 1);
    say(c, what.failed ? "out of memory" : what.p, remedy_for(c, a->status));
    buf_fini(&what);
    json_decref(said);
}

bool ctl_get(const struct ctl *c, const char *target, struct ctl_answer *out)
{
    if (!ctl_ask(c, target, out))
        return false;
    if (out->status != 200)
        ctl_say_refusal(c, target, out);
    return out->status == 200;
}

json_t *ctl_get_json(const struct ctl *c, const char *target)
{
    struct ctl_answer a;
    json_error_t wrong;
    json_t *value = NULL;
    if (ctl_get(c, target, &a)) {
        value = json_loadb(a.body.len > 0 ? a.body.p : "", a.body.len, 0, &wrong);
        if (!json_is_object(value)) {
            say(c, value == NULL ? wrong.text : "the answer is no JSON object", "is it shield's admin port?");
            json_decref(value);
            value = NULL;
        }
    }
    buf_fini(&a.body);
    return value;
}

enum ctl_exit ctl_print(struct buf *text)
{
    bool ok = !text->failed && fwrite(text->p, 1, text->len, stdout) == text->len && fflush(stdout) == 0;
    if (!ok)
        fprintf(stderr, "shieldctl: cannot write the answer: %s\n", strerror(text->failed ? ENOMEM : errno));
    buf_fini(text);
    return ok ? CTL_OK : CTL_FAILED;
}

static int put_json(const char *p, size_t n, void *out)
{
    buf_put(out, p, n);
    return 0;
}

enum ctl_exit ctl_print_json(const json_t *value)
{
    struct buf out = {0};
    if (json_dump_callback(value, put_json, &out, JSON_INDENT(2) | JSON_REAL_PRECISION(6)) != 0)
        out.failed = true;
    buf_put_lit(&out, "\n");
    return ctl_print(&out);
}

/* ---- the token ---- */

/* True when the line holds a token, or cannot hold one: *fault says so then. */
static bool take_token(struct ctl *c, struct span line, const char **fault)
{
    line = span_trim(line);
    if (line.len == 0 || line.p[0] == '#')
        return false;
    for (size_t i = 0; i < line.len; i++)
        if (line.p[i] == ' ' || line.p[i] == '\t')
            line.len = i; /* behind it stands what it may do */
    for (size_t i = 0; i < line.len; i++)
        if (line.p[i] <= ' ' || line.p[i] >= 0x7f)
            *fault = "the token has a character that cannot be sent";
    buf_put_span(&c->token, line);
    if (c->token.failed)
        *fault = strerror(ENOMEM);
    return true;
}

bool ctl_read_token(struct ctl *c, const char *path)
{
    const char *fault = "holds no token; one a line, '#' begins a comment";
    char *line = NULL;
    size_t cap = 0;
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        fprintf(stderr, "shieldctl: --token-file %s: %s\n", path, strerror(errno));
        return false;
    }
    for (ssize_t n; (n = getline(&line, &cap, f)) >= 0;) {
        size_t end = strcspn(line, "\r\n");
        const char *wrong = NULL;
        if (take_token(c, (struct span){line, MIN(end, (size_t)n)}, &wrong)) {
            fault = wrong;
            break;
        }
    }
    if (line != NULL)
        explicit_bzero(line, cap);
    free(line);
    fclose(f);
    if (fault != NULL)
        fprintf(stderr, "shieldctl: --token-file %s: %s\n", path, fault);
    return fault == NULL;
}
