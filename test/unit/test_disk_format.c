#include "shield/store/disk_format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#include "common/check.h"
#include "common/err.h"

enum { SEED = 12345 };

static struct disk_meta a_meta(void)
{
    return (struct disk_meta){
        .id = 7,
        .seq = 70,
        .bytes = 4096,
        .queue = QUEUE_MAIN,
        .chunk_bytes = CHUNK_SMALL,
        .length = 65520 + 3,
        .head = {.facts = {.request_ms = 1,
                           .response_ms = 2,
                           .initial_age_ms = 3,
                           .lifetime_ms = INT64_MAX,
                           .swr_ms = -1,
                           .sie_ms = 0,
                           .last_modified_s = -1,
                           .flags = 0xa5,
                           .status = 203},
                 .block = SPAN("HTTP/1.1 203 OK\r\nA: b\r\n"),
                 .key = SPAN("default\nhost\n/"),
                 .names = SPAN("accept,x"),
                 .variant = SPAN("\1\0\0\0a"),
                 .tags = SPAN("12345678"),
                 .purge_number = 99,
                 .key_hash = UINT64_MAX},
        .tail = SPAN("xyz"),
    };
}

static struct span encode(const struct disk_meta *m)
{
    static char record[4096];
    assert_true(disk_meta_size(m) <= sizeof record);
    disk_meta_encode(m, SEED, record);
    return (struct span){record, disk_meta_size(m)};
}

static void meta_reads_back(void **state)
{
    struct disk_meta m = a_meta(), back;
    assert_int_equal(disk_meta_decode(encode(&m), SEED, 7, &back), 0);
    assert_int_equal(back.id, m.id);
    assert_int_equal(back.seq, m.seq);
    assert_int_equal(back.bytes, m.bytes);
    assert_int_equal(back.queue, m.queue);
    assert_int_equal(back.chunk_bytes, m.chunk_bytes);
    assert_int_equal(back.length, m.length);
    assert_int_equal(back.head.purge_number, 99);
    assert_true(back.head.key_hash == UINT64_MAX);
    assert_memory_equal(&back.head.facts, &m.head.facts, sizeof m.head.facts);
    assert_true(span_eq(back.head.block, m.head.block));
    assert_true(span_eq(back.head.key, m.head.key));
    assert_true(span_eq(back.head.names, m.head.names));
    assert_true(span_eq(back.head.variant, m.head.variant));
    assert_true(span_eq(back.head.tags, m.head.tags));
    assert_true(span_eq(back.tail, m.tail));
}

/* Each bit, each length, the wrong id, the wrong file. */
static void no_damaged_meta_is_believed(void **state)
{
    struct disk_meta m = a_meta(), back;
    struct span good = encode(&m);
    char *copy = malloc(good.len);
    assert_non_null(copy);
    for (size_t bit = 0; bit < good.len * 8; bit++) {
        memcpy(copy, good.p, good.len);
        copy[bit / 8] ^= (char)(1 << bit % 8);
        int err = disk_meta_decode((struct span){copy, good.len}, SEED, 7, &back);
        assert_int_equal(err,
                         bit < 32 ? ERR_NOT_FOUND : ERR_CORRUPT); /* the first four bytes are the version */
    }
    for (size_t n = 0; n < good.len; n++)
        assert_int_equal(disk_meta_decode((struct span){good.p, n}, SEED, 7, &back), ERR_CORRUPT);
    assert_int_equal(disk_meta_decode(good, SEED, 8, &back), ERR_CORRUPT);
    assert_int_equal(disk_meta_decode(good, SEED + 1, 7, &back), ERR_CORRUPT);
    free(copy);
}

/* With a right checksum, from a bug or an enemy. */
static void no_meta_without_sense_is_believed(void **state)
{
    struct disk_meta back, m = a_meta();
    m.chunk_bytes = 0;
    assert_int_equal(disk_meta_decode(encode(&m), SEED, 7, &back), ERR_CORRUPT);
    m = a_meta();
    m.chunk_bytes = 4096;
    assert_int_equal(disk_meta_decode(encode(&m), SEED, 7, &back), ERR_CORRUPT);
    m = a_meta();
    m.queue = QUEUE_COUNT;
    assert_int_equal(disk_meta_decode(encode(&m), SEED, 7, &back), ERR_CORRUPT);
    m = a_meta();
    m.length = 2; /* less than its tail */
    assert_int_equal(disk_meta_decode(encode(&m), SEED, 7, &back), ERR_CORRUPT);
    m = a_meta();
    m.length = UINT64_MAX - 1;
    assert_int_equal(disk_meta_decode(encode(&m), SEED, 7, &back), ERR_CORRUPT);
}

