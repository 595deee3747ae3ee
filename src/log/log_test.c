#include "log/log.h"

#include "base/mem.h"
#include "base/test.h"
#include "log/segment.h"
#include "sim/sim.h"

enum { SEGMENT_BYTES = 4096, SEEDS = 20 };

static Sim *sim;
static Log *log_;
static Diag diag;
// Not 0: operations come in buffers of their own, and what has so many bytes is large.
static size_t large_bytes;

// What a workload wrote and what a replay gave back: commit n is fully determined by n.
typedef struct Seen {
    uint64_t commits;
    bool wrong;
} Seen;

static size_t payload_len(uint64_t n) {
    return n % 7 == 6 ? 1500 : (size_t)(n * 37 % 200);
}

static void payload_fill(uint64_t n, uint8_t *out, size_t len) {
    for (size_t i = 0; i < len; i++) {
        out[i] = (uint8_t)(n * 13 + i);
    }
}

static CommitInfo info_of(uint64_t n) {
    CommitInfo info = {.timestamp = (Micros)(1000 + n), .name = n % 2 ? STR("insert") : STR("")};
    memset(info.caller.le, (int)n, sizeof info.caller.le);
    memset(info.connection.le, (int)(n + 1), sizeof info.connection.le);
    return info;
}

// The same operations, filled in elsewhere.
static Err commit_hand_over(Log *log, uint64_t n, Bytes bytes, TxOffset *out) {
    Buf first = {0}, rest = {0};
    commit_op_put(&first, COMMIT_INSERT, (uint32_t)n, bytes);
    commit_op_put(&rest, COMMIT_DELETE, 7, BYTES(bytes.ptr, bytes.len / 2));
    if (n % 3 == 0) commit_op_put(&rest, COMMIT_TRUNCATE, 8, BYTES_NONE);
    bool ok = buf_ok(&first) && buf_ok(&rest);
    if (ok) {
        log_commit_take_ops(log, &first, n % 3 == 0 ? 3 : 2);
        log_commit_take_ops(log, &rest, 0);
        EXPECT(!first.ptr && !rest.ptr);
        return log_commit_end(log, out);
    }
    log_commit_abandon(log);
    buf_deinit(&first);
    buf_deinit(&rest);
    return ERR_NOMEM;
}

static Err commit_add(Log *log, uint64_t n, TxOffset *out) {
    uint8_t bytes[1500];
    size_t len = payload_len(n);
    payload_fill(n, bytes, len);
    CommitInfo info = info_of(n);
    log_commit_begin(log, &info);
    if (large_bytes) return commit_hand_over(log, n, BYTES(bytes, len), out);
    log_commit_op(log, COMMIT_INSERT, (uint32_t)n, BYTES(bytes, len));
    log_commit_op(log, COMMIT_DELETE, 7, BYTES(bytes, len / 2));
    if (n % 3 == 0) log_commit_op(log, COMMIT_TRUNCATE, 8, BYTES_NONE);
    return log_commit_end(log, out);
}

static bool commit_is(const Commit *commit, uint64_t n) {
    uint8_t bytes[1500];
    size_t len = payload_len(n);
    payload_fill(n, bytes, len);
    CommitInfo info = info_of(n);
    Bytes ops = commit->ops;
    CommitOp op;
    bool same = commit->offset.v == n && commit->info.timestamp == info.timestamp &&
                identity_eq(&commit->info.caller, &info.caller) &&
                connection_id_eq(&commit->info.connection, &info.connection) &&
                str_eq(commit->info.name, info.name) && commit->op_count == (n % 3 == 0 ? 3u : 2u);
    same = same && commit_next_op(&ops, &op) && op.kind == COMMIT_INSERT &&
           op.table_id == (uint32_t)n && bytes_eq(op.bytes, BYTES(bytes, len));
    same = same && commit_next_op(&ops, &op) && op.kind == COMMIT_DELETE && op.table_id == 7 &&
           bytes_eq(op.bytes, BYTES(bytes, len / 2));
    if (n % 3 == 0) {
        same = same && commit_next_op(&ops, &op) && op.kind == COMMIT_TRUNCATE &&
               op.table_id == 8 && op.bytes.len == 0;
    }
    return same && !commit_next_op(&ops, &op);
}

static Err replay(void *ctx, const Commit *commit, Diag *d) {
    (void)d;
    Seen *seen = ctx;
    if (!commit_is(commit, seen->commits)) seen->wrong = true;
    seen->commits++;
    return OK;
}

static Err open_log(Seen *seen, uint64_t *torn) {
    *seen = (Seen){0};
    LogOptions options = {
        .io = sim_io(sim),
        .dir = "db/log",
        .segment_bytes = SEGMENT_BYTES,
        .large_bytes = large_bytes,
    };
    diag_clear(&diag);
    return log_open(&options, replay, seen, &log_, torn, &diag);
}

static void begin(uint64_t seed) {
    EXPECT_OK(sim_new(seed, &sim));
}

static void finish(void) {
    large_bytes = 0;
    log_close(&log_);
    sim_free(&sim);
}

// Every other flush waits for the one in flight and goes on beside the next commits.
static Err flush(Log *log, bool beside, uint64_t *acknowledged) {
    Err err = beside ? log_flush_poll(log, true, &diag) : log_flush(log, &diag);
    *acknowledged = log_durable_end(log).v;
    if (err == OK && beside) return log_flush_start(log, &diag);
    EXPECT(err != OK || *acknowledged == log_end(log).v);
    return err;
}

