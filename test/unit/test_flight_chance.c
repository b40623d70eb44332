/* Hundreds of schedules by chance: who comes, who leaves, how the origin behaves; and what must hold whatever
 * happens. */
#include "shield/flight/flight.h"

#include "common/clock.h"
#include "shield/purge/purge_log.h"
#include "test/unit/flight_rig.h"

enum { SCHEDULES = 250, CLIENTS = 24, KEYS = 3, LOOPS = 2, CONNS = 64, VARIANTS = 3 };

struct dice {
    uint64_t state;
};

static uint64_t roll(struct dice *d, uint64_t below)
{
    d->state = d->state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (d->state >> 33) % below;
}

/* ---- the origin: one thread, whose behaviour follows from the request and the seed ---- */

enum manner {
    CACHEABLE, /* shareable with its head */
    CHUNKED,
    UNTIL_CLOSE,
    VARYING, /* on X-V */
    CUT_OFF, /* shareable, and ends in the middle */
    TORN,    /* the same, with a strong validator: the rest will be asked for */
    TORN_CHUNKED,
    PRIVATE_ONE, /* from here on: not shareable once its head is out */
    VALIDATE,
    MISSING, /* 404 */
    BROKEN,  /* 500 */
    BROKEN_PRIVATE,
    TORN_PRIVATE,
    NO_ANSWER, /* closed before a head */
    RUDE,      /* not HTTP */
    MANNERS
};

static const struct {
    const char *name;
    int status;
    const char *fields;
    bool is_shareable;
} manners[MANNERS] = {
    [CACHEABLE] = {"cacheable", 200, FRESH, true},
    [CHUNKED] = {"chunked", 200, FRESH, true},
    [UNTIL_CLOSE] = {"until close", 200, FRESH, true},
    [VARYING] = {"varying", 200, FRESH "Vary: X-V\r\n", true},
    [CUT_OFF] = {"cut off", 200, FRESH, true},
    [TORN] = {"torn", 200, FRESH, true},
    [TORN_CHUNKED] = {"torn and chunked", 200, FRESH, true},
    [PRIVATE_ONE] = {"private", 200, PRIVATE, false},
    [VALIDATE] = {"to be validated", 200, "Cache-Control: no-cache\r\n", false},
    [MISSING] = {"missing", 404, "", false},
    [BROKEN] = {"broken", 500, "", false},
    [BROKEN_PRIVATE] = {"broken and private", 500, PRIVATE, false},
    [TORN_PRIVATE] = {"torn and private", 200, PRIVATE, false},
    [NO_ANSWER] = {"no answer", 0, NULL, true},
    [RUDE] = {"rude", 0, NULL, true},
};

/* How the rest is served to whom it broke off: honestly, or as nothing that may go on. */
enum rest {
    REST_WHOLE,
    REST_CHUNKED,
    REST_TORN,  /* breaks off again */
    REST_SHORT, /* a part of what was asked for */
    HONEST_RESTS,
    REST_ALL = HONEST_RESTS, /* from here on with bytes of another body */
    REST_EARLIER,
    REST_LONGER,
    REST_CHANGED,
    REST_WEAK,
    REST_UNNAMED,
    REST_EXCEEDED, /* chunks behind the end of its range */
    REST_NONE,     /* 416 */
    RESTS
};

struct serving {
    struct peer peer;
    bool is_open, is_busy, head_is_out,
        counts;  /* counts: a shareable fetch runs here as far as anybody can know */
    char id[96]; /* method, path, variant */
    enum manner manner;
    bool is_rest;
    int tagged_by; /* the manner of the head whose body this is the rest of */
    enum rest rest;
    uint64_t whole, length, sent, salt; /* length: where it stops sending */
    int turns;                          /* until the next step */
};

static struct {
    struct origin *origin;
    pthread_t thread;
    struct dice dice;
    uint64_t object_max; /* what is larger is not kept */
    bool purges;         /* then a fetch that is fenced may run beside the next one */
    struct serving at[CONNS];
    atomic_bool must_end;
    _Atomic int requests, overlaps, honest_rests, false_rests;
} sim;