static void index_reads_back_in_order(void **state)
{
    const struct disk_variant variants[] = {{9, SPAN("accept-encoding"), SPAN("br")},
                                            {5, SPAN(""), SPAN("")},
                                            {2, SPAN("accept-encoding"), SPAN("gzip")}};
    for (uint32_t n = 0; n <= ARRAY_LEN(variants); n++) {
        struct buf record = {0};
        struct disk_index back;
        struct disk_variant v;
        disk_index_begin(&record, SPAN("the key"));
        for (uint32_t i = 0; i < n; i++)
            disk_index_add(&record, &variants[i]);
        disk_index_end(&record, SEED);
        assert_int_equal(disk_index_decode(buf_span(&record), SEED, &back), 0);
        assert_true(span_eq(back.key, SPAN("the key")));
        assert_int_equal(back.n_variants, n);
        for (uint32_t i = 0; i < n; i++) {
            assert_true(disk_index_next(&back, &v));
            assert_int_equal(v.id, variants[i].id);
            assert_true(span_eq(v.names, variants[i].names));
            assert_true(span_eq(v.variant, variants[i].variant));
        }
        assert_false(disk_index_next(&back, &v));
        for (size_t bit = 0; bit < record.len * 8; bit++) {
            record.p[bit / 8] ^= (char)(1 << bit % 8);
            assert_int_not_equal(disk_index_decode(buf_span(&record), SEED, &back), 0);
            record.p[bit / 8] ^= (char)(1 << bit % 8);
        }
        for (size_t len = 0; len < record.len; len++)
            assert_int_equal(disk_index_decode((struct span){record.p, len}, SEED, &back), ERR_CORRUPT);
        buf_fini(&record);
    }
}

static void info_and_order_read_back(void **state)
{
    struct disk_info info = {.seed = 1,
                             .purge_number = 2,
                             .purge_floor = 7,
                             .purges = 8,
                             .purges_sum = 9,
                             .next_id = 3,
                             .next_seq = 4,
                             .queue_bytes = {5, 6}},
                     back;
    char bytes[DISK_INFO_BYTES], entry[DISK_ORDER_BYTES];
    disk_info_encode(&info, bytes);
    assert_int_equal(disk_info_decode((struct span){bytes, sizeof bytes}, &back), 0);
    assert_memory_equal(&back, &info, sizeof info);
    bytes[0] = 9;
    assert_int_equal(disk_info_decode((struct span){bytes, sizeof bytes}, &back), ERR_NOT_FOUND);
    bytes[0] = DISK_FORMAT_VERSION;
    bytes[40] ^= 1;
    assert_int_equal(disk_info_decode((struct span){bytes, sizeof bytes}, &back), ERR_CORRUPT);

    struct disk_order e = {1, 2, 3}, f;
    disk_order_encode(&e, entry);
    assert_int_equal(disk_order_decode((struct span){entry, sizeof entry}, &f), 0);
    assert_memory_equal(&e, &f, sizeof e);
    assert_int_equal(disk_order_decode((struct span){entry, sizeof entry - 1}, &f), ERR_CORRUPT);
}

/* Each bit, each length, another place, another file. */
static void no_damaged_purge_is_believed(void **state)
{
    struct purge_record r = {.number = 5,
                             .kind = PURGE_HOST,
                             .is_soft = true,
                             .at_ms = -7,
                             .over_ms = UINT64_MAX,
                             .what = SPAN("host"),
                             .reference = SPAN("a deploy")},
                        back;
    char name[DISK_PURGE_KEY_BYTES], other[DISK_PURGE_KEY_BYTES], bytes[128];
    struct span key = {name, sizeof name}, record = {bytes, disk_purge_size(&r)};
    uint64_t sum;
    disk_purge_key(5, 300, name);
    disk_purge_key(5, 301, other);
    uint64_t told = disk_purge_encode(&r, 300, SEED, bytes);
    assert_int_equal(disk_purge_decode(record, key, SEED, &back, &sum), 0);
    assert_true(sum == told);
    assert_int_equal(back.number, 5);
    assert_int_equal(back.kind, PURGE_HOST);
    assert_true(back.is_soft && back.at_ms == -7 && back.over_ms == UINT64_MAX);
    assert_true(span_eq(back.what, r.what) && span_eq(back.reference, r.reference));
    for (size_t bit = 0; bit < record.len * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        assert_int_not_equal(disk_purge_decode(record, key, SEED, &back, &sum), 0);
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t len = 0; len < record.len; len++)
        assert_int_equal(disk_purge_decode((struct span){bytes, len}, key, SEED, &back, &sum), ERR_CORRUPT);
    key.p = other;
    assert_int_equal(disk_purge_decode(record, key, SEED, &back, &sum), ERR_CORRUPT);
    key.p = name;
    assert_int_equal(disk_purge_decode(record, key, SEED + 1, &back, &sum), ERR_CORRUPT);
    assert_true(memcmp(name, other, sizeof name) < 0);
}

