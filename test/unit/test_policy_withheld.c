#include "test/unit/policy_heads.h"

#include "common/check.h"
#include "shield/policy/withheld.h"

#define FIELDS "X-A: 1\nx-b: 2\nX-A: 3\nSet-Cookie: c\nX-C: 4\n"

static const struct {
    const char *rfc, *lines, *withheld; /* NULL: cannot be kept apart */
} rows[] = {
    {"nothing", "", ""},
    {"9111 5.2.2.4: unqualified", "Cache-Control: no-cache, private\n", ""},
    {"9111 5.2.2.4", "Cache-Control: no-cache=\"x-a\"\n", "X-A: 1\r\nX-A: 3\r\n"},
    {"9111 5.2.2.7", "Cache-Control: private=\"X-B\"\n", "x-b: 2\r\n"},
    {"9111 5.2.2.7: several", "Cache-Control: private=\" x-b ,, X-c\"\n", "x-b: 2\r\nX-C: 4\r\n"},
    {"9111 5.2.2.4: both, in two lines", "Cache-Control: private=\"x-b\"\nCache-Control: no-cache=\"x-c\"\n",
     "x-b: 2\r\nX-C: 4\r\n"},
    {"9111 5.2.2.4: the token form", "Cache-Control: no-cache=x-b\n", "x-b: 2\r\n"},
    {"9111 5.2.2.4: of another name", "Cache-Control: no-cache=\"x-z\"\n", ""},
    {"Set-Cookie", "Cache-Control: no-cache=\"set-cookie\"\n", "Set-Cookie: c\r\n"},
    {"9213 2.1: a targeted field's", "CDN-Cache-Control: private=\"x-b\"\nCache-Control: private=\"x-a\"\n",
     "x-b: 2\r\n"},
    {"another directive's", "Cache-Control: community=\"x-b\", private=\"x-c\"\n", "X-C: 4\r\n"},
    {"9110 7.6.1: what goes no further is nobody's", "Connection: x-b\nCache-Control: private=\"x-b\"\n", ""},
    {"what decisions rest on", "Cache-Control: private=\"vary\"\n", NULL},
    {"what the content is read by", "Cache-Control: no-cache=\"x-a, content-encoding\"\n", NULL},
    {"what is no name", "Cache-Control: private=\"x a\"\n", NULL},
    {"an escape", "Cache-Control: private=\"x\\-a\"\n", NULL},
    {"an open string", "Cache-Control: private=\"x-a\", y=\"z\n", NULL},
    {"too many", "Cache-Control: private=\"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\"\n", NULL},
};

static void test_withheld(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct test_head t;
        struct withheld w;
        struct buf lines = {0}, out = {0};
        buf_printf(&lines, "%s%s", rows[i].lines, FIELDS);
        buf_put(&lines, "", 1);
        const struct http_head *h = response_head(&t, 200, lines.p);
        if (withheld_read(h, &w) != (rows[i].withheld != NULL))
            fail_msg("%s: %u", rows[i].rfc, w.n);
        withheld_put(&out, h);
        if (strcmp(text_of(&out), rows[i].withheld != NULL ? rows[i].withheld : "") != 0)
            fail_msg("%s: %s", rows[i].rfc, text_of(&out));
        buf_fini(&lines);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_withheld)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
