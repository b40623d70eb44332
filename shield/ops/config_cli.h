/* config_cli - the command line of the service: what to do, which file, and which directives win over it. */
#ifndef SHIELD_OPS_CONFIG_CLI_H
#define SHIELD_OPS_CONFIG_CLI_H

#include "common/arena.h"
#include "shield/ops/config.h"

enum cli_mode { CLI_RUN, CLI_TEST, CLI_DUMP, CLI_VERSION, CLI_HELP };

struct cli {
    enum cli_mode mode;
    const char *config_file;           /* NULL: none */
    struct config_override *overrides; /* in order, for config_load */
    size_t n;
    struct arena memory; /* private: cli_fini */
};

/* Parse argv[1..argc). Long options take their value as `--opt value` or `--opt=value`, -c also as -cFILE.
 * Returns 0, or ERR_SYNTAX or ERR_NOMEM with one line per problem appended to `errors`; values are
 * config_load's matter. The result points into argv. */
int cli_parse(int argc, char **argv, struct cli *out, struct buf *errors);
void cli_fini(struct cli *c);

/* -h: the flags, then config_describe's table. */
void cli_help(struct buf *out);

#endif
