/* shieldctl - asks a running shield through its admin port. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "shield/ctl/ctl.h"

static const char default_admin[] = "127.0.0.1:9090";

enum takes { TAKES_NOTHING, TAKES_REQUEST, TAKES_ORDER };

static const struct command {
    const char *name;
    enum ctl_exit (*run)(const struct ctl *c);
    const char *help;
    enum takes takes;
} commands[] = {
    {"stats", ctl_stats, "What it has done so far, and what it holds.", TAKES_NOTHING},
    {"flights", ctl_flights, "The origin fetches that run now, oldest first.", TAKES_NOTHING},
    {"explain", ctl_explain,
     "explain URL [-X METHOD] [-H 'NAME: VALUE']...: what would become of it, and why.", TAKES_REQUEST},
    {"purge", ctl_purge, "purge --url URL... --prefix HOST/PATH... --tag TAG... --host HOST... | --all",
     TAKES_ORDER},
    {"reload", ctl_reload, "Read the configuration file again, all or nothing.", TAKES_NOTHING},
    {"drain", ctl_drain, "Stop: no new connections, and what runs has drain_timeout.", TAKES_NOTHING},
    {"metrics", ctl_metrics, "All metrics, as Prometheus reads them.", TAKES_NOTHING},
    {"ready", ctl_ready, "Whether it takes traffic: exit code 0 when it does, 1 when not.", TAKES_NOTHING},
    {"version", ctl_version, "The versions of this program and of the shield.", TAKES_NOTHING},
};

enum {
    OPT_URL = 256,
    OPT_PREFIX,
    OPT_TAG,
    OPT_HOST,
    OPT_ALL,
    OPT_SOFT,
    OPT_HARD,
    OPT_OVER,
    OPT_REFERENCE,
    OPT_WAIT
};

static const struct option options[] = {
    {"admin", required_argument, NULL, 'a'},
    {"token-file", required_argument, NULL, 't'},
    {"json", no_argument, NULL, 'j'},
    {"method", required_argument, NULL, 'X'},
    {"header", required_argument, NULL, 'H'},
    {"url", required_argument, NULL, OPT_URL},
    {"prefix", required_argument, NULL, OPT_PREFIX},
    {"tag", required_argument, NULL, OPT_TAG},
    {"host", required_argument, NULL, OPT_HOST},
    {"all", no_argument, NULL, OPT_ALL},
    {"soft", no_argument, NULL, OPT_SOFT},
    {"hard", no_argument, NULL, OPT_HARD},
    {"over", required_argument, NULL, OPT_OVER},
    {"reference", required_argument, NULL, OPT_REFERENCE},
    {"wait", no_argument, NULL, OPT_WAIT},
    {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

const char *ctl_own_version(void)
{
    return SHIELD_VERSION;
}

static void print_help(void)
{
    puts("shieldctl [--admin ADDR] [--token-file FILE] [--json] COMMAND\n\n"
         "Asks a running shield through its admin port.\n\nCommands:");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        printf("  %-18s %s\n", commands[i].name, commands[i].help);
    printf(
        "\nOptions:\n"
        "  --admin ADDR       Where the admin port is: 127.0.0.1:9090, [::1]:9090, "
        "unix:/run/shield-admin.sock;\n"
        "                     default %s.\n"
        "  --token-file FILE  Send the first token of this file; like admin.token_file.\n"
        "  --json             Answer in JSON.\n"
        "  -X, --method NAME  Of the request to explain; default GET.\n"
        "  -H, --header LINE  A field of it, as 'Accept-Encoding: br'; as often as needed.\n"
        "  --url URL          Purge this URL, in all variants; this and the next three as often as needed.\n"
        "  --prefix URL       Purge all that begins so: http://HOST/PATH or HOST/PATH.\n"
        "  --tag TAG          Purge what carries it in Surrogate-Key, Cache-Tag or Cache-Groups.\n"
        "  --host HOST        Purge all of a host.\n"
        "  --all              Purge everything.\n"
        "  --soft, --hard     What is purged becomes stale, or is gone (the default without --over).\n"
        "  --over TIME        Paced: each response at a time of its own within 30s, 10m, 1h; soft if not "
        "--hard.\n"
        "  --reference TEXT   A name for this purge: ordered again with the same name it does nothing.\n"
        "  --wait             With --over, end when its time is over.\n"
        "  -V, --version      Print the version of this program and exit.\n"
        "  -h, --help         Print this and exit.\n\n"
        "Exit codes: 0 ok, 1 it could not be done (stderr says why), 2 wrong usage.\n",
        default_admin);
}

static enum ctl_exit usage(const char *what, const char *why)
{
    fprintf(stderr, "shieldctl: %s: %s; shieldctl --help lists what there is\n", what, why);
    return CTL_USAGE;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* What is to be purged. False after saying why not. */
