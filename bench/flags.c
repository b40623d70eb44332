#include "bench/flags.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/units.h"

static void *field(const struct flag *row, void *into)
{
    return (char *)into + row->at;
}

static bool take_choice(const char *words, struct span value, uint64_t *out)
{
    struct span rest = span_of(words);
    for (uint64_t i = 0;; i++) {
        const char *bar = memchr(rest.p, '|', rest.len);
        struct span word = {rest.p, bar != NULL ? (size_t)(bar - rest.p) : rest.len};
        if (span_eq(word, value)) {
            *out = i;
            return true;
        }
        if (bar == NULL)
            return false;
        rest = span_from(rest, word.len + 1);
    }
}

static const char *take_bool(struct span value, bool *out)
{
    bool on = span_eq(value, SPAN("on")) || span_eq(value, SPAN("1"));
    if (!on && !span_eq(value, SPAN("off")) && !span_eq(value, SPAN("0")))
        return "must be on or off";
    *out = on;
    return NULL;
}

static const char *take_bytes(struct span value, uint64_t *out)
{
    if (span_eq(value, SPAN("none"))) {
        *out = FLAG_NONE;
        return NULL;
    }
    return units_parse_bytes(value, out) ? NULL : "must be a size such as 512, 64k or 1m";
}

static const char *take_real(struct span value, double *out)
{
    char text[32], *end = text;
    snprintf(text, sizeof text, "%.*s", SPAN_FMT(value));
    double v = strtod(text, &end);
    if (end != text && (*end == 'k' || *end == 'm'))
        v *= *end++ == 'k' ? 1e3 : 1e6;
    if (value.len == 0 || value.len >= sizeof text || *end != '\0' || !(v >= 0 && v < 1e15))
        return "must be a number such as 2, 0.9 or 5k";
    *out = v;
    return NULL;
}

static const char *add_to_list(struct span value, struct flag_list *list)
{
    if (list->n == FLAG_LIST_MAX)
        return "is given too often";
    list->item[list->n++] = value;
    return NULL;
}

const char *flags_set(const struct flag *row, void *into, struct span value)
{
    void *at = field(row, into);
    switch (row->type) {
    case FLAG_BOOL:
        return take_bool(value, at);
    case FLAG_UINT:
        return units_parse_uint(value, at) ? NULL : "must be a number";
    case FLAG_REAL:
        return take_real(value, at);
    case FLAG_BYTES:
        return take_bytes(value, at);
    case FLAG_MS:
        return units_parse_duration_ms(value, at) ? NULL : "must be a time such as 250ms, 10s or 1m";
    case FLAG_TEXT:
        *(struct span *)at = value;
        return NULL;
    case FLAG_LIST:
        return add_to_list(value, at);
    case FLAG_CHOICE:
        return take_choice(row->arg, value, at) ? NULL : "is not one of the words that --help lists";
    }
    return "has no type";
}

void flags_defaults(struct flags table, void *into)
{
    for (size_t i = 0; i < table.n; i++) {
        const struct flag *row = &table.rows[i];
        if (row->fallback != NULL) {
            const char *why = flags_set(row, into, span_of(row->fallback));
            REQUIRE(why == NULL);
        }
    }
}

const struct flag *flags_find(struct flags table, struct span name)
{
    for (size_t i = 0; i < table.n; i++)
        if (span_eq(span_of(table.rows[i].name), name))
            return &table.rows[i];
    return NULL;
}

static const struct flag *find_letter(struct flags table, char letter)
{
    for (size_t i = 0; i < table.n; i++)
        if (table.rows[i].letter == letter)
            return &table.rows[i];
    return NULL;
}

