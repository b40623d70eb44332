/* The log against the plainest thing that could be right: a list of all orders that is walked for each
 * question. */
#include "shield/purge/purge_log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/err.h"
#include "common/http_head.h"
#include "shield/policy/key.h"
#include "shield/purge/purge_tags.h"

#define NOW INT64_C(1000000)

/* ---- the world: small enough that things meet ---- */

enum { HOSTS = 3, DEPTH = 3, NAMES = 4, TAGS = 12, TEXT = 128 };

static uint64_t dice_state = 88172645463325252u;

static unsigned dice(unsigned n)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return (unsigned)(dice_state % n);
}

static void put_path(char *out, unsigned depth)
{
    static const char *const names[NAMES] = {"/a", "/images", "/long-name-of-a-folder", "/x"};
    out[0] = '\0';
    for (unsigned i = 0; i < depth; i++)
        strcat(out, names[dice(NAMES)]);
}

struct thing {
    char key[TEXT];
    uint64_t tags[3];
    char tag_names[3][16];
    size_t n_tags;
    uint64_t number;
    _Atomic uint64_t seen;
};

static void make_thing(struct thing *t, uint64_t number)
{
    char path[80];
    *t = (struct thing){.number = number, .n_tags = dice(4)};
    put_path(path, 1 + dice(DEPTH));
    snprintf(t->key, sizeof t->key, "o%u\nhost%u\n%s%s", dice(2), dice(HOSTS), path,
             dice(3) == 0 ? "\nrpart" : "");
    for (size_t i = 0; i < t->n_tags; i++) {
        snprintf(t->tag_names[i], sizeof t->tag_names[i], "tag%u", dice(TAGS));
        t->tags[i] = purge_tag_hash(span_of(t->tag_names[i]));
    }
}

struct listed {
    struct purge_record r;
    char what[TEXT];
};

static void make_record(struct listed *l, uint64_t number, int64_t at_ms, bool may_pace)
{
    char path[80];
    *l = (struct listed){.r = {.number = number, .at_ms = at_ms, .is_soft = dice(2) == 0}};
    unsigned kind = dice(40);
    if (kind < 16) {
        l->r.kind = PURGE_URL;
        put_path(path, 1 + dice(DEPTH));
        snprintf(l->what, sizeof l->what, "o%u\nhost%u\n%s", dice(2), dice(HOSTS), path);
    } else if (kind < 28) {
        l->r.kind = PURGE_PREFIX;
        put_path(path, 1 + dice(DEPTH));
        path[1 + dice((unsigned)strlen(path))] = '\0';
        snprintf(l->what, sizeof l->what, "host%u\n%s", dice(HOSTS), path);
    } else if (kind < 37) {
        l->r.kind = PURGE_TAG;
        snprintf(l->what, sizeof l->what, "tag%u", dice(TAGS));
    } else if (kind < 39) {
        l->r.kind = PURGE_HOST;
        snprintf(l->what, sizeof l->what, "host%u", dice(HOSTS + 1));
    } else {
        l->r.kind = PURGE_ALL;
    }
    if (may_pace && dice(20) == 0)
        l->r.over_ms = 1 + dice(50000);
    l->r.what = span_of(l->what);
}

static bool names(const struct purge_record *r, const struct thing *t)
{
    struct span uri = policy_key_uri(span_of(t->key));
    const char *rest = strchr(t->key, '\n') + 1;
    switch (r->kind) {
    case PURGE_URL:
        return span_eq(r->what, uri);
    case PURGE_PREFIX:
        return strncmp(rest, r->what.p, r->what.len) == 0;
    case PURGE_HOST:
        return strncmp(rest, r->what.p, r->what.len) == 0 && rest[r->what.len] == '\n';
    case PURGE_TAG:
        for (size_t i = 0; i < t->n_tags; i++)
            if (span_eq(r->what, span_of(t->tag_names[i])))
                return true;
        return false;
    default:
        return true;
    }
}

/* By the list: PURGE_HARD, PURGE_SOFT or PURGE_NONE, but where the turn of a paced one comes: `early` and
 * `late` bound it, since only the log knows the share of a key. */
static enum purge_verdict by_list(const struct listed *list, size_t n, const struct thing *t)
{
    enum purge_verdict v = PURGE_NONE;
    for (size_t i = 0; i < n; i++) {
        const struct purge_record *r = &list[i].r;
        if (r->over_ms > 0 || r->number <= t->number || !names(r, t))
            continue;
        if (!r->is_soft)
            return PURGE_HARD;
        v = PURGE_SOFT;
    }
    return v;
}

