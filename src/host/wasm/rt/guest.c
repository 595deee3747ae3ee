// guest.c: the runtime inside a compiled module. Comes after wasm2c's code in the same file.
//
// build.c writes before it what differs between modules: GUEST_TYPES, GUEST_TYPE_BYTES,
// GUEST_IMPORT_MODULES, GUEST_PREINITS and a GUEST_… for each export there is.

static GuestHost guest_host;

void wasm_rt_trap(wasm_rt_trap_t code) {
    guest_host.trap(code);
    __builtin_unreachable();
}

// ---- the types of functions, for call_indirect: equal signatures are one number

static unsigned char guest_signatures[GUEST_TYPE_BYTES + 1];
static struct { uint32_t at, len; } guest_types[GUEST_TYPES + 1];
static uint32_t guest_slots[2 * GUEST_TYPES + 1];  // open addressing; index into guest_types + 1
static uint32_t guest_type_count, guest_type_bytes;

uint32_t wasm_rt_register_func_type(uint32_t params, uint32_t results, ...) {
    uint32_t at = guest_type_bytes, len = 0;
    uint64_t hash = params;
    va_list types;
    va_start(types, results);
    for (uint32_t i = 0; i < params + results; i++) {
        if (i == params) guest_signatures[at + len++] = '>';
        guest_signatures[at + len++] = (unsigned char)('a' + va_arg(types, int));
    }
    va_end(types);
    if (results == 0) guest_signatures[at + len++] = '>';
    for (uint32_t i = 0; i < len; i++)
        hash = (hash ^ guest_signatures[at + i]) * 0x9e3779b97f4a7c15u, hash ^= hash >> 29;
    uint32_t slot = (uint32_t)(hash % (2 * GUEST_TYPES + 1));
    for (; guest_slots[slot]; slot = (slot + 1) % (2 * GUEST_TYPES + 1)) {
        uint32_t known = guest_slots[slot] - 1;
        if (guest_types[known].len == len &&
            memcmp(guest_signatures + guest_types[known].at, guest_signatures + at, len) == 0)
            return known + 1;
    }
    guest_types[guest_type_count].at = at;
    guest_types[guest_type_count].len = len;
    guest_type_bytes += len;
    guest_slots[slot] = ++guest_type_count;
    return guest_type_count;
}

// ---- memories and tables. The server frees them with the instance.

void wasm_rt_allocate_memory(wasm_rt_memory_t *memory, uint32_t pages, uint32_t max_pages) {
    guest_host.memory_new(memory, pages, max_pages);
}
uint32_t wasm_rt_grow_memory(wasm_rt_memory_t *memory, uint32_t pages) {
    return guest_host.memory_grow(memory, pages);
}
void wasm_rt_free_memory(wasm_rt_memory_t *memory) {
    (void)memory;
}

#define GUEST_TABLE(type)                                                             \
    static int type##_resize(wasm_rt_##type##_table_t *table, uint64_t size) {        \
        void *data = guest_host.table_resize(table->data,                             \
                                             table->size * sizeof *table->data,       \
                                             size * sizeof *table->data);             \
        if (!data) return 0;                                                          \
        table->data = data;                                                           \
        table->size = (uint32_t)size;                                                 \
        return 1;                                                                     \
    }                                                                                 \
    void wasm_rt_allocate_##type##_table(wasm_rt_##type##_table_t *table,             \
                                         uint32_t size,                               \
                                         uint32_t max) {                              \
        table->data = NULL;                                                           \
        table->size = 0;                                                              \
        table->max_size = max;                                                        \
        if (!type##_resize(table, size)) wasm_rt_trap(WASM_RT_TRAP_OOB);              \
    }                                                                                 \
    void wasm_rt_free_##type##_table(wasm_rt_##type##_table_t *table) {               \
        (void)table;                                                                  \
    }                                                                                 \
    uint32_t wasm_rt_grow_##type##_table(wasm_rt_##type##_table_t *table,             \
                                         uint32_t delta,                              \
                                         wasm_rt_##type##_t init) {                   \
        uint32_t old = table->size;                                                   \
        uint64_t size = (uint64_t)old + delta;                                        \
        if (size > table->max_size || !type##_resize(table, size)) return UINT32_MAX; \
        for (uint32_t i = old; i < size; i++)                                         \
            table->data[i] = init;                                                    \
        return old;                                                                   \
    }
GUEST_TABLE(funcref)
GUEST_TABLE(externref)

// ---- imports: a jump through the server's table each

#define X(minor, name, result, params, args, signature)              \
    result Z_spacetime_10Z2E##minor##Z_##name(                       \
        struct Z_spacetime_10Z2E##minor##_instance_t *host params);  \
    result Z_spacetime_10Z2E##minor##Z_##name(                       \
        struct Z_spacetime_10Z2E##minor##_instance_t *host params) { \
        return guest_host.name(host args);                           \
    }
struct Z_spacetime_10Z2E0_instance_t;
struct Z_spacetime_10Z2E1_instance_t;
struct Z_spacetime_10Z2E2_instance_t;
struct Z_spacetime_10Z2E3_instance_t;
struct Z_spacetime_10Z2E4_instance_t;
struct Z_spacetime_10Z2E5_instance_t;
GUEST_IMPORTS(X)
#undef X

// ---- what the server calls

static void guest_load(const GuestHost *host) {
    static int loaded;  // two databases may run one object; the server loads one at a time
    if (loaded) return;
    guest_host = *host;
    Z_M_init_module();
    loaded = 1;
}

static void guest_instantiate(void *guest, void *host) {
    Z_M_instantiate(guest GUEST_IMPORT_MODULES);
    (void)host;
}

static GuestMemory *guest_memory(void *guest) {
    return Z_MZ_memory(guest);
}

static void (*const guest_preinits[])(void *) = {GUEST_PREINITS};

__attribute__((visibility("default"))) extern const GuestModule lightcone_guest;
const GuestModule lightcone_guest = {.version = GUEST_VERSION,
                                     .instance_bytes = sizeof(Z_M_instance_t),
                                     .load = guest_load,
                                     .instantiate = guest_instantiate,
                                     .memory = guest_memory,
                                     .preinit_count =
                                         sizeof guest_preinits / sizeof *guest_preinits,
                                     .preinits = guest_preinits,
                                     GUEST_EXPORTS};