static void stop_serving(struct serving *s, bool by_reset)
{
    if (by_reset)
        peer_reset(&s->peer);
    else
        peer_close(&s->peer);
    s->is_open = s->is_busy = s->counts = false;
}

/* Whether the other side has ended this connection: then its fetch has ended, though we have not read that
 * yet. Its end may come a little behind a request from another loop; since nobody answers meanwhile, a fetch
 * that runs goes on. */
static bool has_ended(const struct serving *s)
{
    char byte;
    struct pollfd p = {.fd = s->peer.fd, .events = POLLIN};
    if (poll(&p, 1, 200) != 1)
        return false;
    ssize_t n = recv(s->peer.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN);
}

static bool is_torn(enum manner m)
{
    return m == TORN || m == TORN_CHUNKED || m == TORN_PRIVATE;
}

/* The tag of a body says all that the rest of it needs: "salt-length-manner". */
static bool take_rest(struct serving *s, const char *end)
{
    const char *range = strstr(s->peer.in, "\r\nRange: "), *tag = strstr(s->peer.in, "\r\nIf-Range: ");
    unsigned long long from, salt, whole;
    int manner;
    if (range == NULL || range > end)
        return false;
    REQUIRE(tag != NULL && tag < end && sscanf(range, "\r\nRange: bytes=%llu-\r\n", &from) == 1);
    REQUIRE(sscanf(tag, "\r\nIf-Range: \"%llu-%llu-%d\"\r\n", &salt, &whole, &manner) == 3);
    REQUIRE(from < whole);
    bool honest = roll(&sim.dice, 3) > 0;
    s->rest = (enum rest)(honest ? roll(&sim.dice, HONEST_RESTS)
                                 : HONEST_RESTS + roll(&sim.dice, RESTS - HONEST_RESTS));
    if ((s->rest == REST_LONGER && manner == TORN_CHUNKED) || (s->rest == REST_EXCEEDED && from + 1 == whole))
        s->rest = REST_CHANGED; /* nobody could tell */
    s->tagged_by = manner;
    atomic_fetch_add(honest ? &sim.honest_rests : &sim.false_rests, 1);
    s->manner = s->rest == REST_CHUNKED || s->rest == REST_EXCEEDED ? CHUNKED : CACHEABLE;
    s->whole = s->length = whole;
    s->sent = from;
    s->salt = honest ? salt : salt + 1;
    if (s->rest == REST_TORN || s->rest == REST_SHORT)
        s->length = from + 1 + roll(&sim.dice, whole - from);
    s->counts = manners[manner].is_shareable && (whole <= sim.object_max || from < CHUNK_SMALL);
    return true;
}

static void check_alone(const struct serving *s)
{
    for (int i = 0; i < CONNS; i++) {
        const struct serving *other = &sim.at[i];
        if (other == s || !other->counts || strcmp(other->id, s->id) != 0 || has_ended(other) ||
            has_ended(s) || has_ended(s))
            continue;
        fprintf(stderr, "two shareable fetches at a time: %s; one is %s, %llu of %llu bytes sent\n", s->id,
                manners[other->manner].name, (unsigned long long)other->sent,
                (unsigned long long)other->length);
        atomic_fetch_add(&sim.overlaps, 1);
    }
}

