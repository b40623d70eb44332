#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "shield/policy/key.h"

static const struct {
    const char *why, *host, *path_query, *key, *shown;
} rows[] = {
    {"plain", "example.com", "/a?b=1", "default\nexample.com\n/a?b=1", "//example.com/a?b=1"},
    {"9110 4.2.3: host in any case", "EXAMPLE.Com", "/A?B", "default\nexample.com\n/A?B",
     "//example.com/A?B"},
    {"9110 4.2.3: default port", "example.com:80", "/", "default\nexample.com\n/", "//example.com/"},
    {"9110 4.2.3: empty port", "example.com:", "/", "default\nexample.com\n/", "//example.com/"},
    {"another port", "example.com:8080", "/", "default\nexample.com:8080\n/", "//example.com:8080/"},
    {"a port that ends like it", "example.com:180", "/", "default\nexample.com:180\n/", "//example.com:180/"},
    {"address", "[::1]:80", "/", "default\n[::1]\n/", "//[::1]/"},
    {"address without port", "[::80]", "/", "default\n[::80]\n/", "//[::80]/"},
    {"a trailing dot is kept", "example.com.", "/", "default\nexample.com.\n/", "//example.com./"},
    {"path exactly as sent", "h", "/%7E/../%41//?a=2&a=1", "default\nh\n/%7E/../%41//?a=2&a=1",
     "//h/%7E/../%41//?a=2&a=1"},
    {"an empty query is a query", "h", "/?", "default\nh\n/?", "//h/?"},
    {"HTTP/1.0 without Host", "", "/", "default\n\n/", "///"},
};

static void test_keys(void **state)
{
    static struct config_origin origin = {.name = (char *)"default"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf key = {0}, shown = {0};
        struct http1_target target = {span_of(rows[i].host), span_of(rows[i].path_query)};
        buf_put_lit(&key, "x");
        policy_key(&key, &origin, &target);
        if (strcmp(text_of(&key) + 1, rows[i].key) != 0)
            fail_msg("%s: %s", rows[i].why, text_of(&key));
        policy_key_show(&shown, span_of(rows[i].key));
        assert_string_equal(text_of(&shown), rows[i].shown);
        buf_fini(&key);
        buf_fini(&shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_keys)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
