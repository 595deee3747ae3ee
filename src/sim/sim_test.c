#include "sim/sim.h"

#include "base/test.h"

static Sim *sim;
static const Io *io;

static void begin(uint64_t seed) {
    EXPECT_OK(sim_new(seed, &sim));
    io = sim_io(sim);
}

static IoFile *open_file(const char *path) {
    IoFile *file = NULL;
    EXPECT_OK(io->file_open(io->world, path, IO_READ | IO_WRITE | IO_CREATE, &file));
    return file;
}

static void write_text(IoFile *file, uint64_t offset, const char *text) {
    EXPECT_OK(io->file_write(io->world, file, offset, text, strlen(text)));
}

static void expect_content(const char *path, Str want) {
    Buf got = {0};
    EXPECT_OK(io_read_file(io, path, 1 << 20, &got));
    EXPECT_BYTES(buf_bytes(&got), str_bytes(want));
    buf_deinit(&got);
}

static bool exists(const char *path) {
    IoFile *file = NULL;
    Err err = io->file_open(io->world, path, IO_READ, &file);
    io->file_close(io->world, &file);
    return err == OK;
}

// A file with a durable name and durable content.
static IoFile *durable_file(const char *path, const char *text) {
    IoFile *file = open_file(path);
    write_text(file, 0, text);
    EXPECT_OK(io->file_sync(io->world, file));
    EXPECT_OK(io->dir_sync(io->world, "."));
    return file;
}

TEST(sim_disk, keeps_what_was_synced_whatever_the_seed) {
    for (uint64_t seed = 0; seed < 50; seed++) {
        begin(seed);
        IoFile *file = durable_file("f", "synced");
        io->file_close(io->world, &file);
        sim_disk_reboot(sim, seed);
        expect_content("f", STR("synced"));
        sim_free(&sim);
    }
}

TEST(sim_disk, loses_keeps_or_tears_what_was_not_synced) {
    static char old[2048], new[2048];
    memset(old, 'o', sizeof old);
    memset(new, 'n', sizeof new);
    int lost = 0, kept = 0, torn = 0;
    for (uint64_t seed = 0; seed < 100; seed++) {
        begin(seed);
        IoFile *file = open_file("f");
        EXPECT_OK(io->file_write(io->world, file, 0, old, sizeof old));
        EXPECT_OK(io->file_sync(io->world, file));
        EXPECT_OK(io->dir_sync(io->world, ""));
        EXPECT_OK(io->file_write(io->world, file, 0, new, sizeof new));
        io->file_close(io->world, &file);
        sim_disk_reboot(sim, seed);
        Buf got = {0};
        EXPECT_OK(io_read_file(io, "f", 4096, &got));
        EXPECT_EQ(got.len, 2048);
        int new_sectors = 0;
        for (size_t sector = 0; sector < 4; sector++) {
            const uint8_t *at = got.ptr + sector * 512;
            EXPECT(memcmp(at, old, 512) == 0 || memcmp(at, new, 512) == 0);
            new_sectors += at[0] == 'n';
        }
        lost += new_sectors == 0;
        kept += new_sectors == 4;
        torn += new_sectors > 0 && new_sectors < 4;
        buf_deinit(&got);
        sim_free(&sim);
    }
    EXPECT(lost > 10 && kept > 10 && torn > 10);
}

TEST(sim_disk, a_sync_in_flight_covers_what_was_written_before_it_began) {
    int before = 0, after = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        IoSyncer *syncer = NULL;
        Err err = ERR_AGAIN;
        int asked = 0;
        begin(seed);
        IoFile *file = open_file("f");
        EXPECT_OK(io->dir_sync(io->world, ""));
        EXPECT_OK(io->syncer_open(io->world, NULL, NULL, &syncer));
        write_text(file, 0, "before");
        io->sync_start(io->world, syncer, file);
        write_text(file, 512, "after");
        while (!io->sync_ended(io->world, syncer, false, &err)) {
            asked++;
        }
        EXPECT_OK(err);
        EXPECT(asked <= 3);
        io->syncer_close(io->world, &syncer);
        io->file_close(io->world, &file);
        sim_disk_reboot(sim, seed);
        Buf got = {0};
        EXPECT_OK(io_read_file(io, "f", 4096, &got));
        before += got.len >= 6 && memcmp(got.ptr, "before", 6) == 0;
        after += got.len >= 517 && memcmp(got.ptr + 512, "after", 5) == 0;
        buf_deinit(&got);
        sim_free(&sim);
    }
    EXPECT_EQ(before, 60);
    EXPECT(after > 10 && after < 50);
}

