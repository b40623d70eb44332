/* admin_percent - percent-encoded text in targets (RFC 3986 section 2.1). Pure. */
#ifndef SHIELD_ADMIN_ADMIN_PERCENT_H
#define SHIELD_ADMIN_ADMIN_PERCENT_H

#include "common/buf.h"

/* `s` decoded, appended to `out`; a plus is a plus. False for what is no encoding, and for bytes that would
 * end a line. */
bool admin_percent_decode(struct span s, struct buf *out);

#endif
