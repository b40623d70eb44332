/* config_yaml - the reading of one YAML document: what its files share. Nobody else includes it.
 *
 * The tree is libyaml's; nodes are looked up by number, and aliases make one node stand in many places. */
#ifndef SHIELD_OPS_CONFIG_YAML_H
#define SHIELD_OPS_CONFIG_YAML_H

#include <yaml.h>

#include "shield/ops/config_load.h"

/* Sections that were opened, to refuse the second `store:` of a file; there are fewer than this many. And
 * where reading of routes ends: aliases could make more problems than anybody reads. */
enum { MAX_SECTIONS = CONFIG_MAX_ORIGINS + 48, MAX_NAME_BYTES = 160, MAX_PROBLEM_BYTES = 64 * 1024 };

struct reader {
    struct loader *l;
    const char *file;
    yaml_document_t *doc;
    struct {
        char name[MAX_NAME_BYTES];
        unsigned line;
    } sections[MAX_SECTIONS];
    size_t first_section, n_sections; /* those of the map that is read: the file's, or a route's */
    const uint32_t *route;            /* the one that is read; NULL outside of routes */
};

static inline struct place reader_place(const struct reader *r, const yaml_node_t *node)
{
    return (struct place){r->file, (unsigned)node->start_mark.line + 1,
                          (unsigned)node->start_mark.column + 1};
}

static inline struct span reader_scalar(const yaml_node_t *node)
{
    return (struct span){(const char *)node->data.scalar.value, node->data.scalar.length};
}

/* `key:` with nothing behind it. */
static inline bool reader_is_nothing(const yaml_node_t *node)
{
    return node->type == YAML_SCALAR_NODE && node->data.scalar.length == 0 &&
           node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
}

/* The value of a row that is a map. Problems go to the loader. */
void reader_read_map(struct reader *r, const struct target *t, void *base, const yaml_node_t *value);

#endif
