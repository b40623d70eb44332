#include "shield/ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "shield/ctl/ctl_show.h"

enum { LOOK_EVERY_MS = 200, LOOKS_A_LINE = 50, READ_BYTES = 64 * 1024 };

/* ---- the list ---- */

static bool say_unread(const char *path)
{
    fprintf(stderr, "shieldctl: %s: %s; give a file with a URL a line, JSON or a sitemap\n", path,
            strerror(errno));
    return false;
}

static bool is_url(const char *text)
{
    return strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0;
}

/* The order for a sitemap that the shield is to fetch itself. */
static bool put_sitemap(const char *url, struct buf *out)
{
    json_t *order = json_pack("{s:s}", "sitemap", url);
    char *text = order != NULL ? json_dumps(order, JSON_COMPACT) : NULL;
    if (text != NULL)
        buf_put_span(out, span_of(text));
    else
        fprintf(stderr, "shieldctl: %s: no UTF-8; write it percent-encoded\n", url);
    free(text);
    json_decref(order);
    return text != NULL && !out->failed;
}

/* All of `path`, or of stdin for "-", or the order for a URL. False after saying why not. */
static bool read_list(const char *path, struct buf *out)
{
    if (is_url(path))
        return put_sitemap(path, out);
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(path, "re");
    if (f == NULL)
        return say_unread(path);
    size_t n = 1;
    while (n > 0 && buf_reserve(out, READ_BYTES)) {
        n = fread(out->p + out->len, 1, READ_BYTES, f);
        out->len += n;
    }
    bool ok = !ferror(f) && !out->failed;
    if (!ok)
        say_unread(path);
    if (!is_stdin)
        fclose(f);
    return ok;
}

/* ---- progress ---- */

static void put_counts(struct buf *out, const json_t *s)
{
    static const char *const names[] = {"stored", "fresh", "uncacheable", "failed"};
    buf_printf(out, "warm %" PRId64 ": %" PRId64 " of %" PRId64, show_int(s, "id"), show_int(s, "done"),
               show_int(s, "urls"));
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        buf_printf(out, "%s%" PRId64 " %s", i == 0 ? ": " : ", ", show_int(s, names[i]), names[i]);
}

/* Over itself on a terminal; elsewhere a line now and then, for a log. */
static void show_progress(const json_t *s, unsigned look)
{
    struct buf line = {0};
    bool is_terminal = isatty(STDERR_FILENO);
    if (!is_terminal && look % LOOKS_A_LINE != 0)
        return;
    put_counts(&line, s);
    if (!line.failed)
        fprintf(stderr, is_terminal ? "\r%.*s\033[K" : "%.*s\n", SPAN_FMT(buf_span(&line)));
    buf_fini(&line);
}

static void say_failures(const struct ctl *c, const json_t *s)
{
    const json_t *list = show_find(s, "failures");
    if (isatty(STDERR_FILENO))
        fputs("\r\033[K", stderr);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *f = json_array_get(list, i);
        struct buf line = {0};
        show_put_text(&line, span_of(show_text(f, "url")));
        buf_put_lit(&line, ": ");
        show_put_text(&line, span_of(show_text(f, "why")));
        if (show_int(f, "status") != 0)
            buf_printf(&line, " (status %" PRId64 ")", show_int(f, "status"));
        fprintf(stderr, "shieldctl: %.*s\n", SPAN_FMT(buf_span(&line)));
        buf_fini(&line);
    }
    if (json_is_true(show_find(s, "cancelled")))
        fprintf(stderr, "shieldctl: %s: warming was cancelled before its end; give the list again\n",
                c->admin_text);
}

/* How it stood at the end; NULL after saying why that is not known. */
static json_t *wait_for_end(const struct ctl *c, int64_t id)
{
    char target[40];
    snprintf(target, sizeof target, "/warm/%" PRId64, id);
    for (unsigned look = 1;; look++) {
        json_t *s = ctl_get_json(c, target);
        if (s == NULL || !json_is_true(show_find(s, "running")))
            return s;
        show_progress(s, look);
        json_decref(s);
        nanosleep(&(struct timespec){.tv_nsec = LOOK_EVERY_MS * 1000000}, NULL);
    }
}

/* ---- the order ---- */

/* The answer to the order; NULL after saying why there is none. */
static json_t *begin(const struct ctl *c, struct span list)
{
    char target[40] = "/warm";
    struct ctl_answer a = {0};
    json_t *said = NULL;
    if (c->pace > 0)
        snprintf(target, sizeof target, "/warm?pace=%" PRIu64, c->pace);
    if (ctl_post(c, target, list, &a)) {
        if (a.status == 202)
            said = json_loadb(a.body.p, a.body.len, 0, NULL);
        if (!json_is_integer(show_find(said, "warm"))) {
            ctl_say_refusal(c, "/warm", &a);
            json_decref(said);
            said = NULL;
        }
    }
    buf_fini(&a.body);
    return said;
}

json_t *ctl_warm_list(const struct ctl *c, bool waits)
{
    struct buf list = {0};
    json_t *said = read_list(c->list_file, &list) ? begin(c, buf_span(&list)) : NULL;
    buf_fini(&list);
    if (said == NULL || !waits)
        return said;
    json_t *end = wait_for_end(c, show_int(said, "warm"));
    json_decref(said);
    if (end != NULL)
        say_failures(c, end);
    return end;
}

bool ctl_warm_is_well(const json_t *end)
{
    return show_int(end, "failed") == 0 && !json_is_true(show_find(end, "cancelled"));
}

void ctl_warm_put(struct buf *out, const json_t *s)
{
    if (json_is_integer(show_find(s, "warm")))
        buf_printf(out, "warm %" PRId64 ": %" PRId64 " begun", show_int(s, "warm"), show_int(s, "urls"));
    else
        put_counts(out, s);
    buf_put_lit(out, "\n");
}

enum ctl_exit ctl_warm(const struct ctl *c)
{
    json_t *s = ctl_warm_list(c, c->is_waiting);
    struct buf out = {0};
    if (s == NULL)
        return CTL_FAILED;
    if (!c->json)
        ctl_warm_put(&out, s);
    enum ctl_exit result = c->json ? ctl_print_json(s) : ctl_print(&out);
    if (result == CTL_OK && c->is_waiting && !ctl_warm_is_well(s))
        result = CTL_FAILED;
    json_decref(s);
    return result;
}
