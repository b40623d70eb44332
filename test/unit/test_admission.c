#include "shield/store/admission.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

#include "common/check.h"

/* Like the hashes of the index: any bits, told apart by a number. */
static uint64_t hash_of(uint64_t number)
{
    uint64_t x = number * UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static void test_it_counts(void **state)
{
    (void)state;
    struct admission *a = admission_new(1000);
    bool forgot;
    for (uint32_t i = 0; i < 300; i++) {
        uint32_t want = MIN(i, 255u);
        assert_int_equal(admission_asked(a, hash_of(7)), want);
        assert_int_equal(admission_note(a, hash_of(7), &forgot), want);
        assert_false(forgot);
    }
    assert_int_equal(admission_asked(a, hash_of(8)), 0);
    assert_int_equal(admission_asked(a, 0), 0);
    assert_int_equal(admission_note(a, 0, &forgot), 0);
    assert_int_equal(admission_asked(a, 0), 1);
    admission_free(&a);
    assert_null(a);
}

static void test_keys_are_told_apart(void **state)
{
    (void)state;
    enum { KEYS = 200000 };
    struct admission *a = admission_new(UINT64_C(4) * KEYS);
    uint32_t taken_for_another = 0, forgotten = 0;
    bool forgot;
    for (uint64_t i = 0; i < KEYS; i++) {
        taken_for_another += admission_note(a, hash_of(i), &forgot) != 0;
        forgotten += forgot;
    }
    assert_true(taken_for_another <= 2);
    assert_int_equal(forgotten, 0);
    for (uint64_t i = 0; i < KEYS; i++)
        assert_true(admission_asked(a, hash_of(i)) >= 1);
    admission_free(&a);
}

/* Who was asked for last is known, and what has gone is told. */
static void test_it_is_bounded_and_forgets_the_oldest(void **state)
{
    (void)state;
    struct admission *a = admission_new(1); /* one bucket */
    bool forgot;
    for (uint64_t i = 1; i <= 16; i++) {
        admission_note(a, hash_of(i), &forgot);
        assert_false(forgot);
    }
    assert_int_equal(admission_note(a, hash_of(1), &forgot), 1); /* no longer the oldest */
    assert_false(forgot);
    assert_int_equal(admission_note(a, hash_of(17), &forgot), 0);
    assert_true(forgot);
    assert_int_equal(admission_asked(a, hash_of(1)), 2);
    assert_int_equal(admission_asked(a, hash_of(2)), 0);
    for (uint64_t i = 3; i <= 17; i++)
        assert_int_equal(admission_asked(a, hash_of(i)), 1);
    admission_free(&a);
}

static void *note_all(void *admission)
{
    bool forgot;
    for (uint64_t i = 0; i < 20000; i++)
        admission_note(admission, hash_of(i % 100), &forgot);
    return NULL;
}

static void test_threads_lose_no_count(void **state)
{
    (void)state;
    struct admission *a = admission_new(1 << 16);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, note_all, a), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (uint64_t i = 0; i < 100; i++)
        assert_int_equal(admission_asked(a, hash_of(i)), 255);
    admission_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_counts),
        cmocka_unit_test(test_keys_are_told_apart),
        cmocka_unit_test(test_it_is_bounded_and_forgets_the_oldest),
        cmocka_unit_test(test_threads_lose_no_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
