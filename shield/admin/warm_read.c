#include "shield/admin/warm_read.h"

#include <jansson.h>

#include "common/check.h"
#include "common/http_head.h"
#include "common/units.h"

static const char example[] = "{\"urls\":[\"http://HOST/PATH\"]}";

static struct span text_of(const json_t *string)
{
    return (struct span){json_string_value(string), json_string_length(string)};
}

static bool set_pace(struct warm_order *o, uint64_t pace)
{
    if (pace < 1 || pace > WARM_PACE_MAX)
        return warm_order_fault(o, "pace: write a number from 1 to %d: requests a second", WARM_PACE_MAX);
    o->pace = pace;
    return true;
}

/* ---- our JSON ---- */

/* Nothing that would end the line (RFC 9110 section 5.5). */
static bool is_field_value(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
            return false;
    return true;
}

/* {"Accept-Encoding":"gzip"} as field lines. */
static bool put_headers(struct warm_order *o, const json_t *set, struct buf *lines)
{
    const char *name;
    json_t *value;
    if (!json_is_object(set))
        return warm_order_fault(o, "headers: write an object of strings, or a list of such objects");
    json_object_foreach((json_t *)set, name, value)
    {
        if (!json_is_string(value) || !http_is_token(span_of(name)) || !is_field_value(text_of(value)))
            return warm_order_fault(o, "headers: '%.100s': write {\"NAME\":\"VALUE\"}", name);
        if (http_field_id(span_of(name)) == FIELD_HOST)
            return warm_order_fault(o, "headers: the host is the one in the URL; leave Host out");
        http_put_field(lines, span_of(name), text_of(value));
    }
    return true;
}

static bool take_set(struct warm_order *o, const json_t *set)
{
    struct buf lines = {0};
    bool ok = put_headers(o, set, &lines) && (!lines.failed || warm_order_nomem(o)) &&
              warm_order_add_variant(o, buf_span(&lines));
    buf_fini(&lines);
    return ok;
}

static bool take_headers(struct warm_order *o, const json_t *value)
{
    if (!json_is_array(value))
        return take_set(o, value);
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(value); i++)
        ok = take_set(o, json_array_get(value, i));
    return ok;
}

static bool take_urls(struct warm_order *o, const json_t *value)
{
    if (!json_is_array(value))
        return warm_order_fault(o, "urls: write a list of strings");
    bool ok = true;
    for (size_t i = 0; ok && i < json_array_size(value); i++) {
        const json_t *one = json_array_get(value, i);
        ok = json_is_string(one) ? warm_order_add_url(o, text_of(one), "urls", i)
                                 : warm_order_fault(o, "urls[%zu]: write a string", i);
    }
    return ok;
}

static bool check_names(struct warm_order *o, const json_t *all)
{
    static const char *const known[] = {"urls", "sitemap", "pace", "headers"};
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)all, name, value)
    {
        bool is_known = false;
        for (size_t i = 0; i < ARRAY_LEN(known); i++)
            is_known |= strcmp(name, known[i]) == 0;
        if (!is_known)
            return warm_order_fault(o, "'%.100s' is not known; there are urls, sitemap, pace and headers",
                                    name);
    }
    return true;
}

static bool take_sitemap(struct warm_order *o, const json_t *value)
{
    return json_is_string(value) ? warm_order_add_map(o, text_of(value), "sitemap", 0)
                                 : warm_order_fault(o, "sitemap: write a string, the URL of one");
}

static bool take_members(struct warm_order *o, const json_t *all)
{
    const json_t *pace = json_object_get(all, "pace"), *headers = json_object_get(all, "headers");
    const json_t *urls = json_object_get(all, "urls"), *sitemap = json_object_get(all, "sitemap");
    if (!check_names(o, all))
        return false;
    if (pace != NULL && !set_pace(o, json_is_integer(pace) && json_integer_value(pace) > 0
                                         ? (uint64_t)json_integer_value(pace)
                                         : 0))
        return false;
    return (headers == NULL || take_headers(o, headers)) && (urls == NULL || take_urls(o, urls)) &&
           (sitemap == NULL || take_sitemap(o, sitemap));
}

static bool read_json(struct warm_order *o, struct span text)
{
    json_error_t wrong;
    json_t *all = json_loadb(text.p, text.len, JSON_REJECT_DUPLICATES, &wrong);
    bool ok = false;
    if (all == NULL && json_error_code(&wrong) == json_error_out_of_memory)
        warm_order_nomem(o);
    else if (all == NULL)
        warm_order_fault(o, "line %d, column %d: no JSON: %s; write %s", wrong.line, wrong.column, wrong.text,
                         example);
    else
        ok = take_members(o, all);
    json_decref(all);
    return ok;
}

/* ---- lines, sitemaps ---- */

static bool read_lines(struct warm_order *o, struct span text)
{
    bool ok = true;
    for (size_t i = 1; ok && text.len > 0; i++) {
        const char *end = memchr(text.p, '\n', text.len);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.len;
        struct span line = {text.p, n};
        if (n > 0 && line.p[n - 1] == '\r')
            line.len--;
        line = span_trim(line);
        text = span_from(text, n + 1);
        if (line.len > 0 && line.p[0] != '#')
            ok = warm_order_add_url(o, line, "line", i);
    }
    return ok;
}

static bool read_query(struct warm_order *o, struct span query)
{
    uint64_t pace;
    if (query.len == 0)
        return true;
    if (span_starts(query, SPAN("pace=")) && units_parse_uint(span_from(query, 5), &pace))
        return set_pace(o, pace);
    return warm_order_fault(o, "of parameters there is pace=N alone: requests a second");
}

bool warm_read(struct warm_order *o, struct span content, struct span query)
{
    if (span_starts(content, SPAN("\xef\xbb\xbf"))) /* what some editors begin a file with */
        content = span_from(content, 3);
    while (content.len > 0 && strchr(" \t\r\n", content.p[0]) != NULL && content.p[0] != '\0')
        content = span_from(content, 1);
    if (!read_query(o, query))
        return false;
    char first = content.len > 0 ? content.p[0] : '\0';
    if (first == '[')
        return warm_order_fault(o, "the content is a list; write an object: %s", example);
    bool ok = first == '{'   ? read_json(o, content)
              : first == '<' ? warm_order_add_listed(o, content)
                             : read_lines(o, content);
    if (ok && warm_order_urls(o) == 0 && warm_order_maps(o) == 0)
        return warm_order_fault(o, "nothing to warm; write %s, a URL a line, or a sitemap", example);
    return ok;
}
