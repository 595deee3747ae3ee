// The promises of io.h, kept by the real world. (sim/ has its own tests for the same table.)
#include "os/io.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"

static const Io *io;
static char dir[IO_PATH_MAX];
static char path_space[IO_PATH_MAX];

static const char *path(const char *name) {
    EXPECT_OK(path_join(path_space, dir, name));
    return path_space;
}

static void begin(void) {
    io = io_real();
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/lightcone-io-XXXXXX", tmp ? tmp : "/tmp");
    EXPECT(mkdtemp(dir) != NULL);
}

static Err remove_one(void *ctx, const char *name) {
    (void)ctx;
    char at[IO_PATH_MAX];
    EXPECT_OK(path_join(at, dir, name));
    remove(at);
    return OK;
}

static void finish(void) {
    EXPECT_OK(io->dir_list(NULL, dir, remove_one, NULL));
    rmdir(dir);
}

static void expect_content(const char *name, Str want) {
    Buf got = {0};
    EXPECT_OK(io_read_file(io, path(name), 1 << 20, &got));
    EXPECT_BYTES(buf_bytes(&got), str_bytes(want));
    buf_deinit(&got);
}

TEST(path, is_joined_with_one_slash_and_never_cut) {
    char out[IO_PATH_MAX], name[IO_PATH_MAX];
    EXPECT_OK(path_join(out, "a/b", "c"));
    EXPECT_STR(out, "a/b/c");
    EXPECT_OK(path_join(out, "/", "c"));
    EXPECT_STR(out, "/c");
    EXPECT_OK(path_join(out, "", "c"));
    EXPECT_STR(out, "c");
    memset(name, 'x', sizeof name);
    name[IO_PATH_MAX - 3] = 0;
    EXPECT_OK(path_join(out, "a", name));
    EXPECT_ERR(path_join(out, "ab", name), ERR_TOO_LARGE);
}

TEST(file, reads_back_what_was_written_at_an_offset) {
    begin();
    IoFile *file = NULL;
    EXPECT_OK(io->file_open(NULL, path("f"), IO_READ | IO_WRITE | IO_CREATE, &file));
    EXPECT_OK(io->file_write(NULL, file, 5, "world", 5));
    EXPECT_OK(io->file_write(NULL, file, 0, "hello", 5));
    EXPECT_OK(io->file_sync(NULL, file));
    char got_bytes[20];
    size_t got;
    EXPECT_OK(io->file_read(NULL, file, 3, got_bytes, sizeof got_bytes, &got));
    EXPECT_BYTES(BYTES(got_bytes, got), BYTES("loworld", 7));
    EXPECT_OK(io->file_read(NULL, file, 10, got_bytes, sizeof got_bytes, &got));
    EXPECT_EQ(got, 0);
    // What was just written is at hand, unless the file system cannot tell.
    Err now = io->file_read_now(NULL, file, 3, got_bytes, sizeof got_bytes, &got);
    EXPECT(now == OK || now == ERR_AGAIN);
    if (now == OK) EXPECT_BYTES(BYTES(got_bytes, got), BYTES("loworld", 7));
    EXPECT_OK(io->file_truncate(NULL, file, 4));
    uint64_t size;
    EXPECT_OK(io->file_size(NULL, file, &size));
    EXPECT_EQ(size, 4);
    io->file_close(NULL, &file);
    EXPECT(file == NULL);
    io->file_close(NULL, &file);
    expect_content("f", STR("hell"));
    finish();
}

static void count_wake(void *ctx) {
    atomic_fetch_add((atomic_int *)ctx, 1);
}

TEST(file, is_synced_beside_its_owner_who_is_woken_once_for_each) {
    begin();
    IoFile *file = NULL;
    IoSyncer *syncer = NULL;
    atomic_int wakes = 0;
    EXPECT_OK(io->file_open(NULL, path("beside"), IO_WRITE | IO_CREATE, &file));
    EXPECT_OK(io->syncer_open(NULL, count_wake, &wakes, &syncer));
    for (int i = 0; i < 20; i++) {
        Err err = ERR_AGAIN;
        EXPECT_OK(io->file_write(NULL, file, (uint64_t)i, "x", 1));
        io->sync_start(NULL, syncer, file);
        EXPECT(io->sync_ended(NULL, syncer, false, &err) ||
               io->sync_ended(NULL, syncer, true, &err));
        EXPECT_OK(err);
    }
    io->sync_start(NULL, syncer, file);
    io->syncer_close(NULL, &syncer);  // waits for it
    EXPECT_EQ(atomic_load(&wakes), 21);
    io->file_close(NULL, &file);
    finish();
}

