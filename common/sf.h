/* sf - structured fields (RFC 9651 section 4.2): a strict parser that allocates nothing.
 *
 * One byte out of place and the whole field does not exist: that is what the RFC demands. So a field is
 * looked at twice: sf_count says whether it holds together, then sf_next walks its members. Pure. */
#ifndef COMMON_SF_H
#define COMMON_SF_H

#include "common/http_head.h"

enum sf_type {
    SF_INTEGER,
    SF_DECIMAL,
    SF_STRING,
    SF_TOKEN,
    SF_BYTES,
    SF_BOOLEAN,
    SF_DATE,
    SF_DISPLAY,
    SF_INNER_LIST,
};

/* A bare item or an inner list, with its parameters. `text` is as it was sent, borrowed from the input:
 * a string without its quotes but with its backslashes, base64 without its colons, a display string with its
 * percent signs, an inner list without its parentheses. */
struct sf_item {
    enum sf_type type;
    int64_t number; /* INTEGER, DATE (seconds since 1970); DECIMAL in thousandths; BOOLEAN 0 or 1 */
    struct span text;
    struct span parameters; /* ";a=1;b": valid, may be empty */
};

/* Of a list or an inner list `key` is empty. Of several dictionary members with one key the last counts: the
 * walk gives them all. A parameter has no parameters. */
struct sf_member {
    struct span key;
    struct sf_item value;
};

enum sf_kind { SF_LIST, SF_DICTIONARY };

/* How many members the field `name` of `h` has, over all its lines: 0 when it is absent or empty, -1 when it
 * is invalid. No member may be split between lines. */
int sf_count(const struct http_head *h, struct span name, enum sf_kind kind);

/* Walk them, in order: start with {0}. False behind the last one. Only after sf_count. */
struct sf_it {
    uint32_t field; /* index of the field after the one being walked */
    struct span rest;
};
bool sf_next(const struct http_head *h, struct span name, enum sf_kind kind, struct sf_it *it,
             struct sf_member *out);

/* One field value that is an item; false when it is none. */
bool sf_item_parse(struct span value, struct sf_item *out);

/* The next of an item's parameters, or of an inner list's members, off `*rest`, which starts as the item's
 * `parameters` or as its `text`. False at the end. */
bool sf_parameter_next(struct span *rest, struct sf_member *out);
bool sf_inner_next(struct span *rest, struct sf_item *out);

/* The bytes that an SF_STRING says into `out`, which has room for item->text.len; gives their number. */
size_t sf_string_copy(const struct sf_item *item, char *out);

#endif
