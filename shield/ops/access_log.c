#include "shield/ops/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/utf8.h"
#include "shield/ops/log.h"
#include "shield/ops/timestamp.h"

enum { FLUSH_BYTES = 64 * 1024 };

static struct {
    int fd;     /* -1: off; set at start and never changed, whatever file is behind it */
    char *path; /* NULL for stdout, which is not reopened */
    pthread_mutex_t
        write_lock; /* a write may be taken in parts: the rest must not land in another thread's line */
    bool failing;   /* under write_lock: say it once, not for every buffer */
} access_log = {.fd = -1, .write_lock = PTHREAD_MUTEX_INITIALIZER};

static int open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
}

int access_log_open(const char *where)
{
    REQUIRE(access_log.fd < 0);
    if (strcmp(where, "off") == 0)
        return 0;
    if (strcmp(where, "stdout") == 0) {
        access_log.fd = STDOUT_FILENO;
        return 0;
    }
    int fd = open_file(where);
    char *path = fd < 0 ? NULL : strdup(where);
    if (path == NULL) {
        log_error("access log: %s cannot be opened: %s", where, strerror(errno));
        if (fd >= 0)
            close(fd);
        return ERR_SYSTEM;
    }
    access_log.fd = fd;
    access_log.path = path;
    return 0;
}

int access_log_reopen(void)
{
    if (access_log.path == NULL)
        return 0;
    int fd = open_file(access_log.path);
    if (fd < 0 || dup3(fd, access_log.fd, O_CLOEXEC) < 0) {
        log_error("access log: %s cannot be reopened, the old file stays in use: %s", access_log.path,
                  strerror(errno));
        if (fd >= 0)
            close(fd);
        return ERR_SYSTEM;
    }
    close(fd);
    return 0;
}

bool access_log_is_on(void)
{
    return access_log.fd >= 0;
}

/* RFC 8259 section 7. Bytes that are no UTF-8 (a target may hold any) become U+FFFD, so that each line stays
 * valid JSON. */
static void put_json_string(struct buf *out, struct span s)
{
    buf_put_lit(out, "\"");
    while (s.len > 0) {
        uint32_t cp = 0;
        size_t n = utf8_decode(s, &cp);
        if (n == 0) {
            buf_put_lit(out, "\\ufffd");
            n = 1;
        } else if (cp == '"' || cp == '\\') {
            buf_put_lit(out, "\\");
            buf_put(out, s.p, 1);
        } else if (cp < 0x20 || (cp >= 0x7f && cp <= 0x9f)) {
            buf_printf(out, "\\u%04x", (unsigned)cp);
        } else {
            buf_put(out, s.p, n);
        }
        s = span_from(s, n);
    }
    buf_put_lit(out, "\"");
}

static void put_text_member(struct buf *out, const char *key, struct span value)
{
    if (value.len == 0)
        return;
    buf_put_lit(out, ",\"");
    buf_put(out, key, strlen(key));
    buf_put_lit(out, "\":");
    put_json_string(out, value);
}

static void put_name_member(struct buf *out, const char *key, const char *value)
{
    if (value != NULL)
        put_text_member(out, key, span_of(value));
}

static void put_number_member(struct buf *out, const char *key, uint64_t value)
{
    buf_put_lit(out, ",\"");
    buf_put(out, key, strlen(key));
    buf_put_lit(out, "\":");
    buf_put_uint(out, value);
}

static void put_entry(struct buf *out, const struct access_entry *e)
{
    char time[TIMESTAMP_BYTES];
    timestamp_format(time, e->start_wall_ms);
    buf_put_lit(out, "{\"time\":\"");
    buf_put(out, time, sizeof time);
    buf_put_lit(out, "\"");
    put_text_member(out, "client", e->client);
    put_text_member(out, "method", e->method);
    put_text_member(out, "host", e->host);
    put_text_member(out, "target", e->target);
    put_number_member(out, "status", (uint64_t)MAX(e->status, 0));
    put_number_member(out, "bytes", e->sent_bytes);
    put_number_member(out, "duration_us", e->duration_us);
    put_name_member(out, "result", request_result_name(e->result));
    put_name_member(out, "fate", e->fate);
    put_name_member(out, "reason", e->reason);
    put_name_member(out, "error", e->error);
    if (e->wait_us >= 0)
        put_number_member(out, "wait_us", (uint64_t)e->wait_us);
    buf_put_lit(out, "}\n");
}

void access_log_add(struct buf *lines, const struct access_entry *e)
{
    if (!access_log_is_on())
        return;
    size_t before = lines->len;
    put_entry(lines, e);
    if (lines->failed) { /* no memory: drop this line whole, keep those before it */
        lines->failed = false;
        lines->len = before;
    }
    if (lines->len >= FLUSH_BYTES)
        access_log_flush(lines);
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = write(fd, p, n);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return false;
        p += sent;
        n -= (size_t)sent;
    }
    return true;
}

void access_log_flush(struct buf *lines)
{
    if (lines->len == 0 || !access_log_is_on())
        return;
    pthread_mutex_lock(&access_log.write_lock);
    bool ok = write_all(access_log.fd, lines->p, lines->len);
    if (!ok && !access_log.failing) /* lost lines must not become lost requests: drop them and go on */
        log_error("access log: lines are being lost, write failed: %s", strerror(errno));
    if (ok && access_log.failing)
        log_info("access log: writing again");
    access_log.failing = !ok;
    pthread_mutex_unlock(&access_log.write_lock);
    lines->len = 0;
}
