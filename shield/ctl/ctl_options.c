#include "shield/ctl/ctl_options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/units.h"

static const char default_admin[] = "127.0.0.1:9090";

/* What a command takes; an option has a bit of those that take it. */
enum {
    WORD_URL = 1,
    WORD_FILE = 2,
    REQUEST = 4,
    ORDER = 8,
    DEPLOY = 16,
    PACE = 32,
    WAIT = 64,
    SCREEN = 128,
    MODE = 256
};

static const struct ctl_command commands[] = {
    {"stats", "", ctl_stats, "What it has done so far, and what it holds.", 0},
    {"top", "", ctl_top, "The same as rates, again and again; q or Ctrl-C ends it.", SCREEN},
    {"flights", "", ctl_flights, "The origin fetches that run now, oldest first.", 0},
    {"explain", "URL", ctl_explain, "What would become of a request, and why.", WORD_URL | REQUEST},
    {"purge", "", ctl_purge, "Purge what is named; in force when it returns.", ORDER | MODE | WAIT},
    {"warm", "FILE", ctl_warm,
     "Fetch what is not stored: a URL a line, JSON or a sitemap (also its URL); - is stdin.",
     WORD_FILE | PACE | WAIT},
    {"deploy", "", ctl_deploy, "Purge, then warm, and wait for its end.", DEPLOY | MODE | PACE},
    {"reload", "", ctl_reload, "Read the configuration file again, all or nothing.", 0},
    {"drain", "", ctl_drain, "Stop: no new connections, and what runs has drain_timeout.", 0},
    {"metrics", "", ctl_metrics, "All metrics, as Prometheus reads them.", 0},
    {"ready", "", ctl_ready, "Whether it takes traffic: exit code 0 when it does, 1 when not.", 0},
    {"version", "", ctl_version, "The versions of this program and of the shield.", 0},
};

enum code {
    OPT_ADMIN = 256,
    OPT_TOKEN_FILE,
    OPT_JSON,
    OPT_URL,
    OPT_PREFIX,
    OPT_TAG,
    OPT_HOST,
    OPT_ALL,
    OPT_SOFT,
    OPT_HARD,
    OPT_OVER,
    OPT_REFERENCE,
    OPT_WARM,
    OPT_PACE,
    OPT_WAIT,
    OPT_INTERVAL,
    OPT_COUNT = 'n',
    OPT_METHOD = 'X',
    OPT_HEADER = 'H',
    OPT_VERSION = 'V',
    OPT_HELP = 'h',
};

static const struct opt {
    const char *name, *arg; /* arg NULL: it has none */
    int code;
    unsigned takes; /* 0: any command takes it */
    const char *help;
} opts[] = {
    {"admin", "ADDR", OPT_ADMIN, 0,
     "Where the admin port is: 127.0.0.1:9090 (the default), unix:/run/shield.sock."},
    {"token-file", "FILE", OPT_TOKEN_FILE, 0, "Send the first token of this file; like admin.token_file."},
    {"json", NULL, OPT_JSON, 0, "Answer in JSON."},
    {"method", "NAME", OPT_METHOD, REQUEST, "Of the request to explain; default GET."},
    {"header", "LINE", OPT_HEADER, REQUEST, "A field of it, as 'Accept-Encoding: br'; as often as needed."},
    {"url", "URL", OPT_URL, ORDER,
     "Purge this URL, in all variants; this and the next three as often as needed."},
    {"prefix", "URL", OPT_PREFIX, ORDER, "Purge all that begins so: http://HOST/PATH or HOST/PATH."},
    {"tag", "TAG", OPT_TAG, ORDER, "Purge what carries it in Surrogate-Key, Cache-Tag or Cache-Groups."},
    {"host", "HOST", OPT_HOST, ORDER, "Purge all of a host."},
    {"all", NULL, OPT_ALL, ORDER, "Purge everything."},
    {"purge-url", "URL", OPT_URL, DEPLOY, "Purge this URL; this and the next three as often as needed."},
    {"purge-prefix", "URL", OPT_PREFIX, DEPLOY, "Purge all that begins so."},
    {"purge-tag", "TAG", OPT_TAG, DEPLOY, "Purge what carries it."},
    {"purge-host", "HOST", OPT_HOST, DEPLOY, "Purge all of a host."},
    {"purge-all", NULL, OPT_ALL, DEPLOY, "Purge everything."},
    {"soft", NULL, OPT_SOFT, MODE, "What is purged becomes stale."},
    {"hard", NULL, OPT_HARD, MODE, "What is purged is gone (the default without --over)."},
    {"over", "TIME", OPT_OVER, ORDER,
     "Paced: each response at a time of its own within 30s, 10m, 1h; soft if not --hard."},
    {"reference", "TEXT", OPT_REFERENCE, MODE,
     "A name for this purge: ordered again with the same name it does nothing."},
    {"warm", "FILE", OPT_WARM, DEPLOY,
     "Then fetch these: a URL a line, JSON or a sitemap (also its URL); - is stdin."},
    {"pace", "N", OPT_PACE, PACE, "Requests a second; default 50."},
    {"wait", NULL, OPT_WAIT, WAIT, "End when it is over: warming, or the time of --over."},
    {"count", "N", OPT_COUNT, SCREEN, "End after so many looks; without it, at q."},
    {"interval", "TIME", OPT_INTERVAL, SCREEN, "Between two looks; default 1s."},
    {"version", NULL, OPT_VERSION, 0, "Print the version of this program and exit."},
    {"help", NULL, OPT_HELP, 0, "Print this, or what stands before it takes, and exit."},
};

