/* warm_read - an order to warm as callers write it: our JSON, a URL a line, or a sitemap. Pure. */
#ifndef SHIELD_ADMIN_WARM_READ_H
#define SHIELD_ADMIN_WARM_READ_H

#include "shield/warm/warm_order.h"

/* The order in `content`, whose first byte tells how it is written ('{': JSON, '<': a sitemap), and in
 * `query`, where pace=N may stand. Into `o`, which is empty. False with o->err. */
bool warm_read(struct warm_order *o, struct span content, struct span query);

#endif
