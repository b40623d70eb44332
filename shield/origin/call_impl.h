/* call_impl - what the parts of a call share: call.c has its life, call_answer.c reads the answer. */
#ifndef SHIELD_ORIGIN_CALL_IMPL_H
#define SHIELD_ORIGIN_CALL_IMPL_H

#include "shield/origin/call.h"

void call_enter(struct origin_call *c, enum call_state next);

static inline const struct config_origin *call_settings(const struct origin_call *c)
{
    return &c->pool->loop->config->origins[c->request.origin_index];
}

static inline struct metrics_origin *call_counters(const struct origin_call *c)
{
    return &c->pool->loop->metrics->origins[c->request.origin_index];
}

/* A final head has come: its server is well. */
void call_praise(struct origin_call *c);

/* The connection died under a request, or cannot be trusted: repeats it or ends the call. */
void call_lost(struct origin_call *c, int err);

/* The end, with on_end: the last line of whoever calls it. `keep` the connection for others. */
void call_end(struct origin_call *c, int err, bool keep);

/* What the connection says once the request is under way; for struct upstream_owner. */
void call_on_data(void *ctx, const char *p, size_t n);
void call_on_eof(void *ctx);
void call_on_broken(void *ctx, int err);

#endif
