// lightcone_client.c: the client of lightcone_client.h. One file, so that a program can take it in.
//
// PICTURE
//   lost ──────────────────────────────────────────────────────────────┐
//    v                                                                 │
//   WAITING ──> CONNECTING ──> SECURING (TLS) ──> UPGRADING (HTTP) ──> OPEN ──> ENDED (closed, or refused)
//
//   A message of the server is applied as one batch: first it changes counts, then batch_commit compares
//   each row's count with what the program has been shown, and calls back. A reconnect is one large
//   batch: all counts begin at 0, and it is committed when every subscription is answered again.
//
// ALWAYS TRUE
//   (1) Between batches row->shown == row->count for every row. The program sees rows with shown > 0.
//   (2) A batch allocates only while counts change. Committing it cannot fail, so callbacks come for all
//       of a transaction or, when the connection is given up in its middle, for nothing of it.
//   (3) Nothing the server sends is believed: every length is compared with what is there, and what is
//       no message ends the connection, not the program.
//
// SECTIONS  bytes · values · rows · batches · messages · subscriptions and calls · frames · TLS ·
//           the link · the handshake · the API of the loop
// Spec: the WebSocket protocol v3.bsatn (docs/internals/protocols.md), of v1.bsatn.lightcone
// (protocols-ext.md) Resume and Progress, RFC 6455.
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE  // getaddrinfo, getentropy
#endif
#include "lightcone_client.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef __APPLE__
#include <sys/random.h>
#endif
#ifdef LC_CLIENT_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#endif

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0  // macOS: SO_NOSIGPIPE
#endif
#ifndef LC_CLIENT_REALLOC  // tests let it fail
#define LC_CLIENT_REALLOC realloc
#endif

#define DEPTH_MAX             128          // of values that contain themselves
#define EMPTY_ELEMENTS_MAX    4096         // of an array whose elements take no bytes
#define REQUEST_BYTES_MAX     (32u << 20)  // the server takes no larger message
#define MESSAGE_BYTES_DEFAULT ((size_t)1 << 30)
#define HEAD_BYTES_MAX        (16u << 10)  // of the answer to the upgrade
#define READ_BYTES            (64u << 10)
#define STEP_READS_MAX        16     // then the program has its turn again
#define OPEN_MS               15000  // a server that does not answer by then is taken for dead
#define QUIET_MS              30000  // this long without a byte: ask
#define ANSWER_MS             10000  // and this long without an answer: dead
#define CLOSE_MS              1000
#define WAIT_FIRST_MS         250
#define WAIT_MOST_MS          15000
#define WHY_BYTES             256

// ── bytes ──────────────────────────────────────────────────────────────────────────────────────

static void *mem_new(size_t bytes) {
    void *memory = LC_CLIENT_REALLOC(NULL, bytes ? bytes : 1);
    if (memory) memset(memory, 0, bytes);
    return memory;
}

static char *text_copy(const char *text) {
    size_t len = strlen(text);
    char *copy = mem_new(len + 1);
    if (copy) memcpy(copy, text, len);
    return copy;
}

// Bytes that grow. The first error stays; bytes behind it are not kept.
typedef struct Out {
    uint8_t *data;
    size_t len, cap;
    LcError error;
    bool is_borrowed;  // data belongs to somebody else: it is copied when it grows
} Out;

static uint8_t *out_room(Out *out, size_t bytes) {
    if (out->error) return NULL;
    if (!out->data || bytes > out->cap - out->len) {
        size_t cap = out->cap ? out->cap : 256;
        while (cap - out->len < bytes && cap <= SIZE_MAX / 4)
            cap *= 2;
        uint8_t *old = out->is_borrowed ? NULL : out->data;
        uint8_t *data = cap - out->len < bytes ? NULL : LC_CLIENT_REALLOC(old, cap);
        if (!data) {
            out->error = LC_NO_MEMORY;
            return NULL;
        }
        if (out->is_borrowed) memcpy(data, out->data, out->len);
        out->is_borrowed = false;
        out->data = data;
        out->cap = cap;
    }
    return out->data + out->len;
}

static void out_bytes(Out *out, const void *bytes, size_t len) {
    uint8_t *room = out_room(out, len);
    if (!room || len == 0) return;
    memcpy(room, bytes, len);
    out->len += len;
}

static void out_le(Out *out, uint64_t value, size_t width) {
    uint8_t bytes[8];
    for (size_t i = 0; i < width; i++)
        bytes[i] = (uint8_t)(value >> (8 * i));
    out_bytes(out, bytes, width);
}

static void out_sized(Out *out, const void *bytes, size_t len) {
    if (len > UINT32_MAX || (len > 0 && !bytes)) {
        if (!out->error) out->error = LC_BAD_ARGUMENT;
        return;
    }
    out_le(out, len, 4);
    out_bytes(out, bytes, len);
}

static void out_drop(Out *out, size_t bytes) {
    out->len -= bytes;
    if (out->len > 0) memmove(out->data, out->data + bytes, out->len);
}

static void out_free(Out *out) {
    if (!out->is_borrowed) free(out->data);
    *out = (Out){0};
}

// What is left of bytes from outside. After the first lack `failed` is set and all is 0.
typedef struct In {
    const uint8_t *at, *end;
    bool failed;
} In;

static size_t in_left(const In *in) {
    return (size_t)(in->end - in->at);
}

static const uint8_t *in_bytes(In *in, size_t len) {
    static const uint8_t nothing[32];
    if (in->failed || len > in_left(in)) {
        in->failed = true;
        in->at = in->end;
        return nothing;
    }
    const uint8_t *bytes = in->at;
    in->at += len;
    return bytes;
}

static uint64_t le_read(const uint8_t *bytes, size_t width) {
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++)
        value |= (uint64_t)bytes[i] << (8 * i);
    return value;
}

static uint64_t in_le(In *in, size_t width) {
    return le_read(in_bytes(in, width), width);  // width <= 8
}

static In in_sized(In *in) {
    size_t len = (size_t)in_le(in, 4);
    if (len > in_left(in)) in->failed = true;
    if (in->failed) return (In){.at = in->end, .end = in->end, .failed = true};
    const uint8_t *bytes = in_bytes(in, len);
    return (In){.at = bytes, .end = bytes + len};
}

static bool is_utf8(const uint8_t *at, size_t len) {
    for (const uint8_t *end = at + len; at < end;) {
        uint8_t lead = *at++;
        if (lead < 0x80) continue;
        int more = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        if (lead < 0xc2 || lead > 0xf4 || end - at < more) return false;
        // Overlong, a surrogate, or beyond U+10FFFF: told by the second byte.
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (*at < low || *at > high) return false;
        for (int i = 1; i < more; i++)
            if ((at[i] & 0xc0) != 0x80) return false;
        at += more;
    }
    return true;
}

// ── values ─────────────────────────────────────────────────────────────────────────────────────
// A value is read twice: first to see that it is well-formed and how much memory it takes, then into one
// block of that size. So a row is one allocation and nothing is half made.

#define SCALAR(name, kind_, ctype) \
    const LcType lc_type_##name = {.kind = kind_, .size = sizeof(ctype)}
SCALAR(bool, LC_BOOL, bool);
SCALAR(i8, LC_I8, int8_t);
SCALAR(u8, LC_U8, uint8_t);
SCALAR(i16, LC_I16, int16_t);
SCALAR(u16, LC_U16, uint16_t);
SCALAR(i32, LC_I32, int32_t);
SCALAR(u32, LC_U32, uint32_t);
SCALAR(i64, LC_I64, int64_t);
SCALAR(u64, LC_U64, uint64_t);
SCALAR(i128, LC_I128, LcI128);
SCALAR(u128, LC_U128, LcU128);
SCALAR(i256, LC_I256, LcI256);
SCALAR(u256, LC_U256, LcU256);
SCALAR(f32, LC_F32, float);
SCALAR(f64, LC_F64, double);
SCALAR(string, LC_STRING, LcString);
SCALAR(bytes, LC_BYTES, LcBytes);
SCALAR(identity, LC_ID, LcIdentity);
SCALAR(connection_id, LC_ID, LcConnectionId);
SCALAR(uuid, LC_ID, LcUuid);
SCALAR(timestamp, LC_I64, LcTimestamp);
SCALAR(time_duration, LC_I64, LcTimeDuration);
SCALAR(unit, LC_UNIT, LcUnit);
SCALAR(never, LC_ENUM, LcNever);
static const LcField schedule_at_fields[] = {
    {"interval", &lc_type_time_duration, offsetof(LcScheduleAt, interval), false},
    {"time", &lc_type_timestamp, offsetof(LcScheduleAt, time), false},
};
const LcType lc_type_schedule_at = {.kind = LC_SUM,
                                    .size = sizeof(LcScheduleAt),
                                    .fields = schedule_at_fields,
                                    .field_count = 2};

// What arrays, options and results look like to those who do not know what of.
typedef struct AnyArray {
    const void *items;
    size_t len;
} AnyArray;
typedef const void *AnyOption;
typedef struct AnyResult {
    const void *ok, *err;
} AnyResult;

// A block that values are put into; base NULL: it is being measured.
typedef struct Place {
    uint8_t *base;
    size_t used;
    bool too_large;
} Place;

static uint8_t *place_take(Place *place, size_t count, size_t each) {
    size_t at = (place->used + 7) & ~(size_t)7;
    if (each > 0 && count > (SIZE_MAX / 4 - at) / each) {
        place->too_large = true;
        return NULL;
    }
    place->used = at + count * each;
    return place->base ? place->base + at : NULL;
}

static bool value_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth);

static void number_store(uint8_t *to, uint64_t value, size_t width) {
    uint8_t v8 = (uint8_t)value;
    uint16_t v16 = (uint16_t)value;
    uint32_t v32 = (uint32_t)value;
    if (!to) return;
    memcpy(to,
           width == 1   ? (void *)&v8
           : width == 2 ? (void *)&v16
           : width == 4 ? (void *)&v32
                        : (void *)&value,
           width);
}

static uint64_t number_load(const uint8_t *from, size_t width) {
    uint16_t v16;
    uint32_t v32;
    uint64_t v64;
    switch (width) {
    case 1: return *from;
    case 2: return memcpy(&v16, from, 2), v16;
    case 4: return memcpy(&v32, from, 4), v32;
    default: return memcpy(&v64, from, 8), v64;
    }
}

// Into a place of its own; *slot points there.
static bool pointer_read(In *in, const LcType *type, uint8_t *slot, Place *place, unsigned depth) {
    uint8_t *inner = place_take(place, 1, type->size);
    if (slot) memcpy(slot, &(const void *){inner}, sizeof(void *));
    return value_read(in, type, inner, place, depth);
}

static bool text_read(In *in, const LcType *type, uint8_t *to, Place *place) {
    In bytes = in_sized(in);
    size_t len = in_left(&bytes);
    if (in->failed || (type->kind == LC_STRING && !is_utf8(bytes.at, len))) return false;
    uint8_t *copy = place_take(place, len + 1, 1);
    if (!to || !copy) return !place->too_large;
    memcpy(copy, bytes.at, len);
    copy[len] = 0;
    if (type->kind == LC_STRING)
        memcpy(to, &(LcString){(const char *)copy, len}, sizeof(LcString));
    else
        memcpy(to, &(LcBytes){copy, len}, sizeof(LcBytes));
    return true;
}

static bool array_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth) {
    size_t len = (size_t)in_le(in, 4);
    if (in->failed || (len > in_left(in) && len > EMPTY_ELEMENTS_MAX)) return false;
    uint8_t *items = place_take(place, len, type->element->size);
    if (place->too_large) return false;
    for (size_t i = 0; i < len; i++) {
        const uint8_t *before = in->at;
        uint8_t *item = items ? items + i * type->element->size : NULL;
        if (!value_read(in, type->element, item, place, depth)) return false;
        if (in->at == before && len > EMPTY_ELEMENTS_MAX) return false;
    }
    if (to) memcpy(to, &(AnyArray){items, len}, sizeof(AnyArray));
    return true;
}

static bool sum_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth) {
    size_t tag = (size_t)in_le(in, 1);
    if (in->failed || tag >= type->field_count) return false;
    number_store(to, tag, sizeof(int));
    if (type->kind == LC_ENUM) return true;
    const LcField *variant = &type->fields[tag];
    if (!variant->type) return true;
    uint8_t *at = to ? to + variant->offset : NULL;
    return variant->is_pointer ? pointer_read(in, variant->type, at, place, depth)
                               : value_read(in, variant->type, at, place, depth);
}

