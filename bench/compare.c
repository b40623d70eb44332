#include "bench/proc.h"
#include "bench/compare.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bench/commands.h"
#include "bench/sock.h"
#include "common/check.h"
#include "common/clock.h"

static const char intro[] =
    "usage: shield-bench compare [OPTION]... PEER...\n"
    "\n"
    "Plays scenarios against proxies, each between an origin and edges of ours, in alternating rounds, and\n"
    "prints one table for each scenario. A peer is the name of a script in bench/peers: shield nginx "
    "varnish\n"
    "trafficserver squid haproxy. One that is not installed, or lacks what a scenario needs, is named and "
    "left\n"
    "out. Ratios are against the first peer.\n"
    "    shield-bench compare --list\n"
    "    shield-bench compare shield\n"
    "    shield-bench compare --scenario cold,hot-key --rounds 3 shield nginx varnish\n"
    "    shield-bench compare --scenario ./mine shield            a file of your own\n"
    "Exits 1 when a gate of a scenario does not hold for the peer that --gate names, or that peer is asked "
    "for and\n"
    "not installed.\n";

#define AT(f) offsetof(struct compare, f)

static const struct flag rows[] = {
    {"scenario", 0, FLAG_TEXT, AT(names), "cold", "NAME,...",
     "Names from bench/scenarios, paths of files, or all."},
    {"rounds", 0, FLAG_UINT, AT(rounds), "1", "N", "How often each peer plays each scenario."},
    {"workers", 0, FLAG_UINT, AT(workers), "2", "N", "Workers of the peers."},
    {"seed", 0, FLAG_UINT, AT(seed), "1", "N", "Of all that is random."},
    {"gate", 0, FLAG_TEXT, AT(gated), "shield", "PEER", "Whose gates decide the exit code; none: nobody's."},
    {"max-fetches-per-epoch", 0, FLAG_TEXT, AT(max_fetches), "", "N",
     "A gate instead of the scenario's own."},
    {"max-failed", 0, FLAG_TEXT, AT(max_failed), "", "N", "The same."},
    {"p99", 0, FLAG_MS, AT(p99_ms), "0", "TIME", "The same, of the last byte; 0: as the scenario says."},
    {"output", 'o', FLAG_CHOICE, AT(output), "table", "table|json|csv", "Form of the report."},
    {"html", 0, FLAG_TEXT, AT(html), "", "FILE", "Also write a page with the tables and plots."},
    {"hdr", 0, FLAG_TEXT, AT(hdr), "", "FILE",
     "Also write the times, in microseconds, as an HdrHistogram log."},
    {"list", 0, FLAG_BOOL, AT(list), "off", "", "Print the scenarios, and end."},
    {"dir", 0, FLAG_TEXT, AT(dir), "", "DIR",
     "Where peers/ and scenarios/ are; default: beside this program, ../bench or ../share/shield/bench."},
};

/* ---- where things are */

static const char *find_self(struct compare *c)
{
    if (!proc_self(c->self))
        return "the program does not find itself";
    snprintf(c->bin, sizeof c->bin, "%.*s", (int)(strrchr(c->self, '/') - c->self), c->self);
    return NULL;
}

static const char *find_dir(struct compare *c)
{
    static const char *const places[] = {"../bench", "../share/shield/bench", "../../bench"};
    char probe[PATH_MAX + 64];
    if (c->dir.len > 0) {
        snprintf(c->data, sizeof c->data, "%.*s", SPAN_FMT(c->dir));
        return NULL;
    }
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        int n = snprintf(c->data, sizeof c->data, "%s/%s", c->bin, places[i]);
        snprintf(probe, sizeof probe, "%s/scenarios", c->data);
        if (n < (int)sizeof c->data && access(probe, R_OK) == 0)
            return NULL;
    }
    return "does not find its scenarios and peers: name their directory with --dir";
}

static void scenario_file(const struct compare *c, struct span name, char *out, size_t cap)
{
    if (memchr(name.p, '/', name.len) != NULL)
        snprintf(out, cap, "%.*s", SPAN_FMT(name));
    else
        snprintf(out, cap, "%s/scenarios/%.*s", c->data, SPAN_FMT(name));
}

static bool load_scenario(const struct compare *c, struct span name, struct scenario *s)
{
    char file[PATH_MAX * 2];
    uint32_t line = 0;
    scenario_file(c, name, file, sizeof file);
    const char *why = scenario_load(s, file, &line);
    if (why != NULL && line == 0)
        fprintf(stderr, "%s: %s; compare --list prints the scenarios\n", file, why);
    else if (why != NULL)
        fprintf(stderr, "%s:%u: %s\n", file, line, why);
    return why == NULL;
}

