#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/metrics.h"

static struct config *cfg;
static struct metrics_slot *slots[2];

static void render(struct buf *out)
{
    out->len = 0;
    metrics_render(out, cfg);
    buf_put(out, "", 1);
    assert_false(out->failed);
}

/* The value of a whole series; fails when it is not there exactly once. */
static double value_of(const char *page, const char *series)
{
    char start[256];
    snprintf(start, sizeof start, "\n%s ", series);
    const char *at = strstr(page, start);
    if (at == NULL)
        fail_msg("no series %s", series);
    assert_null(strstr(at + 1, start));
    return strtod(at + strlen(start), NULL);
}

static void check_value(const char *page, const char *series, double expected)
{
    double v = value_of(page, series);
    if (v != expected)
        fail_msg("%s is %g, not %g", series, v, expected);
}

static int set_up(void **state)
{
    static const struct config_override origins[] = {{"origin", "http://a"},
                                                     {"origins.b.servers", "http://b"}};
    struct buf errors = {0};
    if (config_load(&cfg, NULL, origins, 2, &errors) != 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(slots); i++)
        if ((slots[i] = metrics_slot_new()) == NULL)
            return -1;
    return 0;
}

static int tear_down(void **state)
{
    config_unref(&cfg);
    return 0;
}

/* Alerts need a series before its first event: every value of every closed label set is there, at 0. */
static void test_all_series_at_zero(void **state)
{
    struct buf page = {0};
    char series[160];
    render(&page);
#define X(id, type, name, help) check_value(page.p, name, 0);
    PLAIN_METRICS(X)
#undef X
#define X(id, name)                                                       \
    check_value(page.p, "shield_requests_total{result=\"" name "\"}", 0); \
    check_value(page.p, "shield_request_duration_seconds_count{result=\"" name "\"}", 0);
    REQUEST_RESULTS(X)
#undef X
#define X(id, name) check_value(page.p, "shield_waiter_fates_total{fate=\"" name "\"}", 0);
    WAITER_FATES(X)
#undef X
#define X(id, name) check_value(page.p, "shield_misses_total{reason=\"" name "\"}", 0);
    MISS_REASONS(X)
#undef X
#define X(id, name)                 \
    if (PASSED_##id != PASSED_NONE) \
        check_value(page.p, "shield_passes_total{reason=\"" name "\"}", 0);
    PASS_REASONS(X)
#undef X
#define X(id, name)                   \
    if (REFUSED_##id != REFUSED_NONE) \
        check_value(page.p, "shield_refusals_total{reason=\"" name "\"}", 0);
    REFUSAL_REASONS(X)
#undef X
#define X(id, name) check_value(page.p, "shield_limit_reached_total{limit=\"" name "\"}", 0);
    LIMITS(X)
#undef X
#define X(id, name)                           \
    if (UNCACHEABLE_##id != UNCACHEABLE_NONE) \
        check_value(page.p, "shield_uncacheable_total{reason=\"" name "\"}", 0);
    UNCACHEABLE_REASONS(X)
#undef X
#define X(id, name) check_value(page.p, "shield_origin_requests_total{origin=\"b\",kind=\"" name "\"}", 0);
    ORIGIN_KINDS(X)
#undef X
    static const char *const classes[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
    for (size_t i = 0; i < ARRAY_LEN(classes); i++) {
        snprintf(series, sizeof series, "shield_origin_responses_total{origin=\"default\",class=\"%s\"}",
                 classes[i]);
        check_value(page.p, series, 0);
    }
    check_value(page.p, "shield_origin_duration_seconds_bucket{origin=\"b\",le=\"+Inf\"}", 0);
    check_value(page.p, "shield_origin_inflight{origin=\"default\"}", 0);
    check_value(page.p, "shield_origin_queue_depth{origin=\"b\"}", 0);
    check_value(page.p, "shield_store_commit_seconds_sum", 0);
    assert_null(strstr(page.p, "reason=\"none\""));
    assert_non_null(strstr(page.p, "\nshield_build_info{version=\""));
    buf_fini(&page);
}

static void test_slots_add_up(void **state)
{
    struct buf page = {0};
    metric_count(slots[0], COLLAPSED);
    metric_move(slots[1], COLLAPSED, 4);
    metric_move(slots[0], WAITERS, 10);
    metric_move(slots[1], WAITERS, -3); /* left on another loop than it came */
    metric_move(slots[1], FLIGHTS, -1); /* seen before its +1 */
    metric_limit(slots[0], MAX_HEAD);
    metric_add(&slots[0]->results[RESULT_HIT], 2);
    metric_add(&slots[1]->results[RESULT_HIT], 3);
    metric_add(&slots[1]->uncacheable[UNCACHEABLE_PRIVATE], 1);
    metric_add(&slots[0]->origins[1].requests[KIND_RETRY], 6);
    metric_add(&slots[0]->origins[0].classes[0], 7);
    metric_add(&slots[1]->origins[0].inflight, 8);
    render(&page);
    check_value(page.p, "shield_collapsed_requests_total", 5);
    check_value(page.p, "shield_waiters", 7);
    check_value(page.p, "shield_flights", 0);
    check_value(page.p, "shield_limit_reached_total{limit=\"client.max_head\"}", 1);
    check_value(page.p, "shield_requests_total{result=\"hit\"}", 5);
    check_value(page.p, "shield_requests_total{result=\"miss\"}", 0);
    check_value(page.p, "shield_uncacheable_total{reason=\"private\"}", 1);
    check_value(page.p, "shield_origin_requests_total{origin=\"b\",kind=\"retry\"}", 6);
    check_value(page.p, "shield_origin_responses_total{origin=\"default\",class=\"none\"}", 7);
    check_value(page.p, "shield_origin_inflight{origin=\"default\"}", 8);
    assert_int_equal(metrics_total(METRIC_COLLAPSED), 5);
    buf_fini(&page);
}

static void test_histograms(void **state)
{
    struct buf page = {0};
    hist_record(&slots[0]->durations[RESULT_MISS], 400);
    hist_record(&slots[1]->durations[RESULT_MISS], 500);
    hist_record(&slots[1]->durations[RESULT_MISS], 200000);
    hist_record(&slots[1]->durations[RESULT_MISS], 99000000);
    hist_record(&slots[1]->hists[HIST_WAITER_WAIT], 2500001);
    metric_origin_duration(slots[0], 1, 60000000);
    metric_origin_duration(slots[0], 1, 1000);
    metric_origin_duration(slots[1], 1, 1000);
    render(&page);
    check_value(page.p, "shield_request_duration_seconds_bucket{result=\"miss\",le=\"0.0005\"}", 2);
    check_value(page.p, "shield_request_duration_seconds_bucket{result=\"miss\",le=\"0.1\"}", 2);
    check_value(page.p, "shield_request_duration_seconds_bucket{result=\"miss\",le=\"0.25\"}", 3);
    check_value(page.p, "shield_request_duration_seconds_bucket{result=\"miss\",le=\"60\"}", 3);
    check_value(page.p, "shield_request_duration_seconds_bucket{result=\"miss\",le=\"+Inf\"}", 4);
    check_value(page.p, "shield_request_duration_seconds_count{result=\"miss\"}", 4);
    check_value(page.p, "shield_request_duration_seconds_sum{result=\"miss\"}", 99.2009);
    check_value(page.p, "shield_waiter_wait_seconds_sum", 2.500001);
    check_value(page.p, "shield_waiter_wait_seconds_bucket{le=\"5\"}", 1);
    check_value(page.p, "shield_origin_duration_seconds_bucket{origin=\"b\",le=\"0.001\"}", 2);
    check_value(page.p, "shield_origin_duration_seconds_bucket{origin=\"b\",le=\"60\"}", 3);
    check_value(page.p, "shield_origin_duration_seconds_count{origin=\"b\"}", 3);
    check_value(page.p, "shield_origin_duration_seconds_count{origin=\"default\"}", 0);
    buf_fini(&page);
}

static bool is_name_char(char c, bool first)
{
    return ascii_lower(c) != c || (c >= 'a' && c <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

static size_t name_length(const char *p)
{
    size_t n = 0;
    while (is_name_char(p[n], n == 0))
        n++;
    return n;
}

/* One sample line: name, labels, value; gives the name's length. Labels hold no quote, backslash or newline
 * here. */
static size_t check_sample(const char *line)
{
    size_t n = name_length(line);
    assert_in_range(n, 1, 100);
    const char *p = line + n;
    if (*p == '{') {
        do {
            size_t label = name_length(++p);
            assert_in_range(label, 1, 30);
            p += label;
            assert_memory_equal(p, "=\"", 2);
            p += 2 + strcspn(p + 2, "\"\\\n");
            assert_int_equal(*p++, '"');
        } while (*p == ',');
        assert_int_equal(*p++, '}');
    }
    char *end;
    assert_int_equal(*p++, ' ');
    strtod(p, &end);
    assert_true(end > p && *end == '\0');
    return n;
}

/* Text format 0.0.4 as promtool checks it: one HELP and one TYPE before a family's samples, no family twice,
 * counters end in _total and nothing else does. */
static void test_text_format(void **state)
{
    struct buf page = {0}, families = {0};
    char family[128] = "", type[32] = "";
    render(&page);
    assert_int_equal(page.p[page.len - 2], '\n');
    for (char *line = strtok(page.p, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (strncmp(line, "# HELP ", 7) == 0) {
            char seen[160];
            assert_int_equal(sscanf(line, "# HELP %127s", family), 1);
            snprintf(seen, sizeof seen, " %s ", family);
            assert_true(families.len == 0 || memmem(families.p, families.len, seen, strlen(seen)) == NULL);
            buf_put(&families, seen, strlen(seen));
            assert_true(strlen(line) > 7 + strlen(family) + 5);
            type[0] = '\0';
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            char name[128];
            assert_int_equal(sscanf(line, "# TYPE %127s %31s", name, type), 2);
            assert_string_equal(name, family);
            bool is_total = strlen(name) > 6 && strcmp(name + strlen(name) - 6, "_total") == 0;
            assert_int_equal(is_total, strcmp(type, "counter") == 0);
        } else {
            size_t n = check_sample(line);
            assert_true(type[0] != '\0');
            bool is_hist = strcmp(type, "histogram") == 0;
            struct span rest = {line + strlen(family), n - strlen(family)};
            assert_memory_equal(line, family, strlen(family));
            assert_true(is_hist ? span_eq(rest, SPAN("_bucket")) || span_eq(rest, SPAN("_sum")) ||
                                      span_eq(rest, SPAN("_count"))
                                : rest.len == 0);
        }
    }
    buf_fini(&page);
    buf_fini(&families);
}

static void test_json(void **state)
{
    struct buf out = {0};
    json_error_t error;
    metrics_render_json(&out, cfg);
    json_t *root = json_loadb(out.p, out.len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        fail_msg("%s at %d", error.text, error.position);
    assert_non_null(json_string_value(json_object_get(root, "version")));
    assert_int_equal(json_integer_value(json_object_get(root, "collapsed_requests_total")),
                     metrics_total(METRIC_COLLAPSED));
    assert_non_null(json_object_get(json_object_get(root, "evictions_total"), "disk"));
    assert_non_null(json_object_get(json_object_get(root, "requests_total"), "hit"));
    json_t *b = json_object_get(json_object_get(root, "origins"), "b");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(b, "requests"), "retry")), 6);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(b, "duration_us"), "max")), 60000000);
    json_t *miss = json_object_get(json_object_get(root, "request_duration_us"), "miss");
    assert_int_equal(json_integer_value(json_object_get(miss, "count")), 4);
    assert_non_null(json_object_get(root, "store_commit_us"));
    json_decref(root);
    buf_fini(&out);
}

static void *count_a_lot(void *arg)
{
    struct metrics_slot *mine = metrics_slot_new();
    assert_non_null(mine);
    for (int i = 0; i < 20000; i++) {
        metric_count(mine, CLIENT_CONNECTIONS_TOTAL);
        metric_origin_duration(mine, 0, (uint64_t)i);
    }
    return NULL;
}

/* Threads count while another scrapes: nothing is lost, and no page shows more below a bucket than in all. */
static void test_threads(void **state)
{
    pthread_t threads[3];
    struct buf page = {0};
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_a_lot, NULL), 0);
    for (int i = 0; i < 5; i++) {
        render(&page);
        assert_true(value_of(page.p, "shield_origin_duration_seconds_bucket{origin=\"default\",le=\"60\"}") ==
                    value_of(page.p, "shield_origin_duration_seconds_count{origin=\"default\"}"));
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    render(&page);
    check_value(page.p, "shield_client_connections_total", 60000);
    check_value(page.p, "shield_origin_duration_seconds_count{origin=\"default\"}", 60000);
    buf_fini(&page);
}

static void test_names(void **state)
{
    assert_string_equal(request_result_name(RESULT_REVALIDATED), "revalidated");
    assert_string_equal(waiter_fate_name(FATE_GONE), "gone");
    assert_string_equal(miss_reason_name(MISSED_WINDOW), "window");
    assert_string_equal(pass_reason_name(PASSED_RANGE), "range");
    assert_string_equal(refusal_reason_name(REFUSED_LOOP), "loop");
    assert_int_equal(refusal_reason_of(ERR_LOOP, 0), REFUSED_LOOP);
    assert_int_equal(refusal_reason_of(ERR_BUSY, LIMIT_MAX_FLIGHTS), REFUSED_MAX_FLIGHTS);
    assert_int_equal(refusal_reason_of(ERR_RESET, 0), REFUSED_NONE); /* the origin's doing */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_series_at_zero),
        cmocka_unit_test(test_slots_add_up),
        cmocka_unit_test(test_histograms),
        cmocka_unit_test(test_text_format),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