// Batches of 1, 2, 3, 1, 2, 3 … commits until `commits` are flushed or something fails. Returns
// how many were acknowledged.
static Err write_commits(Log *log, uint64_t commits, uint64_t *acknowledged) {
    uint64_t n = log_end(log).v;
    *acknowledged = n;
    for (uint64_t batch = 0; n < commits; batch++) {
        for (uint64_t i = 0; i <= batch % 3 && n < commits; i++) {
            TxOffset offset;
            Err err = commit_add(log, n, &offset);
            if (err != OK) return err;
            EXPECT_EQ(offset.v, n);
            n++;
        }
        Err err = flush(log, batch % 2, acknowledged);
        if (err != OK) return err;
    }
    return flush(log, false, acknowledged);
}

static void write_and_close(uint64_t commits) {
    Seen seen;
    uint64_t torn, acknowledged;
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT_OK(write_commits(log_, commits, &acknowledged));
    log_close(&log_);
}

static void expect_replays(uint64_t commits, uint64_t torn_bytes) {
    Seen seen;
    uint64_t torn;
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT(!seen.wrong);
    EXPECT_EQ(seen.commits, commits);
    EXPECT_EQ(torn, torn_bytes);
    EXPECT_EQ(log_end(log_).v, commits);
    EXPECT_EQ(log_durable_end(log_).v, commits);
    log_close(&log_);
}

static const char *segment_path(uint64_t first_offset) {
    static char path[64];
    char name[SEGMENT_NAME_LEN + 1];
    segment_name_write(first_offset, name);
    snprintf(path, sizeof path, "db/log/%s", name);
    return path;
}

// ── plain life ────────────────────────────────────────────────────────────────────────────────

TEST(log, replays_what_was_flushed_across_segments_and_reopenings) {
    begin(1);
    for (uint64_t commits = 10; commits <= 60; commits += 10) {
        write_and_close(commits);
        expect_replays(commits, 0);
    }
    finish();
}

TEST(log, loses_what_was_not_flushed) {
    begin(1);
    Seen seen;
    uint64_t torn;
    TxOffset offset;
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT_OK(commit_add(log_, 0, &offset));
    EXPECT_OK(log_flush(log_, &diag));
    EXPECT_OK(commit_add(log_, 1, &offset));
    EXPECT_EQ(log_end(log_).v, 2);
    EXPECT_EQ(log_durable_end(log_).v, 1);
    log_close(&log_);
    expect_replays(1, 0);
    finish();
}

TEST(log, forgets_an_abandoned_commit) {
    begin(1);
    Seen seen;
    uint64_t torn;
    TxOffset offset;
    CommitInfo info = info_of(5);
    EXPECT_OK(open_log(&seen, &torn));
    log_commit_begin(log_, &info);  // the first of a batch
    log_commit_op(log_, COMMIT_INSERT, 1, BYTES("abc", 3));
    log_commit_abandon(log_);
    EXPECT_OK(commit_add(log_, 0, &offset));
    log_commit_begin(log_, &info);  // and a later one
    log_commit_abandon(log_);
    EXPECT_OK(commit_add(log_, 1, &offset));
    EXPECT_EQ(offset.v, 1);
    EXPECT_OK(log_flush(log_, &diag));
    log_close(&log_);
    expect_replays(2, 0);
    finish();
}

TEST(log, costs_one_sync_a_flush_and_none_for_nothing) {
    begin(1);
    Seen seen;
    uint64_t torn;
    TxOffset offset;
    EXPECT_OK(open_log(&seen, &torn));
    uint64_t syncs = log_syncs(log_), disk_syncs = sim_disk_count(sim, SIM_SYNC);
    EXPECT_OK(log_flush(log_, &diag));
    EXPECT_EQ(log_syncs(log_), syncs);
    for (uint64_t n = 0; n < 5; n++) {
        EXPECT_OK(commit_add(log_, n, &offset));
    }
    EXPECT_OK(log_flush(log_, &diag));
    EXPECT_EQ(log_syncs(log_), syncs + 1);
    EXPECT_EQ(sim_disk_count(sim, SIM_SYNC), disk_syncs + 1);
    finish();
}

TEST(log, takes_a_batch_larger_than_a_segment) {
    begin(1);
    Seen seen;
    uint64_t torn;
    TxOffset offset;
    EXPECT_OK(open_log(&seen, &torn));
    for (uint64_t n = 0; n < 40; n++) {
        EXPECT_OK(commit_add(log_, n, &offset));
    }
    EXPECT_OK(log_flush(log_, &diag));
    EXPECT(log_bytes(log_) > 2 * SEGMENT_BYTES);
    for (uint64_t n = 40; n < 42; n++) {
        EXPECT_OK(commit_add(log_, n, &offset));
        EXPECT_OK(log_flush(log_, &diag));
    }
    log_close(&log_);
    expect_replays(42, 0);
    finish();
}

