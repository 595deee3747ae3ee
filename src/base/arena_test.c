#define _GNU_SOURCE  // mincore
#include "base/arena.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/mem.h"
#include "base/test.h"

TEST(arena, hands_out_aligned_memory_that_lasts_until_reset) {
    Arena arena = {0};
    uint8_t *seen[100];
    for (int i = 0; i < 100; i++) {
        seen[i] = arena_alloc(&arena, (size_t)i * 37);
        EXPECT(seen[i] && (uintptr_t)seen[i] % 16 == 0);
        memset(seen[i], i, (size_t)i * 37);
    }
    for (int i = 1; i < 100; i++) {
        EXPECT_EQ(seen[i][0], i);
        EXPECT_EQ(seen[i][i * 37 - 1], i);
    }
    arena_reset(&arena);
    EXPECT_EQ(arena.used_bytes, 0);
    arena_deinit(&arena);
}

TEST(arena, reports_a_failed_allocation_and_stays_usable) {
    Arena arena = {0};
    mem_fault_arm(0);
    EXPECT(arena_alloc(&arena, 10) == NULL);
    EXPECT(mem_fault_hit());
    mem_fault_arm(-1);
    EXPECT(arena_alloc(&arena, 10) != NULL);
    EXPECT(arena_zalloc_array(&arena, SIZE_MAX / 2, 3) == NULL);
    arena_deinit(&arena);
}

TEST(buf, remembers_a_failure_until_cleared) {
    Buf buf = {0};
    mem_fault_arm(0);
    buf_put(&buf, "abc", 3);
    mem_fault_arm(-1);
    buf_put(&buf, "def", 3);
    EXPECT(!buf_ok(&buf));
    EXPECT_EQ(buf.len, 0);
    buf_clear(&buf);
    buf_printf(&buf, "%d-%s", 7, "x");
    EXPECT_BYTES(buf_bytes(&buf), BYTES("7-x", 3));
    buf_deinit(&buf);
}

static void expect_ascending(const Buf *buf) {
    size_t wrong = 0;
    for (size_t i = 0; i < buf->len; i++)
        wrong += buf->ptr[i] != (uint8_t)(i * 7 >> 8);
    EXPECT_EQ(wrong, 0);
}

TEST(buf, keeps_its_bytes_when_it_grows_large_and_when_it_cannot) {
    Buf buf = {0};
    size_t want = 3 * MEM_LARGE + 5, failures = 0;
    while (buf.len < want) {
        if (buf.cap - buf.len < 997) {
            mem_fault_arm(0);
            EXPECT(!buf_reserve(&buf, 997));
            mem_fault_arm(-1);
            buf.failed = false;
            expect_ascending(&buf);
            failures++;
        }
        size_t len = MIN(want - buf.len, (size_t)997);
        uint8_t *room = buf_extend(&buf, len);
        for (size_t i = 0; room && i < len; i++)
            room[i] = (uint8_t)((buf.len - len + i) * 7 >> 8);
    }
    EXPECT(failures > 5);
    expect_ascending(&buf);
    buf_clear(&buf);
    buf_put(&buf, "abc", 3);
    EXPECT_BYTES(buf_bytes(&buf), BYTES("abc", 3));
    buf_deinit(&buf);
    buf_reserve(&buf, 2 * MEM_LARGE);  // large from the first byte on
    EXPECT(buf_ok(&buf) && buf.cap >= 2 * MEM_LARGE);
    buf_deinit(&buf);
    EXPECT(!buf.ptr && buf.cap == 0);
}

#ifndef MEM_IS_WATCHED
TEST(buf, gives_large_memory_back_to_the_system_at_once) {
    Buf buf = {0};
    unsigned char pages[4];
    while (buf.len < 4 * MEM_LARGE)
        buf_put_u64(&buf, buf.len);
    uint8_t *was = buf.ptr;
    EXPECT_EQ(mincore(was, 4096, pages), 0);
    buf_deinit(&buf);
    EXPECT(mincore(was, 4096, pages) == -1 && errno == ENOMEM);  // nothing is there any more
}
#endif

TEST(utf8, accepts_and_refuses_what_the_standard_says) {
    EXPECT(utf8_valid(BYTES("h\xc3\xa9llo \xf0\x9f\x98\x80", 11)));
    EXPECT(!utf8_valid(BYTES("\xc0\x80", 2)));          // overlong
    EXPECT(!utf8_valid(BYTES("\xed\xa0\x80", 3)));      // surrogate
    EXPECT(!utf8_valid(BYTES("\xf4\x90\x80\x80", 4)));  // above U+10FFFF
    EXPECT(!utf8_valid(BYTES("abc\xe2\x82", 5)));       // cut short
    EXPECT_EQ(utf8_cut(STR("ab\xe2\x82\xac"), 4), 2);
}

TEST(hex, goes_both_ways_and_refuses_what_is_not_hex) {
    uint8_t out[3];
    EXPECT(hex_read(STR("00fFa5"), out));
    EXPECT_HEX(BYTES(out, 3), "00ffa5");
    EXPECT(!hex_read(STR("0"), out));
    EXPECT(!hex_read(STR("0g"), out));
}

TEST_MAIN()