static bool option_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth) {
    size_t tag = (size_t)in_le(in, 1);
    if (in->failed || tag > 1) return false;
    if (type->kind == LC_RESULT)
        return pointer_read(in,
                            type->fields[tag].type,
                            to ? to + tag * sizeof(void *) : NULL,
                            place,
                            depth);
    return tag == 1 || pointer_read(in, type->element, to, place, depth);
}

// `to` was zeroed. False: malformed, or place->too_large.
static bool value_read(In *in, const LcType *type, uint8_t *to, Place *place, unsigned depth) {
    if (depth > DEPTH_MAX || place->too_large) return false;
    switch (type->kind) {
    case LC_BOOL: {
        uint64_t byte = in_le(in, 1);
        if (to) memcpy(to, &(bool){byte == 1}, sizeof(bool));
        return !in->failed && byte <= 1;
    }
    case LC_I8:
    case LC_U8:
    case LC_I16:
    case LC_U16:
    case LC_I32:
    case LC_U32:
    case LC_I64:
    case LC_U64:
    case LC_F32:
    case LC_F64: number_store(to, in_le(in, type->size), type->size); return !in->failed;
    case LC_I128:
    case LC_U128:
    case LC_I256:
    case LC_U256:
        for (size_t i = 0; i < type->size; i += 8)
            number_store(to ? to + i : NULL, in_le(in, 8), 8);
        return !in->failed;
    case LC_ID: {
        const uint8_t *bytes = in_bytes(in, type->size);
        for (size_t i = 0; to && i < type->size; i++)
            to[i] = bytes[type->size - 1 - i];
        return !in->failed;
    }
    case LC_STRING:
    case LC_BYTES: return text_read(in, type, to, place);
    case LC_UNIT: return true;
    case LC_PRODUCT:
        for (size_t i = 0; i < type->field_count; i++) {
            const LcField *field = &type->fields[i];
            if (!value_read(in, field->type, to ? to + field->offset : NULL, place, depth + 1))
                return false;
        }
        return true;
    case LC_ENUM:
    case LC_SUM: return sum_read(in, type, to, place, depth + 1);
    case LC_ARRAY: return array_read(in, type, to, place, depth + 1);
    case LC_OPTION:
    case LC_RESULT: return option_read(in, type, to, place, depth + 1);
    }
    return false;
}

static void value_write(Out *out, const LcType *type, const uint8_t *value, unsigned depth);

static void bad_argument(Out *out) {
    if (!out->error) out->error = LC_BAD_ARGUMENT;
}

static void pointer_write(Out *out, const LcType *type, const void *to, unsigned depth) {
    if (to)
        value_write(out, type, to, depth);
    else
        bad_argument(out);
}

static void sum_write(Out *out, const LcType *type, const uint8_t *value, unsigned depth) {
    size_t tag = (size_t)number_load(value, sizeof(int));
    if (tag >= type->field_count) {
        bad_argument(out);
        return;
    }
    out_le(out, tag, 1);
    if (type->kind == LC_ENUM || !type->fields[tag].type) return;
    const LcField *variant = &type->fields[tag];
    const void *at = value + variant->offset;
    if (variant->is_pointer) memcpy(&at, value + variant->offset, sizeof at);
    pointer_write(out, variant->type, at, depth);
}

static void parts_write(Out *out, const LcType *type, const uint8_t *value, unsigned depth) {
    AnyArray array;
    AnyResult result;
    AnyOption some;
    switch (type->kind) {
    case LC_PRODUCT:
        for (size_t i = 0; i < type->field_count; i++)
            value_write(out, type->fields[i].type, value + type->fields[i].offset, depth);
        return;
    case LC_ARRAY:
        memcpy(&array, value, sizeof array);
        if (array.len > UINT32_MAX || (array.len > 0 && !array.items)) {
            bad_argument(out);
            return;
        }
        out_le(out, array.len, 4);
        for (size_t i = 0; i < array.len && !out->error; i++)
            value_write(out,
                        type->element,
                        (const uint8_t *)array.items + i * type->element->size,
                        depth);
        return;
    case LC_OPTION:
        memcpy(&some, value, sizeof some);
        out_le(out, some ? 0 : 1, 1);
        if (some) value_write(out, type->element, some, depth);
        return;
    case LC_RESULT:
        memcpy(&result, value, sizeof result);
        out_le(out, result.ok ? 0 : 1, 1);
        pointer_write(out,
                      type->fields[result.ok ? 0 : 1].type,
                      result.ok ? result.ok : result.err,
                      depth);
        return;
    default: sum_write(out, type, value, depth);
    }
}

static void value_write(Out *out, const LcType *type, const uint8_t *value, unsigned depth) {
    LcString text;
    bool flag;
    if (depth > DEPTH_MAX) bad_argument(out);
    if (out->error) return;
    switch (type->kind) {
    case LC_BOOL:
        memcpy(&flag, value, sizeof flag);
        out_le(out, flag, 1);
        return;
    case LC_I8:
    case LC_U8:
    case LC_I16:
    case LC_U16:
    case LC_I32:
    case LC_U32:
    case LC_I64:
    case LC_U64:
    case LC_F32:
    case LC_F64: out_le(out, number_load(value, type->size), type->size); return;
    case LC_I128:
    case LC_U128:
    case LC_I256:
    case LC_U256:
        for (size_t i = 0; i < type->size; i += 8)
            out_le(out, number_load(value + i, 8), 8);
        return;
    case LC_ID:
        for (size_t i = type->size; i > 0; i--)
            out_le(out, value[i - 1], 1);
        return;
    case LC_STRING:
    case LC_BYTES:  // LcString and LcBytes differ in what a char is called
        memcpy(&text, value, sizeof text);
        out_sized(out, text.ptr, text.len);
        return;
    case LC_UNIT: return;
    case LC_PRODUCT:
    case LC_ENUM:
    case LC_SUM:
    case LC_ARRAY:
    case LC_OPTION:
    case LC_RESULT: parts_write(out, type, value, depth + 1);
    }
}

LcError lc_encode(const LcType *type, const void *value, uint8_t **bytes, size_t *len) {
    Out out = {0};
    *bytes = NULL;
    *len = 0;
    out_room(&out, 1);
    value_write(&out, type, value, 0);
    if (out.error) {
        LcError error = out.error;
        out_free(&out);
        return error;
    }
    *bytes = out.data;
    *len = out.len;
    return LC_OK;
}

static LcError value_new(const LcType *type, In in, void **value) {
    Place place = {0};
    In measured = in;
    place_take(&place, 1, type->size);
    if (!value_read(&measured, type, NULL, &place, 0))
        return place.too_large ? LC_NO_MEMORY : LC_MALFORMED;
    if (in_left(&measured) > 0) return LC_MALFORMED;
    uint8_t *block = mem_new(place.used);
    if (!block) return LC_NO_MEMORY;
    place = (Place){.base = block};
    value_read(&in, type, place_take(&place, 1, type->size), &place, 0);
    *value = block;
    return LC_OK;
}

LcError lc_decode(const LcType *type, const void *bytes, size_t len, void **value) {
    static const uint8_t nothing;
    const uint8_t *at = bytes ? bytes : &nothing;
    *value = NULL;
    return value_new(type, (In){.at = at, .end = at + len}, value);
}

