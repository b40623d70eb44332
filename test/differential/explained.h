/* explained - where our parser and llhttp differ, and why that is right. */
#ifndef TEST_DIFFERENTIAL_EXPLAINED_H
#define TEST_DIFFERENTIAL_EXPLAINED_H

#include "test/differential/verdict.h"

/* NULL when the two agree; else what differs: our reason to refuse, llhttp's name for its own, or "start",
 * "fields", "body", "length" or "end" of what both take. Static text. */
const char *explained_difference(const struct verdict *ours, const struct verdict *theirs);

/* Whether a row explains that difference; counts it. */
bool explained_find(bool is_request, const char *what, const struct verdict *ours, struct span in);

/* The rows and how often each was needed. */
void explained_show(void);

#endif
