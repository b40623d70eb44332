#include "bench/json.h"

void json_put_text(struct buf *out, struct span s)
{
    buf_put_lit(out, "\"");
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c >= 0x7F)
            buf_printf(out, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", c);
        else
            buf_put(out, &s.p[i], 1);
    }
    buf_put_lit(out, "\"");
}
