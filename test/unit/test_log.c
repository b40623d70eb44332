#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"
#include "common/span.h"
#include "shield/ops/log.h"
#include "shield/ops/timestamp.h"

static int saved_stderr, pipe_ends[2];

/* What one log call wrote, in one read: a pipe gives back what one write put in. */
static struct span captured(char *out, size_t cap)
{
    ssize_t n = read(pipe_ends[0], out, cap);
    assert_true(n > 0);
    return (struct span){out, (size_t)n};
}

static int set_up(void **state)
{
    saved_stderr = dup(STDERR_FILENO);
    return pipe(pipe_ends) != 0 || dup2(pipe_ends[1], STDERR_FILENO) < 0;
}

static int tear_down(void **state)
{
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
    return 0;
}

static void check_line(struct span line, const char *text)
{
    static const char shape[] = "dddd-dd-ddTdd:dd:dd.dddZ ";
    assert_true(line.len > sizeof shape - 1);
    for (size_t i = 0; i < sizeof shape - 1; i++)
        assert_true(shape[i] == 'd' ? line.p[i] >= '0' && line.p[i] <= '9' : line.p[i] == shape[i]);
    if (!span_eq(span_from(line, sizeof shape - 1), span_of(text)))
        fail_msg("%.*s--- not:\n%s", SPAN_FMT(line), text);
}

static void test_lines(void **state)
{
    char out[16384];
    errno = ENOENT;
    log_warn("origin: %s: %s refused the connection", "default", "127.0.0.1:8000");
    assert_int_equal(errno, ENOENT);
    check_line(captured(out, sizeof out), "warn origin: default: 127.0.0.1:8000 refused the connection\n");
    log_error("a\nb\x1b[2J\x7f \xc3\xa9 \xc2\x9b \xff");
    check_line(captured(out, sizeof out), "error a\\x0ab\\x1b[2J\\x7f \xc3\xa9 \\xc2\\x9b \\xff\n");
    log_info("%s", "");
    check_line(captured(out, sizeof out), "info \n");
}

static void test_long_text_is_cut(void **state)
{
    char out[16384], text[10000];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    log_info("%s", text);
    struct span line = captured(out, sizeof out);
    assert_in_range(line.len, 4000, 5000);
    assert_int_equal(line.p[line.len - 1], '\n');
    memset(text, '\n', sizeof text - 1); /* each is four bytes long when escaped */
    log_info("%s", text);
    line = captured(out, sizeof out);
    assert_in_range(line.len, 8000, 8192);
    assert_ptr_equal(memchr(line.p, '\n', line.len), line.p + line.len - 1);
}

static void test_timestamps(void **state)
{
    static const struct {
        int64_t ms;
        const char *text;
    } rows[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1769854830456, "2026-01-31T10:20:30.456Z"},
        {951782399999, "2000-02-28T23:59:59.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1709251199999, "2024-02-29T23:59:59.999Z"},
        {1709251200000, "2024-03-01T00:00:00.000Z"},
        {4107542399999, "2100-02-28T23:59:59.999Z"},
        {4107542400000, "2100-03-01T00:00:00.000Z"}, /* 2100 is no leap year */
        {-1, "1969-12-31T23:59:59.999Z"},
        {-62167219200000, "0000-01-01T00:00:00.000Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[TIMESTAMP_BYTES + 1] = "";
        timestamp_format(out, rows[i].ms);
        assert_string_equal(out, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_long_text_is_cut, set_up, tear_down),
        cmocka_unit_test(test_timestamps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
