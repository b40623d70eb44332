/* paths - what to ask for, from a file: a list of paths or URLs, or an access log of nginx (common, combined)
 * or in JSON lines. Each line is told by its look, so that a file may mix them. */
#ifndef BENCH_PATHS_H
#define BENCH_PATHS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/arena.h"

struct paths {
    struct span *path;
    uint64_t *at_ms; /* when it was logged; lines without a time: as the one before; see paths_replay */
    bool has_times;
    size_t n, cap;
    size_t skipped; /* lines that name no target of a GET or HEAD */
    struct arena text;
};

/* Adds the target that `line` names, or counts it as skipped. Returns 0 or ERR_NOMEM. */
int paths_add_line(struct paths *p, struct span line);

/* Reads a file. Returns NULL, or static text. */
const char *paths_load(struct paths *p, struct span file);

/* Makes at_ms the time since the first line, never falling. What a log that knows whole seconds only has of
 * one second is spread over it. Returns NULL, or static text: the file has no times. */
const char *paths_replay(struct paths *p);

void paths_fini(struct paths *p);

#endif
