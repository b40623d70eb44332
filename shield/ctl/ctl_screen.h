/* ctl_screen - a terminal that is drawn again and again: whole frames, one key, its own size. */
#ifndef SHIELD_CTL_CTL_SCREEN_H
#define SHIELD_CTL_CTL_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/span.h"

/* Take the terminal over, where stdout is one: cleared, keys at once, no cursor. */
void screen_open(void);
void screen_close(void); /* as it was; harmless when it was not taken over */

/* Show `text`, lines that end with "\n". On the terminal it takes the place of what stood there, cut at both
 * edges; elsewhere it follows behind. False when it cannot be written. */
bool screen_show(struct span text);

/* Wait. True when `ms` are over, or the size has changed (*resized: show again); false when q was pressed,
 * or a signal wants the end. */
bool screen_wait(uint64_t ms, bool *resized);

#endif
