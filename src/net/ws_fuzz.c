// ws_fuzz.c: frames mean the same however their bytes are cut.
//
// The first byte chooses the size of the pieces. Each run writes down what it was handed; the two
// transcripts must be equal.
#include <stdlib.h>

#include "net/ws.h"

enum { MESSAGE_MAX = 300 };

static bool step_note(WsStep step, const WsEvent *event, Buf *notes) {
    buf_put_u8(notes, (uint8_t)step);
    if (step == WS_STEP_MESSAGE) {
        ASSERT(event->payload.len <= MESSAGE_MAX);
        ASSERT(!event->text || utf8_valid(event->payload));
        buf_put_u8(notes, event->text);
    }
    if (step == WS_STEP_MESSAGE || step == WS_STEP_PING) buf_put_lp(notes, event->payload);
    if (step == WS_STEP_CLOSE || step == WS_STEP_FAILED) buf_put_u16(notes, event->code);
    if (step == WS_STEP_CLOSE) ASSERT(event->code == 0 || ws_code_is_legal(event->code));
    return step != WS_STEP_CLOSE && step != WS_STEP_FAILED;
}

static Buf run(const uint8_t *data, size_t size, size_t piece) {
    WsReader reader = {.message_bytes_max = MESSAGE_MAX};
    Buf notes = {0};
    uint8_t *bytes = NULL;
    size_t len = 0, at = 0;
    bool going = true;
    while (going && at < size) {
        size_t take = MIN(piece, size - at);
        uint8_t *grown = malloc(len + take);
        ASSERT(grown);
        if (len) memcpy(grown, bytes, len);
        memcpy(grown + len, data + at, take);
        free(bytes);
        bytes = grown;
        len += take;
        at += take;
        size_t done = 0;
        while (going) {
            WsEvent event = {0};
            size_t used;
            WsStep step = ws_read_frame(&reader, bytes + done, len - done, &used, &event);
            ASSERT(used <= len - done);
            if (step == WS_STEP_MORE) break;
            going = step_note(step, &event, &notes);
            done += used;
        }
        memmove(bytes, bytes + done, len - done);
        len -= done;
    }
    free(bytes);
    ws_reader_deinit(&reader);
    return notes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    Buf whole = run(data + 1, size - 1, size);
    Buf pieces = run(data + 1, size - 1, (size_t)data[0] + 1);
    ASSERT(bytes_eq(buf_bytes(&whole), buf_bytes(&pieces)));
    buf_deinit(&whole);
    buf_deinit(&pieces);
    return 0;
}
