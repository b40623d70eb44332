/* Records of the store file from an enemy: the decoders read within the record, and what they accept makes
 * sense. */
#include "shield/store/disk_format.h"

#include <endian.h>
#include <stdlib.h>
#include <xxhash.h>

#include "common/check.h"

enum { SEED = 1, HEADER = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(struct span part, struct span record)
{
    REQUIRE(part.len == 0 || (part.p >= record.p && part.p + part.len <= record.p + record.len));
    volatile char sum = 0;
    for (size_t i = 0; i < part.len; i++)
        sum = (char)(sum + part.p[i]);
}

static void try_meta(struct span record)
{
    struct disk_meta m;
    uint64_t id =
        record.len >= HEADER + 8 ? le64toh(*(const uint64_t *)(const void *)(record.p + HEADER)) : 0;
    if (disk_meta_decode(record, SEED, id, &m) != 0)
        return;
    inside(m.head.key, record);
    inside(m.head.names, record);
    inside(m.head.variant, record);
    inside(m.head.tags, record);
    inside(m.head.block, record);
    inside(m.tail, record);
    REQUIRE(disk_meta_size(&m) == record.len);
    char *again = malloc(record.len);
    REQUIRE(again != NULL);
    disk_meta_encode(&m, SEED, again);
    REQUIRE(memcmp(again, record.p, record.len) == 0);
    free(again);
    for (size_t cut = 0; cut < record.len;
         cut += cut < 64 ? 1 : record.len / 16 + 1) /* a torn one is a miss */
        REQUIRE(disk_meta_decode((struct span){record.p, cut}, SEED, id, &m) != 0);
}

static void try_index(struct span record)
{
    struct disk_index index;
    struct disk_variant v;
    uint32_t n = 0;
    if (disk_index_decode(record, SEED, &index) != 0)
        return;
    inside(index.key, record);
    while (disk_index_next(&index, &v)) {
        inside(v.names, record);
        inside(v.variant, record);
        n++;
    }
    REQUIRE(n == index.n_variants);
    REQUIRE(disk_index_decode((struct span){record.p, record.len - 1}, SEED, &index) != 0);
}

static void try_purge(struct span record)
{
    struct purge_record r;
    uint64_t sum;
    uint32_t index = 0;
    if (record.len < HEADER + 28)
        return;
    char key[DISK_PURGE_KEY_BYTES];
    memcpy(&index, record.p + HEADER + 24, sizeof index);
    index = le32toh(index);
    disk_purge_key(le64toh(*(const uint64_t *)(const void *)(record.p + HEADER)), index, key);
    if (disk_purge_decode(record, (struct span){key, sizeof key}, SEED, &r, &sum) != 0)
        return;
    inside(r.what, record);
    inside(r.reference, record);
    REQUIRE(disk_purge_size(&r) == record.len);
    char *again = malloc(record.len);
    REQUIRE(again != NULL);
    REQUIRE(disk_purge_encode(&r, index, SEED, again) == sum);
    REQUIRE(memcmp(again, record.p, record.len) == 0);
    free(again);
}

static void try_rest(struct span record)
{
    struct disk_info info;
    struct disk_order order;
    disk_info_decode(record, &info);
    disk_order_decode(record, &order);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = malloc(size > 0 ? size : 1); /* its own block, so that a read beyond it is seen */
    REQUIRE(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    struct span record = {copy, size};
    try_meta(record);
    try_index(record);
    try_purge(record);
    try_rest(record);
    if (size >= HEADER) { /* past version, length and checksum, which chance would not get right */
        uint32_t version = htole32(DISK_FORMAT_VERSION), len = htole32((uint32_t)size);
        uint64_t sum = htole64(XXH3_64bits_withSeed(copy + HEADER, size - HEADER, SEED));
        memcpy(copy, &version, 4);
        memcpy(copy + 4, &len, 4);
        memcpy(copy + 8, &sum, 8);
        try_meta(record);
        try_index(record);
        try_purge(record);
    }
    free(copy);
    return 0;
}