TEST(log, in_memory_keeps_nothing_and_is_durable_at_once) {
    begin(1);
    LogOptions options = {.io = sim_io(sim), .in_memory = true};
    TxOffset offset;
    EXPECT_OK(log_open(&options, NULL, NULL, &log_, NULL, &diag));
    for (uint64_t n = 0; n < 3; n++) {
        EXPECT_OK(commit_add(log_, n, &offset));
        EXPECT_OK(log_flush(log_, &diag));
        EXPECT_EQ(log_durable_end(log_).v, n + 1);
    }
    EXPECT_EQ(sim_disk_count(sim, SIM_WRITE), 0);
    EXPECT_EQ(log_bytes(log_), 0);
    finish();
}

TEST(log, is_opened_by_one_at_a_time) {
    begin(1);
    Seen seen;
    uint64_t torn;
    Log *second = NULL;
    EXPECT_OK(open_log(&seen, &torn));
    LogOptions options = {.io = sim_io(sim), .dir = "db/log"};
    EXPECT_ERR(log_open(&options, NULL, NULL, &second, NULL, &diag), ERR_BUSY);
    finish();
}

static Err refuse_third(void *ctx, const Commit *commit, Diag *d) {
    (void)ctx;
    return commit->offset.v == 2 ? diag_fail(d, ERR_UNSUPPORTED, "no") : OK;
}

TEST(log, stops_opening_when_the_replayer_refuses) {
    begin(1);
    write_and_close(5);
    LogOptions options = {.io = sim_io(sim), .dir = "db/log"};
    EXPECT_ERR(log_open(&options, refuse_third, NULL, &log_, NULL, &diag), ERR_UNSUPPORTED);
    EXPECT_STR(diag.text, "no");
    EXPECT_OK(log_open(&options, NULL, NULL, &log_, NULL, &diag));
    finish();
}

static Err remove_in(void *ctx, const char *name) {
    char path[IO_PATH_MAX];
    EXPECT_OK(path_join(path, ctx, name));
    return io_real()->file_remove(NULL, path);
}

TEST(log, works_on_the_real_disk) {
    char dir[IO_PATH_MAX], sub[IO_PATH_MAX];
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/lightcone-log-XXXXXX", tmp ? tmp : "/tmp");
    EXPECT(mkdtemp(dir) != NULL);
    EXPECT_OK(path_join(sub, dir, "log"));
    LogOptions options = {.io = io_real(), .dir = sub, .segment_bytes = SEGMENT_BYTES};
    for (uint64_t end = 20; end <= 60; end += 20) {
        Seen seen = {0};
        uint64_t acknowledged;
        EXPECT_OK(log_open(&options, replay, &seen, &log_, NULL, &diag));
        EXPECT(!seen.wrong);
        EXPECT_EQ(seen.commits, end - 20);
        EXPECT_OK(write_commits(log_, end, &acknowledged));
        log_close(&log_);
    }
    EXPECT_OK(io_real()->dir_list(NULL, sub, remove_in, sub));
    remove(sub);
    remove(dir);
}

// ── power ─────────────────────────────────────────────────────────────────────────────────────

// One life: write with the power failing at the nth operation, then look. True when it failed.
static bool life_with_cut(uint64_t seed, SimOp op, uint64_t nth, uint64_t commits, size_t large) {
    Seen seen;
    uint64_t torn, acknowledged = 0;
    begin(seed);
    large_bytes = large;
    sim_disk_cut_at(sim, op, nth);
    Err err = open_log(&seen, &torn);
    if (err == OK) err = write_commits(log_, commits, &acknowledged);
    bool cut = sim_disk_is_off(sim);
    if (cut) EXPECT_ERR(err, ERR_IO);
    log_close(&log_);
    sim_disk_reboot(sim, seed * 1000 + nth);

    // Whatever was acknowledged is there; beyond it at most the batch in flight, whole.
    EXPECT_OK(open_log(&seen, &torn));
    if (seen.wrong || seen.commits < acknowledged || seen.commits > acknowledged + 3) {
        print_error("seed %d op %d nth %d: acknowledged %d, replayed %d\n",
                    (int)seed,
                    (int)op,
                    (int)nth,
                    (int)acknowledged,
                    (int)seen.commits);
        fail();
    }
    uint64_t end = seen.commits;
    EXPECT_OK(write_commits(log_, end + 5, &acknowledged));  // and it goes on from there
    log_close(&log_);
    sim_disk_reboot(sim, seed);
    expect_replays(end + 5, 0);
    finish();
    return cut;
}

TEST(log, survives_a_power_cut_at_every_write_and_every_sync) {
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (SimOp op = SIM_WRITE; op <= SIM_SYNC; op++) {
            uint64_t nth = 0;
            while (life_with_cut(seed, op, nth, 60, 0)) {
                nth++;
            }
            EXPECT(nth > 30);  // the sweep did sweep
        }
    }
}

// In the middle of one, too: its pieces are writes of their own.
TEST(log, large_batches_survive_a_power_cut_at_every_write_and_every_sync) {
    static const size_t larges[] = {1, 200, 1000};
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        for (SimOp op = SIM_WRITE; op <= SIM_SYNC; op++) {
            uint64_t nth = 0;
            while (life_with_cut(seed, op, nth, 40, larges[seed % 3])) {
                nth++;
            }
            EXPECT(nth > 25);
        }
    }
}

