/* config_table - the one typed table of directives, and what can be done with a row: set, clear, show,
 * compare.
 *
 * Private to ops/: everybody else reads struct config. */
#ifndef SHIELD_OPS_CONFIG_TABLE_H
#define SHIELD_OPS_CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "common/buf.h"
#include "common/span.h"
#include "shield/ops/config.h"

enum directive_type {
    D_COUNT,         /* uint64_t; powers of 1000 */
    D_BYTES,         /* uint64_t; powers of 1024 */
    D_TIME,          /* uint64_t; milliseconds */
    D_BOOL,          /* bool */
    D_ENUM,          /* int: the index of its word */
    D_TEXT,          /* char *; any text without control bytes */
    D_NAME,          /* char *; a node's name, or empty */
    D_HOST,          /* char *; host[:port] in lower case, or empty */
    D_TIME_OR,       /* int64_t; milliseconds, or -1 for its word */
    D_STATUS,        /* uint32_t; its word stands for its default */
    D_LABEL,         /* char *; a route's name */
    D_PATTERN,       /* char *; a pattern of paths */
    D_PATH,          /* char *; a path with '*' for what a pattern matched */
    D_URL,           /* char *; what a Location field may say */
    D_VALUE,         /* char *; a field's value, not empty */
    D_FIELD_NAME,    /* char *; a field's name in lower case */
    D_CONTENT,       /* char *; text of several lines */
    D_ADDRESS,       /* struct config_listen */
    D_LISTEN,        /* list: config.listen */
    D_HOSTS,         /* list: config.hosts */
    D_CIDRS,         /* list: struct config_cidrs */
    D_SERVERS,       /* list: config_origin.servers */
    D_HOST_PATTERNS, /* lists: struct config_texts */
    D_PATH_PATTERNS,
    D_PATTERNS,
    D_TOKENS,
    D_FIELD_NAMES,
    D_HEADER_PATTERNS, /* maps: struct config_pairs */
    D_FIELDS,
    D_STATUS_TTL, /* map: config_route.ttl_by_status */
    D_CLASSES,    /* map: config_route.key.classes */
};

/* Where `offset` counts from: struct config, struct config_origin or struct config_route. */
enum directive_scope { SCOPE_GLOBAL, SCOPE_ORIGIN, SCOPE_ROUTE };

enum directive_reload { D_LIVE, D_RESTART };

struct directive {
    const char
        *name; /* dotted; of an origin's row only the last part, of a route's what stands in the route */
    enum directive_type type;
    enum directive_scope scope;
    size_t offset;
    const char *def; /* as it would be written; a list's items with commas; of a route's also the global row
                      * that it comes from */
    const char *min, *max; /* of numbers, as they would be written */
    enum directive_reload reload;
    const char *words; /* D_ENUM: its words, blanks between; D_BOOL: its two, unless off and on; numbers: the
                        * word that stands for 0; D_TIME_OR and D_STATUS: as they say */
    const char *help;
};

extern const struct directive directives[];
extern const size_t directive_count;

static inline bool directive_is_list(const struct directive *d)
{
    return d->type >= D_LISTEN && d->type < D_HEADER_PATTERNS;
}

static inline bool directive_is_map(const struct directive *d)
{
    return d->type >= D_HEADER_PATTERNS;
}

/* The two words of a D_BOOL. */
static inline const char *directive_bool_words(const struct directive *d)
{
    return d->words != NULL ? d->words : "off on";
}

/* `base` is the struct that the row's scope says. */

/* Set the value, or append to a list. Returns 0, ERR_SYNTAX, ERR_RANGE or ERR_NOMEM and then appends to `why`
 * what is wrong and what would be right. The old value stays on an error. */
int directive_add(const struct directive *d, void *base, struct span text, struct buf *why);

/* Append to a map other than D_CLASSES; *key_is_wrong says which of the two an error is about. */
int directive_add_pair(const struct directive *d, void *base, struct span key, struct span value,
                       bool *key_is_wrong, struct buf *why);

/* D_CLASSES: append a class that is still empty; then its header and its patterns. */
int directive_add_class(const struct directive *d, struct config_route *r, struct span name, struct buf *why);
int directive_set_class_header(const struct directive *d, struct config_class *c, struct span header,
                               struct buf *why);
int directive_add_class_pattern(const struct directive *d, struct config_class *c, struct span value,
                                struct span pattern, bool *key_is_wrong, struct buf *why);

/* Whether there is nothing in a list, map or text; false for the others. */
bool directive_is_empty(const struct directive *d, const void *base);

/* The row of that scope called `name`; NULL when there is none. */
const struct directive *directive_find(enum directive_scope scope, struct span name);

/* Empty a list or a map; free a text. Leaves numbers alone. */
void directive_clear(const struct directive *d, void *base);

/* The value as YAML that reads back to the same. */
void directive_put(const struct directive *d, const void *base, struct buf *out);

/* What may be written: "a size from 16m to 1t", "refuse, strip or store". */
void directive_put_allowed(const struct directive *d, struct buf *out);

/* Word number i of `words`, or an empty span behind the last. */
struct span directive_word(const char *words, size_t i);

#endif