static void take_request(struct serving *s, const char *end)
{
    char method[8], path[64], variant[16] = "-";
    size_t n = (size_t)(end + 4 - s->peer.in);
    REQUIRE(sscanf(s->peer.in, "%7s %63s", method, path) == 2);
    const char *v = strstr(s->peer.in, "X-V: ");
    if (v != NULL && v < end)
        sscanf(v, "X-V: %15[^\r]", variant);
    snprintf(s->id, sizeof s->id, "%s %s %s", method, path, variant);
    atomic_fetch_add(&sim.requests, 1);
    s->is_busy = s->counts = true;
    s->head_is_out = false;
    s->turns = (int)roll(&sim.dice, 6);
    s->is_rest = take_rest(s, end);
    if (s->counts &&
        !sim.purges) /* not the rest of what nobody could join any more: another may run beside it */
        check_alone(s);
    peer_take(&s->peer, n);
    if (s->is_rest)
        return;
    s->manner = (enum manner)roll(&sim.dice, MANNERS);
    s->whole = roll(&sim.dice, 4) == 0 ? roll(&sim.dice, 300000) : roll(&sim.dice, 3000);
    s->salt = roll(&sim.dice, 256);
    s->sent = 0;
    s->whole += is_torn(s->manner); /* at least one byte is missing in the end */
    if (strcmp(method, "HEAD") == 0)
        s->whole = 0;
    s->length = is_torn(s->manner) && s->whole > 0 ? roll(&sim.dice, s->whole) : s->whole;
}

static bool is_chunked(const struct serving *s)
{
    return s->manner == CHUNKED || s->manner == TORN_CHUNKED;
}

static bool is_for_head(const struct serving *s)
{
    return strncmp(s->id, "HEAD", 4) == 0;
}

static void send_head_of_rest(struct serving *s)
{
    static const char *const tags[RESTS] = {[REST_CHANGED] = "ETag: \"other\"\r\n",
                                            [REST_WEAK] = "ETag: W/\"%llu-%llu-%d\"\r\n",
                                            [REST_UNNAMED] = ""};
    char head[400];
    int status = s->rest == REST_ALL ? 200 : s->rest == REST_NONE ? 416 : 206;
    uint64_t first = s->sent - (s->rest == REST_EARLIER && s->sent > 0);
    uint64_t end = s->rest == REST_SHORT ? s->length : s->whole;
    unsigned long long salt = s->salt - (s->rest >= HONEST_RESTS);
    if (s->rest == REST_EXCEEDED)
        end = s->sent + 1;
    if (s->rest == REST_ALL || (s->rest == REST_EARLIER && s->sent == 0))
        status = 200, first = s->sent = 0;
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\n", status);
    n += snprintf(head + n, sizeof head - (size_t)n,
                  tags[s->rest] != NULL ? tags[s->rest] : "ETag: \"%llu-%llu-%d\"\r\n", salt,
                  (unsigned long long)s->whole, s->tagged_by);
    n += snprintf(head + n, sizeof head - (size_t)n, "Content-Range: bytes %llu-%llu/%llu\r\n",
                  (unsigned long long)first, (unsigned long long)end - 1,
                  (unsigned long long)s->whole + (s->rest == REST_LONGER));
    if (s->manner == CHUNKED)
        n += snprintf(head + n, sizeof head - (size_t)n, "Transfer-Encoding: chunked\r\n\r\n");
    else
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %llu\r\n\r\n",
                      (unsigned long long)(end - first));
    s->head_is_out = true;
    if (s->rest >= HONEST_RESTS)
        s->counts = false; /* it ends with its head over there, or with its second byte */
    if (send(s->peer.fd, head, (size_t)n, MSG_NOSIGNAL) < 0)
        stop_serving(s, false);
}

static void send_head_of(struct serving *s)
{
    char head[400];
    if (s->manner == NO_ANSWER || s->manner == RUDE) {
        s->counts = false;
        if (s->manner == RUDE)
            send(s->peer.fd, "what?\r\n\r\n", 9, MSG_NOSIGNAL);
        stop_serving(s, roll(&sim.dice, 2) == 0);
        return;
    }
    bool is_head = is_for_head(s);
    for (uint64_t hints = roll(&sim.dice, 3); hints > 0; hints--)
        send(s->peer.fd, "HTTP/1.1 103 X\r\nLink: x\r\n\r\n", 27, MSG_NOSIGNAL);
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\n%s", manners[s->manner].status,
                     manners[s->manner].fields);
    if (is_torn(s->manner) || s->manner == VALIDATE)
        n += snprintf(head + n, sizeof head - (size_t)n, "ETag: \"%llu-%llu-%d\"\r\n",
                      (unsigned long long)s->salt, (unsigned long long)s->whole, (int)s->manner);
    if (is_chunked(s) && !is_head)
        n += snprintf(head + n, sizeof head - (size_t)n, "Transfer-Encoding: chunked\r\n");
    else if (s->manner != UNTIL_CLOSE || is_head)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %llu\r\n",
                      (unsigned long long)(s->manner == CUT_OFF && !is_head ? s->whole + 1 : s->whole));
    n += snprintf(head + n, sizeof head - (size_t)n, "\r\n");
    s->head_is_out = true;
    if (!manners[s->manner].is_shareable || s->whole == 0)
        s->counts = false; /* before it is known over there */
    if (send(s->peer.fd, head, (size_t)n, MSG_NOSIGNAL) < 0)
        stop_serving(s, false);
}

