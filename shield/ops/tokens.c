#include "shield/ops/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/err.h"
#include "shield/ops/log.h"

enum { FILE_MAX = 256 * 1024 };

/* Padded with zeros, so that comparing always reads the whole. */
struct token {
    uint64_t words[TOKEN_MAX / sizeof(uint64_t)];
};

struct tokens {
    enum tokens_kind kind;
    const char *directive; /* that names the file */
    size_t n, shortest;
    struct token items[TOKENS_MAX];
};

/* ---- the file ---- */

static bool is_token_byte(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~+/=", c) != NULL);
}

static bool is_value_byte(char c)
{
    return (c >= 0x20 && c < 0x7f) || c == '\t';
}

/* NULL, or what is wrong with it. */
static const char *token_fault(enum tokens_kind kind, struct span s)
{
    bool bearer = kind == TOKENS_BEARER;
    if (s.len < (bearer ? TOKEN_MIN : 1))
        return "the token is too short; at least 16 characters, as from: openssl rand -hex 32";
    if (s.len > TOKEN_MAX)
        return "the token is too long; at most 256 characters";
    for (size_t i = 0; i < s.len; i++)
        if (!(bearer ? is_token_byte(s.p[i]) : is_value_byte(s.p[i])))
            return bearer ? "the token has a character that cannot be sent; letters, digits and -._~+/= can"
                          : "the token has a character that cannot be sent; printable ASCII can";
    return NULL;
}

static bool next_line(struct span *rest, struct span *line)
{
    if (rest->len == 0)
        return false;
    const char *end = memchr(rest->p, '\n', rest->len);
    size_t n = end != NULL ? (size_t)(end - rest->p) : rest->len;
    *line = (struct span){rest->p, n};
    *rest = span_from(*rest, n + 1);
    if (line->len > 0 && line->p[line->len - 1] == '\r')
        line->len--;
    *line = span_trim(*line);
    return true;
}

static int fill(struct tokens *t, const char *name, struct span text, struct buf *errors)
{
    struct span line;
    for (unsigned number = 1; next_line(&text, &line); number++) {
        if (line.len == 0 || line.p[0] == '#')
            continue;
        const char *fault = t->n < TOKENS_MAX ? token_fault(t->kind, line) : "too many tokens; at most 256";
        if (fault != NULL) {
            buf_printf(errors, "%s:%u: %s\n", name, number, fault);
            return ERR_SYNTAX;
        }
        memcpy(t->items[t->n++].words, line.p, line.len);
        t->shortest = MIN(t->shortest, line.len);
    }
    if (t->n > 0)
        return 0;
    buf_printf(errors, "%s: holds no token; write one a line, or leave %s out\n", name, t->directive);
    return ERR_SYNTAX;
}

int tokens_parse(struct tokens **out, enum tokens_kind kind, const char *directive, const char *name,
                 struct span text, struct buf *errors)
{
    REQUIRE(out != NULL && directive != NULL && name != NULL && errors != NULL);
    struct tokens *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    t->kind = kind;
    t->directive = directive;
    t->shortest = TOKEN_MAX;
    int err = fill(t, name, text, errors);
    if (err != 0)
        tokens_free(&t);
    else
        *out = t;
    return err;
}

/* All of it into `text`, which has room for FILE_MAX bytes. Returns its length; -1 with errno. */
static ssize_t read_all(int fd, char *text)
{
    size_t n = 0;
    for (;;) {
        ssize_t got = read(fd, text + n, FILE_MAX - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        n += (size_t)got;
        if (got == 0)
            return (ssize_t)n;
        if (n == FILE_MAX) {
            errno = EFBIG;
            return -1;
        }
    }
}

static void warn_when_readable(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && (st.st_mode & S_IROTH) != 0)
        log_warn("every user of this host can read the tokens in %s; chmod o-r it", path);
}

int tokens_read(struct tokens **out, enum tokens_kind kind, const char *directive, const char *path,
                struct buf *errors)
{
    char *text = malloc(FILE_MAX);
    if (text == NULL)
        return ERR_NOMEM;
    int err = ERR_SYNTAX;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read_all(fd, text) : -1;
    if (n < 0) {
        buf_printf(errors, "%s: cannot be read: %s; see %s\n", path, strerror(errno), directive);
    } else {
        warn_when_readable(fd, path);
        err = tokens_parse(out, kind, directive, path, (struct span){text, (size_t)n}, errors);
    }
    if (err == 0 && (*out)->shortest < TOKEN_MIN)
        log_warn("%s: a token of fewer than %d characters can be guessed; openssl rand -hex 32 makes better",
                 path, TOKEN_MIN);
    if (fd >= 0)
        close(fd);
    explicit_bzero(text, FILE_MAX);
    free(text);
    return err;
}

void tokens_free(struct tokens **slot)
{
    struct tokens *t = *slot;
    *slot = NULL;
    if (t == NULL)
        return;
    explicit_bzero(t, sizeof *t);
    free(t);
}

/* ---- asking ---- */

bool tokens_allow(const struct tokens *t, struct span text)
{
    struct token asked = {{0}};
    if (t == NULL || token_fault(t->kind, text) != NULL)
        return false;
    memcpy(asked.words, text.p, text.len);

    unsigned found = 0;
    for (size_t i = 0; i < t->n; i++) {
        volatile uint64_t differs = 0; /* volatile: no early end may be compiled in */
        for (size_t w = 0; w < ARRAY_LEN(asked.words); w++)
            differs |= asked.words[w] ^ t->items[i].words[w];
        found |= differs == 0;
    }
    return found != 0;
}
