// text.h: between UTF-16, which JavaScript strings are, and UTF-8, which everything else is.
#pragma once
#include "base/bytes.h"

// Append as UTF-8. A surrogate without its partner becomes U+FFFD.
void text_from_utf16(Buf *out, const uint16_t *units, size_t count);
// Append u16 units. Ill-formed bytes become U+FFFD, one for each longest part of a character (as
// the WHATWG Encoding standard says). Returns whether everything was well-formed.
bool text_to_utf16(Buf *out, Bytes utf8);
