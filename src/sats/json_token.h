// json_token.h: the text side of reading JSON. json_read.c asks for what the type wants next.
#pragma once
#include "base/bytes.h"

typedef struct JsonText {
    const char *start, *at, *end;
    Buf scratch;  // strings with escapes, and numbers for the C library; see json_text_string
    Diag *diag;
} JsonText;

JsonText json_text(Str text, Diag *diag);
void json_text_deinit(JsonText *t);

// The next character that is not white space, or 0 at the end; not consumed.
char json_peek(JsonText *t);
// Consume `c` if it is next.
bool json_take(JsonText *t, char c);
// Consume a literal word ("true") if it is next.
bool json_take_word(JsonText *t, Str word);

// A string, unescaped. *out borrows from the text, or from scratch until the next string or number.
MUST_USE Err json_text_string(JsonText *t, Str *out);
// The token of a number, checked to be one: sign, digits, fraction, exponent. Borrows from the text.
typedef struct JsonNumber {
    Str token;
    bool is_integer;  // neither fraction nor exponent
} JsonNumber;
MUST_USE Err json_number(JsonText *t, JsonNumber *out);
// The same, terminated, in scratch.
MUST_USE Err json_number_terminated(JsonText *t, const char **out);
// After '[' or ',': how many items stand before the closing bracket. Consumes them and it.
MUST_USE Err json_count_rest(JsonText *t, uint32_t *out);

// Refuse what is next: "expected {wanted}, found {what is there}".
Err json_expected(JsonText *t, const char *wanted);
// Refuse with a position of one's own.
#define json_fail_at(t, where, ...) \
    diag_fail_at((t)->diag, ERR_MALFORMED, (size_t)((where) - (t)->start), __VA_ARGS__)
