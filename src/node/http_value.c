#include "node/http_value.h"

static const char *const methods[] =
    {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
enum { METHOD_EXTENSION = ARRAY_LEN(methods), OPTION_SOME = 0, OPTION_NONE = 1 };

static void put_headers(Buf *out, const HttpValue *v) {
    buf_put_u32(out, v->header_count);
    for (uint32_t i = 0; i < v->header_count; i++) {
        buf_put_lp(out, str_bytes(v->headers[i].name));
        buf_put_lp(out, str_bytes(v->headers[i].value));
    }
}

void http_value_put_request(Buf *out, const HttpValue *v) {
    uint8_t tag = 0;
    while (tag < METHOD_EXTENSION && !str_eq(v->method, str_from(methods[tag]))) {
        tag++;
    }
    buf_put_u8(out, tag);
    if (tag == METHOD_EXTENSION) buf_put_lp(out, str_bytes(v->method));
    put_headers(out, v);
    buf_put_u8(out, v->has_timeout ? OPTION_SOME : OPTION_NONE);
    if (v->has_timeout) buf_put_u64(out, (uint64_t)v->timeout);
    buf_put_lp(out, str_bytes(v->uri));
    buf_put_u8(out, v->version);
}

void http_value_put_response(Buf *out, const HttpValue *v) {
    put_headers(out, v);
    buf_put_u8(out, v->version);
    buf_put_u16(out, v->code);
}

static Err get_headers(Reader *r, Arena *arena, HttpValue *out) {
    uint32_t count = reader_u32(r);
    // Each takes eight bytes at least: a count cannot ask for more memory than was sent.
    if (!reader_ok(r) || count > r->in.len / 8) return ERR_MALFORMED;
    out->headers = arena_array(arena, HttpHeader, count + 1);
    if (!out->headers) return ERR_NOMEM;
    out->header_count = count;
    for (uint32_t i = 0; i < count; i++) {
        out->headers[i].name = reader_str(r);
        out->headers[i].value = bytes_str(reader_lp(r));
    }
    return reader_ok(r) ? OK : ERR_MALFORMED;
}

static Err get_version(Reader *r, HttpValue *out) {
    out->version = reader_u8(r);
    return reader_ok(r) && out->version <= HTTP_VERSION_3 ? OK : ERR_MALFORMED;
}

Err http_value_get_request(Bytes in, Arena *arena, HttpValue *out) {
    Reader r = reader_of(in);
    *out = (HttpValue){0};
    uint8_t tag = reader_u8(&r);
    if (tag > METHOD_EXTENSION) return ERR_MALFORMED;
    out->method = tag == METHOD_EXTENSION ? reader_str(&r) : str_from(methods[tag]);
    Err err = get_headers(&r, arena, out);
    if (err != OK) return err;
    uint8_t option = reader_u8(&r);
    if (option > OPTION_NONE) return ERR_MALFORMED;
    out->has_timeout = option == OPTION_SOME;
    if (out->has_timeout) out->timeout = (Micros)reader_u64(&r);
    out->uri = reader_str(&r);
    return get_version(&r, out);
}

Err http_value_get_response(Bytes in, Arena *arena, HttpValue *out) {
    Reader r = reader_of(in);
    *out = (HttpValue){0};
    Err err = get_headers(&r, arena, out);
    if (err == OK) err = get_version(&r, out);
    out->code = reader_u16(&r);
    return err == OK && !reader_ok(&r) ? ERR_MALFORMED : err;
}

bool http_value_name_ok(Str name) {
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!word && (c == 0 || !strchr("!#$%&'*+-.^_`|~", c))) return false;
    }
    return name.len > 0;
}

bool http_value_text_ok(Str value) {
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < ' ' && c != '\t') || c == 0x7f) return false;
    }
    return true;
}