static bool send_piece(struct serving *s)
{
    static char piece[100000];
    uint64_t some = 1 + roll(&sim.dice, 60000); /* MIN would roll twice */
    size_t n = (size_t)MIN(s->length - s->sent, some);
    char size[24];
    put_bytes(piece, s->salt, s->sent, n);
    bool cannot_be_joined =
        s->whole > sim.object_max && s->sent + n >= CHUNK_SMALL; /* its beginning may be gone */
    uint64_t end = s->is_rest && s->rest == REST_SHORT ? s->length : s->whole;
    if (s->sent + n == end || cannot_be_joined)
        s->counts = false; /* its last byte ends it */
    if (is_chunked(s)) {
        int k = snprintf(size, sizeof size, "%zx\r\n", n);
        send(s->peer.fd, size, (size_t)k, MSG_NOSIGNAL);
    }
    for (size_t at = 0; at < n;) {
        ssize_t k = send(s->peer.fd, piece + at, n - at, MSG_NOSIGNAL);
        if (k < 0)
            return false;
        at += (size_t)k;
    }
    s->sent += n;
    return !is_chunked(s) || send(s->peer.fd, "\r\n", 2, MSG_NOSIGNAL) == 2;
}

static void end_answer(struct serving *s)
{
    s->counts = false;
    bool is_head = is_for_head(s);
    bool breaks = s->is_rest ? s->rest == REST_TORN : s->manner == CUT_OFF || is_torn(s->manner);
    if (is_chunked(s) && !is_head && !breaks)
        send(s->peer.fd, "0\r\n\r\n", 5, MSG_NOSIGNAL);
    if (!is_head && (s->manner == UNTIL_CLOSE || breaks))
        stop_serving(s, breaks && roll(&sim.dice, 2) == 0);
    else if (roll(&sim.dice, 8) == 0) /* an idle connection dies */
        stop_serving(s, roll(&sim.dice, 2) == 0);
    s->is_busy = false;
}

/* One step of one connection, when its time has come. */
static void serve_step(struct serving *s)
{
    if (s->turns-- > 0)
        return;
    s->turns = (int)roll(&sim.dice, 4);
    if (!s->head_is_out && s->is_rest)
        send_head_of_rest(s);
    else if (!s->head_is_out)
        send_head_of(s);
    else if (s->sent < s->length) {
        if (!send_piece(s))
            stop_serving(s, false);
    } else
        end_answer(s);
}

static void read_requests(struct serving *s)
{
    ssize_t n = recv(s->peer.fd, s->peer.in + s->peer.len, sizeof s->peer.in - 1 - s->peer.len, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN)) {
        stop_serving(s, false);
        return;
    }
    s->peer.len += n > 0 ? (size_t)n : 0;
    s->peer.in[s->peer.len] = '\0';
    const char *end = strstr(s->peer.in, "\r\n\r\n");
    if (end != NULL)
        take_request(s, end);
}

