// sourcemap.c: see sourcemap.h.
//
// PICTURE
//   "mappings": "AAAA,SAASA;GAFG;…"     `;` ends a line of the bundle, `,` a segment
//                 │                      a segment is 1, 4 or 5 numbers, each relative to the last:
//                 ▼                      column, source, line, column there, name
//   spots: [line, column] -> [source, line there], ascending; found by bisection
//
//   A number is base64 digits of 5 bits each, low ones first, bit 5 of a digit: more follow; the
//   lowest bit of the whole is the sign.
//
// ALWAYS TRUE
//   (1) Spots ascend by (line, column), and a source in them is one of `sources`.
#include "host/js/sourcemap.h"

#include <jansson.h>

#include "base/mem.h"

typedef struct Spot {
    uint32_t line, column;       // in the bundle; from 0
    uint32_t source, file_line;  // from 0; NO_SOURCE: nobody wrote this
} Spot;
#define NO_SOURCE UINT32_MAX

struct SourceMap {
    Buf names;      // of all sources, one after another
    Buf name_ends;  // u32 each
    Buf spots;      // Spot each
    uint32_t source_count;
};

Str sourcemap_find(Str bundle) {
    static const char mark[] = "//# sourceMappingURL=data:application/json";
    static const char encoding[] = ";base64,";
    while (bundle.len && strchr(" \t\r\n", bundle.ptr[bundle.len - 1]))
        bundle.len--;
    size_t start = bundle.len;
    while (start > 0 && bundle.ptr[start - 1] != '\n')
        start--;
    Str line = {bundle.ptr + start, bundle.len - start};
    if (!str_starts(line, (Str){mark, sizeof mark - 1})) return STR_NONE;
    for (size_t at = sizeof mark - 1; at + sizeof encoding - 1 <= line.len; at++) {
        Str rest = {line.ptr + at, line.len - at};
        if (str_starts(rest, (Str){encoding, sizeof encoding - 1}))
            return (Str){rest.ptr + sizeof encoding - 1, rest.len - (sizeof encoding - 1)};
        if (*rest.ptr == ',') break;
    }
    return STR_NONE;
}

static int digit_of(char c) {  // of base64; negative: not one
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool base64_read(Str text, Buf *out) {
    while (text.len && text.ptr[text.len - 1] == '=')
        text.len--;
    uint32_t bits = 0, have = 0;
    uint8_t *to = buf_extend(out, text.len / 4 * 3 + 3);
    if (!to) return false;
    uint8_t *begin = to;
    for (size_t i = 0; i < text.len; i++) {
        int digit = digit_of(text.ptr[i]);
        if (digit < 0) return false;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have < 8) continue;
        have -= 8;
        *to++ = (uint8_t)(bits >> have);
    }
    out->len -= text.len / 4 * 3 + 3 - (size_t)(to - begin);
    return true;
}

// One number at the front of *in, added to *value. False: malformed, or it leaves 31 bits.
static bool number_add(Str *in, int64_t *value) {
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 35; shift += 5) {
        if (in->len == 0) return false;
        int digit = digit_of(*in->ptr);
        if (digit < 0) return false;
        in->ptr++;
        in->len--;
        bits |= (uint64_t)(digit & 31) << shift;
        if (digit & 32) continue;
        int64_t change = (int64_t)(bits >> 1);
        *value += bits & 1 ? -change : change;
        return *value >= 0 && *value <= INT32_MAX;
    }
    return false;
}

typedef struct Reader {
    Str in;
    uint32_t line;
    int64_t column, source, file_line, file_column, name;
    Spot last;
} Reader;

static bool segment_end(const Reader *r) {
    return r->in.len == 0 || *r->in.ptr == ',' || *r->in.ptr == ';';
}

static bool segment_read(Reader *r, const SourceMap *map, Spot *out) {
    if (!number_add(&r->in, &r->column)) return false;
    *out = (Spot){.line = r->line, .column = (uint32_t)r->column, .source = NO_SOURCE};
    if (segment_end(r)) return true;
    if (!number_add(&r->in, &r->source) || !number_add(&r->in, &r->file_line) ||
        !number_add(&r->in, &r->file_column))
        return false;
    if (!segment_end(r) && !number_add(&r->in, &r->name)) return false;
    if (r->source >= map->source_count) return false;  // (1)
    out->source = (uint32_t)r->source;
    out->file_line = (uint32_t)r->file_line;
    return segment_end(r);
}

// Columns are there to tell lines apart: a spot that leads where the last one does adds nothing.
static bool spot_add(Reader *r, SourceMap *map, const Spot *spot) {
    bool first = map->spots.len == 0 || r->last.line != spot->line;
    if (!first && spot->column < r->last.column) return false;  // (1)
    if (!first && r->last.source == spot->source && r->last.file_line == spot->file_line)
        return true;
    buf_put(&map->spots, spot, sizeof *spot);
    r->last = *spot;
    return true;
}

