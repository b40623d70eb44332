/* target - what the edges ask for: one URL, or a pattern in whose path {n} stands for the number of a key.
 * Pure, but for target_resolve. */
#ifndef BENCH_TARGET_H
#define BENCH_TARGET_H

#include "bench/flags.h"
#include "common/buf.h"
#include "common/netaddr.h"

struct target {
    struct span host;          /* with the port, as it stands in the URL */
    struct span before, after; /* of the path, around {n}; `after` is empty and has_n false without it */
    bool has_n;
    const struct span *paths; /* set by the caller: key n is paths[n], and the path of the URL is not used */
};

/* "http://host[:port][/path]", the scheme may be missing. Returns NULL, or static text. */
const char *target_parse(struct span url, struct target *out);

/* Where to connect: `unix_path` when not empty, else the host of the URL. NULL, or static text. */
const char *target_resolve(const struct target *t, struct span unix_path, struct netaddr *out);

/* The path of key `n`, and a whole request for it: `fields` are more lines of "Name: value". A Host among
 * them replaces the URL's. `more` are whole lines, each with its CRLF. */
void target_put_path(const struct target *t, uint64_t n, struct buf *out);
void target_put_request(const struct target *t, const char *method, uint64_t n,
                        const struct flag_list *fields, struct span more, struct buf *out);

#endif
