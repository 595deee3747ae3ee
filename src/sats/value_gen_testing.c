#include "sats/value_gen_testing.h"

#include <math.h>

ValueGen value_gen(uint64_t seed) {
    return (ValueGen){.state = seed};
}

// splitmix64 (Sebastiano Vigna, public domain)
uint64_t value_gen_u64(ValueGen *gen) {
    uint64_t z = gen->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

uint32_t value_gen_below(ValueGen *gen, uint32_t bound) {
    return (uint32_t)(value_gen_u64(gen) % bound);
}

static TypeField gen_field(ValueGen *gen, Arena *arena, uint32_t index, uint32_t depth) {
    static const char *const stems[] = {"c", "Name", "x y", "\xc3\xa9", "q\"\\"};
    const char *stem = stems[value_gen_below(gen, ARRAY_LEN(stems))];
    return (TypeField){
        .name = arena_printf(arena, "%s%u", stem, index),
        .type = value_gen_type(gen, arena, depth),
    };
}

static const Type *gen_composite(ValueGen *gen, Arena *arena, uint32_t depth, bool is_sum) {
    TypeField fields[5];
    uint32_t count = value_gen_below(gen, ARRAY_LEN(fields)) + (is_sum ? 1 : 0);
    count = MIN(count, (uint32_t)ARRAY_LEN(fields));
    for (uint32_t i = 0; i < count; i++) {
        fields[i] = gen_field(gen, arena, i, depth);
    }
    return is_sum ? type_sum(arena, fields, count) : type_product(arena, fields, count);
}

const Type *value_gen_type(ValueGen *gen, Arena *arena, uint32_t depth) {
    uint32_t roll = value_gen_below(gen, 10);
    if (depth > 0 && roll < 6) {
        switch (roll) {
        case 0: return gen_composite(gen, arena, depth - 1, true);
        case 1: return type_option(arena, value_gen_type(gen, arena, depth - 1));
        case 2:
        case 3: return type_array(arena, value_gen_type(gen, arena, depth - 1));
        default: return gen_composite(gen, arena, depth - 1, false);
        }
    }
    if (roll == 9)
        return type_special(
            (TypeSpecial)(SPECIAL_UNIT + value_gen_below(gen, SPECIAL_SCHEDULE_AT)));
    return type_simple((TypeKind)(TYPE_STRING + value_gen_below(gen, TYPE_F64 - TYPE_STRING + 1)));
}

const Type *value_gen_row_type(ValueGen *gen, Arena *arena, uint32_t columns_max, uint32_t depth) {
    uint32_t count = 1 + value_gen_below(gen, columns_max);
    TypeField *fields = arena_array(arena, TypeField, count);
    if (!fields) return NULL;
    for (uint32_t i = 0; i < count; i++) {
        fields[i].name = arena_printf(arena, "c%u", i);
        fields[i].type = value_gen_type(gen, arena, depth);
    }
    return type_product(arena, fields, count);
}

static void gen_int(ValueGen *gen, uint32_t size, Buf *out) {
    uint8_t le[32] = {0};
    switch (value_gen_below(gen, 6)) {
    case 0: break;
    case 1: le[0] = 1; break;
    case 2: memset(le, 0xff, sizeof le); break;
    case 3: le[size - 1] = 0x80; break;  // the least signed
    case 4:                              // the greatest signed
        memset(le, 0xff, sizeof le);
        le[size - 1] = 0x7f;
        break;
    default:
        for (size_t i = 0; i < sizeof le; i += 8) {
            store_u64(le + i, value_gen_u64(gen));
        }
    }
    buf_put(out, le, size);
}

static double gen_double(ValueGen *gen) {
    switch (value_gen_below(gen, 8)) {
    case 0: return 0.0;
    case 1: return -0.0;
    case 2: return gen->json ? 1.0 : INFINITY;
    case 3: return gen->json ? -1.0 : -INFINITY;
    case 4: return gen->json ? 0.1 : NAN;
    case 5: return (double)(int32_t)value_gen_u64(gen) / 8;
    case 6: return (double)(int64_t)value_gen_u64(gen);
    default: {
        uint64_t bits = value_gen_u64(gen);
        double v;
        memcpy(&v, &bits, sizeof v);
        return gen->json && !isfinite(v) ? 1.5 : v;
    }
    }
}

static void gen_float(ValueGen *gen, TypeKind kind, Buf *out) {
    double v = gen_double(gen);
    if (kind == TYPE_F64) {
        buf_put(out, &v, sizeof v);
        return;
    }
    float f = (float)v;
    if (gen->json && !isfinite(f)) f = 3.4e38f;
    buf_put(out, &f, sizeof f);
}

static uint32_t gen_len(ValueGen *gen) {
    return value_gen_below(gen, 8) ? value_gen_below(gen, 4) : value_gen_below(gen, 40);
}

static void gen_text(ValueGen *gen, Buf *out) {
    static const char *const letters[] =
        {"a", "b", "\x01", "\x02", "\xc3\xa9", "\xf0\x9f\x98\x80", "\"", "\\", "\n", "\x7f", "/"};
    uint32_t len = gen_len(gen);
    size_t start = out->len;
    buf_put_u32(out, 0);
    for (uint32_t i = 0; i < len; i++) {
        uint32_t pick = value_gen_below(gen, ARRAY_LEN(letters) + 1);
        if (pick == ARRAY_LEN(letters)) {
            buf_put_u8(out, 0);
        } else {
            buf_put_str(out, str_from(letters[pick]));
        }
    }
    if (buf_ok(out)) store_u32(out->ptr + start, (uint32_t)(out->len - start - 4));
}

static void gen_bytes(ValueGen *gen, Buf *out) {
    static const uint8_t bytes[] = {0, 0, 1, 1, 2, 0x7f, 0x80, 0xfe, 0xff};
    uint32_t len = gen_len(gen);
    buf_put_u32(out, len);
    for (uint32_t i = 0; i < len; i++) {
        buf_put_u8(out, bytes[value_gen_below(gen, ARRAY_LEN(bytes))]);
    }
}

// Deep inside a recursive value: the variant that is likeliest to end it.
static uint32_t ending_variant(const Type *type) {
    uint32_t best = 0, best_rank = 3;
    for (uint32_t i = 0; i < type->field_count; i++) {
        const Type *part = type->fields[i].type;
        uint32_t rank = part->fixed_size != TYPE_SIZE_VARIES                    ? 0
                        : part->kind == TYPE_STRING || part->kind == TYPE_ARRAY ? 1
                                                                                : 2;
        if (rank >= best_rank) continue;
        best = i;
        best_rank = rank;
    }
    return best;
}

#define ENDING_DEPTH 8

static void gen_value(ValueGen *gen, const Type *type, Buf *out, uint32_t depth) {
    switch (type->kind) {
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < type->field_count; i++) {
            gen_value(gen, type->fields[i].type, out, depth + 1);
        }
        return;
    case TYPE_SUM: {
        uint32_t tag =
            depth >= ENDING_DEPTH ? ending_variant(type) : value_gen_below(gen, type->field_count);
        buf_put_u8(out, (uint8_t)tag);
        gen_value(gen, type->fields[tag].type, out, depth + 1);
        return;
    }
    case TYPE_ARRAY: {
        if (type->special == SPECIAL_BYTES) {
            gen_bytes(gen, out);
            return;
        }
        uint32_t count = depth >= ENDING_DEPTH ? 0 : value_gen_below(gen, 4);
        buf_put_u32(out, count);
        for (uint32_t i = 0; i < count; i++) {
            gen_value(gen, type->element, out, depth + 1);
        }
        return;
    }
    case TYPE_STRING: gen_text(gen, out); return;
    case TYPE_BOOL: buf_put_u8(out, (uint8_t)value_gen_below(gen, 2)); return;
    case TYPE_F32:
    case TYPE_F64: gen_float(gen, type->kind, out); return;
    default: gen_int(gen, type->fixed_size, out); return;
    }
}

void value_gen_value(ValueGen *gen, const Type *type, Buf *out) {
    gen_value(gen, type, out, 0);
}
