#include "common/http_head.h"

#include "common/check.h"
#include "common/err.h"
#include "common/http_chars.h"

enum { NAME_BYTES = 32, SLOTS = 256 };

#define BIT_OF(id) (UINT64_C(1) << FIELD_##id)

/* Names in lower case with, per byte, the bit that makes a letter of the input lower case: comparing
 * (input | fold) with lower is exact for letters and for '-'. */
struct known_name {
    struct span text; /* as we write it */
    char lower[NAME_BYTES], fold[NAME_BYTES];
};

static struct known_name known[FIELD_COUNT] = {
#define X(id, name) [FIELD_##id] = {.text = {name, sizeof(name) - 1}},
    HTTP_FIELDS(X)
#undef X
};

#define X(id, name) _Static_assert(sizeof(name) - 1 <= NAME_BYTES, name);
HTTP_FIELDS(X)
#undef X

static uint8_t slots[SLOTS]; /* open addressing, 0 is free; read-only once main runs */

static unsigned slot_of(struct span name)
{
    unsigned first = (unsigned char)name.p[0] | 0x20u, last = (unsigned char)name.p[name.len - 1] | 0x20u;
    unsigned middle = (unsigned char)name.p[name.len / 2] | 0x20u;
    return ((unsigned)name.len * 7 + first * 31 + last * 101 + middle * 11) % SLOTS;
}

__attribute__((constructor)) static void build_slots(void)
{
    for (unsigned id = 1; id < FIELD_COUNT; id++) {
        struct known_name *k = &known[id];
        for (size_t i = 0; i < k->text.len; i++) {
            k->lower[i] = ascii_lower(k->text.p[i]);
            k->fold[i] = k->lower[i] == '-' ? 0 : 0x20;
        }
        unsigned at = slot_of(k->text);
        while (slots[at] != 0)
            at = (at + 1) % SLOTS;
        slots[at] = (uint8_t)id;
    }
}

static bool same_word(const struct known_name *k, const char *p, size_t at)
{
    uint64_t in, fold, lower;
    memcpy(&in, p + at, sizeof in);
    memcpy(&fold, k->fold + at, sizeof fold);
    memcpy(&lower, k->lower + at, sizeof lower);
    return (in | fold) == lower;
}

static bool is_known(const struct known_name *k, struct span name)
{
    if (k->text.len != name.len)
        return false;
    if (name.len < 8) {
        for (size_t i = 0; i < name.len; i++)
            if ((name.p[i] | k->fold[i]) != k->lower[i])
                return false;
        return true;
    }
    for (size_t i = 0; i + 8 <= name.len; i += 8)
        if (!same_word(k, name.p, i))
            return false;
    return same_word(k, name.p, name.len - 8);
}

enum http_field_id http_field_id(struct span name)
{
    if (name.len == 0 || name.len > NAME_BYTES)
        return FIELD_OTHER;
    for (unsigned at = slot_of(name); slots[at] != 0; at = (at + 1) % SLOTS)
        if (is_known(&known[slots[at]], name))
            return (enum http_field_id)slots[at];
    return FIELD_OTHER;
}

struct span http_field_name(enum http_field_id id)
{
    REQUIRE(id > FIELD_OTHER && id < FIELD_COUNT);
    return known[id].text;
}

enum http_method http_method_id(struct span text)
{
    static const struct span names[METHOD_COUNT] = {
#define X(m) [METHOD_##m] = {#m, sizeof(#m) - 1},
        HTTP_METHODS(X)
#undef X
    };
    for (unsigned m = 1; m < METHOD_COUNT; m++)
        if (span_eq(names[m], text))
            return (enum http_method)m;
    return METHOD_OTHER;
}

const struct http_field *http_find(const struct http_head *h, enum http_field_id id)
{
    REQUIRE(id > FIELD_OTHER && id < FIELD_COUNT);
    if (!http_has(h, id))
        return NULL;
    for (uint32_t i = 0; i < h->n_fields; i++)
        if (h->fields[i].id == id)
            return &h->fields[i];
    return NULL;
}

