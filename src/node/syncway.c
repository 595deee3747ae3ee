#include "node/syncway.h"

#define FORGETS 8  // the newest counts for one in so many

static int64_t average(int64_t *mean_ns, int64_t ns) {
    int64_t known = *mean_ns;
    *mean_ns = known ? known + (MIN(ns, 2 * known) - known) / FORGETS : MAX(ns, 1);
    return *mean_ns;
}

int64_t syncway_here_took(SyncWay *way, int64_t ns) {
    return average(&way->here_ns, ns);
}

int64_t syncway_beside_took(SyncWay *way, int64_t ns) {
    return average(&way->beside_ns, ns);
}

bool syncway_is_here(SyncWay *way) {
    bool here = !way->here_ns || (way->beside_ns && way->here_ns < way->beside_ns);
    return ++way->choices % SYNCWAY_OTHER_EVERY ? here : !here;
}

bool syncway_is_busy(const SyncWay *way) {
    return way->here_ns && way->beside_ns > SYNCWAY_BUSY_TIMES * way->here_ns;
}