TEST(sim_disk, a_sync_in_flight_fails_and_loses_power_as_others_do) {
    IoSyncer *syncer = NULL;
    Err err = OK;
    begin(1);
    IoFile *file = open_file("f");
    EXPECT_OK(io->syncer_open(io->world, NULL, NULL, &syncer));
    sim_disk_fail_at(sim, SIM_SYNC, 0, ERR_DISK_FULL);
    io->sync_start(io->world, syncer, file);
    EXPECT(io->sync_ended(io->world, syncer, true, &err));
    EXPECT_ERR(err, ERR_DISK_FULL);
    io->sync_start(io->world, syncer, file);
    sim_disk_reboot(sim, 1);
    EXPECT(io->sync_ended(io->world, syncer, true, &err));
    EXPECT_ERR(err, ERR_IO);
    io->sync_start(io->world, syncer, file);
    io->syncer_close(io->world, &syncer);  // with one in flight
    EXPECT(syncer == NULL);
    io->file_close(io->world, &file);
    sim_free(&sim);
}

typedef struct Work {
    IoFile *file;
    int runs;
} Work;

static Err work_run(void *ctx) {
    Work *work = ctx;
    work->runs++;
    Err err = io->file_write(io->world, work->file, 0, "work", 4);
    return err == OK ? io->file_sync(io->world, work->file) : err;
}

TEST(sim_disk, work_in_flight_is_done_once_and_the_power_may_find_all_or_nothing_of_it) {
    int early = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        IoSyncer *syncer = NULL;
        Err err = ERR_AGAIN;
        begin(seed);
        Work work = {.file = open_file("f")};
        EXPECT_OK(io->dir_sync(io->world, ""));
        EXPECT_OK(io->syncer_open(io->world, NULL, NULL, &syncer));
        sim_disk_fail_at(sim, SIM_SYNC, 0, ERR_DISK_FULL);
        io->work_start(io->world, syncer, work_run, &work);
        while (!io->sync_ended(io->world, syncer, false, &err))
            continue;
        EXPECT_ERR(err, ERR_DISK_FULL);
        EXPECT_EQ(work.runs, 1);
        io->work_start(io->world, syncer, work_run, &work);
        sim_disk_reboot(sim, seed);
        EXPECT(io->sync_ended(io->world, syncer, true, &err));
        Buf got = {0};
        EXPECT_OK(io_read_file(io, "f", 4096, &got));
        EXPECT(err == OK ? got.len == 4 : err == ERR_IO);
        early += err == OK;
        EXPECT_EQ(work.runs, 2);
        io->work_start(io->world, syncer, work_run, &work);
        io->syncer_close(io->world, &syncer);  // with it in flight
        EXPECT_EQ(work.runs, 3);
        io->file_close(io->world, &work.file);
        buf_deinit(&got);
        sim_free(&sim);
    }
    EXPECT(early > 10 && early < 50);
}

TEST(sim_disk, forgets_names_until_their_directory_is_synced) {
    int lost = 0, kept = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        begin(seed);
        EXPECT_OK(io->dir_make(io->world, "d"));
        IoFile *file = open_file("d/f");
        write_text(file, 0, "x");
        EXPECT_OK(io->file_sync(io->world, file));
        EXPECT_OK(io->dir_sync(io->world, "."));  // not the one that matters
        io->file_close(io->world, &file);
        sim_disk_reboot(sim, seed);
        exists("d/f") ? kept++ : lost++;
        sim_free(&sim);
    }
    EXPECT(lost > 5 && kept > 5);
}

