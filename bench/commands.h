/* commands - the subcommands of shield-bench. argv[0] is the subcommand's name. Each returns the exit code: 0
 * well, 1 could not run or did not hold, 2 bad usage. */
#ifndef BENCH_COMMANDS_H
#define BENCH_COMMANDS_H

int command_origin(int argc, char **argv);
int command_run(int argc, char **argv);
int command_get(int argc, char **argv);
int command_start(int argc, char **argv);
int command_compare(int argc, char **argv);
int command_demo(int argc, char **argv);

#endif
