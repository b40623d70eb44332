#include <stdio.h>

#include <uv.h>

#include "shield/ops/config_cli.h"
#include "shield/ops/privileges.h"
#include "shield/service.h"

static void print(FILE *to, struct buf *text)
{
    if (text->len > 0)
        fwrite(text->p, 1, text->len, to);
    buf_fini(text);
}

static int help(void)
{
    struct buf text = {0};
    cli_help(&text);
    print(stdout, &text);
    return 0;
}

static int version(void)
{
    printf("shield %s (libuv %s)\n", SHIELD_VERSION, uv_version_string());
    return 0;
}

static int dump(const struct cli *cli)
{
    struct buf text = {0}, errors = {0};
    struct config *config = NULL;
    int err = config_load_for_dump(&config, cli->config_file, cli->overrides, cli->n, &errors);
    print(stderr, &errors);
    if (err != 0)
        return 2;
    config_dump(config, &text);
    print(stdout, &text);
    config_unref(&config);
    return 0;
}

static int load(const struct cli *cli, struct config **out)
{
    struct buf errors = {0};
    int err = config_load(out, cli->config_file, cli->overrides, cli->n, &errors);
    if (err == 0)
        err = config_read_tokens(*out, &errors);
    if (err == 0)
        err = privileges_check((*out)->user, &errors);
    if (err != 0)
        config_unref(out);
    print(stderr, &errors);
    return err == 0 ? 0 : 2;
}

static int test(const struct cli *cli)
{
    struct config *config = NULL;
    int code = load(cli, &config);
    if (code == 0)
        fprintf(stderr, "configuration is good\n");
    config_unref(&config);
    return code;
}

static int run(const struct cli *cli)
{
    struct config *config = NULL;
    int code = load(cli, &config);
    return code != 0 ? code : service_run(config, cli);
}

int main(int argc, char **argv)
{
    struct cli cli = {0};
    struct buf errors = {0};
    int code = 2;
    if (cli_parse(argc, argv, &cli, &errors) != 0) {
        buf_put_lit(&errors, "try: shield --help\n");
        print(stderr, &errors);
    } else {
        switch (cli.mode) {
        case CLI_HELP:
            code = help();
            break;
        case CLI_VERSION:
            code = version();
            break;
        case CLI_DUMP:
            code = dump(&cli);
            break;
        case CLI_TEST:
            code = test(&cli);
            break;
        case CLI_RUN:
            code = run(&cli);
            break;
        }
    }
    cli_fini(&cli);
    return code;
}
