// data.c: inserts, updates, deletes, sequences: what the host answers to each.
#include "cases.h"

static void look_up(Case *it, const char *name, bool is_table) {
    uint32_t id = 0, len = (uint32_t)strlen(name);
    LcErrno err = is_table ? lc_abi_table_id_from_name(name, len, &id)
                           : lc_abi_index_id_from_name(name, len, &id);
    say_errno(it, lc_format("%s %s", is_table ? "table" : "index", name).ptr, err);
}

static void lookups(Case *it) {
    uint64_t count;
    uint32_t iter;
    static const uint8_t unbounded[] = {2};
    look_up(it, "pair", true);
    look_up(it, "no_such_table", true);
    look_up(it, "pair_b_idx_btree", false);
    look_up(it, "no_such_index", false);
    say_errno(it, "count of table 4000000000", lc_abi_datastore_table_row_count(NO_SUCH, &count));
    say_errno(it, "scan of table 4000000000", lc_abi_datastore_table_scan_bsatn(NO_SUCH, &iter));
    say_errno(it,
              "point scan of index 4000000000",
              lc_abi_datastore_index_scan_point_bsatn(NO_SUCH, "1234", 4, &iter));
    say_errno(it,
              "range scan of index 4000000000",
              lc_abi_datastore_index_scan_range_bsatn(NO_SUCH,
                                                      unbounded,
                                                      0,
                                                      0,
                                                      unbounded,
                                                      1,
                                                      unbounded,
                                                      1,
                                                      &iter));
}

static void inserts(Case *it) {
    pair_fill();
    Blob row = pair_row(7, "z", 0);
    say_errno(it, "(7,\"z\",0)", insert_raw("pair", &row));
    row = pair_row(6, "z", 5);
    say_errno(it, "(6,\"z\",5) again", insert_raw("pair", &row));
    say(it, "count: %d", (int)pair_count());
    row = pair_row(6, "z", 5);
    row.len = 2;
    say_errno(it, "2 bytes", insert_raw("pair", &row));
    row = pair_row(6, "z", 5);
    say_errno(it,
              "into table 4000000000",
              lc_abi_datastore_insert_bsatn(NO_SUCH, row.ptr, &row.len));
    say(it, "count: %d", (int)pair_count());
}

static Blob tick_row(uint64_t id, const char *text) {
    Blob row = blob(32 + strlen(text));
    put_i64(&row, (int64_t)id);
    put_u8(&row, 0);
    put_i64(&row, YEAR.micros);
    put_text(&row, text);
    return row;
}

// Inserts; *id is the number written back, or unchanged.
static void sequence_insert(Case *it, const char *what, uint64_t *id, const char *text) {
    Blob row = tick_row(*id, text);
    LcErrno err = insert_raw("tick", &row);
    if (err) {
        say_errno(it, what, err);
        return;
    }
    say(it, "%s: ok, written %u", what, (unsigned)row.len);
    if (row.len == 8) memcpy(id, row.ptr, 8);
}

static void sequences(Case *it) {
    uint64_t first = 0, second = 0, third = 0, fourth = 0, fifth = 0;
    tick_clear();
    sequence_insert(it, "first", &first, "a");
    sequence_insert(it, "second", &second, "b");
    say(it, "second minus first: %d", (int)(second - first));
    uint64_t given = first + 1000;
    sequence_insert(it, "id first plus 1000 given", &given, "c");
    Blob row = tick_row(0, "d");
    insert_raw("tick", &row);
    memcpy(&third, row.ptr, 8);
    say(it, "third minus second: %d", (int)(third - second));
    given = third + 1;
    sequence_insert(it, "id third plus 1 given", &given, "e");
    sequence_insert(it, "fourth", &fourth, "f");
    row = tick_row(0, "g");
    insert_raw("tick", &row);
    memcpy(&fifth, row.ptr, 8);
    say(it, "fifth minus third: %d", (int)(fifth - third));
    tick_clear();
}

static Blob counter_row(const char *name, int64_t value) {
    Blob row = blob(16 + strlen(name));
    put_text(&row, name);
    put_i64(&row, value);
    return row;
}

static void counter_must_insert(const char *name, int64_t value) {
    Error error = counter_insert(&(Counter){.name = lc_string(name), .value = value});
    if (error) lc_panic("counter: %s", error->message.ptr);
}

static void update(Case *it, const char *what, uint32_t table, const char *index, Blob row) {
    uint32_t id = index ? index_of(index) : NO_SUCH;
    LcErrno err = lc_abi_datastore_update_bsatn(table, id, row.ptr, &row.len);
    if (err)
        say_errno(it, what, err);
    else
        say(it, "%s: ok, written %u", what, (unsigned)row.len);
}

static void updates(Case *it) {
    static const char by_name[] = "counter_name_idx_btree";
    uint32_t counter = table_of("counter");
    counter_clear();
    counter_must_insert("a", 1);
    counter_must_insert("b", 2);
    update(it, "(\"a\",10)", counter, by_name, counter_row("a", 10));
    update(it, "(\"a\",10) again", counter, by_name, counter_row("a", 10));
    say(it, "value of a: %d", (int)counter_find_by_name(LC_STR("a"))->value);
    update(it, "(\"c\",3)", counter, by_name, counter_row("c", 3));
    Blob torn = counter_row("a", 1);
    torn.len = 2;
    update(it, "2 bytes", counter, by_name, torn);
    update(it, "in table 4000000000", NO_SUCH, by_name, counter_row("a", 1));
    update(it, "by index 4000000000", counter, NULL, counter_row("a", 1));
    update(it, "by the index of another table", counter, "pair_b_idx_btree", counter_row("a", 1));
    say(it, "count: %d", (int)counter_count());
}

