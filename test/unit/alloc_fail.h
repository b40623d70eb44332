/* alloc_fail - the n-th allocation of the code under test fails, for every n.
 *
 * The wrappers stand in the test's own binary and so before every library's. Only calls from code that is
 * linked into the binary count (libuv ends the process when it finds no memory, which would prove nothing),
 * and only on threads that are armed. Include it in one file of a test. */
#ifndef TEST_UNIT_ALLOC_FAIL_H
#define TEST_UNIT_ALLOC_FAIL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ALLOC_SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ALLOC_SANITIZED 1
#endif

/* The sanitizers' own allocators go on seeing every call. */
#ifdef ALLOC_SANITIZED
#define REAL(f) __interceptor_##f
#else
#define REAL(f) __libc_##f
#endif
void *REAL(malloc)(size_t n);
void *REAL(calloc)(size_t n, size_t size);
void *REAL(realloc)(void *p, size_t n);

extern char __executable_start[], etext[];

/* How many more may succeed; below 0: no limit. */
static _Atomic int64_t alloc_left = -1;
static atomic_bool alloc_has_failed;
static _Thread_local bool alloc_armed;

/* The wrappers are called before the sanitizers have set themselves up. */
#define ALLOC_PLAIN __attribute__((no_sanitize("address", "thread", "undefined")))

ALLOC_PLAIN static bool alloc_must_fail(const char *caller)
{
    if (!alloc_armed || caller < __executable_start || caller >= etext)
        return false;
    int64_t left = atomic_load(&alloc_left);
    while (left > 0 && !atomic_compare_exchange_weak(&alloc_left, &left, left - 1))
        ;
    if (left != 0)
        return false;
    atomic_store(&alloc_left, -1);
    atomic_store(&alloc_has_failed, true);
    return true;
}

/* Success for `n` allocations, then one failure, then success again. */
static inline void alloc_fail_after(int64_t n)
{
    atomic_store(&alloc_has_failed, false);
    atomic_store(&alloc_left, n);
}

/* No failure any more; gives whether there was one. */
static inline bool alloc_calm(void)
{
    atomic_store(&alloc_left, -1);
    return atomic_load(&alloc_has_failed);
}

/* Runs `body` with the first, the second, ... allocation failing until one run needs no more. Gives the
 * number of failures. */
static inline int alloc_fail_each(void (*body)(void *ctx), void *ctx)
{
    for (int n = 0;; n++) {
        alloc_fail_after(n);
        alloc_armed = true;
        body(ctx);
        alloc_armed = false;
        if (!alloc_calm())
            return n;
    }
}

#define ALLOC_CALLER ((const char *)__builtin_return_address(0))

ALLOC_PLAIN void *malloc(size_t n)
{
    return alloc_must_fail(ALLOC_CALLER) ? NULL : REAL(malloc)(n);
}

ALLOC_PLAIN void *calloc(size_t n, size_t size)
{
    return alloc_must_fail(ALLOC_CALLER) ? NULL : REAL(calloc)(n, size);
}

ALLOC_PLAIN void *realloc(void *p, size_t n)
{
    return alloc_must_fail(ALLOC_CALLER) ? NULL : REAL(realloc)(p, n);
}

#endif
