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
    D_COUNT,   /* uint64_t; powers of 1000 */
    D_BYTES,   /* uint64_t; powers of 1024 */
    D_TIME,    /* uint64_t; milliseconds */
    D_BOOL,    /* bool */
    D_ENUM,    /* int: the index of its word */
    D_TEXT,    /* char *; any text without control bytes */
    D_NAME,    /* char *; a node's name, or empty */
    D_HOST,    /* char *; host[:port] in lower case, or empty */
    D_ADDRESS, /* struct config_listen */
    D_LISTEN,  /* list: config.listen */
    D_HOSTS,   /* list: config.hosts */
    D_CIDRS,   /* list: struct config_cidrs */
    D_SERVERS, /* list: config_origin.servers */
};

enum directive_reload { D_LIVE, D_RESTART };

struct directive {
    const char *name; /* dotted; of an origin's row only the last part */
    enum directive_type type;
    bool per_origin; /* `offset` counts from struct config_origin, else from struct config */
    size_t offset;
    const char *def;       /* as it would be written; a list's items with commas */
    const char *min, *max; /* of numbers, as they would be written */
    enum directive_reload reload;
    const char *words; /* D_ENUM: its words, blanks between; numbers: the word that stands for 0 */
    const char *help;
};

extern const struct directive directives[];
extern const size_t directive_count;

static inline bool directive_is_list(const struct directive *d)
{
    return d->type >= D_LISTEN;
}

/* `base` is the struct config, or the struct config_origin of a per_origin row. */

/* Set the value, or append to a list. Returns 0, ERR_SYNTAX, ERR_RANGE or ERR_NOMEM and then appends to `why`
 * what is wrong and what would be right. The old value stays on an error. */
int directive_add(const struct directive *d, void *base, struct span text, struct buf *why);

/* Empty a list; free a text. Leaves numbers alone. */
void directive_clear(const struct directive *d, void *base);

/* The value as YAML that reads back to the same. */
void directive_put(const struct directive *d, const void *base, struct buf *out);

/* What may be written: "a size from 16m to 1t", "refuse, strip or store". */
void directive_put_allowed(const struct directive *d, struct buf *out);

/* Word number i of `words`, or an empty span behind the last. */
struct span directive_word(const char *words, size_t i);

#endif
