#include "shield/ctl/ctl_screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"

static struct {
    bool is_open, has_keys;
    struct termios before;
} screen;

static volatile sig_atomic_t is_ended, is_resized;

static void on_end(int number)
{
    is_ended = 1;
}

static void on_resize(int number)
{
    is_resized = 1;
}

static void catch (int number, void (*handler)(int))
{
    sigaction(number, &(struct sigaction){.sa_handler = handler}, NULL); /* calls that wait are to end */
}

static void put(const char *sequence)
{
    fputs(sequence, stdout);
    fflush(stdout);
}

void screen_open(void)
{
    if (!isatty(STDOUT_FILENO))
        return;
    catch (SIGINT, on_end);
    catch (SIGTERM, on_end);
    catch (SIGHUP, on_end);
    catch (SIGWINCH, on_resize);
    screen.is_open = true;
    screen.has_keys = tcgetattr(STDIN_FILENO, &screen.before) == 0;
    if (screen.has_keys) {
        struct termios keys = screen.before;
        keys.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(STDIN_FILENO, TCSANOW, &keys);
    }
    put("\033[2J\033[?25l");
}

void screen_close(void)
{
    if (!screen.is_open)
        return;
    put("\033[?25h");
    if (screen.has_keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
    screen.is_open = false;
}

/* All is ASCII: a byte is a column. The last row stays free, for what is said at the end. */
static void put_frame(struct buf *out, struct span text)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
    buf_put_lit(out, "\033[H");
    for (unsigned row = 1; row < size.ws_row && text.len > 0; row++) {
        const char *end = memchr(text.p, '\n', text.len);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.len;
        buf_printf(out, "%.*s\033[K\n", (int)(n < size.ws_col ? n : size.ws_col), text.p);
        text = span_from(text, n + 1);
    }
    buf_put_lit(out, "\033[J");
}

bool screen_show(struct span text)
{
    struct buf frame = {0};
    if (screen.is_open)
        put_frame(&frame, text);
    else
        buf_put_span(&frame, text);
    bool ok = !frame.failed && fwrite(frame.p, 1, frame.len, stdout) == frame.len && fflush(stdout) == 0;
    buf_fini(&frame);
    return ok;
}

/* Whether a key that ends it was pressed. */
static bool reads_end(void)
{
    char keys[16];
    ssize_t n = read(STDIN_FILENO, keys, sizeof keys);
    if (n == 0)
        screen.has_keys = false; /* the terminal is gone as far as keys go */
    for (ssize_t i = 0; i < n; i++)
        if (keys[i] == 'q' || keys[i] == 'Q')
            return true;
    return false;
}

bool screen_wait(uint64_t ms, bool *resized)
{
    uint64_t until_ms = clock_mono_ms() + ms;
    *resized = false;
    for (uint64_t now_ms; (now_ms = clock_mono_ms()) < until_ms;) {
        struct pollfd keys = {.fd = screen.has_keys ? STDIN_FILENO : -1, .events = POLLIN};
        int n = poll(&keys, 1, (int)(until_ms - now_ms));
        if (is_ended || (n > 0 && reads_end()) || (n < 0 && errno != EINTR))
            return false;
        if (is_resized) {
            is_resized = 0;
            *resized = true;
            return true;
        }
    }
    return !is_ended;
}