static void *serve(void *unused)
{
    while (!atomic_load(&sim.must_end)) {
        struct pollfd fds[CONNS + 1] = {{.fd = sim.origin->fd, .events = POLLIN}};
        bool busy = false;
        for (int i = 0; i < CONNS; i++) {
            fds[i + 1] = (struct pollfd){.fd = sim.at[i].is_open ? sim.at[i].peer.fd : -1, .events = POLLIN};
            busy |= sim.at[i].is_busy;
        }
        poll(fds, CONNS + 1, busy ? 0 : 1);
        for (int i = 0; i < CONNS; i++) {
            struct serving *s = &sim.at[i];
            if (s->is_open && fds[i + 1].revents != 0)
                read_requests(s);
            if (s->is_open && s->is_busy)
                serve_step(s);
        }
        for (int i = 0; i < CONNS && (fds[0].revents & POLLIN); i++) {
            if (sim.at[i].is_open)
                continue;
            peer_accept(sim.origin, &sim.at[i].peer);
            sim.at[i].is_open = true;
            break;
        }
    }
    for (int i = 0; i < CONNS; i++)
        if (sim.at[i].is_open)
            stop_serving(&sim.at[i], false);
    return NULL;
}

static void start_sim(struct origin *o, uint64_t seed, uint64_t object_max, bool purges)
{
    memset(&sim, 0, sizeof sim);
    sim.origin = o;
    sim.dice.state = seed;
    sim.object_max = object_max;
    sim.purges = purges;
    assert_int_equal(pthread_create(&sim.thread, NULL, serve, NULL), 0);
}

static void stop_sim(void)
{
    atomic_store(&sim.must_end, true);
    pthread_join(sim.thread, NULL);
}

/* ---- the clients ---- */

/* What the schedule lets happen on a loop, one after the other. */
struct action {
    struct mail mail;
    struct client *client;
    enum { ASK, LEAVE, SLOW_DOWN, READ_ON } what;
};

static void deliver_action(struct mail *m)
{
    struct action *a = container_of(m, struct action, mail);
    struct client *c = a->client;
    switch (a->what) {
    case ASK:
        ask_cache(c);
        break;
    case LEAVE:
        leave_flight(c);
        break;
    case SLOW_DOWN:
        c->stops_reading = true;
        break;
    case READ_ON:
        read_again(c);
        break;
    }
}

static void post(struct action *a, struct client *c, int what)
{
    *a = (struct action){.mail.deliver = deliver_action, .client = c};
    a->what = what;
    loop_post(c->rig->base.loops[c->at], &a->mail);
}

static void pass_time(struct dice *d)
{
    for (uint64_t n = roll(d, 4) == 0 ? roll(d, 2000) : 0; n > 0; n--)
        sched_yield();
}

/* What has a tag of ours is the very body that the tag names. */
static bool is_as_named(const struct client *c)
{
    char tag[60];
    unsigned long long salt, length;
    int manner;
    struct span etag = object_head(c->object)->validators.etag;
    snprintf(tag, sizeof tag, "%.*s", SPAN_FMT(etag));
    if (c->method != METHOD_GET || sscanf(tag, "\"%llu-%llu-%d\"", &salt, &length, &manner) != 3)
        return true;
    return c->bytes == length && (length == 0 || c->salt == (unsigned char)byte_at(salt, 0));
}

/* ---- purges: in force at once, while the loops pass when their turn comes ---- */

struct purges {
    struct purge_log *log;
    uint64_t least[CLIENTS]; /* of what each client may get: the newest purge of its path when it asked */
    struct pass {
        struct mail mail;
        struct flight_env *env;
    } passes[CLIENTS][LOOPS];
};

static void deliver_pass(struct mail *m)
{
    flight_env_fence(container_of(m, struct pass, mail)->env);
}

