#include "shield/ops/config_yaml.h"

#include <string.h>

#include "common/check.h"

/* One item of `listen`: an address, or a map with one. */
static void read_listen_map(struct reader *r, const struct target *t, void *base, const yaml_node_t *map)
{
    const yaml_node_t *address = NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->doc, p->key);
        const yaml_node_t *value = yaml_document_get_node(r->doc, p->value);
        struct span name = key->type == YAML_SCALAR_NODE ? reader_scalar(key) : SPAN("");
        if (span_eq(name, SPAN("tls")))
            loader_problem(r->l, ERR_SYNTAX, reader_place(r, key),
                           "'listen.tls' is not built yet; leave it out");
        else if (!span_eq(name, SPAN("address")))
            loader_problem(r->l, ERR_SYNTAX, reader_place(r, key),
                           "unknown key in listen; { address: 0.0.0.0:8080 }");
        else if (address != NULL)
            loader_problem(r->l, ERR_SYNTAX, reader_place(r, key),
                           "a second address; one for each item of listen");
        else if (value->type != YAML_SCALAR_NODE)
            loader_problem(r->l, ERR_SYNTAX, reader_place(r, value),
                           "not a single value; an address like 0.0.0.0:8080");
        else
            address = value;
    }
    if (address != NULL)
        loader_add(r->l, t, base, reader_scalar(address), reader_place(r, address));
    else
        loader_problem(r->l, ERR_SYNTAX, reader_place(r, map), "no address; { address: 0.0.0.0:8080 }");
}

static void read_item(struct reader *r, const struct target *t, void *base, const yaml_node_t *item)
{
    if (item->type == YAML_SCALAR_NODE)
        loader_add(r->l, t, base, reader_scalar(item), reader_place(r, item));
    else if (t->d->type == D_LISTEN && item->type == YAML_MAPPING_NODE)
        read_listen_map(r, t, base, item);
    else
        loader_problem(r->l, ERR_SYNTAX, reader_place(r, item),
                       "not a single value; a list of single values is expected");
}

static void read_list(struct reader *r, const struct target *t, void *base, const yaml_node_t *value)
{
    directive_clear(t->d, base);
    if (value->type != YAML_SEQUENCE_NODE) {
        /* A list whose items were all commented out must not open what it used to close. */
        if (reader_is_nothing(value))
            loader_problem(r->l, ERR_SYNTAX, reader_place(r, value),
                           "'%s' has no value; a list, or [] for none", t->d->name);
        else
            read_item(r, t, base, value);
        return;
    }
    for (yaml_node_item_t *i = value->data.sequence.items.start; i < value->data.sequence.items.top; i++)
        read_item(r, t, base, yaml_document_get_node(r->doc, *i));
}

static void read_directive(struct reader *r, const struct target *t, struct span name, const yaml_node_t *key,
                           const yaml_node_t *value)
{
    void *base;
    struct place *given = loader_slot(r->l, t, reader_place(r, key), &base);
    if (given == NULL)
        return;
    if (given->source != NULL) {
        loader_problem(r->l, ERR_SYNTAX, reader_place(r, key), "'%.*s' is given twice; line %u has the first",
                       SPAN_FMT(name), given->line);
        return;
    }
    *given = reader_place(r, value);
    if (directive_is_list(t->d)) {
        read_list(r, t, base, value);
    } else if (directive_is_map(t->d)) {
        reader_read_map(r, t, base, value);
    } else if (value->type == YAML_SCALAR_NODE) {
        loader_add(r->l, t, base, reader_scalar(value), reader_place(r, value));
    } else {
        struct buf allowed = {0};
        directive_put_allowed(t->d, &allowed);
        loader_problem(r->l, ERR_SYNTAX, reader_place(r, value), "'%.*s' takes a single value; %.*s",
                       SPAN_FMT(name), SPAN_FMT(allowed));
        buf_fini(&allowed);
    }
}

/* False, with a problem, when the section was open before. */
static bool open_section(struct reader *r, struct span name, const yaml_node_t *key)
{
    for (size_t i = r->first_section; i < r->n_sections; i++)
        if (span_eq(span_of(r->sections[i].name), name)) {
            loader_problem(r->l, ERR_SYNTAX, reader_place(r, key),
                           "'%.*s' is given twice; line %u has the first", SPAN_FMT(name),
                           r->sections[i].line);
            return false;
        }
    if (r->n_sections == MAX_SECTIONS)
        return true; /* more than there are names: origins beyond the most, each a problem of its own */
    memcpy(r->sections[r->n_sections].name, name.p, name.len);
    r->sections[r->n_sections++].line = reader_place(r, key).line;
    return true;
}

static void read_map(struct reader *r, const yaml_node_t *map, struct span prefix);

static void read_section(struct reader *r, struct span name, const struct target *t, const yaml_node_t *key,
                         const yaml_node_t *value)
{
    if (!open_section(r, name, key))
        return;
    if (t->origin.len > 0 && loader_origin(r->l, t->origin, reader_place(r, key)) == NULL)
        return;
    if (value->type == YAML_MAPPING_NODE)
        read_map(r, value, name);
    else if (!reader_is_nothing(value)) /* a section whose lines are all commented out is an empty one */
        loader_problem(r->l, ERR_SYNTAX, reader_place(r, value),
                       "'%.*s' is a section; a map of directives is expected", SPAN_FMT(name));
}