TEST(sim_disk, replaces_a_file_by_rename_without_a_moment_of_neither) {
    for (uint64_t seed = 0; seed < 40; seed++) {
        for (uint64_t cut = 0; cut < 4; cut++) {
            for (SimOp op = SIM_WRITE; op <= SIM_SYNC; op++) {
                begin(seed);
                EXPECT_OK(io_replace_file(io, "f", BYTES("old", 3), false));
                sim_disk_cut_at(sim, op, cut);
                Err err = io_replace_file(io, "f", BYTES("newer", 5), false);
                sim_disk_reboot(sim, seed);
                Buf got = {0};
                EXPECT_OK(io_read_file(io, "f", 100, &got));
                bool is_new = bytes_eq(buf_bytes(&got), BYTES("newer", 5));
                EXPECT(is_new || (err != OK && bytes_eq(buf_bytes(&got), BYTES("old", 3))));
                buf_deinit(&got);
                sim_free(&sim);
            }
        }
    }
}

TEST(sim_disk, is_dead_from_the_chosen_call_until_the_reboot) {
    begin(1);
    IoFile *file = durable_file("f", "abc");
    EXPECT_OK(io->file_lock(io->world, file));
    uint64_t writes = sim_disk_count(sim, SIM_WRITE);
    sim_disk_cut_at(sim, SIM_WRITE, 1);
    write_text(file, 0, "1");
    EXPECT_ERR(io->file_write(io->world, file, 1, "2", 1), ERR_IO);
    EXPECT_EQ(sim_disk_count(sim, SIM_WRITE), writes + 2);
    EXPECT(sim_disk_is_off(sim));
    EXPECT_ERR(io->file_sync(io->world, file), ERR_IO);
    EXPECT_ERR(io->dir_sync(io->world, "."), ERR_IO);
    char byte;
    size_t got;
    EXPECT_ERR(io->file_read(io->world, file, 0, &byte, 1, &got), ERR_IO);
    EXPECT_ERR(io->file_remove(io->world, "f"), ERR_IO);
    sim_disk_reboot(sim, 1);
    EXPECT(!sim_disk_is_off(sim));
    EXPECT_ERR(io->file_read(io->world, file, 0, &byte, 1, &got), ERR_IO);  // an old handle
    IoFile *again = open_file("f");
    EXPECT_OK(io->file_lock(io->world, again));  // the lock did not survive
    io->file_close(io->world, &file);
    io->file_close(io->world, &again);
    sim_free(&sim);
}

TEST(sim_disk, fails_one_call_and_goes_on) {
    begin(2);
    IoFile *file = durable_file("f", "");
    sim_disk_fail_at(sim, SIM_WRITE, 1, ERR_DISK_FULL);
    write_text(file, 0, "a");
    EXPECT_ERR(io->file_write(io->world, file, 1, "bcdefgh", 7), ERR_DISK_FULL);
    uint64_t size;
    EXPECT_OK(io->file_size(io->world, file, &size));
    EXPECT(size < 8);  // a part, never all
    write_text(file, 1, "z");
    sim_disk_fail_at(sim, SIM_SYNC, 0, ERR_IO);
    EXPECT_ERR(io->file_sync(io->world, file), ERR_IO);
    EXPECT_OK(io->file_sync(io->world, file));
    io->file_close(io->world, &file);
    sim_free(&sim);
}

TEST(sim_disk, does_not_bring_back_what_a_failed_sync_threw_away) {
    int lost = 0;
    for (uint64_t seed = 0; seed < 40; seed++) {
        begin(seed);
        IoFile *file = durable_file("f", "old");
        write_text(file, 0, "new");
        sim_disk_fail_at(sim, SIM_SYNC, 0, ERR_IO);
        EXPECT_ERR(io->file_sync(io->world, file), ERR_IO);
        EXPECT_OK(io->file_sync(io->world, file));
        expect_content("f", STR("new"));  // still what reads see
        io->file_close(io->world, &file);
        sim_disk_reboot(sim, seed);
        Buf got = {0};
        EXPECT_OK(io_read_file(io, "f", 10, &got));
        lost += got.ptr[0] == 'o';
        buf_deinit(&got);
        sim_free(&sim);
    }
    EXPECT(lost > 5);
}

