#include "shield/request/exchange_impl.h"

#include <sys/random.h>

#include "common/check.h"
#include "shield/policy/stored_block.h"

/* The parts of a multipart/byteranges answer (RFC 9110 sections 14.6 and 15.3.7.2):
 *
 *   --BOUNDARY CRLF Content-Type CRLF Content-Range CRLF CRLF bytes CRLF
 *   --BOUNDARY CRLF ... bytes CRLF
 *   --BOUNDARY-- CRLF
 *
 * The bytes are those that any reader sends; what stands between them is written when its turn comes, so that
 * an answer holds one part's head, however many parts it has. The boundary is 128 random bits for each
 * answer: who writes the content cannot know it, and by accident it is not in there. */

enum { BOUNDARY_BYTES = 32 };

struct ranges {
    char closing[4 + BOUNDARY_BYTES + 4]; /* CRLF "--BOUNDARY--" CRLF: each delimiter is a piece of it */
    struct span content_type;             /* the stored one; empty when there is none */
    unsigned n, part;                     /* part: the one that is being sent, or is next */
    bool begun;                           /* its head is out */
    struct http_range list[];             /* no byte is in two of them */
};

/* ---- making ---- */

static void draw_boundary(struct ranges *r)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bits[BOUNDARY_BYTES / 2];
    ssize_t n = getrandom(bits, sizeof bits, 0);
    REQUIRE(n == sizeof bits);
    char *p = r->closing;
    memcpy(p, "\r\n--", 4);
    for (size_t i = 0; i < BOUNDARY_BYTES; i++)
        p[4 + i] = digits[i % 2 == 0 ? bits[i / 2] >> 4 : bits[i / 2] & 15];
    memcpy(p + 4 + BOUNDARY_BYTES, "--\r\n", 4);
}

/* The block without Content-Type, which goes into the parts. Each of its lines is a status line or a field as
 * we write it. An encoding is the whole content's, and that of the parts is none: false. */
static bool take_content_type(struct exchange *ex, struct span *block, struct span *content_type)
{
    char *rest = arena_alloc(&ex->arena, ex->block.len + 1);
    size_t n = 0;
    if (rest == NULL)
        return false;
    *content_type = (struct span){0};
    struct span left = ex->block, line, name;
    enum http_field_id id;
    while (stored_block_next(&left, &line, &name, &id)) {
        if (id == FIELD_CONTENT_ENCODING)
            return false;
        if (id != FIELD_CONTENT_TYPE) {
            memcpy(rest + n, line.p, line.len);
            n += line.len;
        } else if (content_type->len == 0) {
            *content_type = line;
        }
    }
    *block = (struct span){rest, n};
    return true;
}

bool ranges_start(struct exchange *ex, const struct http_range *list, unsigned n)
{
    struct ranges *r = arena_alloc(&ex->arena, sizeof *r + n * sizeof list[0]);
    struct span block;
    if (r == NULL || !take_content_type(ex, &block, &r->content_type))
        return false;
    draw_boundary(r);
    r->n = n;
    r->part = 0;
    r->begun = false;
    memcpy(r->list, list, n * sizeof list[0]);
    ex->block = block;
    ex->ranges = r;
    return true;
}

/* ---- what stands between the bytes ---- */

static void compose_head(struct exchange *ex, unsigned part)
{
    const struct ranges *r = ex->ranges;
    struct buf *out = &ex->part_head;
    size_t skip = part == 0 ? 2 : 0; /* nothing is before the first one that its CRLF could end */
    out->len = 0;
    buf_put(out, r->closing + skip, 4 + BOUNDARY_BYTES - skip);
    buf_put_lit(out, "\r\n");
    buf_put_span(out, r->content_type);
    answer_put_content_range(out, r->list[part], object_length(ex->object));
    buf_put_lit(out, "\r\n");
}

void ranges_put_type(struct exchange *ex)
{
    buf_put_lit(&ex->out, "Content-Type: multipart/byteranges; boundary=");
    buf_put(&ex->out, ex->ranges->closing + 4, BOUNDARY_BYTES);
    buf_put_lit(&ex->out, "\r\n");
}

uint64_t ranges_content_bytes(struct exchange *ex)
{
    const struct ranges *r = ex->ranges;
    uint64_t bytes = sizeof r->closing;
    for (unsigned i = 0; i < r->n; i++) {
        compose_head(ex, i);
        bytes += ex->part_head.len + (r->list[i].last - r->list[i].first + 1);
    }
    return bytes;
}

/* ---- sending ---- */

/* Parts go out in the order asked for, but where a fetch waits for its readers and drops what they have
 * passed: there those that are not begun go by their place in the object. */
static void put_in_order(struct ranges *r)
{
    for (unsigned i = r->part + 1; i < r->n; i++) {
        struct http_range moved = r->list[i];
        unsigned at = i;
        for (; at > r->part && r->list[at - 1].first > moved.first; at--)
            r->list[at] = r->list[at - 1];
        r->list[at] = moved;
    }
}

bool ranges_begin(struct exchange *ex, uint64_t ready)
{
    struct ranges *r = ex->ranges;
    if (r->begun)
        return true;
    if (ex->waiter.flight != NULL && flight_is_paced(ex->waiter.flight))
        put_in_order(r);
    ex->position = r->list[r->part].first;
    ex->end = r->list[r->part].last + 1;
    return ex->position < ready;
}

struct span ranges_head(struct exchange *ex)
{
    if (ex->ranges->begun)
        return (struct span){"", 0};
    compose_head(ex, ex->ranges->part);
    return ex->part_head.failed ? (struct span){0} : buf_span(&ex->part_head);
}

struct span ranges_closing(const struct exchange *ex)
{
    const struct ranges *r = ex->ranges;
    return (struct span){r->closing, r->part + 1 == r->n ? sizeof r->closing : 0};
}

void ranges_note_sent(struct exchange *ex)
{
    struct ranges *r = ex->ranges;
    r->begun = ex->position < ex->end;
    r->part += !r->begun;
}

uint64_t ranges_lowest(const struct exchange *ex)
{
    const struct ranges *r = ex->ranges;
    uint64_t lowest = r->begun ? ex->position : UINT64_MAX;
    for (unsigned i = r->part + r->begun; i < r->n; i++)
        lowest = MIN(lowest, r->list[i].first);
    return lowest;
}
