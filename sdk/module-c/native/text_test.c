// text_test.c: lightcone.h's text, chance and memory, against the C library of this machine.
//
// Not base/test.h: its names are lightcone.h's too.
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "lightcone.h"

#define SAME(...)                                               \
    do {                                                        \
        char wanted[256];                                       \
        int len = snprintf(wanted, sizeof wanted, __VA_ARGS__); \
        String got = lc_format(__VA_ARGS__);                    \
        assert_string_equal(got.ptr, wanted);                   \
        assert_int_equal(got.len, len);                         \
    } while (0)

static void printf_says_what_the_c_library_says(void **state) {
    SAME("nothing");
    SAME("%%");
    SAME("%d %i %u", -5, INT32_MIN, UINT32_MAX);
    SAME("%5d|%-5d|%05d|%+d|% d", 42, 42, -42, 42, 42);
    SAME("%.3d|%8.3d|%-8.3d|", 7, 7, 7);
    SAME("%x %X %#x %08x %o", 0xbeefu, 0xbeefu, 0xbeefu, 0xbeefu, 8u);
    SAME("%lld %llu %zu %ld", (long long)INT64_MIN, (unsigned long long)UINT64_MAX, (size_t)7, -1L);
    SAME("%hd %hhd %hu %hhu",
         (short)-1,
         (signed char)-1,
         (unsigned short)65535,
         (unsigned char)255);
    SAME("%s|%10s|%-10s|%.2s|%*s", "abc", "abc", "abc", "abc", 6, "abc");
    SAME("%.*s", 3, "abcdef");
    SAME("%c%c", 'a', 'z');
    SAME("%f %.2f %.0f %8.3f %-8.3f|%+.1f", 1.5, 3.14159, 2.0, -1.0, 1.0, 2.0);
    SAME("%f %f", __builtin_inf(), -__builtin_inf());
    SAME("%.9f", 0.999999999);
    SAME("%.1f %.1f", 0.95001, 9.96);
}

static void printf_survives_what_it_does_not_know(void **state) {
    const char *odd = "%";
    assert_string_equal(lc_format(odd, 0).ptr, "");
    odd = "a%qb";
    assert_string_equal(lc_format(odd, 0).ptr, "aqb");
}

static void strings_are_compared_by_their_bytes(void **state) {
    assert_true(lc_string_eq(LC_STR("a"), lc_string("a")));
    assert_false(lc_string_eq(LC_STR("a"), LC_STR("ab")));
    assert_true(lc_string_eq((String){0}, LC_STR("")));
    assert_true(lc_string_cmp(LC_STR("a"), LC_STR("ab")) < 0);
    assert_true(lc_string_cmp(LC_STR("b"), LC_STR("ab")) > 0);
    assert_true(lc_string_cmp(LC_STR("\xff"), LC_STR("a")) > 0);
    assert_true(lc_string_starts(LC_STR("abc"), LC_STR("ab")));
    assert_true(lc_string_ends(LC_STR("abc"), LC_STR("bc")));
    assert_false(lc_string_ends(LC_STR("c"), LC_STR("bc")));
}

static void strings_are_cut_inside_their_bounds(void **state) {
    String text = LC_STR("  hello \t\n");
    assert_true(lc_string_eq(lc_string_trim(text), LC_STR("hello")));
    assert_int_equal(lc_string_trim(LC_STR(" \n")).len, 0);
    assert_true(lc_string_eq(lc_string_slice(text, 2, 4), LC_STR("he")));
    assert_int_equal(lc_string_slice(text, 90, 100).len, 0);
    assert_int_equal(lc_string_slice(text, 4, 2).len, 0);
    assert_int_equal(lc_string_find(text, LC_STR("llo")), 4);
    assert_int_equal(lc_string_find(text, LC_STR("lle")), SIZE_MAX);
    assert_int_equal(lc_string_find(text, LC_STR("")), 0);
    assert_int_equal(lc_string_chars(LC_STR("h\u00e9\u20ac\U0001f600")), 4);
}

