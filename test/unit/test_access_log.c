#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "shield/ops/access_log.h"

static char dir[] = "/tmp/test_access_log_XXXXXX";
static char path[64], moved[64];

static int set_up(void **state)
{
    if (mkdtemp(dir) == NULL)
        return -1;
    snprintf(path, sizeof path, "%s/access.json", dir);
    snprintf(moved, sizeof moved, "%s/access.json.1", dir);
    return 0;
}

static int tear_down(void **state)
{
    unlink(path);
    unlink(moved);
    return rmdir(dir);
}

static void read_file(const char *name, struct buf *out)
{
    int fd = open(name, O_RDONLY);
    assert_true(fd >= 0);
    out->len = 0;
    for (;;) {
        assert_true(buf_reserve(out, 65536));
        ssize_t n = read(fd, out->p + out->len, 65536);
        assert_true(n >= 0);
        if (n == 0)
            break;
        out->len += (size_t)n;
    }
    close(fd);
}

static const struct access_entry whole = {
    .start_wall_ms = 1769854830456,
    .duration_us = 12345,
    .client = {"192.0.2.1:999", 13},
    .method = {"GET", 3},
    .host = {"example.com", 11},
    .target = {"/a?b=\"c\"\\", 9},
    .status = 200,
    .sent_bytes = 1048576,
    .result = RESULT_COLLAPSED,
    .fate = "served",
    .reason = "absent",
    .error = "RESET",
    .wait_us = 0,
};

static const char whole_line[] =
    "{\"time\":\"2026-01-31T10:20:30.456Z\",\"client\":\"192.0.2.1:999\",\"method\":\"GET\",\"host\":"
    "\"example.com\","
    "\"target\":\"/"
    "a?b=\\\"c\\\"\\\\\",\"status\":200,\"bytes\":1048576,\"duration_us\":12345,\"result\":\"collapsed\","
    "\"fate\":\"served\",\"reason\":\"absent\",\"error\":\"RESET\",\"wait_us\":0}\n";

static const struct access_entry bare = {
    .start_wall_ms = 0, .status = 400, .result = RESULT_REFUSED, .wait_us = -1};

static const char bare_line[] =
    "{\"time\":\"1970-01-01T00:00:00.000Z\",\"status\":400,\"bytes\":0,\"duration_us\":0,"
    "\"result\":\"refused\"}\n";

static void test_off(void **state)
{
    struct buf lines = {0};
    assert_int_equal(access_log_open("off"), 0);
    assert_false(access_log_is_on());
    access_log_add(&lines, &whole);
    assert_int_equal(lines.len, 0);
    access_log_flush(&lines);
    assert_int_equal(access_log_reopen(), 0);
    buf_fini(&lines);
}

static void test_cannot_open(void **state)
{
    assert_int_equal(access_log_open("/nonexistent/dir/log"), ERR_SYSTEM);
    assert_false(access_log_is_on());
}

static void test_lines(void **state)
{
    struct buf lines = {0}, file = {0};
    assert_int_equal(access_log_open(path), 0);
    assert_true(access_log_is_on());
    access_log_add(&lines, &whole);
    access_log_add(&lines, &bare);
    read_file(path, &file);
    assert_int_equal(file.len, 0); /* buffered until asked */
    access_log_flush(&lines);
    assert_int_equal(lines.len, 0);
    read_file(path, &file);
    buf_put(&file, "", 1);
    assert_memory_equal(file.p, whole_line, sizeof whole_line - 1);
    assert_string_equal(file.p + sizeof whole_line - 1, bare_line);
    buf_fini(&lines);
    buf_fini(&file);
}

