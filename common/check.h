/* check - contracts: what only a bug can break.
 *
 * REQUIRE on entry, ENSURE on exit; both stay on in production builds and end the process with the place. */
#ifndef COMMON_CHECK_H
#define COMMON_CHECK_H

#include <stddef.h>
#include <sys/param.h> /* MIN, MAX */

_Noreturn void check_failed(const char *kind, const char *what, const char *file, int line);

#define CHECK_(kind, cond)                                 \
    do {                                                   \
        if (__builtin_expect(!(cond), 0))                  \
            check_failed(kind, #cond, __FILE__, __LINE__); \
    } while (0)

#define REQUIRE(cond) CHECK_("REQUIRE", cond)
#define ENSURE(cond)  CHECK_("ENSURE", cond)

#define BIT(n)                (1u << (n))
#define ARRAY_LEN(a)          (sizeof(a) / sizeof((a)[0]))
#define container_of(p, t, m) ((t *)((char *)(p)-offsetof(t, m)))

#endif
