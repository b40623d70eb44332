#include "shield/ops/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/utf8.h"
#include "shield/ops/timestamp.h"

/* On the stack, not the heap: "out of memory" must be loggable too. */
enum { LOG_TEXT_BYTES = 4096, LOG_LINE_BYTES = 2 * LOG_TEXT_BYTES };

static const char *const level_names[] = {"error", "warn", "info"};

struct line {
    size_t len;
    char p[LOG_LINE_BYTES];
};

static void put(struct line *l, const char *p, size_t n)
{
    memcpy(l->p + l->len, p, n);
    l->len += n;
}

/* Bytes that move a terminal's cursor, fake a second line or are no UTF-8 leave as \xNN: a log line often
 * quotes what a stranger sent. Cut where the line is full. */
static void put_escaped(struct line *l, struct span text)
{
    static const char hex[] = "0123456789abcdef";
    while (text.len > 0 && l->len + 5 < sizeof l->p) {
        uint32_t cp = 0;
        size_t n = utf8_decode(text, &cp);
        if (n > 0 && cp >= 0x20 && (cp < 0x7f || cp > 0x9f)) {
            put(l, text.p, n);
        } else {
            unsigned char byte = (unsigned char)text.p[0];
            char escaped[] = {'\\', 'x', hex[byte >> 4], hex[byte & 15]};
            put(l, escaped, sizeof escaped);
            n = 1;
        }
        text = span_from(text, n);
    }
}

void log_write(enum log_level level, const char *fmt, ...)
{
    int saved = errno;
    char text[LOG_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof text ? (size_t)n : sizeof text - 1;

    struct line line = {.len = TIMESTAMP_BYTES};
    timestamp_format(line.p, clock_wall_ms());
    put(&line, " ", 1);
    put(&line, level_names[level], strlen(level_names[level]));
    put(&line, " ", 1);
    put_escaped(&line, (struct span){text, len});
    put(&line, "\n", 1);
    while (write(STDERR_FILENO, line.p, line.len) < 0 && errno == EINTR)
        ; /* whoever reads stderr may be gone; there is nobody left to tell */
    errno = saved;
}