/* LMDB compares bytes: they must sort as the numbers do, and a lookup before what it looks for. */
static void keys_sort_as_numbers(void **state)
{
    static const uint64_t ids[] = {0, 1, 255, 256, UINT32_MAX, UINT64_C(1) << 40, UINT64_MAX};
    for (size_t i = 0; i + 1 < ARRAY_LEN(ids); i++) {
        char a[DISK_ID_KEY_BYTES], b[DISK_ID_KEY_BYTES];
        disk_id_key(ids[i], a);
        disk_id_key(ids[i + 1], b);
        assert_true(memcmp(a, b, sizeof a) < 0);
        assert_true(disk_id_of_key(a) == ids[i]);
    }
    char wanted[DISK_CHUNK_KEY_BYTES], there[DISK_CHUNK_KEY_BYTES], next[DISK_CHUNK_KEY_BYTES];
    disk_chunk_key(5, 255, 2, 0, wanted);
    disk_chunk_key(5, 255, 2, UINT64_MAX, there);
    disk_chunk_key(5, 255, 256, 0, next);
    assert_true(memcmp(wanted, there, sizeof there) < 0 && memcmp(there, next, sizeof next) < 0);
    assert_true(disk_chunk_sum_of_key(there) == UINT64_MAX);
    assert_int_equal(disk_id_of_key(there), 5);
}

static void sums_are_bound_to_file_and_place(void **state)
{
    uint64_t sum = disk_chunk_sum(1, 2, 3, 0, "abc", 3);
    assert_true(sum == disk_chunk_sum(1, 2, 3, 0, "abc", 3));
    assert_true(sum != disk_chunk_sum(9, 2, 3, 0, "abc", 3));
    assert_true(sum != disk_chunk_sum(1, 9, 3, 0, "abc", 3));
    assert_true(sum != disk_chunk_sum(1, 2, 9, 0, "abc", 3));
    assert_true(sum != disk_chunk_sum(1, 2, 3, 1, "abc", 3));
    assert_true(sum != disk_chunk_sum(1, 2, 3, 0, "abd", 3));
}

static void tails_save_pages(void **state)
{
    static const struct {
        uint32_t last, meta, tail;
    } rows[] = {
        {0, 300, 0},      {1, 300, 1},     {1536, 400, 1536}, {1537, 400, 0}, /* tiny bodies live in meta */
        {1536, 500, 0}, /* not when meta would fill a page by itself */
        {4080, 300, 0},   {4081, 300, 1},  {5104, 300, 1024}, {5105, 300, 0},
        {16384, 300, 16}, {65520, 300, 0}, {262128, 300, 0},  {16384, 3000, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(disk_tail_bytes(rows[i].last, rows[i].meta, 4096), rows[i].tail);
    assert_int_equal(disk_value_pages(0, 4096), 0);
    assert_int_equal(disk_value_pages(4080, 4096), 1);
    assert_int_equal(disk_value_pages(4081, 4096), 2);
    assert_int_equal(disk_value_pages(CHUNK_SMALL, 4096), 16);
    assert_int_equal(disk_value_pages(CHUNK_LARGE, 4096), 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meta_reads_back),
        cmocka_unit_test(no_damaged_meta_is_believed),
        cmocka_unit_test(no_meta_without_sense_is_believed),
        cmocka_unit_test(index_reads_back_in_order),
        cmocka_unit_test(info_and_order_read_back),
        cmocka_unit_test(no_damaged_purge_is_believed),
        cmocka_unit_test(keys_sort_as_numbers),
        cmocka_unit_test(sums_are_bound_to_file_and_place),
        cmocka_unit_test(tails_save_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
