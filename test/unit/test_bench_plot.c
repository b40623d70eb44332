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
    static const struct plot_line line = {"a", points, ARRAY_LEN(points), 0};
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
                assert_true(drawn[i].x >= 0 && drawn[i].x <= 450 && drawn[i].y >= 0 && drawn[i].y <= 240);
                assert_true(i == 0 || (drawn[i].x > drawn[i - 1].x && drawn[i].y < drawn[i - 1].y));
            }
            buf_fini(&svg);
        }
}

static void test_empty_and_flat(void **state)
{
    static const struct plot_point flat[] = {{1, 0}, {2, 0}};
    static const struct plot_line lines[] = {{"none", NULL, 0, 0}, {"flat", flat, 2, 9}};
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

/* Marks stay in the frame, whatever they last; one behind the last value is not drawn. */
static void test_marks(void **state)
{
    static const struct plot_point points[] = {{0, 1}, {10, 2}};
    static const struct plot_line line = {"a", points, 2, 0};
    static const struct plot_mark marks[] = {
        {2, 2, SPAN("line")}, {4, 1000, SPAN("band<")}, {11, 12, SPAN("never")}};
    struct plot p = {
        .title = "", .x_unit = "", .y_unit = "", .lines = &line, .n_lines = 1, .marks = marks, .n_marks = 3};
    struct buf svg = {0};
    plot_put(&svg, &p);
    buf_put(&svg, "", 1);
    assert_non_null(strstr(svg.p, ">line<"));
    assert_non_null(strstr(svg.p, ">band&lt;<"));
    assert_null(strstr(svg.p, "never"));
    const char *band = strstr(svg.p, "<rect x='");
    double x, y, width;
    assert_non_null(band);
    assert_int_equal(sscanf(band, "<rect x='%lf' y='%lf' width='%lf'", &x, &y, &width), 3);
    assert_true(width > 0 && x + width <= 450);
    buf_fini(&svg);
    (void)state;
}

static void test_bars(void **state)
{
    static const struct plot_bar bars[] = {{"all", 0, 0}, {"half", 5, 1}, {"whole", 10, 9}};
    for (size_t n = 1; n <= ARRAY_LEN(bars); n++) {
        struct buf svg = {0};
        plot_put_bars(&svg, "t", bars, n);
        buf_put(&svg, "", 1);
        assert_null(strstr(svg.p, "nan"));
        assert_null(strstr(svg.p, "inf"));
        buf_fini(&svg);
    }
    (void)state;
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
        cmocka_unit_test(test_scales), cmocka_unit_test(test_empty_and_flat), cmocka_unit_test(test_marks),
        cmocka_unit_test(test_bars),   cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
