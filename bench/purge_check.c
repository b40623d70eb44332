/* purge-check - what it costs a hit to be held against the purges in force, without any traffic around it. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "shield/purge/purge_log.h"
#include "shield/purge/purge_tags.h"

enum { LIVE = 100000, SUBJECTS = 4096, ROUNDS = 100, TAGS = 5 };

struct subject {
    char key[160];
    uint64_t tags[TAGS];
    _Atomic uint64_t seen;
};

static void put_live(struct purge_log *log)
{
    static const char *const forms[] = {
        "default\nwww.example.com\n/articles/2026/%u/some-title.html", /* URL */
        "www.example.com\n/section-%u/", "tag-%u", "host-%u.example.com"};
    char what[128];
    bool collapsed;
    for (unsigned n = 0; n < LIVE; n++) {
        unsigned kind = n % 4;
        int len = snprintf(what, sizeof what, forms[kind], n);
        struct purge_record r = {
            .number = purge_log_number(log) + 1, .kind = (enum purge_kind)kind, .what = {what, (size_t)len}};
        if (purge_log_add(log, &r, 1, &collapsed) != 0 || collapsed)
            exit(1);
    }
}

/* URLs of some 90 bytes that nothing purges. */
static void make_subjects(struct subject *s)
{
    for (unsigned i = 0; i < SUBJECTS; i++) {
        snprintf(s[i].key, sizeof s[i].key,
                 "default\nwww.example.com\n/static/assets/%08u/a-name-of-usual-length.js?v=%u", i, i * 7);
        for (unsigned t = 0; t < TAGS; t++)
            s[i].tags[t] = purge_tag_hash((struct span){s[i].key, 30 + t});
    }
}

static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static unsigned check_all(struct purge_log *log, struct subject *s, bool fresh)
{
    unsigned purged = 0;
    for (unsigned i = 0; i < SUBJECTS; i++) {
        struct purge_subject subject = {.key = span_of(s[i].key),
                                        .tags = {(const char *)s[i].tags, sizeof s[i].tags}};
        purged += purge_log_check(log, &subject, 1, fresh ? NULL : &s[i].seen, NULL) != PURGE_NONE;
    }
    return purged;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds of CPU for each check, the median of all rounds; `fresh`: as if nobody had looked since the
 * oldest purge. */
static double measure(struct purge_log *log, struct subject *s, bool fresh)
{
    double rounds[ROUNDS];
    for (unsigned r = 0; r < ROUNDS; r++) {
        double began = cpu_ns();
        if (check_all(log, s, fresh) > 0) {
            fprintf(stderr, "purge-check: a check found what is not there\n");
            exit(1);
        }
        rounds[r] = (cpu_ns() - began) / SUBJECTS;
    }
    qsort(rounds, ROUNDS, sizeof *rounds, by_value);
    return rounds[ROUNDS / 2];
}

int main(void)
{
    struct purge_log *log = purge_log_new(2 * LIVE, 12345);
    struct subject *s = calloc(SUBJECTS, sizeof *s);
    if (log == NULL || s == NULL)
        return 1;
    make_subjects(s);
    double none = measure(log, s, false);
    put_live(log);
    double first = measure(log, s, true);
    double again = measure(log, s, false);
    printf("  %-34s %8.0f ns\n", "no purge", none);
    printf("  %-34s %8.0f ns\n", "100,000 live, looked at before", again);
    printf("  %-34s %8.0f ns   1000 ns\n", "100,000 live, looked at first", first);
    free(s);
    purge_log_free(&log);
    return 0;
}