static struct purge_subject subject(const struct thing *t)
{
    return (struct purge_subject){.key = span_of(t->key),
                                  .tags = {(const char *)t->tags, t->n_tags * PURGE_TAG_BYTES},
                                  .number = t->number};
}

static enum purge_verdict ask(struct purge_log *log, struct thing *t, bool with_memory)
{
    struct purge_subject s = subject(t);
    return purge_log_check(log, &s, NOW, with_memory ? &t->seen : NULL, NULL);
}

static struct purge_log *log_of(uint64_t max_live)
{
    struct purge_log *log = purge_log_new(max_live, 7);
    assert_non_null(log);
    return log;
}

static void add(struct purge_log *log, const struct listed *l)
{
    bool collapsed;
    assert_int_equal(purge_log_add(log, &l->r, 1, &collapsed), 0);
    assert_false(collapsed);
}

static struct purge_record record_of(enum purge_kind kind, const char *what, uint64_t number)
{
    return (struct purge_record){.kind = kind, .what = span_of(what), .number = number, .at_ms = NOW - 10};
}

static void put(struct purge_log *log, struct purge_record r)
{
    bool collapsed;
    assert_int_equal(purge_log_add(log, &r, 1, &collapsed), 0);
}

static struct thing thing_of(const char *key, uint64_t number)
{
    struct thing t = {.number = number};
    snprintf(t.key, sizeof t.key, "%s", key);
    return t;
}

/* ---- tests ---- */

static void test_it_is_what_a_list_would_say(void **state)
{
    enum { ORDERS = 400, THINGS = 300, ROUNDS = 25 };
    for (int round = 0; round < ROUNDS; round++) {
        struct purge_log *log = log_of(1000000);
        struct listed *list = calloc(ORDERS, sizeof *list);
        struct thing *things = calloc(THINGS, sizeof *things);
        for (size_t i = 0; i < THINGS; i++)
            make_thing(&things[i], 0);
        for (size_t n = 0; n < ORDERS; n++) {
            make_record(&list[n], n + 1, NOW - 5, false);
            add(log, &list[n]);
            for (int k = 0; k < 20; k++) {
                struct thing *t = &things[dice(THINGS)];
                enum purge_verdict wanted = by_list(list, n + 1, t);
                assert_int_equal(ask(log, t, true), wanted);
                assert_int_equal(ask(log, t, false), wanted);
                if (wanted != PURGE_NONE && dice(2) == 0) /* fetched anew */
                    make_thing(t, purge_log_number(log));
            }
        }
        free(list);
        free(things);
        purge_log_free(&log);
    }
}

static void test_an_order_has_one_number_and_many_records(void **state)
{
    struct purge_log *log = log_of(100);
    struct purge_record records[] = {record_of(PURGE_URL, "o\nh\n/a", 5),
                                     record_of(PURGE_URL, "o\nh\n/b", 5)};
    bool collapsed;
    struct thing a = thing_of("o\nh\n/a", 4), b = thing_of("o\nh\n/b\nrname", 4), c = thing_of("o\nh\n/c", 0),
                 later = thing_of("o\nh\n/a", 5);
    assert_int_equal(purge_log_add(log, records, 2, &collapsed), 0);
    assert_int_equal(purge_log_number(log), 5);
    assert_int_equal(ask(log, &a, true), PURGE_HARD);
    assert_int_equal(ask(log, &b, true), PURGE_HARD);
    assert_int_equal(ask(log, &c, true), PURGE_NONE);
    assert_int_equal(ask(log, &later, true), PURGE_NONE);
    purge_log_free(&log);
}

static void test_soft_tells_since_when(void **state)
{
    struct purge_log *log = log_of(100);
    struct purge_record r = record_of(PURGE_HOST, "h", 3);
    struct thing t = thing_of("o\nh\n/a", 2);
    struct purge_subject s = subject(&t);
    int64_t since_ms = 0;
    r.is_soft = true;
    put(log, r);
    assert_int_equal(purge_log_check(log, &s, NOW, NULL, &since_ms), PURGE_SOFT);
    assert_int_equal(since_ms, NOW - 10);
    purge_log_free(&log);
}

