// write.c: a statement's answer as HTTP's JSON (spec §2.1; http-api-and-auth §8.8).
#include <inttypes.h>

#include "query/statement_private.h"
#include "sats/json.h"

typedef struct Writer {
    const Statement *statement;
    Buf *out;
    bool any, too_large;
} Writer;

static void write_schema(const Statement *s, Buf *out) {
    buf_put_str(out, STR("{\"elements\":["));
    for (uint32_t i = 0; i < s->column_count; i++) {
        if (i > 0) buf_put_u8(out, ',');
        buf_put_str(out, STR("{\"name\":{\"some\":"));
        json_write_string(out, s->columns[i].name);
        buf_put_str(out, STR("},\"algebraic_type\":"));
        json_write_type(out, s->columns[i].type, false);
        buf_put_u8(out, '}');
    }
    buf_put_str(out, STR("]}"));
}

static bool write_row(void *ctx, Bytes row) {
    Writer *w = ctx;
    const uint8_t *at = row.ptr;
    if (w->any) buf_put_u8(w->out, ',');
    w->any = true;
    buf_put_u8(w->out, '[');
    for (uint32_t i = 0; i < w->statement->column_count; i++) {
        const Type *type = w->statement->columns[i].type;
        if (i > 0) buf_put_u8(w->out, ',');
        json_write(w->out, type, at, JSON_UNTYPED);
        at += bsatn_len(type, at);
    }
    buf_put_u8(w->out, ']');
    w->too_large = w->statement->bytes_max && w->out->len > w->statement->bytes_max;
    return buf_ok(w->out) && !w->too_large;
}

static void write_end(const StatementStats *done, int64_t micros, Buf *out) {
    buf_printf(out,
               "],\"total_duration_micros\":%" PRId64 ",\"stats\":{\"rows_inserted\":%" PRIu64
               ",\"rows_deleted\":%" PRIu64 ",\"rows_updated\":%" PRIu64 "}}",
               micros,
               done->inserted,
               done->deleted,
               done->updated);
}

void statement_write_stats(const StatementStats *stats, int64_t micros, Buf *out) {
    buf_put_str(out, STR("{\"schema\":{\"elements\":[]},\"rows\":["));
    write_end(stats, micros, out);
}

Err statement_write_json(const Statement *s,
                         const Snapshot *snapshot,
                         const StatementStats *stats,
                         int64_t micros,
                         Buf *out,
                         Diag *diag) {
    Writer w = {.statement = s, .out = out};
    StatementStats none = {0}, done = stats ? *stats : none;
    Err err = OK;
    diag_clear(diag);
    buf_put_str(out, STR("{\"schema\":"));
    write_schema(s, out);
    buf_put_str(out, STR(",\"rows\":["));
    if (!statement_writes(s)) err = statement_run(s, snapshot, write_row, &w, diag);
    write_end(&done, micros, out);
    if (w.too_large) err = ERR_TOO_LARGE;
    if (!buf_ok(out)) err = ERR_NOMEM;
    if (err == OK || diag->text[0]) return err;
    return diag_fail(diag, err, "%s", err_text(err));
}
