/* ctl - what the commands of shieldctl share: where the admin port is, and one question to it at a time.
 *
 * Blocking, single-threaded. What goes wrong is said on stderr, with what to do about it, by the function
 * that finds it. */
#ifndef SHIELD_CTL_CTL_H
#define SHIELD_CTL_CTL_H

#include <jansson.h>

#include "common/buf.h"
#include "common/netaddr.h"

enum ctl_exit { CTL_OK, CTL_FAILED, CTL_USAGE };
enum { CTL_HEADERS = 64 };

struct ctl {
    const char *admin_text; /* ADDR as given, for messages */
    struct netaddr admin;
    const char *token_file; /* NULL: none was given */
    struct buf token;       /* empty: none is sent */
    bool json;              /* answer as JSON instead of text */

    /* explain: the request in question */
    const char *url, *method; /* method NULL: GET */
    const char *headers[CTL_HEADERS];
    unsigned n_headers;

    /* purge: the order as POST /purge takes it, made by the first ctl_order_*; NULL: none */
    json_t *order;
    bool is_waiting; /* for the end: of a paced one, of warming */

    const char *list_file; /* warm, deploy: what is to be warmed: a file, "-" for stdin, or a sitemap's URL;
                              NULL: nothing */
    uint64_t pace;         /* requests a second; 0: as the shield has it */

    uint64_t looks, interval_ms; /* top; 0 looks: until q */
};

/* Put one thing more into the order: an item of a list, or a member. False without memory, which is said. */
bool ctl_order_item(struct ctl *c, const char *list, const char *text);
bool ctl_order_member(struct ctl *c, const char *name, json_t *value); /* takes the value */

/* The first token of the file (as admin.token_file: one a line, '#' comments). False after saying why. */
bool ctl_read_token(struct ctl *c, const char *path);

struct ctl_answer {
    int status;
    struct buf body; /* buf_fini it, whatever was returned */
};

/* GET `target`; any status is an answer. False after saying why there is none. */
bool ctl_ask(const struct ctl *c, const char *target, struct ctl_answer *out);

/* The same with POST, and with `content` unless that is empty. */
bool ctl_post(const struct ctl *c, const char *target, struct span content, struct ctl_answer *out);

/* Say what an answer means that was not hoped for: its "error", or its first line. */
void ctl_say_refusal(const struct ctl *c, const char *target, const struct ctl_answer *a);

/* The same for an answer of 200; another status is told. */
bool ctl_get(const struct ctl *c, const char *target, struct ctl_answer *out);

/* The same for JSON: NULL after saying why. */
json_t *ctl_get_json(const struct ctl *c, const char *target);

/* Write it all to stdout, and free it. CTL_FAILED after saying why that is not possible. */
enum ctl_exit ctl_print(struct buf *text);
enum ctl_exit ctl_print_json(const json_t *value);

/* Order the purge of c->order: what the shield said of one that is in force, else NULL after saying why.
 * *is_durable: it would survive a restart; that it would not is said. */
json_t *ctl_purge_order(const struct ctl *c, bool *is_durable);
void ctl_purge_put(struct buf *out, const json_t *said); /* as a line of text */

/* Have c->list_file warmed, and wait for the end where `waits`: what the shield said then, with what failed
 * on stderr; else NULL after saying why. */
json_t *ctl_warm_list(const struct ctl *c, bool waits);
bool ctl_warm_is_well(const json_t *end); /* all of it was done, and nothing failed */
void ctl_warm_put(struct buf *out, const json_t *said);

/* The commands. */
enum ctl_exit ctl_stats(const struct ctl *c);
enum ctl_exit ctl_flights(const struct ctl *c);
enum ctl_exit ctl_explain(const struct ctl *c);
enum ctl_exit ctl_metrics(const struct ctl *c);
enum ctl_exit ctl_ready(const struct ctl *c);
enum ctl_exit ctl_purge(const struct ctl *c);
enum ctl_exit ctl_warm(const struct ctl *c);
enum ctl_exit ctl_deploy(const struct ctl *c);
enum ctl_exit ctl_top(const struct ctl *c);
enum ctl_exit ctl_reload(const struct ctl *c);
enum ctl_exit ctl_drain(const struct ctl *c);
enum ctl_exit ctl_version(const struct ctl *c);

const char *ctl_own_version(void);

#endif
