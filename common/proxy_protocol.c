#include "common/proxy_protocol.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "common/check.h"
#include "common/span.h"
#include "common/units.h"

/* ---- version 1: a line of text (section 2.1) ---- */

enum { LINE_MAX_BYTES = 107 };

static const struct span line_start = {"PROXY ", 6};

/* What stands before the next blank, and the blank, off `rest`; an empty word where there is none. */
static struct span next_word(struct span *rest)
{
    const char *blank = rest->len > 0 ? memchr(rest->p, ' ', rest->len) : NULL;
    struct span word = {rest->p, blank != NULL ? (size_t)(blank - rest->p) : rest->len};
    *rest = span_from(*rest, word.len + (blank != NULL));
    return word;
}

static bool is_port(struct span s)
{
    uint64_t port;
    bool zero_before = s.len > 1 && s.p[0] == '0';
    return s.len <= 5 && !zero_before && units_parse_uint(s, &port) && port <= 65535;
}

static bool read_ip(int family, struct span s, struct netaddr_cidr *out)
{
    char text[INET6_ADDRSTRLEN];
    struct sockaddr_storage ss = {.ss_family = (sa_family_t)family};
    void *addr = family == AF_INET ? (void *)&((struct sockaddr_in *)&ss)->sin_addr
                                   : (void *)&((struct sockaddr_in6 *)&ss)->sin6_addr;
    if (s.len >= sizeof text || memchr(s.p, '\0', s.len) != NULL)
        return false;
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    return inet_pton(family, text, addr) == 1 && netaddr_cidr_of((struct sockaddr *)&ss, out);
}

static bool read_line(struct span line, struct proxy_header *out)
{
    struct netaddr_cidr destination;
    struct span rest = span_from(line, line_start.len);
    struct span kind = next_word(&rest);
    if (span_eq(kind, SPAN("UNKNOWN")))
        return true; /* whatever follows: the receiver must ignore it */
    bool v4 = span_eq(kind, SPAN("TCP4"));
    if (!v4 && !span_eq(kind, SPAN("TCP6")))
        return false;
    int family = v4 ? AF_INET : AF_INET6;
    out->has_source = true;
    if (!read_ip(family, next_word(&rest), &out->source) || !read_ip(family, next_word(&rest), &destination))
        return false;
    struct span source_port = next_word(&rest);
    return is_port(source_port) && is_port(rest); /* the rest: a blank behind it is one too many */
}

static enum proxy_header_status parse_line(struct span in, struct proxy_header *out)
{
    size_t look = MIN(in.len, (size_t)LINE_MAX_BYTES);
    for (size_t i = line_start.len; i < look; i++) {
        if (in.p[i] == '\n' || (in.p[i] == '\r' && i + 1 < look && in.p[i + 1] != '\n'))
            return PROXY_HEADER_BAD; /* neither ends a line by itself */
        if (in.p[i] != '\r' || i + 1 == look)
            continue;
        out->bytes = i + 2;
        return read_line((struct span){in.p, i}, out) ? PROXY_HEADER_DONE : PROXY_HEADER_BAD;
    }
    return look < LINE_MAX_BYTES ? PROXY_HEADER_MORE : PROXY_HEADER_BAD;
}

/* ---- version 2: binary (section 2.2) ---- */

enum {
    FIXED_BYTES = 16,
    COMMAND_LOCAL = 0x20, /* with the version in the upper half */
    COMMAND_PROXY = 0x21,
    TCP_OVER_IPV4 = 0x11,
    TCP_OVER_IPV6 = 0x21,
    TLV_START_BYTES = 3,
    TLV_CRC32C = 0x03,
};

static const struct span signature = {"\r\n\r\n\0\r\nQUIT\n", 12};

/* Of the upper half of the 14th byte: none, IPv4, IPv6, Unix. */
static const size_t address_bytes[] = {0, 12, 36, 216};

static uint32_t read_be(const unsigned char *p, unsigned bytes)
{
    uint32_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | *p++;
    return v;
}

/* CRC32c (RFC 4960 appendix B) over p[0..n), going on from `crc`. */
static uint32_t crc32c(uint32_t crc, const unsigned char *p, size_t n)
{
    for (; n > 0; n--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
    }
    return crc;
}

