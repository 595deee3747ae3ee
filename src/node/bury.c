#include "node/bury.h"

#include "base/mem.h"
#include "node/node_private.h"

#define BURIED_BYTES (1u << 20)

void bury(const Node *node, WorkerJob *job) {
    if (!node->workers || worker_submit(node->workers, job) != OK) job->run(job);
}

typedef struct Burial {
    WorkerJob job;
    NetFrame *frame;
} Burial;

static void burial_run(WorkerJob *job) {
    Burial *self = CONTAINER_OF(job, Burial, job);
    net_frame_free(self->frame);
    mem_free(self);
}

static void frame_bury(void *ctx, NetFrame *frame) {
    Burial *burial = MEM_NEW(Burial);
    if (!burial) {
        net_frame_free(frame);
        return;
    }
    *burial = (Burial){.job.run = burial_run, .frame = frame};
    bury(ctx, &burial->job);
}

void bury_mark(Node *node, NetFrame *frame) {
    if (frame->len < BURIED_BYTES) return;
    frame->bury = frame_bury;
    frame->bury_ctx = node;
}
