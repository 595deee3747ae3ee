// instance.c: makes a running copy of a module: memory, start, setup, description (§1.14).
//
// A guest's structure, its memory and its tables are made by generated code, which asks for them
// through memory_new and table_resize; the instance frees them.
#include <stdio.h>

#include "base/mem.h"
#include "host/js/text.h"
#include "host/wasm/wasm.h"
#include "os/thread.h"

enum { TABLE_BYTES_MAX = 64 << 20 };  // 2.7 million functions
int wasm_load_ms = 10000;
static const size_t MEMORY_MAX_DEFAULT = (size_t)1 << 30;
static const size_t MEMORY_MAX = ((size_t)1 << 32) - WASM_PAGE;  // GuestMemory.size has 32 bits

// ---- what generated code asks for

static size_t pages_max(const WasmInstance *w, uint32_t module_max) {
    return MIN(w->env.memory_max / WASM_PAGE, module_max);
}

void guest_memory_new(GuestMemory *memory, uint32_t pages, uint32_t max_pages) {
    WasmInstance *w = guest_current();
    guest_exit(w);
    if (pages > pages_max(w, max_pages))
        guest_trap(w,
                   "the module needs %llu bytes of memory, but its limit is %zu bytes",
                   (unsigned long long)pages * WASM_PAGE,
                   w->env.memory_max);
    if (!wasm_memory_take((size_t)pages * WASM_PAGE, &w->reserved))
        guest_trap(w, "%s", err_text(ERR_NOMEM));
    *memory = (GuestMemory){.data = w->reserved.base,
                            .pages = pages,
                            .max_pages = max_pages,
                            .size = pages * WASM_PAGE};
    w->memory = memory;
    guest_enter(w);
}

uint32_t guest_memory_grow(GuestMemory *memory, uint32_t pages) {
    WasmInstance *w = guest_current();
    guest_exit(w);
    uint32_t old = memory->pages;
    uint64_t wanted = (uint64_t)old + pages;
    bool grown = wanted <= pages_max(w, memory->max_pages) &&
                 wasm_memory_grow(&w->reserved, wanted * WASM_PAGE);
    if (grown) {
        memory->pages = (uint32_t)wanted;
        memory->size = (uint32_t)(wanted * WASM_PAGE);
    }
    guest_enter(w);
    return grown ? old : UINT32_MAX;
}

static bool table_remember(WasmInstance *w, void *old, void *block) {
    for (uint32_t i = 0; i < w->table_count; i++) {
        if (w->tables[i] != old || !old) continue;
        w->tables[i] = block;
        return true;
    }
    void **tables = mem_realloc(w->tables, (w->table_count + 1) * sizeof *tables);
    if (!tables) return false;
    w->tables = tables;
    tables[w->table_count++] = block;
    return true;
}

static void *table_make(WasmInstance *w, void *old, size_t old_bytes, size_t bytes) {
    if (bytes > TABLE_BYTES_MAX || w->table_bytes - old_bytes > TABLE_BYTES_MAX - bytes)
        return NULL;
    void *block = mem_zalloc(MAX(bytes, 1));
    if (!block) return NULL;
    if (!table_remember(w, old, block)) {
        mem_free(block);
        return NULL;
    }
    if (old_bytes) memcpy(block, old, old_bytes);
    mem_free(old);
    w->table_bytes += bytes - old_bytes;
    return block;
}

void *guest_table_resize(void *old, size_t old_bytes, size_t bytes) {
    WasmInstance *w = guest_current();
    guest_exit(w);
    void *block = table_make(w, old, old_bytes, bytes);
    guest_enter(w);
    return block;
}

// ---- making one

static Err header_make(WasmInstance *w) {
    // 16 bytes of header keep the guest's structure as aligned as the allocator's blocks are.
    static_assert(sizeof(GuestHeader) % 16 == 0, "the guest's structure follows the header");
    w->header = mem_zalloc(sizeof *w->header + w->module->instance_bytes);
    return w->header ? OK : ERR_NOMEM;
}

static void setup_run(WasmInstance *w) {
    uint32_t sink;
    if (!abi_sink_new(&w->bytes, &sink)) guest_trap(w, "%s", err_text(ERR_NOMEM));
    guest_enter(w);
    uint32_t code = w->module->setup(wasm_guest(w), sink);
    guest_exit(w);
    if ((int16_t)code == 0) return;
    if ((int16_t)code != 1) guest_trap(w, "unknown return code");
    Str said = wasm_text(w, 0, abi_sink_bytes(&w->bytes, sink));
    guest_trap(w, "setup function returned an error: " STR_FMT, STR_ARG(said));
}

// The steps in order; *step names the running one.
static void steps_run(WasmInstance *w, const char *volatile *step, volatile uint32_t *described) {
    const GuestModule *module = w->module;
    *step = "start";
    guest_enter(w);
    module->instantiate(wasm_guest(w), w);
    *step = wasm_export_name(WASM_INITIALIZE);
    if (module->initialize) module->initialize(wasm_guest(w));
    for (uint32_t i = 0; i < module->preinit_count; i++) {
        *step = w->program->preinits[i].ptr;
        module->preinits[i](wasm_guest(w));
    }
    guest_exit(w);
    *step = wasm_export_name(WASM_SETUP);
    if (module->setup) setup_run(w);
    *step = wasm_export_name(WASM_DESCRIBE);
    uint32_t sink;
    if (!abi_sink_new(&w->bytes, &sink)) guest_trap(w, "%s", err_text(ERR_NOMEM));
    guest_enter(w);
    module->describe(wasm_guest(w), sink);
    guest_exit(w);
    *described = sink;
}

