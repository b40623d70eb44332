/* admin_pages - what the admin port answers: one row a page, no connection in sight. On the admin loop only.
 */
#ifndef SHIELD_ADMIN_ADMIN_PAGES_H
#define SHIELD_ADMIN_ADMIN_PAGES_H

#include "shield/admin/admin.h"
#include "shield/admin/admin_tokens.h"

struct admin_pages {
    struct admin_sources sources;
    struct loop *loop;
    uint64_t started_ms;    /* clock_mono_ms */
    unsigned n_later;       /* answers that are being made */
    struct ram_stats shown; /* what the loop's slot of the metrics holds of the RAM tier */
};

struct admin_reply {
    int status;
    const char *type;   /* Content-Type */
    const char *fields; /* more fields, each with CRLF; "" for none */
    struct buf body;    /* buf_fini it */
};

/* Who waits for an answer that takes more than a turn of the loop: lives until on_done, which comes once,
 * from a later turn. It takes the reply's body. */
struct admin_later {
    void (*on_done)(struct admin_later *later, struct admin_reply *reply);
    struct admin_pages *pages; /* private */
};

/* What a page is asked, during the call. */
struct admin_request {
    const struct http_head *head;
    struct span target, path, query; /* path and query: before the '?' of the target, and behind it */
    struct span content;
    const struct admin_right *right; /* of who asks */
};

struct admin_page;

/* The page at `path`, or NULL. */
const struct admin_page *admin_page_find(struct span path);

/* Liveness and readiness are for probes, which have neither a token nor a name for us. False for NULL. */
bool admin_page_is_open(const struct admin_page *page);

/* Where its callers may put a token beside Authorization; NULL: nowhere, as of NULL. */
const char *admin_page_token_field(const struct admin_page *page);

/* Whether `right` is enough to ask for it at all; else *out says what is missing. What is in the content may
 * want more. */
bool admin_page_permits(const struct admin_page *page, const struct admin_right *right,
                        struct admin_reply *out);

/* An error as the page's callers read it; of NULL a text. */
void admin_page_refuse(const struct admin_page *page, struct admin_reply *out, int status, const char *why);

/* Whether `page`, or NULL for none, can be asked so; else *out says why not. */
bool admin_page_takes(const struct admin_page *page, const struct http_head *head, bool has_content,
                      struct admin_reply *out);

/* Answer what it takes: true, and the answer is in *out; false, and `later` will hear of it. */
bool admin_page_answer(struct admin_pages *p, const struct admin_page *page, const struct admin_request *r,
                       struct admin_later *later, struct admin_reply *out);

/* For pages that answer later: this is it. */
void admin_later_done(struct admin_later *later, struct admin_reply *reply);

/* A text page that says `why` and a line end. */
void admin_reply_text(struct admin_reply *out, int status, const char *why);

#endif