// The recovery itself may lose power, again and again, and the acknowledged stays.
TEST(log, survives_power_cuts_during_recovery) {
    for (uint64_t seed = 0; seed < 12; seed++) {
        Seen seen;
        uint64_t torn, acknowledged;
        begin(seed);
        EXPECT_OK(open_log(&seen, &torn));
        sim_disk_cut_at(sim, SIM_SYNC, 9 + seed % 3);
        EXPECT_ERR(write_commits(log_, 100, &acknowledged), ERR_IO);
        log_close(&log_);
        uint64_t least = acknowledged;
        for (uint64_t nth = 0; nth < 10; nth++) {
            sim_disk_reboot(sim, seed + nth);
            sim_disk_cut_at(sim, nth % 2 ? SIM_WRITE : SIM_SYNC, nth / 2);
            Err err = open_log(&seen, &torn);
            log_close(&log_);
            if (err == OK) {
                EXPECT(!seen.wrong && seen.commits >= least);
                least = seen.commits;
            }
        }
        sim_disk_reboot(sim, seed);
        EXPECT_OK(open_log(&seen, &torn));
        EXPECT(!seen.wrong && seen.commits >= least && seen.commits <= acknowledged + 3);
        finish();
    }
}

// A process that dies leaves written bytes that nobody synced. Opening must make them durable
// before it says that they are.
TEST(log, makes_durable_what_it_replays) {
    for (uint64_t seed = 0; seed < 30; seed++) {
        Seen seen;
        uint64_t torn, acknowledged;
        begin(seed);
        EXPECT_OK(open_log(&seen, &torn));
        sim_disk_cut_at(sim, SIM_SYNC, 3);
        (void)write_commits(log_, 20, &acknowledged);
        log_close(&log_);
        sim_disk_reboot(sim, seed);  // some seeds keep the unsynced batch
        EXPECT_OK(open_log(&seen, &torn));
        log_close(&log_);
        uint64_t replayed = seen.commits;
        sim_disk_reboot(sim, seed + 1);
        EXPECT_OK(open_log(&seen, &torn));
        EXPECT_EQ(seen.commits, replayed);
        finish();
    }
}

// ── tails and damage ──────────────────────────────────────────────────────────────────────────

// Rewrite a file with other content, durably, as if it had been found like that.
static void file_put(const char *path, Bytes content) {
    EXPECT_OK(io_replace_file(sim_io(sim), path, content, false));
}

static uint64_t content_end(const Buf *file) {
    uint64_t end = file->len;
    while (end > 0 && file->ptr[end - 1] == 0) {
        end--;
    }
    return end;
}

TEST(log, torn_tail_loses_only_the_unfinished_batch_whatever_its_length) {
    begin(1);
    write_and_close(3);  // batches of 1 and 2 commits
    Buf file = {0};
    EXPECT_OK(io_read_file(sim_io(sim), segment_path(0), 1 << 20, &file));
    uint64_t whole_end = content_end(&file), size = file.len;
    Bytes head = {file.ptr, file.len};
    SegmentHead segment;
    SegmentFrame first;
    EXPECT(segment_head_read(head, &segment));
    EXPECT(segment_frame_read(segment.salt, head, SEGMENT_HEAD_BYTES, &first));
    uint64_t last_at = SEGMENT_HEAD_BYTES + SEGMENT_FRAME_BYTES + first.payload_len;
    for (uint64_t cut = last_at; cut < whole_end; cut++) {
        memset(file.ptr + cut, 0, size - cut);
        // Zeros in front of the cut were never written as far as anybody can tell.
        uint64_t torn_end = MAX(content_end(&file), last_at);
        file_put(segment_path(0), (Bytes){file.ptr, size});
        expect_replays(1, torn_end - last_at);
        expect_replays(1, 0);  // it was cut
        buf_clear(&file);
        log_close(&log_);
        sim_free(&sim);
        begin(1);
        write_and_close(3);
        EXPECT_OK(io_read_file(sim_io(sim), segment_path(0), 1 << 20, &file));
    }
    buf_deinit(&file);
    finish();
}

TEST(log, a_file_that_ends_early_is_a_torn_tail_too) {
    begin(1);
    write_and_close(3);
    Buf file = {0};
    EXPECT_OK(io_read_file(sim_io(sim), segment_path(0), 1 << 20, &file));
    uint64_t end = content_end(&file);
    file_put(segment_path(0), (Bytes){file.ptr, end - 10});
    Seen seen;
    uint64_t torn, acknowledged;
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT_EQ(seen.commits, 1);
    EXPECT(torn > 0);
    EXPECT_OK(write_commits(log_, 9, &acknowledged));
    log_close(&log_);
    expect_replays(9, 0);
    buf_deinit(&file);
    finish();
}

TEST(log, damage_before_the_last_batch_is_reported_with_file_and_offset) {
    begin(1);
    write_and_close(6);  // batches of 1, 2 and 3 commits, one segment
    Buf file = {0};
    EXPECT_OK(io_read_file(sim_io(sim), segment_path(0), 1 << 20, &file));
    SegmentHead head;
    SegmentFrame frame;
    uint64_t at = SEGMENT_HEAD_BYTES, frame_at = 0;
    EXPECT(segment_head_read(buf_bytes(&file), &head));
    while (segment_frame_read(head.salt, buf_bytes(&file), at, &frame)) {
        frame_at = at;
        at += SEGMENT_FRAME_BYTES + frame.payload_len;
    }
    uint64_t last_at = frame_at;
    for (uint64_t byte = 0; byte < last_at; byte++) {
        Seen seen;
        uint64_t torn;
        EXPECT_OK(sim_disk_flip(sim, segment_path(0), byte, 0x40));
        EXPECT_ERR(open_log(&seen, &torn), ERR_CORRUPT);
        EXPECT(strstr(diag.text, "00000000000000000000.log") != NULL);
        EXPECT(diag.at <= byte);
        EXPECT(!seen.wrong);
        EXPECT_OK(sim_disk_flip(sim, segment_path(0), byte, 0x40));
    }
    expect_replays(6, 0);  // nothing was changed by looking
    buf_deinit(&file);
    finish();
}

