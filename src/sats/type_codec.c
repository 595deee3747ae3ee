// type_codec.c: types as bytes. An AlgebraicType is itself a value of a sum with 20 variants:
//
//     tag:1  payload
//     00 Ref       index:4
//     01 Sum       count:4, count times ( name, type )      name: 00 len:4 utf8 | 01
//     02 Product   count:4, count times ( name, type )
//     03 Array     type
//     04..13       nothing
//
// Definitions come from modules, so nothing here trusts a count or a depth.
#include "sats/bsatn.h"
#include "sats/type_internal.h"

// The least an element can take: an absent name and a simple type.
#define FIELD_BYTES_MIN 2

typedef struct TypeDecoder {
    Reader r;
    Arena *arena;
    Diag *diag;
} TypeDecoder;

static Err decode_type(TypeDecoder *d, int depth, const Type **out);

static Err decode_name(TypeDecoder *d, Str *out) {
    size_t at = d->r.at;
    uint8_t tag = reader_u8(&d->r);
    *out = STR_NONE;
    if (!reader_ok(&d->r) || tag == 1) return reader_err(&d->r, d->diag);
    if (tag != 0) {
        return diag_fail_at(d->diag, ERR_MALFORMED, at, "unknown tag %#x for sum type Option", tag);
    }
    Str name = reader_str(&d->r);
    if (!reader_ok(&d->r)) return reader_err(&d->r, d->diag);
    *out = arena_str(d->arena, name);
    return out->ptr ? OK : diag_fail(d->diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

static Err decode_fields(TypeDecoder *d, TypeKind kind, int depth, const Type **out) {
    Err err = OK;
    size_t at = d->r.at;
    uint32_t count = reader_u32(&d->r);
    if (!reader_ok(&d->r)) return reader_err(&d->r, d->diag);
    if (kind == TYPE_SUM && count > SUM_VARIANTS_MAX) {
        return diag_fail_at(d->diag,
                            ERR_MALFORMED,
                            at,
                            "a sum type of %u variants: at most %d fit a tag",
                            count,
                            SUM_VARIANTS_MAX);
    }
    if (count > d->r.in.len / FIELD_BYTES_MIN) {
        return diag_fail_at(d->diag,
                            ERR_MALFORMED,
                            at,
                            "data too short for %u elements of a type: given %zu",
                            count,
                            d->r.in.len);
    }
    TypeField *fields = arena_array(d->arena, TypeField, count);
    Type *type = arena_new(d->arena, Type);
    if (!fields || !type) return diag_fail(d->diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    for (uint32_t i = 0; i < count; i++) {
        if ((err = decode_name(d, &fields[i].name)) != OK) return err;
        if ((err = decode_type(d, depth + 1, &fields[i].type)) != OK) return err;
    }
    *type = (Type){
        .kind = kind,
        .field_count = count,
        .fields = fields,
        .fixed_size = TYPE_SIZE_VARIES,
        .source_ref = TYPE_NO_REF,
    };
    type->special = type_recognise(type);
    type_finish_sizes(type);
    *out = type;
    return OK;
}

static Err decode_array(TypeDecoder *d, int depth, const Type **out) {
    const Type *element;
    Err err = decode_type(d, depth + 1, &element);
    if (err != OK) return err;
    *out = type_array(d->arena, element);
    return *out ? OK : diag_fail(d->diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
}

static Err decode_ref(TypeDecoder *d, const Type **out) {
    uint32_t ref = reader_u32(&d->r);
    if (!reader_ok(&d->r)) return reader_err(&d->r, d->diag);
    Type *type = arena_new(d->arena, Type);
    if (!type) return diag_fail(d->diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    *type = (Type){
        .kind = TYPE_REF,
        .ref = ref,
        .fixed_size = TYPE_SIZE_VARIES,
        .source_ref = TYPE_NO_REF,
    };
    *out = type;
    return OK;
}

static Err decode_type(TypeDecoder *d, int depth, const Type **out) {
    size_t at = d->r.at;
    if (depth >= TYPE_DEPTH_MAX) {
        return diag_fail_at(d->diag,
                            ERR_LIMIT,
                            at,
                            "a type is nested deeper than %d levels",
                            TYPE_DEPTH_MAX);
    }
    uint8_t tag = reader_u8(&d->r);
    if (!reader_ok(&d->r)) return reader_err(&d->r, d->diag);
    switch (tag) {
    case TYPE_REF: return decode_ref(d, out);
    case TYPE_SUM:
    case TYPE_PRODUCT: return decode_fields(d, (TypeKind)tag, depth, out);
    case TYPE_ARRAY: return decode_array(d, depth, out);
    default:
        if (tag > TYPE_F64) {
            return diag_fail_at(d->diag,
                                ERR_MALFORMED,
                                at,
                                "unknown tag %#x for sum type AlgebraicType",
                                tag);
        }
        *out = type_simple((TypeKind)tag);
        return OK;
    }
}

Err type_decode(Bytes *in, Arena *arena, const Type **out, Diag *diag) {
    TypeDecoder decoder = {.r = reader_of(*in), .arena = arena, .diag = diag};
    Err err = decode_type(&decoder, 0, out);
    if (err == OK) *in = decoder.r.in;
    return err;
}

static void encode_ref(Buf *out, uint32_t ref) {
    buf_put_u8(out, TYPE_REF);
    buf_put_u32(out, ref);
}

static void encode_type(Buf *out,
                        const Type *type,
                        bool as_refs,
                        size_t start,
                        const TypeLevel *outer) {
    if ((as_refs && type->source_ref != TYPE_NO_REF) ||
        type_must_be_ref(type, outer, out->len - start)) {
        encode_ref(out, type->source_ref);
        return;
    }
    TypeLevel here = type_level(type, outer);
    switch (type->kind) {
    case TYPE_REF: encode_ref(out, type->ref); return;
    case TYPE_ARRAY:
        buf_put_u8(out, TYPE_ARRAY);
        encode_type(out, type->element, as_refs, start, &here);
        return;
    case TYPE_SUM:
    case TYPE_PRODUCT:
        buf_put_u8(out, (uint8_t)type->kind);
        buf_put_u32(out, type->field_count);
        for (uint32_t i = 0; i < type->field_count; i++) {
            Str name = type->fields[i].name;
            buf_put_u8(out, name.ptr ? 0 : 1);
            if (name.ptr) buf_put_lp(out, str_bytes(name));
            encode_type(out, type->fields[i].type, as_refs, start, &here);
        }
        return;
    default: buf_put_u8(out, (uint8_t)type->kind); return;
    }
}

void type_encode(Buf *out, const Type *type) {
    encode_type(out, type, false, out->len, NULL);
}

void type_encode_refs(Buf *out, const Type *type) {
    encode_type(out, type, true, out->len, NULL);
}
