#include "bench/edges_options.h"

#define AT(f) offsetof(struct edges_config, f)

static const struct flag rows[] = {
    {"connections", 'c', FLAG_UINT, AT(connections), "10", "N", "Connections, over all threads."},
    {"threads", 't', FLAG_UINT, AT(threads), "1", "N", "Threads."},
    {"requests", 'n', FLAG_UINT, AT(requests), "0", "N", "Requests in all; 0: until the time is over."},
    {"duration", 'd', FLAG_MS, AT(duration_ms), "0", "TIME", "How long; without -n and -d: 10s."},
    {"stampede", 0, FLAG_BOOL, AT(stampede), "off", "",
     "Open all connections, then one request on each at the same instant."},
    {"settle", 0, FLAG_MS, AT(settle_ms), "100ms", "TIME", "Stampede: pause between connecting and release."},
    {"verify", 0, FLAG_BOOL, AT(verify), "off", "", "Check every body against the function of the origin."},
    {"expect", 0, FLAG_UINT, AT(expect), "0", "CODE", "The status that is no error; 0: any 2xx."},
    {"rate", 'R', FLAG_REAL, AT(rate), "0", "N",
     "Open loop: so many requests a second (5k: 5000), due by a schedule; times count from when they were "
     "due."},
    {"arrivals", 0, FLAG_CHOICE, AT(arrivals), "even", "even|poisson", "Open loop: how they come."},
    {"keys", 0, FLAG_UINT, AT(keys), "1", "N", "{n} runs from 0 to N-1."},
    {"order", 0, FLAG_CHOICE, AT(order), "sequence", "sequence|random|zipf",
     "How {n} runs, or how lines of --targets are taken."},
    {"zipf", 0, FLAG_REAL, AT(zipf), "1", "X", "Exponent of the zipf order: above, fewer keys get more."},
    {"targets", 0, FLAG_TEXT, AT(targets), "", "FILE",
     "Ask for what FILE lists instead of the URL's path: paths, URLs, an nginx or a JSON log."},
    {"replay", 0, FLAG_REAL, AT(replay), "0", "X",
     "Open loop: the log of --targets at its own times, X times as fast (1: as it was); once, to its end."},
    {"seed", 0, FLAG_UINT, AT(seed), "1", "N", "Of all that is random."},
    {"identities", 0, FLAG_UINT, AT(identities), "0", "N",
     "Be N edges, each with its User-Agent and, towards loopback, its address."},
    {"churn", 0, FLAG_UINT, AT(churn), "0", "N",
     "Close a connection after N requests on average, and open another."},
    {"slow", 0, FLAG_UINT, AT(slow), "0", "PERCENT", "So many connections read slowly; they are not timed."},
    {"slow-rate", 0, FLAG_BYTES, AT(slow_rate), "64k", "BYTES", "What a slow one reads in a second."},
    {"abort", 0, FLAG_UINT, AT(abort), "0", "PERCENT", "So many requests are given up half way."},
    {"abort-after", 0, FLAG_MS, AT(abort_ms), "10ms", "TIME", "When they are given up."},
    {"range", 0, FLAG_UINT, AT(range), "0", "PERCENT",
     "So many requests ask for a random part, of 64k at most,"},
    {"range-of", 0, FLAG_BYTES, AT(range_of), "1m", "BYTES", "out of the first so many bytes."},
    {"method", 'X', FLAG_CHOICE, AT(method), "GET", "GET|HEAD", "Method."},
    {"header", 'H', FLAG_LIST, AT(fields), NULL, "'NAME: TEXT'", "One more field; may be repeated."},
    {"vary", 0, FLAG_TEXT, AT(vary), "", "'NAME: A|B|C'",
     "One more field, whose values take turns over the requests."},
    {"unix-socket", 0, FLAG_TEXT, AT(unix_socket), NULL, "PATH",
     "Connect to this socket, not to the URL's host."},
    {"timeout", 0, FLAG_MS, AT(timeout_ms), "60s", "TIME", "For one whole answer."},
};

struct flags edges_option_flags(void)
{
    return FLAGS(rows);
}

const char *edges_options_settle(struct edges_config *e, const struct flag_list *rest)
{
    if (rest->n != 1)
        return "needs one URL";
    e->url = rest->item[0];
    if (e->connections == 0 || e->connections > 1000000 || e->threads == 0 || e->threads > 256 ||
        e->keys == 0)
        return "-c, -t and --keys must be at least 1 (at most 1000000 and 256)";
    if (e->slow > 100 || e->abort > 100 || e->range > 100 || e->range_of == 0 || e->range_of == FLAG_NONE)
        return "--slow, --abort and --range are percentages, --range-of is a size above 0";
    for (uint32_t i = 0; i < e->fields.n; i++)
        if (e->fields.item[i].len == 0 || memchr(e->fields.item[i].p, ':', e->fields.item[i].len) == NULL)
            return "-H is a field: 'Accept-Language: de'";
    if (e->vary.len > 0 && memchr(e->vary.p, ':', e->vary.len) == NULL)
        return "--vary is a field and its values: 'Accept-Language: de|fr'";
    if (e->stampede && e->rate > 0)
        return "--stampede and --rate are two kinds of load: choose one";
    if (e->replay > 0 && (e->targets.len == 0 || e->rate > 0 || e->stampede || e->order != ORDER_SEQUENCE))
        return "--replay needs --targets, and none of --rate, --stampede, --order";
    if (e->timeout_ms == 0)
        return "--timeout must be above 0";
    if (e->stampede && (e->duration_ms > 0 || e->requests > 0))
        return "--stampede sends one request on each connection: -n and -d have no place with it";
    if (e->stampede)
        e->requests = e->connections;
    else if (e->requests == 0 && e->duration_ms == 0 && e->replay == 0)
        e->duration_ms = 10000;
    return NULL;
}