const struct http_field *http_find_name(const struct http_head *h, struct span name)
{
    enum http_field_id id = http_field_id(name);
    if (id != FIELD_OTHER)
        return http_find(h, id);
    for (uint32_t i = 0; i < h->n_fields; i++)
        if (h->fields[i].id == FIELD_OTHER && span_eq_nocase(h->fields[i].name, name))
            return &h->fields[i];
    return NULL;
}

struct span http_value(const struct http_head *h, enum http_field_id id)
{
    const struct http_field *f = http_find(h, id);
    return f != NULL ? f->value : (struct span){NULL, 0};
}

uint32_t http_count(const struct http_head *h, enum http_field_id id)
{
    uint32_t n = 0;
    if (!http_has(h, id))
        return 0;
    for (uint32_t i = 0; i < h->n_fields; i++)
        n += h->fields[i].id == id;
    return n;
}

uint32_t http_remove(struct http_head *h, enum http_field_id id)
{
    uint32_t n = 0, before = h->n_fields;
    for (uint32_t i = 0; i < before; i++)
        if (h->fields[i].id != id)
            h->fields[n++] = h->fields[i];
    h->n_fields = n;
    h->present &= ~(UINT64_C(1) << id);
    return before - n;
}

uint32_t http_remove_name(struct http_head *h, struct span name)
{
    enum http_field_id id = http_field_id(name);
    uint32_t n = 0, before = h->n_fields;
    if (id != FIELD_OTHER)
        return http_remove(h, id);
    for (uint32_t i = 0; i < before; i++)
        if (h->fields[i].id != FIELD_OTHER || !span_eq_nocase(h->fields[i].name, name))
            h->fields[n++] = h->fields[i];
    h->n_fields = n;
    return before - n;
}

static size_t head_text_bytes(const struct http_head *h)
{
    size_t n = h->method_text.len + h->target.len + h->reason.len;
    for (uint32_t i = 0; i < h->n_fields; i++)
        n += h->fields[i].name.len + h->fields[i].value.len;
    return n;
}

static struct span put_copy(char **at, struct span s)
{
    struct span copy = {*at, s.len};
    if (s.len > 0)
        memcpy(*at, s.p, s.len);
    *at += s.len;
    return copy;
}

int http_head_copy(struct http_head *to, const struct http_head *from, struct arena *a)
{
    struct http_field *fields = arena_alloc(a, from->n_fields * sizeof *fields);
    char *text = arena_alloc(a, head_text_bytes(from));
    if (fields == NULL || text == NULL)
        return ERR_NOMEM;
    *to = *from;
    to->fields = fields;
    to->cap_fields = from->n_fields;
    to->method_text = put_copy(&text, from->method_text);
    to->target = put_copy(&text, from->target);
    to->reason = put_copy(&text, from->reason);
    for (uint32_t i = 0; i < from->n_fields; i++) {
        const struct http_field *f = &from->fields[i];
        fields[i].name = put_copy(&text, f->name);
        fields[i].value = put_copy(&text, f->value);
        fields[i].id = f->id;
    }
    return 0;
}

/* The first comma outside a quoted string, or the end. */
static size_t element_end(struct span s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.len; i++) {
        if (s.p[i] == '"')
            quoted = !quoted;
        else if (s.p[i] == '\\' && quoted)
            i++;
        else if (s.p[i] == ',' && !quoted)
            return i;
    }
    return s.len;
}

bool http_list_next(struct span *rest, struct span *item)
{
    while (rest->len > 0) {
        size_t end = element_end(*rest);
        *item = span_trim((struct span){rest->p, end});
        *rest = span_from(*rest, end + 1);
        if (item->len > 0)
            return true;
    }
    return false;
}