LcString lc_string(const char *text) {
    return (LcString){text, strlen(text)};
}
bool lc_string_eq(LcString a, LcString b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
bool lc_identity_eq(LcIdentity a, LcIdentity b) {
    return memcmp(a.bytes, b.bytes, sizeof a.bytes) == 0;
}
void lc_identity_hex(LcIdentity identity, char hex[LC_IDENTITY_HEX_BYTES]) {
    for (size_t i = 0; i < sizeof identity.bytes; i++)
        snprintf(hex + 2 * i, 3, "%02x", identity.bytes[i]);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
bool lc_identity_from_hex(const char *hex, LcIdentity *out) {
    if (hex[0] == '0' && hex[1] == 'x') hex += 2;
    if (strlen(hex) != 2 * sizeof out->bytes) return false;
    for (size_t i = 0; i < sizeof out->bytes; i++) {
        int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

const char *lc_error_text(LcError error) {
    switch (error) {
    case LC_OK: return "ok";
    case LC_NO_MEMORY: return "out of memory";
    case LC_BAD_ARGUMENT: return "bad argument";
    case LC_CLOSED: return "the client is closed";
    case LC_BUSY: return "not from a callback";
    case LC_MALFORMED: return "malformed bytes";
    case LC_SYSTEM: return "a system call failed";
    }
    return "unknown error";
}

// ── rows ───────────────────────────────────────────────────────────────────────────────────────
// A row is known by its bytes. Each table has a hash map for them and one for every unique column, all
// of one size and chained through the rows themselves.

typedef struct Row Row;
typedef struct Link {
    Row *next;
    uint64_t hash;
    const uint8_t *key;  // in the row's bytes
    size_t len;
} Link;

struct Row {
    Row *previous, *next;  // in the table, in the order of their coming
    Row *next_touched;
    Row *old;        // which it takes the place of
    uint32_t count;  // how many copies the queries have brought
    uint32_t shown;  // …and had when the program was told last
    bool is_touched, is_replaced, is_event;
    void *value;
    struct Table *table;
    Link links[];  // its bytes, then its unique columns
};

typedef struct Table {
    const LcTable *info;
    Row *first, *last;
    size_t row_count, shown_count;
    Row **slots;  // (1 + unique_count) maps of `cap` chains
    size_t cap;
    LcListener *listeners;
    size_t listener_count;
} Table;

static uint64_t rotate(uint64_t x, int by) {
    return x << by | x >> (64 - by);
}

// SipHash-1-3: other people choose what rows contain.
static uint64_t hash_bytes(const uint64_t seed[2], const uint8_t *at, size_t len) {
    uint64_t v0 = seed[0] ^ 0x736f6d6570736575, v1 = seed[1] ^ 0x646f72616e646f6d;
    uint64_t v2 = seed[0] ^ 0x6c7967656e657261, v3 = seed[1] ^ 0x7465646279746573;
    size_t rounds = len / 8 + 1 + 3;
    for (size_t i = 0; i < rounds; i++) {
        uint64_t word = 0;
        if (i < len / 8) word = le_read(at + 8 * i, 8);
        if (i == len / 8) word = le_read(at + 8 * i, len % 8) | (uint64_t)len << 56;
        if (i == len / 8 + 1) v2 ^= 0xff;
        v3 ^= word;
        v0 += v1, v1 = rotate(v1, 13) ^ v0, v0 = rotate(v0, 32);
        v2 += v3, v3 = rotate(v3, 16) ^ v2;
        v0 += v3, v3 = rotate(v3, 21) ^ v0;
        v2 += v1, v1 = rotate(v1, 17) ^ v2, v2 = rotate(v2, 32);
        v0 ^= word;
    }
    return v0 ^ v1 ^ v2 ^ v3;
}

static Row **chain_of(const Table *table, size_t map, uint64_t hash) {
    return &table->slots[map * table->cap + (hash & (table->cap - 1))];
}

static Row *row_find(const Table *table,
                     size_t map,
                     uint64_t hash,
                     const uint8_t *key,
                     size_t len) {
    if (table->cap == 0) return NULL;
    for (Row *row = *chain_of(table, map, hash); row; row = row->links[map].next) {
        const Link *link = &row->links[map];
        if (link->hash == hash && link->len == len && memcmp(link->key, key, len) == 0) return row;
    }
    return NULL;
}

static void row_chain(Table *table, Row *row) {
    for (size_t map = 0; map <= table->info->unique_count; map++) {
        Row **chain = chain_of(table, map, row->links[map].hash);
        row->links[map].next = *chain;
        *chain = row;
    }
}

static bool table_grow(Table *table) {
    size_t cap = table->cap ? table->cap * 2 : 16, maps = 1 + table->info->unique_count;
    if (cap > SIZE_MAX / sizeof(Row *) / maps) return false;
    Row **slots = mem_new(cap * maps * sizeof(Row *));
    if (!slots) return false;
    free(table->slots);
    table->slots = slots;
    table->cap = cap;
    for (Row *row = table->first; row; row = row->next)
        row_chain(table, row);
    return true;
}

static void row_link(Table *table, Row *row) {
    row_chain(table, row);
    row->previous = table->last;
    *(table->last ? &table->last->next : &table->first) = row;
    table->last = row;
    table->row_count++;
}

static void row_unlink(Table *table, Row *row) {
    for (size_t map = 0; map <= table->info->unique_count; map++) {
        Row **at = chain_of(table, map, row->links[map].hash);
        while (*at != row)
            at = &(*at)->links[map].next;
        *at = row->links[map].next;
    }
    *(row->previous ? &row->previous->next : &table->first) = row->next;
    *(row->next ? &row->next->previous : &table->last) = row->previous;
    table->row_count--;
}

// One block: the Row, its bytes, the address of the Row, the value, what the value points to.
static LcError row_new(const uint64_t seed[2], Table *table, In in, Row **out) {
    const LcType *type = table->info->row;
    size_t links = 1 + table->info->unique_count, len = in_left(&in);
    Place place = {0};
    In measured = in;
    for (int pass = 0;; pass++) {
        Row *row = (Row *)(void *)place_take(&place, 1, sizeof(Row) + links * sizeof(Link));
        uint8_t *bytes = place_take(&place, len, 1);
        uint8_t *back = place_take(&place, 1, sizeof(Row *));
        uint8_t *value = place_take(&place, 1, type->size);
        In *from = pass == 0 ? &measured : &(In){.at = bytes, .end = bytes + len};
        if (row) {
            memcpy(bytes, in.at, len);
            memcpy(back, &row, sizeof row);
            row->table = table;
            row->value = value;
            row->links[0] = (Link){.key = bytes, .len = len};
        }
        for (size_t i = 0; i < type->field_count; i++) {
            const LcField *field = &type->fields[i];
            const uint8_t *key = from->at;
            if (!value_read(from, field->type, value ? value + field->offset : NULL, &place, 1))
                return place.too_large ? LC_NO_MEMORY : LC_MALFORMED;
            for (size_t k = 0; row && k + 1 < links; k++)
                if (table->info->unique[k] == i)
                    row->links[k + 1] = (Link){.key = key, .len = (size_t)(from->at - key)};
        }
        for (size_t map = 0; row && map < links; map++)
            row->links[map].hash = hash_bytes(seed, row->links[map].key, row->links[map].len);
        if (row) return *out = row, LC_OK;
        if (in_left(from) > 0) return LC_MALFORMED;
        uint8_t *block = mem_new(place.used);
        if (!block) return LC_NO_MEMORY;
        place = (Place){.base = block};
    }
}

static Row *row_of(const void *value) {
    Row *row;
    memcpy(&row, (const uint8_t *)value - sizeof row, sizeof row);
    return row;
}

// ── the client ─────────────────────────────────────────────────────────────────────────────────

enum { POINT_BYTES = 24 };  // history, offset

struct LcSubscription {
    LcSubscription *next;
    LcSubscribe options;  // queries aside
    Out message;          // the list of queries, encoded
    uint32_t id;
    bool is_sent, is_applied, is_due;  // due: on_applied is to be called
    bool is_awaited;                   // the large batch after a reconnect waits for its answer
    bool is_held;                      // its rows were here when the connection was lost
    bool is_resumed;                   // it is among those whose answer is one to Resume
    bool is_ending, end_sent;
};

typedef enum RequestKind { REQUEST_REDUCER, REQUEST_PROCEDURE, REQUEST_QUERY } RequestKind;

typedef struct Request {
    struct Request *next;
    RequestKind kind;
    uint32_t id;
    Out message;  // until it is sent
    bool is_sent;
    LcDone reducer_done;
    LcAnyFunction done;  // of the others, and who knows its type
    LcCallValue call;
    const LcType *returns;
    const LcTable *table;
    void *context;
} Request;

typedef enum LinkState {
    LINK_WAITING,
    LINK_CONNECTING,
    LINK_SECURING,
    LINK_UPGRADING,
    LINK_OPEN,
    LINK_ENDED,
} LinkState;

struct LcClient {
    LcOptions options;  // texts are copies
    bool is_tls;
    char *host, *port, *path;
    char *token;
    LcIdentity identity;
    LcConnectionId connection_id;
    uint64_t seed[2];  // of hashes
    uint64_t chance;   // of masks and waits

    Table *tables;
    Row *touched, *touched_last;
    bool is_stale;   // the rows are those of an earlier connection
    size_t awaited;  // subscriptions that the large batch waits for
    // Of v1.bsatn.lightcone: as of when the rows are, for Resume. Rows that come behind it undo it.
    bool speaks_ours, has_point;
    uint8_t point[POINT_BYTES];
    uint32_t resume;  // the request that is not answered; 0: none
    uint32_t ids;
    LcSubscription *subscriptions;
    Request *requests, **requests_end;
    size_t request_count;

    LinkState state;
    int fd;
    struct addrinfo *addresses, *address;  // those of the host, and the one being tried
    int64_t deadline;                      // of the state; INT64_MAX: none
    int64_t heard_at, asked_at;
    unsigned tries;
    bool is_ready;    // the server has introduced itself
    bool is_closing;  // by lc_client_close
    bool close_sent;
    bool has_more;  // there is input that was not looked at
    bool in_step;
    char accept[29];  // what the server must answer to our key
    Out raw;          // from the socket, not yet taken apart
    Out fragments;    // of a message that comes in several frames
    bool in_message;
    Out out;  // to the socket
    char why[WHY_BYTES];
#ifdef LC_CLIENT_TLS
    SSL_CTX *tls_context;
    SSL *tls;
#endif
};

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// xorshift64*: masks keep proxies from mistaking our bytes, they are no secret.
static uint32_t chance_next(LcClient *client) {
    client->chance ^= client->chance >> 12;
    client->chance ^= client->chance << 25;
    client->chance ^= client->chance >> 27;
    return (uint32_t)((client->chance * 0x2545f4914f6cdd1d) >> 32);
}

static void odd(LcClient *client, const char *text) {
    if (client->options.on_error) client->options.on_error(client, text, client->options.context);
}

static bool is_over(const LcClient *client) {
    return client->is_closing || client->state == LINK_ENDED;
}

// ── batches ────────────────────────────────────────────────────────────────────────────────────

static Table *table_named(LcClient *client, const uint8_t *name, size_t len) {
    for (size_t i = 0; i < client->options.module->table_count; i++) {
        const char *known = client->tables[i].info->name;
        if (strlen(known) == len && memcmp(known, name, len) == 0) return &client->tables[i];
    }
    return NULL;
}

static Table *table_of(const LcClient *client, const LcTable *info) {
    for (size_t i = 0; i < client->options.module->table_count; i++)
        if (client->tables[i].info == info) return &client->tables[i];
    return NULL;
}

static void row_touch(LcClient *client, Row *row) {
    if (row->is_touched) return;
    row->is_touched = true;
    row->next_touched = NULL;
    *(client->touched ? &client->touched_last->next_touched : &client->touched) = row;
    client->touched_last = row;
}

typedef enum Change { CHANGE_INSERT, CHANGE_DELETE, CHANGE_EVENT } Change;

static LcError row_insert(LcClient *client, Table *table, In bytes, Change change) {
    Row *row = NULL;
    if (change == CHANGE_INSERT) {
        uint64_t hash = hash_bytes(client->seed, bytes.at, in_left(&bytes));
        row = row_find(table, 0, hash, bytes.at, in_left(&bytes));
        if (!row && table->row_count >= table->cap && !table_grow(table)) return LC_NO_MEMORY;
    }
    if (!row) {
        LcError error = row_new(client->seed, table, bytes, &row);
        if (error) return error;
        row->is_event = change == CHANGE_EVENT;
        if (!row->is_event) row_link(table, row);
    }
    row->count++;
    row_touch(client, row);
    return LC_OK;
}

static LcError row_delete(LcClient *client, Table *table, In bytes) {
    uint64_t hash = hash_bytes(client->seed, bytes.at, in_left(&bytes));
    Row *row = row_find(table, 0, hash, bytes.at, in_left(&bytes));
    if (!row || row->count == 0) return LC_MALFORMED;  // a row that never came
    row->count--;
    row_touch(client, row);
    return LC_OK;
}

// The row that was shown under the primary key of a new one and is gone.
static Row *row_predecessor(const Row *row) {
    const LcTable *info = row->table->info;
    for (size_t k = 0; k < info->unique_count; k++) {
        if (info->unique[k] != info->primary_key) continue;
        const Link *mine = &row->links[k + 1];
        for (Row *other = *chain_of(row->table, k + 1, mine->hash); other;
             other = other->links[k + 1].next) {
            const Link *link = &other->links[k + 1];
            bool is_gone = other->shown > 0 && other->count == 0 && !other->is_replaced;
            if (is_gone && link->len == mine->len && memcmp(link->key, mine->key, mine->len) == 0)
                return other;
        }
    }
    return NULL;
}

static void row_tell(LcClient *client, const Row *row) {
    const Table *table = row->table;
    // Listeners that come meanwhile begin with the next row.
    size_t count = table->listener_count;
    for (size_t i = 0; i < count && !is_over(client); i++) {
        LcListener listener = table->listeners[i];
        if (row->old) {
            if (listener.on_update)
                table->info->call_update(listener.on_update,
                                         client,
                                         row->old->value,
                                         row->value,
                                         listener.context);
        } else {
            LcAnyFunction to = row->count > 0 ? listener.on_insert : listener.on_delete;
            if (to) table->info->call_row(to, client, row->value, listener.context);
        }
    }
}

// `whole`: rows that were not touched may have changed as well.
static void batch_commit(LcClient *client, bool whole) {
    size_t count = whole ? client->options.module->table_count : 0;
    for (size_t i = 0; i < count; i++)
        for (Row *row = client->tables[i].first; row; row = row->next)
            row_touch(client, row);
    Row *touched = client->touched;
    client->touched = NULL;
    for (Row *row = touched; row; row = row->next_touched) {
        if (row->is_event || row->shown > 0 || row->count == 0) continue;
        row->old = row_predecessor(row);
        if (row->old) row->old->is_replaced = true;
    }
    // From here on the program sees the new state; what is told is in `old` and in how counts moved.
    Row *news = NULL, **news_end = &news;
    for (Row *row = touched, *next; row; row = next) {
        next = row->next_touched;
        row->is_touched = false;
        bool was = row->shown > 0, is = row->count > 0;
        row->shown = row->count;
        if (!row->is_event) row->table->shown_count += (size_t)is - (size_t)was;
        if (!is && !row->is_event) row_unlink(row->table, row);
        if (!is && !was) free(row);  // it came and went, as may be in the large batch
        if (was == is) continue;
        row->next_touched = NULL;
        *news_end = row;
        news_end = &row->next_touched;
    }
    for (Row *row = news; row; row = row->next_touched)
        if (!row->is_replaced) row_tell(client, row);
    for (Row *row = news, *next; row; row = next) {
        next = row->next_touched;
        row->old = NULL;
        if (row->count == 0 || row->is_event) free(row);
    }
}

// The connection is gone: the rows stay as they were shown, and count for nothing.
static void batch_abandon(LcClient *client) {
    for (Row *row = client->touched, *next; row; row = next) {
        next = row->next_touched;
        row->is_touched = false;
        if (row->is_event) free(row);
    }
    client->touched = NULL;
    for (size_t i = 0; i < client->options.module->table_count; i++) {
        Table *table = &client->tables[i];
        for (Row *row = table->first, *next; row; row = next) {
            next = row->next;
            row->count = 0;
            if (row->shown > 0) continue;
            row_unlink(table, row);
            free(row);
        }
    }
    client->is_stale = true;
    client->awaited = 0;
}

// ── rows in messages ───────────────────────────────────────────────────────────────────────────

typedef struct RowList {
    size_t fixed;  // bytes of each row, or 0:
    In offsets;    // where each begins, 8 bytes each
    In data;
    size_t count;
} RowList;

static bool row_list_read(In *in, RowList *list) {
    *list = (RowList){0};
    uint64_t hint = in_le(in, 1);
    if (hint == 0) list->fixed = (size_t)in_le(in, 2);
    if (hint == 1) {
        size_t count = (size_t)in_le(in, 4);
        if (in->failed || count > in_left(in) / 8) return false;
        const uint8_t *at = in_bytes(in, count * 8);
        list->offsets = (In){.at = at, .end = at + count * 8};
        list->count = count;
    }
    list->data = in_sized(in);
    if (in->failed || hint > 1 || (hint == 0 && list->fixed == 0)) return false;
    size_t len = in_left(&list->data);
    if (hint == 0) list->count = len / list->fixed;
    return hint == 0 ? len % list->fixed == 0 : list->count > 0 || len == 0;
}

// The next row, from the first on; false: the offsets make no sense.
static bool row_list_next(RowList *list, const uint8_t *start, In *row) {
    size_t from = (size_t)(list->data.at - start), to = from + list->fixed,
           len = (size_t)(list->data.end - start);
    if (list->fixed == 0) {
        if (in_le(&list->offsets, 8) != from) return false;
        uint64_t next = in_left(&list->offsets) ? le_read(list->offsets.at, 8) : len;
        if (next < from || next > len) return false;
        to = (size_t)next;
    }
    *row = (In){.at = start + from, .end = start + to};
    list->data.at = start + to;
    return true;
}

// table NULL: nothing is done with them.
static LcError rows_apply(LcClient *client, Table *table, In *in, Change change) {
    RowList list;
    client->has_point = false;
    if (!row_list_read(in, &list)) return LC_MALFORMED;
    const uint8_t *start = list.data.at;
    for (size_t i = 0; table && i < list.count; i++) {
        In row;
        if (!row_list_next(&list, start, &row)) return LC_MALFORMED;
        LcError error = change == CHANGE_DELETE ? row_delete(client, table, row)
                                                : row_insert(client, table, row, change);
        if (error) return error;
    }
    return LC_OK;
}

static Table *table_read(LcClient *client, In *in) {
    In name = in_sized(in);
    Table *table = in->failed ? NULL : table_named(client, name.at, in_left(&name));
    if (!table && !in->failed) {
        char text[WHY_BYTES];
        snprintf(text,
                 sizeof text,
                 "the module of this program has no table `%.*s`; generate it again",
                 (int)(in_left(&name) < 100 ? in_left(&name) : 100),
                 (const char *)name.at);
        odd(client, text);
    }
    return table;
}

// QueryRows
static LcError query_rows_apply(LcClient *client, In *in, Change change) {
    size_t count = (size_t)in_le(in, 4);
    for (size_t i = 0; i < count && !in->failed; i++) {
        Table *table = table_read(client, in);
        LcError error = in->failed ? LC_MALFORMED : rows_apply(client, table, in, change);
        if (error) return error;
    }
    return in->failed ? LC_MALFORMED : LC_OK;
}

static LcError table_update_apply(LcClient *client, In *in, Change pass) {
    Table *table = pass == CHANGE_INSERT ? table_read(client, in) : NULL;
    if (pass == CHANGE_DELETE) {
        In name = in_sized(in);
        table = table_named(client, name.at, in_left(&name));
    }
    size_t count = (size_t)in_le(in, 4);
    for (size_t i = 0; i < count && !in->failed; i++) {
        uint64_t kind = in_le(in, 1);
        if (in->failed || kind > 1) return LC_MALFORMED;
        bool inserts = pass == CHANGE_INSERT;
        LcError error = rows_apply(client,
                                   inserts ? table : NULL,
                                   in,
                                   kind == 0 ? CHANGE_INSERT : CHANGE_EVENT);
        if (!error && kind == 0)
            error = rows_apply(client, inserts ? NULL : table, in, CHANGE_DELETE);
        if (error) return error;
    }
    return in->failed ? LC_MALFORMED : LC_OK;
}

// TransactionUpdate, in two passes: a row that leaves one query and enters another is inserted before it
// is deleted, so no count falls below what it was.
static LcError transaction_apply(LcClient *client, In *in) {
    In start = *in;
    for (int pass = CHANGE_INSERT; pass <= CHANGE_DELETE; pass++) {
        *in = start;
        size_t sets = (size_t)in_le(in, 4);
        for (size_t s = 0; s < sets && !in->failed; s++) {
            in_le(in, 4);
            size_t tables = (size_t)in_le(in, 4);
            for (size_t t = 0; t < tables && !in->failed; t++) {
                LcError error = table_update_apply(client, in, (Change)pass);
                if (error) return error;
            }
        }
    }
    return in->failed ? LC_MALFORMED : LC_OK;
}

// ── making up for a lost connection ────────────────────────────────────────────────────────────
// The server says what became of the rows since the place that we name, table by table.

enum { SINCE_ROWS, SINCE_KEYS, SINCE_WHOLE };

// The rows count again as often as they did when they were last shown.
static void rows_restore(LcClient *client) {
    for (size_t i = 0; i < client->options.module->table_count; i++)
        for (Row *row = client->tables[i].first; row; row = row->next)
            row->count = row->shown;
}

static void table_forget(LcClient *client, Table *table) {
    for (Row *row = table->first; row; row = row->next) {
        row->count = 0;
        row_touch(client, row);
    }
}

// Forget what has the primary key of a row that is otherwise of no meaning.
static LcError key_forget(LcClient *client, Table *table, In bytes) {
    const LcTable *info = table->info;
    size_t map = 0;
    Row *meant;
    for (size_t k = 0; k < info->unique_count; k++)
        if (info->unique[k] == info->primary_key) map = k + 1;
    if (map == 0) return LC_MALFORMED;
    LcError error = row_new(client->seed, table, bytes, &meant);
    if (error) return error;
    const Link *key = &meant->links[map];
    Row *row = table->cap ? *chain_of(table, map, key->hash) : NULL;
    for (; row; row = row->links[map].next) {
        const Link *link = &row->links[map];
        if (link->len != key->len || memcmp(link->key, key->key, key->len) != 0) continue;
        row->count = 0;
        row_touch(client, row);
    }
    free(meant);
    return LC_OK;
}

static LcError keys_apply(LcClient *client, Table *table, In *in) {
    RowList list;
    if (!row_list_read(in, &list)) return LC_MALFORMED;
    const uint8_t *start = list.data.at;
    client->has_point = false;
    for (size_t i = 0; table && i < list.count; i++) {
        In row;
        if (!row_list_next(&list, start, &row)) return LC_MALFORMED;
        LcError error = key_forget(client, table, row);
        if (error) return error;
    }
    return LC_OK;
}

static LcError table_since_apply(LcClient *client, In *in) {
    Table *table = table_read(client, in);
    uint64_t kind = in_le(in, 1);
    if (in->failed || kind > SINCE_WHOLE) return LC_MALFORMED;
    if (kind == SINCE_WHOLE && table) table_forget(client, table);
    LcError error = kind == SINCE_KEYS ? keys_apply(client, table, in)
                                       : rows_apply(client, table, in, CHANGE_DELETE);
    return error ? error : rows_apply(client, table, in, CHANGE_INSERT);
}

static LcError since_apply(LcClient *client, In *in) {
    size_t count = (size_t)in_le(in, 4);
    LcError error = LC_OK;
    rows_restore(client);
    for (size_t i = 0; !error && i < count && !in->failed; i++)
        error = table_since_apply(client, in);
    return in->failed ? LC_MALFORMED : error;
}

// ── subscriptions and calls ────────────────────────────────────────────────────────────────────

static void frame_send(LcClient *client, uint8_t opcode, const void *bytes, size_t len);

static LcSubscription *subscription_find(const LcClient *client, uint32_t id) {
    LcSubscription *at = client->subscriptions;
    while (at && at->id != id)
        at = at->next;
    return at;
}

static void subscription_free(LcSubscription *subscription) {
    out_free(&subscription->message);
    free(subscription);
}

static void subscription_end(LcClient *client, LcSubscription *subscription, const char *error) {
    LcSubscription **at = &client->subscriptions;
    while (*at != subscription)
        at = &(*at)->next;
    *at = subscription->next;
    if (subscription->is_awaited) client->awaited--;
    // What it held stays for now, and no Resume would take it away.
    if (subscription->is_applied || subscription->is_held) client->has_point = false;
    LcSubscribe *options = &subscription->options;
    if (options->on_end) options->on_end(client, subscription, error, options->context);
    subscription_free(subscription);
}

static void subscriptions_tell(LcClient *client) {
    for (LcSubscription *at = client->subscriptions; at && !is_over(client);) {
        if (!at->is_due) {
            at = at->next;
            continue;
        }
        at->is_due = false;
        if (at->options.on_applied && !at->is_ending)
            at->options.on_applied(client, at, at->options.context);
        at = client->subscriptions;
    }
}

// A batch is whole: show it, unless it belongs to the large one.
static void batch_end(LcClient *client) {
    if (client->is_stale && client->awaited > 0) return;
    bool whole = client->is_stale;
    client->is_stale = false;
    batch_commit(client, whole);
    subscriptions_tell(client);
}

// Ids are never 0 and, in four thousand million requests, never used twice.
static uint32_t id_next(LcClient *client) {
    if (++client->ids == 0) client->ids = 1;
    return client->ids;
}

// What waits for the server, once it is there: subscriptions first, then calls in their order.
static void requests_send(LcClient *client) {
    if (!client->is_ready || client->close_sent) return;
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        bool begins = !at->is_sent && !at->is_ending;
        bool ends = at->is_sent && at->is_ending && !at->end_sent;
        if (!begins && !ends) continue;
        uint8_t head[10] = {0};
        uint32_t request = id_next(client);
        for (int i = 0; i < 4; i++) {
            head[1 + i] = (uint8_t)(request >> (8 * i));
            head[5 + i] = (uint8_t)(at->id >> (8 * i));
        }
        if (begins) {
            Out message = {0};
            out_bytes(&message, head, 9);
            out_bytes(&message, at->message.data, at->message.len);
            if (message.error)
                client->out.error = message.error;
            else
                frame_send(client, 2, message.data, message.len);
            out_free(&message);
            at->is_sent = true;
        } else {
            head[0] = 1;
            head[9] = 1;  // send the rows that go
            frame_send(client, 2, head, sizeof head);
            at->end_sent = true;
        }
    }
    for (Request *request = client->requests; request; request = request->next) {
        if (request->is_sent) continue;
        frame_send(client, 2, request->message.data, request->message.len);
        out_free(&request->message);
        request->is_sent = true;
    }
}

// May what is here be resumed? All of it or nothing: how often a row is held is counted together.
static bool may_resume(const LcClient *client) {
    if (!client->speaks_ours || !client->has_point || !client->subscriptions) return false;
    for (const LcSubscription *at = client->subscriptions; at; at = at->next)
        if (!at->is_held || at->is_ending) return false;
    return true;
}

static LcError resume_send(LcClient *client) {
    Out message = {0};
    size_t count = 0;
    client->resume = id_next(client);
    for (const LcSubscription *at = client->subscriptions; at; at = at->next)
        count++;
    out_le(&message, 6, 1);
    out_le(&message, client->resume, 4);
    out_bytes(&message, client->point, POINT_BYTES);
    out_le(&message, count, 4);
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        out_le(&message, at->id, 4);
        out_bytes(&message, at->message.data, at->message.len);
        at->is_sent = at->is_resumed = true;
    }
    LcError error = message.error;
    if (!error) frame_send(client, 2, message.data, message.len);
    out_free(&message);
    return error;
}

// Those that ended before the server heard of them.
static void subscriptions_sweep(LcClient *client) {
    LcSubscription *at = client->subscriptions;
    while (at) {
        if (at->is_ending && !at->is_sent) {
            subscription_end(client, at, NULL);
            at = client->subscriptions;
        } else {
            at = at->next;
        }
    }
}

static bool has_sweep(const LcClient *client) {
    for (const LcSubscription *at = client->subscriptions; at; at = at->next)
        if (at->is_ending && !at->is_sent) return true;
    return false;
}

LcError lc_subscribe(LcClient *client, const LcSubscribe *subscribe, LcSubscription **out) {
    if (is_over(client)) return LC_CLOSED;
    const char *const *queries = subscribe->query ? &subscribe->query : subscribe->queries;
    size_t count = subscribe->query ? 1 : subscribe->query_count;
    LcSubscription *subscription = mem_new(sizeof *subscription);
    if (!subscription) return LC_NO_MEMORY;
    subscription->options = *subscribe;
    subscription->id = id_next(client);
    out_le(&subscription->message, count, 4);
    for (size_t i = 0; i < count; i++)
        out_sized(&subscription->message, queries[i], strlen(queries[i]));
    LcError error = subscription->message.error;
    if (!error && subscription->message.len > REQUEST_BYTES_MAX - 9) error = LC_BAD_ARGUMENT;
    if (error) {
        subscription_free(subscription);
        return error;
    }
    // Asked while the large batch is open it belongs to it, so that its rows are not shown alone.
    subscription->is_awaited = client->is_ready && client->is_stale;
    client->awaited += subscription->is_awaited;
    LcSubscription **at = &client->subscriptions;
    while (*at)
        at = &(*at)->next;
    *at = subscription;
    if (out) *out = subscription;
    requests_send(client);
    return LC_OK;
}

LcError lc_unsubscribe(LcClient *client, LcSubscription *subscription) {
    if (is_over(client)) return LC_CLOSED;
    subscription->is_ending = true;
    requests_send(client);
    return LC_OK;
}

static void request_free(Request *request) {
    out_free(&request->message);
    free(request);
}

static Request *request_take(LcClient *client, uint32_t id, RequestKind kind) {
    for (Request **at = &client->requests; *at; at = &(*at)->next) {
        Request *request = *at;
        if (request->id != id || request->kind != kind) continue;
        *at = request->next;
        if (!*at) client->requests_end = at;
        client->request_count--;
        return request;
    }
    return NULL;
}

static void request_answer(LcClient *client,
                           Request *request,
                           const LcResult *result,
                           const void *value) {
    if (request->kind == REQUEST_REDUCER && request->reducer_done)
        request->reducer_done(client, result, request->context);
    if (request->kind == REQUEST_PROCEDURE && request->done)
        request->call(request->done, client, result, value, request->context);
    if (request->kind == REQUEST_QUERY && request->done)
        request->table->call_rows(request->done, client, result, NULL, 0, request->context);
    request_free(request);
}

// `all`: also those that nobody has heard of.
static void requests_lose(LcClient *client, bool all) {
    Request *lost = NULL, **lost_end = &lost;
    for (Request **at = &client->requests; *at;) {
        Request *request = *at;
        if (!request->is_sent && !all) {
            at = &request->next;
            continue;
        }
        *at = request->next;
        client->request_count--;
        request->next = NULL;
        *lost_end = request;
        lost_end = &request->next;
    }
    client->requests_end = &client->requests;
    while (*client->requests_end)
        client->requests_end = &(*client->requests_end)->next;
    LcResult result = {.status = LC_CALL_LOST, .message = lc_string("the connection was lost")};
    for (Request *next; lost; lost = next) {
        next = lost->next;
        request_answer(client, lost, &result, NULL);
    }
}

static LcError request_add(LcClient *client, Request *request) {
    LcError error = request->message.error;
    if (!error && request->message.len > REQUEST_BYTES_MAX) error = LC_BAD_ARGUMENT;
    if (!error && is_over(client)) error = LC_CLOSED;
    if (error) {
        request_free(request);
        return error;
    }
    *client->requests_end = request;
    client->requests_end = &request->next;
    client->request_count++;
    requests_send(client);
    return LC_OK;
}

// A request whose message begins with its tag and its id.
static Request *request_new(LcClient *client, RequestKind kind, uint8_t tag) {
    Request *request = mem_new(sizeof *request);
    if (!request) return NULL;
    request->kind = kind;
    request->id = id_next(client);
    out_le(&request->message, tag, 1);
    out_le(&request->message, request->id, 4);
    return request;
}

static Request *call_new(LcClient *client,
                         RequestKind kind,
                         const char *name,
                         const LcType *type,
                         const void *values) {
    Request *request = request_new(client, kind, kind == REQUEST_REDUCER ? 3 : 4);
    if (!request) return NULL;
    Out *out = &request->message;
    out_le(out, 0, 1);
    out_sized(out, name, strlen(name));
    size_t at = out->len;
    out_le(out, 0, 4);
    value_write(out, type, values, 0);
    size_t len = out->error ? 0 : out->len - at - 4;
    for (size_t i = 0; i < 4 && !out->error; i++)
        out->data[at + i] = (uint8_t)(len >> (8 * i));
    return request;
}

LcError lc_call_reducer(LcClient *client,
                        const char *name,
                        const LcType *type,
                        const void *arguments,
                        LcDone done,
                        void *context) {
    Request *request = call_new(client, REQUEST_REDUCER, name, type, arguments);
    if (!request) return LC_NO_MEMORY;
    request->reducer_done = done;
    request->context = context;
    return request_add(client, request);
}

LcError lc_call_procedure(LcClient *client,
                          const char *name,
                          const LcType *type,
                          const void *arguments,
                          const LcType *returns,
                          LcCallValue call,
                          LcAnyFunction done,
                          void *context) {
    Request *request = call_new(client, REQUEST_PROCEDURE, name, type, arguments);
    if (!request) return LC_NO_MEMORY;
    request->returns = returns;
    request->call = call;
    request->done = done;
    request->context = context;
    return request_add(client, request);
}

LcError lc_table_query(LcClient *client,
                       const LcTable *table,
                       const char *sql,
                       LcAnyFunction done,
                       void *context) {
    Request *request = request_new(client, REQUEST_QUERY, 2);
    if (!request) return LC_NO_MEMORY;
    out_sized(&request->message, sql, strlen(sql));
    request->table = table;
    request->done = done;
    request->context = context;
    return request_add(client, request);
}

size_t lc_client_pending(const LcClient *client) {
    return client->request_count;
}

// ── the tables' API ────────────────────────────────────────────────────────────────────────────

LcError lc_table_listen(LcClient *client, const LcTable *info, const LcListener *listener) {
    Table *table = table_of(client, info);
    if (!table) return LC_BAD_ARGUMENT;
    LcListener *list =
        LC_CLIENT_REALLOC(table->listeners, (table->listener_count + 1) * sizeof *list);
    if (!list) return LC_NO_MEMORY;
    list[table->listener_count++] = *listener;
    table->listeners = list;
    return LC_OK;
}

size_t lc_table_count(const LcClient *client, const LcTable *info) {
    const Table *table = table_of(client, info);
    return table ? table->shown_count : 0;
}

const void *lc_table_next(const LcClient *client, const LcTable *info, const void *value) {
    const Table *table = value ? row_of(value)->table : table_of(client, info);
    const Row *row = value ? row_of(value)->next : table ? table->first : NULL;
    while (row && row->shown == 0)
        row = row->next;
    return row ? row->value : NULL;
}

const void *lc_table_find(const LcClient *client,
                          const LcTable *info,
                          size_t which,
                          const void *key) {
    const Table *table = table_of(client, info);
    if (!table || table->cap == 0) return NULL;
    uint8_t few[256];
    Out bytes = {.data = few, .cap = sizeof few, .is_borrowed = true};
    value_write(&bytes, info->row->fields[info->unique[which]].type, key, 0);
    Row *row = NULL;
    if (!bytes.error)
        row = *chain_of(table, which + 1, hash_bytes(client->seed, bytes.data, bytes.len));
    for (; row; row = row->links[which + 1].next) {
        const Link *link = &row->links[which + 1];
        bool is_equal = link->len == bytes.len && memcmp(link->key, bytes.data, link->len) == 0;
        if (row->shown > 0 && is_equal) break;
    }
    out_free(&bytes);
    return row ? row->value : NULL;
}

// ── messages ───────────────────────────────────────────────────────────────────────────────────

static LcError initial_connection(LcClient *client, In *in) {
    const uint8_t *identity = in_bytes(in, 32);
    const uint8_t *connection = in_bytes(in, 16);
    In token = in_sized(in);
    if (in->failed || client->is_ready) return LC_MALFORMED;
    for (size_t i = 0; i < 32; i++)
        client->identity.bytes[i] = identity[31 - i];
    for (size_t i = 0; i < 16; i++)
        client->connection_id.bytes[i] = connection[15 - i];
    if (!client->token) {
        client->token = mem_new(in_left(&token) + 1);
        if (!client->token) return LC_NO_MEMORY;
        memcpy(client->token, token.at, in_left(&token));
    }
    client->is_ready = true;
    client->tries = 0;
    client->deadline = INT64_MAX;
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        at->is_awaited = !at->is_ending;
        client->awaited += at->is_awaited;
    }
    if (may_resume(client)) {
        LcError error = resume_send(client);
        if (error) return error;
    } else {
        client->has_point = false;
    }
    requests_send(client);
    if (client->options.on_connect) client->options.on_connect(client, client->options.context);
    batch_end(client);
    return LC_OK;
}

static LcError subscribe_applied(LcClient *client, In *in) {
    in_le(in, 4);
    LcSubscription *subscription = subscription_find(client, (uint32_t)in_le(in, 4));
    if (in->failed || !subscription || subscription->is_applied) return LC_MALFORMED;
    LcError error = query_rows_apply(client, in, CHANGE_INSERT);
    if (error) return error;
    subscription->is_applied = subscription->is_due = true;
    if (subscription->is_awaited) client->awaited--;
    subscription->is_awaited = false;
    batch_end(client);
    return LC_OK;
}

static LcError unsubscribe_applied(LcClient *client, In *in) {
    in_le(in, 4);
    uint32_t id = (uint32_t)in_le(in, 4);
    uint64_t tag = in_le(in, 1);
    LcSubscription *subscription = subscription_find(client, id);
    if (in->failed || tag > 1 || !subscription || !subscription->end_sent) return LC_MALFORMED;
    LcError error = tag == 0 ? query_rows_apply(client, in, CHANGE_DELETE) : LC_OK;
    if (error) return error;
    batch_end(client);
    subscription = subscription_find(client, id);
    if (subscription) subscription_end(client, subscription, NULL);
    return LC_OK;
}

static LcError subscription_error(LcClient *client, In *in) {
    uint64_t tag = in_le(in, 1);
    if (tag == 0) in_le(in, 4);
    LcSubscription *subscription = subscription_find(client, (uint32_t)in_le(in, 4));
    In text = in_sized(in);
    if (in->failed || tag > 1) return LC_MALFORMED;
    if (!subscription) return LC_OK;
    char *copy = mem_new(in_left(&text) + 1);
    if (!copy) return LC_NO_MEMORY;
    memcpy(copy, text.at, in_left(&text));
    bool was_applied = subscription->is_applied;
    subscription_end(client, subscription, copy);
    free(copy);
    if (!was_applied) {
        batch_end(client);
        return LC_OK;
    }
    // It broke later: which of the rows were its own, nobody says. Begin again without it.
    snprintf(client->why, sizeof client->why, "a subscription broke");
    return LC_CLOSED;
}

static LcError resumed(LcClient *client, In *in) {
    uint32_t id = (uint32_t)in_le(in, 4);
    uint64_t tag = in_le(in, 1);
    if (in->failed || tag > 1 || !client->resume || id != client->resume) return LC_MALFORMED;
    client->resume = 0;
    bool is_refused = tag == 1;
    LcError error = LC_OK;
    if (is_refused)
        in_sized(in);
    else
        error = since_apply(client, in);
    if (error || in->failed) return error ? error : LC_MALFORMED;
    if (is_refused) client->has_point = false;
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        if (!at->is_resumed) continue;
        at->is_resumed = false;
        if (is_refused) {  // ask for all of it
            at->is_sent = at->is_held = false;
            continue;
        }
        at->is_applied = at->is_due = true;
        if (at->is_awaited) client->awaited--;
        at->is_awaited = false;
    }
    if (is_refused) requests_send(client);
    batch_end(client);
    return LC_OK;
}

