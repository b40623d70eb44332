/* metrics_sum - what the two renderers of metrics.h share: names, and totals over all slots. Any thread. */
#ifndef SHIELD_OPS_METRICS_SUM_H
#define SHIELD_OPS_METRICS_SUM_H

#include <stdbool.h>
#include <stddef.h>

#include "shield/ops/metrics.h"

struct metric_row {
    bool is_gauge;
    const char *name; /* of the series, labels included */
    const char *help;
};

struct hist_row {
    const char *name, *help;
};

extern const struct metric_row metric_rows[METRIC_COUNT];
extern const struct hist_row hist_rows[HIST_COUNT];
extern const char *const result_names[RESULT_COUNT];
extern const char *const fate_names[FATE_COUNT];
extern const char *const kind_names[KIND_COUNT];
extern const char *const missed_names[MISSED_COUNT];
extern const char *const passed_names[PASSED_COUNT];   /* [PASSED_NONE] is no reason: left out */
extern const char *const refused_names[REFUSED_COUNT]; /* [REFUSED_NONE] as well */
extern const char *const limit_names[LIMIT_COUNT];
extern const char *const uncacheable_names[UNCACHEABLE_COUNT]; /* [UNCACHEABLE_NONE] is no reason: left out */
extern const char *const purged_names[PURGED_COUNT];
extern const char *const purge_mode_names[2];
extern const char *const class_names[6];

#define SLOT_AT(field) offsetof(struct metrics_slot, field)

/* The total of the counter or gauge that lies `offset` bytes into each slot. */
int64_t metrics_sum(size_t offset);
int64_t metrics_sum_gauge(
    size_t offset); /* never below 0, where ups and downs of several threads are seen apart */

/* All slots' histograms at `offset`, or of one origin, merged into a new one; NULL without memory. free() it.
 */
struct hist *metrics_merge(size_t offset);
struct hist *metrics_merge_origin(uint32_t origin);

const char *metrics_version(void);

#endif