TEST(sim_disk, has_a_limit_that_removing_files_makes_room_under) {
    begin(3);
    sim_disk_limit(sim, 10);
    IoFile *file = open_file("a"), *other = open_file("b");
    write_text(file, 0, "123456");
    EXPECT_ERR(io->file_write(io->world, other, 0, "12345", 5), ERR_DISK_FULL);
    EXPECT_ERR(io->file_preallocate(io->world, other, 100), ERR_DISK_FULL);
    write_text(file, 0, "654321");  // no new space
    EXPECT_OK(io->file_remove(io->world, "a"));
    write_text(other, 0, "1234567890");
    io->file_close(io->world, &file);
    io->file_close(io->world, &other);
    sim_free(&sim);
}

TEST(sim_disk, rots_until_it_is_written_or_healed_and_fails_reads) {
    uint8_t bytes[3];
    size_t got;
    begin(3);
    IoFile *file = open_file("f");
    write_text(file, 0, "abc");
    EXPECT_OK(sim_disk_rot(sim, "f", 1, 1));
    EXPECT_OK(sim_disk_rot(sim, "f", 2, 1));
    EXPECT_ERR(sim_disk_rot(sim, "f", 3, 1), ERR_INVALID);
    EXPECT_OK(io->file_read(io->world, file, 0, bytes, 3, &got));
    EXPECT_BYTES(BYTES(bytes, got), BYTES("acb", 3));
    write_text(file, 1, "b");
    EXPECT_EQ(sim_disk_rotten(sim), 1);
    EXPECT_OK(io->file_read(io->world, file, 0, bytes, 3, &got));
    EXPECT_BYTES(BYTES(bytes, got), BYTES("abb", 3));
    sim_disk_heal(sim);
    sim_disk_fail_at(sim, SIM_READ, 1, ERR_IO);
    EXPECT_OK(io->file_read(io->world, file, 0, bytes, 3, &got));
    EXPECT_BYTES(BYTES(bytes, got), BYTES("abc", 3));
    EXPECT_ERR(io->file_read(io->world, file, 0, bytes, 3, &got), ERR_IO);
    io->file_close(io->world, &file);
    sim_free(&sim);
}

static Err collect(void *ctx, const char *name) {
    buf_printf(ctx, "%s,", name);
    return OK;
}

TEST(sim_disk, knows_directories_and_tidies_paths) {
    begin(4);
    IoFile *file = NULL;
    int make = IO_WRITE | IO_CREATE | IO_EXCLUSIVE;
    EXPECT_ERR(io->file_open(io->world, "d/f", make, &file), ERR_NOT_FOUND);
    EXPECT_OK(io->dir_make(io->world, "./d//e/"));
    EXPECT_OK(io->dir_make(io->world, "d/e"));
    EXPECT_OK(io->file_open(io->world, "d//f", make, &file));
    io->file_close(io->world, &file);
    EXPECT_ERR(io->file_open(io->world, "./d/f", make, &file), ERR_EXISTS);
    EXPECT_ERR(io->dir_make(io->world, "d/f/g"), ERR_EXISTS);
    Buf names = {0};
    EXPECT_OK(io->dir_list(io->world, "d/", collect, &names));
    EXPECT_BYTES(buf_bytes(&names), BYTES("f,e,", 4));
    EXPECT_ERR(io->dir_list(io->world, "x", collect, &names), ERR_NOT_FOUND);
    buf_deinit(&names);
    EXPECT_OK(io->file_rename(io->world, "d/f", "d/e/g"));
    EXPECT(!exists("d/f") && exists("d/e/g"));
    sim_disk_reboot(sim, 9);
    EXPECT_OK(io->dir_make(io->world, "d"));
    EXPECT_ERR(io->file_remove(io->world, "d/e"), ERR_NOT_FOUND);
    sim_free(&sim);
}

TEST(sim_disk, locks_a_file_for_one_handle) {
    begin(5);
    IoFile *first = open_file("f"), *second = open_file("f");
    EXPECT_OK(io->file_lock(io->world, first));
    EXPECT_ERR(io->file_lock(io->world, second), ERR_BUSY);
    io->file_close(io->world, &first);
    EXPECT_OK(io->file_lock(io->world, second));
    io->file_close(io->world, &second);
    sim_free(&sim);
}