/* Gates of the command line stand for those of every scenario. NULL, or static text. */
static const char *override_gates(const struct compare *c, struct scenario *s)
{
    static const struct flag fetches = {.type = FLAG_REAL,
                                        .at = offsetof(struct scenario, fetches_per_epoch)};
    static const struct flag failed = {.type = FLAG_REAL, .at = offsetof(struct scenario, max_failed)};
    const char *why = c->max_fetches.len > 0 ? flags_set(&fetches, s, c->max_fetches) : NULL;
    if (why == NULL && c->max_failed.len > 0)
        why = flags_set(&failed, s, c->max_failed);
    if (c->p99_ms > 0)
        s->p99_ms = c->p99_ms;
    return why;
}

/* "a,b" */
static struct span next_name(struct span *names)
{
    const char *comma = memchr(names->p, ',', names->len);
    struct span name = {names->p, comma != NULL ? (size_t)(comma - names->p) : names->len};
    *names = span_from(*names, name.len + 1);
    return name;
}

/* From the plain to the mixed. */
static const char all[] =
    "cold,stream,hot-key,ttl-cliff,swr,purge-key,purge-tag,purge-all,restart,leader-leaves,"
    "slow-reader,origin-slow,origin-dead,origin-503,origin-cut,uncacheable,cookies,vary,ranges,"
    "negative,mixed";

static int list(const struct compare *c)
{
    struct span names = span_of(all);
    while (names.len > 0) {
        struct scenario s;
        if (!load_scenario(c, next_name(&names), &s))
            return 1;
        printf("  %-14.*s %.*s\n", SPAN_FMT(s.name), SPAN_FMT(s.about));
        scenario_fini(&s);
    }
    return 0;
}

/* ---- playing */

/* What plays, its rates, and the time that is left: of this load, and of all once a play has shown how long
 * one takes. */
static void show_progress(void *arg, const struct play_now *now)
{
    const struct compare *c = arg;
    double elapsed_s = (double)MAX(now->elapsed_ms, UINT64_C(1)) / 1000;
    double rate = (double)now->answers / elapsed_s, left_s = 0, all_s = 0;
    if (now->planned_ms > now->elapsed_ms)
        left_s = (double)(now->planned_ms - now->elapsed_ms) / 1000;
    else if (now->planned_ms == 0 && now->of > now->answers && rate > 0)
        left_s = (double)(now->of - now->answers) / rate;
    fprintf(
        stderr, "\r\033[K%s  %" PRIu64 " requests, %.0f/s; origin %" PRIu64 ", %.1f/s; %.1f s, %.0f s left",
        c->playing, now->answers, rate, now->fetches, (double)now->fetches / elapsed_s, elapsed_s, left_s);
    if (c->plays_done > 0 && c->plays > c->plays_done) {
        double spent_s = (double)(clock_mono_ms() - c->began_ms) / 1000;
        all_s = spent_s * (double)c->plays / (double)c->plays_done - spent_s;
        fprintf(stderr, ", about %.0f s in all", MAX(all_s, left_s));
    }
}

static const char *lacks(const struct scenario *s, const struct peer *p, char *why, size_t cap)
{
    for (uint32_t i = 0; i < s->needs.n; i++)
        if (!peer_can(p, s->needs.item[i])) {
            snprintf(why, cap, "cannot do %.*s", SPAN_FMT(s->needs.item[i]));
            return why;
        }
    return NULL;
}

static void play_rounds(struct compare *c, const struct scenario *s)
{
    struct play_options options = {.self = c->self,
                                   .scratch = c->scratch,
                                   .workers = (unsigned)c->workers,
                                   .on_progress = isatty(STDERR_FILENO) ? show_progress : NULL,
                                   .progress_arg = c};
    for (uint64_t round = 0; round < c->rounds; round++)
        for (size_t i = 0; i < c->n_seats; i++) {
            struct compare_seat *seat = &c->seats[i];
            c->plays_done++;
            if (seat->left_out != NULL)
                continue;
            c->plays_done--;
            options.seed = c->seed - 1 + round;
            snprintf(c->playing, sizeof c->playing, "%.*s: %s, round %" PRIu64 " of %" PRIu64,
                     (int)MIN(s->name.len, (size_t)64), s->name.p, seat->peer.name, round + 1, c->rounds);
            if (options.on_progress != NULL)
                fprintf(stderr, "\r\033[K%s ", c->playing);
            seat->left_out = play(s, &seat->peer, &options, seat->result);
            c->plays_done++;
        }
    if (options.on_progress != NULL)
        fputs("\r\033[K", stderr);
}

