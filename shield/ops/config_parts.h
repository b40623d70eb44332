/* config_parts - the values of directives that are more than a number or a word: addresses, blocks, hosts,
 * servers.
 *
 * Private to ops/. The setters return 0 or a code of err.h, with *what as the static text to say about the
 * text; nothing has changed then. */
#ifndef SHIELD_OPS_CONFIG_PARTS_H
#define SHIELD_OPS_CONFIG_PARTS_H

#include "shield/ops/config_table.h"

enum { CONFIG_MAX_HOSTS = 256 };

bool config_is_name(struct span s);                     /* 1 to 63 of letters, digits, '.', '_', '-' */
bool config_is_host(struct span s, bool may_have_port); /* reg-name, IPv4, or IPv6 in brackets */
/* UTF-8 without control bytes, but for line ends and tabs where `with_lines`: what logs, -T and YAML can
 * carry.
 */
bool config_is_text(struct span s, bool with_lines);
char *config_lower_copy(struct span s);

int config_set_address(struct config_listen *l, struct span text, const char **what);
int config_add_listen(struct config *c, struct span text, const char **what);
int config_add_host(char ***hosts, struct span text, const char **what);
int config_add_cidr(struct config_cidrs *list, struct span text, const char **what);
int config_add_server(struct config_origin *o, struct span url, const char **what);

void config_clear_address(struct config_listen *l);
void config_clear_listen(struct config *c);
void config_clear_hosts(char ***hosts);
void config_clear_cidrs(struct config_cidrs *list);
void config_clear_servers(struct config_origin *o);

/* Item number i of a list, appended to `out` as it would be written; false behind the last. */
bool config_list_item(const struct directive *d, const void *base, size_t i, struct buf *out);

#endif