static void purge_something(struct flight_rig *r, struct purges *p, struct client *clients, unsigned k,
                            struct dice *d)
{
    const char *path = clients[roll(d, k + 1)].path;
    bool all = roll(d, 4) == 0, collapsed;
    struct purge_record record = {.number = purge_log_number(p->log) + 1,
                                  .kind = all ? PURGE_ALL : PURGE_URL,
                                  .is_soft = roll(d, 2) == 0,
                                  .at_ms = clock_wall_ms(),
                                  .what = all ? SPAN("") : span_of(path)};
    REQUIRE(purge_log_add(p->log, &record, 1, &collapsed) == 0);
    for (unsigned i = 0; i < LOOPS; i++) {
        p->passes[k][i] = (struct pass){.mail.deliver = deliver_pass, .env = &r->env[i]};
        loop_post(r->base.loops[i], &p->passes[k][i].mail);
    }
    for (unsigned later = k + 1; later < CLIENTS; later++)
        if (all || strcmp(clients[later].path, path) == 0)
            p->least[later] = record.number;
}

static void check_age(const struct client *c, uint64_t least, int schedule)
{
    bool is_fresh = (c->outcome == SERVED || c->outcome == HIT) && !c->was_stale;
    if (is_fresh && c->object != NULL && object_head(c->object)->purge_number < least)
        fail_msg("schedule %d: %s: of purge %llu, asked behind %llu; outcome %d", schedule, c->path,
                 (unsigned long long)object_head(c->object)->purge_number, (unsigned long long)least,
                 c->outcome);
}

static void check_outcome(const struct client *c, int schedule)
{
    bool whole = c->outcome == SERVED || c->outcome == HIT || c->outcome == STALE;
    if (c->body_is_bad)
        fail_msg("schedule %d: %s: bytes of two bodies; outcome %d, status %d, method %d, variant %s",
                 schedule, c->path, c->outcome, c->status, c->method, c->variant);
    if (c->outcome == FAILED && c->err == ERR_BUSY)
        fail_msg("schedule %d: %s: a limit that is not there", schedule, c->path);
    if (whole && c->object != NULL && c->bytes != object_length(c->object))
        fail_msg("schedule %d: %s: %llu bytes of %llu", schedule, c->path, (unsigned long long)c->bytes,
                 (unsigned long long)object_length(c->object));
    if (whole && c->object != NULL && !is_as_named(c))
        fail_msg("schedule %d: %s: %llu bytes that are not those of its tag", schedule, c->path,
                 (unsigned long long)c->bytes);
    if ((c->outcome == FAILED || c->outcome == CUT) && c->err == 0)
        fail_msg("schedule %d: %s: failed with success", schedule, c->path);
    if (c->lookups > 20 + (sim.purges ? CLIENTS : 0))
        fail_msg("schedule %d: %s: %d lookups", schedule, c->path, c->lookups);
}

static void run_schedule(struct flight_rig *r, struct purges *purges, int schedule, uint64_t seed)
{
    static struct client clients[CLIENTS];
    static struct action actions[CLIENTS][3];
    static const char *const variants[VARIANTS] = {NULL, "1", "2"};
    struct dice d = {seed};
    unsigned n = 2 + (unsigned)roll(&d, CLIENTS - 1);
    unsigned keys = 1 + (unsigned)roll(&d, KEYS);
    for (unsigned k = 0; k < n; k++) {
        char path[32];
        snprintf(path, sizeof path, "/%d/%u", schedule, (unsigned)roll(&d, keys));
        client_init(&clients[k], r, (unsigned)roll(&d, LOOPS), path);
    }
    if (purges != NULL)
        memset(purges->least, 0, sizeof purges->least);
    for (unsigned k = 0; k < n; k++) {
        struct client *c = &clients[k];
        c->method = roll(&d, 8) == 0 ? METHOD_HEAD : METHOD_GET;
        c->variant = variants[roll(&d, VARIANTS)];
        post(&actions[k][0], c, ASK);
        pass_time(&d);
        struct client *other = &clients[roll(&d, k + 1)];
        unsigned which = (unsigned)(other - clients);
        if (roll(&d, 3) == 0 && actions[which][1].client == NULL)
            post(&actions[which][1], other, LEAVE);
        else if (roll(&d, 6) == 0 && actions[k][1].client == NULL) {
            post(&actions[k][1], c, SLOW_DOWN);
            pass_time(&d);
        }
        pass_time(&d);
        if (purges != NULL && roll(&d, 4) == 0)
            purge_something(r, purges, clients, k, &d);
    }
    for (unsigned k = 0; k < n; k++)
        post(&actions[k][2], &clients[k], READ_ON);
    for (unsigned k = 0; k < n; k++) {
        AWAIT(clients[k].outcome != WAITING);
        check_outcome(&clients[k], schedule);
        if (purges != NULL)
            check_age(&clients[k], purges->least[k], schedule);
    }
    for (unsigned i = 0; i < LOOPS; i++)
        rig_on(r->base.loops[i], do_nothing, NULL); /* all actions have been through */
    for (unsigned k = 0; k < n; k++)
        client_done(&clients[k]);
    memset(actions, 0, sizeof actions);
    assert_int_equal(metrics_total(METRIC_WAITERS), 0);
    AWAIT_COUNT(metrics_total(METRIC_FLIGHTS), 0);
    assert_int_equal(metrics_total(METRIC_VIOLATION_ONE_FLIGHT), 0);
}

