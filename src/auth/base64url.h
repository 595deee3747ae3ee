// base64url.h: RFC 4648 §5 without padding, as JSON Web Tokens use it.
#pragma once
#include "base/bytes.h"

static inline size_t base64url_decoded_max(size_t text_len) {
    return text_len / 4 * 3 + 2;
}
void base64url_append(Buf *out, Bytes bytes);
// Strict: one text for each value, so no padding, no stray bits in the last digit, no line breaks.
// `out` has room for base64url_decoded_max(text.len).
MUST_USE bool base64url_decode(Str text, uint8_t *out, size_t *out_len);
