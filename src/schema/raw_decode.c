// raw_decode.c: the pieces that V9 and V10 definitions share, and the choice between the two.
//
// START AT  raw_decode(), then decode_v10.c; the layouts are tables in module-abi §3.1–§3.3.
#include "schema/raw_decode.h"

enum { RAW_TAG_V8 = 0, RAW_TAG_V9 = 1, RAW_TAG_V10 = 2 };

bool decoder_ok(const Decoder *d) {
    return d->err == OK && reader_ok(&d->in);
}

void decoder_fail(Decoder *d, Err err, const char *what) {
    if (!decoder_ok(d)) return;
    d->err = diag_fail_at(d->diag, err, d->in.at, "%s", what);
}

uint32_t decode_count(Decoder *d, uint32_t min_bytes) {
    uint32_t count = reader_u32(&d->in);
    if (!decoder_ok(d)) return 0;
    if (count > d->in.in.len / min_bytes) {
        decoder_fail(d, ERR_MALFORMED, "an array is longer than the data that holds it");
        return 0;
    }
    return count;
}

void *decode_alloc(Decoder *d, size_t each, uint32_t count) {
    void *array = arena_zalloc_array(d->arena, each, count);
    if (!array) decoder_fail(d, ERR_NOMEM, err_text(ERR_NOMEM));
    return array;
}

uint8_t decode_tag(Decoder *d, uint8_t tag_count, const char *what) {
    uint8_t tag = reader_u8(&d->in);
    if (!decoder_ok(d)) return 0;
    if (tag < tag_count) return tag;
    d->err = diag_fail_at(d->diag,
                          ERR_MALFORMED,
                          d->in.at - 1,
                          "unknown tag %#x for sum type %s",
                          tag,
                          what);
    return 0;
}

bool decode_bool(Decoder *d) {
    uint8_t byte = reader_u8(&d->in);
    if (decoder_ok(d) && byte > 1) {
        d->err = diag_fail_at(d->diag,
                              ERR_MALFORMED,
                              d->in.at - 1,
                              "byte %u not valid as `bool` (must be 0 or 1)",
                              byte);
    }
    return decoder_ok(d) && byte == 1;
}

bool decode_is_some(Decoder *d) {
    return decode_tag(d, 2, "<unknown>") == 0 && decoder_ok(d);
}

Str decode_str(Decoder *d) {
    Str text = reader_str(&d->in);
    // An empty text must stay apart from none, whatever pointer the reader gives it.
    return text.ptr ? text : STR("");
}

Str decode_option_str(Decoder *d) {
    return decode_is_some(d) ? decode_str(d) : STR_NONE;
}

Str *decode_strs(Decoder *d, uint32_t *count) {
    Str *strs = DECODE_ARRAY(d, Str, count, 4);
    for (uint32_t i = 0; i < *count && decoder_ok(d); i++)
        strs[i] = decode_str(d);
    return strs;
}

RawColumns decode_columns(Decoder *d) {
    uint32_t count;
    uint16_t *columns = DECODE_ARRAY(d, uint16_t, &count, 2);
    if (count > UINT16_MAX) {
        decoder_fail(d, ERR_MALFORMED, "too many columns");
        return (RawColumns){0};
    }
    for (uint32_t i = 0; i < count && decoder_ok(d); i++)
        columns[i] = reader_u16(&d->in);
    return (RawColumns){.at = columns, .count = (uint16_t)count};
}

static const Type *unit_after_failure(void) {
    return type_special(SPECIAL_UNIT);
}

const Type *decode_type(Decoder *d) {
    if (!decoder_ok(d)) return unit_after_failure();
    Bytes left = d->in.in;
    const Type *type = NULL;
    Diag inner;
    diag_clear(&inner);
    Err err = type_decode(&left, d->arena, &type, &inner);
    if (err != OK) {
        size_t at = inner.at == DIAG_NOWHERE ? d->in.at : d->in.at + inner.at;
        d->err = diag_fail_at(d->diag, err, at, "%s", inner.text);
        return unit_after_failure();
    }
    (void)reader_take(&d->in, d->in.in.len - left.len);
    return type;
}

const Type *decode_product(Decoder *d) {
    uint32_t count;
    TypeField *fields = DECODE_ARRAY(d, TypeField, &count, 2);
    for (uint32_t i = 0; i < count && decoder_ok(d); i++) {
        fields[i].name = decode_option_str(d);
        fields[i].type = decode_type(d);
    }
    if (!decoder_ok(d)) return unit_after_failure();
    const Type *product = type_product(d->arena, fields, count);
    if (product) return product;
    decoder_fail(d, ERR_NOMEM, err_text(ERR_NOMEM));
    return unit_after_failure();
}

