// lane_guard.c: an Access that can be shut while a worker holds it.
//
// Every operation holds the guard's lock, so once lane_guard_shut has the lock, nothing is in
// progress and nothing begins any more: what is behind the guard may be changed or freed. A scan
// looks at each row whether it should stop, so shutting does not wait for a large table.
#include "node/lane_private.h"

static const AccessOps guard_ops;

void lane_guard_init(LaneGuard *guard) {
    guard->access.ops = &guard_ops;
    pthread_mutex_init(&guard->mutex, NULL);
}

void lane_guard_deinit(LaneGuard *guard) {
    buf_deinit(&guard->jwt);
    pthread_mutex_destroy(&guard->mutex);
}

void lane_guard_open(LaneCall *call, Access *inner) {
    pthread_mutex_lock(&call->guard.mutex);
    atomic_store(&call->guard.shutting, false);
    call->guard.inner = inner;
    pthread_mutex_unlock(&call->guard.mutex);
}

void lane_guard_shut(LaneCall *call) {
    atomic_store(&call->guard.shutting, true);
    worker_job_lock(&call->job, &call->guard.mutex);
    call->guard.inner = NULL;
    pthread_mutex_unlock(&call->guard.mutex);
}

// One operation under the guard's lock; ABI_FATAL when it is shut.
#define GUARDED(access_, call_)                                  \
    LaneGuard *guard = CONTAINER_OF(access_, LaneGuard, access); \
    pthread_mutex_lock(&guard->mutex);                           \
    Access *inner = guard->inner;                                \
    AbiErrno result = inner ? inner->ops->call_ : ABI_FATAL;     \
    pthread_mutex_unlock(&guard->mutex);                         \
    return result

typedef struct GuardSink {
    LaneGuard *guard;
    RowSink sink;
} GuardSink;

static bool guard_row(void *ctx, Bytes row) {
    GuardSink *self = ctx;
    if (atomic_load_explicit(&self->guard->shutting, memory_order_relaxed)) return false;
    return self->sink.row(self->sink.ctx, row);
}

static AbiErrno guard_table_id(Access *access, Str name, uint32_t *out) {
    GUARDED(access, table_id(inner, name, out));
}
static AbiErrno guard_index_id(Access *access, Str name, uint32_t *out) {
    GUARDED(access, index_id(inner, name, out));
}
static AbiErrno guard_row_count(Access *access, uint32_t table, uint64_t *out) {
    GUARDED(access, row_count(inner, table, out));
}
static AbiErrno guard_scan_table(Access *access, uint32_t table, RowSink sink) {
    GuardSink wrapped = {CONTAINER_OF(access, LaneGuard, access), sink};
    GUARDED(access, scan_table(inner, table, ((RowSink){guard_row, &wrapped})));
}
static AbiErrno guard_scan_point(Access *access, uint32_t index, Bytes point, RowSink sink) {
    GuardSink wrapped = {CONTAINER_OF(access, LaneGuard, access), sink};
    GUARDED(access, scan_point(inner, index, point, ((RowSink){guard_row, &wrapped})));
}
static AbiErrno guard_scan_range(Access *access,
                                 uint32_t index,
                                 const AccessRange *range,
                                 RowSink sink) {
    GuardSink wrapped = {CONTAINER_OF(access, LaneGuard, access), sink};
    GUARDED(access, scan_range(inner, index, range, ((RowSink){guard_row, &wrapped})));
}
static AbiErrno guard_insert(Access *access, uint32_t table, Bytes row, Buf *generated) {
    GUARDED(access, insert(inner, table, row, generated));
}
static AbiErrno guard_update(Access *access,
                             uint32_t table,
                             uint32_t index,
                             Bytes row,
                             Buf *generated) {
    GUARDED(access, update(inner, table, index, row, generated));
}
static AbiErrno guard_delete_point(Access *access, uint32_t index, Bytes point, uint32_t *deleted) {
    GUARDED(access, delete_point(inner, index, point, deleted));
}
static AbiErrno guard_delete_range(Access *access,
                                   uint32_t index,
                                   const AccessRange *range,
                                   uint32_t *deleted) {
    GUARDED(access, delete_range(inner, index, range, deleted));
}
static AbiErrno guard_delete_all_by_eq(Access *access,
                                       uint32_t table,
                                       Bytes relation,
                                       uint32_t *deleted) {
    GUARDED(access, delete_all_by_eq(inner, table, relation, deleted));
}
static AbiErrno guard_clear(Access *access, uint32_t table, uint64_t *deleted) {
    GUARDED(access, clear(inner, table, deleted));
}
// The others copy while they hold the lock; this one hands out a borrowed text.
static AbiErrno guard_jwt(Access *access, const ConnectionId *connection, Bytes *out) {
    LaneGuard *guard = CONTAINER_OF(access, LaneGuard, access);
    pthread_mutex_lock(&guard->mutex);
    Access *inner = guard->inner;
    AbiErrno result = inner ? inner->ops->jwt(inner, connection, out) : ABI_FATAL;
    if (result == ABI_OK && out->len) {
        buf_clear(&guard->jwt);
        buf_put_bytes(&guard->jwt, *out);
        *out = buf_bytes(&guard->jwt);
        if (!buf_ok(&guard->jwt)) result = ABI_FATAL;
    }
    pthread_mutex_unlock(&guard->mutex);
    return result;
}

static const AccessOps guard_ops = {
    .table_id = guard_table_id,
    .index_id = guard_index_id,
    .row_count = guard_row_count,
    .scan_table = guard_scan_table,
    .scan_point = guard_scan_point,
    .scan_range = guard_scan_range,
    .insert = guard_insert,
    .update = guard_update,
    .delete_point = guard_delete_point,
    .delete_range = guard_delete_range,
    .delete_all_by_eq = guard_delete_all_by_eq,
    .clear = guard_clear,
    .jwt = guard_jwt,
};
