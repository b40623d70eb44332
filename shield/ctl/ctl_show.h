/* ctl_show - JSON values as people read them. Pure. */
#ifndef SHIELD_CTL_CTL_SHOW_H
#define SHIELD_CTL_CTL_SHOW_H

#include <jansson.h>

#include "common/buf.h"

/* The member that `path` ("metrics/requests_total/hit") leads to; NULL when there is none. Names may hold
 * dots. */
const json_t *show_find(const json_t *root, const char *path);
int64_t show_int(const json_t *root, const char *path);      /* 0 when there is none */
const char *show_text(const json_t *root, const char *path); /* "" when there is none */

void show_put_bytes(struct buf *out, uint64_t bytes); /* "512 B", "1.5 MiB" */
void show_put_us(struct buf *out, uint64_t us);       /* "850us", "1.2ms", "3.40s" */
void show_put_age(struct buf *out, uint64_t s);       /* "42s", "3m 5s", "2h 10m", "5d 1h" */

/* Text from the other side: bytes that a terminal could obey, and all that is not ASCII, as %XX. */
void show_put_text(struct buf *out, struct span text);

#endif
