#include "shield/ops/config_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"

enum { MAX_FILE_BYTES = 1 << 20 };

static void put_line(struct loader *l, struct place at, const char *kind, const char *fmt, va_list ap)
{
    char text[1024];
    vsnprintf(text, sizeof text, fmt, ap);
    for (char *p = text; *p != '\0'; p++) /* a key of the file may hold anything; a problem is one line */
        *p = (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p;
    if (at.source != NULL && at.line > 0)
        buf_printf(l->errors, "%s:%u:%u: ", at.source, at.line, at.column);
    else if (at.source != NULL)
        buf_printf(l->errors, "%s: ", at.source);
    buf_printf(l->errors, "%s%s\n", kind, text);
}

void loader_problem(struct loader *l, int err, struct place at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put_line(l, at, "", fmt, ap);
    va_end(ap);
    if (l->err == 0)
        l->err = err;
}

void loader_warning(struct loader *l, struct place at, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put_line(l, at, "warning: ", fmt, ap);
    va_end(ap);
}

static size_t row_of(const struct directive *d)
{
    return (size_t)(d - directives);
}

static struct config_origin *find_origin(struct config *c, struct span name)
{
    for (uint32_t i = 0; i < c->n_origins; i++)
        if (span_eq(span_of(c->origins[i].name), name))
            return &c->origins[i];
    return NULL;
}

struct config_origin *loader_origin(struct loader *l, struct span name, struct place at)
{
    struct config_origin *o = find_origin(l->c, name);
    if (o != NULL)
        return o;
    if (l->c->n_origins == CONFIG_MAX_ORIGINS) {
        loader_problem(l, ERR_RANGE, at, "one origin too many; %d are the most", CONFIG_MAX_ORIGINS);
        return NULL;
    }
    uint32_t i = l->c->n_origins;
    if (config_new_origin(l->c, name) != 0) {
        loader_problem(l, ERR_NOMEM, at, "%s", err_text(ERR_NOMEM));
        return NULL;
    }
    l->origin_places[i] = at;
    return &l->c->origins[i];
}

struct place *loader_slot(struct loader *l, const struct target *t, struct place at, void **base)
{
    size_t group = 0;
    *base = l->c;
    if (t->d->scope == SCOPE_ROUTE) {
        *base = &l->c->routes[t->route];
        return &l->routes[t->route].given[row_of(t->d)];
    }
    if (t->d->scope == SCOPE_ORIGIN) {
        struct config_origin *o = loader_origin(l, t->origin, at);
        if (o == NULL)
            return NULL;
        *base = o;
        group = 1 + (size_t)(o - l->c->origins);
    }
    return &l->given[group * directive_count + row_of(t->d)];
}

void loader_add(struct loader *l, const struct target *t, void *base, struct span text, struct place at)
{
    struct buf why = {0};
    int err = directive_add(t->d, base, text, &why);
    if (err != 0)
        loader_problem(l, err, at, "%.*s", SPAN_FMT(why));
    buf_fini(&why);
}

void loader_add_commas(struct loader *l, const struct target *t, void *base, struct span list,
                       struct place at)
{
    while (list.len > 0) {
        const char *comma = memchr(list.p, ',', list.len);
        size_t n = comma != NULL ? (size_t)(comma - list.p) : list.len;
        loader_add(l, t, base, span_trim((struct span){list.p, n}), at);
        list = span_from(list, n + 1);
    }
}

/* The flags that have no directive's name. Those that repeat replace what the file says at their first, and
 * append from then on. */
static const struct flag {
    const char *name, *directive;
    bool repeats;
} flags[] = {
    {"listen", "listen", true},        {"origin", "origins.default.servers", true},
    {"admin", "admin.address", false}, {"store", "store.path", false},
    {"--workers", "workers", false},
};

/* Where override `o` was written, for messages: "--listen", "--set store.size". */
static struct place place_of_override(struct loader *l, const char *flag, const char *name)
{
    char text[160];
    int n = snprintf(text, sizeof text, "%s%s", flag, name);
    return (struct place){.source = arena_copy(&l->memory, text, MIN((size_t)n, sizeof text - 1))};
}

static void apply_override(struct loader *l, const struct config_override *o, bool *replaced)
{
    const char *name = o->name, *flag = "--set ";
    bool append = false;
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (strcmp(flags[i].name, name) == 0) {
            flag = name[0] == '-' ? "" : "--";
            name = flags[i].directive;
            append = flags[i].repeats && replaced[i];
            replaced[i] = true;
            break;
        }

    struct place at = place_of_override(l, flag, o->name);
    struct target t;
    enum name_kind kind = loader_resolve(span_of(name), &t);
    if (kind != NAME_DIRECTIVE) {
        loader_bad_name(l, kind, span_of(name), at);
        return;
    }
    void *base;
    struct place *given = loader_slot(l, &t, at, &base);
    if (given == NULL)
        return;
    *given = at;
    if (!directive_is_list(t.d)) {
        loader_add(l, &t, base, span_of(o->value), at);
        return;
    }
    if (!append)
        directive_clear(t.d, base);
    loader_add_commas(l, &t, base, span_of(o->value), at);
}

int config_load_text(struct config **out, const char *file, struct span text,
                     const struct config_override *overrides, size_t n, bool needs_origin, struct buf *errors)
{
    struct loader l = {.errors = errors};
    bool replaced[ARRAY_LEN(flags)] = {false};
    l.c = config_new();
    l.given = calloc((1 + CONFIG_MAX_ORIGINS) * directive_count, sizeof *l.given);
    if (l.c == NULL || l.given == NULL) {
        loader_problem(&l, ERR_NOMEM, (struct place){0}, "%s", err_text(ERR_NOMEM));
        goto give_up;
    }
    if (text.p != NULL)
        loader_read_yaml(&l, file, text);
    for (size_t i = 0; i < n; i++)
        apply_override(&l, &overrides[i], replaced);
    if (!l.unread)
        loader_settle_routes(&l);
    if (!l.unread)
        loader_check(&l, needs_origin);
    if (l.err == 0 && config_derive(l.c) != 0)
        loader_problem(&l, ERR_NOMEM, (struct place){0}, "%s", err_text(ERR_NOMEM));
    if (l.err == 0) {
        *out = l.c;
        l.c = NULL;
    }

give_up:
    config_unref(&l.c);
    free(l.given);
    free(l.routes);
    arena_fini(&l.memory);
    return l.err;
}

static int read_all(const char *file, struct buf *text)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int failed = 0;
    for (;;) {
        if (text->len > MAX_FILE_BYTES || !buf_reserve(text, 64 * 1024)) {
            failed = text->failed ? ENOMEM : EFBIG;
            break;
        }
        ssize_t n = read(fd, text->p + text->len, 64 * 1024);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            failed = n < 0 ? errno : 0;
            break;
        }
        text->len += (size_t)n;
    }
    close(fd);
    return failed;
}

static int load_file(struct config **out, const char *file, const struct config_override *overrides, size_t n,
                     bool needs_origin, struct buf *errors)
{
    if (file == NULL)
        return config_load_text(out, NULL, (struct span){NULL, 0}, overrides, n, needs_origin, errors);
    struct buf text = {0};
    int failed = read_all(file, &text);
    int err = ERR_SYSTEM;
    if (failed != 0)
        buf_printf(errors, "%s: cannot be read: %s; a YAML file of at most 1m is expected\n", file,
                   strerror(failed));
    else
        err = config_load_text(out, file, buf_span(&text), overrides, n, needs_origin, errors);
    buf_fini(&text);
    return err;
}

int config_load(struct config **out, const char *file, const struct config_override *overrides, size_t n,
                struct buf *errors)
{
    return load_file(out, file, overrides, n, true, errors);
}

int config_load_for_dump(struct config **out, const char *file, const struct config_override *overrides,
                         size_t n, struct buf *errors)
{
    return load_file(out, file, overrides, n, false, errors);
}