static void update_conflicts(Case *it) {
    uint32_t pair = table_of("pair");
    pair_fill();
    update(it, "(6,\"z\",6) by a_b_c", pair, "pair_a_b_c_idx_btree", pair_row(6, "z", 6));
    update(it, "(9,\"z\",9) by b", pair, "pair_b_idx_btree", pair_row(9, "z", 9));
    Pair *z = pair_find_by_b(LC_STR("z"));
    if (!z) lc_panic("z is gone");
    Blob row = pair_row(z->a, z->b.ptr, z->c);
    say(it, "row of z: 1 %s", hex(row.ptr, row.len));
    say(it, "count: %d", (int)pair_count());
}

static void update_write_back(Case *it) {
    tick_clear();
    Tick row = {.at = lc_every(YEAR), .text = LC_STR("one")};
    Error error = tick_insert(&row);
    if (error || row.id == 0) lc_panic("no number was written back");
    update(it, "update", table_of("tick"), "tick_id_idx_btree", tick_row(row.id, "two"));
    say(it, "count: %d", (int)tick_count());
    say(it, "text: %s", tick_find_by_id(row.id)->text.ptr);
    tick_clear();
}

// ── deletes ────────────────────────────────────────────────────────────────────────────────────

static void deleted(Case *it, const char *what, LcErrno err, uint32_t count) {
    if (err)
        say_errno(it, what, err);
    else
        say(it, "%s: %u, left %d", what, (unsigned)count, (int)pair_count());
}

static void delete_point(Case *it, const char *what, const char *index, Blob key) {
    uint32_t count = 0;
    pair_fill();
    LcErrno err = lc_abi_datastore_delete_by_index_scan_point_bsatn(index_of(index),
                                                                    key.ptr,
                                                                    key.len,
                                                                    &count);
    deleted(it, what, err, count);
}

static void delete_range(Case *it,
                         const char *what,
                         const char *index,
                         Blob prefix,
                         uint32_t elems,
                         Blob from,
                         Blob to) {
    uint32_t count = 0;
    pair_fill();
    LcErrno err = lc_abi_datastore_delete_by_index_scan_range_bsatn(index_of(index),
                                                                    prefix.ptr,
                                                                    prefix.len,
                                                                    elems,
                                                                    from.ptr,
                                                                    from.len,
                                                                    to.ptr,
                                                                    to.len,
                                                                    &count);
    deleted(it, what, err, count);
}

static void delete_equal(Case *it, const char *what, uint32_t table, Blob relation) {
    uint32_t count = 0;
    pair_fill();
    LcErrno err =
        lc_abi_datastore_delete_all_by_eq_bsatn(table, relation.ptr, relation.len, &count);
    deleted(it, what, err, count);
}

static void clear(Case *it, const char *what, uint32_t table) {
    uint64_t count = 0;
    LcErrno err = lc_abi_datastore_clear(table, &count);
    deleted(it, what, err, (uint32_t)count);
}

static Blob text_key(const char *text) {
    Blob key = blob(8 + strlen(text));
    put_text(&key, text);
    return key;
}

static void deletes(Case *it) {
    static const char by_abc[] = "pair_a_b_c_idx_btree";
    Blob none = blob(1), unbounded = blob(1), three = blob(8), five = blob(4), relation = blob(64);
    put_u8(&unbounded, 2);
    put_i64(&three, 3);
    put_u32(&five, 5);
    Blob is_five = blob(8), after_v = blob(8), row;
    put_u8(&is_five, 0);
    put_u32(&is_five, 5);
    put_u8(&after_v, 1);
    put_text(&after_v, "v");
    delete_point(it, "point b = \"x\"", "pair_b_idx_btree", text_key("x"));
    delete_point(it, "point b = \"none\"", "pair_b_idx_btree", text_key("none"));
    delete_point(it, "point c = 3 by hash", "pair_c_idx_hash", three);
    delete_range(it, "range a = 5", by_abc, none, 0, is_five, is_five);
    delete_range(it, "range a = 5, b after \"v\"", by_abc, five, 1, after_v, unbounded);
    delete_range(it, "range of c by hash", "pair_c_idx_hash", none, 0, unbounded, unbounded);
    put_u32(&relation, 3);
    row = pair_row(4, "u", 1);
    put(&relation, row.ptr, row.len);
    row = pair_row(6, "z", 5);
    put(&relation, row.ptr, row.len);
    row = pair_row(0, "", 0);
    put(&relation, row.ptr, row.len);
    delete_equal(it, "equal to (4,\"u\",1), (6,\"z\",5), (0,\"\",0)", table_of("pair"), relation);
    delete_equal(it, "equal to 2 bytes", table_of("pair"), (Blob){relation.ptr, 2});
    delete_equal(it, "in table 4000000000", NO_SUCH, relation);
    pair_fill();
    clear(it, "clear", table_of("pair"));
    clear(it, "clear again", table_of("pair"));
    clear(it, "clear table 4000000000", NO_SUCH);
}

const CaseEntry data_cases[] = {
    {"lookups", lookups},
    {"inserts", inserts},
    {"sequences", sequences},
    {"updates", updates},
    {"update_conflicts", update_conflicts},
    {"update_write_back", update_write_back},
    {"deletes", deletes},
    {0},
};
