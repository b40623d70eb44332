#include <llhttp.h>
#include <string.h>

#include "common/check.h"
#include "test/differential/verdict.h"

struct run {
    llhttp_t parser;
    struct verdict *verdict;
    struct buf method, target, name, value;
    bool is_request, is_whole, in_value, is_past_head;
};

static struct run *run_of(llhttp_t *p)
{
    return container_of(p, struct run, parser);
}

static int on_method(llhttp_t *p, const char *at, size_t n)
{
    buf_put(&run_of(p)->method, at, n);
    return 0;
}

static int on_target(llhttp_t *p, const char *at, size_t n)
{
    buf_put(&run_of(p)->target, at, n);
    return 0;
}

static void end_field(struct run *r)
{
    struct verdict *v = r->verdict;
    if (r->name.len > 0 && !r->is_past_head) { /* trailers are not compared: ours are dropped */
        buf_put_span(&v->fields, buf_span(&r->name));
        buf_put_lit(&v->fields, ":");
        buf_put_span(&v->fields, span_trim(buf_span(&r->value)));
        buf_put_lit(&v->fields, "\n");
    }
    r->name.len = r->value.len = 0;
    r->in_value = false;
}

static int on_name(llhttp_t *p, const char *at, size_t n)
{
    struct run *r = run_of(p);
    if (r->in_value)
        end_field(r);
    buf_put(&r->name, at, n);
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct run *r = run_of(p);
    r->in_value = true;
    buf_put(&r->value, at, n);
    return 0;
}

static int on_value_end(llhttp_t *p)
{
    end_field(run_of(p));
    return 0;
}

static int on_head(llhttp_t *p)
{
    struct run *r = run_of(p);
    if (r->is_request)
        buf_printf(&r->verdict->start, "%.*s %.*s %d.%d", SPAN_FMT(buf_span(&r->method)),
                   SPAN_FMT(buf_span(&r->target)), p->http_major, p->http_minor);
    else
        buf_printf(&r->verdict->start, "%d.%d %d", p->http_major, p->http_minor, p->status_code);
    r->name.len = r->value.len = 0;
    r->is_past_head = true;
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    buf_put(&run_of(p)->verdict->body, at, n);
    return 0;
}

static int on_message(llhttp_t *p)
{
    run_of(p)->is_whole = true;
    return HPE_PAUSED;
}

static void judge(struct run *r, struct span in)
{
    struct verdict *v = r->verdict;
    llhttp_errno_t err = llhttp_execute(&r->parser, in.p, in.len);
    if (r->is_whole || err == HPE_PAUSED_UPGRADE || err == HPE_PAUSED_H2_UPGRADE) {
        v->outcome = WHOLE;
        v->consumed = (size_t)(llhttp_get_error_pos(&r->parser) - in.p);
        return;
    }
    if (err != HPE_OK) {
        v->outcome = REFUSED;
        v->why = llhttp_errno_name(err);
        return;
    }
    bool has_head = v->start.len > 0;
    v->outcome = has_head && llhttp_finish(&r->parser) != HPE_INVALID_EOF_STATE && r->is_whole ? WHOLE : CUT;
    v->consumed = in.len;
}

void verdict_theirs(struct verdict *v, bool is_request, struct span in)
{
    struct run r = {.verdict = v, .is_request = is_request};
    llhttp_settings_t settings;
    llhttp_settings_init(&settings);
    settings.on_method = on_method;
    settings.on_url = on_target;
    settings.on_header_field = on_name;
    settings.on_header_value = on_value;
    settings.on_header_value_complete = on_value_end;
    settings.on_headers_complete = on_head;
    settings.on_body = on_body;
    settings.on_message_complete = on_message;
    llhttp_init(&r.parser, is_request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    judge(&r, in);
    buf_fini(&r.method);
    buf_fini(&r.target);
    buf_fini(&r.name);
    buf_fini(&r.value);
}
