/* service - the process: workers, store, admin port, signals, from ready to the last byte out. */
#ifndef SHIELD_SERVICE_H
#define SHIELD_SERVICE_H

#include "shield/ops/config.h"
#include "shield/ops/config_cli.h"

/* Serve until a signal ends it. Takes over `config`. Returns the exit code: 0 clean, 1 could not run. */
int service_run(struct config *config, const struct cli *cli);

#endif