TEST(log, damage_in_an_older_segment_is_never_a_torn_tail) {
    begin(1);
    write_and_close(60);
    Buf file = {0};
    EXPECT_OK(io_read_file(sim_io(sim), segment_path(0), 1 << 20, &file));
    uint64_t end = content_end(&file);
    for (uint64_t byte = 0; byte < end; byte += 11) {
        Seen seen;
        uint64_t torn;
        EXPECT_OK(sim_disk_flip(sim, segment_path(0), byte, 1));
        EXPECT_ERR(open_log(&seen, &torn), ERR_CORRUPT);
        EXPECT_OK(sim_disk_flip(sim, segment_path(0), byte, 1));
    }
    // The end of an older segment gone without a trace shows in the one after it.
    SegmentHead head;
    EXPECT(segment_head_read(buf_bytes(&file), &head));
    uint64_t last_at = 0;
    SegmentFrame frame;
    for (uint64_t at = SEGMENT_HEAD_BYTES;
         segment_frame_read(head.salt, buf_bytes(&file), at, &frame);
         at += SEGMENT_FRAME_BYTES + frame.payload_len) {
        last_at = at;
    }
    memset(file.ptr + last_at, 0, file.len - last_at);
    file_put(segment_path(0), buf_bytes(&file));
    Seen seen;
    uint64_t torn;
    EXPECT_ERR(open_log(&seen, &torn), ERR_CORRUPT);
    EXPECT(strstr(diag.text, "has lost its end") != NULL);
    buf_deinit(&file);
    finish();
}

TEST(log, a_missing_or_foreign_segment_is_damage) {
    begin(1);
    write_and_close(60);
    Seen seen;
    uint64_t torn;
    Buf first = {0};
    const Io *io = sim_io(sim);
    EXPECT_OK(io_read_file(io, segment_path(0), 1 << 20, &first));
    EXPECT_OK(io->file_remove(io->world, segment_path(0)));
    EXPECT_ERR(open_log(&seen, &torn), ERR_CORRUPT);
    file_put(segment_path(0), buf_bytes(&first));
    file_put(segment_path(1000), buf_bytes(&first));  // a copy under another name
    EXPECT_ERR(open_log(&seen, &torn), ERR_CORRUPT);
    EXPECT_OK(io->file_remove(io->world, segment_path(1000)));
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT_EQ(seen.commits, 60);
    buf_deinit(&first);
    finish();
}

// A frame of this log, stored in a row, then a power loss that tears the batch that holds it.
TEST(log, data_that_looks_like_a_frame_is_not_taken_for_one) {
    begin(1);
    write_and_close(6);
    Buf file = {0};
    EXPECT_OK(io_read_file(sim_io(sim), segment_path(0), 1 << 20, &file));
    uint64_t end = content_end(&file);
    Sim *first = sim;
    begin(2);  // another log, so another salt
    Seen seen;
    uint64_t torn;
    TxOffset offset;
    EXPECT_OK(open_log(&seen, &torn));
    CommitInfo info = info_of(0);
    log_commit_begin(log_, &info);
    log_commit_op(log_, COMMIT_INSERT, 1, BYTES(file.ptr, end));
    EXPECT_OK(log_commit_end(log_, &offset));
    EXPECT_OK(log_flush(log_, &diag));
    log_close(&log_);
    EXPECT_OK(sim_disk_flip(sim, segment_path(0), SEGMENT_HEAD_BYTES, 0xff));
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT_EQ(seen.commits, 0);
    EXPECT(torn > end);
    finish();
    sim_free(&first);
    buf_deinit(&file);
}

// ── in flight ─────────────────────────────────────────────────────────────────────────────────

TEST(log, takes_commits_while_a_batch_is_in_flight_and_says_when_it_has_landed) {
    Seen seen;
    uint64_t torn, asked = 0;
    TxOffset offset;
    begin(3);
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT_OK(commit_add(log_, 0, &offset));
    EXPECT_OK(log_flush_start(log_, &diag));
    EXPECT(log_in_flight(log_));
    EXPECT_EQ(log_pending(log_), 0);
    EXPECT_OK(commit_add(log_, 1, &offset));
    EXPECT(log_pending(log_) > 0);
    EXPECT_EQ(log_durable_end(log_).v, 0);
    for (; log_in_flight(log_) && asked < 100; asked++) {
        EXPECT_OK(log_flush_poll(log_, false, &diag));
    }
    EXPECT(asked < 100);
    EXPECT_EQ(log_durable_end(log_).v, 1);
    EXPECT_OK(log_flush_start(log_, &diag));
    EXPECT_OK(log_flush_poll(log_, true, &diag));
    EXPECT_EQ(log_durable_end(log_).v, 2);
    log_close(&log_);
    sim_disk_reboot(sim, 3);
    expect_replays(2, 0);
    finish();
}