static LcError progress(LcClient *client, In *in) {
    const uint8_t *point = in_bytes(in, POINT_BYTES);
    if (in->failed) return LC_MALFORMED;
    if (client->is_stale) return LC_OK;  // it is about rows that are not shown yet
    memcpy(client->point, point, POINT_BYTES);
    client->has_point = true;
    return LC_OK;
}

static LcError reducer_result(LcClient *client, In *in) {
    uint32_t id = (uint32_t)in_le(in, 4);
    LcResult result = {.timestamp = {(int64_t)in_le(in, 8)}};
    uint64_t outcome = in_le(in, 1);
    In text = {0};
    if (in->failed || outcome > 3) return LC_MALFORMED;
    if (outcome == 0) {
        in_sized(in);
        LcError error = transaction_apply(client, in);
        if (error) return error;
    } else if (outcome == 2) {
        In bytes = in_sized(in);
        text = in_sized(&bytes);
        if (bytes.failed) return LC_MALFORMED;
    } else if (outcome == 3) {
        text = in_sized(in);
    }
    Request *request = in->failed ? NULL : request_take(client, id, REQUEST_REDUCER);
    if (!request) return LC_MALFORMED;
    result.status = outcome == 2 ? LC_CALL_REFUSED : outcome == 3 ? LC_CALL_FAILED : LC_CALL_OK;
    result.message = (LcString){(const char *)text.at, in_left(&text)};
    if (outcome == 0) batch_end(client);
    request_answer(client, request, &result, NULL);
    return LC_OK;
}