static bool play_scenario(struct compare *c, const struct scenario *s)
{
    for (size_t i = 0; i < c->n_seats; i++) {
        struct compare_seat *seat = &c->seats[i];
        seat->left_out = seat->missing;
        if (seat->left_out == NULL)
            seat->left_out = lacks(s, &seat->peer, seat->why, sizeof seat->why);
        memset(seat->result, 0, sizeof *seat->result);
    }
    play_rounds(c, s);
    bool holds = compare_report(c, s);
    for (size_t i = 0; i < c->n_seats; i++) {
        struct compare_seat *seat = &c->seats[i];
        bool is_gated = span_eq(span_of(seat->peer.name), c->gated);
        bool is_excused = seat->left_out == seat->why || (seat->left_out == seat->missing && !is_gated);
        holds &= seat->left_out != NULL ? is_excused : !is_gated || compare_gates_hold(s, seat->result);
    }
    return holds;
}

/* A word that is no peer of ours would gate nobody; the default may be no peer of this comparison. */
static bool gates_somebody(const struct compare *c, const struct flag_list *names)
{
    for (uint32_t i = 0; i < names->n; i++)
        if (span_eq(names->item[i], c->gated))
            return true;
    return span_eq(c->gated, SPAN("none")) || span_eq(c->gated, SPAN("shield"));
}

/* Before anything is played: a typing error in the last name must not wait for all others. */
static bool count_plays(struct compare *c, struct span names)
{
    bool holds = names.len > 0;
    while (names.len > 0) {
        struct scenario s;
        holds &= load_scenario(c, next_name(&names), &s);
        scenario_fini(&s);
        c->plays += c->rounds * c->n_seats;
    }
    return holds;
}

static int play_all(struct compare *c)
{
    bool holds;
    struct span names = span_eq(c->names, SPAN("all")) ? span_of(all) : c->names;
    if (!count_plays(c, names))
        return 1;
    holds = compare_begin(c);
    c->began_ms = clock_mono_ms();
    for (bool more = holds; more && names.len > 0;) {
        struct scenario s;
        more = load_scenario(c, next_name(&names), &s) && override_gates(c, &s) == NULL;
        holds &= more && play_scenario(c, &s);
        scenario_fini(&s);
    }
    compare_end(c);
    return holds ? 0 : 1;
}

/* ---- the command */

static const char *take_peers(struct compare *c, const struct flag_list *names)
{
    char peers[PATH_MAX + 64];
    snprintf(peers, sizeof peers, "%s/peers", c->data);
    for (uint32_t i = 0; i < names->n; i++) {
        struct compare_seat *seat = &c->seats[c->n_seats++];
        seat->result = calloc(1, sizeof *seat->result);
        if (seat->result == NULL)
            return "out of memory";
        seat->missing = peer_find(&seat->peer, names->item[i], peers, c->bin);
        if (seat->missing != NULL)
            snprintf(seat->peer.name, sizeof seat->peer.name, "%.*s", SPAN_FMT(names->item[i]));
    }
    return NULL;
}

static const char *prepare(struct compare *c, const struct flag_list *names)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(c->scratch, sizeof c->scratch, "%s/shield-bench-XXXXXX",
             tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
    if (mkdtemp(c->scratch) == NULL)
        return "cannot make a directory (TMPDIR)";
    sock_raise_limit();
    const char *why = take_peers(c, names);
    return why == NULL ? proc_init(c->scratch) : why;
}

static int run(struct compare *c, const struct flag_list *names)
{
    const char *why = find_self(c);
    if (why == NULL)
        why = find_dir(c);
    int code = 1;
    if (why == NULL && c->list)
        return list(c);
    if (why == NULL)
        why = prepare(c, names);
    if (why == NULL)
        code = play_all(c);
    else
        fprintf(stderr, "compare: %s\n", why);
    proc_remove_dir(c->scratch);
    for (size_t i = 0; i < c->n_seats; i++)
        free(c->seats[i].result);
    return code;
}

int command_compare(int argc, char **argv)
{
    struct compare *c = calloc(1, sizeof *c);
    struct flag_list names = {0};
    const struct flag_group groups[] = {{"Options [default]:", FLAGS(rows), c}};
    int code = c != NULL ? flags_parse(groups, ARRAY_LEN(groups), argc, argv, intro, &names) : 1;
    if (code < 0 && !c->list &&
        (names.n == 0 || names.n > COMPARE_SEATS_MAX || c->rounds == 0 || c->workers == 0 ||
         c->workers > 256)) {
        fprintf(stderr,
                "compare: needs one to %d peers, and at least one round and worker; --help tells more\n",
                COMPARE_SEATS_MAX);
        code = 2;
    }
    struct scenario probe = {0};
    if (code < 0 && override_gates(c, &probe) != NULL) {
        fprintf(stderr, "compare: --max-fetches-per-epoch and --max-failed %s\n", override_gates(c, &probe));
        code = 2;
    }
    if (code < 0 && !c->list && !gates_somebody(c, &names)) {
        fprintf(stderr, "compare: --gate %.*s is none of the peers to compare\n", SPAN_FMT(c->gated));
        code = 2;
    }
    if (code < 0)
        code = run(c, &names);
    free(c);
    return code;
}
