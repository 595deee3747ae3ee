// Random bytes as a stream of v3 client messages: never a read outside the input, every text that
// a decoded message shows is inside it, and a refusal says why.
#include "wire/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void inside(Bytes whole, Bytes part) {
    if (part.len == 0) return;
    ASSERT(part.ptr >= whole.ptr && part.ptr + part.len <= whole.ptr + whole.len);
}

static void queries_inside(Bytes whole, Bytes queries, uint32_t expected) {
    Str query;
    uint32_t count = 0;
    for (; wire_next_query(&queries, &query); count++) {
        inside(whole, str_bytes(query));
        ASSERT(query.len == 0 || utf8_valid(str_bytes(query)));
    }
    ASSERT(count == expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Bytes whole = {data, size}, in = whole;
    while (in.len > 0) {
        ClientMessage message;
        Diag diag;
        diag_clear(&diag);
        size_t before = in.len;
        if (wire_decode_ours(&in, &message, &diag) != OK) {
            ASSERT(diag.text[0] != 0 && in.len == before);
            return 0;
        }
        ASSERT(in.len < before);
        inside(whole, str_bytes(message.text));
        inside(whole, message.args);
        Bytes sets = message.sets;
        WireSet set;
        uint32_t set_count = 0;
        for (; wire_next_set(&sets, &set); set_count++) {
            queries_inside(whole, set.queries, set.query_count);
        }
        ASSERT(set_count == message.set_count);
        ASSERT(message.text.len == 0 || utf8_valid(str_bytes(message.text)));
        queries_inside(whole, message.queries, message.query_count);
    }
    return 0;
}
