/* inputs - messages to compare two parsers by: the fuzz corpora and a small grammar, then mutations of these
 * from a fixed seed. */
#ifndef TEST_DIFFERENTIAL_INPUTS_H
#define TEST_DIFFERENTIAL_INPUTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/span.h"

struct inputs {
    struct buf *seeds;
    size_t n_seeds, n_given;
    uint64_t dice;
    struct buf now;
};

/* `folders`: of corpus files, NULL at the end. */
void inputs_init(struct inputs *in, bool are_requests, const char *const folders[], uint64_t seed);

/* The next message, in a block of its own size; valid until the next call. All seeds come once, then
 * mutations. */
struct span inputs_next(struct inputs *in);

void inputs_fini(struct inputs *in);

#endif
