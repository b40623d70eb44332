/* http_path - one form for the many spellings of a path (RFC 3986 section 6.2.2), to compare paths by.
 *
 * For comparing only: what goes upstream is what came. Pure; the output is never longer than the input, and
 * may not overlap it. */
#ifndef COMMON_HTTP_PATH_H
#define COMMON_HTTP_PATH_H

#include "common/span.h"

/* Whether `path` is in plain and in resolved form already: neither '%', '\', ';', "//" nor "/." in it. */
bool http_path_is_plain(struct span path);

/* Escapes of visible ASCII decoded ("%61dmin" is "admin", "%2F" is "/"), the others in upper case ("%c3" is
 * "%C3"); what is no escape stays. "%23", "%25", "%2A" and "%3F" stay too, so that a second pass changes
 * nothing and a '*' is never made. Gives the length. */
size_t http_path_plain(char *out, struct span path);

/* Of a plain path: '\' as '/', several slashes as one, "." and ".." resolved (RFC 3986 section 5.2.4), and
 * with `without_params` each segment up to its ';', as servlets read it. What does not begin with a slash
 * stays. Gives the length. */
size_t http_path_resolved(char *out, struct span plain, bool without_params);

#endif
