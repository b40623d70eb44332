#include "bench/origin_conn.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>

#include "bench/commands.h"
#include "bench/sock.h"
#include "common/err.h"
#include "common/http1.h"
#include "common/units.h"

static const char intro[] =
    "usage: shield-bench origin [OPTION]...\n"
    "\n"
    "Simulates an origin: HTTP/1.1 with keep-alive. Every path is an object; its content follows from path "
    "and version\n"
    "(see " BODY_FIELD
    " in each answer), so that `shield-bench run --verify` can check it behind any proxy.\n"
    "How it answers is set by options, and for one request by query parameters of the same names:\n"
    "    /a?size=1m&delay=200ms&drip=2s      /b?status=503&faulty=2      /c?cut=1000      "
    "/d?framing=chunked\n"
    "Control, on the same port, not counted:\n"
    "    /.bench/stats          JSON: fetches, bytes and concurrency in all and for each path (?keys=off: in "
    "all only)\n"
    "    /.bench/reset          forget the counts\n"
    "    /.bench/purged         the caches were purged: all freshness epochs end now\n"
    "    /.bench/refuse?time=2s refuse connections for this time, and cut those that stand\n"
    "    /.bench/defaults?...   change the defaults from now on\n"
    "Prints `ready listen=ADDR` and runs until TERM or INT.\n";

struct origin_config {
    struct span listen;
};

static const struct flag listen_rows[] = {
    {"listen", 'l', FLAG_TEXT, offsetof(struct origin_config, listen), "127.0.0.1:8000", "ADDR",
     "Where to listen: 127.0.0.1:8000, [::]:8000, unix:PATH; port 0 picks a free one."},
};

struct origin_main {
    struct origin_server server;
    struct ev_io listener, signals;
    struct ev_timer outage; /* first it begins, then it ends */
    struct buf name;        /* where it listens: with the port that was picked */
    uint64_t refuse_ms;
};

/* ---- control */

static int control_stats(struct origin_server *s, struct span query, struct buf *text)
{
    origin_stats_put(&s->stats, span_eq(query, SPAN("keys=off")), text);
    return 200;
}

static int control_reset(struct origin_server *s, struct span query, struct buf *text)
{
    origin_stats_reset(&s->stats);
    buf_put_lit(text, "{}\n");
    return 200;
}

static int control_purged(struct origin_server *s, struct span query, struct buf *text)
{
    origin_epochs_end(&s->stats);
    buf_put_lit(text, "{}\n");
    return 200;
}

static int control_defaults(struct origin_server *s, struct span query, struct buf *text)
{
    struct origin_options changed = s->defaults;
    struct span name = {0};
    const char *why = origin_options_order(&changed, arena_span(&s->kept, query), &s->kept, &name);
    if (why != NULL) {
        buf_printf(text, "%.*s %s\n", SPAN_FMT(name), why);
        return 400;
    }
    s->defaults = changed;
    buf_put_lit(text, "{}\n");
    return 200;
}

static int control_refuse(struct origin_server *s, struct span query, struct buf *text)
{
    struct origin_main *m = container_of(s, struct origin_main, server);
    if (!span_starts(query, SPAN("time=")) || !units_parse_duration_ms(span_from(query, 5), &m->refuse_ms)) {
        buf_put_lit(text, "time must be a time such as 250ms, 10s or 1m\n");
        return 400;
    }
    buf_put_lit(text, "{}\n");
    return ev_timer_soon(&s->ev, &m->outage) == 0 ? 200 : 500;
}

static const struct {
    const char *path;
    int (*answer)(struct origin_server *s, struct span query, struct buf *text); /* gives the status */
} controls[] = {
    {"/.bench/stats", control_stats},       {"/.bench/reset", control_reset},
    {"/.bench/purged", control_purged},     {"/.bench/refuse", control_refuse},
    {"/.bench/defaults", control_defaults},
};

