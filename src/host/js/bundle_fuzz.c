// Any text is rewritten or refused; never a crash, a leak or a place outside of the text.
#include <stdlib.h>

#include "host/js/bundle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static Diag diag;
    Buf script = {0};
    diag_clear(&diag);
    Err err = bundle_rewrite(bytes_str(BYTES(data, size)), &script, &diag);
    bool whole = script.len > 2 && memcmp(script.ptr, "(function", 9) == 0 &&
                 memcmp(script.ptr + script.len - 2, "})", 2) == 0;
    if (err == OK && !whole) abort();
    if (err != OK && diag.at != DIAG_NOWHERE && diag.at > size) abort();
    buf_deinit(&script);
    return 0;
}
