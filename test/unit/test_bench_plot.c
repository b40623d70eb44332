/* Plots: what cannot be drawn is left out, nothing leaves the frame, text cannot break out of its place. */
#include "bench/plot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/check.h"

/* The points of the first line; gives their number. */
static size_t points_of(struct buf *svg, struct plot_point *out, size_t cap)
{
    buf_put(svg, "", 1);
    const char *at = strstr(svg->p, "points='");
    size_t n = 0;
    assert_non_null(at);
    at += strlen("points='");
    while (*at != '\'' && n < cap) {
        char *end;
        out[n].x = strtod(at, &end);
        assert_int_equal(*end, ',');
        out[n].y = strtod(end + 1, &end);
        n++;
        at = end + strspn(end, " ");
    }
    return n;
}

static void test_scales(void **state)
{
    static const struct plot_point points[] = {{0, 0}, {50, 1}, {90, 10}, {99, 100}, {100, 1000}};
    static const struct plot_line line = {"a", points, ARRAY_LEN(points)};
    for (int x = PLOT_LINEAR; x <= PLOT_TAIL; x++)
        for (int y = PLOT_LINEAR; y <= PLOT_LOG; y++) {
            struct plot p = {.title = "",
                             .x_unit = "",
                             .y_unit = "",
                             .x_scale = (enum plot_scale)x,
                             .y_scale = (enum plot_scale)y,
                             .lines = &line,
                             .n_lines = 1};
            struct plot_point drawn[8];
            struct buf svg = {0};
            plot_put(&svg, &p);
            size_t n = points_of(&svg, drawn, ARRAY_LEN(drawn));
            assert_int_equal(n, ARRAY_LEN(points) - (x == PLOT_LOG || y == PLOT_LOG));
            for (size_t i = 0; i < n; i++) {
                assert_true(drawn[i].x >= 0 && drawn[i].x <= 620 && drawn[i].y >= 0 && drawn[i].y <= 240);
                assert_true(i == 0 || (drawn[i].x > drawn[i - 1].x && drawn[i].y < drawn[i - 1].y));
            }
            buf_fini(&svg);
        }
}

static void test_empty_and_flat(void **state)
{
    static const struct plot_point flat[] = {{1, 0}, {2, 0}};
    static const struct plot_line lines[] = {{"none", NULL, 0}, {"flat", flat, 2}};
    for (int y = PLOT_LINEAR; y <= PLOT_LOG; y++)
        for (size_t n = 0; n <= 2; n++) {
            struct plot p = {.title = "",
                             .x_unit = "",
                             .y_unit = "",
                             .y_scale = (enum plot_scale)y,
                             .lines = lines,
                             .n_lines = n};
            struct buf svg = {0};
            plot_put(&svg, &p);
            buf_put(&svg, "", 1);
            assert_null(strstr(svg.p, "nan"));
            assert_null(strstr(svg.p, "inf"));
            buf_fini(&svg);
        }
}

static void test_text(void **state)
{
    struct buf out = {0};
    plot_put_text(&out, SPAN("a<b>&\"c\""));
    assert_true(span_eq(buf_span(&out), SPAN("a&lt;b&gt;&amp;&quot;c&quot;")));
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_empty_and_flat),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