static LcError procedure_result(LcClient *client, In *in) {
    uint64_t status = in_le(in, 1);
    In content = in_sized(in);
    LcResult result = {.timestamp = {(int64_t)in_le(in, 8)}};
    in_le(in, 8);
    Request *request = NULL;
    uint32_t id = (uint32_t)in_le(in, 4);
    if (!in->failed && status <= 1) request = request_take(client, id, REQUEST_PROCEDURE);
    if (!request) return LC_MALFORMED;
    void *value = NULL;
    if (status == 1) {
        result.status = LC_CALL_FAILED;
        result.message = (LcString){(const char *)content.at, in_left(&content)};
    } else {
        LcError error = value_new(request->returns, content, &value);
        if (error) {
            result.status = LC_CALL_FAILED;
            result.message = lc_string(lc_error_text(error));
        }
    }
    request_answer(client, request, &result, value);
    free(value);
    return LC_OK;
}

// Rows of an answer are no part of the tables: each is a Row that is linked nowhere.
static LcError query_rows_read(LcClient *client,
                               Table *table,
                               In *in,
                               const void ***rows,
                               size_t *count) {
    RowList list;
    In name = {0};
    if (in_le(in, 4) != 1) return LC_MALFORMED;
    name = in_sized(in);
    if (in->failed || !row_list_read(in, &list)) return LC_MALFORMED;
    if (table_named(client, name.at, in_left(&name)) != table) return LC_BAD_ARGUMENT;
    *rows = mem_new((list.count + 1) * sizeof **rows);
    if (!*rows) return LC_NO_MEMORY;
    const uint8_t *start = list.data.at;
    while (*count < list.count) {
        In row;
        if (!row_list_next(&list, start, &row)) return LC_MALFORMED;
        Row *made;
        LcError error = row_new(client->seed, table, row, &made);
        if (error) return error;
        (*rows)[(*count)++] = made->value;
    }
    return LC_OK;
}