TEST(file, says_why_a_sync_beside_its_owner_failed) {
    begin();
    IoFile *file = NULL;
    IoSyncer *syncer = NULL;
    Err err = OK;
    EXPECT_OK(io->file_open(NULL, "/dev/full", IO_WRITE, &file));  // nothing that can be synced
    EXPECT_OK(io->syncer_open(NULL, NULL, NULL, &syncer));
    io->sync_start(NULL, syncer, file);
    EXPECT(io->sync_ended(NULL, syncer, true, &err));
    EXPECT_ERR(err, ERR_IO);
    EXPECT(strstr(io_last_error_text(), "fdatasync: ") != NULL);
    io->syncer_close(NULL, &syncer);
    io->file_close(NULL, &file);
    finish();
}

typedef struct Work {
    IoFile *file;
    const char *missing;
    int runs;
} Work;

static Err work_run(void *ctx) {
    Work *work = ctx;
    IoFile *none = NULL;
    work->runs++;
    if (work->missing) return io->file_open(NULL, work->missing, IO_READ, &none);
    Err err = io->file_write(NULL, work->file, 0, "work", 4);
    return err == OK ? io->file_sync(NULL, work->file) : err;
}

TEST(file, is_written_beside_its_owner_who_is_told_what_went_wrong) {
    begin();
    IoSyncer *syncer = NULL;
    atomic_int wakes = 0;
    Err err = ERR_AGAIN;
    Work work = {0};
    EXPECT_OK(io->file_open(NULL, path("worked"), IO_WRITE | IO_CREATE, &work.file));
    EXPECT_OK(io->syncer_open(NULL, count_wake, &wakes, &syncer));
    io->work_start(NULL, syncer, work_run, &work);
    EXPECT(io->sync_ended(NULL, syncer, true, &err));
    EXPECT_OK(err);
    EXPECT_EQ(work.runs, 1);
    expect_content("worked", STR("work"));
    work.missing = "/nowhere/at all";
    io->work_start(NULL, syncer, work_run, &work);
    EXPECT(io->sync_ended(NULL, syncer, true, &err));
    EXPECT_ERR(err, ERR_NOT_FOUND);
    EXPECT(strstr(io_last_error_text(), "open /nowhere/at all: ") != NULL);
    io->sync_start(NULL, syncer, work.file);  // one kind after the other
    EXPECT(io->sync_ended(NULL, syncer, true, &err));
    EXPECT_OK(err);
    work.missing = NULL;
    io->work_start(NULL, syncer, work_run, &work);
    io->syncer_close(NULL, &syncer);  // waits for it
    EXPECT_EQ(work.runs, 3);
    EXPECT_EQ(atomic_load(&wakes), 4);
    io->file_close(NULL, &work.file);
    finish();
}

TEST(file, opens_as_the_flags_say) {
    begin();
    IoFile *file = NULL;
    EXPECT_ERR(io->file_open(NULL, path("f"), IO_READ, &file), ERR_NOT_FOUND);
    EXPECT(strstr(io_last_error_text(), "No such file") != NULL);
    EXPECT_OK(io_replace_file(io, path("f"), BYTES("abc", 3), false));
    int exclusive = IO_WRITE | IO_CREATE | IO_EXCLUSIVE;
    EXPECT_ERR(io->file_open(NULL, path("f"), exclusive, &file), ERR_EXISTS);
    EXPECT_ERR(io->file_open(NULL, path("f/g"), IO_READ, &file), ERR_NOT_FOUND);
    EXPECT_OK(io->file_open(NULL, path("f"), IO_WRITE | IO_TRUNCATE, &file));
    io->file_close(NULL, &file);
    expect_content("f", STR(""));
    finish();
}

