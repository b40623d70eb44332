#include "shield/policy/key.h"

#include <stdlib.h>

#include "common/check.h"
#include "shield/policy/pattern.h"

struct parameter {
    struct span text, name; /* as sent; the name decoded */
};

/* The next parameter that says anything; false at the end. */
static bool take_parameter(struct span *query, struct span *text)
{
    while (query->len > 0) {
        const char *end = memchr(query->p, '&', query->len);
        *text = (struct span){query->p, end != NULL ? (size_t)(end - query->p) : query->len};
        *query = span_from(*query, text->len + 1);
        if (text->len > 0)
            return true;
    }
    return false;
}

static int hex_digit(char c)
{
    char lower = ascii_lower(c);
    return c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The name of a parameter as a form decodes it, in `text` itself or at *room, which then moves on. What is no
 * escape stays. */
static struct span decoded_name(struct span text, char **room)
{
    const char *equals = memchr(text.p, '=', text.len);
    struct span raw = {text.p, equals != NULL ? (size_t)(equals - text.p) : text.len};
    if (raw.len == 0 || (memchr(raw.p, '%', raw.len) == NULL && memchr(raw.p, '+', raw.len) == NULL))
        return raw;
    struct span name = {*room, 0};
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.p[i];
        int high = c == '%' && raw.len - i > 2 ? hex_digit(raw.p[i + 1]) : -1;
        int low = high >= 0 ? hex_digit(raw.p[i + 2]) : -1;
        if (low >= 0) {
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+') {
            c = ' ';
        }
        *(*room)++ = c;
        name.len++;
    }
    return name;
}

static bool is_one_of(const struct config_texts *patterns, struct span name)
{
    for (uint32_t i = 0; i < patterns->n; i++)
        if (pattern_matches(span_of(patterns->items[i]), name))
            return true;
    return false;
}

static bool is_kept(const struct config_route *route, struct span name)
{
    return (route->key.query_allow.n == 0 || is_one_of(&route->key.query_allow, name)) &&
           !is_one_of(&route->key.query_ignore, name);
}

/* By name, and by place in the query where the names are the same. */
static int compare_parameters(const void *left, const void *right)
{
    const struct parameter *a = left, *b = right;
    size_t n = MIN(a->name.len, b->name.len);
    int order = n > 0 ? memcmp(a->name.p, b->name.p, n) : 0;
    if (order != 0)
        return order;
    if (a->name.len != b->name.len)
        return a->name.len < b->name.len ? -1 : 1;
    return a->text.p < b->text.p ? -1 : a->text.p > b->text.p;
}

static void put_parameters(struct buf *out, const struct config_route *route, struct span query)
{
    struct span rest = query, text;
    size_t n = 0;
    while (take_parameter(&rest, &text))
        n++;
    if (n == 0)
        return;
    struct parameter *all = malloc(n * sizeof *all + query.len); /* behind them: the decoded names */
    if (all == NULL) {
        out->failed = true;
        return;
    }
    char *room = (char *)(all + n);
    n = 0;
    while (take_parameter(&query, &text)) {
        struct span name = decoded_name(text, &room);
        if (is_kept(route, name))
            all[n++] = (struct parameter){text, name};
    }
    if (route->key.sort_query)
        qsort(all, n, sizeof *all, compare_parameters);
    for (size_t i = 0; i < n; i++) {
        buf_put(out, i == 0 ? "?" : "&", 1);
        buf_put_span(out, all[i].text);
    }
    free(all);
}

/* The path with a slash before it, whatever the rewriting has made of it. */
static void put_rewritten(struct buf *out, const struct config_route *route, struct span path)
{
    struct buf rewritten = {0};
    if (!pattern_rewrite(&rewritten, span_of(route->rewrite_from), span_of(route->rewrite_to), path)) {
        buf_put_span(out, path);
        return;
    }
    if (rewritten.len == 0 || rewritten.p[0] != '/')
        buf_put_lit(out, "/");
    buf_put_span(out, buf_span(&rewritten));
    out->failed |= rewritten.failed;
    buf_fini(&rewritten);
}

void policy_path_query(struct buf *out, const struct config_route *route, enum http_method method,
                       struct span path_query)
{
    bool is_keyed = method == METHOD_GET || method == METHOD_HEAD;
    const char *mark = path_query.len > 0 ? memchr(path_query.p, '?', path_query.len) : NULL;
    struct span path = {path_query.p, mark != NULL ? (size_t)(mark - path_query.p) : path_query.len};
    struct span query = span_from(path_query, path.len);
    if (path.len == 0)
        path = SPAN("/");
    if (route->rewrite_from != NULL && path.p[0] == '/') /* not the "*" of OPTIONS */
        put_rewritten(out, route, path);
    else
        buf_put_span(out, path);
    if (is_keyed && route->key.drop_query)
        return;
    if (is_keyed && (route->key.sort_query || route->key.query_ignore.n > 0 || route->key.query_allow.n > 0))
        put_parameters(out, route, span_from(query, 1));
    else
        buf_put_span(out, query);
}