/* Each item is a map of the names within a route. */
static void read_routes(struct reader *r, const yaml_node_t *key, const yaml_node_t *value)
{
    if (!open_section(r, SPAN("routes"), key))
        return;
    if (value->type != YAML_SEQUENCE_NODE) {
        loader_problem(r->l, ERR_SYNTAX, reader_place(r, value),
                       "'routes' is a list of maps; [{ match: { path: /x/* }, ttl: 1h }], or [] for none");
        return;
    }
    size_t outer = r->first_section;
    r->first_section = r->n_sections;
    for (yaml_node_item_t *i = value->data.sequence.items.start;
         i < value->data.sequence.items.top && r->l->errors->len < MAX_PROBLEM_BYTES; i++) {
        const yaml_node_t *item = yaml_document_get_node(r->doc, *i);
        uint32_t route;
        if (item->type != YAML_MAPPING_NODE) {
            loader_problem(r->l, ERR_SYNTAX, reader_place(r, item),
                           "a route is a map; { match: { path: /x/* }, ttl: 1h }");
            continue;
        }
        if (!loader_new_route(r->l, reader_place(r, item), &route))
            break;
        r->route = &route;
        read_map(r, item, SPAN(""));
        r->n_sections = r->first_section;
    }
    r->route = NULL;
    r->first_section = outer;
}

/* The dotted names that a map's keys make below `prefix`. A known name is at most four parts long, which
 * bounds the recursion, however often aliases repeat a node. */
static void read_map(struct reader *r, const yaml_node_t *map, struct span prefix)
{
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = yaml_document_get_node(r->doc, p->key);
        const yaml_node_t *value = yaml_document_get_node(r->doc, p->value);
        if (key->type != YAML_SCALAR_NODE) {
            loader_problem(r->l, ERR_SYNTAX, reader_place(r, key),
                           "a key is no name; the name of a directive is expected");
            continue;
        }
        char text[MAX_NAME_BYTES];
        struct span part = reader_scalar(key);
        if (prefix.len + 1 + part.len >= sizeof text) {
            loader_bad_name(r->l, r->route != NULL ? NAME_UNKNOWN_IN_ROUTE : NAME_UNKNOWN, part,
                            reader_place(r, key));
            continue;
        }
        struct span name = {text, 0};
        memcpy(text, prefix.p, prefix.len);
        text[prefix.len] = '.';
        name.len = prefix.len > 0 ? prefix.len + 1 : 0;
        memcpy(text + name.len, part.p, part.len);
        name.len += part.len;
        text[name.len] = '\0';

        struct target t;
        enum name_kind kind =
            r->route != NULL ? loader_resolve_in_route(name, *r->route, &t) : loader_resolve(name, &t);
        if (kind == NAME_DIRECTIVE)
            read_directive(r, &t, name, key, value);
        else if (kind == NAME_SECTION)
            read_section(r, name, &t, key, value);
        else if (kind == NAME_ROUTES && span_eq(name, SPAN("routes")))
            read_routes(r, key, value);
        else
            loader_bad_name(r->l, kind, name, reader_place(r, key));
    }
}

/* libyaml's reader knows only the byte where it stopped. */
static struct place place_of_byte(const char *file, struct span text, size_t offset)
{
    struct place at = {file, 1, 1};
    for (size_t i = 0; i < offset && i < text.len; i++) {
        at.column++;
        if (text.p[i] == '\n') {
            at.line++;
            at.column = 1;
        }
    }
    return at;
}

static void report_syntax(struct loader *l, const char *file, struct span text, const yaml_parser_t *parser)
{
    const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
    l->unread = true;
    if (parser->error == YAML_MEMORY_ERROR)
        loader_problem(l, ERR_NOMEM, (struct place){file, 0, 0}, "%s", err_text(ERR_NOMEM));
    else if (parser->error == YAML_READER_ERROR)
        loader_problem(l, ERR_SYNTAX, place_of_byte(file, text, parser->problem_offset),
                       "%s; YAML in UTF-8 is expected", problem);
    else
        loader_problem(l, ERR_SYNTAX,
                       (struct place){file, (unsigned)parser->problem_mark.line + 1,
                                      (unsigned)parser->problem_mark.column + 1},
                       "%s%s%s; YAML is expected", problem, parser->context != NULL ? " " : "",
                       parser->context != NULL ? parser->context : "");
}

static void read_document(struct loader *l, const char *file, yaml_document_t *doc)
{
    struct reader r = {.l = l, .file = file, .doc = doc};
    const yaml_node_t *root = yaml_document_get_root_node(doc);
    if (root == NULL || reader_is_nothing(root))
        return;
    if (root->type == YAML_MAPPING_NODE) {
        read_map(&r, root, SPAN(""));
        return;
    }
    l->unread = true;
    loader_problem(l, ERR_SYNTAX, reader_place(&r, root),
                   "not a map; directives as 'name: value' are expected");
}

/* One document, and then the end of the file. */
void loader_read_yaml(struct loader *l, const char *file, struct span text)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    if (!yaml_parser_initialize(&parser)) {
        loader_problem(l, ERR_NOMEM, (struct place){file, 0, 0}, "%s", err_text(ERR_NOMEM));
        return;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.p, text.len);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    for (unsigned n = 0;; n++) {
        if (!yaml_parser_load(&parser, &doc)) {
            report_syntax(l, file, text, &parser);
            break;
        }
        bool at_end = yaml_document_get_root_node(&doc) == NULL;
        if (n == 0)
            read_document(l, file, &doc);
        else if (!at_end)
            loader_problem(
                l, ERR_SYNTAX,
                (struct place){file, (unsigned)doc.start_mark.line + 1, (unsigned)doc.start_mark.column + 1},
                "a second document; one is expected");
        yaml_document_delete(&doc);
        if (at_end || n > 0)
            break;
    }
    yaml_parser_delete(&parser);
}
