// bury.h: giving much memory back takes milliseconds, so a worker does it.
#pragma once
#include "net/net.h"
#include "node/worker.h"

// Run it on a worker if there is one to be had, else now.
void bury(const Node *node, WorkerJob *job);
// A large frame, once nobody refers to it any more. On any thread, before it is shared.
void bury_mark(Node *node, NetFrame *frame);
