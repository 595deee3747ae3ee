// scans.c: every form of a scan, and iterators to their end and beyond.
#include "cases.h"

enum { PAIR_BYTES = 17 };  // of each row of `pair, filled`

static void say_rows(Case *it, const char *what, uint32_t iter) {
    Blob rows;
    LcErrno err = drain(iter, &rows);
    if (err) {
        say_errno(it, what, err);
        return;
    }
    String text = lc_format("%s: %u", what, (unsigned)(rows.len / PAIR_BYTES));
    for (uint32_t at = 0; at < rows.len; at += PAIR_BYTES)
        text = lc_format("%s %s", text.ptr, hex(rows.ptr + at, PAIR_BYTES));
    say(it, "%s", text.ptr);
}

// ── points ─────────────────────────────────────────────────────────────────────────────────────

static LcErrno point(const char *index, Blob key, uint32_t *iter) {
    return lc_abi_datastore_index_scan_point_bsatn(index_of(index), key.ptr, key.len, iter);
}

static void say_point(Case *it, const char *what, const char *index, Blob key) {
    uint32_t iter = 0;
    LcErrno err = point(index, key, &iter);
    if (err)
        say_errno(it, what, err);
    else
        say_rows(it, what, iter);
}

static Blob text_key(const char *text) {
    Blob key = blob(8 + strlen(text));
    put_text(&key, text);
    return key;
}

static void scans_point(Case *it) {
    Blob three = blob(8), rows;
    uint32_t iter = 0;
    pair_fill();
    say_point(it, "b = \"x\"", "pair_b_idx_btree", text_key("x"));
    say_point(it, "b = \"none\"", "pair_b_idx_btree", text_key("none"));
    Blob key = pair_row(5, "x", 3);
    say_point(it, "a, b, c = 5, \"x\", 3", "pair_a_b_c_idx_btree", key);
    put_i64(&three, 3);
    if (point("pair_c_idx_hash", three, &iter) || drain(iter, &rows)) lc_panic("no hash");
    say(it, "c = 3 by hash: %u", (unsigned)(rows.len / PAIR_BYTES));
    say_point(it, "key too short", "pair_a_b_c_idx_btree", (Blob){key.ptr, key.len - 1});
    put_u8(&key, 0);
    say_point(it, "key too long", "pair_a_b_c_idx_btree", key);
}

// ── ranges ─────────────────────────────────────────────────────────────────────────────────────

enum { INCLUDED, EXCLUDED, UNBOUNDED };

static Blob bound_u32(int kind, uint32_t value) {
    Blob out = blob(8);
    put_u8(&out, (uint8_t)kind);
    if (kind != UNBOUNDED) put_u32(&out, value);
    return out;
}
static Blob bound_text(int kind, const char *value) {
    Blob out = blob(16);
    put_u8(&out, (uint8_t)kind);
    if (kind != UNBOUNDED) put_text(&out, value);
    return out;
}
static Blob bound_i64(int kind, int64_t value) {
    Blob out = blob(16);
    put_u8(&out, (uint8_t)kind);
    if (kind != UNBOUNDED) put_i64(&out, value);
    return out;
}

static void range_of(Case *it,
                     const char *what,
                     const char *index,
                     Blob prefix,
                     uint32_t elems,
                     Blob from,
                     Blob to) {
    uint32_t iter = 0;
    LcErrno err = lc_abi_datastore_index_scan_range_bsatn(index_of(index),
                                                          prefix.ptr,
                                                          prefix.len,
                                                          elems,
                                                          from.ptr,
                                                          from.len,
                                                          to.ptr,
                                                          to.len,
                                                          &iter);
    if (err)
        say_errno(it, what, err);
    else
        say_rows(it, what, iter);
}

static void range(Case *it, const char *what, Blob prefix, uint32_t elems, Blob from, Blob to) {
    range_of(it, what, "pair_a_b_c_idx_btree", prefix, elems, from, to);
}

static void ranges_of_a(Case *it) {
    Blob none = blob(1), any = bound_u32(UNBOUNDED, 0);
    range(it, "| unbounded | unbounded", none, 0, any, any);
    range(it, "| from 5 | unbounded", none, 0, bound_u32(INCLUDED, 5), any);
    range(it, "| after 5 | unbounded", none, 0, bound_u32(EXCLUDED, 5), any);
    range(it, "| unbounded | to 5", none, 0, any, bound_u32(INCLUDED, 5));
    range(it, "| unbounded | before 5", none, 0, any, bound_u32(EXCLUDED, 5));
    range(it, "| from 5 | to 5", none, 0, bound_u32(INCLUDED, 5), bound_u32(INCLUDED, 5));
    range(it, "| after 4 | before 6", none, 0, bound_u32(EXCLUDED, 4), bound_u32(EXCLUDED, 6));
    range(it, "| from 6 | to 4", none, 0, bound_u32(INCLUDED, 6), bound_u32(INCLUDED, 4));
    range(it, "| after 5 | to 5", none, 0, bound_u32(EXCLUDED, 5), bound_u32(INCLUDED, 5));
}

