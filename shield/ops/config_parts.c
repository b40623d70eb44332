#include "shield/ops/config_parts.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/units.h"
#include "common/utf8.h"

static const char no_memory[] = "does not fit into memory";

static int refuse(const char **what, int err, const char *text)
{
    *what = text;
    return err;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

static bool is_digits(struct span s)
{
    uint64_t v;
    return units_parse_uint(s, &v);
}

bool config_is_name(struct span s)
{
    if (s.len == 0 || s.len > 63)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.p[i]) && memchr("._-", s.p[i], 3) == NULL)
            return false;
    return true;
}

bool config_is_text(struct span s, bool with_lines)
{
    while (s.len > 0) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s, &cp);
        bool line = with_lines && (cp == '\n' || cp == '\r' || cp == '\t');
        if (n == 0 || (!line && (cp < 0x20 || (cp >= 0x7f && cp <= 0x9f))))
            return false;
        s = span_from(s, n);
    }
    return true;
}

static bool is_ip(int family, struct span s)
{
    char text[INET6_ADDRSTRLEN], addr[16];
    if (s.len >= sizeof text || memchr(s.p, '\0', s.len) != NULL)
        return false;
    memcpy(text, s.p, s.len);
    text[s.len] = '\0';
    return inet_pton(family, text, addr) == 1;
}

/* A DNS name (with underscores, which live in the wild) or an IPv4 address. A last label of digits only is an
 * address that went wrong: no such top level domain exists, and resolvers disagree about 127.1. */
static bool is_reg_name(struct span s)
{
    if (s.len == 0 || s.len > 253)
        return false;
    struct span label = {s.p, 0};
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '.') {
            if (label.len == 0 || label.len > 63)
                return false;
            label = (struct span){s.p + i + 1, 0};
        } else if (is_alnum(s.p[i]) || s.p[i] == '-' || s.p[i] == '_') {
            label.len++;
        } else {
            return false;
        }
    }
    if (label.len == 0 || label.len > 63)
        return false;
    return !is_digits(label) || is_ip(AF_INET, s);
}

/* Split host[:port]. The host comes without brackets; *port stays as it is when there is none. */
static bool split_host(struct span s, struct span *host, uint16_t *port)
{
    struct span rest;
    if (s.len > 0 && s.p[0] == '[') {
        const char *close = memchr(s.p, ']', s.len);
        if (close == NULL)
            return false;
        *host = (struct span){s.p + 1, (size_t)(close - s.p) - 1};
        if (!is_ip(AF_INET6, *host))
            return false;
        rest = span_from(s, host->len + 2);
    } else {
        const char *colon = s.len > 0 ? memchr(s.p, ':', s.len) : NULL;
        *host = (struct span){s.p, colon != NULL ? (size_t)(colon - s.p) : s.len};
        if (!is_reg_name(*host))
            return false;
        rest = span_from(s, host->len);
    }
    if (rest.len == 0)
        return true;
    uint64_t n;
    if (rest.p[0] != ':' || !units_parse_uint(span_from(rest, 1), &n) || n == 0 || n > 65535)
        return false;
    *port = (uint16_t)n;
    return true;
}

bool config_is_host(struct span s, bool may_have_port)
{
    struct span host;
    uint16_t port = 0;
    return split_host(s, &host, &port) && (may_have_port || port == 0);
}

char *config_lower_copy(struct span s)
{
    char *copy = malloc(s.len + 1);
    if (copy == NULL)
        return NULL;
    for (size_t i = 0; i < s.len; i++)
        copy[i] = ascii_lower(s.p[i]);
    copy[s.len] = '\0';
    return copy;
}

static bool is_plain(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] <= 0x20 || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return true;
}

int config_set_address(struct config_listen *l, struct span text, const char **what)
{
    struct netaddr addr;
    if (!is_plain(text))
        return refuse(what, ERR_SYNTAX,
                      "not an address: blanks, control bytes and non-ASCII bytes are refused");
    const char *problem = netaddr_parse(text, &addr);
    if (problem != NULL)
        return refuse(what, ERR_SYNTAX, problem);
    char *copy = strndup(text.p, text.len);
    if (copy == NULL)
        return refuse(what, ERR_NOMEM, no_memory);
    free(l->text);
    *l = (struct config_listen){.text = copy, .addr = addr};
    return 0;
}

void config_clear_address(struct config_listen *l)
{
    free(l->text);
    *l = (struct config_listen){0};
}

int config_add_listen(struct config *c, struct span text, const char **what)
{
    if (c->n_listen == CONFIG_MAX_LISTEN)
        return refuse(what, ERR_RANGE, "one address too many: 32 are the most");
    int err = config_set_address(&c->listen[c->n_listen], text, what);
    if (err == 0)
        c->n_listen++;
    return err;
}

void config_clear_listen(struct config *c)
{
    while (c->n_listen > 0)
        config_clear_address(&c->listen[--c->n_listen]);
}

int config_add_host(char ***hosts, struct span text, const char **what)
{
    size_t n = 0;
    while (*hosts != NULL && (*hosts)[n] != NULL)
        n++;
    if (n == CONFIG_MAX_HOSTS)
        return refuse(what, ERR_RANGE, "one host too many: 256 are the most");
    if (!config_is_host(text, false))
        return refuse(what, ERR_SYNTAX, "not a host name");
    char **grown = realloc(*hosts, (n + 2) * sizeof *grown);
    if (grown == NULL)
        return refuse(what, ERR_NOMEM, no_memory);
    *hosts = grown;
    grown[n] = config_lower_copy(text);
    grown[n + 1] = NULL;
    return grown[n] == NULL ? refuse(what, ERR_NOMEM, no_memory) : 0;
}

