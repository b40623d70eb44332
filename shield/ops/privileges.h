/* privileges - the user that the process serves as, and that it never becomes more than that.
 *
 * Root is needed for ports below 1024 and for the first reading of configuration and tokens, and for nothing
 * behind that. All that is opened again later (the store, the access log) is opened only after the drop: what
 * the start could do, USR1 can do too, and root never follows a name that the user could have put there. */
#ifndef SHIELD_OPS_PRIVILEGES_H
#define SHIELD_OPS_PRIVILEGES_H

#include "shield/ops/config.h"

/* Whether `user` (NAME or NAME:GROUP; empty: nobody in particular) names a user and a group of this host.
 * Returns 0, or ERR_SYNTAX with a line in `errors`. Looks them up: at start only, before there are threads.
 */
int privileges_check(const char *user, struct buf *errors);

/* Become cfg->user for good: its groups, group and user, in all three kinds of id, with no capability left;
 * then make sure that root cannot be had back and that the user may write store.path. No program that this
 * process might run gets more rights than it has (PR_SET_NO_NEW_PRIVS), whoever it runs as.
 *
 * Once, before there are threads, with every socket bound. Where the process is not root nothing is dropped,
 * with a warning when `user` names somebody else; root without `user` is warned of too (`user: root` says
 * that it is meant). Warns of files that a reload could not read any more: `config_file` (may be NULL) and
 * the token files. Returns 0, or ERR_SYNTAX or ERR_SYSTEM with a line in `errors`: then do not serve. */
int privileges_drop(const struct config *cfg, const char *config_file, struct buf *errors);

/* Who the process became, for messages; NULL when it did not drop anything. */
const char *privileges_user(void);

#endif
