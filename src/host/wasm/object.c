// object.c: compiled modules on disk and in memory.
//
// PICTURE   <cache_dir>/<keccak of the program>-<identity of engine and tools>.so
//             [ELF shared object][magic:8][blake3 of the object:32]
//
// ALWAYS TRUE
//   (1) What is in the cache was synced before it got its name; what does not match its checksum is
//       compiled again. Losing the directory costs time only.
//   (2) Objects are loaded and initialised one at a time. Two databases with the same program share
//       one object; it holds nothing of theirs.
#define _GNU_SOURCE  // dladdr
#include "host/wasm/object.h"

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/blake3.h"
#include "base/keccak.h"
#include "base/mem.h"
#include "host/abi.h"
#include "host/wasm/compile.h"
#include "host/wasm/files.h"
#include "host/wasm/wasm.h"

static const char magic[8] = "lcwasm\0\1";
enum { TRAILER_BYTES = sizeof magic + BLAKE3_LEN };

static pthread_mutex_t load_mutex = PTHREAD_MUTEX_INITIALIZER;  // (2)

// ---- the cache

static void sealed_append(Buf *object) {
    uint8_t digest[BLAKE3_LEN];
    blake3(buf_bytes(object), digest);
    buf_put(object, magic, sizeof magic);
    buf_put(object, digest, sizeof digest);
}

static bool sealed_check(Bytes file) {
    uint8_t digest[BLAKE3_LEN];
    if (file.len <= TRAILER_BYTES) return false;
    const uint8_t *trailer = file.ptr + file.len - TRAILER_BYTES;
    if (memcmp(trailer, magic, sizeof magic) != 0) return false;
    blake3(BYTES(file.ptr, file.len - TRAILER_BYTES), digest);
    return memcmp(trailer + sizeof magic, digest, sizeof digest) == 0;
}

static Err name_make(const WasmBinary *binary, char *out, size_t out_size, Diag *diag) {
    uint8_t hash[KECCAK256_LEN];
    char hex[2 * KECCAK256_LEN];
    Str identity;
    Err err = wasm_compile_identity(&identity, diag);
    if (err != OK) return err;
    keccak256(binary->program, hash);
    hex_write(hex, BYTES(hash, sizeof hash));
    snprintf(out, out_size, "%.*s-" STR_FMT ".so", (int)sizeof hex, hex, STR_ARG(identity));
    return OK;
}

// ---- function addresses, for backtraces

// "w2c_f12", "w2c_e12.part.0": 12.
static bool symbol_func(Str name, uint32_t *out) {
    Str prefix = STR("w2c_");
    if (!str_starts(name, prefix) || name.len < prefix.len + 2) return false;
    char kind = name.ptr[prefix.len];
    if (kind != 'f' && kind != 'e') return false;
    uint64_t value = 0;
    size_t at = prefix.len + 1;
    for (; at < name.len && name.ptr[at] >= '0' && name.ptr[at] <= '9' && value < UINT32_MAX; at++)
        value = value * 10 + (uint64_t)(name.ptr[at] - '0');
    *out = (uint32_t)value;
    return at > prefix.len + 1 && value < UINT32_MAX;
}

static int code_order(const void *a, const void *b) {
    const WasmCode *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static bool within(Bytes file, uint64_t offset, uint64_t len) {
    return offset <= file.len && len <= file.len - offset;
}

// The file is the linker's work and passed its checksum; it is read with care all the same.
static void codes_read(Bytes file, Buf *out) {
    Elf64_Ehdr head;
    Elf64_Shdr section, strings;
    if (!within(file, 0, sizeof head)) return;
    memcpy(&head, file.ptr, sizeof head);
    for (uint32_t i = 0; i < head.e_shnum; i++) {
        uint64_t at = head.e_shoff + (uint64_t)i * sizeof section;
        if (!within(file, at, sizeof section)) return;
        memcpy(&section, file.ptr + at, sizeof section);
        if (section.sh_type != SHT_SYMTAB || !within(file, section.sh_offset, section.sh_size))
            continue;
        at = head.e_shoff + (uint64_t)section.sh_link * sizeof strings;
        if (!within(file, at, sizeof strings)) return;
        memcpy(&strings, file.ptr + at, sizeof strings);
        if (!within(file, strings.sh_offset, strings.sh_size)) return;
        const char *names = (const char *)file.ptr + strings.sh_offset;
        for (uint64_t s = 0; s + sizeof(Elf64_Sym) <= section.sh_size; s += sizeof(Elf64_Sym)) {
            Elf64_Sym symbol;
            WasmCode code;
            memcpy(&symbol, file.ptr + section.sh_offset + s, sizeof symbol);
            if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC || symbol.st_name >= strings.sh_size)
                continue;
            Str name = {names + symbol.st_name,
                        strnlen(names + symbol.st_name, strings.sh_size - symbol.st_name)};
            if (!symbol_func(name, &code.func)) continue;
            code.offset = (uint32_t)symbol.st_value;
            code.len = (uint32_t)symbol.st_size;
            buf_put(out, &code, sizeof code);
        }
    }
}

uint32_t wasm_object_func(const WasmObject *object, uintptr_t address) {
    uintptr_t offset = address - object->base;
    size_t low = 0, high = object->code_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const WasmCode *code = &object->codes[middle];
        if (offset < code->offset)
            high = middle;
        else if (offset - code->offset >= code->len)
            low = middle + 1;
        else
            return code->func;
    }
    return WASM_NO_FUNC;
}

