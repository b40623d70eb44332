/* flags - options as a table: the command line, the simulator's query parameters and --help read the same
 * rows.
 *
 * A row names a field of the caller's struct. Values are spans into argv or into the request; nothing is
 * owned. */
#ifndef BENCH_FLAGS_H
#define BENCH_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/span.h"

#define FLAG_LIST_MAX 32
#define FLAG_NONE     UINT64_MAX /* what "none" gives in a FLAG_BYTES */

enum flag_type {
    FLAG_BOOL,   /* bool: on, off; on the command line no value means on */
    FLAG_UINT,   /* uint64_t */
    FLAG_REAL,   /* double, not negative: 0.9, 200, 5k, 2m */
    FLAG_BYTES,  /* uint64_t: 512, 64k, 1m, or "none" */
    FLAG_MS,     /* uint64_t milliseconds: 250ms, 10s, 1m */
    FLAG_TEXT,   /* struct span */
    FLAG_LIST,   /* struct flag_list: may be repeated */
    FLAG_CHOICE, /* uint64_t: the index of the word in `arg`, which is "one|two|three" */
};

struct flag_list {
    struct span item[FLAG_LIST_MAX];
    uint32_t n;
};

struct flag {
    const char *name; /* without dashes */
    char letter;      /* 0: has none */
    enum flag_type type;
    size_t at;            /* offset of the field */
    const char *fallback; /* set by flags_defaults; NULL leaves the field zero */
    const char *arg;      /* what --help calls the value; the words of a FLAG_CHOICE */
    const char *help;
};

struct flags {
    const struct flag *rows;
    size_t n;
};

#define FLAGS(table) ((struct flags){(table), sizeof(table) / sizeof((table)[0])})

/* Sets every field that has a fallback. The table's own fallbacks must parse (a bug otherwise). */
void flags_defaults(struct flags table, void *into);

/* Sets one field. Returns NULL, or static text: what would be right. */
const char *flags_set(const struct flag *row, void *into, struct span value);

const struct flag *flags_find(struct flags table, struct span name);

/* Rows that fill one struct, under one headline in --help. */
struct flag_group {
    const char *title;
    struct flags table;
    void *into;
};

/* Sets the defaults, then reads argv[1..argc). Positional arguments are collected in `rest`. Returns -1 to go
 * on, or the exit code: 0 after --help (printed with `intro` to stdout), 2 after a wrong argument (told on
 * stderr). */
int flags_parse(const struct flag_group *groups, size_t n_groups, int argc, char **argv, const char *intro,
                struct flag_list *rest);

#endif