TEST(file, grows_by_preallocation_and_never_shrinks_by_it) {
    begin();
    IoFile *file = NULL;
    EXPECT_OK(io->file_open(NULL, path("f"), IO_READ | IO_WRITE | IO_CREATE, &file));
    EXPECT_OK(io->file_write(NULL, file, 0, "abc", 3));
    EXPECT_OK(io->file_preallocate(NULL, file, 6));
    EXPECT_OK(io->file_preallocate(NULL, file, 2));
    io->file_close(NULL, &file);
    expect_content("f", (Str){"abc\0\0\0", 6});
    finish();
}

TEST(file, is_locked_by_one_opening_at_a_time_even_in_one_process) {
    begin();
    IoFile *first = NULL, *second = NULL;
    EXPECT_OK(io->file_open(NULL, path("f"), IO_WRITE | IO_CREATE, &first));
    EXPECT_OK(io->file_open(NULL, path("f"), IO_WRITE, &second));
    EXPECT_OK(io->file_lock(NULL, first));
    EXPECT_ERR(io->file_lock(NULL, second), ERR_BUSY);
    io->file_close(NULL, &first);
    EXPECT_OK(io->file_lock(NULL, second));
    io->file_close(NULL, &second);
    finish();
}

TEST(file, says_that_the_disk_is_full) {
    begin();
    IoFile *file = NULL;
    EXPECT_OK(io->file_open(NULL, "/dev/full", IO_WRITE, &file));
    EXPECT_ERR(io->file_write(NULL, file, 0, "x", 1), ERR_DISK_FULL);
    io->file_close(NULL, &file);
    finish();
}

TEST(file, is_read_whole_up_to_a_limit) {
    begin();
    static uint8_t big[20000];
    memset(big, 7, sizeof big);
    EXPECT_OK(io_replace_file(io, path("f"), BYTES(big, sizeof big), false));
    Buf got = {0};
    buf_put(&got, "x", 1);
    EXPECT_OK(io_read_file(io, path("f"), sizeof big, &got));
    EXPECT_EQ(got.len, 1 + sizeof big);
    EXPECT_BYTES(BYTES(got.ptr + 1, sizeof big), BYTES(big, sizeof big));
    EXPECT_ERR(io_read_file(io, path("f"), sizeof big - 1, &got), ERR_TOO_LARGE);
    EXPECT_ERR(io_read_file(io, path("none"), 10, &got), ERR_NOT_FOUND);
    buf_clear(&got);
    EXPECT_OK(io_read_file(io, "/proc/self/stat", 1 << 16, &got));  // says its size is 0
    EXPECT(got.len > 0);
    buf_deinit(&got);
    finish();
}

