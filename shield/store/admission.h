/* admission - how often a key was asked for lately: what store.admit_after is held against.
 *
 * A table of hashes, bounded by store.admit_keys: 16 to a bucket, which is a cache line, the one asked for
 * last in front; a new key takes the place of its bucket's last. No text of a key is kept, and pages that
 * were never touched cost nothing. Two keys are taken for one with a chance of one in a million. A plain
 * Bloom filter or sketch would need the same memory for worse odds, and an ageing of its own. */
#ifndef SHIELD_STORE_ADMISSION_H
#define SHIELD_STORE_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

struct admission;

/* For `keys` of them, rounded up to whole buckets; four bytes each. NULL without memory. */
struct admission *admission_new(uint64_t keys);
void admission_free(struct admission **slot);

/* One more request for the key with this (seeded) hash: gives how many there were before, as far as that is
 * remembered, at most 255. *forgot: another key had to go for it. Any thread; takes a lock of its own, which
 * is a leaf. */
uint32_t admission_note(struct admission *a, uint64_t key_hash, bool *forgot);

/* How many there were. Any thread. */
uint32_t admission_asked(struct admission *a, uint64_t key_hash);

#endif
