// least.c: a value of a type that stands for none in particular.
//
// Types may contain themselves, so what looks like a way to a value may have no end, or an enormous
// one. Steps are counted, and it is given up.
#include "sats/bsatn.h"

enum { STEPS_MAX = 10000, DEPTH_MAX = TYPE_DEPTH_MAX };

typedef struct Least {
    Buf *out;
    uint32_t steps_left;
} Least;

static bool put_least(Least *least, const Type *type, uint32_t depth);

// How good a variant is: one without content first (`none` of an option), one that ends anyway next.
static int rank(const Type *content) {
    if (content->fixed_size == 0) return 0;
    return content->fixed_size != TYPE_SIZE_VARIES || content->kind == TYPE_STRING ||
                   content->kind == TYPE_ARRAY
               ? 1
               : 2;
}

static bool put_sum(Least *least, const Type *type, uint32_t depth) {
    size_t before = least->out->len;
    for (int want = 0; want <= 2; want++) {
        for (uint32_t i = 0; i < type->field_count; i++) {
            if (rank(type->fields[i].type) != want) continue;
            buf_put_u8(least->out, (uint8_t)i);
            if (put_least(least, type->fields[i].type, depth + 1)) return true;
            if (buf_ok(least->out)) least->out->len = before;
        }
    }
    return false;
}

static bool put_least(Least *least, const Type *type, uint32_t depth) {
    if (depth > DEPTH_MAX || least->steps_left == 0) return false;
    least->steps_left--;
    switch (type->kind) {
    case TYPE_REF: UNREACHABLE();
    case TYPE_PRODUCT:
        for (uint32_t i = 0; i < type->field_count; i++) {
            if (!put_least(least, type->fields[i].type, depth + 1)) return false;
        }
        return true;
    case TYPE_SUM: return put_sum(least, type, depth);
    case TYPE_ARRAY:
    case TYPE_STRING: buf_put_u32(least->out, 0); return true;
    default: {
        uint8_t *p = buf_extend(least->out, type->fixed_size);
        if (p) memset(p, 0, type->fixed_size);
        return true;
    }
    }
}

bool bsatn_put_least(Buf *out, const Type *type) {
    Least least = {out, STEPS_MAX};
    return put_least(&least, type, 0);
}
