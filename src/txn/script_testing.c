#include "txn/script_testing.h"

#include "txn/def_testing.h"

static uint8_t take(Script *script) {
    return script_done(script) ? 0 : *script->at++;
}

static uint32_t below(Script *script, uint32_t n) {
    return take(script) % n;
}

static uint32_t number(Script *script) {
    return take(script) & 15;
}

static uint32_t id_of(Script *script) {
    return number(script) + script->no_sequences;
}

// ── rows and keys ──────────────────────────────────────────────────────────────────────────────

static const char *text_of(Script *script) {
    static char long_text[3000];
    if (!long_text[0]) memset(long_text, 'y', sizeof long_text - 1);
    static const char *const texts[] = {"", "a", "ab", long_text};
    return texts[below(script, 4)];
}

static void row_of(Script *script, int table, Buf *row) {
    if (take(script) >= 250) {  // not a row at all
        buf_put_u8(row, take(script));
        return;
    }
    switch (table) {
    case TEST_ITEM: {
        uint32_t id = id_of(script), v = number(script), code = number(script);
        testdef_item(row, id, text_of(script), v, code);
        return;
    }
    case TEST_NOTE: testdef_note(row, text_of(script), number(script)); return;
    case TEST_TICK:
        buf_put_u8(row, (uint8_t)number(script));
        buf_put_u64(row, number(script));
        return;
    case TEST_PAIR:
        buf_put_u32(row, number(script));
        buf_put_u32(row, number(script));
        return;
    default:
        buf_put_u64(row, id_of(script));
        buf_put_u8(row, number(script) & 1);
        buf_put_u64(row, take(script) > 240 ? UINT64_MAX / 2 - 1 : number(script));
    }
}

typedef struct IndexShape {
    const char *name;
    int table, columns, width;  // bytes of each column
} IndexShape;

static const IndexShape index_shapes[] = {
    {"item_id_idx_btree", TEST_ITEM, 1, 8},
    {"item_v_idx_btree", TEST_ITEM, 1, 4},
    {"item_code_idx_btree", TEST_ITEM, 1, 4},
    {"pair_a_b_idx_btree", TEST_PAIR, 2, 4},
    {"pair_b_idx_btree", TEST_PAIR, 1, 4},
    {"timer_id_idx_btree", TEST_TIMER, 1, 8},
};

static void value_of(Script *script, const IndexShape *shape, Buf *out) {
    buf_put_u32(out, number(script));
    if (shape->width == 8) buf_put_u32(out, 0);
}

static void bound_of(Script *script, const IndexShape *shape, Buf *out) {
    uint8_t kind = (uint8_t)below(script, 3);
    buf_put_u8(out, kind);
    if (kind < 2) value_of(script, shape, out);
}

typedef struct RangeOf {
    Buf prefix, lower, upper;
    AccessRange range;
} RangeOf;

static void range_of(Script *script, const IndexShape *shape, RangeOf *out) {
    *out = (RangeOf){0};
    uint32_t elems = below(script, (uint32_t)shape->columns + (take(script) > 250));
    for (uint32_t i = 0; i < elems; i++)
        value_of(script, shape, &out->prefix);
    bound_of(script, shape, &out->lower);
    if (take(script) % 4) {
        bound_of(script, shape, &out->upper);
    } else {
        buf_put_bytes(&out->upper, buf_bytes(&out->lower));
    }
    out->range = (AccessRange){.prefix = buf_bytes(&out->prefix),
                               .prefix_elems = elems,
                               .lower = buf_bytes(&out->lower),
                               .upper = buf_bytes(&out->upper)};
}

static void range_free(RangeOf *range) {
    buf_deinit(&range->prefix);
    buf_deinit(&range->lower);
    buf_deinit(&range->upper);
}

// ── calls ──────────────────────────────────────────────────────────────────────────────────────

typedef struct Call {
    Script *script;
    const Db *db;
    Access *access;
    Buf *record;
} Call;

static bool record_row(void *ctx, Bytes row) {
    buf_put_lp(ctx, row);
    return buf_ok(ctx);
}

static AbiErrno call_read(Call *call, uint32_t which) {
    const AccessOps *ops = call->access->ops;
    RowSink sink = {record_row, call->record};
    const IndexShape *shape = &index_shapes[below(call->script, ARRAY_LEN(index_shapes))];
    int table = (int)below(call->script, TEST_TABLES);
    uint32_t table_id = testdef_table(call->db, table)->table_id;
    uint32_t index_id = testdef_index(call->db, shape->name);
    switch (which) {
    case 0: {
        uint64_t count = 0;
        AbiErrno status = ops->row_count(call->access, table_id, &count);
        buf_put_u64(call->record, count);
        return status;
    }
    case 1: return ops->scan_table(call->access, table_id, sink);
    case 2: {
        Buf point = {0};
        for (int i = 0; i < shape->columns; i++)
            value_of(call->script, shape, &point);
        if (take(call->script) > 250) buf_put_u8(&point, 1);
        AbiErrno status = ops->scan_point(call->access, index_id, buf_bytes(&point), sink);
        buf_deinit(&point);
        return status;
    }
    case 3: {
        RangeOf range;
        range_of(call->script, shape, &range);
        AbiErrno status = ops->scan_range(call->access, index_id, &range.range, sink);
        range_free(&range);
        return status;
    }
    default: {
        ConnectionId connection = {{take(call->script)}};
        Bytes jwt = BYTES_NONE;
        uint32_t id = 0;
        AbiErrno status = ops->table_id(call->access, STR("pair"), &id);
        buf_put_u32(call->record, id);
        if (status == ABI_OK) status = ops->index_id(call->access, STR("nothing"), &id);
        buf_put_u32(call->record, (uint32_t)status);
        status = ops->jwt(call->access, &connection, &jwt);
        buf_put_lp(call->record, jwt);
        return status;
    }
    }
}

