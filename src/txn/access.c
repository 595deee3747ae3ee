// access.c: the sentences of the module ABI's errnos (spec: module-abi §1.4). Modules see them as
// exception messages.
#include "txn/access.h"

const char *abi_errno_text(AbiErrno errno_) {
    switch (errno_) {
    case ABI_OK: return "no error";
    case ABI_HOST_CALL_FAILURE: return "ABI called by host returned an error";
    case ABI_NOT_IN_TRANSACTION: return "ABI call can only be made while in a transaction";
    case ABI_BSATN_DECODE_ERROR: return "Couldn't decode the BSATN to the expected type";
    case ABI_NO_SUCH_TABLE: return "No such table";
    case ABI_NO_SUCH_INDEX: return "No such index";
    case ABI_NO_SUCH_ITER: return "The provided row iterator is not valid";
    case ABI_NO_SUCH_CONSOLE_TIMER: return "The provided console timer does not exist";
    case ABI_NO_SUCH_BYTES: return "The provided bytes source or sink is not valid";
    case ABI_NO_SPACE: return "The provided sink has no more space left";
    case ABI_WRONG_INDEX_ALGO: return "The Index does not support range scans";
    case ABI_BUFFER_TOO_SMALL: return "The provided buffer is not large enough to store the data";
    case ABI_UNIQUE_ALREADY_EXISTS: return "Value with given unique identifier already exists";
    case ABI_SCHEDULE_AT_DELAY_TOO_LONG: return "Specified delay in scheduling row was too long";
    case ABI_INDEX_NOT_UNIQUE: return "The index was not unique";
    case ABI_NO_SUCH_ROW: return "The row was not found, e.g., in an update call";
    case ABI_AUTO_INC_OVERFLOW: return "The auto-increment sequence overflowed";
    case ABI_WOULD_BLOCK_TRANSACTION:
        return "Attempted async or blocking op while holding open a transaction";
    case ABI_TRANSACTION_NOT_ANONYMOUS:
        return "Not in an anonymous transaction. Called by a reducer?";
    case ABI_TRANSACTION_IS_READ_ONLY:
        return "ABI call can only be made while within a mutable transaction";
    case ABI_TRANSACTION_IS_MUT:
        return "ABI call can only be made while within a read-only transaction";
    case ABI_HTTP_ERROR: return "The HTTP request failed";
    case ABI_FATAL: return "The server could not carry out the call";
    }
    return "unknown error";  // an Access of a newer kind
}
