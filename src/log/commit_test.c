#include "log/commit.h"

#include "base/test.h"

// The layout of commit.h, written out by hand.
static void commit_put(Buf *out, uint64_t offset, uint32_t op_count) {
    buf_put_u64(out, offset);
    buf_put_u64(out, (uint64_t)-5);
    for (int i = 0; i < 32 + 16; i++) {
        buf_put_u8(out, (uint8_t)i);
    }
    buf_put_u16(out, 3);
    buf_put_str(out, STR("add"));
    buf_put_u32(out, op_count);
}

static void op_put(Buf *out, uint8_t kind, uint32_t table_id, Str bytes) {
    buf_put_u8(out, kind);
    buf_put_u32(out, table_id);
    buf_put_lp(out, str_bytes(bytes));
}

static void sample_put(Buf *out) {
    commit_put(out, 42, 4);
    op_put(out, COMMIT_INSERT, 4097, STR("row"));
    op_put(out, COMMIT_DELETE, 4098, STR(""));
    op_put(out, COMMIT_EVENT, 4099, STR("event"));
    op_put(out, COMMIT_TRUNCATE, 4100, STR(""));
}

TEST(commit, is_read_as_it_is_documented) {
    Buf buf = {0};
    sample_put(&buf);
    buf_put_str(&buf, STR("more"));
    Bytes in = buf_bytes(&buf);
    Commit commit;
    CommitOp op;
    EXPECT_OK(commit_read(&in, &commit));
    EXPECT_BYTES(in, BYTES("more", 4));
    EXPECT_EQ(commit.offset.v, 42);
    EXPECT_EQ(commit.info.timestamp, -5);
    EXPECT_EQ(commit.info.caller.le[31], 31);
    EXPECT_EQ(commit.info.connection.le[0], 32);
    EXPECT(str_eq(commit.info.name, STR("add")));
    EXPECT_EQ(commit.op_count, 4);
    EXPECT(commit_next_op(&commit.ops, &op));
    EXPECT(op.kind == COMMIT_INSERT && op.table_id == 4097);
    EXPECT_BYTES(op.bytes, BYTES("row", 3));
    EXPECT(commit_next_op(&commit.ops, &op) && op.kind == COMMIT_DELETE && op.bytes.len == 0);
    EXPECT(commit_next_op(&commit.ops, &op) && op.kind == COMMIT_EVENT && op.bytes.len == 5);
    EXPECT(commit_next_op(&commit.ops, &op) && op.kind == COMMIT_TRUNCATE && op.table_id == 4100);
    EXPECT(!commit_next_op(&commit.ops, &op));
    buf_deinit(&buf);
}

TEST(commit, is_refused_at_every_shorter_length) {
    Buf buf = {0};
    sample_put(&buf);
    for (size_t len = 0; len < buf.len; len++) {
        Bytes in = {buf.ptr, len};
        Commit commit;
        EXPECT_ERR(commit_read(&in, &commit), ERR_MALFORMED);
        EXPECT_EQ(in.len, len);  // nothing was taken
    }
    buf_deinit(&buf);
}

static void expect_bad_op(uint8_t kind, Str bytes) {
    Buf buf = {0};
    commit_put(&buf, 1, 1);
    op_put(&buf, kind, 1, bytes);
    Bytes in = buf_bytes(&buf);
    Commit commit;
    EXPECT_ERR(commit_read(&in, &commit), ERR_MALFORMED);
    buf_deinit(&buf);
}

TEST(commit, knows_six_kinds_of_operation_and_truncation_has_no_bytes) {
    expect_bad_op(0, STR(""));
    expect_bad_op(7, STR(""));
    expect_bad_op(COMMIT_TRUNCATE, STR("x"));
}

TEST(commit, a_huge_operation_count_is_refused_without_trust) {
    Buf buf = {0};
    commit_put(&buf, 1, UINT32_MAX);
    Bytes in = buf_bytes(&buf);
    Commit commit;
    EXPECT_ERR(commit_read(&in, &commit), ERR_MALFORMED);
    buf_deinit(&buf);
}

TEST_MAIN()
