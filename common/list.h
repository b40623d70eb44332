/* list - an intrusive, circular, doubly linked list. A node that is in no list points to itself. */
#ifndef COMMON_LIST_H
#define COMMON_LIST_H

#include <stdbool.h>

#include "common/check.h"

struct list_node {
    struct list_node *next, *prev;
};

static inline void list_init(struct list_node *n)
{
    n->next = n->prev = n;
}

static inline bool list_empty(const struct list_node *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list_node *n)
{
    return n->next != n;
}

static inline void list_add_tail(struct list_node *head, struct list_node *n)
{
    n->prev = head->prev;
    n->next = head;
    head->prev->next = n;
    head->prev = n;
}

static inline void list_add_head(struct list_node *head, struct list_node *n)
{
    list_add_tail(head->next, n);
}

/* Takes `n` out of its list, if it is in one; `n` can be added again. */
static inline void list_remove(struct list_node *n)
{
    n->prev->next = n->next;
    n->next->prev = n->prev;
    list_init(n);
}

/* Moves all of `from` to the end of `to`. */
static inline void list_splice_tail(struct list_node *to, struct list_node *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_each(node, head) for (struct list_node *node = (head)->next; node != (head); node = node->next)
#define list_each_safe(node, head)                                                         \
    for (struct list_node *node = (head)->next, *next_##node = node->next; node != (head); \
         node = next_##node, next_##node = node->next)

#endif
