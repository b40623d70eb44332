#include "common/http1.h"

#include "common/check.h"
#include "common/http_chars.h"

/* One call of a parser. A function that refuses returns the code and leaves the reason in `why`. */
struct parse {
    const char *p;
    const struct http1_limits *limits;
    struct http_head *head;
    bool is_request;
    bool complete; /* the empty line was read */
    const char *why;
};

static int refuse(struct parse *x, int err, const char *why)
{
    x->why = why;
    return err;
}

static struct span between(const char *from, const char *to)
{
    return (struct span){from, (size_t)(to - from)};
}

/* HTTP-version is case-sensitive and has one digit each (RFC 9112 section 2.3). */
static int read_version(struct parse *x, struct span s)
{
    if (s.len != 8 || memcmp(s.p, "HTTP/", 5) != 0 || !http_char_is(s.p[5], CHAR_DIGIT) || s.p[6] != '.' ||
        !http_char_is(s.p[7], CHAR_DIGIT))
        return refuse(x, ERR_BAD_REQUEST, "no HTTP version where it belongs");
    if (s.p[5] == '0')
        return refuse(x, ERR_BAD_REQUEST, "HTTP version below 1.0");
    if (s.p[5] != '1')
        return refuse(x, ERR_VERSION, "HTTP version above 1.x");
    x->head->minor = s.p[7] != '0';
    return 0;
}

static int read_request_line(struct parse *x, struct span line)
{
    const char *at = line.p, *end = line.p + line.len;
    while (at < end && http_char_is(*at, CHAR_TOKEN))
        at++;
    if (at == line.p || at == end || *at != ' ')
        return refuse(x, ERR_BAD_REQUEST, "request line does not begin with a method and one space");
    x->head->method_text = between(line.p, at);
    x->head->method = http_method_id(x->head->method_text);

    const char *target = ++at;
    while (at < end && http_char_is(*at, CHAR_TARGET))
        at++;
    x->head->target = between(target, at);
    if (x->head->target.len > x->limits->max_url)
        return refuse(x, ERR_URI_TOO_LONG, "request target too long");
    if (at == end || *at != ' ')
        return refuse(x, ERR_BAD_REQUEST, "byte not allowed in the request target, or no version behind it");

    int err = read_version(x, between(at + 1, end));
    if (err != 0)
        return err;
    if (!http1_valid_target(x->head->method, x->head->target))
        return refuse(x, ERR_BAD_REQUEST, "malformed request target, or not for this method");
    return 0;
}

/* RFC 9112 section 4: the space behind the status must be there even when the reason is empty. */
static int read_status_line(struct parse *x, struct span line)
{
    const char *p = line.p;
    if (line.len < 13 || p[8] != ' ' || p[12] != ' ')
        return refuse(x, ERR_PROTOCOL, "malformed status line");
    int err = read_version(x, (struct span){p, 8});
    if (err != 0)
        return err;
    for (int i = 9; i < 12; i++)
        if (!http_char_is(p[i], CHAR_DIGIT))
            return refuse(x, ERR_PROTOCOL, "status code is not three digits");
    x->head->status = (p[9] - '0') * 100 + (p[10] - '0') * 10 + (p[11] - '0');
    if (x->head->status < 100 || x->head->status > 599)
        return refuse(x, ERR_PROTOCOL, "status code out of range");
    x->head->reason = span_from(line, 13);
    if (!http_is_value(x->head->reason))
        return refuse(x, ERR_PROTOCOL, "control byte in the reason phrase");
    return 0;
}