TEST(log, lands_what_is_in_flight_before_it_closes) {
    Seen seen;
    uint64_t torn;
    TxOffset offset;
    begin(3);
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT_OK(commit_add(log_, 0, &offset));
    EXPECT_OK(log_flush_start(log_, &diag));
    EXPECT_OK(commit_add(log_, 1, &offset));
    log_close(&log_);
    sim_disk_reboot(sim, 3);
    expect_replays(1, 0);
    finish();
}

// A log that has acknowledged so many commits.
static void life_begin(uint64_t seed, size_t large, uint64_t commits) {
    Seen seen;
    uint64_t torn, acknowledged;
    begin(seed);
    large_bytes = large;
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT_OK(write_commits(log_, commits, &acknowledged));
}

TEST(log, the_power_may_go_while_a_batch_is_in_flight) {
    int lost = 0, kept = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        Seen seen;
        uint64_t torn;
        TxOffset offset;
        life_begin(seed, 0, 5);
        EXPECT_OK(commit_add(log_, 5, &offset));
        EXPECT_OK(log_flush_start(log_, &diag));
        EXPECT_OK(commit_add(log_, 6, &offset));
        sim_disk_reboot(sim, seed);
        EXPECT_ERR(log_flush_poll(log_, true, &diag), ERR_IO);
        EXPECT_EQ(log_durable_end(log_).v, 5);
        log_close(&log_);
        EXPECT_OK(open_log(&seen, &torn));
        EXPECT(!seen.wrong && (seen.commits == 5 || seen.commits == 6));
        seen.commits == 5 ? lost++ : kept++;
        finish();
    }
    EXPECT(lost > 10 && kept > 5);
}

// ── large batches ─────────────────────────────────────────────────────────────────────────────

TEST(log, replays_what_was_handed_over_between_small_commits_and_after_abandoned_ones) {
    for (size_t large = 1; large < 3000; large = large * 3 + 1) {
        begin(large);
        large_bytes = large;
        for (uint64_t end = 40; end <= 120; end += 40) {
            Seen seen;
            uint64_t torn, acknowledged;
            EXPECT_OK(open_log(&seen, &torn));
            EXPECT(!seen.wrong);
            EXPECT_EQ(seen.commits, end - 40);
            EXPECT_OK(write_commits(log_, end - 2, &acknowledged));
            TxOffset offset;
            EXPECT_OK(commit_add(log_, end - 2, &offset));
            size_t pending = log_pending(log_);
            Buf ops = {0};
            CommitInfo info = info_of(0);
            log_commit_begin(log_, &info);
            commit_op_put(&ops, COMMIT_INSERT, 1, BYTES("never", 5));
            log_commit_take_ops(log_, &ops, 1);
            log_commit_abandon(log_);
            EXPECT_EQ(log_pending(log_), pending);
            EXPECT_OK(commit_add(log_, end - 1, &offset));
            EXPECT_OK(log_flush(log_, &diag));
            log_close(&log_);
        }
        expect_replays(120, 0);
        finish();
    }
}

// All of it, its segment too, is made beside the owner: he keeps the books when it has landed.
TEST(log, keeps_the_books_of_a_large_batch_when_it_has_landed) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        begin(seed);
        large_bytes = 1000;
        Seen seen;
        uint64_t torn;
        TxOffset offset;
        EXPECT_OK(open_log(&seen, &torn));
        EXPECT_OK(commit_add(log_, 0, &offset));
        EXPECT_OK(log_flush(log_, &diag));
        uint64_t bytes = log_bytes(log_), syncs = log_syncs(log_);
        for (uint64_t n = 1; n < 21; n++) {
            EXPECT_OK(commit_add(log_, n, &offset));
        }
        size_t pending = log_pending(log_);
        EXPECT(pending > SEGMENT_BYTES);
        EXPECT_OK(log_flush_start(log_, &diag));
        EXPECT_EQ(log_pending(log_), 0);
        EXPECT_EQ(log_durable_end(log_).v, 1);
        EXPECT_EQ(log_bytes(log_), bytes);
        EXPECT_OK(commit_add(log_, 21, &offset));
        EXPECT_OK(log_flush_poll(log_, true, &diag));
        EXPECT_EQ(log_durable_end(log_).v, 21);
        EXPECT(log_bytes(log_) > bytes + pending);
        EXPECT_EQ(log_syncs(log_), syncs + 2);
        LogMark mark;
        EXPECT(log_mark(log_, &mark));
        EXPECT_EQ(mark.offset.v, 21);
        EXPECT_OK(log_flush(log_, &diag));
        bytes = log_bytes(log_);
        EXPECT_EQ(bytes, sim_disk_used(sim));
        log_close(&log_);
        expect_replays(22, 0);
        finish();
    }
}

