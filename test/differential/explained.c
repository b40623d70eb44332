#include "test/differential/explained.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/http_head.h"

const char *explained_difference(const struct verdict *ours, const struct verdict *theirs)
{
    if (ours->outcome == REFUSED)
        return theirs->outcome == REFUSED ? NULL : ours->why;
    if (theirs->outcome == REFUSED)
        return theirs->why;
    if (ours->outcome != theirs->outcome)
        return "end";
    if (ours->outcome == CUT)
        return NULL;
    if (!span_eq(buf_span(&ours->start), buf_span(&theirs->start)))
        return "start";
    if (!span_eq(buf_span(&ours->fields), buf_span(&theirs->fields)))
        return "fields";
    if (!span_eq(buf_span(&ours->body), buf_span(&theirs->body)))
        return "body";
    return ours->consumed != theirs->consumed ? "length" : NULL;
}

/* ---- what has to be true of a message that we take and llhttp does not, or that is another one to it ----
 */

static bool holds(struct span in, const char *text)
{
    return in.len > 0 && memmem(in.p, in.len, text, strlen(text)) != NULL;
}

/* The start line, whether or not the head has come whole. */
static struct span first_line(struct span in)
{
    while (in.len > 0 && (in.p[0] == '\r' || in.p[0] == '\n'))
        in = span_from(in, 1);
    const char *end = in.len > 0 ? memchr(in.p, '\r', in.len) : NULL;
    return (struct span){in.p, end != NULL ? (size_t)(end - in.p) : in.len};
}

static bool is_later_minor(const struct verdict *ours, struct span in)
{
    struct span line = first_line(in);
    if (line.len < 8)
        return false;
    const char *version = memcmp(line.p, "HTTP/", 5) == 0 ? line.p : line.p + line.len - 8;
    return memcmp(version, "HTTP/1.", 7) == 0 && version[7] >= '2' && version[7] <= '9';
}

/* The methods of RFC 9110 section 9 are in llhttp's list; the others are as good. */
static bool is_other_method(const struct verdict *ours, struct span in)
{
    struct span line = first_line(in);
    const char *blank = line.len > 0 ? memchr(line.p, ' ', line.len) : NULL;
    return blank != NULL && http_method_id((struct span){line.p, (size_t)(blank - line.p)}) == METHOD_OTHER;
}

/* 1xx, 204 and 304. */
static bool has_no_content(const struct verdict *ours, struct span in)
{
    struct span start = buf_span(&ours->start);
    return start.len == 7 && (start.p[4] == '1' || holds(start, " 204") || holds(start, " 304"));
}

static bool is_connect(const struct verdict *ours, struct span in)
{
    return holds(buf_span(&ours->start), "CONNECT ");
}

static bool has_tab(const struct verdict *ours, struct span in)
{
    return holds(in, "\t");
}

static bool has_extension(const struct verdict *ours, struct span in)
{
    return holds(in, ";");
}

static bool has_trailers(const struct verdict *ours, struct span in)
{
    return holds(buf_span(&ours->fields), "chunked\n") && holds(in, "\r\n0") && !holds(in, "\r\n0\r\n\r\n");
}

/* ---- the table ---- */

enum { REQUESTS = 1, RESPONSES = 2, BOTH = 3 };

