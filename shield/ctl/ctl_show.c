#include "shield/ctl/ctl_show.h"

#include "common/check.h"

const json_t *show_find(const json_t *root, const char *path)
{
    while (root != NULL && *path != '\0') {
        char name[128];
        size_t n = strcspn(path, "/");
        REQUIRE(n < sizeof name);
        memcpy(name, path, n);
        name[n] = '\0';
        root = json_object_get(root, name);
        path += n + (path[n] == '/');
    }
    return root;
}

int64_t show_int(const json_t *root, const char *path)
{
    return json_integer_value(show_find(root, path)); /* 0 for what is no integer */
}

const char *show_text(const json_t *root, const char *path)
{
    const char *text = json_string_value(show_find(root, path));
    return text != NULL ? text : "";
}

void show_put_bytes(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes / 1024;
    size_t i = 0;
    if (bytes < 1024) {
        buf_printf(out, "%u B", (unsigned)bytes);
        return;
    }
    for (; v >= 1023.95 && i + 1 < ARRAY_LEN(units); i++) /* never "1024.0 KiB" */
        v /= 1024;
    buf_printf(out, "%.1f %s", v, units[i]);
}

void show_put_us(struct buf *out, uint64_t us)
{
    if (us < 1000)
        buf_printf(out, "%uus", (unsigned)us);
    else if (us < 999950)
        buf_printf(out, "%.1fms", (double)us / 1e3);
    else
        buf_printf(out, "%.2fs", (double)us / 1e6);
}

void show_put_age(struct buf *out, uint64_t s)
{
    static const struct {
        uint64_t seconds;
        char name;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};
    size_t i = 0;
    while (i + 1 < ARRAY_LEN(units) && s < units[i].seconds)
        i++;
    buf_put_uint(out, s / units[i].seconds);
    buf_put(out, &units[i].name, 1);
    if (i + 1 == ARRAY_LEN(units))
        return;
    buf_put_lit(out, " ");
    buf_put_uint(out, s % units[i].seconds / units[i + 1].seconds);
    buf_put(out, &units[i + 1].name, 1);
}

void show_put_text(struct buf *out, struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char b = (unsigned char)text.p[i];
        if (b >= ' ' && b < 0x7f)
            buf_put(out, &text.p[i], 1);
        else
            buf_printf(out, "%%%02X", b);
    }
}
