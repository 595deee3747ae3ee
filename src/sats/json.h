// json.h: SATS-JSON both ways. Spec: websocket-and-data-model §3.
#pragma once
#include "sats/bsatn.h"

typedef enum JsonForm {
    JSON_TYPED,    // T: objects by name, {"Variant": payload}
    JSON_UNTYPED,  // U: arrays, [tag, payload]
    JSON_ROW,      // R: objects by column, sums [tag, payload], inside arrays as U
} JsonForm;

// Append the JSON text of one checked BSATN value.
void json_write(Buf *out, const Type *type, const uint8_t *value, JsonForm form);
void json_write_string(Buf *out, Str text);  // quoted and escaped as §3 says

// Read JSON text as a value of `type` and append its BSATN. The lenient input rules of §3.2, §3.3.
// Trailing text other than white space is an error. Positions are byte offsets into text.
//   ERR_MALFORMED  not JSON, or not a value of the type; diag says what and where
//   ERR_LIMIT      nested deeper than VALUE_DEPTH_MAX
//   ERR_NOMEM      also when *bsatn had failed before
// On an error *bsatn has its old content.
MUST_USE Err json_read(const Type *type, Str text, Buf *bsatn, Diag *diag);
// Reducer arguments: like a product, but a wrong number says
// "invalid length {got}, expected args for {name} with {n} elements".
MUST_USE Err
json_read_args(const Type *params, Str function_name, Str text, Buf *bsatn, Diag *diag);
// An AlgebraicType as SATS-JSON form T ({"U64":[]} …), references kept where source_ref is set if
// as_refs, otherwise only where a recursive type comes back to itself.
void json_write_type(Buf *out, const Type *type, bool as_refs);
