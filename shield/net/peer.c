#include "shield/net/peer.h"

#include "common/check.h"

void peer_set(struct peer *p, const struct netaddr_cidr *addr)
{
    struct buf text = {0};
    *p = (struct peer){.addr = *addr};
    if (addr->family == 0)
        return;
    netaddr_cidr_put(&text, addr, true);
    if (!text.failed) {
        REQUIRE(text.len < sizeof p->text);
        memcpy(p->text, text.p, text.len);
        p->text_len = (uint8_t)text.len;
    }
    buf_fini(&text);
}