/* Each key at its own time, none before, all in the end; also what was looked at meanwhile. */
static void test_a_paced_purge_takes_its_time(void **state)
{
    enum { KEYS = 500 };
    struct purge_log *log = log_of(100);
    struct purge_record r = record_of(PURGE_ALL, "", 1);
    struct thing things[KEYS], fresh = thing_of("o\nh\n/fresh", 1);
    r.is_soft = true;
    r.over_ms = 1000;
    r.at_ms = NOW;
    put(log, r);
    for (int i = 0; i < KEYS; i++) {
        char key[32];
        snprintf(key, sizeof key, "o\nh\n/%d", i);
        things[i] = thing_of(key, 0);
    }
    int before = 0;
    for (int64_t t = 0; t <= 1000; t += 100) {
        int gone = 0;
        for (int i = 0; i < KEYS; i++) {
            struct purge_subject s = subject(&things[i]);
            int64_t since_ms = 0;
            if (purge_log_check(log, &s, NOW + t, &things[i].seen, &since_ms) == PURGE_SOFT) {
                gone++;
                assert_in_range(since_ms, NOW, NOW + t);
            }
        }
        assert_true(gone >= before && gone >= KEYS * t / 1000 - 75 && gone <= KEYS * t / 1000 + 75);
        assert_true(t < 1000 || gone == KEYS);
        before = gone;
        assert_int_equal(ask(log, &fresh, true), PURGE_NONE);
        if (t == 500) { /* another beside it changes nothing for them */
            struct purge_record url = record_of(PURGE_URL, "o\nh\n/none", 2);
            put(log, url);
        }
    }
    purge_log_free(&log);
}

static void test_paced_ones_are_bounded(void **state)
{
    struct purge_log *log = log_of(100);
    struct purge_record r = record_of(PURGE_ALL, "", 1);
    bool collapsed;
    r.over_ms = 1000;
    for (r.number = 1; r.number <= 64; r.number++)
        put(log, r);
    assert_int_equal(purge_log_add(log, &r, 1, &collapsed), ERR_BUSY);
    assert_int_equal(purge_log_number(log), 64);
    purge_log_free(&log);
}

/* Too much may be purged then, never too little. */
static void test_beyond_its_bound_the_old_counts_as_purged(void **state)
{
    enum { ORDERS = 1000, THINGS = 500 };
    struct purge_log *log = log_of(100);
    struct listed *list = calloc(ORDERS, sizeof *list);
    int collapses = 0, kept = 0;
    for (size_t n = 0; n < ORDERS; n++) {
        bool collapsed;
        list[n].r = record_of(PURGE_URL, "", n + 1);
        snprintf(list[n].what, sizeof list[n].what, "o\nhost%zu\n/a", n % 400);
        list[n].r.what = span_of(list[n].what);
        assert_int_equal(purge_log_add(log, &list[n].r, 1, &collapsed), 0);
        collapses += collapsed;
        assert_true(purge_log_live(log) <= 101);
    }
    assert_true(collapses > 0);
    for (size_t i = 0; i < THINGS; i++) {
        struct thing t;
        char key[TEXT];
        snprintf(key, sizeof key, "o\nhost%u\n/a", dice(420));
        t = thing_of(key, ORDERS - dice(400));
        enum purge_verdict wanted = by_list(list, ORDERS, &t), got = ask(log, &t, false);
        assert_true(wanted == PURGE_NONE || got == PURGE_HARD);
        kept += got == PURGE_NONE;
    }
    assert_true(kept > 0);
    free(list);
    purge_log_free(&log);
}

static void test_what_nothing_can_match_is_forgotten(void **state)
{
    struct purge_log *log = log_of(1000);
    struct thing hot = thing_of("o\nh\n/hot", 0), cold = thing_of("o\nh\n/cold", 0),
                 stored = thing_of("o\nh\n/s", 2);
    put(log, record_of(PURGE_URL, "o\nh\n/a", 1));
    put(log, record_of(PURGE_PREFIX, "h\n/p", 2));
    put(log, record_of(PURGE_URL, "o\nh\n/b", 3));
    assert_int_equal(ask(log, &hot, true), PURGE_NONE); /* looked at: it is as good as new */
    assert_int_equal(purge_log_live(log), 3);
    purge_log_forget(log, 2);
    assert_int_equal(purge_log_live(log), 1);
    assert_int_equal(ask(log, &hot, true), PURGE_NONE);
    assert_int_equal(ask(log, &stored, true), PURGE_NONE);
    assert_int_equal(ask(log, &cold, true), PURGE_HARD); /* nobody has: too old to tell */
    struct thing b = thing_of("o\nh\n/b", 2);
    assert_int_equal(ask(log, &b, true), PURGE_HARD);
    purge_log_free(&log);
}