static Err mappings_read(SourceMap *map, Str mappings) {
    Reader r = {.in = mappings};
    while (r.in.len) {
        char c = *r.in.ptr;
        if (c == ';' || c == ',') {
            r.in.ptr++;
            r.in.len--;
            if (c == ';') r.column = 0;
            if (c == ';' && ++r.line == 0) return ERR_MALFORMED;
            continue;
        }
        Spot spot;
        if (!segment_read(&r, map, &spot) || !spot_add(&r, map, &spot)) return ERR_MALFORMED;
    }
    return buf_ok(&map->spots) ? OK : ERR_NOMEM;
}

// Names are relative to where the bundle lay. That is dist/, a directory below the project, and a file
// of the project is called as from there: src/index.ts.
static Str name_from_project(const char *name) {
    return str_from(strncmp(name, "../", 3) == 0 ? name + 3 : name);
}

static Err sources_read(SourceMap *map, const json_t *sources, const char *root) {
    size_t i;
    const json_t *source;
    json_array_foreach(sources, i, source) {
        const char *name = json_string_value(source);  // null: not known
        if (name) buf_put_str(&map->names, str_from(root));
        buf_put_str(&map->names, name ? name_from_project(name) : STR("<unknown>"));
        if (map->names.len > UINT32_MAX) return ERR_MALFORMED;
        buf_put_u32(&map->name_ends, (uint32_t)map->names.len);
        map->source_count++;
    }
    return buf_ok(&map->names) && buf_ok(&map->name_ends) ? OK : ERR_NOMEM;
}

static Err map_fill(SourceMap *map, const json_t *json) {
    Err err = OK;
    const json_t *sources = json_object_get(json, "sources");
    const json_t *mappings = json_object_get(json, "mappings");
    const char *root = json_string_value(json_object_get(json, "sourceRoot"));
    if (json_integer_value(json_object_get(json, "version")) != 3) return ERR_MALFORMED;
    if (!json_is_array(sources) || !json_is_string(mappings)) return ERR_MALFORMED;
    if ((err = sources_read(map, sources, root ? root : "")) != OK) return err;
    return mappings_read(map, (Str){json_string_value(mappings), json_string_length(mappings)});
}

Err sourcemap_read(Bytes text, SourceMap **out) {
    Err err = OK;
    SourceMap *map = MEM_NEW(SourceMap);
    if (!map) return ERR_NOMEM;
    json_t *json = json_loadb((const char *)text.ptr, text.len, 0, NULL);
    err = json ? map_fill(map, json) : ERR_MALFORMED;
    json_decref(json);
    if (err == OK)
        *out = map;
    else
        sourcemap_free(&map);
    return err;
}

Err sourcemap_decode(Str base64, SourceMap **out) {
    Buf json = {0};
    Err err = base64_read(base64, &json) ? sourcemap_read(buf_bytes(&json), out)
              : buf_ok(&json)            ? ERR_MALFORMED
                                         : ERR_NOMEM;
    buf_deinit(&json);
    return err;
}

void sourcemap_free(SourceMap **map) {
    if (!*map) return;
    buf_deinit(&(*map)->names);
    buf_deinit(&(*map)->name_ends);
    buf_deinit(&(*map)->spots);
    mem_free(*map);
    *map = NULL;
}

static Spot spot_at(const SourceMap *map, size_t i) {
    Spot spot;
    memcpy(&spot, map->spots.ptr + i * sizeof spot, sizeof spot);
    return spot;
}

static Str source_name(const SourceMap *map, uint32_t source) {
    const uint8_t *ends = map->name_ends.ptr;
    uint32_t begin = source ? load_u32(ends + (source - 1) * sizeof(uint32_t)) : 0;
    uint32_t end = load_u32(ends + source * sizeof(uint32_t));
    return (Str){(const char *)map->names.ptr + begin, end - begin};
}

bool sourcemap_lookup(const SourceMap *map,
                      uint32_t line,
                      uint32_t column,
                      Str *file,
                      uint32_t *file_line) {
    if (line == 0 || column == 0) return false;
    size_t low = 0, high = map->spots.len / sizeof(Spot);  // the first spot beyond the place
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        Spot spot = spot_at(map, mid);
        bool beyond = spot.line > line - 1 || (spot.line == line - 1 && spot.column > column - 1);
        if (beyond)
            high = mid;
        else
            low = mid + 1;
    }
    if (low == 0) return false;
    Spot spot = spot_at(map, low - 1);
    if (spot.line != line - 1 || spot.source == NO_SOURCE) return false;
    *file = source_name(map, spot.source);
    *file_line = spot.file_line + 1;
    return true;
}