static LcError query_result(LcClient *client, In *in) {
    uint32_t id = (uint32_t)in_le(in, 4);
    uint64_t tag = in_le(in, 1);
    Request *request = NULL;
    if (!in->failed && tag <= 1) request = request_take(client, id, REQUEST_QUERY);
    if (!request) return LC_MALFORMED;
    LcResult result = {0};
    const void **rows = NULL;
    size_t count = 0;
    LcError error = LC_OK;
    if (tag == 0) {
        error = query_rows_read(client, table_of(client, request->table), in, &rows, &count);
    } else {
        In text = in_sized(in);
        result.status = LC_CALL_FAILED;
        result.message = (LcString){(const char *)text.at, in_left(&text)};
        if (in->failed) error = LC_MALFORMED;
    }
    if (error) {
        result.status = LC_CALL_FAILED;
        result.message = lc_string(error == LC_BAD_ARGUMENT ? "these are rows of another table"
                                                            : lc_error_text(error));
    }
    if (request->done)
        request->table
            ->call_rows(request->done, client, &result, rows, error ? 0 : count, request->context);
    for (size_t i = 0; i < count; i++)
        free(row_of(rows[i]));
    free(rows);
    request_free(request);
    return error == LC_BAD_ARGUMENT ? LC_OK : error;
}

static LcError message_apply(LcClient *client, In *in) {
    uint64_t tag = in_le(in, 1);
    LcError error;
    if (in->failed || (!client->is_ready && tag != 0)) return LC_MALFORMED;
    switch (tag) {
    case 0: return initial_connection(client, in);
    case 1: return subscribe_applied(client, in);
    case 2: return unsubscribe_applied(client, in);
    case 3: return subscription_error(client, in);
    case 4:
        error = transaction_apply(client, in);
        if (!error) batch_end(client);
        return error;
    case 5: return query_result(client, in);
    case 6: return reducer_result(client, in);
    case 7: return procedure_result(client, in);
    case 8: return client->speaks_ours ? resumed(client, in) : LC_MALFORMED;
    case 9: return client->speaks_ours ? progress(client, in) : LC_MALFORMED;
    default: return LC_MALFORMED;
    }
}

// One WebSocket message: how it is compressed, which it is not, and messages back to back.
static LcError messages_apply(LcClient *client, const uint8_t *bytes, size_t len) {
    In in = {.at = bytes, .end = bytes + len};
    if (in_le(&in, 1) != 0 || in_left(&in) == 0) return LC_MALFORMED;
    while (in_left(&in) > 0 && !is_over(client)) {
        LcError error = message_apply(client, &in);
        if (error) return error;
    }
    return LC_OK;
}

// ── TLS ────────────────────────────────────────────────────────────────────────────────────────
// A filter between our bytes and the socket's: OpenSSL sees memory only, so there is one loop over one
// descriptor in either case.

#ifdef LC_CLIENT_TLS
static void tls_why(LcClient *client, const char *what) {
    char text[160] = "";
    unsigned long code = ERR_get_error();
    if (code) ERR_error_string_n(code, text, sizeof text);
    long verified = client->tls ? SSL_get_verify_result(client->tls) : X509_V_OK;
    if (verified != X509_V_OK)
        snprintf(text, sizeof text, "%s", X509_verify_cert_error_string(verified));
    snprintf(client->why,
             sizeof client->why,
             "%s: %s",
             what,
             *text ? text : "the connection was closed");
}

static bool tls_prepare(LcClient *client) {
    client->tls_context = SSL_CTX_new(TLS_client_method());
    if (!client->tls_context) return false;
    SSL_CTX_set_min_proto_version(client->tls_context, TLS1_2_VERSION);
    SSL_CTX_set_verify(client->tls_context,
                       client->options.tls_unverified ? SSL_VERIFY_NONE : SSL_VERIFY_PEER,
                       NULL);
    if (client->options.tls_ca_file)
        return SSL_CTX_load_verify_locations(client->tls_context,
                                             client->options.tls_ca_file,
                                             NULL) == 1;
    return SSL_CTX_set_default_verify_paths(client->tls_context) == 1;
}

static bool tls_start(LcClient *client) {
    client->tls = SSL_new(client->tls_context);
    BIO *read = BIO_new(BIO_s_mem()), *write = BIO_new(BIO_s_mem());
    if (!client->tls || !read || !write) {
        BIO_free(read);
        BIO_free(write);
        return false;
    }
    BIO_set_mem_eof_return(read, -1);
    SSL_set_bio(client->tls, read, write);
    SSL_set_connect_state(client->tls);
    // An address is verified as one; only names are sent ahead of the handshake.
    X509_VERIFY_PARAM *verify = SSL_get0_param(client->tls);
    if (X509_VERIFY_PARAM_set1_ip_asc(verify, client->host) == 1) return true;
    ERR_clear_error();
    return SSL_set1_host(client->tls, client->host) == 1 &&
           SSL_set_tlsext_host_name(client->tls, client->host) == 1;
}

// What OpenSSL wants to say goes to the socket.
static void tls_drain(LcClient *client) {
    BIO *write = SSL_get_wbio(client->tls);
    for (size_t left = BIO_ctrl_pending(write); left > 0; left = BIO_ctrl_pending(write)) {
        uint8_t *room = out_room(&client->out, left);
        int taken = room && left <= INT32_MAX ? BIO_read(write, room, (int)left) : 0;
        if (taken <= 0) return;
        client->out.len += (size_t)taken;
    }
}

static bool tls_receive(LcClient *client, const uint8_t *bytes, size_t len) {
    if (BIO_write(SSL_get_rbio(client->tls), bytes, (int)len) != (int)len) return false;
    ERR_clear_error();
    int done = SSL_is_init_finished(client->tls) ? 1 : SSL_do_handshake(client->tls);
    while (done > 0 && SSL_is_init_finished(client->tls)) {
        uint8_t *room = out_room(&client->raw, READ_BYTES);
        if (!room) return false;
        done = SSL_read(client->tls, room, READ_BYTES);
        if (done > 0) client->raw.len += (size_t)done;
    }
    int error = SSL_get_error(client->tls, done);
    tls_drain(client);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) return true;
    tls_why(client, "TLS");
    return false;
}
#endif

// Bytes of ours towards the socket.
static void link_put(LcClient *client, const void *bytes, size_t len) {
#ifdef LC_CLIENT_TLS
    if (client->tls) {
        size_t written = 0;
        if (len > 0 && SSL_write_ex(client->tls, bytes, len, &written) != 1 && !client->out.error)
            client->out.error = LC_NO_MEMORY;
        tls_drain(client);
        return;
    }
#endif
    out_bytes(&client->out, bytes, len);
}

static bool link_take(LcClient *client, const uint8_t *bytes, size_t len) {
#ifdef LC_CLIENT_TLS
    if (client->tls) return tls_receive(client, bytes, len);
#endif
    out_bytes(&client->raw, bytes, len);
    return true;
}

// ── frames ─────────────────────────────────────────────────────────────────────────────────────

