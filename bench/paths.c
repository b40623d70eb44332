#include "bench/paths.h"

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench/paths_time.h"
#include "common/check.h"
#include "common/err.h"

/* The path of a target: "/a?b", or of an absolute URL; p is NULL when it is neither. */
static struct span path_of(struct span target)
{
    const char *scheme = target.len > 0 ? memmem(target.p, target.len, "://", 3) : NULL;
    if (scheme != NULL && target.p[0] != '/') {
        target = span_from(target, (size_t)(scheme - target.p) + 3);
        const char *slash = memchr(target.p, '/', target.len);
        target = slash != NULL ? span_from(target, (size_t)(slash - target.p)) : SPAN("/");
    }
    if (target.len == 0 || target.p[0] != '/')
        return (struct span){0};
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.p[i] <= ' ' || target.p[i] == 0x7F || target.p[i] == '#')
            return (struct span){0};
    return target;
}

/* "GET /a HTTP/1.1" */
static struct span path_of_request_line(struct span line)
{
    size_t method = span_starts(line, SPAN("GET ")) ? 4 : span_starts(line, SPAN("HEAD ")) ? 5 : 0;
    struct span target = span_from(line, method);
    const char *end = method > 0 && target.len > 0 ? memchr(target.p, ' ', target.len) : NULL;
    if (end == NULL)
        return (struct span){0};
    return path_of((struct span){target.p, (size_t)(end - target.p)});
}

/* ... "GET /a HTTP/1.1" 200 ... */
static struct span path_of_nginx(struct span line)
{
    const char *quote = memchr(line.p, '"', line.len);
    return quote != NULL ? path_of_request_line(span_from(line, (size_t)(quote - line.p) + 1))
                         : (struct span){0};
}

static struct span text_of(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return (struct span){json_string_value(value), json_is_string(value) ? json_string_length(value) : 0};
}

static struct span path_of_json(const json_t *object)
{
    static const char *const methods[] = {"method", "request_method"};
    static const char *const targets[] = {"request_uri", "uri", "target", "path", "url"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        struct span method = text_of(object, methods[i]);
        if (method.len > 0 && !span_eq(method, SPAN("GET")) && !span_eq(method, SPAN("HEAD")))
            return (struct span){0};
    }
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct span target = text_of(object, targets[i]);
        if (target.len > 0)
            return path_of(target);
    }
    return path_of_request_line(text_of(object, "request"));
}

static int grow(struct paths *p)
{
    size_t cap = MAX((size_t)1024, p->cap * 2);
    struct span *path = realloc(p->path, cap * sizeof *path);
    if (path == NULL)
        return ERR_NOMEM;
    p->path = path;
    uint64_t *at_ms = realloc(p->at_ms, cap * sizeof *at_ms);
    if (at_ms == NULL)
        return ERR_NOMEM;
    p->at_ms = at_ms;
    p->cap = cap;
    return 0;
}

static int add(struct paths *p, struct span path, uint64_t at_ms)
{
    if (path.p == NULL) {
        p->skipped++;
        return 0;
    }
    if (p->n == p->cap && grow(p) != 0)
        return ERR_NOMEM;
    p->has_times |= at_ms != PATHS_NO_TIME;
    p->at_ms[p->n] = at_ms;
    p->path[p->n] = arena_span(&p->text, path);
    return p->path[p->n++].p != NULL ? 0 : ERR_NOMEM;
}

int paths_add_line(struct paths *p, struct span line)
{
    line = span_trim(line);
    if (line.len == 0 || line.p[0] == '#')
        return 0;
    if (line.p[0] == '{') {
        json_t *object = json_loadb(line.p, line.len, 0, NULL);
        int err = add(p, path_of_json(object), paths_time_of_json(object));
        json_decref(object);
        return err;
    }
    if (memchr(line.p, '"', line.len) != NULL)
        return add(p, path_of_nginx(line), paths_time_of_nginx(line));
    return add(p, path_of(line), PATHS_NO_TIME);
}

/* Lines of one whole second, evenly over it. */
static void spread(struct paths *p)
{
    for (size_t from = 0, to; from < p->n; from = to) {
        for (to = from + 1; to < p->n && p->at_ms[to] == p->at_ms[from]; to++)
            ;
        for (size_t i = from; i < to; i++)
            p->at_ms[i] += (i - from) * 1000 / (to - from);
    }
}

const char *paths_replay(struct paths *p)
{
    bool whole_seconds = true;
    uint64_t first = PATHS_NO_TIME, latest = 0;
    if (!p->has_times)
        return "the file of --targets has no times that could be replayed";
    for (size_t i = 0; i < p->n; i++) {
        if (p->at_ms[i] != PATHS_NO_TIME && first == PATHS_NO_TIME)
            first = latest = p->at_ms[i];
        if (p->at_ms[i] != PATHS_NO_TIME) {
            latest = MAX(latest, p->at_ms[i]); /* logs are written when requests end */
            whole_seconds &= p->at_ms[i] % 1000 == 0;
        }
        p->at_ms[i] = first == PATHS_NO_TIME ? 0 : latest - first;
    }
    if (whole_seconds)
        spread(p);
    return NULL;
}

const char *paths_load(struct paths *p, struct span file)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%.*s", SPAN_FMT(file));
    FILE *in = fopen(name, "re");
    if (in == NULL)
        return "the file of --targets cannot be read";
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    int err = 0;
    while (err == 0 && (n = getline(&line, &cap, in)) > 0) {
        size_t len = (size_t)n - (line[n - 1] == '\n');
        err = paths_add_line(p, (struct span){line, len - (len > 0 && line[len - 1] == '\r')});
    }
    bool failed = ferror(in);
    free(line);
    fclose(in);
    if (err != 0)
        return err_text(err);
    return failed      ? "the file of --targets cannot be read"
           : p->n == 0 ? "the file of --targets names no target of a GET or HEAD"
                       : NULL;
}

void paths_fini(struct paths *p)
{
    free(p->path);
    free(p->at_ms);
    arena_fini(&p->text);
    *p = (struct paths){0};
}
