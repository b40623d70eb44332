#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "shield/policy/upgrade.h"

static char *allowed[] = {(char *)"websocket", (char *)"irc"};
static const struct config_route route = {.upgrade = {allowed, ARRAY_LEN(allowed)}};
static const struct config_route closed_route;

#define C "Connection: upgrade\n"

static const struct {
    const char *rfc, *lines, *wanted; /* NULL: none */
} requests[] = {
    {"9110 7.8", C "Upgrade: websocket\n", "websocket"},
    {"9110 7.8: any case", "Connection: UPGRADE\nUpgrade: WebSocket\n", "websocket"},
    {"9110 7.8: the first that is allowed", C "Upgrade: h2c, irc, websocket\n", "irc"},
    {"9110 7.8: lines are one list", C "Upgrade: h2c\nUpgrade: websocket\n", "websocket"},
    {"9110 7.8: named among others", "Connection: keep-alive, Upgrade\nUpgrade: irc\n", "irc"},
    {"9110 7.8: not named in Connection", "Upgrade: websocket\n", NULL},
    {"9110 7.8: nor there", "Connection: upgrades\nUpgrade: websocket\n", NULL},
    {"9110 7.8: named without the field", C, NULL},
    {"9110 7.8: empty", C "Upgrade: \n", NULL},
    {"a version is part of the name", C "Upgrade: websocket/13\n", NULL},
    {"a part of a name is another", C "Upgrade: websocke, websockets, web socket\n", NULL},
    {"a string is no token", C "Upgrade: \"websocket\"\n", NULL},
    {"another", C "Upgrade: h2c\n", NULL},
};

static void test_wanted(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct test_head t = {.head = {.method = METHOD_GET, .minor = 1}};
        struct span p = {"", 0};
        add_lines(&t, requests[i].lines);
        bool wanted = upgrade_wanted(&route, &t.head, &p);
        if (wanted != (requests[i].wanted != NULL) ||
            (wanted ? !span_eq(p, span_of(requests[i].wanted)) : p.len != 0))
            fail_msg("%s: '%.*s'", requests[i].rfc, SPAN_FMT(p));
        assert_false(upgrade_wanted(&closed_route, &t.head, &p));
        t.head.minor = 0;
        assert_false(upgrade_wanted(&route, &t.head, &p));
        t.head.minor = 1;
        t.head.method = METHOD_HEAD;
        assert_false(upgrade_wanted(&route, &t.head, &p));
    }
}

static const struct {
    const char *rfc, *lines;
    bool granted;
} answers[] = {
    {"9110 15.2.2", C "Upgrade: websocket\n", true},
    {"9110 15.2.2: any case", C "Upgrade: WEBSOCKET\n", true},
    {"another", C "Upgrade: irc\n", false},
    {"one more", C "Upgrade: websocket, irc\n", false},
    {"one more in a line of its own", C "Upgrade: websocket\nUpgrade: websocket\n", false},
    {"none", C, false},
    {"empty", C "Upgrade:\n", false},
    {"not named in Connection", "Upgrade: websocket\n", false},
    {"9110 8.6", C "Upgrade: websocket\nContent-Length: 0\n", false},
    {"9112 6.1", C "Upgrade: websocket\nTransfer-Encoding: chunked\n", false},
};

static void test_granted(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        struct test_head t;
        response_head(&t, 101, answers[i].lines);
        if (upgrade_is_granted(&t.head, SPAN("websocket")) != answers[i].granted)
            fail_msg("%s", answers[i].rfc);
        t.head.minor = 0;
        assert_false(upgrade_is_granted(&t.head, SPAN("websocket")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_wanted), cmocka_unit_test(test_granted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
