#include "shield/purge/purge_tags.h"

#include <string.h>

#include <xxhash.h>

#include "common/check.h"
#include "shield/policy/groups.h"

uint64_t purge_tag_hash(struct span tag)
{
    uint64_t h = XXH3_64bits(tag.p, tag.len);
    return h != 0 ? h : 1;
}

uint64_t purge_tag_at(struct span tags, size_t i)
{
    uint64_t hash;
    REQUIRE((i + 1) * PURGE_TAG_BYTES <= tags.len);
    memcpy(&hash, tags.p + i * PURGE_TAG_BYTES, sizeof hash);
    return hash;
}

static void put(struct buf *out, uint64_t hash)
{
    buf_put(out, &hash, sizeof hash);
}

static void put_tag(struct buf *out, struct span tag)
{
    tag = span_trim(tag);
    if (tag.len > 0)
        put(out, purge_tag_hash(tag));
}

static bool parts(char c, char between)
{
    return c == between || (between == ' ' && c == '\t');
}

static void put_list(struct buf *out, struct span value, char between)
{
    size_t start = 0;
    for (size_t i = 0; i <= value.len; i++) {
        if (i < value.len && !parts(value.p[i], between))
            continue;
        put_tag(out, (struct span){value.p + start, i - start});
        start = i + 1;
    }
}

void purge_tags_put_group(struct buf *out, struct span host, struct span group)
{
    buf_put_span(out, host);
    buf_put_lit(out, "\n");
    buf_put_span(out, group);
}

/* A group is a tag of its own, for the admin's orders, and one of its origin's. */
static void put_groups(struct buf *out, const struct http_head *response, struct span host)
{
    struct buf groups = {0}, named = {0};
    policy_groups(response, &groups);
    out->failed |= groups.failed;
    struct span left = buf_span(&groups);
    while (left.len > 0 && !groups.failed) {
        const char *end = memchr(left.p, '\n', left.len);
        struct span group = {left.p, (size_t)(end - left.p)};
        put(out, purge_tag_hash(group));
        named.len = 0;
        purge_tags_put_group(&named, host, group);
        put(out, purge_tag_hash(buf_span(&named)));
        left = span_from(left, group.len + 1);
    }
    out->failed |= named.failed;
    buf_fini(&groups);
    buf_fini(&named);
}

bool purge_tags_put(struct buf *out, const struct http_head *response, struct span host, uint64_t max)
{
    size_t before = out->len;
    for (uint32_t i = 0; i < response->n_fields; i++) {
        const struct http_field *f = &response->fields[i];
        if (span_eq_nocase(f->name, SPAN("Surrogate-Key")))
            put_list(out, f->value, ' ');
        else if (span_eq_nocase(f->name, SPAN("Cache-Tag")))
            put_list(out, f->value, ',');
    }
    put_groups(out, response, host);
    if ((out->len - before) / PURGE_TAG_BYTES <= max)
        return true;
    out->len = before;
    put(out, 0);
    return false;
}
