/* llhttp-differential [-v] [SEED] - our parser and llhttp on the same messages: whatever they do not agree on
 * has to be explained by a row of explained.c. Exits 1 when something is not. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "test/differential/explained.h"
#include "test/differential/inputs.h"

enum { MESSAGES = 100000, SHOWN = 20 };

static void show_bytes(const char *what, struct span s)
{
    printf("    %s ", what);
    for (size_t i = 0; i < s.len && i < 400; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\r' || c == '\n')
            printf("%s", c == '\r' ? "\\r" : "\\n");
        else
            printf(c < 0x20 || c > 0x7e || c == '\\' ? "\\x%02x" : "%c", c);
    }
    printf("\n");
}

static void show(const char *of, const struct verdict *v)
{
    static const char *const names[] = {"whole", "cut", "refused"};
    printf("    %s: %s%s%s, %zu bytes\n", of, names[v->outcome], v->why != NULL ? ": " : "",
           v->why != NULL ? v->why : "", v->consumed);
    if (v->outcome != REFUSED) {
        show_bytes("start", buf_span(&v->start));
        show_bytes("fields", buf_span(&v->fields));
        show_bytes("body", buf_span(&v->body));
    }
}

/* A line that is not whole yet may be judged by its bytes or as a whole: its end settles it. */
static void settle(struct verdict *waiting, const struct verdict *other, bool is_request, struct span in,
                   bool are_ours)
{
    struct buf longer = {0};
    struct verdict again = {0};
    if (waiting->outcome != CUT || other->outcome != REFUSED)
        return;
    buf_put_span(&longer, in);
    buf_put_lit(&longer, "\r\n\r\n");
    (are_ours ? verdict_ours : verdict_theirs)(&again, is_request, buf_span(&longer));
    if (again.outcome == REFUSED) {
        waiting->outcome = REFUSED;
        waiting->why = again.why;
    }
    verdict_fini(&again);
    buf_fini(&longer);
}

static unsigned compare_all(bool are_requests, const char *const folders[], uint64_t seed, bool is_wordy)
{
    struct inputs inputs;
    unsigned unexplained = 0, agreed = 0;
    inputs_init(&inputs, are_requests, folders, seed);
    for (unsigned i = 0; i < MESSAGES; i++) {
        struct span given = inputs_next(&inputs);
        char *exact = malloc(given.len + 1); /* the end of the message is the end of the allocation */
        REQUIRE(exact != NULL);
        memcpy(exact + 1, given.p, given.len);
        struct span in = {exact + 1, given.len};
        struct verdict ours = {0}, theirs = {0};
        verdict_ours(&ours, are_requests, in);
        verdict_theirs(&theirs, are_requests, in);
        settle(&ours, &theirs, are_requests, in, true);
        settle(&theirs, &ours, are_requests, in, false);
        const char *what = explained_difference(&ours, &theirs);
        agreed += what == NULL;
        if (what != NULL && !explained_find(are_requests, what, &ours, in) &&
            unexplained++ < (is_wordy ? SHOWN : 3)) {
            printf("  unexplained in %s: %s\n", are_requests ? "requests" : "responses", what);
            show_bytes("sent", in);
            show("ours", &ours);
            show("llhttp", &theirs);
        }
        verdict_fini(&ours);
        verdict_fini(&theirs);
        free(exact);
    }
    printf("llhttp: %s: %u of %d alike, %u unexplained\n", are_requests ? "requests" : "responses", agreed,
           MESSAGES, unexplained);
    inputs_fini(&inputs);
    return unexplained;
}

int main(int argc, char **argv)
{
    static const char *const requests[] = {"test/fuzz/corpus/http1_request", NULL};
    static const char *const responses[] = {"test/fuzz/corpus/http1_response", NULL};
    bool is_wordy = argc > 1 && strcmp(argv[1], "-v") == 0;
    uint64_t seed = argc > 1 + is_wordy ? strtoull(argv[1 + is_wordy], NULL, 10) : 1;
    unsigned unexplained =
        compare_all(true, requests, seed, is_wordy) + compare_all(false, responses, seed, is_wordy);
    if (is_wordy)
        explained_show();
    return unexplained != 0;
}