static int read_field(struct parse *x, struct http1_scan *scan, struct span line)
{
    struct http_head *h = x->head;
    const char *at = line.p, *end = line.p + line.len;
    while (at < end && http_char_is(*at, CHAR_TOKEN))
        at++;
    if (at == line.p && (*at == ' ' || *at == '\t'))
        return refuse(x, ERR_BAD_REQUEST, "line folding, or space before the first field");
    if (at == line.p || at == end || *at != ':')
        return refuse(x, ERR_BAD_REQUEST, "field name is not a token with a colon right behind it");

    struct http_field f = {.name = between(line.p, at), .value = between(at + 1, end)};
    if (!http_is_value(f.value))
        return refuse(x, ERR_BAD_REQUEST, "control byte in a field value");
    if (scan->n_fields >= MIN(x->limits->max_fields, h->cap_fields))
        return refuse(x, ERR_TOO_MANY_FIELDS, "too many fields");
    f.value = span_trim(f.value);
    f.id = http_field_id(f.name);
    h->present |= f.id != FIELD_OTHER ? UINT64_C(1) << f.id : 0;
    h->fields[h->n_fields++] = f;
    scan->n_fields++;
    return 0;
}

/* `line` is without its LF, and with the CR that must be there. */
static int read_line(struct parse *x, struct http1_scan *scan, struct span line)
{
    if (line.len == 0 || line.p[line.len - 1] != '\r')
        return refuse(x, ERR_BAD_REQUEST, "LF without CR");
    line.len--;
    if (!scan->has_start_line) {
        scan->has_start_line = true;
        return x->is_request ? read_request_line(x, line) : read_status_line(x, line);
    }
    if (line.len > 0)
        return read_field(x, scan, line);
    x->complete = true;
    return 0;
}

/* What no end of the line could put right, so that nothing more is waited for: a NUL, or a CR before anything
 * but LF. A CR that is the last byte may yet be a good one. NULL: nothing. */
static const char *hopeless_byte(struct span s)
{
    const char *nul = s.len > 0 ? memchr(s.p, '\0', s.len) : NULL;
    const char *cr = s.len > 1 ? memchr(s.p, '\r', s.len - 1) : NULL;
    if (cr != NULL && (nul == NULL || cr < nul))
        return "CR without LF";
    return nul != NULL ? "NUL byte" : NULL;
}

/* An origin that does not speak HTTP/1 may never send an LF: it is known by its first bytes. */
static bool begins_like_a_response(struct span s)
{
    return memcmp(s.p, "HTTP/1.", MIN(s.len, 7)) == 0;
}

/* Reads whole lines up to the empty one, a fault, or p[limit]. A hopeless byte outranks the other faults of
 * its line, because it may have been refused before the line was whole. */
static int read_lines(struct parse *x, struct http1_scan *scan, size_t limit)
{
    while (!x->complete) {
        size_t from = MAX(scan->done, scan->line);
        const char *lf = from < limit ? memchr(x->p + from, '\n', limit - from) : NULL;
        const char *line_end = lf != NULL ? lf : x->p + MAX(limit, from);
        struct span line = between(x->p + scan->line, line_end);
        if (!x->is_request && !scan->has_start_line && !begins_like_a_response(line))
            return refuse(x, ERR_PROTOCOL, "does not begin with HTTP/1.");
        if (lf == NULL) { /* of what was looked at before, only a CR at its end is still in doubt */
            size_t again = from > scan->line ? from - 1 : from;
            const char *why = from < limit ? hopeless_byte(between(x->p + again, line_end)) : NULL;
            scan->done = (uint32_t)MAX(limit, from);
            return why != NULL ? refuse(x, ERR_BAD_REQUEST, why) : 0;
        }
        int err = read_line(x, scan, line);
        if (err != 0) {
            const char *why = hopeless_byte(line);
            return why != NULL ? refuse(x, ERR_BAD_REQUEST, why) : err;
        }
        scan->line = scan->done = (uint32_t)(lf + 1 - x->p);
    }
    return 0;
}

/* No end of the head within the limit. When it is the request line that does not end, say 414 and not 431. */
static int too_large(struct parse *x, const struct http1_scan *scan, size_t limit)
{
    size_t i = scan->line;
    while (i < limit && http_char_is(x->p[i], CHAR_TOKEN))
        i++;
    if (x->is_request && !scan->has_start_line && i > scan->line && i < limit && x->p[i] == ' ')
        return refuse(x, ERR_URI_TOO_LONG, "request line does not end within the limit of a head");
    return refuse(x, ERR_HEAD_TOO_LARGE, "head too large");
}

