#include "bench/paths_time.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/check.h"

uint64_t paths_time_of(struct span text)
{
    char copy[64];
    struct tm tm = {0};
    double fraction = 0;
    snprintf(copy, sizeof copy, "%.*s", SPAN_FMT(text));
    char *rest = strptime(copy, "%d/%b/%Y:%H:%M:%S", &tm);
    if (rest == NULL)
        rest = strptime(copy, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest != NULL && *rest == '.')
        fraction = strtod(rest, &rest);
    while (rest != NULL && *rest == ' ')
        rest++;
    if (rest == NULL || strptime(rest, "%z", &tm) == NULL)
        return PATHS_NO_TIME;
    long offset_s = tm.tm_gmtoff;
    int64_t at_s = (int64_t)timegm(&tm) - offset_s;
    return at_s < 0 ? PATHS_NO_TIME : (uint64_t)at_s * 1000 + (uint64_t)(fraction * 1000 + 0.5);
}

uint64_t paths_time_of_nginx(struct span line)
{
    const char *open = memchr(line.p, '[', line.len);
    struct span rest = open != NULL ? span_from(line, (size_t)(open - line.p) + 1) : (struct span){0};
    const char *close = rest.len > 0 ? memchr(rest.p, ']', rest.len) : NULL;
    return close != NULL ? paths_time_of((struct span){rest.p, (size_t)(close - rest.p)}) : PATHS_NO_TIME;
}

static uint64_t time_of_member(const json_t *value)
{
    double seconds = json_number_value(value);
    if (json_is_string(value)) { /* nginx writes $msec as text where a format quotes it */
        const char *text = json_string_value(value);
        char *end;
        seconds = strtod(text, &end);
        if (*end != '\0' || end == text)
            return paths_time_of(span_of(text));
    }
    return seconds > 0 && seconds < 1e12 ? (uint64_t)(seconds * 1000 + 0.5) : PATHS_NO_TIME;
}

uint64_t paths_time_of_json(const json_t *object)
{
    static const char *const members[] = {"msec", "ts", "time", "timestamp", "time_iso8601", "time_local"};
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        uint64_t at_ms = time_of_member(json_object_get(object, members[i]));
        if (at_ms != PATHS_NO_TIME)
            return at_ms;
    }
    return PATHS_NO_TIME;
}
