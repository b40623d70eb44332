#include "shield/ops/config_yaml.h"

#include "common/check.h"

static void report_value(struct reader *r, const struct directive *d, const yaml_node_t *node)
{
    struct buf allowed = {0};
    directive_put_allowed(d, &allowed);
    loader_problem(r->l, ERR_SYNTAX, reader_place(r, node), "not a single value; %.*s", SPAN_FMT(allowed));
    buf_fini(&allowed);
}

/* The scalar keys of a map, once each (names of fields are the same in any case), with their values. */
static bool each_pair(struct reader *r, const struct directive *d, const yaml_node_t *map, size_t i,
                      const yaml_node_t **key, const yaml_node_t **value)
{
    yaml_node_pair_t *first = map->data.mapping.pairs.start;
    *key = yaml_document_get_node(r->doc, first[i].key);
    *value = yaml_document_get_node(r->doc, first[i].value);
    if ((*key)->type != YAML_SCALAR_NODE) {
        report_value(r, d, *key);
        return false;
    }
    for (size_t before = 0; before < i; before++) {
        const yaml_node_t *other = yaml_document_get_node(r->doc, first[before].key);
        if (other->type == YAML_SCALAR_NODE && span_eq_nocase(reader_scalar(other), reader_scalar(*key))) {
            loader_problem(r->l, ERR_SYNTAX, reader_place(r, *key),
                           "'%.*s' is given twice; line %u has the first",
                           (int)MIN(reader_scalar(*key).len, (size_t)CONFIG_MAX_NAME), reader_scalar(*key).p,
                           reader_place(r, other).line);
            return false;
        }
    }
    return true;
}

/* How many pairs of a map are read; a problem when there are more. */
static size_t count_pairs(struct reader *r, const yaml_node_t *map)
{
    size_t n = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
    if (n > CONFIG_MAX_ROUTE_ITEMS)
        loader_problem(r->l, ERR_RANGE, reader_place(r, map), "%zu items are too many; %d are the most", n,
                       CONFIG_MAX_ROUTE_ITEMS);
    return n > CONFIG_MAX_ROUTE_ITEMS ? 0 : n;
}

/* A pair of a map of texts; a class's pattern where `c` is not NULL. */
static void add_pair(struct reader *r, const struct target *t, void *base, struct config_class *c,
                     const yaml_node_t *key, const yaml_node_t *value)
{
    struct buf why = {0};
    bool key_is_wrong = false;
    if (value->type != YAML_SCALAR_NODE || reader_is_nothing(value)) {
        report_value(r, t->d, value);
        return;
    }
    int err = c != NULL ? directive_add_class_pattern(t->d, c, reader_scalar(key), reader_scalar(value),
                                                      &key_is_wrong, &why)
                        : directive_add_pair(t->d, base, reader_scalar(key), reader_scalar(value),
                                             &key_is_wrong, &why);
    if (err != 0)
        loader_problem(r->l, err, reader_place(r, key_is_wrong ? key : value), "%.*s", SPAN_FMT(why));
    buf_fini(&why);
}

static void read_pairs(struct reader *r, const struct target *t, void *base, struct config_class *c,
                       const yaml_node_t *map)
{
    bool may_be_list = c != NULL || t->d->type == D_FIELDS;
    size_t n = count_pairs(r, map);
    for (size_t i = 0; i < n; i++) {
        const yaml_node_t *key, *value;
        if (!each_pair(r, t->d, map, i, &key, &value))
            continue;
        if (!may_be_list || value->type != YAML_SEQUENCE_NODE) {
            add_pair(r, t, base, c, key, value);
            continue;
        }
        yaml_node_item_t *item = value->data.sequence.items.start;
        for (; item < value->data.sequence.items.top && r->l->errors->len < MAX_PROBLEM_BYTES; item++)
            add_pair(r, t, base, c, key, yaml_document_get_node(r->doc, *item));
    }
}

/* { header: User-Agent, values: { mobile: "*Mobile*" } } */
static void read_class(struct reader *r, const struct target *t, struct config_class *c,
                       const yaml_node_t *map)
{
    size_t n = count_pairs(r, map);
    for (size_t i = 0; i < n; i++) {
        const yaml_node_t *key, *value;
        if (!each_pair(r, t->d, map, i, &key, &value))
            continue;
        struct buf why = {0};
        int err = 0;
        if (span_eq(reader_scalar(key), SPAN("header")) && value->type == YAML_SCALAR_NODE)
            err = directive_set_class_header(t->d, c, reader_scalar(value), &why);
        else if (span_eq(reader_scalar(key), SPAN("values")) && value->type == YAML_MAPPING_NODE)
            read_pairs(r, t, NULL, c, value);
        else
            report_value(r, t->d, key);
        if (err != 0)
            loader_problem(r->l, err, reader_place(r, value), "%.*s", SPAN_FMT(why));
        buf_fini(&why);
    }
    if (c->header == NULL || c->patterns.n == 0)
        report_value(r, t->d, map);
}

static void read_classes(struct reader *r, const struct target *t, struct config_route *route,
                         const yaml_node_t *map)
{
    size_t n = count_pairs(r, map);
    for (size_t i = 0; i < n && r->l->errors->len < MAX_PROBLEM_BYTES; i++) {
        const yaml_node_t *key, *value;
        if (!each_pair(r, t->d, map, i, &key, &value))
            continue;
        struct buf why = {0};
        int err = directive_add_class(t->d, route, reader_scalar(key), &why);
        if (err != 0)
            loader_problem(r->l, err, reader_place(r, key), "%.*s", SPAN_FMT(why));
        else if (value->type != YAML_MAPPING_NODE)
            report_value(r, t->d, value);
        else
            read_class(r, t, &route->key.classes[route->key.n_classes - 1], value);
        buf_fini(&why);
    }
}

void reader_read_map(struct reader *r, const struct target *t, void *base, const yaml_node_t *value)
{
    if (value->type != YAML_MAPPING_NODE)
        report_value(r, t->d, value);
    else if (t->d->type == D_CLASSES)
        read_classes(r, t, base, value);
    else
        read_pairs(r, t, base, NULL, value);
}
