#include "bench/origin_conn.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>

#include "bench/commands.h"
#include "bench/sock.h"
#include "common/err.h"
#include "common/http1.h"

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
    "    /.bench/defaults?...   change the defaults from now on\n"
    "Prints `ready listen=ADDR` and runs until TERM or INT.\n";

struct origin_config {
    struct span listen;
};

static const struct flag listen_rows[] = {
    {"listen", 'l', FLAG_TEXT, offsetof(struct origin_config, listen), "127.0.0.1:8000", "ADDR",
     "Where to listen: 127.0.0.1:8000, [::]:8000, unix:PATH; port 0 picks a free one."},
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

static int control_defaults(struct origin_server *s, struct span query, struct buf *text)
{
    struct origin_options changed = s->defaults;
    struct span name = {0};
    const char *why = origin_options_query(&changed, arena_span(&s->kept, query), &s->kept, &name);
    if (why != NULL) {
        buf_printf(text, "%.*s %s\n", SPAN_FMT(name), why);
        return 400;
    }
    s->defaults = changed;
    buf_put_lit(text, "{}\n");
    return 200;
}

static const struct {
    const char *path;
    int (*answer)(struct origin_server *s, struct span query, struct buf *text); /* gives the status */
} controls[] = {
    {"/.bench/stats", control_stats},
    {"/.bench/reset", control_reset},
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

struct origin_main {
    struct origin_server server;
    struct ev_io listener, signals;
};

static void on_connection(struct ev_io *io, uint32_t events)
{
    struct origin_main *m = container_of(io, struct origin_main, listener);
    for (int fd = sock_accept(io->fd); fd >= 0; fd = sock_accept(io->fd))
        origin_conn_open(&m->server, fd);
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
    struct buf name = {0};
    sock_put_name(&name, m->listener.fd);
    printf("ready listen=%.*s\n", SPAN_FMT(buf_span(&name)));
    fflush(stdout);
    buf_fini(&name);
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
    ev_close(&m->server.ev, &m->listener);
    ev_close(&m->server.ev, &m->signals);
    ev_fini(&m->server.ev);
    arena_fini(&m->server.kept);
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
