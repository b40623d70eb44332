/* admin_explain - GET /explain: what would become of a request, and why.
 *
 * The request is written as a client would send it and read by the same parser; it is sorted, keyed and
 * looked up by the same code as a real one (policy, cache/look), but nothing is asked, joined, counted or
 * touched. What is only on disk is looked at by the store's readers, so the answer may come later. */
#ifndef SHIELD_ADMIN_ADMIN_EXPLAIN_H
#define SHIELD_ADMIN_ADMIN_EXPLAIN_H

#include "shield/admin/admin_pages.h"

/* The query is "url=URL&method=GET&header=Name:%20value", percent-encoded, header as often as needed. A query
 * that cannot be read gives 400 and {"error"}. As admin_page_answer. */
bool admin_explain(struct admin_pages *p, const struct admin_request *request, struct admin_later *later,
                   struct admin_reply *out);

#endif
