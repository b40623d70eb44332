#include "shield/ops/config.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "common/check.h"
#include "shield/ops/config_load.h"
#include "shield/ops/config_parts.h"

enum { MAX_WORKERS = 64, SUFFIX_DIGITS = 6 };

/* Each row's default, through the same door as everybody's values. */
static int set_defaults(enum directive_scope scope, void *base)
{
    for (size_t i = 0; i < directive_count; i++) {
        const struct directive *d = &directives[i];
        if (d->scope != scope || (directive_is_list(d) && d->def[0] == '\0'))
            continue;
        struct buf why = {0};
        int err = directive_add(d, base, span_of(d->def), &why);
        buf_fini(&why);
        if (err == ERR_NOMEM)
            return err;
        ENSURE(err == 0);
    }
    return 0;
}

int config_new_origin(struct config *c, struct span name)
{
    REQUIRE(c->n_origins < CONFIG_MAX_ORIGINS);
    struct config_origin *o =
        &c->origins[c->n_origins++]; /* counted first: config_unref cleans up what was made */
    o->name = strndup(name.p, name.len);
    return o->name == NULL ? ERR_NOMEM : set_defaults(SCOPE_ORIGIN, o);
}

struct config *config_new(void)
{
    struct config *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    atomic_init(&c->refs, 1);
    if (set_defaults(SCOPE_GLOBAL, c) != 0 || config_new_origin(c, SPAN("default")) != 0)
        config_unref(&c);
    return c;
}

static uint64_t usable_cores(void)
{
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return (uint64_t)MIN(MAX(n, 1), MAX_WORKERS);
}

/* "HOST-1a2b3c", drawn once: a reload must not turn our own CDN-Loop id (RFC 8586) into a stranger's. */
static char process_name[64 + 1 + SUFFIX_DIGITS + 1];

static void draw_process_name(void)
{
    char host[64] = "";
    if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0')
        strcpy(host, "node");
    for (char *p = host; *p != '\0'; p++) /* as a node.name may be */
        if (!config_is_name((struct span){p, 1}))
            *p = '-';
    uint32_t bits = 0;
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != sizeof bits)
        bits = (uint32_t)getpid(); /* before the kernel has entropy: still differs between neighbours */
    snprintf(process_name, sizeof process_name, "%s-%06x", host, bits & 0xffffffu);
}

static char *join(const char *a, const char *b)
{
    char *s = malloc(strlen(a) + strlen(b) + 1);
    return s != NULL ? strcat(strcpy(s, a), b) : NULL;
}

static int derive_names(struct config *c)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_process_name);
    bool named = c->node_name[0] != '\0';
    c->node_id = named ? join("shield-", c->node_name) : strdup("shield");
    c->node_pseudonym = join("shield-", named ? c->node_name : process_name);
    return c->node_id == NULL || c->node_pseudonym == NULL ? ERR_NOMEM : 0;
}

int config_derive(struct config *c)
{
    config_route_defaults(c, &c->fallback);
    if (c->workers == 0)
        c->workers = usable_cores();
    if (c->hosts == NULL)
        c->hosts = calloc(1, sizeof *c->hosts);
    c->http_limits = (struct http1_limits){
        .max_head = (uint32_t)c->client.max_head,
        .max_fields = (uint32_t)c->client.max_fields,
        .max_url = (uint32_t)c->client.max_url,
        .max_chunk_ext = (uint32_t)c->http.max_chunk_ext,
        .max_trailers = (uint32_t)c->http.max_trailers,
    };
    return c->hosts == NULL ? ERR_NOMEM : derive_names(c);
}

struct config *config_ref(struct config *c)
{
    unsigned before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    REQUIRE(before > 0 && before < UINT32_MAX);
    return c;
}

static void config_free(struct config *c)
{
    for (size_t i = 0; i < directive_count; i++) {
        if (directives[i].scope == SCOPE_GLOBAL)
            directive_clear(&directives[i], c);
        for (uint32_t o = 0; directives[i].scope == SCOPE_ORIGIN && o < c->n_origins; o++)
            directive_clear(&directives[i], &c->origins[o]);
    }
    config_free_routes(c);
    for (uint32_t o = 0; o < c->n_origins; o++)
        free(c->origins[o].name);
    tokens_free(&c->debug_tokens);
    tokens_free(&c->edge_secrets);
    free(c->node_id);
    free(c->node_pseudonym);
    free(c);
}

void config_unref(struct config **slot)
{
    struct config *c = *slot;
    *slot = NULL;
    if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        config_free(c);
}

int config_read_tokens(struct config *c, struct buf *errors)
{
    int err = 0;
    if (c->debug_token_file[0] != '\0')
        err = tokens_read(&c->debug_tokens, TOKENS_BEARER, "debug.token_file", c->debug_token_file, errors);
    if (err == 0 && c->edges_secret[0] != '\0')
        err = tokens_read(&c->edge_secrets, TOKENS_VALUE, "edges.secret", c->edges_secret, errors);
    return err;
}

bool config_cidrs_have(const struct config_cidrs *list, const struct netaddr_cidr *addr)
{
    for (uint32_t i = 0; i < list->n; i++)
        if (netaddr_cidr_covers(&list->items[i], addr))
            return true;
    return false;
}

struct config *config_for_test(void)
{
    static const struct config_override origin = {"origin", "http://127.0.0.1:8000"};
    struct config *c = NULL;
    struct buf errors = {0};
    REQUIRE(config_load(&c, NULL, &origin, 1, &errors) == 0);
    buf_fini(&errors);
    return c;
}
