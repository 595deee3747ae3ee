// rows.c: the rows of a finished list, one at a time, and the list as v1.json shows it.
//
// A list is encoded once for all binary protocols (sats/rowlist.c). Only v1.json needs its rows again,
// so it takes them out of the same bytes.
#include "sats/json.h"
#include "wire/wire.h"

enum { HINT_FIXED = 0, HINT_OFFSETS = 1 };

WireRows wire_rows(Bytes list) {
    Reader r = reader_of(list);
    WireRows rows = {0};
    if (reader_u8(&r) == HINT_FIXED) {
        rows.row_bytes = reader_u16(&r);
        rows.data = reader_lp(&r);
        rows.count = rows.row_bytes ? (uint32_t)(rows.data.len / rows.row_bytes) : 0;
    } else {
        rows.count = reader_u32(&r);
        rows.offsets = reader_take(&r, (size_t)rows.count * 8).ptr;
        rows.data = reader_lp(&r);
    }
    ASSERT(reader_ok(&r));  // we made it
    return rows;
}

bool wire_rows_next(WireRows *rows, Bytes *row) {
    if (rows->at == rows->count) return false;
    uint32_t i = rows->at++;
    size_t from = (size_t)i * rows->row_bytes, to = from + rows->row_bytes;
    if (!rows->row_bytes) {
        from = load_u64(rows->offsets + (size_t)i * 8);
        to = i + 1 < rows->count ? load_u64(rows->offsets + (size_t)(i + 1) * 8) : rows->data.len;
    }
    ASSERT(from <= to && to <= rows->data.len);
    *row = BYTES(rows->data.ptr + from, to - from);
    return true;
}

void wire_put_rows(Buf *out, Bytes rows, const WireApart *apart, bool inserts) {
    void *of = !apart ? NULL : inserts ? apart->inserts : apart->deletes;
    if (!of) {
        buf_put_bytes(out, rows);
        return;
    }
    WireGap gap = {.at = out->len, .of = of};
    buf_put(apart->gaps, &gap, sizeof gap);
    if (!buf_ok(apart->gaps)) out->failed = true;
}

bool wire_rows_json_some(Buf *out,
                         WireRows *rows,
                         const WireRowType *type,
                         bool named,
                         uint32_t most) {
    Type shown = *type->row_type;
    shown.fields += type->hidden_columns;
    shown.field_count -= type->hidden_columns;
    Buf text = {0};
    Bytes row;
    if (rows->at == 0) buf_put_u8(out, '[');
    for (; most && wire_rows_next(rows, &row); most--) {
        if (rows->at > 1) buf_put_u8(out, ',');
        buf_clear(&text);
        json_write(&text, &shown, row.ptr, named ? JSON_ROW : JSON_UNTYPED);
        if (!buf_ok(&text)) out->failed = true;
        json_write_string(out, bytes_str(buf_bytes(&text)));
    }
    buf_deinit(&text);
    bool is_whole = rows->at == rows->count;
    if (is_whole) buf_put_u8(out, ']');
    return is_whole;
}

void wire_rows_json(Buf *out, Bytes list, const WireRowType *type, bool named) {
    WireRows rows = wire_rows(list);
    (void)wire_rows_json_some(out, &rows, type, named, UINT32_MAX);
}