static void test_numbers_of_an_earlier_life_are_taken(void **state)
{
    struct purge_log *log = log_of(10);
    purge_log_begin(log, 77);
    assert_int_equal(purge_log_number(log), 77);
    assert_int_equal(purge_log_number(NULL), 0);
    purge_log_free(&log);
}

static void test_tags_of_a_response(void **state)
{
    struct http_field fields[] = {{SPAN("surrogate-key"), SPAN(" a  b\tc "), FIELD_OTHER},
                                  {SPAN("Cache-Tag"), SPAN("d, e f ,,g"), FIELD_OTHER},
                                  {SPAN("Cache-Groups"), SPAN("\"x\", \"y z\""), FIELD_OTHER}};
    static const char *const wanted[] = {"a", "b", "c", "d", "e f", "g", "x", "h\nx", "y z", "h\ny z"};
    struct http_head head = {.fields = fields, .n_fields = 3, .cap_fields = 3};
    struct buf out = {0};
    assert_true(purge_tags_put(&out, &head, SPAN("h"), 10));
    assert_int_equal(out.len, sizeof wanted / sizeof *wanted * PURGE_TAG_BYTES);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        assert_int_equal(purge_tag_at(buf_span(&out), i), purge_tag_hash(span_of(wanted[i])));
    out.len = 0;
    assert_false(purge_tags_put(&out, &head, SPAN("h"), 9));
    struct purge_log *log = log_of(10);
    struct purge_subject s = {.key = SPAN("o\nh\n/a"), .tags = buf_span(&out)};
    put(log, record_of(PURGE_TAG, "another", 1)); /* it has so many that it may have this one */
    assert_int_equal(purge_log_check(log, &s, NOW, NULL, NULL), PURGE_HARD);
    purge_log_free(&log);
    buf_fini(&out);
}

/* Among 100,000 of all kinds the right ones are found; how long that takes is for make bench. */
static void test_a_hundred_thousand_live(void **state)
{
    enum { LIVE = 100000 };
    struct purge_log *log = log_of(LIVE + 1);
    char what[TEXT];
    for (uint64_t n = 1; n <= LIVE; n++) {
        enum purge_kind kind = (enum purge_kind)(n % 4);
        snprintf(what, sizeof what,
                 kind == PURGE_URL      ? "o\nhost%llu\n/p"
                 : kind == PURGE_PREFIX ? "host\n/%llu/"
                                        : "%llu",
                 (unsigned long long)n);
        put(log, record_of(kind, what, n));
    }
    assert_int_equal(purge_log_live(log), LIVE);
    struct thing url = thing_of("o\nhost4\n/p", 0), prefix = thing_of("o\nhost\n/99997/x", 5),
                 host = thing_of("o\n3\n/x", 0), other = thing_of("o\nhost\n/99996/x", 0),
                 after = thing_of("o\nhost\n/99997/x", 99997);
    assert_int_equal(ask(log, &url, true), PURGE_HARD);
    assert_int_equal(ask(log, &prefix, true), PURGE_HARD);
    assert_int_equal(ask(log, &host, true), PURGE_HARD);
    assert_int_equal(ask(log, &other, true), PURGE_NONE);
    assert_int_equal(ask(log, &after, true), PURGE_NONE);
    purge_log_free(&log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_is_what_a_list_would_say),
        cmocka_unit_test(test_an_order_has_one_number_and_many_records),
        cmocka_unit_test(test_soft_tells_since_when),
        cmocka_unit_test(test_a_paced_purge_takes_its_time),
        cmocka_unit_test(test_paced_ones_are_bounded),
        cmocka_unit_test(test_beyond_its_bound_the_old_counts_as_purged),
        cmocka_unit_test(test_what_nothing_can_match_is_forgotten),
        cmocka_unit_test(test_numbers_of_an_earlier_life_are_taken),
        cmocka_unit_test(test_tags_of_a_response),
        cmocka_unit_test(test_a_hundred_thousand_live),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