/* RFC 9112 section 3.2. An invalid Host is refused even where absolute-form makes it void. */
static int check_host(struct parse *x)
{
    const struct http_head *h = x->head;
    uint32_t n = http_count(h, FIELD_HOST);
    if (n > 1)
        return refuse(x, ERR_BAD_REQUEST, "more than one Host");
    if (n == 0)
        return h->minor == 0 ? 0 : refuse(x, ERR_BAD_REQUEST, "no Host");
    if (!http1_valid_host(http_value(h, FIELD_HOST)))
        return refuse(x, ERR_BAD_REQUEST, "malformed Host");
    return 0;
}

/* Connection is held against every field of a head, so its size has to be bounded for that cost to be linear.
 */
static int check_connection(struct parse *x)
{
    size_t bytes = 0;
    if (!http_has(x->head, FIELD_CONNECTION))
        return 0;
    for (uint32_t i = 0; i < x->head->n_fields; i++)
        if (x->head->fields[i].id == FIELD_CONNECTION)
            bytes += x->head->fields[i].value.len + 1;
    return bytes <= HTTP1_CONNECTION_BYTES ? 0 : refuse(x, ERR_HEAD_TOO_LARGE, "Connection too large");
}

static void reset(struct http_head *h)
{
    *h = (struct http_head){.fields = h->fields, .cap_fields = h->cap_fields};
}

/* Reads on; *end is where the head ended, 0 while it has not. */
static int read_head(struct parse *x, struct http1_scan *scan, size_t len, size_t *end)
{
    size_t start = x->is_request && len >= 2 && memcmp(x->p, "\r\n", 2) == 0 ? 2 : 0;
    size_t most = MIN((size_t)UINT32_MAX, start + x->limits->max_head);
    size_t limit = MIN(len, most);
    bool resumed = scan->line > start;

    reset(x->head);
    scan->line = (uint32_t)MAX(scan->line, start);
    int err = read_lines(x, scan, limit);
    if (err != 0)
        return err;
    if (!x->complete)
        return limit == most ? too_large(x, scan, limit) : 0;
    *end = scan->line;
    if (resumed) { /* lines of earlier calls are good, but were at another address: now into the field array
                    */
        struct http1_scan again = {.line = (uint32_t)start};
        x->complete = false;
        reset(x->head);
        ENSURE(read_lines(x, &again, *end) == 0 && x->complete);
    }
    err = x->is_request ? check_host(x) : 0;
    return err != 0 ? err : check_connection(x);
}

static struct http1_result parse(struct parse *x, struct http1_scan *scan, size_t len)
{
    size_t end = 0;
    REQUIRE(len >= scan->done);
    int err = read_head(x, scan, len, &end);
    if (err != 0)
        return (struct http1_result){
            .status = HTTP1_BAD, .err = x->is_request ? err : ERR_PROTOCOL, .cause = err, .why = x->why};
    if (end == 0)
        return (struct http1_result){.status = HTTP1_MORE};
    return (struct http1_result){.status = HTTP1_HEAD, .head_bytes = (uint32_t)end};
}

struct http1_result http1_parse_request(struct http1_scan *scan, const char *p, size_t len,
                                        const struct http1_limits *limits, struct http_head *head)
{
    return parse(&(struct parse){.p = p, .limits = limits, .head = head, .is_request = true}, scan, len);
}

struct http1_result http1_parse_response(struct http1_scan *scan, const char *p, size_t len,
                                         const struct http1_limits *limits, struct http_head *head)
{
    return parse(&(struct parse){.p = p, .limits = limits, .head = head, .is_request = false}, scan, len);
}

bool http1_keep_alive(const struct http_head *head)
{
    if (!http_has(head, FIELD_CONNECTION))
        return head->minor >= 1;
    if (http_connection_has(head, SPAN("close")))
        return false;
    return head->minor >= 1 || http_connection_has(head, SPAN("keep-alive"));
}
