#include "shield/store/admission.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"

enum { PLACES = 16, LOCKS = 64, COUNT_BITS = 8, COUNT_MOST = (1 << COUNT_BITS) - 1, LINE_BYTES = 64 };

struct bucket {
    uint32_t places[PLACES]; /* the upper bits of a hash, and a count; 0 is nobody */
};

struct admission {
    pthread_mutex_t locks[LOCKS]; /* of buckets, by their number */
    uint64_t n_buckets;
    void *memory;
    struct bucket *buckets; /* in `memory`, each on a line of its own */
};

struct admission *admission_new(uint64_t keys)
{
    struct admission *a = calloc(1, sizeof *a);
    if (a == NULL)
        return NULL;
    a->n_buckets = MAX((keys + PLACES - 1) / PLACES, UINT64_C(1));
    a->memory = calloc(a->n_buckets + 1, sizeof *a->buckets);
    if (a->memory == NULL) {
        free(a);
        return NULL;
    }
    a->buckets = (struct bucket *)(((uintptr_t)a->memory + LINE_BYTES - 1) & ~(uintptr_t)(LINE_BYTES - 1));
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_init(&a->locks[i], NULL);
    return a;
}

void admission_free(struct admission **slot)
{
    struct admission *a = *slot;
    *slot = NULL;
    if (a == NULL)
        return;
    for (int i = 0; i < LOCKS; i++)
        pthread_mutex_destroy(&a->locks[i]);
    free(a->memory);
    free(a);
}

/* The bucket is chosen by the lower half of the hash, the print is of the upper one. */
static uint64_t bucket_of(const struct admission *a, uint64_t hash)
{
    return (uint32_t)hash % a->n_buckets;
}

static uint32_t print_of(uint64_t hash)
{
    uint32_t print = (uint32_t)(hash >> 32) >> COUNT_BITS;
    return (print != 0 ? print : 1) << COUNT_BITS;
}

/* Its place, or PLACES. */
static unsigned find(const struct bucket *b, uint32_t print)
{
    unsigned i = 0;
    while (i < PLACES && (b->places[i] & ~(uint32_t)COUNT_MOST) != print)
        i++;
    return i;
}

uint32_t admission_note(struct admission *a, uint64_t key_hash, bool *forgot)
{
    uint64_t n = bucket_of(a, key_hash);
    uint32_t print = print_of(key_hash);
    pthread_mutex_t *lock = &a->locks[n % LOCKS];
    struct bucket *b = &a->buckets[n];
    pthread_mutex_lock(lock);
    unsigned at = find(b, print);
    uint32_t before = at < PLACES ? b->places[at] & COUNT_MOST : 0;
    *forgot = at == PLACES && b->places[PLACES - 1] != 0;
    memmove(&b->places[1], &b->places[0], MIN(at, PLACES - 1u) * sizeof b->places[0]);
    b->places[0] = print | MIN(before + 1, (uint32_t)COUNT_MOST);
    pthread_mutex_unlock(lock);
    return before;
}

uint32_t admission_asked(struct admission *a, uint64_t key_hash)
{
    uint64_t n = bucket_of(a, key_hash);
    pthread_mutex_t *lock = &a->locks[n % LOCKS];
    const struct bucket *b = &a->buckets[n];
    pthread_mutex_lock(lock);
    unsigned at = find(b, print_of(key_hash));
    uint32_t asked = at < PLACES ? b->places[at] & COUNT_MOST : 0;
    pthread_mutex_unlock(lock);
    return asked;
}