static AbiErrno call_insert(Call *call) {
    Buf row = {0}, generated = {0};
    int table = (int)below(call->script, TEST_TABLES);
    row_of(call->script, table, &row);
    uint32_t id = take(call->script) > 250 ? 99 : testdef_table(call->db, table)->table_id;
    AbiErrno status = call->access->ops->insert(call->access, id, buf_bytes(&row), &generated);
    buf_put_lp(call->record, buf_bytes(&generated));
    buf_deinit(&row);
    buf_deinit(&generated);
    return status;
}

static AbiErrno call_update(Call *call) {
    Buf row = {0}, generated = {0};
    const IndexShape *shape = &index_shapes[below(call->script, ARRAY_LEN(index_shapes))];
    int table = take(call->script) > 250 ? TEST_NOTE : shape->table;
    row_of(call->script, table, &row);
    AbiErrno status = call->access->ops->update(call->access,
                                                testdef_table(call->db, table)->table_id,
                                                testdef_index(call->db, shape->name),
                                                buf_bytes(&row),
                                                &generated);
    buf_put_lp(call->record, buf_bytes(&generated));
    buf_deinit(&row);
    buf_deinit(&generated);
    return status;
}

static AbiErrno call_delete(Call *call, bool by_range) {
    const IndexShape *shape = &index_shapes[below(call->script, ARRAY_LEN(index_shapes))];
    uint32_t index_id = testdef_index(call->db, shape->name), deleted = 0;
    RangeOf range = {0};
    AbiErrno status;
    if (by_range) {
        range_of(call->script, shape, &range);
        status = call->access->ops->delete_range(call->access, index_id, &range.range, &deleted);
    } else {
        for (int i = 0; i < shape->columns; i++)
            value_of(call->script, shape, &range.lower);
        status = call->access->ops->delete_point(call->access,
                                                 index_id,
                                                 buf_bytes(&range.lower),
                                                 &deleted);
    }
    range_free(&range);
    buf_put_u32(call->record, deleted);
    return status;
}

static AbiErrno call_delete_all(Call *call) {
    Buf relation = {0};
    int table = (int)below(call->script, TEST_TABLES);
    uint32_t count = below(call->script, 4), deleted = 0;
    buf_put_u32(&relation, count);
    for (uint32_t i = 0; i < count; i++)
        row_of(call->script, table, &relation);
    AbiErrno status = call->access->ops->delete_all_by_eq(call->access,
                                                          testdef_table(call->db, table)->table_id,
                                                          buf_bytes(&relation),
                                                          &deleted);
    buf_deinit(&relation);
    buf_put_u32(call->record, deleted);
    return status;
}

static AbiErrno call_clear(Call *call) {
    uint64_t deleted = 0;
    int table = (int)below(call->script, TEST_TABLES);
    AbiErrno status =
        call->access->ops->clear(call->access, testdef_table(call->db, table)->table_id, &deleted);
    buf_put_u64(call->record, deleted);
    return status;
}

bool script_step(Script *script, const Db *db, Access *access, Buf *record) {
    Call call = {script, db, access, record};
    AbiErrno status;
    uint8_t op = take(script) % 32;
    switch (op) {
    case 0 ... 9: status = call_insert(&call); break;
    case 10 ... 14: status = call_update(&call); break;
    case 15 ... 17: status = call_delete(&call, false); break;
    case 18: status = call_delete(&call, true); break;
    case 19 ... 20: status = call_delete_all(&call); break;
    case 21: status = take(script) % 4 ? ABI_OK : call_clear(&call); break;
    default: status = call_read(&call, op % 5); break;
    }
    buf_put_u32(record, (uint32_t)status);
    return status != ABI_FATAL;
}

void script_dump(const Db *db, Buf *out) {
    const Catalog *catalog = db_catalog(db);
    for (uint32_t i = 0; i < catalog_table_count(catalog); i++) {
        const CatalogTable *table = catalog_table_at(catalog, i);
        if (!table->table || table->table_id == ST_SEQUENCE) continue;
        TableScan scan;
        Bytes row;
        buf_put_u32(out, table->table_id);
        table_scan_begin(&scan, table->table, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
        while (table_scan_next(&scan, &row))
            buf_put_lp(out, row);
        table_scan_end(&scan);
    }
}
