// raw_decode.h: reading the pieces that V9 and V10 definitions share (module-abi §3.1).
//
// A Decoder is a Reader that also allocates and decodes types. Like the Reader it remembers its
// first failure: after one, everything reads as zero or empty, and whoever started asks once.
// Counts are believed only as far as the bytes left could hold so many elements.
#pragma once
#include "schema/raw.h"

struct Decoder {
    Reader in;
    Arena *arena;
    Err err;  // of an allocation or a type; the Reader keeps its own
    uint32_t submodule_depth;
    Diag *diag;
};

bool decoder_ok(const Decoder *d);
void decoder_fail(Decoder *d, Err err, const char *what);

// The number of elements of an array whose elements take at least `min_bytes` each, or 0.
uint32_t decode_count(Decoder *d, uint32_t min_bytes);
void *decode_alloc(Decoder *d, size_t each, uint32_t count);
// Make room for the elements of an array: X *x = DECODE_ARRAY(d, X, &n, least bytes of one).
#define DECODE_ARRAY(d, type, count, min_bytes) \
    ((type *)decode_alloc((d), sizeof(type), (*(count) = decode_count((d), (min_bytes)))))

bool decode_bool(Decoder *d);
uint8_t decode_tag(Decoder *d, uint8_t tag_count, const char *what);
bool decode_is_some(Decoder *d);
Str decode_str(Decoder *d);
Str decode_option_str(Decoder *d);  // ptr NULL for none
Str *decode_strs(Decoder *d, uint32_t *count);
RawColumns decode_columns(Decoder *d);
const Type *decode_type(Decoder *d);
const Type *decode_product(Decoder *d);  // a ProductType: elements without the tag
Typespace decode_typespace(Decoder *d);

RawIndex *decode_indexes(Decoder *d, uint32_t *count);
RawConstraint *decode_constraints(Decoder *d, uint32_t *count);
RawSequence *decode_sequences(Decoder *d, uint32_t *count);
RawTypeName *decode_type_names(Decoder *d, uint32_t *count);
RawView decode_view(Decoder *d);