static const struct row {
    const char *what;
    int of;
    bool (*is_so)(const struct verdict *ours, struct span in); /* NULL: the reason says all */
    const char *because;
} rows[] = {
    /* we refuse, llhttp takes it or waits for more */
    {"LF without CR", BOTH, NULL,
     "RFC 9112 2.2: it may be recognised; two who differ on where a line ends smuggle"},
    {"CR without LF", BOTH, NULL,
     "RFC 9112 2.2: a bare CR is invalid or a space, and ends no line; llhttp skips it before a message"},
    {"does not begin with HTTP/1.", RESPONSES, NULL,
     "RFC 9112 4: a status line comes first; 2.2 has empty lines before requests only"},
    {"NUL byte", BOTH, NULL,
     "RFC 9110 5.5: CR, LF and NUL are dangerous: rejected; in a reason phrase too (RFC 9112 4)"},
    {"control byte in the reason phrase", RESPONSES, NULL, "RFC 9112 4: HTAB, SP, VCHAR and obs-text only"},
    {"line folding, or space before the first field", BOTH, NULL,
     "RFC 9112 5.2: a request with obs-fold may be refused; 2.2: space before the first field too; of a "
     "response a 502"},
    {"field name is not a token with a colon right behind it", BOTH, NULL,
     "RFC 9112 5.1: refused; RFC 9110 5.1: a name is a token"},
    {"no Host", REQUESTS, NULL, "RFC 9112 3.2: 400; llhttp leaves it to its user"},
    {"more than one Host", REQUESTS, NULL, "RFC 9112 3.2: 400; llhttp leaves it to its user"},
    {"malformed Host", REQUESTS, NULL, "RFC 9112 3.2, RFC 3986 3.2.2: 400; llhttp leaves it to its user"},
    {"malformed request target, or not for this method", REQUESTS, NULL,
     "RFC 9112 3.2: four forms, each with its methods; llhttp knows no forms"},
    {"byte not allowed in the request target, or no version behind it", REQUESTS, NULL,
     "RFC 9112 3.2, RFC 3986 2: VCHAR of a URI, no fragment; 2.3: HTTP/0.9 is no HTTP/1"},
    {"no HTTP version where it belongs", REQUESTS, NULL,
     "RFC 9112 3: one SP between the parts, and nothing behind the version"},
    {"request line does not begin with a method and one space", REQUESTS, NULL,
     "RFC 9112 2.2: one empty line may come before it; 3: method SP"},
    {"HTTP version below 1.0", BOTH, NULL, "RFC 9112 2.3: HTTP/0.9 has no head and no version"},
    {"HTTP version above 1.x", BOTH, NULL,
     "RFC 9112 2.3: another major version is another protocol (the preface of HTTP/2)"},
    {"malformed status line", RESPONSES, NULL,
     "RFC 9112 4: HTTP-version SP 3DIGIT SP, the last SP also without a reason"},
    {"status code is not three digits", RESPONSES, NULL, "RFC 9112 4: 3DIGIT"},
    {"status code out of range", RESPONSES, NULL,
     "RFC 9110 15: 100 to 599; what is behind 1xx to 5xx is no final response"},
    {"Transfer-Encoding in HTTP/1.0", BOTH, NULL, "RFC 9112 6.1: faulty framing, whatever the rest says"},
    {"Transfer-Encoding other than chunked", BOTH, NULL,
     "RFC 9112 6.1: 501 for a coding that is not understood"},
    {"Transfer-Encoding is not one final chunked", BOTH, NULL,
     "RFC 9112 6.3: 400; of a response it may last until the close: a 502 is safer, since nobody here could "
     "decode it"},
    {"Transfer-Encoding with Content-Length", BOTH, NULL,
     "RFC 9112 6.3: smuggling; llhttp takes an empty Transfer-Encoding for none"},
    {"malformed Content-Length", BOTH, NULL,
     "RFC 9110 8.6: 1*DIGIT; llhttp takes spaces behind it, and leaves a 304's unread"},
    {"malformed chunk size or extension", BOTH, NULL,
     "RFC 9112 7.1.1: chunk-ext-name is a token, a value a token or a quoted string"},
    {"malformed trailer field", BOTH, NULL, "RFC 9112 7.1.2: field lines, by the rules of 5.1"},
    {"chunk without a size", BOTH, NULL, "RFC 9112 7.1: 1*HEXDIG"},
    {"chunk size too large", BOTH, NULL,
     "RFC 9112 7.1: large ones are to be expected, and nothing may overflow: at most 16 digits, below 2^63"},
    {"chunk does not end in CRLF", BOTH, NULL, "RFC 9112 7.1"},

    /* we take it, llhttp refuses */
    {"HPE_INVALID_METHOD", REQUESTS, is_other_method,
     "RFC 9110 9.1: a method is any token; llhttp has a list"},
    {"HPE_INVALID_VERSION", BOTH, is_later_minor,
     "RFC 9110 2.5: a higher minor version is read as the highest that is known"},
    {"HPE_INVALID_CHUNK_SIZE", BOTH, has_extension,
     "RFC 9112 7.1.1: any number of extensions, with blanks round ; and =; llhttp 8 ends at the second"},
    {"HPE_STRICT", BOTH, has_extension, "the same"},
    {"HPE_STRICT", RESPONSES, has_no_content,
     "RFC 9112 6.3: no 1xx, 204 or 304 has content, whatever its framing fields"},
    {"HPE_INVALID_CHUNK_SIZE", RESPONSES, has_no_content,
     "RFC 9112 6.3: no 1xx, 204 or 304 has content, whatever its framing fields"},
    {"HPE_INVALID_CONTENT_LENGTH", BOTH, has_trailers,
     "RFC 9110 6.5.1: in trailers it says nothing; ours are dropped whole"},
    {"HPE_INVALID_TRANSFER_ENCODING", BOTH, has_trailers, "the same"},

    {"HPE_INVALID_CONTENT_LENGTH", BOTH, has_tab,
     "RFC 9110 5.5, 5.6.3: blanks round a value are SP and HTAB; llhttp knows SP"},
    {"HPE_INVALID_TRANSFER_ENCODING", BOTH, has_tab, "the same"},

    /* both take it, not for the same */
    {"end", REQUESTS, is_connect,
     "RFC 9110 9.3.6: no tunnels here: 405; llhttp ends at the head, where its user's tunnel would begin"},
    {"body", REQUESTS, is_connect, "the same"},
    {"end", RESPONSES, has_no_content,
     "RFC 9112 6.3: no 1xx, 204 or 304 has content, whatever its framing fields; llhttp leaves it to its "
     "user"},
    {"body", RESPONSES, has_no_content, "the same"},
    {"length", RESPONSES, has_no_content, "the same"},
    {"body", RESPONSES, has_tab,
     "RFC 9110 5.6.3: \"chunked\" with a HTAB behind it is chunked; llhttp reads to the end"},
    {"end", BOTH, has_tab, "the same"},
};

static unsigned counts[ARRAY_LEN(rows)];

bool explained_find(bool is_request, const char *what, const struct verdict *ours, struct span in)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        if (strcmp(r->what, what) != 0 || !(r->of & (is_request ? REQUESTS : RESPONSES)))
            continue;
        if (r->is_so != NULL && !r->is_so(ours, in))
            continue;
        counts[i]++;
        return true;
    }
    return false;
}

void explained_show(void)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        printf("%7u  %s\n         %s\n", counts[i], rows[i].what, rows[i].because);
}
