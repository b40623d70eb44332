/* peer - a proxy under comparison, driven through a script bench/peers/NAME.sh that anybody can read and
 * change.
 *
 *   NAME.sh check          exits 0 when it is installed; prints its version
 *   NAME.sh can            prints what it can of what scenarios may need:
 *                          swr stale-if-error restart purge-url purge-tag purge-all
 *   NAME.sh run            becomes the server, in the foreground
 *   NAME.sh purge KIND X   purges url PATH, tag TAG or all; exits 0 when it is done
 *
 * The script finds in its environment BENCH_PORT and BENCH_ADMIN_PORT (of 127.0.0.1) to listen on,
 * BENCH_ORIGIN (host:port), BENCH_DIR (its own, kept over restarts), BENCH_WORKERS, and BENCH_BIN with our
 * own programs. */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <limits.h>

#include "bench/proc.h"
#include "common/span.h"

struct peer {
    char name[32], script[PATH_MAX], bin[PATH_MAX], version[128], features[256];
    /* of the one that runs */
    struct proc *proc;
    char dir[PATH_MAX], origin[128];
    unsigned port, admin_port, workers;
    uint64_t past_cpu_us; /* of those that a restart has ended */
};

/* NULL, or static text: why it must be left out. Fills in version and features. */
const char *peer_find(struct peer *p, struct span name, const char *peers_dir, const char *bin_dir);

bool peer_can(const struct peer *p, struct span feature);

/* Start it with an empty directory under `scratch`; returns when it accepts connections. NULL, or static
 * text. */
const char *peer_start(struct peer *p, const char *scratch, const char *origin, unsigned workers);

const char *peer_restart(struct peer *p, int signal); /* on the same port and directory */
const char *peer_purge(const struct peer *p, struct span what);
bool peer_has_ended(struct peer *p); /* by itself, which it tells on stderr with its last words */
void peer_stop(struct peer *p);      /* also when it does not run */

/* CPU of all its processes since the start, and their resident memory now. */
uint64_t peer_cpu_us(const struct peer *p);
uint64_t peer_rss_kb(const struct peer *p);

#endif
