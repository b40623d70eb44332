#include "shield/policy/pattern.h"

/* What a pattern has left, and the text that this has to describe. */
struct walk {
    struct span pattern, text;
    bool has_star; /* the next of the pattern is a star, whose byte has been taken */
};

/* Takes the literal piece up to the next star, or to the end, off the pattern. */
static struct span take_piece(struct walk *w)
{
    const char *star = w->pattern.len > 0 ? memchr(w->pattern.p, '*', w->pattern.len) : NULL;
    struct span piece = {w->pattern.p, star != NULL ? (size_t)(star - w->pattern.p) : w->pattern.len};
    w->pattern = span_from(w->pattern, piece.len + 1);
    w->has_star = star != NULL;
    return piece;
}

/* To the first star; false when the text begins differently or, without a star, is another. */
static bool begin(struct walk *w, struct span pattern, struct span text)
{
    *w = (struct walk){.pattern = pattern, .text = text.p != NULL ? text : SPAN("")};
    struct span piece = take_piece(w);
    if (!w->has_star)
        return span_eq(piece, w->text);
    if (!span_starts(w->text, piece))
        return false;
    w->text = span_from(w->text, piece.len);
    return true;
}

/* Gives what the star stands for and goes to the next one. False when the text does not go on like that. The
 * leftmost place is as good as any: it leaves the stars behind it the most. */
static bool take_star(struct walk *w, struct span *run)
{
    struct span piece = take_piece(w), text = w->text;
    const char *at = text.p;
    if (!w->has_star) /* behind the last star: the end */
        at = piece.len <= text.len ? text.p + text.len - piece.len : NULL;
    else if (piece.len > 0)
        at = memmem(text.p, text.len, piece.p, piece.len);
    if (at == NULL || memcmp(at, piece.p, piece.len) != 0)
        return false;
    *run = (struct span){text.p, (size_t)(at - text.p)};
    w->text = span_from(text, run->len + piece.len);
    return true;
}

bool pattern_matches(struct span pattern, struct span text)
{
    struct walk w;
    struct span run;
    if (!begin(&w, pattern, text))
        return false;
    while (w.has_star)
        if (!take_star(&w, &run))
            return false;
    return true;
}

bool pattern_rewrite(struct buf *out, struct span from, struct span to, struct span text)
{
    if (!pattern_matches(from, text))
        return false;
    struct walk in, written = {.pattern = to};
    (void)begin(&in, from, text);
    do {
        struct span run;
        buf_put_span(out, take_piece(&written));
        if (written.has_star && in.has_star && take_star(&in, &run))
            buf_put_span(out, run);
    } while (written.has_star);
    return true;
}

bool pattern_rewrite_prefix(struct buf *out, struct span from, struct span to, struct span prefix)
{
    struct walk in = {.pattern = from}, written = {.pattern = to};
    struct span begins = take_piece(&in), head = take_piece(&written);
    bool is_longer = prefix.len > begins.len; /* then it reaches into what the first star stands for */
    if (is_longer ? !in.has_star || !span_starts(prefix, begins) : !span_starts(begins, prefix))
        return false;
    buf_put_span(out, head);
    if (is_longer && written.has_star && in.has_star && in.pattern.len == 0) /* the star takes all the rest */
        buf_put_span(out, span_from(prefix, begins.len));
    return true;
}
