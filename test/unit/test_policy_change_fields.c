#include "shield/policy/change_fields.h"

#include "common/check.h"
#include "shield/policy/forward.h"
#include "test/unit/policy_heads.h"

static struct config_pair set_items[] = {{(char *)"X-Set", (char *)"1"},
                                         {(char *)"authorization", (char *)"Basic eA=="}};
static struct config_pair add_items[] = {{(char *)"X-Add", (char *)"2"}};
static char *remove_items[] = {(char *)"x-gone"};
static const struct config_pairs set = {set_items, 2}, add = {add_items, 1};
static const struct config_texts removed = {remove_items, 1};
static const struct field_changes changes = {&set, &add, &removed};

static void test_response(void **state)
{
    struct test_head t;
    struct http_head changed;
    struct arena a = {0};
    struct buf out = {0};
    const struct http_head *h =
        response_head(&t, 200, "A: a\nx-set: 0\nX-Gone: b\nX-Add: 1\nX-SET: 9\nVary: A\nx-GONE: c\n");
    assert_int_equal(policy_change_fields(&changed, h, &changes, &a), 0);
    policy_put_block(&out, &changed);
    assert_string_equal(text_of(&out), "HTTP/1.1 200 OK\r\nA: a\r\nX-Add: 1\r\nVary: A\r\nX-Set: 1\r\n"
                                       "authorization: Basic eA==\r\nX-Add: 2\r\n");
    assert_true(http_has(&changed, FIELD_VARY) && http_has(&changed, FIELD_AUTHORIZATION));
    buf_fini(&out);
    arena_fini(&a);
}

static void test_nothing_to_change(void **state)
{
    struct field_changes none = {0};
    struct config cfg = policy_config();
    struct field_changes of_fallback = policy_response_changes(&cfg.fallback);
    assert_false(field_changes_drop(&none, SPAN("A")));
    assert_false(field_changes_any(&of_fallback));
}

/* What the route sets goes upstream even where a client's would not: it is the same for everyone. */
static void test_request(void **state)
{
    struct test_head t;
    struct config cfg = policy_config();
    struct buf out = {0};
    cfg.fallback.request_set = set;
    cfg.fallback.request_add = add;
    cfg.fallback.request_remove = removed;
    struct forward_request r = {
        .head = request_head(&t, "GET", "Authorization: Bearer client\nX-Gone: 1\nX-Set: 0\nA: a\n"),
        .mode = FORWARD_SHARED,
        .method = SPAN("GET"),
        .host = SPAN("h"),
        .path_query = SPAN("/"),
        .route = &cfg.fallback,
    };
    policy_forward_request(&out, &cfg, &r);
    const char *text = text_of(&out);
    assert_non_null(strstr(text, "\r\nA: a\r\n"));
    assert_null(strstr(text, "client"));
    assert_null(strstr(text, "X-Gone"));
    assert_null(strstr(text, "X-Set: 0"));
    assert_non_null(strstr(text, "\r\nX-Set: 1\r\nauthorization: Basic eA==\r\nX-Add: 2\r\n\r\n"));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_response),
                                       cmocka_unit_test(test_nothing_to_change),
                                       cmocka_unit_test(test_request)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
