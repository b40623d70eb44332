#include "test/differential/inputs.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"

enum { SEEDS_MAX = 2000, SEED_BYTES = 4096 };

static const char *const requests[] = {
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /p?q=1&r HTTP/1.1\r\nHost: a.b:80\r\nAccept: */*\r\nX-Y: z \t \r\n\r\n",
    "HEAD http://a/b HTTP/1.1\r\nHost: c\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
    "chunked\r\n\r\n5\r\nhello\r\n3;x=\"y\"\r\nabc\r\n0\r\n\r\n",
    "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0A\r\n0123456789\r\n0\r\nT: u\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\nhello",
    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
    "GET / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
    "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\nbytes",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nX:\r\nY: \r\nZ:\xe4\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
    "\r\nGET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    NULL,
};

static const char *const responses[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c\r\nhello\r\n1\r\n!\r\n0\r\nX: "
    "y\r\n\r\nHTTP/1.1",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nab",
    "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\nETag: \"a\"\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: a\r\nConnection: Upgrade\r\n\r\nraw",
    "HTTP/1.1 404 Not\tFound \xe4\r\nX: a\r\n\tb\r\nContent-Length: 1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
    "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\nx",
    NULL,
};

static const char *const spice[] = {"\r",
                                    "\n",
                                    "\r\n",
                                    " ",
                                    "\t",
                                    ":",
                                    ",",
                                    ";",
                                    "\"",
                                    "=",
                                    "\x80",
                                    "\xff",
                                    "\x7f",
                                    "\x0b",
                                    "0",
                                    "-",
                                    "+",
                                    "#",
                                    "chunked",
                                    "\r\n\r\n",
                                    "0\r\n\r\n",
                                    "HTTP/1.1",
                                    "Content-Length: 1\r\n",
                                    "Transfer-Encoding: chunked\r\n",
                                    "Connection: close\r\n",
                                    "Host: x\r\n"};

/* splitmix64: the same everywhere */
static uint64_t roll(struct inputs *in, uint64_t below)
{
    uint64_t z = (in->dice += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (z ^ (z >> 31)) % below;
}

/* ---- seeds ---- */

static void add_seed(struct inputs *in, struct span bytes)
{
    REQUIRE(in->n_seeds < SEEDS_MAX);
    buf_put_span(&in->seeds[in->n_seeds++], bytes);
}

static void add_file(struct inputs *in, const char *folder, const char *name)
{
    char path[1024], bytes[SEED_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        return;
    add_seed(in, (struct span){bytes, fread(bytes, 1, sizeof bytes, f)});
    fclose(f);
}

static int is_visible(const struct dirent *e)
{
    return e->d_name[0] != '.';
}

void inputs_init(struct inputs *in, bool are_requests, const char *const folders[], uint64_t seed)
{
    *in = (struct inputs){.seeds = calloc(SEEDS_MAX, sizeof *in->seeds), .dice = seed};
    REQUIRE(in->seeds != NULL);
    for (const char *const *text = are_requests ? requests : responses; *text != NULL; text++)
        add_seed(in, span_of(*text));
    for (; *folders != NULL; folders++) {
        struct dirent **names;
        int n = scandir(*folders, &names, is_visible, alphasort);
        for (int i = 0; i < n; i++) {
            if (in->n_seeds < SEEDS_MAX)
                add_file(in, *folders, names[i]->d_name);
            free(names[i]);
        }
        if (n >= 0)
            free(names);
    }
}

/* ---- mutations ---- */

static void replace(struct buf *b, size_t at, size_t gone, struct span by)
{
    struct buf out = {0};
    buf_put(&out, b->p, at);
    buf_put_span(&out, by);
    buf_put(&out, b->p + at + gone, b->len - at - gone);
    buf_fini(b);
    *b = out;
}

static void mutate(struct inputs *in)
{
    struct buf *b = &in->now;
    size_t at = roll(in, b->len + 1), some = MIN(b->len - at, 1 + roll(in, 8));
    char byte = (char)roll(in, 256);
    struct buf copy = {0};
    switch (roll(in, 6)) {
    case 0:
        replace(b, at, MIN(b->len - at, (size_t)1), (struct span){&byte, 1});
        break;
    case 1:
        replace(b, at, 0, span_of(spice[roll(in, ARRAY_LEN(spice))]));
        break;
    case 2:
        replace(b, at, some, span_of(spice[roll(in, ARRAY_LEN(spice))]));
        break;
    case 3:
        replace(b, at, some, SPAN(""));
        break;
    case 4:
        buf_put(&copy, b->p + at, some);
        replace(b, at, 0, buf_span(&copy));
        break;
    case 5:
        replace(b, at, 0, (struct span){&byte, 1});
        break;
    }
    buf_fini(&copy);
}

struct span inputs_next(struct inputs *in)
{
    bool is_seed = in->n_given < in->n_seeds;
    size_t which = is_seed ? in->n_given : roll(in, in->n_seeds);
    in->n_given++;
    buf_fini(&in->now);
    buf_put_span(&in->now, buf_span(&in->seeds[which]));
    for (uint64_t n = is_seed ? 0 : 1 + roll(in, 3); n > 0; n--)
        mutate(in);
    return buf_span(&in->now);
}

void inputs_fini(struct inputs *in)
{
    for (size_t i = 0; i < in->n_seeds; i++)
        buf_fini(&in->seeds[i]);
    free(in->seeds);
    buf_fini(&in->now);
}
