/* edges_options - a load as it is described on a command line. Pure. */
#ifndef BENCH_EDGES_OPTIONS_H
#define BENCH_EDGES_OPTIONS_H

#include "bench/edges.h"

struct flags edges_option_flags(void); /* into a struct edges_config */

/* After the flags: takes the URL, completes what follows from other options. NULL, or static text. */
const char *edges_options_settle(struct edges_config *e, const struct flag_list *rest);

#endif