enum { OP_MORE = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

static void frame_send(LcClient *client, uint8_t opcode, const void *bytes, size_t len) {
    uint8_t head[14], block[1024];
    size_t at = 2;
    head[0] = (uint8_t)(0x80 | opcode);
    head[1] = (uint8_t)(0x80 | (len < 126 ? len : len <= UINT16_MAX ? 126 : 127));
    size_t width = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    for (size_t i = 0; i < width; i++)
        head[at++] = (uint8_t)((uint64_t)len >> (8 * (width - 1 - i)));
    uint32_t mask = chance_next(client);
    for (int i = 0; i < 4; i++)
        head[at++] = (uint8_t)(mask >> (8 * i));
    link_put(client, head, at);
    const uint8_t *from = bytes;
    for (size_t done = 0; done < len; done += sizeof block) {
        size_t part = len - done < sizeof block ? len - done : sizeof block;
        for (size_t i = 0; i < part; i++)
            block[i] = from[done + i] ^ head[at - 4 + i % 4];  // a block is a multiple of 4
        link_put(client, block, part);
    }
}

typedef struct Frame {
    uint8_t opcode;
    bool is_last;
    size_t head, len;
} Frame;

// LC_OK with frame->head 0: the head is not whole yet.
static LcError frame_read(const Out *raw, size_t from, size_t bytes_max, Frame *frame) {
    size_t left = raw->len - from;
    *frame = (Frame){0};
    if (left < 2) return LC_OK;
    const uint8_t *at = raw->data + from;
    size_t width = (at[1] & 0x7f) == 126 ? 2 : (at[1] & 0x7f) == 127 ? 8 : 0;
    if ((at[0] & 0x70) || (at[1] & 0x80)) return LC_MALFORMED;  // extensions, and a masked server
    if (left < 2 + width) return LC_OK;
    uint64_t len = width ? 0 : at[1];
    for (size_t i = 0; i < width; i++)
        len = len << 8 | at[2 + i];
    frame->opcode = at[0] & 0x0f;
    frame->is_last = at[0] & 0x80;
    bool is_control = frame->opcode >= OP_CLOSE;
    if (len > bytes_max || (is_control && (len > 125 || !frame->is_last))) return LC_MALFORMED;
    frame->head = 2 + width;
    frame->len = (size_t)len;
    return LC_OK;
}

static LcError closed_by_server(LcClient *client, const uint8_t *bytes, size_t len) {
    if (!client->close_sent) frame_send(client, OP_CLOSE, bytes, len < 2 ? 0 : 2);
    client->close_sent = true;
    if (len > 2 && is_utf8(bytes + 2, len - 2))
        snprintf(client->why,
                 sizeof client->why,
                 "the server closed: %.*s",
                 (int)(len - 2),
                 (const char *)bytes + 2);
    else
        snprintf(client->why, sizeof client->why, "the server closed the connection");
    return LC_CLOSED;
}

static LcError data_apply(LcClient *client, const Frame *frame, const uint8_t *bytes) {
    if (frame->opcode == (client->in_message ? OP_BINARY : OP_MORE)) return LC_MALFORMED;
    if (frame->is_last && !client->in_message) return messages_apply(client, bytes, frame->len);
    client->in_message = true;
    if (client->fragments.len + frame->len > client->options.message_bytes_max) return LC_MALFORMED;
    out_bytes(&client->fragments, bytes, frame->len);
    if (client->fragments.error) return LC_NO_MEMORY;
    if (!frame->is_last) return LC_OK;
    client->in_message = false;
    LcError error = messages_apply(client, client->fragments.data, client->fragments.len);
    out_free(&client->fragments);
    return error;
}

static LcError frame_apply(LcClient *client, const Frame *frame, const uint8_t *bytes) {
    switch (frame->opcode) {
    case OP_MORE:
    case OP_BINARY: return data_apply(client, frame, bytes);
    case OP_CLOSE: return closed_by_server(client, bytes, frame->len);
    case OP_PING:
        if (!client->close_sent) frame_send(client, OP_PONG, bytes, frame->len);
        return LC_OK;
    case OP_PONG: return LC_OK;
    default: return LC_MALFORMED;
    }
}

static LcError frames_apply(LcClient *client) {
    size_t at = 0;
    LcError error = client->raw.error;
    while (!error) {
        Frame frame;
        error = frame_read(&client->raw, at, client->options.message_bytes_max, &frame);
        if (error || frame.head == 0 || client->raw.len - at - frame.head < frame.len) break;
        error = frame_apply(client, &frame, client->raw.data + at + frame.head);
        at += frame.head + frame.len;
    }
    out_drop(&client->raw, at);
    return error;
}

// ── the link ───────────────────────────────────────────────────────────────────────────────────

static void link_close(LcClient *client) {
#ifdef LC_CLIENT_TLS
    SSL_free(client->tls);
    client->tls = NULL;
#endif
    if (client->fd >= 0) close(client->fd);
    client->fd = -1;
    if (client->addresses) freeaddrinfo(client->addresses);
    client->addresses = client->address = NULL;
    out_free(&client->raw);
    out_free(&client->fragments);
    out_free(&client->out);
    client->in_message = client->has_more = client->close_sent = client->is_ready = false;
    client->asked_at = 0;
}

// This connection is over. `final`: there will be no other.
static void link_lost(LcClient *client, const char *why, bool final) {
    char text[WHY_BYTES];
    snprintf(text, sizeof text, "%s", *client->why ? client->why : why);
    client->why[0] = 0;
    link_close(client);
    batch_abandon(client);
    client->resume = 0;
    for (LcSubscription *at = client->subscriptions; at; at = at->next) {
        at->is_held |= at->is_applied;
        at->is_sent = at->is_applied = at->is_due = at->is_awaited = at->end_sent = false;
        at->is_resumed = false;
    }
    final = final || client->is_closing || client->options.once;
    int wait = -1;
    if (!final) {
        unsigned most = client->tries < 6 ? (unsigned)WAIT_FIRST_MS << client->tries : WAIT_MOST_MS;
        client->tries++;
        // Shortened by chance, so that a thousand clients do not come back together.
        wait = (int)(most / 2 + chance_next(client) % (most / 2 + 1));
    }
    client->state = final ? LINK_ENDED : LINK_WAITING;
    client->deadline = final ? INT64_MAX : now_ms() + wait;
    requests_lose(client, final);
    if (client->options.on_disconnect)
        client->options.on_disconnect(client, text, wait, client->options.context);
}

static void link_failed(LcClient *client, LcError error) {
    const char *why = error == LC_MALFORMED ? "the server sent what is no message"
                      : error == LC_SYSTEM  ? strerror(errno)
                                            : lc_error_text(error);
    link_lost(client, why, false);
}

static void upgrade_send(LcClient *client);

static void link_connected(LcClient *client) {
    freeaddrinfo(client->addresses);
    client->addresses = client->address = NULL;
    client->heard_at = now_ms();
    client->state = LINK_UPGRADING;
#ifdef LC_CLIENT_TLS
    if (client->is_tls) {
        client->state = LINK_SECURING;
        if (!tls_start(client) || !tls_receive(client, (const uint8_t *)"", 0)) {
            link_lost(client, "TLS could not begin", false);
            return;
        }
        return;
    }
#endif
    upgrade_send(client);
}

// Try the addresses of the host one after another.
static void link_try(LcClient *client) {
    int error = EHOSTUNREACH;
    for (; client->address; client->address = client->address->ai_next) {
        const struct addrinfo *address = client->address;
        int fd = socket(address->ai_family, SOCK_STREAM, 0), yes = 1;
        if (fd < 0) {
            error = errno;
            continue;
        }
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
#ifdef SO_NOSIGPIPE
        setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &yes, sizeof yes);
#endif
        client->fd = fd;
        client->state = LINK_CONNECTING;
        if (connect(fd, address->ai_addr, address->ai_addrlen) == 0) {
            link_connected(client);
            return;
        }
        if (errno == EINPROGRESS || errno == EINTR) return;
        error = errno;
        close(fd);
        client->fd = -1;
    }
    snprintf(client->why,
             sizeof client->why,
             "cannot connect to %s:%s: %s",
             client->host,
             client->port,
             strerror(error));
    link_lost(client, "", false);
}

static void link_open(LcClient *client) {
    client->deadline = now_ms() + OPEN_MS;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    int error = getaddrinfo(client->host, client->port, &hints, &client->addresses);
    if (error) {
        client->addresses = NULL;
        snprintf(client->why,
                 sizeof client->why,
                 "cannot find %s: %s",
                 client->host,
                 gai_strerror(error));
        link_lost(client, "", false);
        return;
    }
    client->address = client->addresses;
    link_try(client);
}

static void link_connecting(LcClient *client) {
    struct pollfd ready = {.fd = client->fd, .events = POLLOUT};
    if (poll(&ready, 1, 0) <= 0) return;
    int error = 0;
    socklen_t len = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error == 0) {
        link_connected(client);
        return;
    }
    snprintf(client->why,
             sizeof client->why,
             "cannot connect to %s:%s: %s",
             client->host,
             client->port,
             strerror(error));
    close(client->fd);
    client->fd = -1;
    client->address = client->address->ai_next;
    if (client->address) {
        client->why[0] = 0;
        link_try(client);
    } else {
        link_lost(client, "", false);
    }
}

static bool link_write(LcClient *client) {
    size_t done = 0;
    while (done < client->out.len) {
        ssize_t sent =
            send(client->fd, client->out.data + done, client->out.len - done, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
        // What the server said before it went is still to be read: reading will tell.
        if (sent < 0) {
            done = client->out.len;
            break;
        }
        done += (size_t)sent;
    }
    if (done > 0) out_drop(&client->out, done);
    if (client->out.len == 0 && client->out.cap > READ_BYTES * 4 && !client->out.error)
        out_free(&client->out);
    return !client->out.error;
}

// ── the handshake ──────────────────────────────────────────────────────────────────────────────

static void base64(const uint8_t *bytes, size_t len, char *text) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t part = (uint32_t)bytes[i] << 16;
        if (i + 1 < len) part |= (uint32_t)bytes[i + 1] << 8;
        if (i + 2 < len) part |= bytes[i + 2];
        *text++ = digits[part >> 18];
        *text++ = digits[part >> 12 & 63];
        *text++ = i + 1 < len ? digits[part >> 6 & 63] : '=';
        *text++ = i + 2 < len ? digits[part & 63] : '=';
    }
    *text = 0;
}

static uint32_t rotate32(uint32_t x, int by) {
    return x << by | x >> (32 - by);
}