static void ranges_of_b(Case *it) {
    Blob five = blob(4), any = bound_text(UNBOUNDED, "");
    put_u32(&five, 5);
    range(it, "5 | unbounded | unbounded", five, 1, any, any);
    range(it, "5 | from \"x\" | unbounded", five, 1, bound_text(INCLUDED, "x"), any);
    range(it, "5 | after \"x\" | unbounded", five, 1, bound_text(EXCLUDED, "x"), any);
    range(it, "5 | unbounded | before \"x\"", five, 1, any, bound_text(EXCLUDED, "x"));
    range(it, "5 | unbounded | to \"x\"", five, 1, any, bound_text(INCLUDED, "x"));
    range(it,
          "5 | from \"x\" | to \"x\"",
          five,
          1,
          bound_text(INCLUDED, "x"),
          bound_text(INCLUDED, "x"));
}

static void ranges_of_c(Case *it) {
    Blob prefix = blob(32), any = bound_i64(UNBOUNDED, 0);
    put_u32(&prefix, 5);
    put_text(&prefix, "x");
    range(it, "5, \"x\" | unbounded | unbounded", prefix, 2, any, any);
    range(it,
          "5, \"x\" | from 3 | to 3",
          prefix,
          2,
          bound_i64(INCLUDED, 3),
          bound_i64(INCLUDED, 3));
    range(it, "5, \"x\" | after 3 | unbounded", prefix, 2, bound_i64(EXCLUDED, 3), any);
    put_i64(&prefix, 3);
    range(it, "5, \"x\", 3 | unbounded | unbounded", prefix, 3, any, any);
}

static void scans_range(Case *it) {
    Blob none = blob(1), five = blob(4), any = bound_u32(UNBOUNDED, 0);
    pair_fill();
    ranges_of_a(it);
    ranges_of_b(it);
    ranges_of_c(it);
    put_u32(&five, 5);
    Blob torn = bound_text(INCLUDED, "x");
    torn.len = 3;
    range(it, "5 | too short | unbounded", five, 1, torn, any);
    range_of(it,
             "c from 1 to 5 by hash",
             "pair_c_idx_hash",
             none,
             0,
             bound_i64(INCLUDED, 1),
             bound_i64(INCLUDED, 5));
    range_of(it, "b, 1 prefix", "pair_b_idx_btree", text_key("x"), 1, any, any);
}

// ── iterators ──────────────────────────────────────────────────────────────────────────────────

static uint32_t scan_pair(void) {
    uint32_t iter = 0;
    if (lc_abi_datastore_table_scan_bsatn(table_of("pair"), &iter)) lc_panic("pair has no scan");
    return iter;
}

static void advance(Case *it, const char *what, uint32_t iter, uint32_t room) {
    uint8_t *out = lc_alloc(room);
    uint32_t len = room;
    int32_t status = lc_abi_row_iter_bsatn_advance(iter, out, &len);
    if (status == LC_ERRNO_BUFFER_TOO_SMALL)
        say(it, "%s: too small, needs %u", what, (unsigned)len);
    else if (status > 0)
        say_errno(it, what, (LcErrno)status);
    else
        say(it, "%s: %u%s", what, (unsigned)len, status < 0 ? ", at the end" : "");
}

static void iterators(Case *it) {
    pair_fill();
    uint32_t iter = scan_pair();
    advance(it, "1 byte", iter, 1);
    advance(it, "85 bytes", iter, 85);
    advance(it, "again", iter, 85);
    say_errno(it, "close", lc_abi_row_iter_bsatn_close(iter));
    say_errno(it, "close of handle 4000000000", lc_abi_row_iter_bsatn_close(NO_SUCH));
    advance(it, "advance of handle 4000000000", NO_SUCH, 85);
    pair_clear();
    advance(it, "empty", scan_pair(), 85);
    pair_fill();
    iter = scan_pair();
    lc_abi_row_iter_bsatn_close(iter);
    advance(it, "closed early, advance", iter, 85);
}

static void chunks(Case *it) {
    enum { ROWS = 5000 };
    pair_clear();
    for (int i = 0; i < ROWS; i++) {
        Pair row = {.a = (uint32_t)i, .b = lc_format("%d", i), .c = i};
        if (pair_insert(&row)) lc_panic("row %d", i);
    }
    int rows = 0, gone = 0;
    int64_t sum = 0;
    for (PairScan each = pair_scan(); pair_next(&each);) {
        rows++;
        sum += each.row->c;
        gone += pair_delete_by_b(each.row->b);
    }
    say(it, "rows: %d", rows);
    say(it, "sum of c: %lld", (long long)sum);
    say(it, "deleted: %d", gone);
    say(it, "left: %d", (int)pair_count());
}

static int rows_left(PairScan scan) {
    int count = 0;
    while (pair_next(&scan))
        count++;
    return count;
}

static void own_writes(Case *it) {
    pair_fill();
    PairScan before = pair_scan();
    Pair added = {.a = 1, .b = LC_STR("n"), .c = 1}, middle = {.a = 5, .b = LC_STR("x"), .c = 3};
    if (pair_insert(&added)) lc_panic("n");
    say(it, "scan began, (1,\"n\",1) inserted, rows of the scan: %d", rows_left(before));
    say(it, "rows now: %d", rows_left(pair_scan()));
    pair_delete(&middle);
    say(it, "(5,\"x\",3) deleted, rows now: %d", rows_left(pair_scan()));
    if (pair_insert(&middle)) lc_panic("x");
    say(it, "(5,\"x\",3) inserted, rows now: %d", rows_left(pair_scan()));
}

const CaseEntry scan_cases[] = {
    {"scans_point", scans_point},
    {"scans_range", scans_range},
    {"iterators", iterators},
    {"chunks", chunks},
    {"own_writes", own_writes},
    {0},
};