int origin_control(struct origin_server *s, const struct http_head *head, struct origin_reply *out)
{
    struct span path = body_path(head->target), query = span_from(head->target, path.len + 1);
    struct buf text = {0};
    int status = 404;
    for (size_t i = 0; i < ARRAY_LEN(controls); i++)
        if (span_eq(path, span_of(controls[i].path)))
            status = controls[i].answer(s, query, &text);
    int err = text.failed ? ERR_NOMEM
                          : origin_reply_text(out, status, "application/json", buf_span(&text),
                                              head->method == METHOD_HEAD, !http1_keep_alive(head));
    buf_fini(&text);
    return err;
}

/* ---- the server */

static void on_connection(struct ev_io *io, uint32_t events)
{
    struct origin_main *m = container_of(io, struct origin_main, listener);
    for (int fd = sock_accept(io->fd); fd >= 0; fd = sock_accept(io->fd))
        origin_conn_open(&m->server, fd);
}

static void on_outage(struct ev_timer *t)
{
    struct origin_main *m = container_of(t, struct origin_main, outage);
    struct ev *ev = &m->server.ev;
    const char *why = NULL;
    if (m->listener.fd >= 0) {
        ev_close(ev, &m->listener);
        origin_conn_close_all(&m->server);
        (void)ev_timer_start(ev, t, ev->now_ns + m->refuse_ms * 1000000);
        return;
    }
    m->listener.fd = sock_listen(buf_span(&m->name), false, &why);
    if (m->listener.fd < 0 || ev_add(ev, &m->listener) != 0) {
        fprintf(stderr, "%.*s: %s\n", SPAN_FMT(buf_span(&m->name)), why != NULL ? why : err_text(ERR_SYSTEM));
        ev_stop(ev);
    }
}

static void on_signal(struct ev_io *io, uint32_t events)
{
    ev_stop(&container_of(io, struct origin_main, signals)->server.ev);
}

static int signals_open(void)
{
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    return signalfd(-1, &ends, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int start(struct origin_main *m)
{
    m->signals = (struct ev_io){.fd = signals_open(), .on_ready = on_signal};
    if (m->signals.fd < 0 || ev_init(&m->server.ev) != 0 || ev_add(&m->server.ev, &m->listener) != 0 ||
        ev_add(&m->server.ev, &m->signals) != 0)
        return ERR_SYSTEM;
    m->outage.on_due = on_outage;
    sock_put_name(&m->name, m->listener.fd);
    printf("ready listen=%.*s\n", SPAN_FMT(buf_span(&m->name)));
    fflush(stdout);
    return 0;
}

static int serve(struct origin_main *m, struct span address)
{
    const char *why = NULL;
    sock_raise_limit();
    list_init(&m->server.conns);
    m->listener = (struct ev_io){.fd = sock_listen(address, false, &why), .on_ready = on_connection};
    if (m->listener.fd < 0) {
        fprintf(stderr, "--listen %.*s: %s\n", SPAN_FMT(address), why);
        return 1;
    }
    int err = start(m);
    if (err != 0) {
        fprintf(stderr, "%s\n", err_text(err));
        return 1;
    }
    ev_run(&m->server.ev);
    origin_conn_close_all(&m->server);
    origin_stats_fini(&m->server.stats);
    if (m->listener.fd >= 0)
        ev_close(&m->server.ev, &m->listener);
    ev_close(&m->server.ev, &m->signals);
    ev_fini(&m->server.ev);
    arena_fini(&m->server.kept);
    buf_fini(&m->name);
    return 0;
}

int command_origin(int argc, char **argv)
{
    struct origin_main *m = calloc(1, sizeof *m);
    if (m == NULL) {
        fprintf(stderr, "%s\n", err_text(ERR_NOMEM));
        return 1;
    }
    struct origin_config config = {0};
    struct flag_list rest = {0};
    const struct flag_group groups[] = {
        {"Options [default]:", FLAGS(listen_rows), &config},
        {"Answers, each also a query parameter [default]:", origin_option_flags(), &m->server.defaults},
    };
    int code = flags_parse(groups, ARRAY_LEN(groups), argc, argv, intro, &rest);
    if (code < 0 && rest.n > 0) {
        fprintf(stderr, "%.*s: origin takes no arguments but options; --help tells more\n",
                SPAN_FMT(rest.item[0]));
        code = 2;
    }
    if (code < 0)
        code = serve(m, config.listen);
    free(m);
    return code;
}
