#include "live/text.h"

#include "base/mem.h"
#include "base/test.h"

static void comes_back(LiveMap *shapes, Str text) {
    TextShape *shape;
    Buf own = {0}, out = {0};
    EXPECT_OK(text_cut(shapes, text, &shape, &own));
    text_put(shape, buf_bytes(&own), &out);
    EXPECT_BYTES(buf_bytes(&out), str_bytes(text));
    text_release(shapes, &shape);
    EXPECT(!shape);
    buf_deinit(&own);
    buf_deinit(&out);
}

TEST(text, is_what_it_was_whatever_it_is) {
    static const char *const pieces[] = {"SELECT ",
                                         "'it''s'",
                                         "'",
                                         "\"a 1\"",
                                         "\"",
                                         "0x1f",
                                         "1.5e3",
                                         "t1",
                                         "\1",
                                         " ",
                                         "-7",
                                         "ä9",
                                         "."};
    LiveMap shapes = {0};
    uint64_t seed = 20261122;
    print_message("seed %llu\n", (unsigned long long)seed);
    for (int i = 0; i < 20000; i++) {
        Buf text = {0};
        for (int k = 0; k < 8; k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            buf_printf(&text, "%s", pieces[(seed >> 33) % ARRAY_LEN(pieces)]);
        }
        text.len -= (seed >> 40) % 4 % (text.len + 1);
        comes_back(&shapes, bytes_str(buf_bytes(&text)));
        buf_deinit(&text);
    }
    comes_back(&shapes, STR(""));
    EXPECT_EQ(shapes.count, 0);
    livemap_deinit(&shapes);
}

TEST(text, of_one_form_is_kept_once) {
    LiveMap shapes = {0};
    TextShape *shape[100];
    Buf own = {0};
    for (unsigned i = 0; i < 100; i++) {
        char text[100];
        snprintf(text, sizeof text, "SELECT * FROM t1 WHERE id = %u AND s = '%u'", i, i * 7);
        EXPECT_OK(text_cut(&shapes, str_from(text), &shape[i], &own));
        EXPECT(shape[i] == shape[0]);
    }
    EXPECT(own.len < 100 * 13);
    TextShape *other;
    EXPECT_OK(text_cut(&shapes, STR("SELECT * FROM t2 WHERE id = 1 AND s = ''"), &other, &own));
    EXPECT(other != shape[0]);
    EXPECT_EQ(shapes.count, 2);
    text_release(&shapes, &other);
    for (unsigned i = 0; i < 100; i++)
        text_release(&shapes, &shape[i]);
    EXPECT_EQ(shapes.count, 0);
    buf_deinit(&own);
    livemap_deinit(&shapes);
}

TEST(text, longer_than_its_pieces_can_be_counted_is_kept_whole) {
    LiveMap shapes = {0};
    size_t len = 70000;
    char *text = mem_alloc(len);
    memset(text, '7', len);
    comes_back(&shapes, (Str){text, len});
    mem_free(text);
    livemap_deinit(&shapes);
}

TEST(text, that_finds_no_memory_leaves_nothing_behind) {
    for (int64_t n = 0;; n++) {
        LiveMap shapes = {0};
        TextShape *shape = NULL;
        Buf own = {0};
        mem_fault_arm(n);
        Err err = text_cut(&shapes, STR("SELECT * FROM t WHERE id = 5"), &shape, &own);
        mem_fault_arm(-1);
        text_release(&shapes, &shape);
        EXPECT_EQ(shapes.count, 0);
        livemap_deinit(&shapes);
        buf_deinit(&own);
        if (err == OK) break;
        EXPECT_ERR(err, ERR_NOMEM);
    }
}

TEST_MAIN()
