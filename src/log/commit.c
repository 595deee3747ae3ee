// commit.c: an operation's bytes, and reading commits back. (log.c writes them into its batch.)
//
// The bytes passed a checksum, but they may come from a fuzzer or, later, from another server:
// every length is checked before it is used.
#include "log/commit.h"

#include "log/format.h"

void commit_op_put(Buf *out, CommitOpKind kind, uint32_t table_id, Bytes bytes) {
    ASSERT(bytes.len <= UINT32_MAX);
    DEBUG_ASSERT(kind != COMMIT_TRUNCATE || bytes.len == 0);
    uint8_t *p = buf_extend(out, COMMIT_OP_HEAD_BYTES + bytes.len);
    if (UNLIKELY(!p)) return;  // whoever ends the commit finds out
    p[0] = (uint8_t)kind;
    store_u32(p + 1, table_id);
    store_u32(p + 5, (uint32_t)bytes.len);
    bytes_copy(p + COMMIT_OP_HEAD_BYTES, bytes.ptr, bytes.len);
}

static bool take(Bytes *in, size_t len, Bytes *out) {
    if (in->len < len) return false;
    *out = (Bytes){in->ptr, len};
    *in = (Bytes){in->ptr + len, in->len - len};
    return true;
}

static bool op_take(Bytes *in, CommitOp *out) {
    Bytes head;
    if (!take(in, COMMIT_OP_HEAD_BYTES, &head)) return false;
    uint8_t kind = head.ptr[0];
    if (kind < COMMIT_INSERT || kind > COMMIT_REPLACE) return false;
    out->kind = (CommitOpKind)kind;
    out->table_id = load_u32(head.ptr + 1);
    if (!take(in, load_u32(head.ptr + 5), &out->bytes)) return false;
    return kind != COMMIT_TRUNCATE || out->bytes.len == 0;
}

Err commit_read(Bytes *in, Commit *out) {
    Bytes rest = *in, head, name, count;
    if (!take(&rest, COMMIT_HEAD_BYTES, &head)) return ERR_MALFORMED;
    if (!take(&rest, load_u16(head.ptr + COMMIT_NAME_LEN_AT), &name)) return ERR_MALFORMED;
    if (!take(&rest, COMMIT_OP_COUNT_BYTES, &count)) return ERR_MALFORMED;
    Commit commit = {
        .offset = {load_u64(head.ptr)},
        .info = {.timestamp = (Micros)load_u64(head.ptr + 8), .name = bytes_str(name)},
        .op_count = load_u32(count.ptr),
    };
    memcpy(commit.info.caller.le, head.ptr + 16, sizeof commit.info.caller.le);
    memcpy(commit.info.connection.le, head.ptr + 48, sizeof commit.info.connection.le);

    const uint8_t *ops = rest.ptr;
    for (uint32_t i = 0; i < commit.op_count; i++) {
        CommitOp op;
        if (!op_take(&rest, &op)) return ERR_MALFORMED;
    }
    commit.ops = (Bytes){ops, (size_t)(rest.ptr - ops)};
    *in = rest;
    *out = commit;
    return OK;
}

bool commit_next_op(Bytes *ops, CommitOp *out) {
    if (ops->len == 0) return false;
    bool ok = op_take(ops, out);
    ASSERT(ok);  // commit_read walked them all
    return true;
}