// SHA-1 of fewer than 120 bytes: what RFC 6455 asks for, and nothing that is secret.
static void sha1(const char *text, uint8_t digest[20]) {
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    size_t len = strlen(text), blocks = (len + 8) / 64 + 1;
    uint8_t bytes[128] = {0};
    memcpy(bytes, text, len);
    bytes[len] = 0x80;
    for (size_t i = 0; i < 8; i++)
        bytes[blocks * 64 - 1 - i] = (uint8_t)((uint64_t)len * 8 >> (8 * i));
    for (size_t b = 0; b < blocks; b++) {
        uint32_t w[80], v[5];
        for (size_t i = 0; i < 16; i++) {
            const uint8_t *at = bytes + b * 64 + i * 4;
            w[i] = (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
        }
        for (size_t i = 16; i < 80; i++)
            w[i] = rotate32(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
        memcpy(v, h, sizeof v);
        for (size_t i = 0; i < 80; i++) {
            uint32_t mix = i < 20   ? ((v[1] & v[2]) | (~v[1] & v[3])) + 0x5a827999
                           : i < 40 ? (v[1] ^ v[2] ^ v[3]) + 0x6ed9eba1
                           : i < 60 ? ((v[1] & v[2]) | (v[1] & v[3]) | (v[2] & v[3])) + 0x8f1bbcdc
                                    : (v[1] ^ v[2] ^ v[3]) + 0xca62c1d6;
            uint32_t next = rotate32(v[0], 5) + mix + v[4] + w[i];
            v[4] = v[3], v[3] = v[2], v[2] = rotate32(v[1], 30), v[1] = v[0], v[0] = next;
        }
        for (size_t i = 0; i < 5; i++)
            h[i] += v[i];
    }
    for (size_t i = 0; i < 20; i++)
        digest[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

static void accept_of(const char *key, char accept[29]) {
    char text[64];
    uint8_t digest[20];
    snprintf(text, sizeof text, "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    sha1(text, digest);
    base64(digest, sizeof digest, accept);
}

static void put_text(LcClient *client, const char *text) {
    link_put(client, text, strlen(text));
}

static void upgrade_send(LcClient *client) {
    uint8_t random[16];
    char key[25];
    for (size_t i = 0; i < sizeof random; i++)
        random[i] = (uint8_t)chance_next(client);
    base64(random, sizeof random, key);
    accept_of(key, client->accept);
    bool is_v6 = strchr(client->host, ':') != NULL;
    put_text(client, "GET ");
    put_text(client, client->path);
    put_text(client, " HTTP/1.1\r\nHost: ");
    put_text(client, is_v6 ? "[" : "");
    put_text(client, client->host);
    put_text(client, is_v6 ? "]:" : ":");
    put_text(client, client->port);
    put_text(
        client,
        "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ");
    put_text(client, key);
    put_text(client,
             "\r\nSec-WebSocket-Protocol: v1.bsatn.lightcone, v3.bsatn.spacetimedb, "
             "v2.bsatn.spacetimedb\r\n");
    if (client->token) {
        put_text(client, "Authorization: Bearer ");
        put_text(client, client->token);
        put_text(client, "\r\n");
    }
    put_text(client, "\r\n");
}

static bool text_eq_any_case(const char *a, const char *b, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (tolower((unsigned char)a[i]) != tolower((unsigned char)b[i])) return false;
    return true;
}

// The value of a header, trimmed; len 0: there is none. `head` ends with an empty line.
static LcString header_find(const char *head, size_t len, const char *name) {
    size_t name_len = strlen(name);
    for (const char *at = memchr(head, '\n', len); at;
         at = memchr(at, '\n', (size_t)(head + len - at))) {
        at++;
        size_t left = (size_t)(head + len - at);
        if (left <= name_len || at[name_len] != ':' || !text_eq_any_case(at, name, name_len))
            continue;
        const char *from = at + name_len + 1, *end = memchr(from, '\r', left - name_len - 1);
        while (end && from < end && (*from == ' ' || *from == '\t'))
            from++;
        while (end && end > from && (end[-1] == ' ' || end[-1] == '\t'))
            end--;
        return end ? (LcString){from, (size_t)(end - from)} : (LcString){0};
    }
    return (LcString){0};
}

static size_t head_len(const Out *raw) {
    for (size_t i = 3; i < raw->len; i++)
        if (memcmp(raw->data + i - 3, "\r\n\r\n", 4) == 0) return i + 1;
    return 0;
}

// Anything but 101. The body says why, in a sentence.
static void upgrade_refused(LcClient *client, int status, const char *body, size_t len) {
    while (len > 0 && (unsigned char)body[len - 1] <= ' ')
        len--;
    if (len > 0 && is_utf8((const uint8_t *)body, len))
        snprintf(client->why,
                 sizeof client->why,
                 "the server refused (%d): %.*s",
                 status,
                 (int)(len < 200 ? len : 200),
                 body);
    else
        snprintf(client->why, sizeof client->why, "the server refused with status %d", status);
    // Neither will it in a minute. Other codes are of servers that are busy or starting.
    link_lost(client, "", status == 400 || status == 401 || status == 403 || status == 404);
}

// at_end: the server has said all it will say.
static void upgrade_read(LcClient *client, bool at_end) {
    const char *head = (const char *)client->raw.data;
    size_t len = head_len(&client->raw);
    if (len == 0) {
        if (client->raw.len > HEAD_BYTES_MAX) link_failed(client, LC_MALFORMED);
        return;
    }
    bool is_http = len > 12 && memcmp(head, "HTTP/1.", 7) == 0 && head[8] == ' ';
    int status = 0;
    for (size_t i = 9; is_http && i < 12 && isdigit((unsigned char)head[i]); i++)
        status = status * 10 + (head[i] - '0');
    LcString accept = header_find(head, len, "sec-websocket-accept");
    LcString protocol = header_find(head, len, "sec-websocket-protocol");
    client->speaks_ours = lc_string_eq(protocol, lc_string("v1.bsatn.lightcone"));
    if (status == 101 && lc_string_eq(accept, lc_string(client->accept)) &&
        (client->speaks_ours || lc_string_eq(protocol, lc_string("v3.bsatn.spacetimedb")) ||
         lc_string_eq(protocol, lc_string("v2.bsatn.spacetimedb")))) {
        client->state = LINK_OPEN;  // the deadline stays until the server has introduced itself
        out_drop(&client->raw, len);
        return;
    }
    if (status == 101 || status < 100) {
        link_failed(client, LC_MALFORMED);
        return;
    }
    LcString said = header_find(head, len, "content-length");
    size_t body = 0;
    for (size_t i = 0; i < said.len && body < HEAD_BYTES_MAX; i++)
        body = body * 10 + (size_t)(said.ptr[i] & 15);
    size_t here = client->raw.len - len;
    if (here < body && here < 200 && !at_end) return;
    upgrade_refused(client, status, head + len, here < body ? here : body);
}

// ── the API of the loop ────────────────────────────────────────────────────────────────────────

// What has come, taken apart as far as the state allows.
static void input_apply(LcClient *client, bool at_end) {
#ifdef LC_CLIENT_TLS
    if (client->state == LINK_SECURING && SSL_is_init_finished(client->tls)) {
        client->state = LINK_UPGRADING;
        upgrade_send(client);
    }
#endif
    if (client->state == LINK_UPGRADING && client->raw.len > 0) upgrade_read(client, at_end);
    if (client->state != LINK_OPEN) return;
    LcError error = frames_apply(client);
    if (error && client->state == LINK_OPEN) {
        link_write(client);  // the answer to a Close
        link_failed(client, error);
    }
}

static void input_read(LcClient *client) {
    static const char gone[] = "the connection was closed";
    uint8_t *block = LC_CLIENT_REALLOC(NULL, READ_BYTES);
    if (!block) {
        link_failed(client, LC_NO_MEMORY);
        return;
    }
    client->has_more = true;
    for (int i = 0; i < STEP_READS_MAX && client->fd >= 0 && client->has_more; i++) {
        ssize_t got = recv(client->fd, block, READ_BYTES, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            client->has_more = false;
            break;
        }
        if (got > 0) {
            client->heard_at = now_ms();
            client->asked_at = 0;
            if (link_take(client, block, (size_t)got)) {
                input_apply(client, false);
                continue;
            }
        }
        int error = got < 0 ? errno : 0;
        input_apply(client, true);
        if (client->fd >= 0) link_lost(client, error ? strerror(error) : gone, false);
    }
    free(block);
}

static void timers_step(LcClient *client, int64_t now) {
    if (now >= client->deadline && client->state == LINK_WAITING) {
        link_open(client);
    } else if (now >= client->deadline && client->state != LINK_ENDED) {
        link_lost(client, client->is_closing ? "closed" : "the server does not answer", false);
    } else if (client->is_ready && !client->close_sent) {
        if (client->asked_at == 0 && now - client->heard_at >= QUIET_MS) {
            client->asked_at = now;
            frame_send(client, OP_PING, NULL, 0);
        } else if (client->asked_at != 0 && now - client->asked_at >= ANSWER_MS) {
            link_lost(client, "the server has fallen silent", false);
        }
    }
}

static void closing_step(LcClient *client) {
    if (!client->is_closing || client->state == LINK_ENDED) return;
    if (client->state != LINK_OPEN || !client->is_ready) {
        link_lost(client, "closed", true);
    } else if (!client->close_sent) {
        static const uint8_t normal[2] = {1000 >> 8, 1000 & 0xff};
        frame_send(client, OP_CLOSE, normal, sizeof normal);
        client->close_sent = true;
        client->deadline = now_ms() + CLOSE_MS;
    }
}

LcError lc_client_step(LcClient *client) {
    if (client->in_step) return LC_BUSY;
    client->in_step = true;
    timers_step(client, now_ms());
    if (client->state == LINK_CONNECTING) link_connecting(client);
    if (client->fd >= 0 && client->state != LINK_CONNECTING) input_read(client);
    closing_step(client);
    subscriptions_sweep(client);
    if (client->fd >= 0 && client->state != LINK_CONNECTING && !link_write(client))
        link_failed(client, LC_NO_MEMORY);
    client->in_step = false;
    return client->state == LINK_ENDED ? LC_CLOSED : LC_OK;
}

int lc_client_fd(const LcClient *client) {
    return client->fd;
}

short lc_client_events(const LcClient *client) {
    if (client->fd < 0) return 0;
    if (client->state == LINK_CONNECTING) return POLLOUT;
    return (short)(POLLIN | (client->out.len > 0 ? POLLOUT : 0));
}

int lc_client_timeout_ms(const LcClient *client) {
    bool must_close = client->is_closing && !client->close_sent;
    if (client->state == LINK_ENDED || client->has_more || must_close || has_sweep(client))
        return 0;
    int64_t due = client->deadline;
    if (client->is_ready && !client->close_sent) {
        int64_t quiet =
            client->asked_at ? client->asked_at + ANSWER_MS : client->heard_at + QUIET_MS;
        if (quiet < due) due = quiet;
    }
    if (due == INT64_MAX) return -1;
    int64_t left = due - now_ms();
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

LcError lc_client_poll(LcClient *client, int timeout_ms) {
    if (client->in_step) return LC_BUSY;
    int most = lc_client_timeout_ms(client);
    if (timeout_ms < 0 || (most >= 0 && most < timeout_ms)) timeout_ms = most;
    struct pollfd wait = {.fd = client->fd, .events = lc_client_events(client)};
    if (poll(&wait, 1, timeout_ms) < 0 && errno != EINTR) return LC_SYSTEM;
    return lc_client_step(client);
}

bool lc_client_is_connected(const LcClient *client) {
    return client->is_ready;
}
LcIdentity lc_client_identity(const LcClient *client) {
    return client->identity;
}
LcConnectionId lc_client_connection_id(const LcClient *client) {
    return client->connection_id;
}
const char *lc_client_token(const LcClient *client) {
    return client->token;
}

void lc_client_close(LcClient *client) {
    client->is_closing = true;
}

// "https://[::1]:3000/base/" and a database as host, port and path.
static LcError address_read(LcClient *client, const char *url, const char *database) {
    static const struct {
        const char *scheme, *port;
        bool is_tls;
    } schemes[] = {{"http://", "80", false},
                   {"ws://", "80", false},
                   {"https://", "443", true},
                   {"wss://", "443", true}};
    const char *at = NULL, *port = NULL;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes && !at; i++) {
        size_t len = strlen(schemes[i].scheme);
        if (strncmp(url, schemes[i].scheme, len) != 0) continue;
        at = url + len;
        port = schemes[i].port;
        client->is_tls = schemes[i].is_tls;
    }
    if (!at) return LC_BAD_ARGUMENT;
    for (const char *c = url; *c; c++)
        if ((unsigned char)*c <= ' ') return LC_BAD_ARGUMENT;
    bool in_brackets = *at == '[';
    const char *host = at + in_brackets;
    size_t host_len = strcspn(host, in_brackets ? "]" : ":/");
    at = host + host_len;
    if (host_len == 0 || (in_brackets && *at++ != ']')) return LC_BAD_ARGUMENT;
    size_t port_len = strlen(port);
    if (*at == ':') {
        port = at + 1;
        port_len = strspn(port, "0123456789");
        at = port + port_len;
    }
    if (port_len == 0 || port_len > 5 || (*at && *at != '/')) return LC_BAD_ARGUMENT;
    size_t base_len = strlen(at);
    while (base_len > 0 && at[base_len - 1] == '/')
        base_len--;
    size_t path_max = base_len + 3 * strlen(database) + 100;
    client->host = mem_new(host_len + 1);
    client->port = mem_new(port_len + 1);
    client->path = mem_new(path_max);
    if (!client->host || !client->port || !client->path) return LC_NO_MEMORY;
    memcpy(client->host, host, host_len);
    memcpy(client->port, port, port_len);
    int len = snprintf(client->path, path_max, "%.*s/v1/database/", (int)base_len, at);
    char *end = client->path + len;
    for (const char *c = database; *c; c++) {
        bool is_plain = isalnum((unsigned char)*c) || strchr("-._~", *c);
        end += snprintf(end, 4, is_plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
    snprintf(end,
             60,
             "/subscribe?compression=None%s",
             client->options.unconfirmed ? "&confirmed=false" : "");
    return LC_OK;
}

static LcError tables_new(LcClient *client, const LcModule *module) {
    client->tables = mem_new((module->table_count + 1) * sizeof *client->tables);
    if (!client->tables) return LC_NO_MEMORY;
    for (size_t i = 0; i < module->table_count; i++)
        client->tables[i].info = module->tables[i];
    return LC_OK;
}

static LcError client_prepare(LcClient *client, const LcOptions *options) {
    LcError error = tables_new(client, options->module);
    if (!error) error = address_read(client, options->url, options->database);
    if (error) return error;
    for (const char *c = options->token; c && *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c > '~')
            return LC_BAD_ARGUMENT;  // it becomes a header
    if (options->token && *options->token && !(client->token = text_copy(options->token)))
        return LC_NO_MEMORY;
    if (getentropy(client->seed, sizeof client->seed) != 0) return LC_SYSTEM;
    if (getentropy(&client->chance, sizeof client->chance) != 0) return LC_SYSTEM;
    client->chance |= 1;
#ifdef LC_CLIENT_TLS
    if (client->is_tls && !tls_prepare(client)) return LC_BAD_ARGUMENT;
#else
    if (client->is_tls) return LC_BAD_ARGUMENT;
#endif
    return LC_OK;
}

LcError lc_client_open(const LcOptions *options, LcClient **out) {
    *out = NULL;
    if (!options->url || !options->database || !*options->database || !options->module)
        return LC_BAD_ARGUMENT;
    LcClient *client = mem_new(sizeof *client);
    if (!client) return LC_NO_MEMORY;
    client->options = *options;
    if (!options->message_bytes_max) client->options.message_bytes_max = MESSAGE_BYTES_DEFAULT;
    client->fd = -1;
    client->is_stale = true;
    client->requests_end = &client->requests;
    LcError error = client_prepare(client, options);
    if (error) {
        lc_client_free(&client);
        return error;
    }
    *out = client;
    return LC_OK;
}

static void table_free(Table *table) {
    for (Row *row = table->first, *next; row; row = next) {
        next = row->next;
        free(row);
    }
    free(table->slots);
    free(table->listeners);
}

void lc_client_free(LcClient **handle) {
    LcClient *client = *handle;
    if (!client) return;
    if (client
            ->in_step) {  // out of a callback: the step that is under way would go on in freed memory
        client->is_closing = true;
        return;
    }
    *handle = NULL;
    client->in_step = client->is_closing = true;  // callbacks of lost calls begin nothing new
    requests_lose(client, true);
    if (client->tables) batch_abandon(client);
    link_close(client);
    for (LcSubscription *at = client->subscriptions, *next; at; at = next) {
        next = at->next;
        subscription_free(at);
    }
    for (size_t i = 0; client->tables && i < client->options.module->table_count; i++)
        table_free(&client->tables[i]);
    free(client->tables);
    free(client->host);
    free(client->port);
    free(client->path);
    free(client->token);
#ifdef LC_CLIENT_TLS
    SSL_CTX_free(client->tls_context);
#endif
    free(client);
}