// ---- loading

static Err object_open(const char *path, Bytes file, WasmObject *out, Diag *diag) {
    Buf codes = {0};
    Dl_info info;
    pthread_mutex_lock(&load_mutex);
    out->handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const GuestModule *module = out->handle ? dlsym(out->handle, GUEST_SYMBOL) : NULL;
    if (module && module->version == GUEST_VERSION && dladdr(module, &info)) {
        module->load(&guest_host);
        out->module = module;
        out->base = (uintptr_t)info.dli_fbase;
    }
    const char *why = out->handle ? "it is not one of this server's" : dlerror();
    if (!out->module) diag_fail(diag, ERR_IO, "the compiled module cannot be loaded: %s", why);
    pthread_mutex_unlock(&load_mutex);
    if (!out->module) return ERR_IO;
    codes_read(file, &codes);
    if (!buf_ok(&codes)) buf_clear(&codes);  // backtraces have no names then
    out->codes = (WasmCode *)(void *)codes.ptr;
    out->code_count = codes.len / sizeof(WasmCode);
    if (out->code_count) qsort(out->codes, out->code_count, sizeof *out->codes, code_order);
    return OK;
}

static Err cached_load(const char *directory, const char *name, WasmObject *out, Diag *diag) {
    char path[PATH_MAX];
    Buf file = {0};
    if ((size_t)snprintf(path, sizeof path, "%s/%s", directory, name) >= sizeof path)
        return ERR_TOO_LARGE;
    Err err = file_read_whole(path, &file);
    if (err == OK && !sealed_check(buf_bytes(&file))) err = ERR_CORRUPT;
    if (err == OK) err = object_open(path, buf_bytes(&file), out, diag);
    if (err == OK) (void)utimensat(AT_FDCWD, path, NULL, 0);  // see wasm_cache_clean
    buf_deinit(&file);
    return err;
}

// An object that is used is touched at each start and each publish.
static bool is_wanted(int directory, const char *name) {
    enum { UNUSED_DAYS = 30 };
    size_t len = strlen(name);
    struct stat info;
    if (len < 3 || strcmp(name + len - 3, ".so") != 0) return false;
    if (fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) != 0) return true;
    return time(NULL) - info.st_mtime < UNUSED_DAYS * 86400;
}

void wasm_cache_clean(const char *path) {
    char inner[PATH_MAX];
    DIR *directory = opendir(path);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] == '.' || is_wanted(dirfd(directory), entry->d_name)) continue;
        if (unlinkat(dirfd(directory), entry->d_name, 0) == 0) continue;
        if ((size_t)snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name) < sizeof inner)
            directory_remove(inner);
    }
    closedir(directory);
}

static Err cache_add(const char *directory, const char *name, Buf *object, Diag *diag) {
    sealed_append(object);
    if (!buf_ok(object)) return diag_fail(diag, ERR_NOMEM, "%s", err_text(ERR_NOMEM));
    Err err = file_publish(directory, name, buf_bytes(object));
    if (err == OK) return OK;
    return diag_fail(diag,
                     err,
                     "the compiled module cannot be kept in %s: %s",
                     directory,
                     err_text(err));
}

// Not to be kept: loaded from a file that is gone as soon as it is mapped.
static Err object_load_once(const char *name, Bytes object, WasmObject *out, Diag *diag) {
    char directory[PATH_MAX], path[PATH_MAX + 256];
    Err err = directory_temporary(NULL, directory, sizeof directory);
    if (err != OK)
        return diag_fail(diag, err, "no temporary directory could be made: %s", err_text(err));
    snprintf(path, sizeof path, "%s/%s", directory, name);
    err = file_write_whole(directory, name, object);
    if (err == OK)
        err = object_open(path, object, out, diag);
    else
        diag_fail(diag, err, "%s", err_text(err));
    directory_remove(directory);
    return err;
}

Err wasm_object_load(const WasmBinary *binary,
                     const HostLoadOptions *options,
                     WasmObject *out,
                     Diag *diag) {
    char name[256];
    Buf object = {0};
    Err err = OK;
    *out = (WasmObject){0};
    if ((err = name_make(binary, name, sizeof name, diag)) != OK) return err;
    if (options->cache_dir) {
        mkdir(options->cache_dir, 0700);
        out->from_cache = cached_load(options->cache_dir, name, out, diag) == OK;
        if (out->from_cache) return OK;
        wasm_object_unload(out);
    }
    uint64_t started = abi_monotonic_ns();
    bool keep = options->cache_dir && !options->describe_only;
    if ((err = wasm_compile(binary, options->describe_only, options->cache_dir, &object, diag)) !=
        OK)
        goto done;
    if (keep && (err = cache_add(options->cache_dir, name, &object, diag)) != OK) goto done;
    err = keep ? cached_load(options->cache_dir, name, out, diag)
               : object_load_once(name, buf_bytes(&object), out, diag);
    if (err == ERR_CORRUPT) diag_fail(diag, err, "%s", err_text(err));
    out->compile_us = (int64_t)(abi_monotonic_ns() - started) / 1000;
done:
    buf_deinit(&object);
    return err;
}

void wasm_object_unload(WasmObject *object) {
    Buf codes = {.ptr = (uint8_t *)object->codes};
    pthread_mutex_lock(&load_mutex);
    if (object->handle) dlclose(object->handle);
    pthread_mutex_unlock(&load_mutex);
    buf_deinit(&codes);
    *object = (WasmObject){0};
}