Typespace decode_typespace(Decoder *d) {
    uint32_t count;
    const Type **types = DECODE_ARRAY(d, const Type *, &count, 1);
    for (uint32_t i = 0; i < count && decoder_ok(d); i++)
        types[i] = decode_type(d);
    return (Typespace){.types = types, .count = count};
}

static void decode_algorithm(Decoder *d, RawIndex *index) {
    index->algorithm = (IndexAlgorithm)decode_tag(d, 3, "RawIndexAlgorithm");
    if (index->algorithm != INDEX_DIRECT) {
        index->columns = decode_columns(d);
        return;
    }
    uint16_t *column = decode_alloc(d, sizeof *column, 1);
    if (!decoder_ok(d)) return;
    *column = reader_u16(&d->in);
    index->columns = (RawColumns){.at = column, .count = 1};
}

RawIndex *decode_indexes(Decoder *d, uint32_t *count) {
    RawIndex *indexes = DECODE_ARRAY(d, RawIndex, count, 5);
    for (uint32_t i = 0; i < *count && decoder_ok(d); i++) {
        indexes[i].name = decode_option_str(d);
        indexes[i].accessor = decode_option_str(d);
        decode_algorithm(d, &indexes[i]);
    }
    return indexes;
}

RawConstraint *decode_constraints(Decoder *d, uint32_t *count) {
    RawConstraint *constraints = DECODE_ARRAY(d, RawConstraint, count, 6);
    for (uint32_t i = 0; i < *count && decoder_ok(d); i++) {
        constraints[i].name = decode_option_str(d);
        (void)decode_tag(d, 1, "RawConstraintData");
        constraints[i].columns = decode_columns(d);
    }
    return constraints;
}

static Int128 decode_i128(Decoder *d) {
    Int128 value = {0};
    Bytes bytes = reader_take(&d->in, sizeof value.le);
    if (decoder_ok(d)) memcpy(value.le, bytes.ptr, sizeof value.le);
    return value;
}

static bool decode_option_i128(Decoder *d, Int128 *out) {
    if (!decode_is_some(d)) return false;
    *out = decode_i128(d);
    return true;
}

RawSequence *decode_sequences(Decoder *d, uint32_t *count) {
    RawSequence *sequences = DECODE_ARRAY(d, RawSequence, count, 22);
    for (uint32_t i = 0; i < *count && decoder_ok(d); i++) {
        RawSequence *s = &sequences[i];
        s->name = decode_option_str(d);
        s->column = reader_u16(&d->in);
        s->has_start = decode_option_i128(d, &s->start);
        s->has_min = decode_option_i128(d, &s->min);
        s->has_max = decode_option_i128(d, &s->max);
        s->increment = decode_i128(d);
    }
    return sequences;
}

RawTypeName *decode_type_names(Decoder *d, uint32_t *count) {
    RawTypeName *names = DECODE_ARRAY(d, RawTypeName, count, 13);
    for (uint32_t i = 0; i < *count && decoder_ok(d); i++) {
        names[i].scope = decode_strs(d, &names[i].scope_count);
        names[i].name = decode_str(d);
        names[i].ref = reader_u32(&d->in);
        names[i].custom_ordering = decode_bool(d);
    }
    return names;
}

RawView decode_view(Decoder *d) {
    RawView view = {0};
    view.name = decode_str(d);
    view.index = reader_u32(&d->in);
    view.is_public = decode_bool(d);
    view.is_anonymous = decode_bool(d);
    view.params = decode_product(d);
    view.returns = decode_type(d);
    return view;
}

Err raw_decode(Bytes raw, Arena *arena, RawModule *out, Diag *diag) {
    Decoder d = {.in = reader_of(raw), .arena = arena, .diag = diag};
    *out = (RawModule){0};
    switch (decode_tag(&d, 3, "RawModuleDef")) {
    case RAW_TAG_V8:
        decoder_fail(&d,
                     ERR_UNSUPPORTED,
                     "module definitions from before version 1.0 (V8) are not supported");
        break;
    case RAW_TAG_V9: raw_decode_v9(&d, out); break;
    case RAW_TAG_V10: raw_decode_v10(&d, out); break;
    default: UNREACHABLE();  // decode_tag checked
    }
    if (d.err != OK) return d.err;
    return reader_err(&d.in, diag);
}
