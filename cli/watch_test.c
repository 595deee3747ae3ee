#include "cli/watch.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"

static char root[] = "/tmp/lightcone-watch-XXXXXX";

static Watch *watch_root(void) {
    snprintf(root, sizeof root, "/tmp/lightcone-watch-XXXXXX");
    EXPECT(mkdtemp(root) != NULL);
    const char *directories[] = {root};
    return watch_open(directories, 1);
}

static void write_file(const char *name) {
    cli_file_write(cli_join(root, name), str_bytes(STR("x")));
}

// What is told within half a second, or NULL.
static const char *told(Watch *watch) {
    struct pollfd polled = {.fd = watch_fd(watch), .events = POLLIN};
    return poll(&polled, 1, 500) > 0 ? watch_read(watch) : NULL;
}

TEST(watch, names_of_what_builds_and_editors_write_are_passed_over) {
    EXPECT(watch_wants("index.ts") && watch_wants("src"));
    static const char *const passed_over[] =
        {"node_modules", "dist", "build", ".git", "a~", ".a.swp", "4913", ""};
    for (size_t i = 0; i < ARRAY_LEN(passed_over); i++)
        EXPECT(!watch_wants(passed_over[i]));
}

TEST(watch, a_file_that_was_written_is_told_by_its_path) {
    Watch *watch = watch_root();
    write_file("index.ts");
    EXPECT_STR(told(watch), cli_join(root, "index.ts"));
    unlink(cli_join(root, "index.ts"));
    EXPECT_STR(told(watch), cli_join(root, "index.ts"));
    rmdir(root);
    watch_close(watch);
}

TEST(watch, directories_made_later_are_watched_too) {
    Watch *watch = watch_root();
    EXPECT_EQ(mkdir(cli_join(root, "lib"), 0777), 0);
    EXPECT_STR(told(watch), cli_join(root, "lib"));
    write_file("lib/names.ts");
    EXPECT_STR(told(watch), cli_join(root, "lib/names.ts"));
    unlink(cli_join(root, "lib/names.ts"));
    rmdir(cli_join(root, "lib"));
    rmdir(root);
    watch_close(watch);
}

TEST(watch, what_a_build_writes_is_no_change) {
    Watch *watch = watch_root();
    EXPECT_EQ(mkdir(cli_join(root, "dist"), 0777), 0);
    write_file("dist/bundle.js");
    const char *path = told(watch);
    EXPECT(path == NULL);
    unlink(cli_join(root, "dist/bundle.js"));
    rmdir(cli_join(root, "dist"));
    rmdir(root);
    watch_close(watch);
}

TEST_MAIN()
