/* config_load - one loading under way: a config being filled, and where its values came from.
 *
 * Private to ops/. The sources (defaults, YAML, overrides) give dotted names and texts with their places; all
 * problems end as lines in `errors`, and loading goes on after each, so that one run shows them all. */
#ifndef SHIELD_OPS_CONFIG_LOAD_H
#define SHIELD_OPS_CONFIG_LOAD_H

#include "common/arena.h"
#include "shield/ops/config_table.h"

/* Where a value was written. */
struct place {
    const char *source;    /* the file's name, or "--set store.size"; NULL: nowhere, a default */
    unsigned line, column; /* from 1; 0 for what is not a file */
};

/* A route's item in the file, and who set its rows: [directive_count]. */
struct route_places {
    struct place at;
    struct place *given;
};

struct loader {
    struct config *c;
    struct buf *errors;
    int err;             /* of the first problem */
    bool unread;         /* the file is no map of directives: what it lacks is unknown */
    struct place *given; /* by origin (0 for the global rows) and row: who set it last */
    struct place origin_places[CONFIG_MAX_ORIGINS];
    struct route_places *routes; /* [c->n_routes] */
    struct arena memory;         /* of the places' names, and of routes[].given */
};

/* What a dotted name stands for. */
enum name_kind {
    NAME_DIRECTIVE,
    NAME_SECTION, /* "store", "origins", "origins.default" */
    NAME_LATER,   /* known, and not built yet */
    NAME_BAD_ORIGIN,
    NAME_ROUTES, /* "routes", whose items have no names */
    NAME_UNKNOWN,
    NAME_UNKNOWN_IN_ROUTE,
};

struct target {
    const struct directive *d;
    struct span origin; /* NAME of origins.NAME.x */
    uint32_t route;     /* SCOPE_ROUTE: in c->routes */
};

enum name_kind loader_resolve(struct span name, struct target *out);

/* The same for a name within route number `route`: "match.path". */
enum name_kind loader_resolve_in_route(struct span name, uint32_t route, struct target *out);

/* The place where `t` was set last; NULL without memory or beyond CONFIG_MAX_ORIGINS (reported). Makes the
 * origin. */
struct place *loader_slot(struct loader *l, const struct target *t, struct place at, void **base);

/* Make origin `name` if there is none; NULL (reported) when there are too many. */
struct config_origin *loader_origin(struct loader *l, struct span name, struct place at);

void loader_add(struct loader *l, const struct target *t, void *base, struct span text, struct place at);
void loader_add_commas(struct loader *l, const struct target *t, void *base, struct span list,
                       struct place at);

void loader_problem(struct loader *l, int err, struct place at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void loader_warning(struct loader *l, struct place at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The line for a name that is no directive, by its kind. */
void loader_bad_name(struct loader *l, enum name_kind kind, struct span name, struct place at);

/* Fill from YAML text; `file` is its name for messages and outlives the loader. */
void loader_read_yaml(struct loader *l, const char *file, struct span text);

/* Longer names are no directive's and get no suggestion: nobody mistypes that much. */
enum { CONFIG_MAX_NAME = 96 };

/* Edit distance with swaps of neighbours; both at most CONFIG_MAX_NAME bytes. */
size_t config_distance(struct span a, struct span b);

/* The known name nearest to `name` by edit distance, within what a slip of the hand makes; false for none.
 * `in_route` looks at the names within a route, else at all others. */
bool config_nearest(struct span name, bool in_route, struct buf *out);

/* Append a route that says nothing; false (reported) when there are too many, or without memory. */
bool loader_new_route(struct loader *l, struct place at, uint32_t *out);

/* Fill a route with what it inherits, once everything has been read. */
void loader_fill_route(struct loader *l, uint32_t route, const struct config_route *defaults);

/* Fill all routes, and check each by itself and beside the others. */
void loader_settle_routes(struct loader *l);

/* Why row `d` can say nothing in this route, by what the route does otherwise; NULL when it can. */
const char *config_route_excludes(const struct directive *d, const struct config_route *r);

/* What a preset says to row `d`, as it would be written; NULL when nothing. */
const char *config_preset_value(enum config_preset preset, const struct directive *d);

void config_free_routes(struct config *c);

/* The last checks: those that look at more than one directive, and what must not be missing. */
void loader_check(struct loader *l, bool needs_origin);

/* A config with one reference, all defaults and the origin "default", not derived yet; NULL without memory.
 */
struct config *config_new(void);

/* Append origin `name` with all defaults; the caller has looked for room. Returns 0 or ERR_NOMEM. */
int config_new_origin(struct config *c, struct span name);

/* Fill what follows from the directives: workers, node_id, http_limits. Returns 0 or ERR_NOMEM. */
int config_derive(struct config *c);

/* As config_load, from memory, with `file` as the name in messages. `text` may be {NULL, 0} for no file. */
int config_load_text(struct config **out, const char *file, struct span text,
                     const struct config_override *overrides, size_t n, bool needs_origin,
                     struct buf *errors);

#endif
