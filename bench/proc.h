/* proc - child processes that are always ended again: by their owner, at exit, by a signal, or when we are
 * killed.
 *
 * A child's stdout and stderr are read by a thread of its own, which waits for the line with "ready " and
 * keeps the last lines for a complaint. */
#ifndef BENCH_PROC_H
#define BENCH_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct proc;

/* Call once, before any thread is made: INT, TERM and HUP then kill all children, remove `scratch_dir` (may
 * be NULL) and end the process with 128 + signal. */
const char *proc_init(const char *scratch_dir);

/* Start argv[0]. Returns NULL, or static text; *out is to be freed in either case. */
const char *proc_start(struct proc **out, char *const argv[]);

pid_t proc_pid(const struct proc *p); /* 0: has ended */

/* Whether it has ended, by itself or by us. */
bool proc_has_ended(const struct proc *p);

/* Wait for the line that contains "ready "; gives what follows it, valid until proc_free. NULL: the child
 * ended before, or `patience_ms` is over. */
const char *proc_ready(struct proc *p, uint32_t patience_ms);

/* Send `signal`, and wait for the end of the child. */
void proc_end(struct proc *p, int signal);

/* The last lines that the child wrote, for messages; valid until proc_free. Call after proc_end. */
const char *proc_last_words(struct proc *p);

void proc_free(struct proc *p); /* kills it if it still runs; NULL is fine */

/* "name=VALUE" in a ready line, copied to out (cut at cap); false when it is not there. */
bool proc_ready_value(const char *line, const char *name, char *out, unsigned cap);

/* Remove a directory and what is in it, never following links or crossing file systems. */
void proc_remove_dir(const char *path);

/* The absolute path of the running program into out[PATH_MAX]; false when it cannot be told. Needs no /proc.
 */
bool proc_self(char *out);

#endif
