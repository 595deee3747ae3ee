// type.h: SATS types. A type is structural: shape plus element and variant names.
//
// A Type graph handed around inside the server is *resolved*: it holds no TYPE_REF; a reference has
// become a pointer, so a recursive type is a cycle. Types live in an arena named by whoever made
// them (a module definition, a query) and are never changed. Spec: websocket-and-data-model §1, §2.
#pragma once
#include "base/arena.h"

// The values are the BSATN tags of the kinds.
typedef enum TypeKind {
    TYPE_REF = 0,
    TYPE_SUM = 1,
    TYPE_PRODUCT = 2,
    TYPE_ARRAY = 3,
    TYPE_STRING = 4,
    TYPE_BOOL = 5,
    TYPE_I8 = 6,
    TYPE_U8 = 7,
    TYPE_I16 = 8,
    TYPE_U16 = 9,
    TYPE_I32 = 10,
    TYPE_U32 = 11,
    TYPE_I64 = 12,
    TYPE_U64 = 13,
    TYPE_I128 = 14,
    TYPE_U128 = 15,
    TYPE_I256 = 16,
    TYPE_U256 = 17,
    TYPE_F32 = 18,
    TYPE_F64 = 19,
} TypeKind;

// Shapes with a meaning of their own (§1.2, §1.3), recognised when a type is decoded or built.
typedef enum TypeSpecial {
    SPECIAL_NONE,
    SPECIAL_UNIT,
    SPECIAL_BYTES,  // Array<U8>
    SPECIAL_IDENTITY,
    SPECIAL_CONNECTION_ID,
    SPECIAL_TIMESTAMP,
    SPECIAL_TIME_DURATION,
    SPECIAL_UUID,
    SPECIAL_SCHEDULE_AT,
    SPECIAL_OPTION,
    SPECIAL_RESULT,
} TypeSpecial;

typedef struct Type Type;

typedef struct TypeField {  // a product's element or a sum's variant
    Str name;               // ptr is NULL when unnamed
    const Type *type;
} TypeField;

struct Type {
    TypeKind kind;
    TypeSpecial special;
    uint32_t ref;             // TYPE_REF: index into the typespace
    uint32_t field_count;     // TYPE_SUM, TYPE_PRODUCT
    const TypeField *fields;  // TYPE_SUM, TYPE_PRODUCT
    const Type *element;      // TYPE_ARRAY
    uint32_t fixed_size;      // BSATN bytes of every value, or TYPE_SIZE_VARIES
    uint32_t source_ref;      // the typespace entry a resolved type came from, or TYPE_NO_REF
    // The following hold where fixed_size is a number.
    uint32_t weight;  // parts in every value, counting itself; saturates
    uint8_t height;   // nesting of every value, 0 for the simple kinds; saturates
    bool any_bits;    // any fixed_size bytes are a value: no bool and no sum inside
};

#define TYPE_SIZE_VARIES UINT32_MAX
#define TYPE_NO_REF      UINT32_MAX
#define TYPE_DEPTH_MAX   64   // nesting of a decoded type
#define VALUE_DEPTH_MAX  128  // nesting of a value of a recursive type
#define SUM_VARIANTS_MAX 256  // a tag is one byte
// Parts of a type whose values take no bytes: {a: Ref(1), b: Ref(1)} forty levels deep would be
// 2^40 units in an empty message. More than this is refused when references are resolved.
#define TYPE_EMPTY_PARTS_MAX 10000
// Elements of an array whose elements take no bytes (§2.3): four bytes must not claim billions.
#define ARRAY_EMPTY_COUNT_MAX 4096

typedef struct Typespace {
    const Type **types;  // unresolved, as declared
    uint32_t count;
} Typespace;

// The simple kinds, unit, bytes and the special types as ready-made constants.
const Type *type_simple(TypeKind kind);      // kinds from TYPE_STRING on
const Type *type_special(TypeSpecial kind);  // not OPTION or RESULT, which have arguments

// Builders, for definitions written in C (system tables, tests). NULL when out of memory.
Type *type_product(Arena *arena, const TypeField *fields, uint32_t count);  // copies the fields
Type *type_sum(Arena *arena, const TypeField *variants, uint32_t count);
Type *type_array(Arena *arena, const Type *element);
Type *type_option(Arena *arena, const Type *some);

const char *type_kind_name(TypeKind kind);  // "U64", as in SATS-JSON; static storage
bool type_is_unit(const Type *type);
bool type_is_plain_enum(const Type *type);  // a sum whose variants are all unit
// Structural equality including names; cycles are handled. Errs on the side of "different" when
// two graphs are too large to compare (thousands of levels, or no memory for the comparison).
bool type_eq(const Type *a, const Type *b);
// Append the way SQL errors spell a type (sql-and-subscriptions §1.7 last line): `Array<U8>`,
// `(a: U32, b: String)`, `(some: T | none: ())`.
void type_print(Buf *out, const Type *type);

// Decode one AlgebraicType (BSATN) from *in, advancing it. The result is unresolved. Errors:
//   ERR_MALFORMED with the position in diag->at, relative to the start of *in
//   ERR_LIMIT     nested deeper than TYPE_DEPTH_MAX
MUST_USE Err type_decode(Bytes *in, Arena *arena, const Type **out, Diag *diag);
// The reverse. type_encode writes every part out, and TYPE_REF only where a recursive type comes
// back to itself; type_encode_refs writes TYPE_REF wherever source_ref is set, the top included.
void type_encode(Buf *out, const Type *type);
void type_encode_refs(Buf *out, const Type *type);

// Replace references by pointers. ERR_INVALID for a dangling reference or a reference loop without
// a product, sum or array in between; ERR_LIMIT for absurd nesting. Every resolved type remembers
// its source_ref; an entry that is only a reference becomes the entry it names.
MUST_USE Err typespace_resolve(const Typespace *space,
                               Arena *arena,
                               const Type ***resolved,
                               Diag *diag);
MUST_USE Err type_resolve(const Type *type,
                          const Type *const *resolved,
                          uint32_t resolved_count,
                          Arena *arena,
                          const Type **out,
                          Diag *diag);
