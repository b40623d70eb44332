/* scenario - a load and what happens meanwhile, as a short text that people copy and change.
 *
 *   # cold - 1,000 clients ask at once for one object that nobody has.     the first line: name and purpose
 *   needs purge-url               only for peers that can do that; see bench/peers
 *   origin size=64k&delay=200ms   how the simulated origin answers
 *   warm -n 100 --keys 100 /o/{n} a load before, not measured; as many as you like
 *   wait 2s
 *   load --stampede -c 1000 /cold the measured load: options of `shield-bench run`, and a path
 *   at 3s origin status=503       what happens so long after the load began: origin QUERY, refuse TIME,
 *   at 5s purge url /cold         purge url|tag|all [WHAT], restart TERM|KILL
 *   gate fetches-per-epoch 1      what must hold at the end: see scenario_gates
 *
 * Pure, but for scenario_load. */
#ifndef BENCH_SCENARIO_H
#define BENCH_SCENARIO_H

#include <stdint.h>

#include "bench/edges.h"
#include "common/buf.h"

enum scenario_verb { VERB_ORIGIN, VERB_WARM, VERB_WAIT, VERB_LOAD };
enum scenario_event { EVENT_ORIGIN, EVENT_REFUSE, EVENT_PURGE, EVENT_RESTART };

enum { SCENARIO_STEPS_MAX = 32, SCENARIO_EVENTS_MAX = 32 };

struct scenario {
    struct span name, about; /* all spans point into `text` */
    struct flag_list needs;
    struct {
        enum scenario_verb verb;
        struct span rest;
        uint64_t wait_ms;
    } steps[SCENARIO_STEPS_MAX];
    struct {
        enum scenario_event what;
        uint64_t at_ms, length_ms; /* length: of `refuse` */
        struct span rest;
    } events[SCENARIO_EVENTS_MAX]; /* in the order of their time */
    uint32_t n_steps, n_events;
    double fetches_per_epoch, max_fetches, max_failed, max_wrong; /* gates; negative: none */
    uint64_t p99_ms;                                              /* gate; 0: none */
    struct buf text;
};

/* Parse `text`, which `out` takes over. Returns NULL, or static text with *line set to the line's number. */
const char *scenario_parse(struct scenario *out, struct buf text, uint32_t *line);

/* Read a file and parse it. As above; *line is 0 when the file itself cannot be read. */
const char *scenario_load(struct scenario *out, const char *file, uint32_t *line);

void scenario_fini(struct scenario *s);

/* "purge", "restart" and so on, as files write it. */
const char *scenario_event_name(enum scenario_event what);

/* Take apart what follows `load` or `warm`: options of `run`, and a path, which becomes config->url. `text`
 * is changed, and must outlive `config`. Returns NULL, or static text; which option is wrong is told on
 * stderr. */
const char *scenario_parse_load(char *text, struct edges_config *config, struct flag_list *rest);

/* The next word of *rest; an empty span at the end. */
struct span scenario_word(struct span *rest);

#endif