void config_clear_hosts(char ***hosts)
{
    for (size_t i = 0; *hosts != NULL && (*hosts)[i] != NULL; i++)
        free((*hosts)[i]);
    free(*hosts);
    *hosts = NULL;
}

int config_add_cidr(struct config_cidrs *list, struct span text, const char **what)
{
    struct netaddr_cidr cidr;
    if (list->n == CONFIG_MAX_CIDRS)
        return refuse(what, ERR_RANGE, "one block too many: 256 are the most");
    const char *problem = netaddr_cidr_parse(text, &cidr);
    if (problem != NULL)
        return refuse(what, ERR_SYNTAX, problem);
    struct netaddr_cidr *grown = realloc(list->items, (list->n + 1) * sizeof *grown);
    if (grown == NULL)
        return refuse(what, ERR_NOMEM, no_memory);
    grown[list->n++] = cidr;
    list->items = grown;
    return 0;
}

void config_clear_cidrs(struct config_cidrs *list)
{
    free(list->items);
    *list = (struct config_cidrs){0};
}

/* The parts of a server's URL. An origin is a host, not a place in it: a path would have to be glued to every
 * target, and userinfo must never come from a configuration that -T shows. */
static int parse_server(struct span url, struct span *host, struct span *unix_path, uint16_t *port,
                        const char **what)
{
    if (span_starts(url, SPAN("https://")))
        return refuse(what, ERR_SYNTAX, "not built yet: TLS to origins");
    if (span_starts(url, SPAN("http+unix://"))) {
        struct netaddr unused;
        struct buf addr = {0};
        *unix_path = span_from(url, sizeof "http+unix://" - 1);
        *host = SPAN("localhost");
        buf_printf(&addr, "unix:%.*s", SPAN_FMT(*unix_path));
        bool fits = unix_path->len > 0 && unix_path->p[0] == '/' && is_plain(*unix_path) && !addr.failed &&
                    netaddr_parse(buf_span(&addr), &unused) == NULL;
        buf_fini(&addr);
        return fits ? 0 : refuse(what, ERR_SYNTAX, "no absolute path of at most 107 plain bytes");
    }
    if (!span_starts(url, SPAN("http://")))
        return refuse(what, ERR_SYNTAX, "not an http:// URL");
    struct span rest = span_from(url, sizeof "http://" - 1);
    const char *slash = memchr(rest.p, '/', rest.len);
    if (slash != NULL && slash + 1 != rest.p + rest.len)
        return refuse(what, ERR_SYNTAX, "a path: a server is a host and a port only");
    if (slash != NULL)
        rest.len--;
    if (!split_host(rest, host, port))
        return refuse(what, ERR_SYNTAX, "no valid host and port");
    return 0;
}

static void free_server(struct config_server *s)
{
    free(s->url);
    free(s->host);
    free(s->unix_path);
    *s = (struct config_server){0};
}

int config_add_server(struct config_origin *o, struct span url, const char **what)
{
    struct span host = {"", 0}, unix_path = {NULL, 0};
    struct config_server s = {.port = 80};
    if (o->n_servers == CONFIG_MAX_SERVERS)
        return refuse(what, ERR_RANGE, "one server too many: 32 are the most");
    int err = parse_server(url, &host, &unix_path, &s.port, what);
    if (err != 0)
        return err;
    s.url = strndup(url.p, url.len);
    s.host = config_lower_copy(host);
    if (unix_path.p != NULL)
        s.unix_path = strndup(unix_path.p, unix_path.len);
    if (s.url == NULL || s.host == NULL || (unix_path.p != NULL && s.unix_path == NULL)) {
        free_server(&s);
        return refuse(what, ERR_NOMEM, no_memory);
    }
    o->servers[o->n_servers++] = s;
    return 0;
}

void config_clear_servers(struct config_origin *o)
{
    while (o->n_servers > 0)
        free_server(&o->servers[--o->n_servers]);
}

bool config_list_item(const struct directive *d, const void *base, size_t i, struct buf *out)
{
    const char *text = NULL;
    if (d->type == D_LISTEN) {
        const struct config *c = base;
        text = i < c->n_listen ? c->listen[i].text : NULL;
    } else if (d->type == D_SERVERS) {
        const struct config_origin *o = base;
        text = i < o->n_servers ? o->servers[i].url : NULL;
    } else if (d->type == D_HOSTS) {
        char **hosts = *(char ***)((const char *)base + d->offset);
        text = hosts != NULL ? hosts[i] : NULL;
    } else if (d->type != D_CIDRS) {
        const struct config_texts *list = (const void *)((const char *)base + d->offset);
        text = i < list->n ? list->items[i] : NULL;
    } else {
        const struct config_cidrs *list = (const void *)((const char *)base + d->offset);
        if (i < list->n)
            netaddr_cidr_put(out, &list->items[i], false);
        return i < list->n;
    }
    if (text != NULL)
        buf_put_span(out, span_of(text));
    return text != NULL;
}
