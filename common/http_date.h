/* http_date - the three date formats of RFC 9110 section 5.6.7, and no other. Pure, no locale. */
#ifndef COMMON_HTTP_DATE_H
#define COMMON_HTTP_DATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/span.h"

#define HTTP_DATE_BYTES 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* Seconds since 1970 of an IMF-fixdate, RFC 850 or asctime date. `now_s` settles two-digit years (more than
 * 50 years ahead means the past century). False for anything else. */
bool http_date_parse(struct span value, int64_t now_s, int64_t *out_s);

/* An IMF-fixdate into out[HTTP_DATE_BYTES], not terminated. */
void http_date_format(char *out, int64_t at_s);

#endif