static Err start_failed(WasmInstance *w, const char *step, Diag *diag) {
    if (w->end == GUEST_ENDED_TIME)
        return diag_fail(diag,
                         ERR_INVALID,
                         "the module took longer than %d s of processor time to load",
                         wasm_load_ms / 1000);
    if (step == wasm_export_name(WASM_DESCRIBE))
        return diag_fail(diag, ERR_INVALID, "error getting module description: %s", w->why);
    bool setup_said = step == wasm_export_name(WASM_SETUP) && w->end == GUEST_ENDED_REFUSED;
    if (setup_said || !w->memory) return diag_fail(diag, ERR_INVALID, "%s", w->why);
    return diag_fail(diag, ERR_INVALID, "wasm trap while calling \"%s\": %s", step, w->why);
}

static Err guest_start(WasmInstance *w, Buf *description, Diag *diag) {
    const char *volatile step = NULL;
    volatile uint32_t described = 0;
    WasmInstance *outer = guest_current();
    Err err = guest_thread_start();
    if (err != OK) return err;
    atomic_store(&w->thread, guest_thread_number());
    w->started_ns = abi_monotonic_ns();
    w->is_timed = true;
    w->header->stack_low = guest_stack_low();
    guest_current_set(w);
    watch_begin(&w->watch, WATCH_RUN);
    w->load_end_cpu_ns = thread_cpu_ns() + (int64_t)wasm_load_ms * 1000000;
    guest_time_begin(w, (int64_t)wasm_load_ms * 1000);
    if (sigsetjmp(w->jump, GUEST_SAVE_MASK) == 0) steps_run(w, &step, &described);
    guest_time_end(w);
    w->load_end_cpu_ns = 0;
    (void)watch_end(&w->watch);
    guest_current_set(outer);
    if (!described) return start_failed(w, step, diag);
    if (description) buf_put_bytes(description, abi_sink_bytes(&w->bytes, described));
    abi_bytes_reset(&w->bytes);
    return description && !buf_ok(description) ? ERR_NOMEM : OK;
}

Err wasm_instance_make(const WasmProgram *program,
                       const HostEnv *env,
                       Buf *description,
                       WasmInstance **out,
                       Diag *diag) {
    WasmInstance *w = MEM_NEW(WasmInstance);
    Err err = OK;
    if (!w) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    w->base.engine = &wasm_engine;
    w->program = program;
    w->module = program->object.module;
    w->env = *env;
    if (!w->env.memory_max) w->env.memory_max = MEMORY_MAX_DEFAULT;
    w->env.memory_max = MIN(w->env.memory_max, MEMORY_MAX);
    w->ok = true;
    abi_init(&w->abi, &w->env);
    if ((err = guest_engine_start()) != OK) goto done;
    if ((err = header_make(w)) != OK) goto done;
    if ((err = watch_init(&w->watch, guest_fire, w)) != OK) goto done;
    if ((err = guest_start(w, description, diag)) != OK) goto done;
    *out = w;
    w = NULL;
done:
    if (w) wasm_instance_free(&w->base);
    if (err == ERR_NOMEM) diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    return err;
}

Err wasm_instance_new(HostProgram *base, const HostEnv *env, HostInstance **out, Diag *diag) {
    const WasmProgram *program = CONTAINER_OF(base, WasmProgram, base);
    WasmInstance *w = NULL;
    Err err = wasm_instance_make(program, env, NULL, &w, diag);
    if (err == OK) *out = &w->base;
    return err;
}

void wasm_instance_free(HostInstance *base) {
    WasmInstance *w = CONTAINER_OF(base, WasmInstance, base);
    ASSERT(!w->running);
    watch_deinit(&w->watch);
    abi_deinit(&w->abi);
    abi_bytes_deinit(&w->bytes);
    wasm_memory_give(&w->reserved);
    for (uint32_t i = 0; i < w->table_count; i++)
        mem_free(w->tables[i]);
    mem_free(w->tables);
    mem_free(w->header);
    buf_deinit(&w->generated);
    buf_deinit(&w->response);
    buf_deinit(&w->response_body);
    buf_deinit(&w->message);
    for (size_t i = 0; i < ARRAY_LEN(w->text); i++)
        buf_deinit(&w->text[i]);
    mem_free(w);
}

Str wasm_text(WasmInstance *w, int slot, Bytes bytes) {
    if (utf8_valid(bytes)) return bytes_str(bytes);
    Buf units = {0};
    buf_clear(&w->text[slot]);
    text_to_utf16(&units, bytes);
    text_from_utf16(&w->text[slot],
                    (const uint16_t *)(const void *)units.ptr,
                    units.len / sizeof(uint16_t));
    buf_deinit(&units);
    return bytes_str(buf_bytes(&w->text[slot]));
}
