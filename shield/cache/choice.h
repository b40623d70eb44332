/* choice - what becomes of a lookup: pure. It changes nothing and counts nothing, so that /explain gives the
 * answer that a request would have had. */
#ifndef SHIELD_CACHE_CHOICE_H
#define SHIELD_CACHE_CHOICE_H

#include "shield/cache/entry.h"

enum choice_kind {
    CHOICE_HIT,   /* the stored response, fresh */
    CHOICE_STALE, /* the stored response, stale: while it is refreshed, or in the place of `err` */
    CHOICE_FETCH, /* join the flight that fits, or start one; the stored response may be validated */
    CHOICE_ALONE, /* fetch alone; the stored response may be validated where `validates` */
    CHOICE_FAIL,  /* answer `err` */
};

struct choice_question {
    const struct config *config;
    const struct config_route *route;
    const struct http_head *head;
    bool may_join, only_new, only_stored, only_fresh, wants_range; /* as in cache_question, flight_waiter */
    bool may_look;              /* with only_stored: there is a disk, and it was not asked a moment ago */
    enum pass_reason why_alone; /* without may_join */
    bool unadmitted;            /* it was asked for before, and not often enough for the disk */
    uint64_t mono_ms;           /* for what is remembered */
    int64_t now_ms;             /* for what is stored */
    double chance;              /* in (0, 1], for an early refresh; 1: never before its time */
};

struct choice {
    enum choice_kind kind;
    bool uses_stored; /* the response given as stored is what is served, or validated */
    bool refreshes;   /* HIT, STALE: a refresh is due, unless one is under way */
    enum miss_reason reason;
    enum pass_reason passed; /* ALONE */
    int err;
    enum limit_name limit;  /* with ERR_BUSY */
    uint32_t retry_after_s; /* 0: nothing is known */
};

/* Whether a stored response may be used at once though it is stale: by RFC 5861 section 3, or since the
 * client says so. */
bool choice_welcomes_stale(const struct config_route *route, const struct response_facts *stored,
                           enum request_wish wish, int64_t now_ms);

/* `e` is what is known of the key, or NULL; `stored` is of the variant that the request selects, or NULL
 * (RFC 9111 section 4). The caller holds the shard's lock. */
void choice_make(const struct choice_question *q, const struct entry *e, const struct response_facts *stored,
                 struct choice *out);

/* The fetch that was chosen cannot be: stale where that is allowed (DESIGN.md section 4, beyond a limit),
 * else CHOICE_FAIL. `stored` is that of choice_make. */
void choice_deny(const struct choice_question *q, const struct response_facts *stored, int err,
                 enum limit_name limit, struct choice *c);

#endif
