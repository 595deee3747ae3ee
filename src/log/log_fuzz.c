// Any bytes as the only segment of a log. It opens, or it is refused; what opens once opens again
// with the same commits and nothing left to cut.
//
// An odd first byte asks for the bytes to be given valid checksums first, so that the fuzzer gets
// past them.
#include "log/log.h"

#include "base/mem.h"
#include "log/segment.h"
#include "sim/sim.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void seal(uint8_t *file, size_t size) {
    if (size < SEGMENT_HEAD_BYTES) return;
    SegmentHead head = {.salt = 1};
    segment_head_write(&head, file);
    SegmentFrame frame = {0};
    size_t at = SEGMENT_HEAD_BYTES;
    while (size - at >= SEGMENT_FRAME_BYTES && load_u32(file + at) != 0) {
        size_t room = size - at - SEGMENT_FRAME_BYTES;
        frame.first_offset += frame.commits;
        frame.payload_len = MIN((size_t)load_u16(file + at + 24), room);
        frame.commits = file[at + 32];
        frame.chain = frame.crc;
        segment_frame_write(head.salt, &frame, file + at);
        at += SEGMENT_FRAME_BYTES + frame.payload_len;
    }
}

static Err count(void *ctx, const Commit *commit, Diag *diag) {
    (void)diag;
    uint64_t *seen = ctx;
    ASSERT(commit->offset.v == *seen);
    ++*seen;
    return OK;
}

static void put_segment(const Io *io, const uint8_t *bytes, size_t size) {
    char name[SEGMENT_NAME_LEN + 1], path[IO_PATH_MAX];
    segment_name_write(0, name);
    ASSERT(io->dir_make(io->world, "log") == OK);
    ASSERT(path_join(path, "log", name) == OK);
    ASSERT(io_replace_file(io, path, (Bytes){bytes, size}, false) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    uint8_t *file = mem_alloc(size);
    ASSERT(file);
    memcpy(file, data + 1, size - 1);
    if (data[0] & 1) seal(file, size - 1);

    Sim *sim = NULL;
    ASSERT(sim_new(1, &sim) == OK);
    put_segment(sim_io(sim), file, size - 1);
    LogOptions options = {.io = sim_io(sim), .dir = "log", .segment_bytes = 1024};
    Log *log = NULL;
    Diag diag;
    uint64_t seen = 0, again = 0, torn = 0;
    Err err = log_open(&options, count, &seen, &log, &torn, &diag);
    ASSERT(err == OK || err == ERR_CORRUPT);
    if (err == OK) {
        ASSERT(log_end(log).v == seen);
        log_close(&log);
        ASSERT(log_open(&options, count, &again, &log, &torn, &diag) == OK);
        ASSERT(again == seen && torn == 0);
        log_close(&log);
    }
    sim_free(&sim);
    mem_free(file);
    return 0;
}
