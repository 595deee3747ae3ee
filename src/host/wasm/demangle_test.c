// Names as a person wrote them, and any bytes at all.
#include "host/wasm/demangle.h"

#include "base/test.h"

static void expect_name(const char *name, const char *wanted) {
    Buf out = {0};
    buf_put_str(&out, STR("before "));
    bool done = wasm_demangle(str_from(name), &out);
    EXPECT_EQ(done, wanted != NULL);
    buf_put_u8(&out, 0);
    EXPECT_STR((const char *)out.ptr + 7, wanted ? wanted : "");
    buf_deinit(&out);
}

TEST(demangle, undoes_the_older_form) {
    expect_name("_ZN4core3ptr13drop_in_place17h0123456789abcdefE", "core::ptr::drop_in_place");
    expect_name(
        "_ZN100_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..Drop$GT$4drop17h0123456789abcdefE",
        NULL);  // the length is a lie
    expect_name(
        "_ZN60_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..ops..Drop$GT$4drop17h0123456789abcdefE",
        "<alloc::vec::Vec<T> as core::ops::Drop>::drop");
    expect_name("_ZN4game6attack28_$u7b$$u7b$closure$u7d$$u7d$17hfedcba9876543210E",
                "game::attack::{{closure}}");
}

TEST(demangle, drops_the_hash_that_the_linker_left) {
    expect_name("core::ptr::drop_in_place::h0123456789abcdef", "core::ptr::drop_in_place");
    expect_name("core::ptr::drop_in_place", NULL);
    expect_name("::h0123456789abcdef", NULL);
    expect_name("core::ptr::h0123456789abcdeg", NULL);
}

TEST(demangle, keeps_the_names_of_the_newer_form) {
    expect_name("_RNvNtCs1a2b3C_4core3ptr13drop_in_place", "core::ptr::drop_in_place");
    expect_name("_RNvMs_NtCsabc_4game5worldNtB4_6Player6attack", "game::world::Player::attack");
    expect_name("_RNCNvCs1_4game6attack0B3_", "game::attack");
    expect_name("_RNvC4game5_2fast.llvm.123", "game::2fast");
}

TEST(demangle, leaves_the_names_of_others) {
    expect_name("_ZN4game6attackEv", NULL);  // C++
    expect_name("__call_reducer__", NULL);
    expect_name("_Rust", NULL);
    expect_name("_RN", NULL);
    expect_name("", NULL);
}

TEST(demangle, believes_no_length) {
    expect_name("_ZN99999999999999999999999999core17h0123456789abcdefE", NULL);
    expect_name("_ZN5coreE", NULL);
    expect_name("_RNvC99core", NULL);
    static const char letters[] = "_ZNRCsBE.$.179ah";
    uint32_t seed = 1;
    for (int i = 0; i < 20000; i++) {
        char name[48];
        size_t len = 0;
        for (; len < sizeof name && (seed >> 27 || len < 3); len++) {
            seed = seed * 1664525 + 1013904223;
            name[len] = len == 0 ? '_' : letters[(seed >> 9) % (sizeof letters - 1)];
        }
        Buf out = {0};
        bool done = wasm_demangle((Str){name, len}, &out);
        if (done) EXPECT(out.len < 200);
        EXPECT(done || out.len == 0);
        buf_deinit(&out);
    }
}

TEST_MAIN()