/* Of the whole header, its field at `at` as zeros. */
static uint32_t checksum(const unsigned char *header, size_t n, size_t at)
{
    static const unsigned char zeros[4];
    uint32_t crc = crc32c(UINT32_MAX, header, at);
    crc = crc32c(crc, zeros, sizeof zeros);
    return ~crc32c(crc, header + at + sizeof zeros, n - at - sizeof zeros);
}

/* The TLVs from header[at] to its end. */
static bool are_tlvs_good(const unsigned char *header, size_t n, size_t at)
{
    bool has_checksum = false;
    while (at < n) {
        if (n - at < TLV_START_BYTES)
            return false;
        unsigned type = header[at];
        size_t length = read_be(header + at + 1, 2);
        at += TLV_START_BYTES;
        if (n - at < length)
            return false;
        if (type == TLV_CRC32C) {
            if (has_checksum || length != 4 || read_be(header + at, 4) != checksum(header, n, at))
                return false;
            has_checksum = true;
        }
        at += length;
    }
    return true;
}

static bool read_source(const unsigned char *header, struct netaddr_cidr *out)
{
    if (header[13] == TCP_OVER_IPV4) {
        struct sockaddr_in sin = {.sin_family = AF_INET};
        memcpy(&sin.sin_addr, header + FIXED_BYTES, sizeof sin.sin_addr);
        return netaddr_cidr_of((struct sockaddr *)&sin, out);
    }
    if (header[13] == TCP_OVER_IPV6) {
        struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
        memcpy(&sin6.sin6_addr, header + FIXED_BYTES, sizeof sin6.sin6_addr);
        return netaddr_cidr_of((struct sockaddr *)&sin6, out);
    }
    return false;
}

static enum proxy_header_status read_block(const unsigned char *header, size_t n, struct proxy_header *out)
{
    unsigned family = header[13] >> 4;
    out->bytes = n;
    if (header[12] == COMMAND_LOCAL) /* "discard the protocol block including the family" */
        return PROXY_HEADER_DONE;
    if (n - FIXED_BYTES < address_bytes[family])
        return PROXY_HEADER_BAD;
    if (family == 0) /* what follows has no form */
        return PROXY_HEADER_DONE;
    out->has_source = read_source(header, &out->source);
    return are_tlvs_good(header, n, FIXED_BYTES + address_bytes[family]) ? PROXY_HEADER_DONE
                                                                         : PROXY_HEADER_BAD;
}

static enum proxy_header_status parse_block(struct span in, size_t max_bytes, struct proxy_header *out)
{
    const unsigned char *header = (const unsigned char *)in.p;
    if (in.len > 12 && header[12] != COMMAND_LOCAL && header[12] != COMMAND_PROXY)
        return PROXY_HEADER_BAD;
    bool judges_family = in.len > 13 && header[12] == COMMAND_PROXY;
    if (judges_family && (header[13] >> 4 >= ARRAY_LEN(address_bytes) || (header[13] & 15) > 2))
        return PROXY_HEADER_BAD;
    if (in.len < FIXED_BYTES)
        return PROXY_HEADER_MORE;
    size_t whole = FIXED_BYTES + read_be(header + 14, 2);
    if (whole > max_bytes)
        return PROXY_HEADER_TOO_LONG;
    return in.len < whole ? PROXY_HEADER_MORE : read_block(header, whole, out);
}

/* ---- either ---- */

static bool begins_alike(struct span in, struct span start)
{
    return memcmp(in.p, start.p, MIN(in.len, start.len)) == 0;
}

enum proxy_header_status proxy_header_parse(const char *p, size_t n, size_t max_bytes,
                                            struct proxy_header *out)
{
    struct span in = {p, n};
    REQUIRE(out != NULL && max_bytes >= FIXED_BYTES);
    *out = (struct proxy_header){0};
    if (n == 0)
        return PROXY_HEADER_MORE;
    if (begins_alike(in, line_start))
        return n < line_start.len ? PROXY_HEADER_MORE : parse_line(in, out);
    if (begins_alike(in, signature))
        return n < signature.len ? PROXY_HEADER_MORE : parse_block(in, max_bytes, out);
    return PROXY_HEADER_BAD;
}