TEST(sim_disk, can_be_spoiled) {
    begin(6);
    IoFile *file = durable_file("f", "abc");
    io->file_close(io->world, &file);
    EXPECT_OK(sim_disk_flip(sim, "f", 1, 1));
    EXPECT_ERR(sim_disk_flip(sim, "f", 3, 1), ERR_INVALID);
    EXPECT_ERR(sim_disk_flip(sim, "g", 0, 1), ERR_NOT_FOUND);
    sim_disk_reboot(sim, 1);
    expect_content("f", STR("acc"));
    sim_free(&sim);
}

TEST(sim_clock, moves_only_when_told) {
    begin(7);
    Micros wall = io->clock_wall(io->world);
    int64_t ns = io->clock_monotonic_ns(io->world);
    EXPECT_EQ(io->clock_wall(io->world), wall);
    sim_clock_advance(sim, 1500);
    EXPECT_EQ(io->clock_wall(io->world), wall + 1500);
    EXPECT_EQ(io->clock_monotonic_ns(io->world), ns + 1500000);
    sim_clock_set_wall(sim, 0);
    EXPECT_EQ(io->clock_wall(io->world), 0);
    EXPECT_EQ(io->clock_monotonic_ns(io->world), ns + 1500000);
    sim_free(&sim);
}

TEST(sim, repeats_itself_by_seed) {
    uint8_t first[16], again[16], other[16];
    begin(8);
    io->random_bytes(io->world, first, sizeof first);
    sim_free(&sim);
    begin(8);
    io->random_bytes(io->world, again, sizeof again);
    sim_free(&sim);
    begin(9);
    io->random_bytes(io->world, other, sizeof other);
    sim_free(&sim);
    EXPECT_BYTES(BYTES(first, 16), BYTES(again, 16));
    EXPECT(memcmp(first, other, 16) != 0);
}

static void connect_pair(int *listener, int *client, int *served) {
    uint16_t port = 0;
    EXPECT_OK(io->net_listen(io->world, "127.0.0.1", &port, listener));
    EXPECT_OK(sim_net_connect(sim, port, client));
    char peer[32];
    EXPECT_OK(io->net_accept(io->world, *listener, served, peer, sizeof peer));
    EXPECT(str_starts(str_from(peer), STR("127.0.0.1:")));
    EXPECT_ERR(io->net_accept(io->world, *listener, served, NULL, 0), ERR_AGAIN);
}

TEST(sim_net, carries_bytes_in_order_through_small_pieces) {
    begin(10);
    sim_net_set_partial(sim, true);
    sim_net_set_capacity(sim, 100);
    int listener, client, served;
    connect_pair(&listener, &client, &served);
    uint8_t sent[5000], got[5000];
    for (size_t i = 0; i < sizeof sent; i++) {
        sent[i] = (uint8_t)(i * 31 >> 3);
    }
    size_t sent_len = 0, got_len = 0, n;
    while (got_len < sizeof got) {
        size_t rest = sizeof sent - sent_len, half = rest / 2;
        struct iovec parts[] = {{sent + sent_len, half}, {sent + sent_len + half, rest - half}};
        Err err = io->net_write(io->world, client, parts, 2, &n);
        EXPECT(err == OK || err == ERR_AGAIN);
        if (err == OK) sent_len += n;
        err = io->net_read(io->world, served, got + got_len, sizeof got - got_len, &n);
        EXPECT(err == OK || err == ERR_AGAIN);
        if (err == OK) got_len += n;
    }
    EXPECT_BYTES(BYTES(got, sizeof got), BYTES(sent, sizeof sent));
    sim_free(&sim);
}

