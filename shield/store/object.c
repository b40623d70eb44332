#include "shield/store/object.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/policy/stored_block.h"

enum { REFS_MAX = 1 << 30 };

/* ---- chunks ---- */

struct chunk *chunk_new(uint32_t cap)
{
    struct chunk *c = malloc(sizeof *c + cap);
    if (c == NULL)
        return NULL;
    atomic_init(&c->refs, 1);
    c->cap = cap;
    c->len = 0;
    return c;
}

static struct chunk *chunk_ref(struct chunk *c)
{
    unsigned before = atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    REQUIRE(before > 0 && before < REFS_MAX);
    return c;
}

void chunk_unref(struct chunk **slot)
{
    struct chunk *c = *slot;
    *slot = NULL;
    if (c != NULL && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1)
        free(c);
}

/* ---- heads ---- */

static struct span copy_part(char **at, struct span s)
{
    char *p = *at;
    if (s.len > 0)
        memcpy(p, s.p, s.len);
    *at += s.len;
    return (struct span){p, s.len};
}

/* The block lacks the empty line that ends a head; one is kept behind it for this. */
static void find_validators(struct stored_head *h)
{
    struct stored_block parsed;
    if (stored_block_parse(&parsed, (struct span){h->block.p, h->block.len + 2}))
        validators_of(&parsed.head, h->facts.response_ms / 1000, &h->validators);
    else
        h->validators = (struct validators){.last_modified_s = -1, .date_s = -1, .status = h->facts.status};
}

struct stored_head *stored_head_new(const struct stored_head_parts *parts)
{
    size_t bytes =
        parts->block.len + 2 + parts->key.len + parts->names.len + parts->variant.len + parts->tags.len;
    struct stored_head *h = malloc(sizeof *h + bytes);
    if (h == NULL)
        return NULL;
    char *at = (char *)(h + 1);
    atomic_init(&h->refs, 1);
    h->facts = parts->facts;
    h->block = copy_part(&at, parts->block);
    copy_part(&at, SPAN("\r\n"));
    h->key = copy_part(&at, parts->key);
    h->names = copy_part(&at, parts->names);
    h->variant = copy_part(&at, parts->variant);
    h->tags = copy_part(&at, parts->tags);
    h->purge_number = parts->purge_number;
    h->key_hash = parts->key_hash;
    h->size = sizeof *h + bytes;
    find_validators(h);
    return h;
}

void stored_head_unref(struct stored_head **slot)
{
    struct stored_head *h = *slot;
    *slot = NULL;
    if (h != NULL && atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1)
        free(h);
}

/* ---- bodies ---- */

/* A slot without a chunk is one of: not filled yet (at or above `ready`), on disk (committed), or dropped
 * (below `dropped`). `lock` covers the table; `ready`, `length` and `state` are published with release. */
struct body {
    atomic_uint refs;
    _Atomic uint64_t ready, length, dropped;
    atomic_int state;
    int error;
    uint32_t chunk_bytes;
    atomic_bool resident;
    _Atomic size_t ram_bytes;
    _Atomic uint64_t disk_id;
    atomic_uint flags, pins;
    _Atomic(struct disk_fill *) fill;

    pthread_mutex_t lock;
    bool in_air;
    struct chunk **slots;
    uint32_t n_slots, cap_slots;
    uint32_t
        loaded[OBJECT_LOADED_KEPT]; /* ring of chunk indexes that came from disk, index + 1; 0 is empty */
    uint32_t next_loaded;
};

struct object {
    atomic_uint refs;
    struct stored_head *head;
    struct body *body;
    _Atomic uint64_t purge_seen;
    struct object_ram ram;
};

static _Atomic uint64_t air_bytes;

static struct body *body_new(uint64_t length, uint32_t chunk_bytes)
{
    struct body *b = calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    atomic_init(&b->refs, 1);
    atomic_init(&b->length, length);
    atomic_init(&b->resident, true);
    b->chunk_bytes = chunk_bytes;
    b->in_air = true;
    pthread_mutex_init(&b->lock, NULL);
    return b;
}

/* Under the lock, or by the last owner. */
static void land(struct body *b)
{
    if (b->in_air)
        atomic_fetch_sub_explicit(&air_bytes, atomic_load_explicit(&b->ram_bytes, memory_order_relaxed),
                                  memory_order_relaxed);
    b->in_air = false;
}

