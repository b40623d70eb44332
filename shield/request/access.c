#include "shield/request/exchange_impl.h"

#include "common/err.h"
#include "shield/policy/unkeyed.h"

/* Who may use the shield at all, by address and by a secret, both where both are set; and whose word is
 * passed on. They are the running configuration's, so that a reload holds for connections that are open. */

bool access_has_address(const struct exchange *ex)
{
    const struct config_cidrs *allow = &ex->config->edges_allow;
    return allow->n == 0 || config_cidrs_have(allow, &ex->peer->addr);
}

/* The field is for us alone, also where no secret is asked for (yet): it is out of the head before anything
 * looks at that, be it a key, Vary or what goes upstream. Twice is once too often: an edge's clients send
 * what they like beside its own. */
static bool take_secret(struct exchange *ex)
{
    struct span name = span_of(ex->config->edges_secret_header);
    const struct http_field *sent = http_find_name(&ex->head, name);
    if (sent == NULL)
        return ex->config->edge_secrets == NULL;
    struct span value = sent->value;
    bool once = http_remove_name(&ex->head, name) == 1;
    return ex->config->edge_secrets == NULL || (once && tokens_allow(ex->config->edge_secrets, value));
}

/* Nobody but a trusted edge is heard about who asked it: no origin, and no key or Vary either. */
static void drop_hearsay(struct exchange *ex)
{
    if (!config_cidrs_have(&ex->config->edges_trusted, &ex->peer->addr))
        unkeyed_drop_hearsay(&ex->head);
}

int access_check(struct exchange *ex)
{
    bool has_secret = take_secret(ex);
    drop_hearsay(ex);
    if (!access_has_address(ex))
        return ERR_FORBIDDEN;
    return has_secret ? 0 : ERR_EDGE_SECRET;
}
