// test.h: a test is a sentence and a body; cmocka runs it.
//
//   TEST(commitlog, torn_tail_loses_only_the_unfinished_commit) { … EXPECT_EQ(a, b); … }
//
// A file `x_test.c` beside `x.c` becomes one executable; TEST registers itself, `TEST_MAIN()` at
// the end of the file runs all of them (or those whose name contains argv[1]). The first failed
// expectation ends the test. tests/run collects the results of every executable.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"

enum { TEST_MAX = 512 };
static struct CMUnitTest test_list[TEST_MAX];
static size_t test_count;

#define TEST(suite, sentence)                                                      \
    static void suite##_##sentence(void);                                          \
    static void suite##_##sentence##_run(void **state) {                           \
        (void)state;                                                               \
        suite##_##sentence();                                                      \
    }                                                                              \
    __attribute__((constructor)) static void suite##_##sentence##_register(void) { \
        test_register(#suite ": " #sentence, suite##_##sentence##_run);            \
    }                                                                              \
    static void suite##_##sentence(void)

static inline void test_register(const char *name, CMUnitTestFunction run) {
    ASSERT(test_count < TEST_MAX);
    test_list[test_count++] = (struct CMUnitTest){.name = name, .test_func = run};
}

#define TEST_MAIN()                                                                         \
    int main(int argc, char **argv) {                                                       \
        if (argc > 1) cmocka_set_test_filter(argv[1]);                                      \
        return _cmocka_run_group_tests(argv[0], test_list, test_count, NULL, NULL) ? 1 : 0; \
    }

#define EXPECT(cond)           assert_true(cond)
#define EXPECT_OK(call)        test_expect_ok((call), #call, __FILE__, __LINE__)
#define EXPECT_ERR(call, err)  test_expect_err((call), (err), #call, __FILE__, __LINE__)
#define EXPECT_EQ(a, b)        assert_int_equal((a), (b))
#define EXPECT_STR(a, b)       assert_string_equal((a), (b))
#define EXPECT_BYTES(a, b)     test_expect_bytes((a), (b), #a, __FILE__, __LINE__)
#define EXPECT_HEX(bytes, hex) test_expect_hex((bytes), (hex), #bytes, __FILE__, __LINE__)

static inline void test_expect_err(Err got,
                                   Err want,
                                   const char *what,
                                   const char *file,
                                   int line) {
    if (got == want) return;
    print_error("%s:%d: %s is %s, expected %s\n", file, line, what, err_name(got), err_name(want));
    _fail(file, line);
}
static inline void test_expect_ok(Err got, const char *what, const char *file, int line) {
    test_expect_err(got, OK, what, file, line);
}
static inline void test_expect_hex(Bytes got,
                                   const char *hex,
                                   const char *what,
                                   const char *file,
                                   int line) {
    Buf text = {0};
    hex_append(&text, got);
    buf_put_u8(&text, 0);
    bool same = strcmp((char *)text.ptr, hex) == 0;
    if (!same)
        print_error("%s:%d: %s\n  is       %s\n  expected %s\n",
                    file,
                    line,
                    what,
                    (char *)text.ptr,
                    hex);
    buf_deinit(&text);
    if (!same) _fail(file, line);
}
static inline void test_expect_bytes(Bytes got,
                                     Bytes want,
                                     const char *what,
                                     const char *file,
                                     int line) {
    Buf text = {0};
    hex_append(&text, want);
    buf_put_u8(&text, 0);
    test_expect_hex(got, (char *)text.ptr, what, file, line);
    buf_deinit(&text);
}
