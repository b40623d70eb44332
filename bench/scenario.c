#include "bench/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/edges_options.h"
#include "bench/origin_options.h"
#include "common/check.h"
#include "common/units.h"

enum { FILE_MAX_BYTES = 65536, WORDS_MAX = 64 };

struct span scenario_word(struct span *rest)
{
    struct span s = span_trim(*rest);
    size_t n = 0;
    while (n < s.len && s.p[n] != ' ' && s.p[n] != '\t')
        n++;
    *rest = span_trim(span_from(s, n));
    return (struct span){s.p, n};
}

/* Words of a line as flags_parse wants them. */
static int split(char *text, char **argv)
{
    int argc = 0;
    char *save = NULL;
    argv[argc++] = "load";
    for (char *word = strtok_r(text, " \t", &save); word != NULL && argc < WORDS_MAX;
         word = strtok_r(NULL, " \t", &save))
        argv[argc++] = word;
    argv[argc] = NULL;
    return argc;
}

const char *scenario_parse_load(char *text, struct edges_config *config, struct flag_list *rest)
{
    char *argv[WORDS_MAX + 1];
    int argc = split(text, argv);
    const struct flag_group groups[] = {{"", edges_option_flags(), config}};
    if (flags_parse(groups, 1, argc, argv, "", rest) >= 0)
        return "these options are not those of shield-bench run; run --help tells more";
    return edges_options_settle(config, rest);
}

/* Before anything is played. */
static const char *check_load(struct span line)
{
    char *text = strndup(line.p, line.len);
    struct edges_config config = {0};
    struct flag_list rest = {0};
    const char *why = text == NULL ? "out of memory" : scenario_parse_load(text, &config, &rest);
    free(text);
    return why;
}

static const char *check_origin(struct span query)
{
    struct origin_options unused = {0};
    struct arena a = {0};
    struct span name = {0};
    const char *why = origin_options_order(&unused, query, &a, &name);
    if (why != NULL)
        fprintf(stderr, "%.*s %s\n", SPAN_FMT(name), why);
    arena_fini(&a);
    return why != NULL ? "these parameters cannot be understood" : NULL;
}

static const char *check_event(enum scenario_event what, struct span rest)
{
    struct span word = scenario_word(&rest);
    bool is_one = span_eq(word, SPAN("url")) || span_eq(word, SPAN("tag"));
    if (what == EVENT_ORIGIN)
        return check_origin(word);
    if (what == EVENT_PURGE && !(is_one && rest.len > 0) && !span_eq(word, SPAN("all")))
        return "purge is followed by url PATH, tag TAG or all";
    if (what == EVENT_RESTART && !span_eq(word, SPAN("TERM")) && !span_eq(word, SPAN("KILL")))
        return "restart is followed by TERM or KILL";
    return NULL;
}

/* ---- one verb each; `rest` is what follows the word */

static const char *take_needs(struct scenario *s, struct span rest)
{
    if (rest.len == 0 || s->needs.n == FLAG_LIST_MAX)
        return "needs one feature";
    s->needs.item[s->needs.n++] = rest;
    return NULL;
}

static const char *add_step(struct scenario *s, enum scenario_verb verb, struct span rest)
{
    if (s->n_steps == SCENARIO_STEPS_MAX)
        return "is one step too many";
    s->steps[s->n_steps].verb = verb;
    s->steps[s->n_steps++].rest = rest;
    return NULL;
}

static const char *take_origin(struct scenario *s, struct span rest)
{
    const char *why = check_origin(rest);
    return why != NULL ? why : add_step(s, VERB_ORIGIN, rest);
}

static const char *take_warm(struct scenario *s, struct span rest)
{
    const char *why = check_load(rest);
    return why != NULL ? why : add_step(s, VERB_WARM, rest);
}

static const char *take_load(struct scenario *s, struct span rest)
{
    for (uint32_t i = 0; i < s->n_steps; i++)
        if (s->steps[i].verb == VERB_LOAD)
            return "there is one load in a scenario; use warm for those before it";
    const char *why = check_load(rest);
    return why != NULL ? why : add_step(s, VERB_LOAD, rest);
}

static const char *take_wait(struct scenario *s, struct span rest)
{
    uint64_t ms;
    if (!units_parse_duration_ms(rest, &ms))
        return "wait needs a time such as 250ms or 2s";
    const char *why = add_step(s, VERB_WAIT, rest);
    if (why == NULL)
        s->steps[s->n_steps - 1].wait_ms = ms;
    return why;
}

static const char *const event_names[] = {[EVENT_ORIGIN] = "origin",
                                          [EVENT_REFUSE] = "refuse",
                                          [EVENT_PURGE] = "purge",
                                          [EVENT_RESTART] = "restart"};

const char *scenario_event_name(enum scenario_event what)
{
    return event_names[what];
}

