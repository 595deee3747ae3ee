// write.c: a query's answer as HTTP's JSON (spec §2.1; http-api-and-auth §8.8).
#include <inttypes.h>

#include "query/query.h"
#include "sats/json.h"

typedef struct Writer {
    const Query *query;
    Buf *out;
    bool any, too_large;
} Writer;

static const Type *column_type(const Query *q, uint32_t i) {
    if (q->projection == QPROJECT_COUNT) return type_simple(TYPE_U64);
    return q->table->columns[q->projected[i]].type;
}

static void write_schema(const Query *q, Buf *out) {
    buf_put_str(out, STR("{\"elements\":["));
    for (uint32_t i = 0; i < q->projected_count; i++) {
        if (i > 0) buf_put_u8(out, ',');
        buf_put_str(out, STR("{\"name\":{\"some\":"));
        json_write_string(out, q->column_names[i]);
        buf_put_str(out, STR("},\"algebraic_type\":"));
        json_write_type(out, column_type(q, i), false);
        buf_put_u8(out, '}');
    }
    buf_put_str(out, STR("]}"));
}

static Bytes column_value(const Query *q, Bytes row, uint32_t i) {
    if (q->projection == QPROJECT_COUNT) return row;
    return row_column(q->layout, row, q->projected[i]);
}

static bool write_row(void *ctx, Bytes row) {
    Writer *w = ctx;
    if (w->any) buf_put_u8(w->out, ',');
    w->any = true;
    buf_put_u8(w->out, '[');
    for (uint32_t i = 0; i < w->query->projected_count; i++) {
        if (i > 0) buf_put_u8(w->out, ',');
        Bytes value = column_value(w->query, row, i);
        json_write(w->out, column_type(w->query, i), value.ptr, JSON_UNTYPED);
    }
    buf_put_u8(w->out, ']');
    w->too_large = w->query->bytes_max && w->out->len > w->query->bytes_max;
    return buf_ok(w->out) && !w->too_large;
}

Err query_write_json(const Query *query,
                     const Snapshot *snapshot,
                     int64_t micros,
                     Buf *out,
                     Diag *diag) {
    Writer w = {.query = query, .out = out};
    buf_put_str(out, STR("{\"schema\":"));
    write_schema(query, out);
    buf_put_str(out, STR(",\"rows\":["));
    Err err = query_run(query, snapshot, write_row, &w);
    buf_printf(out,
               "],\"total_duration_micros\":%" PRId64
               ",\"stats\":{\"rows_inserted\":0,\"rows_deleted\":0,\"rows_updated\":0}}",
               micros);
    if (w.too_large) err = ERR_TOO_LARGE;
    if (!buf_ok(out)) err = ERR_NOMEM;
    return err == OK ? OK : diag_fail(diag, err, "%s", err_text(err));
}
