/* purge_log - the purges in force, in memory: what a stored response has to be held against before it is used
 * (DESIGN.md section 7).
 *
 * A response has the number that was current when its fetch began (purge_log_number), and is purged while a
 * record that matches it has a higher one. Readers are on every loop, on every hit: when nothing was ordered
 * since the response was last looked at, that is one atomic load and a compare; else some hash lookups, in
 * time proportional to the length of the URL and the number of its tags and not to the number of purges.
 *
 * Records are kept as hashes of what they name, seeded per process (tags: see purge_tags.h): two things with
 * one hash, by a chance of 1 in 2^64, are purged together. Never is anything left out. */
#ifndef SHIELD_PURGE_PURGE_LOG_H
#define SHIELD_PURGE_PURGE_LOG_H

#include <stdatomic.h>

#include "shield/purge/purge.h"

struct purge_log;

enum purge_verdict {
    PURGE_NONE,
    PURGE_SOFT, /* stale since `since_ms`: may be validated, or served as stale */
    PURGE_HARD, /* gone: may not be used in any way */
};

/* What of a response or a fetch a purge can name. */
struct purge_subject {
    struct span key;  /* the primary key: policy_key */
    struct span tags; /* purge_tags_put; empty: none, or not known yet */
    uint64_t number;  /* when its fetch began */
};

/* `max_live` bounds the things that are remembered; `seed` keys the hashes. NULL without memory. */
struct purge_log *purge_log_new(uint64_t max_live, uint64_t seed);
void purge_log_free(struct purge_log **slot); /* after all readers */

/* The number of the newest purge in force; 0: none yet. Any thread. What is asked for after this call sees
 * what the origin had when that purge was ordered, or later. `log` may be NULL: then nothing is ever purged.
 */
uint64_t purge_log_number(const struct purge_log *log);

/* Whether `s` is purged at `now_ms` (wall clock). `seen`, where not NULL, belongs to the subject and begins
 * as 0: the log notes there up to which number nothing matched, and goes on from there the next time.
 * `since_ms`, where not NULL, is set with PURGE_SOFT: the wall time from which it is stale. Any thread. */
enum purge_verdict purge_log_check(struct purge_log *log, const struct purge_subject *s, int64_t now_ms,
                                   _Atomic uint64_t *seen, int64_t *since_ms);

/* Whether nothing can have come into force that concerns a subject of that number and with that `seen` (NULL:
 * none): no need to look at the clock, and to check. Any thread. */
bool purge_log_is_quiet(const struct purge_log *log, uint64_t number, const _Atomic uint64_t *seen);

/* Room for these records: 0, or what purge_log_add would give. A purge_log_add of them that follows has no
 * error. */
int purge_log_reserve(struct purge_log *log, const struct purge_record *records, size_t n);

/* Put the records of one order in force, all at once; they have the same number, above all before. One
 * appender at a time. Returns 0; ERR_NOMEM or ERR_BUSY (too many paced ones are running): nothing changed.
 *
 * Beyond max_live things the oldest half is forgotten, and whatever is older than that counts as purged,
 * hard: too much, never too little. *collapsed is set when that happened. */
int purge_log_add(struct purge_log *log, const struct purge_record *records, size_t n, bool *collapsed);

/* Numbers up to `number` are taken (found in the file, or given out by an earlier process), whether or not
 * their records are known. Before any reader. */
void purge_log_begin(struct purge_log *log, uint64_t number);

/* Nothing that is stored is older than `oldest`: forget the records that nothing can match any more. What is
 * older all the same (in memory only) counts as purged, hard. Any thread; one at a time with purge_log_add.
 */
void purge_log_forget(struct purge_log *log, uint64_t oldest);

/* Things that are remembered. Any thread. */
uint64_t purge_log_live(const struct purge_log *log);

#endif
