/* ctl_options - the command line of shieldctl: one table of commands, one of options; help is made of both.
 */
#ifndef SHIELD_CTL_CTL_OPTIONS_H
#define SHIELD_CTL_CTL_OPTIONS_H

#include "shield/ctl/ctl.h"

struct ctl_command {
    const char *name, *words; /* words: what stands behind it, for the help */
    enum ctl_exit (*run)(const struct ctl *c);
    const char *help;
    unsigned takes; /* private */
};

/* Read it all into *c. CTL_OK with *command, or with NULL where -h or -V has been answered; else after saying
 * what is wrong. */
enum ctl_exit ctl_read_options(int argc, char **argv, struct ctl *c, const struct ctl_command **command);

#endif
