/* compare - scenarios against peers: what was asked for, and what came of it. Private to compare*.c. */
#ifndef BENCH_COMPARE_H
#define BENCH_COMPARE_H

#include "bench/play.h"

enum { COMPARE_SEATS_MAX = 16 };

struct compare_seat {
    struct peer peer;
    const char *missing;  /* why it can play nothing; NULL: it can */
    const char *left_out; /* why it did not play this scenario, or not to the end */
    char why[64];
    struct play_result *result; /* over all rounds of the scenario */
};

struct compare {
    /* as asked for */
    struct span names, gated, dir;
    struct span html, hdr, max_fetches, max_failed;
    uint64_t p99_ms;
    uint64_t rounds, workers, seed, output;
    bool list;
    /* as found */
    char self[PATH_MAX], bin[PATH_MAX], data[PATH_MAX + 32], scratch[PATH_MAX];
    struct compare_seat seats[COMPARE_SEATS_MAX];
    size_t n_seats;
    bool has_reported; /* a scenario before this one */
    struct buf page;   /* of the HTML report */
    struct buf hdr_log;
    uint64_t began_ms, plays, plays_done; /* for the live view: scenarios x rounds x peers */
    char playing[192];
};

enum { COMPARE_TABLE, COMPARE_JSON, COMPARE_CSV };

/* compare_report.c, in the form asked for: the frame, and a scenario as soon as it is played. The files of
 * --html and
 * --hdr are whole after each. False: one of them could not be written. */
bool compare_begin(struct compare *c);
bool compare_report(struct compare *c, const struct scenario *s);
void compare_end(struct compare *c);

/* compare_html.c: a part of the page. */
void compare_html_scenario(struct buf *out, const struct compare *c, const struct scenario *s,
                           struct span table);

bool compare_gates_hold(const struct scenario *s, const struct play_result *r);

#endif
