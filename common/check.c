#include "common/check.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void check_failed(const char *kind, const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: %s(%s) failed: this is a bug\n", file, line, kind, what);
    abort();
}
