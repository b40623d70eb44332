#include "shield/ops/config_cli.h"

#include <string.h>

#include "common/check.h"
#include "shield/ops/config_load.h"

enum action { OVERRIDE, SET, FILE_NAME, MODE_TEST, MODE_DUMP, MODE_VERSION, MODE_HELP, LATER };

static const struct option {
    const char *name;
    char letter;       /* 0: none */
    const char *value; /* as help shows it; NULL: takes none */
    enum action action;
    const char *override; /* the name for config_load */
    const char *help;
} options[] = {
    {"config", 'c', "FILE", FILE_NAME, NULL, "Read this YAML file; flags win over it."},
    {"listen", 0, "ADDR", OVERRIDE, "listen",
     "Listen here: 127.0.0.1:8080, [::]:8080, :8080, unix:/run/shield.sock; repeatable."},
    {"origin", 0, "URL", OVERRIDE, "origin", "A server of origin 'default': http://host[:port]; repeatable."},
    {"admin", 0, "ADDR", OVERRIDE, "admin", "Address of the admin port."},
    {"store", 0, "DIR", OVERRIDE, "store", "Keep the cache in this directory; without it, in memory."},
    {"workers", 0, "N", OVERRIDE, "--workers", "Event loops, or auto."},
    {"set", 0, "NAME=VALUE", SET, NULL, "Set any directive below, like store.size=2g; lists with commas."},
    {"tls-listen", 0, "ADDR", LATER, NULL, "Not built yet."},
    {"tls-cert", 0, "FILE", LATER, NULL, "Not built yet."},
    {"tls-key", 0, "FILE", LATER, NULL, "Not built yet."},
    {"tls-client-ca", 0, "FILE", LATER, NULL, "Not built yet."},
    {"test", 't', NULL, MODE_TEST, NULL, "Test the configuration and exit."},
    {"dump", 'T', NULL, MODE_DUMP, NULL, "Print the effective configuration as YAML and exit."},
    {"version", 'V', NULL, MODE_VERSION, NULL, "Print the version and exit."},
    {"help", 'h', NULL, MODE_HELP, NULL, "Print this and exit."},
};

struct parser {
    int argc, at; /* the argument in hand */
    char **argv;
    struct cli *out;
    struct buf *errors;
    int err;
    bool asked[MODE_HELP + 1];
};

static void problem(struct parser *p, int err, struct span what, const char *text)
{
    buf_printf(p->errors, "%.*s: %s\n", SPAN_FMT(what), text);
    if (p->err == 0)
        p->err = err;
}

static void add_override(struct parser *p, const char *name, const char *value)
{
    p->out->overrides[p->out->n++] = (struct config_override){name, value};
}

static void add_setting(struct parser *p, struct span shown, const char *value)
{
    const char *equals = strchr(value, '=');
    if (equals == NULL || equals == value) {
        buf_printf(p->errors, "%.*s: '%s': not NAME=VALUE; such as --set store.size=2g\n", SPAN_FMT(shown),
                   value);
        p->err = p->err != 0 ? p->err : ERR_SYNTAX;
        return;
    }
    const char *name = arena_copy(&p->out->memory, value, (size_t)(equals - value));
    if (name == NULL)
        problem(p, ERR_NOMEM, shown, err_text(ERR_NOMEM));
    else
        add_override(p, name, equals + 1);
}

static void apply(struct parser *p, const struct option *o, struct span shown, const char *value)
{
    switch (o->action) {
    case OVERRIDE:
        add_override(p, o->override, value);
        break;
    case SET:
        add_setting(p, shown, value);
        break;
    case FILE_NAME:
        if (p->out->config_file != NULL)
            problem(p, ERR_SYNTAX, shown, "given twice; one file is read");
        p->out->config_file = value;
        break;
    case MODE_TEST:
    case MODE_DUMP:
    case MODE_VERSION:
    case MODE_HELP:
        p->asked[o->action] = true;
        break;
    case LATER:
        problem(p, ERR_SYNTAX, shown, "not built yet; leave it out");
        break;
    }
}

/* `attached` is the value in the same argument, or NULL. */
static void take(struct parser *p, const struct option *o, struct span shown, const char *attached)
{
    if (o->value == NULL) {
        if (attached != NULL)
            problem(p, ERR_SYNTAX, shown, "takes no value");
        else
            apply(p, o, shown, NULL);
        return;
    }
    if (attached == NULL && p->at + 1 == p->argc) {
        buf_printf(p->errors, "%.*s: needs a value; %.*s %s\n", SPAN_FMT(shown), SPAN_FMT(shown), o->value);
        p->err = p->err != 0 ? p->err : ERR_SYNTAX;
        return;
    }
    apply(p, o, shown, attached != NULL ? attached : p->argv[++p->at]);
}