/* Every byte value in a target, alone and around others, still makes one line of valid JSON. */
static void test_any_bytes(void **state)
{
    for (unsigned byte = 0; byte < 256; byte++) {
        struct buf lines = {0};
        char target[] = {'/', (char)byte, '\xc3', '\xa9', (char)byte};
        struct access_entry e = whole;
        e.target = (struct span){target, sizeof target};
        access_log_add(&lines, &e);
        assert_int_equal(lines.p[lines.len - 1], '\n');
        assert_null(memchr(lines.p, '\n', lines.len - 1));
        json_error_t error;
        json_t *root = json_loadb(lines.p, lines.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        if (root == NULL)
            fail_msg("byte %u: %s: %.*s", byte, error.text, SPAN_FMT(lines));
        const json_t *text = json_object_get(root, "target");
        if (byte < 0x80) {
            assert_int_equal(json_string_length(text), sizeof target);
            assert_memory_equal(json_string_value(text), target, sizeof target);
        } else {
            assert_non_null(strstr(json_string_value(text), "\xef\xbf\xbd"));
            assert_non_null(strstr(json_string_value(text), "\xc3\xa9"));
        }
        json_decref(root);
        buf_fini(&lines);
    }
}

static void test_reopen(void **state)
{
    struct buf lines = {0}, file = {0};
    assert_int_equal(rename(path, moved), 0);
    access_log_add(&lines, &bare);
    access_log_flush(&lines); /* still the old file, under its new name */
    assert_int_equal(access_log_reopen(), 0);
    access_log_add(&lines, &whole);
    access_log_flush(&lines);
    read_file(path, &file);
    assert_int_equal(file.len, sizeof whole_line - 1);
    read_file(moved, &file);
    assert_int_equal(file.len, sizeof whole_line - 1 + 2 * (sizeof bare_line - 1));
    buf_fini(&lines);
    buf_fini(&file);
}

static void test_full_buffer_leaves(void **state)
{
    struct buf lines = {0}, file = {0};
    size_t added = 0;
    while (added == 0 || lines.len > 0) {
        access_log_add(&lines, &whole);
        added++;
        assert_true(lines.len < 65536 + sizeof whole_line);
    }
    read_file(path, &file);
    assert_int_equal(file.len, (added + 1) * (sizeof whole_line - 1));
    assert_true(added * (sizeof whole_line - 1) >= 65536);
    buf_fini(&lines);
    buf_fini(&file);
}

static void *write_many(void *arg)
{
    struct buf lines = {0};
    for (int i = 0; i < 2000; i++)
        access_log_add(&lines, &whole);
    access_log_flush(&lines);
    buf_fini(&lines);
    return NULL;
}

static void test_threads_write_whole_lines(void **state)
{
    pthread_t threads[3];
    struct buf file = {0};
    assert_int_equal(truncate(path, 0), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, NULL), 0);
    for (int i = 0; i < 20; i++)
        assert_int_equal(access_log_reopen(), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    read_file(path, &file);
    assert_int_equal(file.len, 3 * 2000 * (sizeof whole_line - 1));
    for (size_t i = 0; i < file.len; i += sizeof whole_line - 1)
        assert_memory_equal(file.p + i, whole_line, sizeof whole_line - 1);
    buf_fini(&file);
}

static void test_reopen_fails(void **state)
{
    struct buf lines = {0}, file = {0};
    assert_int_equal(rename(path, moved), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    read_file(moved, &file);
    size_t before = file.len;
    assert_int_equal(access_log_reopen(), ERR_SYSTEM);
    access_log_add(&lines, &bare);
    access_log_flush(&lines); /* the old file stays in use */
    read_file(moved, &file);
    assert_int_equal(file.len, before + sizeof bare_line - 1);
    assert_int_equal(rmdir(path), 0);
    buf_fini(&lines);
    buf_fini(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        /* one process has one access log: the order matters */
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_cannot_open),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_any_bytes),
        cmocka_unit_test(test_reopen),
        cmocka_unit_test(test_full_buffer_leaves),
        cmocka_unit_test(test_threads_write_whole_lines),
        cmocka_unit_test(test_reopen_fails),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
