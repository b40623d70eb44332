/* http_range - Range and Content-Range of the unit bytes (RFC 9110 section 14). Pure. */
#ifndef COMMON_HTTP_RANGE_H
#define COMMON_HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/span.h"

enum { HTTP_RANGES_MAX = 256 }; /* the most specs that anybody may ask http_range_parse for */

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

/* A run of bytes, both ends inclusive. */
struct http_range {
    uint64_t first, last;
};

/* Hold n specs against the length: gives in out[] (room for n) those that are satisfiable, in their order,
 * but those that overlap or touch as one, in the place of the first of them. So no byte is in two ranges, and
 * all together are never longer than the representation (RFC 9110 sections 15.3.7.2 and 17.15). Returns how
 * many, 0 when none is satisfiable. Its time grows with the square of n. */
int http_range_settle(const struct http_range_spec *specs, int n, uint64_t length, struct http_range *out);

/* Parse "bytes a-b/len", "bytes a-b/ *" (*length = UINT64_MAX) or "bytes * /len" (*unsatisfied = true). */
bool http_content_range_parse(struct span value, uint64_t *first, uint64_t *last, uint64_t *length,
                              bool *unsatisfied);

#endif
