#include "shield/admin/admin_json.h"

#include "common/utf8.h"

static int put_json(const char *p, size_t n, void *body)
{
    buf_put(body, p, n);
    return 0;
}

void admin_reply_json(struct admin_reply *out, json_t *value)
{
    *out = (struct admin_reply){.status = 200, .type = "application/json", .fields = ""};
    if (value == NULL ||
        json_dump_callback(value, put_json, &out->body, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0)
        out->body.failed = true;
    buf_put_lit(&out->body, "\n");
    json_decref(value);
}

json_t *admin_json_bytes(struct span s)
{
    struct buf text = {0};
    while (s.len > 0) {
        uint32_t cp;
        size_t n = utf8_decode(s, &cp);
        if (n > 0)
            buf_put(&text, s.p, n);
        else
            buf_printf(&text, "%%%02X", (unsigned char)s.p[0]);
        s = span_from(s, n > 0 ? n : 1);
    }
    json_t *value = text.failed ? NULL : json_stringn(text.len > 0 ? text.p : "", text.len);
    buf_fini(&text);
    return value;
}