static void help_row(const struct flag *row)
{
    enum { COLUMN = 34 };
    char left[120];
    snprintf(left, sizeof left, "%c%c%s--%s %s", row->letter ? '-' : ' ', row->letter ? row->letter : ' ',
             row->letter ? ", " : "  ", row->name, row->arg != NULL ? row->arg : "");
    if (strlen(left) > COLUMN)
        printf("  %s\n  %-*s %s", left, COLUMN, "", row->help);
    else
        printf("  %-*s %s", COLUMN, left, row->help);
    if (row->fallback != NULL && row->fallback[0] != '\0' && row->type != FLAG_BOOL)
        printf(" [%s]", row->fallback);
    else if (row->fallback != NULL && row->type == FLAG_BOOL)
        printf(" on|off [%s]", row->fallback);
    putchar('\n');
}

static void help(const struct flag_group *groups, size_t n_groups, const char *intro)
{
    fputs(intro, stdout);
    for (size_t g = 0; g < n_groups; g++) {
        printf("\n%s\n", groups[g].title);
        for (size_t i = 0; i < groups[g].table.n; i++)
            help_row(&groups[g].table.rows[i]);
    }
}

static int complain(struct span arg, const char *why)
{
    fprintf(stderr, "%.*s %s; --help tells more\n", SPAN_FMT(arg), why);
    return 2;
}

/* One argument as it is taken apart. */
struct argument {
    const struct flag *row; /* NULL: not an option */
    void *into;
    struct span name, value; /* value.p NULL: in the next argument */
};

static void look_up(struct argument *a, const struct flag_group *groups, size_t n_groups)
{
    bool is_long = a->name.len > 1 && a->name.p[1] == '-';
    for (size_t g = 0; g < n_groups && a->row == NULL; g++) {
        a->row = is_long ? flags_find(groups[g].table, span_from(a->name, 2))
                         : find_letter(groups[g].table, a->name.p[1]);
        a->into = groups[g].into;
    }
}

static struct argument split(struct span arg)
{
    struct argument a = {.name = arg};
    if (arg.p[1] != '-') {
        a.name.len = 2;
        if (arg.len > 2)
            a.value = span_from(arg, 2);
        return a;
    }
    const char *equals = memchr(arg.p, '=', arg.len);
    if (equals != NULL) {
        a.name.len = (size_t)(equals - arg.p);
        a.value = span_from(arg, a.name.len + 1);
    }
    return a;
}

/* Takes argv[0] and, where it needs it, argv[1]; gives how many, or 0 after telling what is wrong. */
static int take(const struct flag_group *groups, size_t n_groups, char **argv, int left)
{
    struct argument a = split(span_of(argv[0]));
    look_up(&a, groups, n_groups);
    int used = 1;
    const char *why = NULL;
    if (a.row == NULL)
        why = "is not an option";
    else if (a.value.p == NULL && a.row->type == FLAG_BOOL)
        a.value = SPAN("on");
    else if (a.value.p == NULL && left < 2)
        why = "needs a value";
    else if (a.value.p == NULL)
        a.value = span_of(argv[1]), used = 2;

    if (why == NULL)
        why = flags_set(a.row, a.into, a.value);
    if (why != NULL && a.row != NULL && a.row->type == FLAG_CHOICE && a.value.p != NULL)
        fprintf(stderr, "%.*s must be one of %s\n", SPAN_FMT(a.name), a.row->arg);
    else if (why != NULL)
        complain(a.name, why);
    return why == NULL ? used : 0;
}

int flags_parse(const struct flag_group *groups, size_t n_groups, int argc, char **argv, const char *intro,
                struct flag_list *rest)
{
    for (size_t g = 0; g < n_groups; g++)
        flags_defaults(groups[g].table, groups[g].into);
    for (int i = 1; i < argc;) {
        struct span arg = span_of(argv[i]);
        if (span_eq(arg, SPAN("--help")) || span_eq(arg, SPAN("-h"))) {
            help(groups, n_groups, intro);
            return 0;
        }
        if (arg.len < 2 || arg.p[0] != '-') {
            const char *why = add_to_list(arg, rest);
            if (why != NULL)
                return complain(arg, why);
            i++;
            continue;
        }
        int used = take(groups, n_groups, argv + i, argc - i);
        if (used == 0)
            return 2;
        i += used;
    }
    return -1;
}