static uint64_t seed_of_this_run(void)
{
    const char *given = getenv("SHIELD_TEST_SEED");
    return given != NULL ? strtoull(given, NULL, 0) : 20260101;
}

static void run_all(const struct config_override *settings, uint64_t object_max, struct purges *purges)
{
    struct flight_rig *r = calloc(1, sizeof *r);
    struct dice d = {seed_of_this_run()};
    int64_t mended = metrics_total(METRIC_RESUMES_OK);
    assert_non_null(r);
    origin_open(&r->origin);
    flight_rig_start(r, LOOPS, settings);
    start_sim(&r->origin, d.state + 1, object_max, purges != NULL);
    if (purges != NULL) {
        cache_set_purges(r->cache, purges->log);
        for (unsigned i = 0; i < LOOPS; i++)
            r->env[i].purges = purges->log;
    }
    for (int schedule = 0; schedule < SCHEDULES; schedule++) {
        d.state += (uint64_t)schedule * 2654435761u;
        roll(&d, 2);
        run_schedule(r, purges, schedule, d.state);
    }
    assert_int_equal(atomic_load(&sim.overlaps), 0);
    assert_true(atomic_load(&sim.requests) > SCHEDULES / 2);
    assert_true(atomic_load(&sim.honest_rests) > 10 && atomic_load(&sim.false_rests) > 10);
    assert_true(metrics_total(METRIC_RESUMES_OK) > mended + 10);
    stop_sim();
    flight_rig_stop(r);
    origin_close(&r->origin);
    free(r);
}

static void by_chance(void **state)
{
    run_all(NULL, UINT64_MAX, NULL);
}

/* Every object is dropped behind its slowest reader, or not kept at all. */
static void by_chance_with_little_room(void **state)
{
    static const struct config_override settings[] = {{"store.object_max", "100k"},
                                                      {"flight.window", "64k"},
                                                      {"flight.finish", "never"},
                                                      {"store.ram", "1m"},
                                                      {NULL, NULL}};
    run_all(settings, 100 * 1024, NULL);
}

static void by_chance_with_few_connections(void **state)
{
    static const struct config_override settings[] = {{"origins.default.max_concurrent", "2"},
                                                      {"flight.finish", "always"},
                                                      {"flight.error_ttl", "0"},
                                                      {NULL, NULL}};
    run_all(settings, UINT64_MAX, NULL);
}

static void by_chance_with_purges(void **state)
{
    static struct purges purges;
    purges.log = purge_log_new(1000, 1);
    assert_non_null(purges.log);
    int64_t fenced = metrics_total(METRIC_FENCED_FLIGHTS);
    run_all(NULL, UINT64_MAX, &purges);
    assert_true(metrics_total(METRIC_FENCED_FLIGHTS) > fenced + 50);
    purge_log_free(&purges.log);
}

int main(int argc, char **argv)
{
    if (argc > 1) /* one of them alone */
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_chance),
        cmocka_unit_test(by_chance_with_little_room),
        cmocka_unit_test(by_chance_with_few_connections),
        cmocka_unit_test(by_chance_with_purges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