static void identities_are_printed_from_their_highest_byte(void **state) {
    Identity identity = {{{0x0123456789abcdef, 0, 0, (uint64_t)0xfe << 56}}};
    String hex = lc_identity_hex(identity);
    assert_int_equal(hex.len, 64);
    assert_memory_equal(hex.ptr, "fe00", 4);
    assert_string_equal(hex.ptr + 48, "0123456789abcdef");
    assert_string_equal(lc_connection_hex((ConnectionId){1}).ptr,
                        "00000000000000000000000000000001");
    assert_true(lc_identity_is_zero((Identity){0}));
    assert_false(lc_identity_eq(identity, (Identity){0}));
}

static void arrays_grow_and_keep_what_they_hold(void **state) {
    struct {
        int *items;
        size_t len, cap;
    } array = {0};
    for (int i = 0; i < 1000; i++)
        lc_push(&array, i * 3);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(array.items[i], i * 3);
    int borrowed[] = {1, 2};
    array.items = borrowed;
    array.len = array.cap = 2;
    lc_push(&array, 3);
    assert_ptr_not_equal(array.items, borrowed);
    assert_int_equal(array.items[1] + array.items[2], 5);
}

static void memory_is_zeroed_and_comes_back(void **state) {
    size_t mark = lc_memory_mark();
    char *first = lc_alloc(100);
    memset(first, 7, 100);
    lc_memory_reset(mark);
    char *second = lc_alloc(100);
    assert_ptr_equal(first, second);
    for (int i = 0; i < 100; i++)
        assert_int_equal(second[i], 0);
    assert_int_equal((uintptr_t)lc_alloc(1) % 16, 0);
    assert_int_equal((uintptr_t)lc_alloc(1) % 16, 0);
}

static void chance_is_even_and_repeats(void **state) {
    uint64_t a[2] = {1, 2}, b[2] = {1, 2};
    int counts[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t drawn = lc_random_next_below(a, 7);
        assert_int_equal(drawn, lc_random_next_below(b, 7));
        assert_true(drawn < 7);
        counts[drawn]++;
    }
    for (int i = 0; i < 7; i++)
        assert_in_range(counts[i], 9500, 10500);
    assert_int_equal(lc_random_next_below(a, 1), 0);
}

static void headers_are_found_whatever_their_case(void **state) {
    HttpHeader headers[] = {{LC_STR("Content-Type"), LC_STR("a")}, {LC_STR("X"), LC_STR("b")}};
    assert_true(lc_string_eq(lc_http_header(headers, 2, "content-type"), LC_STR("a")));
    assert_true(lc_string_eq(lc_http_header(headers, 2, "x"), LC_STR("b")));
    assert_null(lc_http_header(headers, 2, "y").ptr);
}

static Error refuse(int what) {
    if (what == 1) return lc_error("number %d", what);
    return OK;
}
static Error refuse_through(int what) {
    TRY(refuse(what));
    return lc_error("went on");
}

static void errors_are_passed_on(void **state) {
    assert_null(refuse(0));
    assert_string_equal(refuse_through(1)->message.ptr, "number 1");
    assert_string_equal(refuse_through(0)->message.ptr, "went on");
    String text = LC_STR("kept");
    String *some = lc_some(text);
    text = LC_STR("changed");
    assert_true(lc_string_eq(*some, LC_STR("kept")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printf_says_what_the_c_library_says),
        cmocka_unit_test(printf_survives_what_it_does_not_know),
        cmocka_unit_test(strings_are_compared_by_their_bytes),
        cmocka_unit_test(strings_are_cut_inside_their_bounds),
        cmocka_unit_test(identities_are_printed_from_their_highest_byte),
        cmocka_unit_test(arrays_grow_and_keep_what_they_hold),
        cmocka_unit_test(memory_is_zeroed_and_comes_back),
        cmocka_unit_test(chance_is_even_and_repeats),
        cmocka_unit_test(headers_are_found_whatever_their_case),
        cmocka_unit_test(errors_are_passed_on),
    };
    return cmocka_run_group_tests_name("module-c", tests, NULL, NULL) ? 1 : 0;
}