static const char *take_at(struct scenario *s, struct span rest)
{
    uint64_t at_ms;
    if (!units_parse_duration_ms(scenario_word(&rest), &at_ms))
        return "at needs a time such as 250ms or 2s";
    if (s->n_events == SCENARIO_EVENTS_MAX || (s->n_events > 0 && s->events[s->n_events - 1].at_ms > at_ms))
        return "events stand in the order of their time, at most 32";
    struct span word = scenario_word(&rest);
    for (size_t i = 0; i < ARRAY_LEN(event_names); i++)
        if (span_eq(word, span_of(event_names[i]))) {
            s->events[s->n_events].what = (enum scenario_event)i;
            s->events[s->n_events].at_ms = at_ms;
            if (i == EVENT_REFUSE && !units_parse_duration_ms(rest, &s->events[s->n_events].length_ms))
                return "refuse needs a time such as 250ms or 2s";
            s->events[s->n_events++].rest = rest;
            return check_event((enum scenario_event)i, rest);
        }
    return "at TIME is followed by origin, refuse, purge or restart";
}

static const char *take_gate(struct scenario *s, struct span rest)
{
    struct span name = scenario_word(&rest);
    uint64_t n;
    if (span_eq(name, SPAN("p99")) && units_parse_duration_ms(rest, &n) && n > 0) {
        s->p99_ms = n;
        return NULL;
    }
    static const struct flag real = {.name = "", .type = FLAG_REAL};
    if (span_eq(name, SPAN("fetches-per-epoch")))
        return flags_set(&real, &s->fetches_per_epoch, rest);
    if (span_eq(name, SPAN("fetches")))
        return flags_set(&real, &s->max_fetches, rest);
    if (span_eq(name, SPAN("failed")))
        return flags_set(&real, &s->max_failed, rest);
    if (span_eq(name, SPAN("wrong")))
        return flags_set(&real, &s->max_wrong, rest);
    return "gate is followed by fetches-per-epoch N, fetches N, failed N, wrong N or p99 TIME";
}

static const struct {
    const char *word;
    const char *(*take)(struct scenario *s, struct span rest);
} verbs[] = {
    {"needs", take_needs}, {"origin", take_origin}, {"warm", take_warm}, {"wait", take_wait},
    {"load", take_load},   {"at", take_at},         {"gate", take_gate},
};

/* ---- the whole */

/* "# name - purpose" */
static const char *take_title(struct scenario *s, struct span line)
{
    struct span rest = span_from(line, 1), dash;
    s->name = scenario_word(&rest);
    dash = scenario_word(&rest);
    s->about = rest;
    return line.len > 0 && line.p[0] == '#' && span_eq(dash, SPAN("-")) && rest.len > 0
               ? NULL
               : "the first line is \"# name - purpose\"";
}

static const char *take_line(struct scenario *s, struct span line)
{
    if (line.len == 0 || line.p[0] == '#')
        return NULL;
    struct span rest = line, word = scenario_word(&rest);
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (span_eq(word, span_of(verbs[i].word)))
            return verbs[i].take(s, rest);
    return "begins with none of needs origin warm wait load at gate";
}

const char *scenario_parse(struct scenario *out, struct buf text, uint32_t *line_number)
{
    *out = (struct scenario){
        .text = text, .fetches_per_epoch = -1, .max_fetches = -1, .max_failed = -1, .max_wrong = -1};
    struct span rest = buf_span(&out->text);
    const char *why = NULL;
    for (*line_number = 1; rest.len > 0; ++*line_number) {
        const char *end = memchr(rest.p, '\n', rest.len);
        struct span line = {rest.p, end != NULL ? (size_t)(end - rest.p) : rest.len};
        rest = span_from(rest, line.len + 1);
        line = span_trim(line);
        why = *line_number == 1 ? take_title(out, line) : take_line(out, line);
        if (why != NULL)
            return why;
    }
    if (out->n_steps == 0 || out->steps[out->n_steps - 1].verb != VERB_LOAD)
        return "the last step must be a load";
    return NULL;
}

const char *scenario_load(struct scenario *out, const char *file, uint32_t *line)
{
    struct buf text = {0};
    *out = (struct scenario){0};
    *line = 0;
    FILE *in = fopen(file, "re");
    if (in == NULL)
        return "cannot be read";
    if (buf_reserve(&text, FILE_MAX_BYTES))
        text.len = fread(text.p, 1, FILE_MAX_BYTES, in);
    bool failed = text.failed || ferror(in) || text.len == FILE_MAX_BYTES;
    fclose(in);
    if (!failed)
        return scenario_parse(out, text, line);
    buf_fini(&text);
    return "cannot be read, or is longer than 64 KiB";
}

void scenario_fini(struct scenario *s)
{
    buf_fini(&s->text);
}
