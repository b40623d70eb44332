/* http_range - Range and Content-Range of the unit bytes (RFC 9110 section 14). Pure. */
#ifndef COMMON_HTTP_RANGE_H
#define COMMON_HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/span.h"

/* One range-spec, not yet held against a length: "a-b", "a-" (last = UINT64_MAX) or "-n" (suffix = n). */
struct http_range_spec {
    bool is_suffix;
    uint64_t first, last, suffix;
};

/* Parse "bytes=..." with at most `cap` specs. Returns how many, 0 when the field is to be ignored (another
 * unit, malformed, first > last), or -1 when there are more than `cap`. */
int http_range_parse(struct span value, struct http_range_spec *out, int cap);

/* Hold a spec against the length of the representation: gives [*first, *last] inclusive, or false when it is
 * not satisfiable (RFC 9110 section 14.1.2). */
bool http_range_resolve(const struct http_range_spec *spec, uint64_t length, uint64_t *first, uint64_t *last);

/* Parse "bytes a-b/len", "bytes a-b/ *" (*length = UINT64_MAX) or "bytes * /len" (*unsatisfied = true). */
bool http_content_range_parse(struct span value, uint64_t *first, uint64_t *last, uint64_t *length,
                              bool *unsatisfied);

#endif
