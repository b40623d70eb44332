/* shieldctl - asks a running shield through its admin port. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "shield/ctl/ctl.h"

static const char default_admin[] = "127.0.0.1:9090";

static const struct command {
    const char *name;
    enum ctl_exit (*run)(const struct ctl *c);
    const char *help;
    bool takes_url;
} commands[] = {
    {"stats", ctl_stats, "What it has done so far, and what it holds.", false},
    {"flights", ctl_flights, "The origin fetches that run now, oldest first.", false},
    {"explain", ctl_explain,
     "explain URL [-X METHOD] [-H 'NAME: VALUE']...: what would become of it, and why.", true},
    {"metrics", ctl_metrics, "All metrics, as Prometheus reads them.", false},
    {"ready", ctl_ready, "Whether it takes traffic: exit code 0 when it does, 1 when not.", false},
    {"version", ctl_version, "The versions of this program and of the shield.", false},
};

static const struct option options[] = {
    {"admin", required_argument, NULL, 'a'},  {"token-file", required_argument, NULL, 't'},
    {"json", no_argument, NULL, 'j'},         {"method", required_argument, NULL, 'X'},
    {"header", required_argument, NULL, 'H'}, {"version", no_argument, NULL, 'V'},
    {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
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
    printf("\nOptions:\n"
           "  --admin ADDR       Where the admin port is: 127.0.0.1:9090, [::1]:9090, "
           "unix:/run/shield-admin.sock;\n"
           "                     default %s.\n"
           "  --token-file FILE  Send the first token of this file; like admin.token_file.\n"
           "  --json             Answer in JSON.\n"
           "  -X, --method NAME  Of the request to explain; default GET.\n"
           "  -H, --header LINE  A field of it, as 'Accept-Encoding: br'; as often as needed.\n"
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

/* With -V or -h there is nothing left to do: *done. */
static enum ctl_exit read_options(int argc, char **argv, struct ctl *c, const char **token_file, bool *done)
{
    for (int o; (o = getopt_long(argc, argv, "hVX:H:", options, NULL)) != -1;) {
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

int main(int argc, char **argv)
{
    struct ctl c = {.admin_text = default_admin};
    const char *token_file = NULL;
    bool done = false;
    enum ctl_exit result = read_options(argc, argv, &c, &token_file, &done);
    if (result != CTL_OK || done)
        return result;
    if (optind == argc)
        return usage("no command", "say what you want to know");
    const struct command *command = find_command(argv[optind]);
    if (command == NULL)
        return usage(argv[optind], "no such command");
    int last = optind + (command->takes_url ? 1 : 0);
    if (last >= argc)
        return usage(command->name, "give it a URL");
    if (last + 1 < argc)
        return usage(argv[last + 1], "one word too many");
    if (!command->takes_url && (c.method != NULL || c.n_headers > 0))
        return usage(command->name, "-X and -H are for explain");
    c.url = argv[last];
    const char *fault = netaddr_parse(span_of(c.admin_text), &c.admin);
    if (fault != NULL)
        return usage(c.admin_text, fault);
    result = token_file == NULL || ctl_read_token(&c, token_file) ? command->run(&c) : CTL_FAILED;
    if (c.token.p != NULL)
        explicit_bzero(c.token.p, c.token.cap);
    buf_fini(&c.token);
    return result;
}