const char *ctl_own_version(void)
{
    return SHIELD_VERSION;
}

/* ---- help ---- */

static void print_option(const struct opt *o)
{
    char name[40];
    if (o->code < 256)
        snprintf(name, sizeof name, "-%c, --%s %s", o->code, o->name, o->arg != NULL ? o->arg : "");
    else
        snprintf(name, sizeof name, "--%s %s", o->name, o->arg != NULL ? o->arg : "");
    printf("  %-22s %s\n", name, o->help);
}

/* The options of `takes`, or those that any command takes. */
static void print_options(unsigned takes)
{
    for (size_t i = 0; i < ARRAY_LEN(opts); i++)
        if (takes != 0 ? (opts[i].takes & takes) != 0 : opts[i].takes == 0)
            print_option(&opts[i]);
}

static void print_general_help(void)
{
    puts("shieldctl [--admin ADDR] [--token-file FILE] [--json] COMMAND\n\n"
         "Asks a running shield through its admin port.\n\nCommands:");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        char name[40];
        snprintf(name, sizeof name, "%s %s", commands[i].name, commands[i].words);
        printf("  %-14s %s\n", name, commands[i].help);
    }
    puts("\nOptions (shieldctl COMMAND --help lists the command's own):");
    print_options(0);
    puts("\nExit codes: 0 ok, 1 it could not be done (stderr says why), 2 wrong usage.");
}

static void print_help(const struct ctl_command *command)
{
    if (command == NULL) {
        print_general_help();
        return;
    }
    printf("shieldctl %s%s%s [OPTION]...\n\n%s\n", command->name, command->words[0] != '\0' ? " " : "",
           command->words, command->help);
    if (command->takes != 0) {
        puts("\nOptions:");
        print_options(command->takes);
    }
    puts("\nOptions of any command:");
    print_options(0);
}

/* ---- reading ---- */

static enum ctl_exit usage(const char *what, const char *why)
{
    fprintf(stderr, "shieldctl: %s: %s; shieldctl --help lists what there is\n", what, why);
    return CTL_USAGE;
}

static const struct ctl_command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static enum ctl_exit read_number(const char *option, const char *text, uint64_t max, uint64_t *out)
{
    if (units_parse_uint(span_of(text), out) && *out >= 1 && *out <= max)
        return CTL_OK;
    return usage(option, "write a whole number from 1 on");
}

/* What is to be purged. */
static enum ctl_exit read_order(struct ctl *c, int code, const char *text)
{
    static const char *const lists[] = {
        [OPT_URL - OPT_URL] = "urls",
        [OPT_PREFIX - OPT_URL] = "prefixes",
        [OPT_TAG - OPT_URL] = "tags",
        [OPT_HOST - OPT_URL] = "hosts",
    };
    bool ok = code <= OPT_HOST   ? ctl_order_item(c, lists[code - OPT_URL], text)
              : code == OPT_ALL  ? ctl_order_member(c, "all", json_true())
              : code == OPT_SOFT ? ctl_order_member(c, "soft", json_true())
              : code == OPT_HARD ? ctl_order_member(c, "soft", json_false())
              : code == OPT_OVER ? ctl_order_member(c, "over", json_string(text))
                                 : ctl_order_member(c, "reference", json_string(text));
    return ok ? CTL_OK : CTL_FAILED;
}

static enum ctl_exit read_interval(struct ctl *c, const char *text)
{
    if (units_parse_duration_ms(span_of(text), &c->interval_ms) && c->interval_ms >= 100)
        return CTL_OK;
    return usage("--interval", "write 1s, 500ms or 1m; at least 100ms");
}

static enum ctl_exit read_option(struct ctl *c, int code, const char *text)
{
    if (code >= OPT_URL && code <= OPT_REFERENCE)
        return read_order(c, code, text);
    switch (code) {
    case OPT_ADMIN:
        c->admin_text = text;
        break;
    case OPT_TOKEN_FILE:
        c->token_file = text;
        break;
    case OPT_JSON:
        c->json = true;
        break;
    case OPT_METHOD:
        c->method = text;
        break;
    case OPT_HEADER:
        if (c->n_headers == CTL_HEADERS)
            return usage("-H", "64 fields at most");
        c->headers[c->n_headers++] = text;
        break;
    case OPT_WARM:
        c->list_file = text;
        break;
    case OPT_PACE:
        return read_number("--pace", text, UINT32_MAX, &c->pace);
    case OPT_COUNT:
        return read_number("-n", text, UINT32_MAX, &c->looks);
    case OPT_INTERVAL:
        return read_interval(c, text);
    default: /* OPT_WAIT */
        c->is_waiting = true;
        break;
    }
    return CTL_OK;
}

