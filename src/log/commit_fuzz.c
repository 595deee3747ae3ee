// Any bytes as commits: refused or walked, never read out of bounds, always making progress.
#include "log/commit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Bytes in = {data, size};
    Commit commit;
    while (in.len > 0) {
        size_t before = in.len;
        if (commit_read(&in, &commit) != OK) {
            ASSERT(in.len == before);
            break;
        }
        ASSERT(in.len < before);
        CommitOp op;
        uint32_t count = 0;
        uint64_t sum = commit.info.name.len;
        for (Bytes ops = commit.ops; commit_next_op(&ops, &op); count++) {
            for (size_t i = 0; i < op.bytes.len; i++) {
                sum += op.bytes.ptr[i];
            }
        }
        ASSERT(count == commit.op_count);
        ASSERT(sum < UINT64_MAX);
    }
    return 0;
}
