#include <string.h>

#include "common/check.h"
#include "common/units.h"
#include "shield/ops/config_load.h"

/* Where a global directive was given; nowhere for a default. */
static struct place given_at(const struct loader *l, const char *name)
{
    for (size_t i = 0; i < directive_count; i++)
        if (directives[i].scope == SCOPE_GLOBAL && strcmp(directives[i].name, name) == 0)
            return l->given[i];
    REQUIRE(!"a directive's name");
    return (struct place){0};
}

static struct place first_given(const struct loader *l, const char *one, const char *other)
{
    struct place at = given_at(l, one);
    return at.source != NULL ? at : given_at(l, other);
}

static bool servers_given(const struct loader *l, uint32_t origin)
{
    for (size_t i = 0; i < directive_count; i++)
        if (directives[i].type == D_SERVERS)
            return l->given[(1 + origin) * directive_count + i].source != NULL;
    return false;
}

static void check_origins(struct loader *l)
{
    for (uint32_t o = 0; o < l->c->n_origins; o++) {
        const struct config_origin *origin = &l->c->origins[o];
        if (origin->n_servers > 0 || (l->err != 0 && servers_given(l, o)))
            continue; /* a server that was refused has been told of */
        if (o == 0)
            loader_problem(l, ERR_SYNTAX, l->origin_places[o],
                           "no origin to ask; give --origin http://HOST:PORT, or in the file "
                           "origins: { default: { servers: [http://HOST:PORT] } }");
        else
            loader_problem(l, ERR_SYNTAX, l->origin_places[o],
                           "origin '%s' has no servers; give servers: [http://HOST:PORT]", origin->name);
    }
}

/* The same place twice; port 0 is a new one each time. */
static bool same_address(const struct config_listen *a, const struct config_listen *b)
{
    if (a->addr.len != b->addr.len || memcmp(&a->addr.ss, &b->addr.ss, a->addr.len) != 0)
        return false;
    size_t n = strlen(a->text);
    return n < 2 || strcmp(a->text + n - 2, ":0") != 0;
}

static void check_addresses(struct loader *l)
{
    const struct config *c = l->c;
    if (c->n_listen == 0 && l->err == 0)
        loader_problem(l, ERR_SYNTAX, given_at(l, "listen"),
                       "nothing to listen on; give at least one address, like 0.0.0.0:8080");
    for (uint32_t i = 0; i < c->n_listen; i++) {
        for (uint32_t j = 0; j < i; j++)
            if (same_address(&c->listen[i], &c->listen[j]))
                loader_problem(l, ERR_SYNTAX, given_at(l, "listen"),
                               "'%s' is listened on twice; once is enough", c->listen[i].text);
        if (same_address(&c->listen[i], &c->admin))
            loader_problem(l, ERR_SYNTAX, first_given(l, "admin.address", "listen"),
                           "'%s' is for edges and for admin; give them different ports", c->admin.text);
    }
    if (!netaddr_is_loopback((const struct sockaddr *)&c->admin.addr.ss) && c->admin_token_file[0] == '\0')
        loader_problem(
            l, ERR_SYNTAX, given_at(l, "admin.address"),
            "'%s' lets others than this host at the admin port; give admin.token_file too, or an address "
            "like 127.0.0.1:9090",
            c->admin.text);
}

void loader_check(struct loader *l, bool needs_origin)
{
    const struct config *c = l->c;
    if (needs_origin)
        check_origins(l);
    check_addresses(l);
    if (c->access_log[0] == '\0')
        loader_problem(l, ERR_SYNTAX, given_at(l, "access_log"), "'': names no file; off, stdout or a path");
    if (c->flight.error_ttl_ms > c->flight.error_ttl_max_ms)
        loader_problem(l, ERR_RANGE, first_given(l, "flight.error_ttl", "flight.error_ttl_max"),
                       "flight.error_ttl is above flight.error_ttl_max; it may be as much at most");
    if (c->flight.window > c->flight.max_bytes_total)
        loader_warning(l, first_given(l, "flight.window", "flight.max_bytes_total"),
                       "flight.window is above flight.max_bytes_total, which one flight then reaches first");
    if (c->client.max_url > c->client.max_head)
        loader_warning(l, first_given(l, "client.max_url", "client.max_head"),
                       "client.max_url is above client.max_head, which a long URL then reaches first");
}
