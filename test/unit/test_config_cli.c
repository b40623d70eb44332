#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "common/check.h"
#include "shield/ops/config_cli.h"
#include "shield/ops/config_table.h"

enum { MAX_ARGS = 16 };

static int parse(const char *const *args, struct cli *out, struct buf *errors)
{
    char *argv[MAX_ARGS + 1] = {(char *)"shield"};
    int argc = 1;
    for (; args[argc - 1] != NULL; argc++) {
        assert_true(argc < MAX_ARGS);
        argv[argc] = (char *)args[argc - 1];
    }
    return cli_parse(argc, argv, out, errors);
}

static const struct {
    const char *args[MAX_ARGS];
    enum cli_mode mode;
    const char *file;
    struct config_override overrides[8];
} good[] = {
    {{NULL}, CLI_RUN, NULL, {{0}}},
    {{"--origin", "http://a", "--origin=http://b"},
     CLI_RUN,
     NULL,
     {{"origin", "http://a"}, {"origin", "http://b"}}},
    {{"-c", "f", "-t"}, CLI_TEST, "f", {{0}}},
    {{"-cf", "-T"}, CLI_DUMP, "f", {{0}}},
    {{"--config", "f", "--test"}, CLI_TEST, "f", {{0}}},
    {{"--config=f=g", "--dump"}, CLI_DUMP, "f=g", {{0}}},
    {{"-V"}, CLI_VERSION, NULL, {{0}}},
    {{"--version", "--help"}, CLI_HELP, NULL, {{0}}},
    {{"-h", "-t", "-T"}, CLI_HELP, NULL, {{0}}},
    {{"--listen", ":1", "--admin", ":2", "--store", "/s", "--workers", "3", "--listen=:4"},
     CLI_RUN,
     NULL,
     {{"listen", ":1"}, {"admin", ":2"}, {"store", "/s"}, {"--workers", "3"}, {"listen", ":4"}}},
    {{"--set", "store.size=2g", "--set=origins.default.head_timeout=2s", "--set", "hosts=a,b=c", "--set",
      "node.name="},
     CLI_RUN,
     NULL,
     {{"store.size", "2g"}, {"origins.default.head_timeout", "2s"}, {"hosts", "a,b=c"}, {"node.name", ""}}},
    {{"--store", "-t"}, CLI_RUN, NULL, {{"store", "-t"}}}, /* a value may look like a flag */
    {{"--store="}, CLI_RUN, NULL, {{"store", ""}}},
};

static void test_good(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct cli c;
        struct buf errors = {0};
        if (parse(good[i].args, &c, &errors) != 0)
            fail_msg("row %zu: %.*s", i, SPAN_FMT(errors));
        assert_int_equal(c.mode, good[i].mode);
        if (good[i].file != NULL)
            assert_string_equal(c.config_file, good[i].file);
        else
            assert_null(c.config_file);
        size_t n = 0;
        for (; good[i].overrides[n].name != NULL; n++) {
            assert_true(n < c.n);
            assert_string_equal(c.overrides[n].name, good[i].overrides[n].name);
            assert_string_equal(c.overrides[n].value, good[i].overrides[n].value);
        }
        assert_int_equal(c.n, n);
        cli_fini(&c);
        buf_fini(&errors);
    }
}

static const struct {
    const char *args[MAX_ARGS];
    const char *errors;
} bad[] = {
    {{"--listen"}, "--listen: needs a value; --listen ADDR\n"},
    {{"-c"}, "-c: needs a value; -c FILE\n"},
    {{"-c", "a", "-c", "b"}, "-c: given twice; one file is read\n"},
    {{"--lisen", "x"},
     "--lisen: unknown option; did you mean --listen?\n"
     "x: unexpected argument; every value belongs to a flag, --help lists them\n"},
    {{"--store.size=2g"}, "--store.size: unknown option; did you mean --set store.size=VALUE?\n"},
    {{"--quite-unknown"}, "--quite-unknown: unknown option; --help lists all\n"},
    {{"-x"}, "-x: unknown option; --help lists all\n"},
    {{"-tT"}, "-t: takes no value\n"},
    {{"--test=yes"}, "--test: takes no value\n"},
    {{"-t", "-T"}, "-t and -T: exclude each other\n"},
    {{"--set", "store.size"}, "--set: 'store.size': not NAME=VALUE; such as --set store.size=2g\n"},
    {{"--set", "=2g"}, "--set: '=2g': not NAME=VALUE; such as --set store.size=2g\n"},
    {{"shield.yaml"}, "shield.yaml: unexpected argument; every value belongs to a flag, --help lists them\n"},
    {{"-"}, "-: unexpected argument; every value belongs to a flag, --help lists them\n"},
    {{"--"}, "--: unexpected argument; every value belongs to a flag, --help lists them\n"},
    {{""}, ": unexpected argument; every value belongs to a flag, --help lists them\n"},
    {{"--tls-listen", ":1", "--tls-cert=c", "--tls-key", "k", "--tls-client-ca", "a"},
     "--tls-listen: not built yet; leave it out\n"
     "--tls-cert: not built yet; leave it out\n"
     "--tls-key: not built yet; leave it out\n"
     "--tls-client-ca: not built yet; leave it out\n"},
};

static void test_bad(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct cli c;
        struct buf errors = {0};
        if (parse(bad[i].args, &c, &errors) != ERR_SYNTAX ||
            !span_eq(buf_span(&errors), span_of(bad[i].errors)))
            fail_msg("%.*s--- not:\n%s", SPAN_FMT(errors), bad[i].errors);
        cli_fini(&c);
        buf_fini(&errors);
    }
}

static void test_to_config(void **state)
{
    static const char *const args[] = {"--origin",     "http://a:81", "--set",
                                       "store.ram=8m", "--workers=2", NULL};
    struct cli c;
    struct config *cfg = NULL;
    struct buf errors = {0};
    assert_int_equal(parse(args, &c, &errors), 0);
    assert_int_equal(config_load(&cfg, c.config_file, c.overrides, c.n, &errors), 0);
    assert_int_equal(cfg->origins[0].servers[0].port, 81);
    assert_int_equal(cfg->store_ram, 8u << 20);
    assert_int_equal(cfg->workers, 2);
    config_unref(&cfg);
    cli_fini(&c);
    buf_fini(&errors);
}

static void test_help(void **state)
{
    static const char *const flags[] = {"--listen ADDR", "--origin URL",  "--admin ADDR",      "--store DIR",
                                        "--workers N",   "--set NAME",    "-c, --config FILE", "-t, --test",
                                        "-T, --dump",    "-V, --version", "-h, --help"};
    struct buf out = {0};
    cli_help(&out);
    buf_put(&out, "", 1);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        assert_non_null(strstr(out.p, flags[i]));
    for (size_t i = 0; i < directive_count; i++)
        assert_non_null(strstr(out.p, directives[i].help));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_to_config),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
