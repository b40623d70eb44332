/* pattern - texts with "*" for any run of bytes, as routes have them for paths, names and values. Pure. */
#ifndef SHIELD_POLICY_PATTERN_H
#define SHIELD_POLICY_PATTERN_H

#include "common/buf.h"

/* Whether `pattern` describes all of `text`: byte for byte but for "*", which stands for any run, also for
 * none and across slashes. In time linear in the text for each piece between two stars, whatever the text. */
bool pattern_matches(struct span pattern, struct span text);

/* Append `to` with each "*" replaced by what the star of the same rank in `from` stands for in `text` (the
 * shortest run from the left; nothing where `from` has fewer stars). False, and nothing is appended, when
 * `text` is not of the pattern `from`. */
bool pattern_rewrite(struct buf *out, struct span from, struct span to, struct span text);

/* Append what all texts that pattern_rewrite makes of texts beginning with `prefix` begin with, or a part of
 * that. False, and nothing is appended, when it makes nothing of any. */
bool pattern_rewrite_prefix(struct buf *out, struct span from, struct span to, struct span prefix);

#endif