bool http_list_each(const struct http_head *h, enum http_field_id id, struct http_list_it *it,
                    struct span *item)
{
    if (!http_has(h, id))
        return false;
    for (;;) {
        if (http_list_next(&it->rest, item))
            return true;
        while (it->field < h->n_fields && h->fields[it->field].id != id)
            it->field++;
        if (it->field >= h->n_fields)
            return false;
        it->rest = h->fields[it->field++].value;
    }
}

bool http_list_has(const struct http_head *h, enum http_field_id id, struct span token)
{
    struct http_list_it it = {0};
    struct span item;
    while (http_list_each(h, id, &it, &item)) {
        const char *semicolon = memchr(item.p, ';', item.len);
        if (semicolon != NULL)
            item = span_trim((struct span){item.p, (size_t)(semicolon - item.p)});
        if (span_eq_nocase(item, token))
            return true;
    }
    return false;
}

static bool line_names(struct span line, struct span option)
{
    while (line.len > 0) {
        const char *comma = memchr(line.p, ',', line.len);
        size_t n = comma != NULL ? (size_t)(comma - line.p) : line.len;
        if (span_eq_nocase(span_trim((struct span){line.p, n}), option))
            return true;
        line = span_from(line, n + 1);
    }
    return false;
}

bool http_connection_has(const struct http_head *h, struct span option)
{
    if (!http_has(h, FIELD_CONNECTION))
        return false;
    for (uint32_t i = 0; i < h->n_fields; i++)
        if (h->fields[i].id == FIELD_CONNECTION && line_names(h->fields[i].value, option))
            return true;
    return false;
}

bool http_is_hop_by_hop(const struct http_head *h, const struct http_field *f)
{
    static const uint64_t always = BIT_OF(CONNECTION) | BIT_OF(KEEP_ALIVE) | BIT_OF(PROXY_CONNECTION) |
                                   BIT_OF(TE) | BIT_OF(TRAILER) | BIT_OF(TRANSFER_ENCODING) |
                                   BIT_OF(UPGRADE) | BIT_OF(PROXY_AUTHENTICATE) |
                                   BIT_OF(PROXY_AUTHENTICATION_INFO) | BIT_OF(PROXY_AUTHORIZATION);
    /* Of the fields with an id, a peer may only take those away on which no decision of ours rests: routing,
     * framing, what may be stored or shared, what the key and the variant are made of, loops. */
    static const uint64_t removable =
        BIT_OF(ACCEPT_RANGES) | BIT_OF(EXPECT) | BIT_OF(FORWARDED) | BIT_OF(SERVER) |
        BIT_OF(X_FORWARDED_FOR) | BIT_OF(X_FORWARDED_HOST) | BIT_OF(X_FORWARDED_PORT) |
        BIT_OF(X_FORWARDED_PREFIX) | BIT_OF(X_FORWARDED_PROTO) | BIT_OF(X_FORWARDED_SCHEME) |
        BIT_OF(X_FORWARDED_SERVER) | BIT_OF(X_HOST) | BIT_OF(X_HTTP_METHOD_OVERRIDE) |
        BIT_OF(X_ORIGINAL_URL) | BIT_OF(X_REWRITE_URL);

    if ((always >> f->id) & 1)
        return true;
    if (f->id != FIELD_OTHER && ((removable >> f->id) & 1) == 0)
        return false;
    /* without Upgrade it has no meaning, whether or not Connection names it too (RFC 7540 section 3.2.1) */
    if (f->id == FIELD_OTHER && span_eq_nocase(f->name, SPAN("HTTP2-Settings")))
        return true;
    return http_connection_has(h, f->name);
}

bool http_is_token(struct span s)
{
    for (size_t i = 0; i < s.len; i++)
        if (!http_char_is(s.p[i], CHAR_TOKEN))
            return false;
    return s.len > 0;
}

void http_put_field(struct buf *out, struct span name, struct span value)
{
    buf_put_span(out, name);
    buf_put_lit(out, ": ");
    buf_put_span(out, value);
    buf_put_lit(out, "\r\n");
}