TEST(file, is_replaced_whole_and_secret_when_asked) {
    begin();
    struct stat st;
    EXPECT_OK(io_replace_file(io, path("f"), BYTES("old", 3), false));
    EXPECT_OK(io_replace_file(io, path("f"), BYTES("newer", 5), true));
    expect_content("f", STR("newer"));
    EXPECT_EQ(stat(path("f"), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600);
    EXPECT(stat(path("f.new"), &st) != 0);

    // What a power loss left behind is not written into.
    EXPECT_OK(io_replace_file(io, path("f.new"), BYTES("left over", 9), false));
    EXPECT_OK(io_replace_file(io, path("f"), BYTES("x", 1), true));
    EXPECT_EQ(stat(path("f"), &st), 0);
    EXPECT_EQ(st.st_mode & 0777, 0600);
    expect_content("f", STR("x"));
    EXPECT_ERR(io_replace_file(io, path("none/f"), BYTES("x", 1), false), ERR_NOT_FOUND);
    finish();
}

static Err count_names(void *ctx, const char *name) {
    (void)name;
    return ++*(int *)ctx == 3 ? ERR_AGAIN : OK;
}

TEST(dir, is_made_with_its_parents_and_listed_until_an_error) {
    begin();
    char at[IO_PATH_MAX], nested[IO_PATH_MAX];
    EXPECT_OK(path_join(nested, dir, "a/b//c/"));
    EXPECT_OK(io->dir_make(NULL, nested));
    EXPECT_OK(io->dir_make(NULL, nested));
    EXPECT_OK(io->dir_sync(NULL, nested));
    EXPECT_ERR(io->dir_sync(NULL, path("none")), ERR_NOT_FOUND);
    static const char *const names[] = {"0", "1"};
    for (int i = 0; i < 2; i++) {
        EXPECT_OK(path_join(at, nested, names[i]));
        EXPECT_OK(io_replace_file(io, at, BYTES_NONE, false));
    }
    int count = 0;
    EXPECT_OK(io->dir_list(NULL, nested, count_names, &count));
    EXPECT_EQ(count, 2);
    EXPECT_ERR(io->dir_list(NULL, nested, count_names, &count), ERR_AGAIN);
    EXPECT_OK(path_join(at, nested, "0/x"));
    EXPECT_ERR(io->dir_make(NULL, at), ERR_EXISTS);  // "0" is a file
    for (int i = 0; i < 2; i++) {
        EXPECT_OK(path_join(at, nested, names[i]));
        EXPECT_OK(io->file_remove(NULL, at));
        EXPECT_ERR(io->file_remove(NULL, at), ERR_NOT_FOUND);
    }
    rmdir(path("a/b/c"));
    rmdir(path("a/b"));
    finish();
}

TEST(clock, goes_forward_and_agrees_with_the_year) {
    io = io_real();
    int64_t before = io->clock_monotonic_ns(NULL);
    EXPECT(io->clock_wall(NULL) > 1700000000000000);
    EXPECT(io->clock_monotonic_ns(NULL) >= before);
}

TEST(random, fills_every_byte) {
    uint8_t seen[100] = {0};
    io = io_real();
    for (int round = 0; round < 20; round++) {
        uint8_t bytes[100];
        io->random_bytes(NULL, bytes, sizeof bytes);
        for (size_t i = 0; i < sizeof bytes; i++) {
            seen[i] |= bytes[i];
        }
    }
    for (size_t i = 0; i < sizeof seen; i++) {
        EXPECT(seen[i] != 0);  // false alarm: 100 in 2^160
    }
}

// A blocking client socket, outside the Io.
static int connect_to(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static IoEvent poll_one(IoPoller *poller) {
    IoEvent events[4];
    int count = 0;
    EXPECT_OK(io->net_poll(NULL, poller, 2000000, events, 4, &count));
    EXPECT_EQ(count, 1);
    return events[0];
}

TEST(net, carries_bytes_both_ways_and_reports_the_end) {
    io = io_real();
    uint16_t port = 0;
    int listener, served, again;
    char peer[64];
    IoPoller *poller = NULL;
    EXPECT_OK(io->net_listen(NULL, "127.0.0.1", &port, &listener));
    EXPECT(port != 0);
    EXPECT_OK(io->net_poller_open(NULL, &poller));
    EXPECT_OK(io->net_watch(NULL, poller, listener, true, false, &listener));
    EXPECT_ERR(io->net_accept(NULL, listener, &served, NULL, 0), ERR_AGAIN);

    int client = connect_to(port);
    EXPECT(poll_one(poller).tag == &listener);
    EXPECT_OK(io->net_accept(NULL, listener, &served, peer, sizeof peer));
    EXPECT(str_starts(str_from(peer), STR("127.0.0.1:")));
    EXPECT_ERR(io->net_accept(NULL, listener, &again, NULL, 0), ERR_AGAIN);

    char bytes[16];
    size_t n;
    EXPECT_OK(io->net_watch(NULL, poller, served, true, false, &served));
    EXPECT_ERR(io->net_read(NULL, served, bytes, sizeof bytes, &n), ERR_AGAIN);
    EXPECT_EQ(send(client, "ping", 4, 0), 4);
    IoEvent event = poll_one(poller);
    EXPECT(event.tag == &served && event.readable && !event.writable);
    EXPECT_OK(io->net_read(NULL, served, bytes, sizeof bytes, &n));
    EXPECT_BYTES(BYTES(bytes, n), BYTES("ping", 4));

    EXPECT_OK(io->net_watch(NULL, poller, served, false, true, &port));  // the same call changes it
    event = poll_one(poller);
    EXPECT(event.tag == &port && event.writable && !event.readable);
    struct iovec parts[] = {{"po", 2}, {"ng", 2}};
    EXPECT_OK(io->net_write(NULL, served, parts, 2, &n));
    EXPECT_EQ(n, 4);
    EXPECT_EQ(recv(client, bytes, 4, MSG_WAITALL), 4);
    EXPECT_BYTES(BYTES(bytes, 4), BYTES("pong", 4));

    io->net_finish(NULL, served);
    EXPECT_EQ(recv(client, bytes, sizeof bytes, 0), 0);
    EXPECT_EQ(send(client, "more", 4, 0), 4);
    EXPECT_OK(io->net_watch(NULL, poller, served, true, false, &served));
    EXPECT(poll_one(poller).readable);
    EXPECT_OK(io->net_read(NULL, served, bytes, sizeof bytes, &n));
    EXPECT_BYTES(BYTES(bytes, n), BYTES("more", 4));

    close(client);
    EXPECT(poll_one(poller).readable);
    EXPECT_OK(io->net_read(NULL, served, bytes, sizeof bytes, &n));
    EXPECT_EQ(n, 0);
    io->net_unwatch(NULL, poller, served);
    io->net_close(NULL, served);
    io->net_close(NULL, listener);
    io->net_poller_close(NULL, &poller);
}

TEST(net, writing_to_a_peer_that_is_gone_is_an_error_and_not_a_signal) {
    io = io_real();
    uint16_t port = 0;
    int listener, served;
    EXPECT_OK(io->net_listen(NULL, "127.0.0.1", &port, &listener));
    int client = connect_to(port);
    Err err;
    do {
        err = io->net_accept(NULL, listener, &served, NULL, 0);
    } while (err == ERR_AGAIN);
    EXPECT_OK(err);
    close(client);
    struct iovec part = {"x", 1};
    size_t n;
    do {  // the first write may still find an open window
        err = io->net_write(NULL, served, &part, 1, &n);
    } while (err == OK);
    EXPECT_ERR(err, ERR_CLOSED);
    io->net_close(NULL, served);
    io->net_close(NULL, listener);
}

TEST(net, refuses_a_taken_port_and_an_unknown_host) {
    io = io_real();
    uint16_t port = 0, other = 0;
    int first, second;
    EXPECT_OK(io->net_listen(NULL, "127.0.0.1", &port, &first));
    EXPECT_ERR(io->net_listen(NULL, "127.0.0.1", &port, &second), ERR_BUSY);
    EXPECT_ERR(io->net_listen(NULL, "no.such.host.invalid", &other, &second), ERR_IO);
    io->net_close(NULL, first);
}

TEST(net, listens_on_every_address_when_none_is_given) {
    io = io_real();
    uint16_t port = 0;
    int listener, served;
    char peer[64];
    EXPECT_OK(io->net_listen(NULL, "", &port, &listener));
    int client = connect_to(port);
    Err err;
    do {
        err = io->net_accept(NULL, listener, &served, peer, sizeof peer);
    } while (err == ERR_AGAIN);
    EXPECT_OK(err);
    EXPECT(str_starts(str_from(peer), STR("127.0.0.1:")));  // not ::ffff:127.0.0.1
    close(client);
    io->net_close(NULL, served);
    io->net_close(NULL, listener);
}

static void *wake_later(void *poller) {
    usleep(20000);
    io->net_wake(NULL, poller);
    return NULL;
}

TEST(poller, wakes_from_another_thread_and_remembers_an_early_wake) {
    io = io_real();
    IoPoller *poller = NULL;
    IoEvent event;
    int count;
    EXPECT_OK(io->net_poller_open(NULL, &poller));
    io->net_wake(NULL, poller);
    EXPECT_OK(io->net_poll(NULL, poller, -1, &event, 1, &count));  // would hang if forgotten
    EXPECT_EQ(count, 0);

    pthread_t thread;
    EXPECT_EQ(pthread_create(&thread, NULL, wake_later, poller), 0);
    EXPECT_OK(io->net_poll(NULL, poller, -1, &event, 1, &count));
    EXPECT_EQ(count, 0);
    pthread_join(thread, NULL);

    int64_t before = io->clock_monotonic_ns(NULL);
    EXPECT_OK(io->net_poll(NULL, poller, 3000, &event, 1, &count));
    EXPECT(io->clock_monotonic_ns(NULL) - before >= 2900000);
    io->net_poller_close(NULL, &poller);
}

TEST_MAIN()