TEST(log, the_power_may_go_while_a_large_batch_is_in_flight) {
    int lost = 0, kept = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        Seen seen;
        uint64_t torn;
        TxOffset offset;
        life_begin(seed, 1000, 6);
        EXPECT_OK(commit_add(log_, 6, &offset));
        EXPECT_OK(log_flush_start(log_, &diag));
        sim_disk_reboot(sim, seed);
        Err err = log_flush_poll(log_, true, &diag);  // it may have been all done
        uint64_t acknowledged = log_durable_end(log_).v;
        EXPECT_EQ(acknowledged, err == OK ? 7 : 6);
        log_close(&log_);
        EXPECT_OK(open_log(&seen, &torn));
        EXPECT(!seen.wrong);
        EXPECT_EQ(seen.commits, acknowledged);
        seen.commits == 6 ? lost++ : kept++;
        finish();
    }
    EXPECT(lost > 10 && kept > 10);
}

TEST(log, a_power_cut_in_the_middle_of_a_large_batch_leaves_a_torn_tail) {
    int tails = 0;
    for (uint64_t seed = 0; seed < 60; seed++) {
        Seen seen;
        uint64_t torn;
        TxOffset offset;
        life_begin(seed, 1, 3);
        for (uint64_t n = 3; n < 8; n++) {
            EXPECT_OK(commit_add(log_, n, &offset));
        }
        sim_disk_cut_at(sim, SIM_WRITE, 4 + seed % 8);
        EXPECT_OK(log_flush_start(log_, &diag));
        EXPECT_ERR(log_flush_poll(log_, true, &diag), ERR_IO);
        EXPECT_EQ(log_durable_end(log_).v, 3);
        log_close(&log_);
        sim_disk_reboot(sim, seed);
        EXPECT_OK(open_log(&seen, &torn));
        EXPECT(!seen.wrong);
        EXPECT_EQ(seen.commits, 3);
        tails += torn > 0;
        log_close(&log_);
        expect_replays(3, 0);  // it was cut
        finish();
    }
    EXPECT(tails > 30);
}

TEST(log, a_failed_write_or_sync_of_a_large_batch_is_the_last) {
    for (uint64_t nth = 0; nth < 40; nth++) {
        for (SimOp op = SIM_WRITE; op <= SIM_SYNC; op++) {
            Seen seen;
            uint64_t torn, acknowledged;
            TxOffset offset;
            begin(nth);
            large_bytes = 100;
            EXPECT_OK(open_log(&seen, &torn));
            sim_disk_fail_at(sim, op, nth, nth % 2 ? ERR_IO : ERR_DISK_FULL);
            Err expected = nth % 2 ? ERR_IO : ERR_DISK_FULL;
            EXPECT_ERR(write_commits(log_, 60, &acknowledged), expected);
            EXPECT(strstr(diag.text, "cannot write the log") || strstr(diag.text, "log stopped"));
            EXPECT_EQ(log_failed(log_), expected);
            EXPECT_EQ(log_durable_end(log_).v, acknowledged);
            EXPECT_ERR(commit_add(log_, 0, &offset), expected);
            EXPECT_ERR(log_flush(log_, &diag), expected);
            log_close(&log_);
            EXPECT_OK(open_log(&seen, &torn));  // the process begins again, the machine does not
            uint64_t found = seen.commits;
            EXPECT(!seen.wrong && found >= acknowledged && found <= acknowledged + 3);
            log_close(&log_);
            sim_disk_reboot(sim, nth);
            expect_replays(found, 0);
            finish();
        }
    }
}

TEST(log, a_large_batch_for_which_there_is_no_room_on_the_disk_ends_it) {
    for (uint64_t room = 0; room < 8000; room += 500) {
        begin(room);
        large_bytes = 1000;
        Seen seen;
        uint64_t torn, acknowledged;
        EXPECT_OK(open_log(&seen, &torn));
        sim_disk_limit(sim, SEGMENT_BYTES + room);
        EXPECT_ERR(write_commits(log_, 100, &acknowledged), ERR_DISK_FULL);
        log_close(&log_);
        sim_disk_limit(sim, UINT64_MAX);
        EXPECT_OK(open_log(&seen, &torn));
        EXPECT(!seen.wrong);
        EXPECT_EQ(seen.commits, acknowledged);
        EXPECT_OK(write_commits(log_, acknowledged + 20, &acknowledged));
        finish();
    }
}

TEST(log, in_memory_lets_go_of_what_was_handed_over) {
    LogOptions options = {.in_memory = true, .large_bytes = 100};
    TxOffset offset;
    EXPECT_OK(log_open(&options, NULL, NULL, &log_, NULL, &diag));
    large_bytes = 100;
    for (uint64_t n = 0; n < 20; n++) {
        EXPECT_OK(commit_add(log_, n, &offset));
        if (n % 3 == 0) EXPECT_OK(log_flush(log_, &diag));
    }
    EXPECT_OK(log_flush_start(log_, &diag));
    EXPECT_EQ(log_durable_end(log_).v, 20);
    EXPECT_EQ(log_pending(log_), 0);
    large_bytes = 0;
    log_close(&log_);
}

// ── failures ──────────────────────────────────────────────────────────────────────────────────

