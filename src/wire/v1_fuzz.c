// Random bytes as a client message of v1, once as a binary frame and once as text: never a read outside
// the input, everything a decoded message shows is inside what it was decoded from, and a refusal says why.
// What was read from JSON is a binary message too, and reads alike.
#include "wire/v1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(Bytes whole, Bytes part) {
    if (part.len == 0) return;
    ASSERT(part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void check(Bytes whole, const ClientMessage *m) {
    inside(whole, str_bytes(m->text));
    inside(whole, m->args);
    inside(whole, m->message_id);
    ASSERT(m->text.len == 0 || utf8_valid(str_bytes(m->text)));
    Bytes queries = m->queries;
    Str query;
    uint32_t count = 0;
    for (; wire_next_query(&queries, &query); count++) {
        inside(whole, str_bytes(query));
        ASSERT(query.len == 0 || utf8_valid(str_bytes(query)));
    }
    ASSERT(count == m->query_count);
    ASSERT(m->set_kind != WIRE_SET_SINGLE || m->kind != CLIENT_SUBSCRIBE || count == 1);
}

static void same(const ClientMessage *a, const ClientMessage *b) {
    ASSERT(a->kind == b->kind && a->set_kind == b->set_kind && a->is_quiet == b->is_quiet);
    ASSERT(a->request_id == b->request_id && a->query_set == b->query_set);
    ASSERT(str_eq(a->text, b->text) && bytes_eq(a->args, b->args));
    ASSERT(bytes_eq(a->queries, b->queries) && bytes_eq(a->message_id, b->message_id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Bytes whole = {data, size};
    ClientMessage m, again;
    Buf scratch = {0};
    Diag diag;
    diag_clear(&diag);
    if (wire_decode_v1(whole, false, &scratch, &m, &diag) == OK) {
        check(whole, &m);
    } else {
        ASSERT(diag.text[0] != 0);
    }
    diag_clear(&diag);
    if (wire_decode_v1(whole, true, &scratch, &m, &diag) == OK) {
        check(buf_bytes(&scratch), &m);
        ASSERT(v1_decode(buf_bytes(&scratch), true, &again, NULL) == OK);
        same(&m, &again);
    } else {
        ASSERT(diag.text[0] != 0);
    }
    buf_deinit(&scratch);
    return 0;
}
