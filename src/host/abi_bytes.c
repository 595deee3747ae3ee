// abi_bytes.c: bytes sources and sinks of one call. See abi.h.
//
// Handles are positions in two arrays that only grow during a call, so a handle that was given back
// never means something else later in the same call.
#include "base/mem.h"
#include "host/abi.h"

enum { KEEP_BYTES = 1 << 16 };  // memory of a sink that is worth keeping for the next call

// Room for one more element, zeroed when new. NULL when out of memory.
static void *grow(void *array, uint32_t *cap, uint32_t count, size_t each) {
    if (LIKELY(count < *cap)) return array;
    uint32_t wider = *cap ? *cap * 2 : 4;
    if (wider <= *cap) return NULL;
    uint8_t *grown = mem_realloc(array, (size_t)wider * each);
    if (!grown) return NULL;
    memset(grown + (size_t)*cap * each, 0, (size_t)(wider - *cap) * each);
    *cap = wider;
    return grown;
}

void abi_bytes_deinit(AbiBytes *bytes) {
    for (uint32_t i = 0; i < bytes->source_cap; i++)
        buf_deinit(&bytes->sources[i].own);
    for (uint32_t i = 0; i < bytes->sink_cap; i++)
        buf_deinit(&bytes->sinks[i]);
    mem_free(bytes->sources);
    mem_free(bytes->sinks);
    *bytes = (AbiBytes){0};
}

void abi_bytes_reset(AbiBytes *bytes) {
    for (uint32_t i = 0; i < bytes->source_count; i++)
        if (bytes->sources[i].own.ptr) buf_deinit(&bytes->sources[i].own);
    for (uint32_t i = 0; i < bytes->sink_count; i++) {
        if (bytes->sinks[i].cap > KEEP_BYTES) buf_deinit(&bytes->sinks[i]);
        buf_clear(&bytes->sinks[i]);
    }
    bytes->source_count = bytes->sink_count = 0;
    bytes->sunk_bytes = 0;
}

bool abi_source_new(AbiBytes *bytes, Bytes content, uint32_t *source) {
    *source = 0;
    if (!content.len) return true;
    AbiSource *sources =
        grow(bytes->sources, &bytes->source_cap, bytes->source_count, sizeof *sources);
    if (!sources) return false;
    bytes->sources = sources;
    sources[bytes->source_count] = (AbiSource){.left = content, .open = true};
    *source = ++bytes->source_count;
    return true;
}

bool abi_source_take(AbiBytes *bytes, Buf *content, uint32_t *source) {
    bool made = buf_ok(content) && abi_source_new(bytes, buf_bytes(content), source);
    if (made && *source)
        bytes->sources[*source - 1].own = *content;
    else
        buf_deinit(content);
    *content = (Buf){0};
    return made;
}

static AbiSource *source_find(const AbiBytes *bytes, uint32_t source) {
    if (source == 0 || source > bytes->source_count) return NULL;
    AbiSource *found = &bytes->sources[source - 1];
    return found->open ? found : NULL;
}

AbiErrno abi_source_read(AbiBytes *bytes,
                         uint32_t source,
                         uint8_t *out,
                         size_t room,
                         size_t *len,
                         bool *exhausted) {
    AbiSource *from = source_find(bytes, source);
    if (!from) return ABI_NO_SUCH_BYTES;
    *len = MIN(room, from->left.len);
    if (*len) memcpy(out, from->left.ptr, *len);
    from->left.ptr += *len;
    from->left.len -= *len;
    *exhausted = from->left.len == 0;
    if (*exhausted) from->open = false;
    return ABI_OK;
}

AbiErrno abi_source_left(const AbiBytes *bytes, uint32_t source, size_t *len) {
    const AbiSource *from = source_find(bytes, source);
    if (!from) return ABI_NO_SUCH_BYTES;
    *len = from->left.len;
    return ABI_OK;
}

bool abi_sink_new(AbiBytes *bytes, uint32_t *sink) {
    Buf *sinks = grow(bytes->sinks, &bytes->sink_cap, bytes->sink_count, sizeof *sinks);
    if (!sinks) return false;
    bytes->sinks = sinks;
    *sink = ++bytes->sink_count;
    return true;
}

AbiErrno abi_sink_write(AbiBytes *bytes, uint32_t sink, Bytes content) {
    if (sink == 0 || sink > bytes->sink_count) return ABI_NO_SUCH_BYTES;
    if (content.len > ABI_SINK_BYTES_MAX - bytes->sunk_bytes) return ABI_NO_SPACE;
    Buf *to = &bytes->sinks[sink - 1];
    size_t before = to->len;
    buf_put_bytes(to, content);
    if (!buf_ok(to)) {
        to->len = before;
        to->failed = false;
        return ABI_NO_SPACE;
    }
    bytes->sunk_bytes += content.len;
    return ABI_OK;
}

Bytes abi_sink_bytes(const AbiBytes *bytes, uint32_t sink) {
    ASSERT(sink != 0 && sink <= bytes->sink_count);
    return buf_bytes(&bytes->sinks[sink - 1]);
}