static bool read_order(struct ctl *c, int option, const char *text)
{
    switch (option) {
    case OPT_URL:
        return ctl_order_item(c, "urls", text);
    case OPT_PREFIX:
        return ctl_order_item(c, "prefixes", text);
    case OPT_TAG:
        return ctl_order_item(c, "tags", text);
    case OPT_HOST:
        return ctl_order_item(c, "hosts", text);
    case OPT_ALL:
        return ctl_order_member(c, "all", json_true());
    case OPT_SOFT:
        return ctl_order_member(c, "soft", json_true());
    case OPT_HARD:
        return ctl_order_member(c, "soft", json_false());
    case OPT_OVER:
        return ctl_order_member(c, "over", json_string(text));
    case OPT_REFERENCE:
        return ctl_order_member(c, "reference", json_string(text));
    default:
        c->is_waiting = true;
        return true;
    }
}

/* With -V or -h there is nothing left to do: *done. */
static enum ctl_exit read_options(int argc, char **argv, struct ctl *c, const char **token_file, bool *done)
{
    for (int o; (o = getopt_long(argc, argv, "hVX:H:", options, NULL)) != -1;) {
        if (o >= OPT_URL) {
            if (!read_order(c, o, optarg))
                return CTL_FAILED;
            continue;
        }
        switch (o) {
        case 'a':
            c->admin_text = optarg;
            break;
        case 't':
            *token_file = optarg;
            break;
        case 'j':
            c->json = true;
            break;
        case 'X':
            c->method = optarg;
            break;
        case 'H':
            if (c->n_headers == CTL_HEADERS)
                return usage("-H", "64 fields at most");
            c->headers[c->n_headers++] = optarg;
            break;
        case 'V':
            printf("shieldctl %s\n", ctl_own_version());
            *done = true;
            return CTL_OK;
        case 'h':
            print_help();
            *done = true;
            return CTL_OK;
        default: /* getopt_long has said what is wrong */
            fputs("shieldctl: shieldctl --help lists what there is\n", stderr);
            return CTL_USAGE;
        }
    }
    return CTL_OK;
}

/* What the command takes, and nothing else, has to be there. */
static enum ctl_exit check_words(const struct command *command, int argc, char **argv, struct ctl *c)
{
    int last = optind + (command->takes == TAKES_REQUEST ? 1 : 0);
    if (last >= argc)
        return usage(command->name, "give it a URL");
    if (last + 1 < argc)
        return usage(argv[last + 1], "one word too many");
    if (command->takes != TAKES_REQUEST && (c->method != NULL || c->n_headers > 0))
        return usage(command->name, "-X and -H are for explain");
    if (command->takes != TAKES_ORDER && (c->order != NULL || c->is_waiting))
        return usage(command->name, "--url, --tag and the like are for purge");
    if (command->takes == TAKES_ORDER && c->order == NULL)
        return usage(command->name, "say what: --url, --prefix, --tag, --host or --all");
    c->url = argv[last];
    const char *fault = netaddr_parse(span_of(c->admin_text), &c->admin);
    return fault != NULL ? usage(c->admin_text, fault) : CTL_OK;
}

static enum ctl_exit run(int argc, char **argv, struct ctl *c)
{
    const char *token_file = NULL;
    bool done = false;
    enum ctl_exit result = read_options(argc, argv, c, &token_file, &done);
    if (result != CTL_OK || done)
        return result;
    if (optind == argc)
        return usage("no command", "say what you want to know");
    const struct command *command = find_command(argv[optind]);
    if (command == NULL)
        return usage(argv[optind], "no such command");
    result = check_words(command, argc, argv, c);
    if (result != CTL_OK)
        return result;
    return token_file == NULL || ctl_read_token(c, token_file) ? command->run(c) : CTL_FAILED;
}

int main(int argc, char **argv)
{
    struct ctl c = {.admin_text = default_admin};
    enum ctl_exit result = run(argc, argv, &c);
    if (c.token.p != NULL)
        explicit_bzero(c.token.p, c.token.cap);
    buf_fini(&c.token);
    json_decref(c.order);
    return result;
}
