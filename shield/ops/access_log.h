/* access_log - one JSON object per request, a line each, buffered per thread.
 *
 * The file is opened once with O_APPEND; reopening (USR1) swaps it under the same descriptor number,
 * so that nobody has to be told. A thread's lines leave as whole lines, when its buffer is full or on flush;
 * a write that fails loses them, and says so once. */
#ifndef SHIELD_OPS_ACCESS_LOG_H
#define SHIELD_OPS_ACCESS_LOG_H

#include "common/buf.h"
#include "shield/ops/metrics.h"

/* `where` is "off", "stdout" or a path. Returns 0 or ERR_SYSTEM. Called once at start. */
int access_log_open(const char *where);
int access_log_reopen(void); /* USR1; any thread */
bool access_log_is_on(void);

struct access_entry {
    int64_t start_wall_ms;
    uint64_t duration_us;
    struct span client; /* address text */
    struct span method, host, target;
    int status;
    uint64_t sent_bytes; /* of the body */
    enum request_result result;
    const char *fate;   /* of a waiter, or NULL */
    const char *reason; /* of a miss, pass or refusal, or NULL */
    const char *error;  /* NULL when none */
    int64_t wait_us;    /* on a flight until its head; -1: did not wait */
};

/* Append to `lines` (the thread's own buffer), writing it out when it is over 64 KiB. */
void access_log_add(struct buf *lines, const struct access_entry *e);
void access_log_flush(struct buf *lines);

#endif
