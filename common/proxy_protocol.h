/* proxy_protocol - the header that a proxy sends before anything else on a connection: whose it is (HAProxy's
 * "The PROXY protocol", versions 1 and 2, doc/proxy-protocol.txt). Pure. */
#ifndef COMMON_PROXY_PROTOCOL_H
#define COMMON_PROXY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>

#include "common/netaddr.h"

enum proxy_header_status {
    PROXY_HEADER_MORE, /* good so far */
    PROXY_HEADER_DONE,
    PROXY_HEADER_BAD,      /* no such header: the connection is to be aborted */
    PROXY_HEADER_TOO_LONG, /* of version 2, and longer than `max_bytes` says */
};

struct proxy_header {
    size_t bytes;               /* what it takes of the input; behind it the connection's own bytes begin */
    bool has_source;            /* else the connection's real address counts: LOCAL, UNKNOWN, no TCP */
    struct netaddr_cidr source; /* one address */
};

/* Read the header that p[0..n) begins with; `out` is filled when it is DONE. The verdict BAD or TOO_LONG
 * comes with the first byte that decides, and splitting the input changes nothing. Each call starts anew: at
 * most `max_bytes` are looked at, of version 1 at most 107. A v4-mapped source is IPv4. TLVs are skipped, but
 * they have to fit, and a CRC32c among them has to be right. */
enum proxy_header_status proxy_header_parse(const char *p, size_t n, size_t max_bytes,
                                            struct proxy_header *out);

#endif