static void body_unref(struct body *b)
{
    if (atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    land(b);
    for (uint32_t i = 0; i < b->n_slots; i++)
        chunk_unref(&b->slots[i]);
    free(b->slots);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

static bool grow_slots(struct body *b, uint32_t n)
{
    if (n > b->cap_slots) {
        uint32_t cap = MAX(n, b->cap_slots * 2);
        struct chunk **slots = realloc(b->slots, cap * sizeof(*slots));
        if (slots == NULL)
            return false;
        b->slots = slots;
        b->cap_slots = cap;
    }
    for (; b->n_slots < n; b->n_slots++)
        b->slots[b->n_slots] = NULL;
    return true;
}

/* Under the lock. */
static void put_slot(struct body *b, uint32_t index, struct chunk *c)
{
    size_t out = b->slots[index] != NULL ? b->slots[index]->cap : 0, in = c != NULL ? c->cap : 0;
    atomic_fetch_add_explicit(&b->ram_bytes, in - out, memory_order_relaxed); /* modulo 2^64 */
    if (b->in_air)
        atomic_fetch_add_explicit(&air_bytes, in - out, memory_order_relaxed);
    chunk_unref(&b->slots[index]);
    b->slots[index] = c;
}

/* ---- objects ---- */

static struct object *object_over(struct stored_head *head, struct body *body)
{
    struct object *o = calloc(1, sizeof *o);
    if (o == NULL) {
        stored_head_unref(&head);
        return NULL;
    }
    atomic_init(&o->refs, 1);
    o->head = head;
    o->body = body;
    list_init(&o->ram.link);
    return o;
}

struct object *object_new(struct stored_head *head, uint64_t length)
{
    bool large = length != LENGTH_UNKNOWN && length >= CHUNK_LARGE_FROM;
    struct body *body = body_new(length, large ? CHUNK_LARGE : CHUNK_SMALL);
    if (body == NULL) {
        stored_head_unref(&head);
        return NULL;
    }
    struct object *o = object_over(head, body);
    if (o == NULL)
        body_unref(body);
    return o;
}

struct object *object_from_disk(struct stored_head *head, uint64_t length, uint32_t chunk_bytes,
                                uint64_t disk_id)
{
    struct object *o = object_new(head, length);
    if (o == NULL)
        return NULL;
    struct body *b = o->body;
    b->chunk_bytes = chunk_bytes;
    b->in_air = false;
    uint64_t n = (length + chunk_bytes - 1) / chunk_bytes;
    if (n > UINT32_MAX / sizeof(void *) || !grow_slots(b, (uint32_t)n)) {
        object_unref(&o);
        return NULL;
    }
    atomic_store_explicit(&b->resident, false, memory_order_relaxed);
    atomic_store_explicit(&b->disk_id, disk_id, memory_order_relaxed);
    atomic_store_explicit(&b->flags, OBJECT_ON_DISK, memory_order_relaxed);
    atomic_store_explicit(&b->ready, length, memory_order_release);
    atomic_store_explicit(&b->state, OBJECT_SEALED, memory_order_release);
    return o;
}

struct object *object_with_head(struct object *o, struct stored_head *head)
{
    struct object *made = object_over(head, o->body);
    if (made != NULL)
        atomic_fetch_add_explicit(&o->body->refs, 1, memory_order_relaxed);
    return made;
}

struct object *object_ref(struct object *o)
{
    unsigned before = atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    REQUIRE(before > 0 && before < REFS_MAX);
    return o;
}

void object_unref(struct object **slot)
{
    struct object *o = *slot;
    *slot = NULL; /* the caller's pointer dies with its reference */
    if (o == NULL || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) != 1)
        return;
    REQUIRE(!o->ram.linked);
    stored_head_unref(&o->head);
    body_unref(o->body);
    free(o);
}

const struct stored_head *object_head(const struct object *o)
{
    return o->head;
}

enum object_state object_state(const struct object *o)
{
    return (enum object_state)atomic_load_explicit(&o->body->state, memory_order_acquire);
}

uint64_t object_ready(const struct object *o)
{
    return atomic_load_explicit(&o->body->ready, memory_order_acquire);
}

uint64_t object_length(const struct object *o)
{
    return atomic_load_explicit(&o->body->length, memory_order_acquire);
}

uint64_t object_dropped(const struct object *o)
{
    return atomic_load_explicit(&o->body->dropped, memory_order_acquire);
}

uint32_t object_chunk_bytes(const struct object *o)
{
    return o->body->chunk_bytes;
}

size_t object_ram_bytes(const struct object *o)
{
    return sizeof *o + sizeof *o->body + o->head->size +
           atomic_load_explicit(&o->body->ram_bytes, memory_order_relaxed);
}

uint64_t object_air_bytes(void)
{
    return atomic_load_explicit(&air_bytes, memory_order_relaxed);
}

void object_landed(struct object *o)
{
    pthread_mutex_lock(&o->body->lock);
    land(o->body);
    pthread_mutex_unlock(&o->body->lock);
}

/* The chunk that takes the next byte; made when the last one is full. */
static struct chunk *tail_chunk(struct body *b, uint64_t ready, uint64_t length)
{
    uint64_t index = ready / b->chunk_bytes;
    if (index >= UINT32_MAX)
        return NULL;
    if (index < b->n_slots)
        return b->slots[index];
    uint64_t cap = length == LENGTH_UNKNOWN ? b->chunk_bytes : MIN(b->chunk_bytes, length - ready);
    struct chunk *c = chunk_new((uint32_t)cap);
    if (c == NULL)
        return NULL;
    pthread_mutex_lock(&b->lock);
    bool grown = grow_slots(b, (uint32_t)index + 1);
    if (grown)
        put_slot(b, (uint32_t)index, c);
    pthread_mutex_unlock(&b->lock);
    if (!grown)
        chunk_unref(&c);
    return c;
}

int object_append(struct object *o, const char *p, size_t n)
{
    struct body *b = o->body;
    uint64_t ready = atomic_load_explicit(&b->ready, memory_order_relaxed);
    uint64_t length = atomic_load_explicit(&b->length, memory_order_relaxed);
    REQUIRE(atomic_load_explicit(&b->state, memory_order_relaxed) == OBJECT_FILLING);
    REQUIRE(length == LENGTH_UNKNOWN || n <= length - ready);
    while (n > 0) {
        struct chunk *c = tail_chunk(b, ready, length);
        if (c == NULL)
            return ERR_NOMEM;
        uint32_t take = (uint32_t)MIN(n, (size_t)(c->cap - c->len));
        memcpy(c->data + c->len, p, take);
        c->len += take;
        p += take;
        n -= take;
        ready += take;
        atomic_store_explicit(&b->ready, ready, memory_order_release);
    }
    return 0;
}

/* A last chunk of unknown length was made too big: give back what it does not need. Readers of the old one
 * hold it. */
static void fit_last_chunk(struct body *b)
{
    if (b->n_slots == 0)
        return;
    struct chunk *last = b->slots[b->n_slots - 1];
    if (last == NULL || last->cap - last->len < last->cap / 8)
        return;
    struct chunk *fit = chunk_new(last->len);
    if (fit == NULL)
        return;
    memcpy(fit->data, last->data, last->len);
    fit->len = last->len;
    pthread_mutex_lock(&b->lock);
    put_slot(b, b->n_slots - 1, fit);
    pthread_mutex_unlock(&b->lock);
}

void object_seal(struct object *o)
{
    struct body *b = o->body;
    uint64_t ready = atomic_load_explicit(&b->ready, memory_order_relaxed);
    uint64_t length = atomic_load_explicit(&b->length, memory_order_relaxed);
    REQUIRE(atomic_load_explicit(&b->state, memory_order_relaxed) == OBJECT_FILLING);
    REQUIRE(length == LENGTH_UNKNOWN || length == ready);
    fit_last_chunk(b);
    atomic_store_explicit(&b->length, ready, memory_order_release);
    atomic_store_explicit(&b->state, OBJECT_SEALED, memory_order_release);
}

void object_fail(struct object *o, int err)
{
    REQUIRE(err != 0);
    o->body->error = err;
    atomic_store_explicit(&o->body->state, OBJECT_FAILED, memory_order_release);
}

int object_error(const struct object *o)
{
    return o->body->error;
}

static struct span chunk_span(const struct body *b, struct chunk *c, uint64_t offset, uint64_t ready)
{
    uint32_t at = (uint32_t)(offset % b->chunk_bytes);
    uint64_t chunk_start = offset - at;
    uint64_t end = MIN(ready - chunk_start, (uint64_t)b->chunk_bytes);
    return (struct span){c->data + at, (size_t)(end - at)};
}

int object_read(struct object *o, uint64_t offset, struct span *out, struct chunk **hold)
{
    struct body *b = o->body;
    uint64_t ready = object_ready(o);
    uint32_t index = (uint32_t)(offset / b->chunk_bytes);
    REQUIRE(offset < ready);

    if (object_is_resident(o) && object_state(o) == OBJECT_SEALED) { /* the table does not change any more */
        *hold = NULL;
        *out = chunk_span(b, b->slots[index], offset, ready);
        return 0;
    }
    pthread_mutex_lock(&b->lock);
    struct chunk *c = b->slots[index];
    if (c != NULL)
        chunk_ref(c);
    pthread_mutex_unlock(&b->lock);
    if (c == NULL)
        return offset < object_dropped(o) ? ERR_GONE : ERR_NOT_FOUND;
    *hold = c;
    *out = chunk_span(b, c, offset, ready);
    return 0;
}

struct chunk *object_chunk(struct object *o, uint32_t index)
{
    struct body *b = o->body;
    pthread_mutex_lock(&b->lock);
    struct chunk *c = index < b->n_slots ? b->slots[index] : NULL;
    if (c != NULL)
        chunk_ref(c);
    pthread_mutex_unlock(&b->lock);
    return c;
}

uint32_t object_chunk_count(const struct object *o)
{
    const struct body *b = o->body;
    REQUIRE(object_state(o) == OBJECT_SEALED);
    return (uint32_t)((object_length(o) + b->chunk_bytes - 1) / b->chunk_bytes);
}

uint32_t object_chunk_len(const struct object *o, uint32_t index)
{
    const struct body *b = o->body;
    REQUIRE(object_state(o) == OBJECT_SEALED);
    uint64_t start = (uint64_t)index * b->chunk_bytes;
    return (uint32_t)MIN(object_length(o) - start, (uint64_t)b->chunk_bytes);
}

void object_chunk_loaded(struct object *o, uint32_t index, struct chunk *c)
{
    struct body *b = o->body;
    pthread_mutex_lock(&b->lock);
    REQUIRE(index < b->n_slots);
    put_slot(b, index, c);
    if (!object_is_resident(o) && b->n_slots > OBJECT_LOADED_KEPT) {
        uint32_t old = b->loaded[b->next_loaded];
        if (old > 0 && old - 1 != index)
            put_slot(b, old - 1, NULL);
        b->loaded[b->next_loaded] = index + 1;
        b->next_loaded = (b->next_loaded + 1) % OBJECT_LOADED_KEPT;
    }
    pthread_mutex_unlock(&b->lock);
}

void object_chunk_committed(struct object *o, uint32_t index)
{
    struct body *b = o->body;
    if (object_is_resident(o))
        return;
    pthread_mutex_lock(&b->lock);
    if (index < b->n_slots)
        put_slot(b, index, NULL);
    pthread_mutex_unlock(&b->lock);
}

void object_drop_below(struct object *o, uint64_t offset)
{
    struct body *b = o->body;
    uint64_t end = offset / b->chunk_bytes; /* chunks [.., end) lie wholly below */
    uint64_t start = object_dropped(o) / b->chunk_bytes;
    REQUIRE(!object_is_resident(o));
    if (end <= start)
        return;
    pthread_mutex_lock(&b->lock);
    atomic_store_explicit(&b->dropped, end * b->chunk_bytes, memory_order_release);
    for (uint64_t i = start; i < end && i < b->n_slots; i++)
        put_slot(b, (uint32_t)i, NULL);
    pthread_mutex_unlock(&b->lock);
}

void object_set_resident(struct object *o, bool resident)
{
    atomic_store_explicit(&o->body->resident, resident, memory_order_release);
}

bool object_is_resident(const struct object *o)
{
    return atomic_load_explicit(&o->body->resident, memory_order_acquire);
}

unsigned object_flags(const struct object *o)
{
    return atomic_load_explicit(&o->body->flags, memory_order_acquire);
}

void object_set_flags(struct object *o, unsigned set, unsigned clear)
{
    unsigned now = atomic_load_explicit(&o->body->flags, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&o->body->flags, &now, (now & ~clear) | set,
                                                  memory_order_acq_rel, memory_order_relaxed))
        ;
}

uint64_t object_disk_id(const struct object *o)
{
    return atomic_load_explicit(&o->body->disk_id, memory_order_acquire);
}

void object_set_disk_id(struct object *o, uint64_t id)
{
    atomic_store_explicit(&o->body->disk_id, id, memory_order_release);
}

struct disk_fill *object_fill(const struct object *o)
{
    return atomic_load_explicit(&o->body->fill, memory_order_acquire);
}

void object_set_fill(struct object *o, struct disk_fill *f)
{
    atomic_store_explicit(&o->body->fill, f, memory_order_release);
}

void object_pin(struct object *o)
{
    atomic_fetch_add(&o->body->pins, 1);
}

void object_unpin(struct object *o)
{
    unsigned before = atomic_fetch_sub(&o->body->pins, 1);
    REQUIRE(before > 0);
}

bool object_is_pinned(const struct object *o)
{
    return atomic_load(&o->body->pins) > 0;
}

_Atomic uint64_t *object_purge_seen(struct object *o)
{
    return &o->purge_seen;
}

struct object_ram *object_ram(struct object *o)
{
    return &o->ram;
}

struct object *object_of_ram(struct object_ram *r)
{
    return container_of(r, struct object, ram);
}
