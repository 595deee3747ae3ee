// codec.c: which protocol says things how. The messages of v2 and v3 are those of wire.c.
#include "wire/v1.h"

static void v2_subscribed(Buf *out,
                          const WireAsk *ask,
                          int64_t us,
                          const WireTableRows *tables,
                          uint32_t count) {
    (void)us;
    wire_subscribe_applied(out, ask->request, ask->query_set, tables, count);
}

static void v2_unsubscribed(Buf *out,
                            const WireAsk *ask,
                            int64_t us,
                            bool has_rows,
                            const WireTableRows *tables,
                            uint32_t count) {
    (void)us;
    wire_unsubscribe_applied(out, ask->request, ask->query_set, has_rows, tables, count);
}

static void v2_refused(Buf *out, const WireAsk *ask, int64_t us, Str error) {
    (void)us;
    wire_subscription_error(out, &ask->request, ask->query_set, error);
}

static void v2_ended(Buf *out, uint32_t query_set, Str error) {
    wire_subscription_error(out, NULL, query_set, error);
}

static void v2_rows(Buf *out, const WireAsk *ask, int64_t us, const WireTableRows *table) {
    (void)us;
    wire_one_off_result(out, ask->request, table);
}

static void v2_no_rows(Buf *out, const WireAsk *ask, int64_t us, Str error) {
    (void)us;
    wire_one_off_error(out, ask->request, error);
}

static void v2_update(Buf *out,
                      const WireCall *call,
                      bool full,
                      const WireTableUpdate *updates,
                      uint32_t count) {
    (void)call;
    (void)full;
    wire_transaction_update(out, updates, count);
}

static void v2_called(Buf *out,
                      const WireCall *call,
                      const WireTableUpdate *updates,
                      uint32_t count) {
    wire_reducer_ok(out, call->request, call->timestamp, updates, count);
}

static void v2_failed(Buf *out, const WireCall *call, bool by_reducer, Str error) {
    if (by_reducer) {
        wire_reducer_err(out, call->request, call->timestamp, error);
    } else {
        wire_reducer_internal_error(out, call->request, call->timestamp, error);
    }
}

static void v2_returned(Buf *out,
                        uint32_t request,
                        Micros timestamp,
                        int64_t us,
                        const Type *type,
                        Bytes value) {
    (void)type;
    wire_procedure_returned(out, request, timestamp, us, value);
}

static const WireCodec v2_codec = {
    .connected = wire_initial_connection,
    .subscribed = v2_subscribed,
    .unsubscribed = v2_unsubscribed,
    .refused = v2_refused,
    .ended = v2_ended,
    .rows = v2_rows,
    .no_rows = v2_no_rows,
    .update = v2_update,
    .called = v2_called,
    .failed = v2_failed,
    .returned = v2_returned,
    .not_returned = wire_procedure_internal_error,
};

const WireCodec *wire_codec(WireProtocol protocol) {
    switch (protocol) {
    case WIRE_NONE: return NULL;
    case WIRE_V1_JSON: return &v1_json_codec;
    case WIRE_V1_BSATN: return &v1_codec;
    case WIRE_V2:
    case WIRE_V3: return &v2_codec;
    }
    UNREACHABLE();
}

Str wire_protocol_name(WireProtocol protocol) {
    switch (protocol) {
    case WIRE_NONE: break;
    case WIRE_V1_JSON: return STR("v1.json.spacetimedb");
    case WIRE_V1_BSATN: return STR("v1.bsatn.spacetimedb");
    case WIRE_V2: return STR("v2.bsatn.spacetimedb");
    case WIRE_V3: return STR("v3.bsatn.spacetimedb");
    }
    UNREACHABLE();
}
