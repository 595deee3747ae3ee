// format.h: inside src/log only. Widths of commit.h's layout, for its writer and its reader.
#pragma once
#include "log/commit.h"

enum {
    COMMIT_NAME_LEN_AT = 8 + 8 + 32 + 16,
    COMMIT_HEAD_BYTES = COMMIT_NAME_LEN_AT + 2,
    COMMIT_OP_COUNT_BYTES = 4,
    COMMIT_OP_HEAD_BYTES = 1 + 4 + 4,
};
static_assert(COMMIT_HEAD_BYTES == 66 && COMMIT_OP_HEAD_BYTES == 9, "on disk: never changes");
