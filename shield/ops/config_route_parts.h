/* config_route_parts - the values of a route's directives that are more than a number or a word: texts with a
 * grammar, lists of them, maps.
 *
 * Private to ops/. As in config_parts.h: 0 or a code of err.h with *what as the static text to say; nothing
 * has changed then. */
#ifndef SHIELD_OPS_CONFIG_ROUTE_PARTS_H
#define SHIELD_OPS_CONFIG_ROUTE_PARTS_H

#include "shield/ops/config_table.h"

/* `text` as row `d` (a text of its own, or an item of its list) keeps it, appended to `kept`. */
int config_keep_text(const struct directive *d, struct span text, struct buf *kept, const char **what);

int config_add_text(const struct directive *d, struct config_texts *list, struct span text,
                    const char **what);
int config_add_pair(const struct directive *d, struct config_pairs *list, struct span key, struct span value,
                    bool *key_is_wrong, const char **what);
int config_add_status_ttl(struct config_route *r, struct span key, struct span value, bool *key_is_wrong,
                          const char **what);

/* Append class `name`, still without header and patterns. */
int config_add_class(struct config_route *r, struct span name, const char **what);
int config_set_class_header(struct config_class *c, struct span header, const char **what);
/* Append a pattern that stands for `value` of the class. */
int config_add_class_pattern(struct config_class *c, struct span value, struct span pattern,
                             bool *key_is_wrong, const char **what);

void config_clear_texts(struct config_texts *list);
void config_clear_pairs(struct config_pairs *list);
void config_clear_status_ttls(struct config_route *r);
void config_clear_classes(struct config_route *r);

#endif