TEST(log, a_failed_sync_ends_it_and_the_acknowledged_is_there_afterwards) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (uint64_t nth = 0; nth < 12; nth++) {
            Seen seen;
            uint64_t torn, acknowledged;
            TxOffset offset;
            begin(seed);
            EXPECT_OK(open_log(&seen, &torn));
            sim_disk_fail_at(sim, SIM_SYNC, nth, ERR_IO);
            EXPECT_ERR(write_commits(log_, 60, &acknowledged), ERR_IO);
            EXPECT_EQ(log_failed(log_), ERR_IO);
            EXPECT_EQ(log_durable_end(log_).v, acknowledged);
            EXPECT_ERR(commit_add(log_, 0, &offset), ERR_IO);
            EXPECT_ERR(log_flush(log_, &diag), ERR_IO);
            log_close(&log_);
            sim_disk_reboot(sim, seed);
            EXPECT_OK(open_log(&seen, &torn));
            EXPECT(!seen.wrong && seen.commits >= acknowledged);
            EXPECT(seen.commits <= acknowledged + 3);  // a batch
            finish();
        }
    }
}

// The process begins again, the machine does not: the kernel shows what it could not write, calls it
// clean, and would forget it with the power.
TEST(log, what_is_opened_after_a_failed_sync_survives_the_power) {
    for (uint64_t seed = 0; seed < 20; seed++) {
        for (uint64_t nth = 0; nth < 12; nth++) {
            Seen seen;
            uint64_t torn, acknowledged;
            begin(seed);
            EXPECT_OK(open_log(&seen, &torn));
            sim_disk_fail_at(sim, SIM_SYNC, nth, ERR_IO);
            EXPECT_ERR(write_commits(log_, 60, &acknowledged), ERR_IO);
            log_close(&log_);
            EXPECT_OK(open_log(&seen, &torn));
            uint64_t found = seen.commits;
            EXPECT(!seen.wrong && found >= acknowledged);
            log_close(&log_);
            sim_disk_reboot(sim, seed);
            EXPECT_OK(open_log(&seen, &torn));
            EXPECT(!seen.wrong);
            EXPECT_EQ(seen.commits, found);
            finish();
        }
    }
}

TEST(log, a_full_disk_ends_it_at_a_segment_and_room_brings_it_back) {
    begin(1);
    Seen seen;
    uint64_t torn, acknowledged;
    EXPECT_OK(open_log(&seen, &torn));
    sim_disk_limit(sim, 3 * SEGMENT_BYTES + 100);
    EXPECT_ERR(write_commits(log_, 500, &acknowledged), ERR_DISK_FULL);
    EXPECT(acknowledged > 10);
    EXPECT(strstr(diag.text, "the disk is full") != NULL);
    log_close(&log_);
    sim_disk_limit(sim, UINT64_MAX);
    EXPECT_OK(open_log(&seen, &torn));
    EXPECT(!seen.wrong);
    EXPECT_EQ(seen.commits, acknowledged);
    EXPECT_OK(write_commits(log_, acknowledged + 20, &acknowledged));
    finish();
}

TEST(log, opens_or_says_why_when_any_allocation_fails) {
    begin(1);
    write_and_close(60);
    Seen seen;
    uint64_t torn;
    for (int64_t nth = 0;; nth++) {
        mem_fault_arm(nth);
        Err err = open_log(&seen, &torn);
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        if (!hit) {
            EXPECT_OK(err);
            EXPECT(nth > 2);
            break;
        }
        EXPECT_ERR(err, ERR_NOMEM);
        EXPECT(log_ == NULL);
    }
    finish();
}

TEST(log, a_commit_without_memory_is_not_in_the_batch_and_the_others_are) {
    for (int64_t nth = 0; nth < 6; nth++) {
        begin(1);
        Seen seen;
        uint64_t torn, added = 0;
        TxOffset offset;
        EXPECT_OK(open_log(&seen, &torn));
        mem_fault_arm(nth);
        for (int i = 0; i < 30; i++) {
            Err err = commit_add(log_, added, &offset);
            if (err == OK) {
                added++;
            } else {
                EXPECT_ERR(err, ERR_NOMEM);
            }
        }
        EXPECT(mem_fault_hit());
        mem_fault_arm(-1);
        EXPECT_EQ(added, 29);
        EXPECT_OK(log_flush(log_, &diag));
        log_close(&log_);
        expect_replays(added, 0);
        finish();
    }
}

// Whichever fails of those that a life makes: the log says so, and has what it acknowledged.
TEST(log, large_batches_survive_every_allocation_that_fails) {
    for (int64_t nth = 0;; nth++) {
        begin(1);
        large_bytes = 100;
        Seen seen;
        uint64_t torn, n = 0, acknowledged = 0;
        TxOffset offset;
        EXPECT_OK(open_log(&seen, &torn));
        mem_fault_arm(nth);
        for (uint64_t tries = 0; tries < 120 && log_failed(log_) == OK; tries++) {
            Err err = commit_add(log_, n, &offset);
            if (err == OK) n++;
            EXPECT(err == OK || err == ERR_NOMEM);
            if (tries % 2) continue;
            err = flush(log_, tries % 4 == 0, &acknowledged);
            EXPECT(err == OK || (err == ERR_NOMEM && log_failed(log_) == ERR_NOMEM));
        }
        bool hit = mem_fault_hit();
        mem_fault_arm(-1);
        (void)!log_flush(log_, &diag);
        acknowledged = log_durable_end(log_).v;
        EXPECT(log_failed(log_) != OK || acknowledged == n);
        log_close(&log_);
        expect_replays(acknowledged, 0);
        finish();
        if (!hit) {
            EXPECT(nth > 100);
            return;
        }
    }
}

TEST_MAIN()
