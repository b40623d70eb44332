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
    struct {
        unsigned line;
        size_t len;
        char words[TOKEN_WORDS_MAX];
    } behind[TOKENS_MAX]; /* TOKENS_SCOPED */
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
    bool bearer = kind != TOKENS_VALUE;
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

/* The words behind the token, out of `line`. */
static struct span take_words(struct span *line)
{
    size_t n = 0;
    while (n < line->len && line->p[n] != ' ' && line->p[n] != '\t')
        n++;
    struct span words = span_trim(span_from(*line, n));
    line->len = n;
    return words;
}

/* NULL, or what is wrong with it. */
static const char *add(struct tokens *t, struct span line, unsigned number)
{
    struct span words = t->kind == TOKENS_SCOPED ? take_words(&line) : (struct span){"", 0};
    if (t->n == TOKENS_MAX)
        return "too many tokens; at most 256";
    const char *fault = token_fault(t->kind, line);
    if (fault != NULL)
        return fault;
    if (words.len > TOKEN_WORDS_MAX)
        return "too much stands behind the token; at most 256 characters";
    if (t->kind == TOKENS_SCOPED && tokens_find(t, line) >= 0)
        return "the token stands in a line before this one too; leave one of them out";
    memcpy(t->items[t->n].words, line.p, line.len);
    t->behind[t->n].line = number;
    t->behind[t->n].len = words.len;
    memcpy(t->behind[t->n].words, words.p, words.len);
    t->shortest = MIN(t->shortest, line.len);
    t->n++;
    return NULL;
}

static int fill(struct tokens *t, const char *name, struct span text, struct buf *errors)
{
    struct span line;
    for (unsigned number = 1; next_line(&text, &line); number++) {
        if (line.len == 0 || line.p[0] == '#')
            continue;
        const char *fault = add(t, line, number);
        if (fault != NULL) {
            buf_printf(errors, "%s:%u: %s\n", name, number, fault);
            return ERR_SYNTAX;
        }
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

int tokens_find(const struct tokens *t, struct span text)
{
    struct token asked = {{0}};
    if (t == NULL || token_fault(t->kind, text) != NULL)
        return -1;
    memcpy(asked.words, text.p, text.len);

    size_t found = 0; /* one more than its index */
    for (size_t i = 0; i < t->n; i++) {
        volatile uint64_t differs = 0; /* volatile: no early end may be compiled in */
        for (size_t w = 0; w < ARRAY_LEN(asked.words); w++)
            differs |= asked.words[w] ^ t->items[i].words[w];
        found |= -(size_t)(differs == 0) & -(size_t)(found == 0) & (i + 1); /* the first, and no branch */
    }
    return (int)found - 1;
}

bool tokens_allow(const struct tokens *t, struct span text)
{
    return tokens_find(t, text) >= 0;
}

size_t tokens_count(const struct tokens *t)
{
    return t->n;
}

struct span tokens_words(const struct tokens *t, size_t i)
{
    return (struct span){t->behind[i].words, t->behind[i].len};
}

unsigned tokens_line(const struct tokens *t, size_t i)
{
    return t->behind[i].line;
}
