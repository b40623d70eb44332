#include "bench/commands.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"

static const struct {
    const char *name, *what;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"origin", "simulate an origin that counts what it is asked for", command_origin},
    {"run", "play the edges: load a URL, measure, verify every body", command_run},
    {"compare", "play scenarios against proxies: shield, nginx, varnish and others", command_compare},
    {"get", "print what one URL answers: for scripts", command_get},
    {"start", "become a server, and measure when it first answers", command_start},
    {"demo", "show the main job: 1,000 clients, one fetch, nothing lost at SIGKILL", command_demo},
};

static void help(FILE *out)
{
    fputs("usage: shield-bench COMMAND [OPTION]...\n\n"
          "Plays both sides of an HTTP cache, the edges and the origin, and shows what the proxy between "
          "them does.\n\n",
          out);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].what);
    fputs("\nshield-bench COMMAND --help tells more. Also: --version, --help.\n"
          "Exit codes: 0 all well, 1 could not run or something did not hold, 2 bad usage.\n",
          out);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    const char *word = argc > 1 ? argv[1] : "";
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        help(stdout);
        return 0;
    }
    if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
        puts("shield-bench " SHIELD_VERSION);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(word, commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    if (word[0] != '\0')
        fprintf(stderr, "shield-bench: %s is not a command\n", word);
    help(stderr);
    return 2;
}
