// satn.h: a value from the server's JSON as the text that `sql` shows. Spec: cli-and-codegen §7.
#pragma once
#include "cli/json.h"

// `type` is an AlgebraicType as JSON, `value` its untyped form, both read from text that went
// through json_quote_numbers. Appends the text.
void satn_write(Buf *out, json_t *type, json_t *value);
// "1970-01-01T00:00:00" and a fraction of `digits` digits (0 to 6), without a zone.
void satn_write_time(Buf *out, int64_t micros, int digits);