/* Who takes what was given to a command that does not: the first one. */
static enum ctl_exit refuse_option(const struct ctl_command *command, const struct opt *o)
{
    static const char *const told[] = {"-X and -H are for explain",
                                       "--url, --tag and the like are for purge",
                                       "--warm, --purge-tag and the like are for deploy",
                                       "--pace is for warm and deploy",
                                       "--wait and the like are for purge and warm",
                                       "--count and --interval are for top",
                                       "--soft, --hard and --reference are for purge and deploy"};
    size_t i = 0;
    while (o->takes >> (i + 3) != 0)
        i++;
    return usage(command->name, told[i]);
}

/* What the command takes, and nothing else, has to be there. */
static enum ctl_exit check_words(const struct ctl_command *command, int argc, char **argv, struct ctl *c)
{
    bool has_word = (command->takes & (WORD_URL | WORD_FILE)) != 0;
    int last = optind + (has_word ? 1 : 0);
    if (last >= argc)
        return usage(command->name,
                     command->takes & WORD_URL ? "give it a URL" : "give it a FILE, or - for stdin");
    if (last + 1 < argc)
        return usage(argv[last + 1], "one word too many");
    if ((command->takes & ORDER) && c->order == NULL)
        return usage(command->name, "say what: --url, --prefix, --tag, --host or --all");
    if ((command->takes & DEPLOY) && c->order == NULL && c->list_file == NULL)
        return usage(command->name, "say what: --purge-tag and the like, --warm FILE, or both");
    if (has_word && (command->takes & WORD_URL))
        c->url = argv[last];
    else if (has_word)
        c->list_file = argv[last];
    const char *fault = netaddr_parse(span_of(c->admin_text), &c->admin);
    return fault != NULL ? usage(c->admin_text, fault) : CTL_OK;
}

static void fill_long_options(struct option *out)
{
    for (size_t i = 0; i < ARRAY_LEN(opts); i++)
        out[i] = (struct option){.name = opts[i].name,
                                 .has_arg = opts[i].arg != NULL ? required_argument : no_argument,
                                 .val = opts[i].code};
    out[ARRAY_LEN(opts)] = (struct option){0};
}

static const struct opt *find_short(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(opts); i++)
        if (opts[i].code == code)
            return &opts[i];
    return NULL;
}

/* All options into *c; those that only some commands take are noted in given[], in the order of opts. */
static enum ctl_exit read_options(int argc, char **argv, struct ctl *c, bool *given)
{
    struct option longs[ARRAY_LEN(opts) + 1];
    fill_long_options(longs);
    for (int code, at = -1; (code = getopt_long(argc, argv, "hVX:H:n:", longs, &at)) != -1; at = -1) {
        const struct opt *o = at >= 0 ? &opts[at] : find_short(code);
        if (code == '?' || o == NULL) { /* getopt_long has said what is wrong */
            fputs("shieldctl: shieldctl --help lists what there is\n", stderr);
            return CTL_USAGE;
        }
        given[o - opts] = true;
        if (code == OPT_HELP || code == OPT_VERSION)
            continue;
        enum ctl_exit result = read_option(c, code, optarg);
        if (result != CTL_OK)
            return result;
    }
    return CTL_OK;
}

/* Whether -h or -V is all that is wanted. */
static bool answer_at_once(const bool *given, const struct ctl_command *command)
{
    bool wants_help = given[find_short(OPT_HELP) - opts];
    bool wants_version = given[find_short(OPT_VERSION) - opts];
    if (wants_help)
        print_help(command);
    else if (wants_version)
        printf("shieldctl %s\n", ctl_own_version());
    return wants_help || wants_version;
}

enum ctl_exit ctl_read_options(int argc, char **argv, struct ctl *c, const struct ctl_command **out)
{
    bool given[ARRAY_LEN(opts)] = {false};
    *out = NULL;
    c->admin_text = default_admin;
    c->interval_ms = 1000;
    enum ctl_exit result = read_options(argc, argv, c, given);
    if (result != CTL_OK)
        return result;
    const struct ctl_command *command = optind < argc ? find_command(argv[optind]) : NULL;
    if (optind < argc && command == NULL)
        return usage(argv[optind], "no such command");
    if (answer_at_once(given, command))
        return CTL_OK;
    if (command == NULL)
        return usage("no command", "say what you want to know");
    for (size_t i = 0; i < ARRAY_LEN(opts); i++)
        if (given[i] && opts[i].takes != 0 && (opts[i].takes & command->takes) == 0)
            return refuse_option(command, &opts[i]);
    result = check_words(command, argc, argv, c);
    if (result == CTL_OK)
        *out = command;
    return result;
}
