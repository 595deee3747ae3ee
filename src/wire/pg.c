// pg.c: messages of PostgreSQL's protocol: see pg.h.
//
// ALWAYS TRUE
//   (1) Reading never looks beyond the message, and believes none of its counts before it has seen the
//       bytes that they need.
//   (2) A message that was written has its true length, or the Buf has failed.
#include "wire/pg.h"

enum {
    VERSION_MAJOR = 3,
    CODE_CANCEL = 80877102,
    CODE_SSL = 80877103,
    CODE_GSS = 80877104,
};

// ── big-endian ─────────────────────────────────────────────────────────────────────────────────

static uint32_t get_u32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void put_u16(Buf *out, uint32_t v) {
    uint8_t bytes[] = {(uint8_t)(v >> 8), (uint8_t)v};
    buf_put(out, bytes, sizeof bytes);
}

static void put_u32(Buf *out, uint32_t v) {
    uint8_t bytes[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    buf_put(out, bytes, sizeof bytes);
}

// ── reading ────────────────────────────────────────────────────────────────────────────────────

size_t pg_message_len(Bytes in, bool has_name, size_t max, bool *malformed) {
    size_t head = has_name ? 5 : 4;
    *malformed = false;
    if (in.len < head) return 0;
    uint32_t len = get_u32(in.ptr + head - 4);
    *malformed = len < 4 || len > max;
    return *malformed ? 0 : (size_t)len + has_name;
}

typedef struct In {
    const uint8_t *at, *end;
    bool failed;
} In;

static const uint8_t *take(In *in, size_t len) {
    if ((size_t)(in->end - in->at) < len) {
        in->failed = true;
        in->at = in->end;
        return NULL;
    }
    const uint8_t *p = in->at;
    in->at += len;
    return p;
}

static uint32_t take_u32(In *in) {
    const uint8_t *p = take(in, 4);
    return p ? get_u32(p) : 0;
}

static uint16_t take_u16(In *in) {
    const uint8_t *p = take(in, 2);
    return (uint16_t)(p ? p[0] << 8 | p[1] : 0);
}

static char take_char(In *in) {
    const uint8_t *p = take(in, 1);
    return p ? (char)*p : 0;
}

static Str take_text(In *in) {
    const uint8_t *zero = in->at < in->end ? memchr(in->at, 0, (size_t)(in->end - in->at)) : NULL;
    if (!zero) {
        in->failed = true;
        in->at = in->end;
        return STR("");
    }
    Str text = {(const char *)in->at, (size_t)(zero - in->at)};
    in->at = zero + 1;
    return text;
}

static Err malformed(Diag *diag, const char *what) {
    return diag_fail(diag, ERR_MALFORMED, "%s", what);
}

static void startup_option(PgFirst *out, Str name, Str value) {
    if (str_eq(name, STR("user"))) out->user = value;
    if (str_eq(name, STR("database"))) out->database = value;
    if (str_starts(name, STR("_pq_."))) out->unknown++;
}

static Err startup_read(In *in, PgFirst *out, Diag *diag) {
    for (;;) {
        Str name = take_text(in);
        if (in->failed) return malformed(diag, "invalid startup packet layout");
        if (name.len == 0) break;
        Str value = take_text(in);
        startup_option(out, name, value);
    }
    return in->failed || in->at != in->end ? malformed(diag, "invalid startup packet layout") : OK;
}

Err pg_first_read(Bytes message, PgFirst *out, Diag *diag) {
    In in = {message.ptr, message.ptr + message.len, false};
    *out = (PgFirst){.user = STR(""), .database = STR("")};
    (void)take_u32(&in);
    uint32_t code = take_u32(&in);
    if (in.failed) return malformed(diag, "invalid length of startup packet");
    switch (code) {
    case CODE_SSL: out->kind = PG_FIRST_SSL; return OK;
    case CODE_GSS: out->kind = PG_FIRST_GSS; return OK;
    case CODE_CANCEL:
        out->kind = PG_FIRST_CANCEL;
        out->pid = take_u32(&in);
        out->secret = take_u32(&in);
        return in.failed ? malformed(diag, "invalid length of cancel request packet") : OK;
    default: break;
    }
    out->minor = code & 0xffff;
    if (code >> 16 != VERSION_MAJOR)
        return diag_fail(diag,
                         ERR_UNSUPPORTED,
                         "unsupported frontend protocol %u.%u: server supports 3.0",
                         code >> 16,
                         code & 0xffff);
    return startup_read(&in, out, diag);
}

// `count` numbers of two bytes.
static Err take_formats(In *in, Arena *arena, uint16_t **out, uint32_t *count) {
    *count = take_u16(in);
    if ((size_t)(in->end - in->at) < (size_t)*count * 2) {  // (1)
        in->failed = true;
        *count = 0;
    }
    *out = arena_array(arena, uint16_t, *count + 1);
    if (!*out) return ERR_NOMEM;
    for (uint32_t i = 0; i < *count; i++) {
        (*out)[i] = take_u16(in);
        in->failed |= (*out)[i] > 1;
    }
    return OK;
}

static Err parse_read(In *in, Arena *arena, PgMessage *out) {
    out->statement = take_text(in);
    out->text = take_text(in);
    out->type_count = take_u16(in);
    if ((size_t)(in->end - in->at) < (size_t)out->type_count * 4) {  // (1)
        in->failed = true;
        out->type_count = 0;
    }
    out->types = arena_array(arena, uint32_t, out->type_count + 1);
    if (!out->types) return ERR_NOMEM;
    for (uint32_t i = 0; i < out->type_count; i++)
        out->types[i] = take_u32(in);
    return OK;
}

static Err values_read(In *in, Arena *arena, PgMessage *out) {
    out->value_count = take_u16(in);
    if ((size_t)(in->end - in->at) < (size_t)out->value_count * 4) {  // (1)
        in->failed = true;
        out->value_count = 0;
    }
    out->values = arena_array(arena, PgValue, out->value_count + 1);
    if (!out->values) return ERR_NOMEM;
    for (uint32_t i = 0; i < out->value_count; i++) {
        uint32_t len = take_u32(in);
        out->values[i].bytes = BYTES_NONE;
        if (len != UINT32_MAX) out->values[i].bytes = BYTES(take(in, len), len);
    }
    return OK;
}

static Err bind_read(In *in, Arena *arena, PgMessage *out) {
    out->portal = take_text(in);
    out->statement = take_text(in);
    Err err = take_formats(in, arena, &out->formats, &out->format_count);
    if (err == OK) err = values_read(in, arena, out);
    if (err == OK) err = take_formats(in, arena, &out->result_formats, &out->result_format_count);
    if (out->format_count > 1 && out->format_count != out->value_count) in->failed = true;
    return err;
}

static void target_read(In *in, PgMessage *out) {
    out->kind = take_char(in);
    Str name = take_text(in);
    if (out->kind == 'S') out->statement = name;
    if (out->kind == 'P') out->portal = name;
    in->failed |= out->kind != 'S' && out->kind != 'P';
}

Err pg_message_read(Bytes message, Arena *arena, PgMessage *out, Diag *diag) {
    In in = {message.ptr, message.ptr + message.len, false};
    Err err = OK;
    *out = (PgMessage){.text = STR(""), .statement = STR(""), .portal = STR("")};
    out->name = take_char(&in);
    (void)take_u32(&in);
    switch (out->name) {
    case 'Q':
    case 'p': out->text = take_text(&in); break;
    case 'P': err = parse_read(&in, arena, out); break;
    case 'B': err = bind_read(&in, arena, out); break;
    case 'D':
    case 'C': target_read(&in, out); break;
    case 'E':
        out->portal = take_text(&in);
        out->rows_max = take_u32(&in);
        break;
    case 'S':
    case 'H':
    case 'X': break;
    default:
        return diag_fail(diag,
                         ERR_UNSUPPORTED,
                         "messages of type %d are not supported (COPY and function calls are not)",
                         out->name);
    }
    if (err == OK && (in.failed || in.at != in.end))
        err = diag_fail(diag, ERR_MALFORMED, "invalid message of type '%c'", out->name);
    return err;
}

uint16_t pg_format_at(const uint16_t *formats, uint32_t count, uint32_t at) {
    if (count == 0) return 0;
    if (count == 1) return formats[0];
    return at < count ? formats[at] : 0;
}

// ── writing ────────────────────────────────────────────────────────────────────────────────────

static size_t begin(Buf *out, char name) {
    buf_put_u8(out, (uint8_t)name);
    put_u32(out, 0);
    return out->len - 4;
}

static void store_be32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static void end(Buf *out, size_t at) {
    if (!buf_ok(out)) return;
    if (out->len - at > INT32_MAX) {
        out->failed = true;  // (2)
        return;
    }
    store_be32(out->ptr + at, (uint32_t)(out->len - at));
}

// A text ends where a zero byte would end it for the client.
static void put_text(Buf *out, Str text) {
    const void *zero = text.len ? memchr(text.ptr, 0, text.len) : NULL;
    if (zero) text.len = (size_t)((const char *)zero - text.ptr);
    buf_put_str(out, text);
    buf_put_u8(out, 0);
}

static void put_auth(Buf *out, uint32_t code) {
    size_t at = begin(out, 'R');
    put_u32(out, code);
    end(out, at);
}

void pg_put_auth_password(Buf *out) {
    put_auth(out, 3);
}

void pg_put_auth_ok(Buf *out) {
    put_auth(out, 0);
}

void pg_put_parameter(Buf *out, Str name, Str value) {
    size_t at = begin(out, 'S');
    put_text(out, name);
    put_text(out, value);
    end(out, at);
}

void pg_put_key(Buf *out, uint32_t pid, uint32_t secret) {
    size_t at = begin(out, 'K');
    put_u32(out, pid);
    put_u32(out, secret);
    end(out, at);
}

void pg_put_version(Buf *out, const PgFirst *first) {
    if (first->minor == 0 && first->unknown == 0) return;
    // The names of options are not repeated: a client that asks for any learns that none is there.
    size_t at = begin(out, 'v');
    put_u32(out, VERSION_MAJOR << 16);
    put_u32(out, 0);
    end(out, at);
}

void pg_put_ready(Buf *out, PgStatus status) {
    size_t at = begin(out, 'Z');
    buf_put_u8(out, (uint8_t)status);
    end(out, at);
}

void pg_put_columns(Buf *out, const PgColumn *columns, uint32_t count) {
    size_t at = begin(out, 'T');
    put_u16(out, count);
    for (uint32_t i = 0; i < count; i++) {
        put_text(out, columns[i].name);
        put_u32(out, 0);  // the table and the column it comes from: not told
        put_u16(out, 0);
        put_u32(out, columns[i].oid);
        put_u16(out, (uint16_t)pg_oid_size(columns[i].oid));
        put_u32(out, UINT32_MAX);  // no modifier of the type
        put_u16(out, columns[i].format);
    }
    end(out, at);
}

void pg_put_parameter_types(Buf *out, const uint32_t *oids, uint32_t count) {
    size_t at = begin(out, 't');
    put_u16(out, count);
    for (uint32_t i = 0; i < count; i++)
        put_u32(out, oids[i]);
    end(out, at);
}

size_t pg_row_begin(Buf *out, uint32_t count) {
    size_t at = begin(out, 'D');
    put_u16(out, count);
    return at;
}

void pg_row_end(Buf *out, size_t at) {
    end(out, at);
}

void pg_put_complete(Buf *out, Str tag) {
    size_t at = begin(out, 'C');
    put_text(out, tag);
    end(out, at);
}

void pg_put_plain(Buf *out, PgPlain name) {
    end(out, begin(out, (char)name));
}

static void put_field(Buf *out, char field, Str text) {
    buf_put_u8(out, (uint8_t)field);
    put_text(out, text);
}

static void put_report(Buf *out, char name, const PgError *e) {
    size_t at = begin(out, name);
    put_field(out, 'S', str_from(e->severity));
    put_field(out, 'V', str_from(e->severity));
    put_field(out, 'C', str_from(e->state));
    put_field(out, 'M', e->message);
    if (e->hint.len) put_field(out, 'H', e->hint);
    if (e->position) {
        buf_put_u8(out, 'P');
        buf_printf(out, "%u", e->position);
        buf_put_u8(out, 0);
    }
    buf_put_u8(out, 0);
    end(out, at);
}

void pg_put_error(Buf *out, const PgError *error) {
    put_report(out, 'E', error);
}

void pg_put_warning(Buf *out, const char *state, Str message) {
    put_report(out, 'N', &(PgError){.severity = "WARNING", .state = state, .message = message});
}