TEST(sim_net, one_side_may_finish_and_still_listen) {
    begin(12);
    int listener, client, served;
    connect_pair(&listener, &client, &served);
    char byte;
    size_t n;
    struct iovec part = {"x", 1};
    EXPECT_OK(io->net_write(io->world, served, &part, 1, &n));
    io->net_finish(io->world, served);
    EXPECT_ERR(io->net_write(io->world, served, &part, 1, &n), ERR_CLOSED);
    EXPECT_OK(io->net_read(io->world, client, &byte, 1, &n));
    EXPECT_EQ(n, 1);
    EXPECT_OK(io->net_read(io->world, client, &byte, 1, &n));
    EXPECT_EQ(n, 0);
    EXPECT_OK(io->net_write(io->world, client, &part, 1, &n));
    EXPECT_OK(io->net_read(io->world, served, &byte, 1, &n));
    EXPECT_EQ(n, 1);
    io->net_close(io->world, client);
    io->net_close(io->world, served);
    io->net_close(io->world, listener);
    sim_free(&sim);
}

TEST(sim_net, ends_after_what_was_sent_and_breaks_when_cut) {
    begin(11);
    int listener, client, served;
    connect_pair(&listener, &client, &served);
    char byte;
    size_t n;
    struct iovec part = {"x", 1};
    EXPECT_ERR(io->net_read(io->world, served, &byte, 1, &n), ERR_AGAIN);
    EXPECT_OK(io->net_write(io->world, client, &part, 1, &n));
    io->net_close(io->world, client);
    EXPECT_OK(io->net_read(io->world, served, &byte, 1, &n));
    EXPECT(n == 1 && byte == 'x');
    EXPECT_OK(io->net_read(io->world, served, &byte, 1, &n));
    EXPECT_EQ(n, 0);
    EXPECT_ERR(io->net_write(io->world, served, &part, 1, &n), ERR_CLOSED);
    io->net_close(io->world, served);
    io->net_close(io->world, listener);

    connect_pair(&listener, &client, &served);
    EXPECT_OK(io->net_write(io->world, client, &part, 1, &n));
    sim_net_cut(sim, client);
    EXPECT_ERR(io->net_read(io->world, served, &byte, 1, &n), ERR_CLOSED);
    EXPECT_ERR(io->net_write(io->world, served, &part, 1, &n), ERR_CLOSED);
    EXPECT_ERR(io->net_read(io->world, client, &byte, 1, &n), ERR_CLOSED);
    io->net_close(io->world, listener);
    EXPECT_ERR(sim_net_connect(sim, 1, &client), ERR_NOT_FOUND);
    sim_free(&sim);
}

TEST(sim_net, polls_what_is_watched_and_ready) {
    begin(12);
    IoPoller *poller = NULL;
    IoEvent events[4];
    int listener, client, served, count;
    size_t n;
    struct iovec part = {"x", 1};
    connect_pair(&listener, &client, &served);
    EXPECT_OK(io->net_poller_open(io->world, &poller));
    EXPECT_OK(io->net_watch(io->world, poller, listener, true, false, &listener));
    EXPECT_OK(io->net_watch(io->world, poller, served, true, false, &served));
    EXPECT_OK(io->net_poll(io->world, poller, -1, events, 4, &count));
    EXPECT_EQ(count, 0);
    EXPECT_OK(io->net_write(io->world, client, &part, 1, &n));
    EXPECT_OK(io->net_poll(io->world, poller, -1, events, 4, &count));
    EXPECT(count == 1 && events[0].tag == &served && events[0].readable && !events[0].writable);
    EXPECT_OK(io->net_watch(io->world, poller, served, false, true, &count));
    EXPECT_OK(io->net_poll(io->world, poller, -1, events, 4, &count));
    EXPECT(count == 1 && events[0].tag == &count && !events[0].readable && events[0].writable);
    EXPECT_OK(io->net_watch(io->world, poller, served, false, false, &served));
    sim_net_cut(sim, client);
    EXPECT_OK(io->net_poll(io->world, poller, -1, events, 4, &count));
    EXPECT(count == 1 && events[0].readable);  // unasked
    io->net_unwatch(io->world, poller, served);
    EXPECT_OK(io->net_poll(io->world, poller, -1, events, 4, &count));
    EXPECT_EQ(count, 0);
    io->net_poller_close(io->world, &poller);
    sim_free(&sim);
}

TEST_MAIN()
