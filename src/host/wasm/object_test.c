// Compiled modules are kept, found again, and compiled again when they were damaged.
#define _GNU_SOURCE
#include "host/wasm/object.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/wasm/files.h"
#include "host/wasm/wasm_fixture.h"

static const char wat[] = WAT_HEAD WAT_TAIL WAT_SILENT_REDUCER ")";

static char cache[256], entry[1024];

static bool load(const char *text, const char *cache_dir, bool describe_only) {
    static Diag diag;
    Buf program = {0};
    Arena arena = {0};
    WasmBinary binary;
    WasmObject object;
    HostLoadOptions options = {.cache_dir = cache_dir, .describe_only = describe_only};
    wat_program(text, "", &program);
    EXPECT_OK(wasm_binary_read(buf_bytes(&program), &arena, &binary, &diag));
    EXPECT_OK(wasm_object_load(&binary, &options, &object, &diag));
    EXPECT(object.module->reducer != NULL);
    EXPECT_EQ(object.compile_us == 0, object.from_cache);
    bool from_cache = object.from_cache;
    wasm_object_unload(&object);
    arena_deinit(&arena);
    buf_deinit(&program);
    return from_cache;
}

static int entries(void) {
    int count = 0;
    DIR *directory = opendir(cache);
    for (struct dirent *e; (e = readdir(directory));) {
        if (e->d_name[0] == '.') continue;
        snprintf(entry, sizeof entry, "%s/%s", cache, e->d_name);
        count++;
    }
    closedir(directory);
    return count;
}

TEST(object, is_compiled_once_and_found_afterwards) {
    EXPECT_OK(directory_temporary(NULL, cache, sizeof cache));
    EXPECT(!load(wat, cache, false));
    EXPECT(load(wat, cache, false));
    EXPECT(load(wat, cache, true));
    EXPECT_EQ(entries(), 1);
    EXPECT(!load(WAT_HEAD WAT_TAIL WAT_REDUCER "(i32.const 1)))", cache, false));
    EXPECT_EQ(entries(), 2);
    directory_remove(cache);
}

static void put(const char *name, int days_old) {
    char path[1024];
    struct timespec then[2] = {{.tv_sec = time(NULL) - days_old * 86400L}};
    then[1] = then[0];
    snprintf(path, sizeof path, "%s/%s", cache, name);
    unlink(path);
    EXPECT_OK(file_write_whole(cache, name, BYTES("x", 1)));
    EXPECT_EQ(utimensat(AT_FDCWD, path, then, 0), 0);
}

TEST(object, is_removed_when_nobody_wants_it_and_so_is_what_a_crash_left) {
    char crashed[512];
    EXPECT_OK(directory_temporary(NULL, cache, sizeof cache));
    EXPECT(!load(wat, cache, false));
    EXPECT_EQ(entries(), 1);
    char *kept = strrchr(entry, '/') + 1, name[256];
    snprintf(name, sizeof name, "%s", kept);
    EXPECT_OK(directory_temporary(cache, crashed, sizeof crashed));
    EXPECT_OK(file_write_whole(crashed, "module.c", BYTES("int x;", 6)));
    put("half.so.new", 0);
    put("old.so", 31);
    put("recent.so", 29);
    EXPECT_EQ(entries(), 5);
    wasm_cache_clean(cache);
    EXPECT_EQ(entries(), 2);
    put("recent.so", 31);
    wasm_cache_clean(cache);
    EXPECT_EQ(entries(), 1);
    EXPECT(strstr(entry, name) != NULL);
    EXPECT(load(wat, cache, false));
    wasm_cache_clean("/nowhere at all");
    directory_remove(cache);
}

TEST(object, is_not_kept_without_a_directory_or_for_its_description_only) {
    EXPECT_OK(directory_temporary(NULL, cache, sizeof cache));
    EXPECT(!load(wat, NULL, false));
    EXPECT(!load(wat, cache, true));
    EXPECT_EQ(entries(), 0);
    directory_remove(cache);
}

TEST(object, is_compiled_again_when_damaged) {
    EXPECT_OK(directory_temporary(NULL, cache, sizeof cache));
    EXPECT(!load(wat, cache, false));
    EXPECT_EQ(entries(), 1);
    Buf good = {0}, bad = {0};
    EXPECT_OK(file_read_whole(entry, &good));
    // A byte changed, the end cut off, nothing left, another file altogether.
    for (int damage = 0; damage < 4; damage++) {
        buf_clear(&bad);
        buf_put_bytes(&bad, buf_bytes(&good));
        if (damage == 0) bad.ptr[bad.len / 2] ^= 1;
        if (damage == 1) bad.len -= 5;
        if (damage == 2) bad.len = 0;
        if (damage == 3) memset(bad.ptr, 'x', bad.len);
        EXPECT_EQ(unlink(entry), 0);
        EXPECT_OK(file_write_whole(cache, strrchr(entry, '/') + 1, buf_bytes(&bad)));
        EXPECT(!load(wat, cache, false));
        EXPECT(load(wat, cache, false));
    }
    buf_deinit(&good);
    buf_deinit(&bad);
    directory_remove(cache);
}

TEST(object, two_programs_of_the_same_bytes_share_it) {
    Fixture f[2];
    EXPECT_OK(directory_temporary(NULL, cache, sizeof cache));
    HostLoadOptions options = {.cache_dir = cache};
    Buf program = {0};
    wat_program(wat, "", &program);
    for (int i = 0; i < 2; i++) {
        fixture_init(&f[i]);
        EXPECT_OK(
            host_program_load(HOST_WASM, buf_bytes(&program), &options, &f[i].program, &f[i].diag));
        fixture_instance(&f[i]);
    }
    EXPECT_EQ(fixture_run(&f[0], HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
    fixture_close(&f[0]);
    EXPECT_EQ(fixture_run(&f[1], HOST_REDUCER, 0, BYTES_NONE), HOST_OK);
    fixture_close(&f[1]);
    buf_deinit(&program);
    directory_remove(cache);
}

TEST(object, tools_that_are_missing_or_refuse_are_named) {
    Fixture f;
    fixture_init(&f);
    // Reads well and is not valid: the reducer's body gives nothing back.
    Buf program = {0};
    wat_program(WAT_HEAD WAT_TAIL WAT_REDUCER "))", "--no-check", &program);
    EXPECT_ERR(host_program_load(HOST_WASM, buf_bytes(&program), NULL, &f.program, &f.diag),
               ERR_INVALID);
    EXPECT(strstr(f.diag.text, "wasm2c refused the module: exited with 1\n") == f.diag.text);
    EXPECT(strstr(f.diag.text, "type mismatch") != NULL);
    buf_clear(&program);
    wat_program(wat, "", &program);
    char path[4096];
    snprintf(path, sizeof path, "%s", getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    EXPECT_ERR(host_program_load(HOST_WASM, buf_bytes(&program), NULL, &f.program, &f.diag),
               ERR_UNSUPPORTED);
    setenv("PATH", path, 1);
    EXPECT_STR(
        f.diag.text,
        "this server cannot compile WebAssembly: `wasm2c` is not installed (Debian package wabt)");
    buf_deinit(&program);
    fixture_close(&f);
}

TEST_MAIN()