static void unknown_option(struct parser *p, struct span shown)
{
    struct span name = span_from(shown, 2);
    struct target t;
    struct buf text = {0};
    if (shown.len > 2 && shown.len <= CONFIG_MAX_NAME) {
        size_t best = 3;
        const char *near = NULL;
        for (size_t i = 0; i < ARRAY_LEN(options); i++) {
            size_t d = config_distance(name, span_of(options[i].name));
            if (d < best) {
                best = d;
                near = options[i].name;
            }
        }
        if (loader_resolve(name, &t) == NAME_DIRECTIVE)
            buf_printf(&text, "unknown option; did you mean --set %.*s=VALUE?", SPAN_FMT(name));
        else if (near != NULL)
            buf_printf(&text, "unknown option; did you mean --%s?", near);
    }
    if (text.len == 0)
        buf_put_lit(&text, "unknown option; --help lists all");
    buf_put(&text, "", 1);
    problem(p, ERR_SYNTAX, shown, text.failed ? err_text(ERR_NOMEM) : text.p);
    buf_fini(&text);
}

static void take_long(struct parser *p, const char *arg)
{
    const char *equals = strchr(arg, '=');
    struct span shown = {arg, equals != NULL ? (size_t)(equals - arg) : strlen(arg)};
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (span_eq(span_from(shown, 2), span_of(options[i].name))) {
            take(p, &options[i], shown, equals != NULL ? equals + 1 : NULL);
            return;
        }
    unknown_option(p, shown);
}

static void take_short(struct parser *p, const char *arg)
{
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (options[i].letter != 0 && options[i].letter == arg[1]) {
            take(p, &options[i], (struct span){arg, 2}, arg[2] != '\0' ? arg + 2 : NULL);
            return;
        }
    problem(p, ERR_SYNTAX, span_of(arg), "unknown option; --help lists all");
}

static void take_argument(struct parser *p)
{
    const char *arg = p->argv[p->at];
    if (arg[0] == '-' && arg[1] == '-' && arg[2] != '\0')
        take_long(p, arg);
    else if (arg[0] == '-' && arg[1] != '\0' && arg[1] != '-')
        take_short(p, arg);
    else
        problem(p, ERR_SYNTAX, span_of(arg),
                "unexpected argument; every value belongs to a flag, --help lists them");
}

/* Help and version answer whatever else was asked. */
static enum cli_mode settle_mode(struct parser *p)
{
    if (p->asked[MODE_HELP])
        return CLI_HELP;
    if (p->asked[MODE_VERSION])
        return CLI_VERSION;
    if (p->asked[MODE_TEST] && p->asked[MODE_DUMP])
        problem(p, ERR_SYNTAX, SPAN("-t and -T"), "exclude each other");
    return p->asked[MODE_DUMP] ? CLI_DUMP : p->asked[MODE_TEST] ? CLI_TEST : CLI_RUN;
}

int cli_parse(int argc, char **argv, struct cli *out, struct buf *errors)
{
    struct parser p = {.argc = argc, .at = 1, .argv = argv, .out = out, .errors = errors};
    *out = (struct cli){0};
    out->overrides = arena_alloc(&out->memory, (size_t)MAX(argc, 1) * sizeof *out->overrides);
    if (out->overrides == NULL) {
        problem(&p, ERR_NOMEM, SPAN("command line"), err_text(ERR_NOMEM));
        return p.err;
    }
    for (; p.at < argc; p.at++)
        take_argument(&p);
    out->mode = settle_mode(&p);
    return p.err;
}

void cli_fini(struct cli *c)
{
    arena_fini(&c->memory);
    *c = (struct cli){0};
}

void cli_help(struct buf *out)
{
    buf_put_lit(out, "shield - a caching reverse proxy that lets an origin see each miss once\n\n"
                     "  shield --origin http://127.0.0.1:8000\n\nFlags:\n");
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        const struct option *o = &options[i];
        struct buf left = {0};
        if (o->letter != 0)
            buf_printf(&left, "-%c, ", o->letter);
        buf_printf(&left, "--%s", o->name);
        if (o->value != NULL)
            buf_printf(&left, " %s", o->value);
        buf_printf(out, "  %-22.*s  %s\n", SPAN_FMT(left), o->help);
        out->failed |= left.failed;
        buf_fini(&left);
    }
    buf_put_lit(out, "\nDirectives, for --set and for the YAML file (store: { size: 2g } is store.size):\n");
    config_describe(out);
    buf_put_lit(out, "\nSizes: 64k 10m 2g. Times: 250ms 10s 5m 1h 1d 1y. Numbers: 500 100k.\n"
                     "Exit codes: 0 clean, 1 could not run, 2 bad usage or configuration.\n");
}
