#include "node/expect.h"

#define WINDOW_LEAST_NS 50000
#define WINDOW_MOST_NS  2000000
#define WORTH_IT        (EXPECT_OF / 2)
#define FORGETS         32  // the newest counts for one in so many
#define LOOKS_EVERY     16  // … whatever is known

void expect_window(Expect *expect, int64_t sync_ns) {
    expect->window_ns = MIN(MAX(sync_ns, WINDOW_LEAST_NS), WINDOW_MOST_NS);
}

static void learn(Expect *expect, bool in_time) {
    expect->in_time -= expect->in_time / FORGETS;
    if (in_time) expect->in_time += EXPECT_OF / FORGETS;
}

static bool is_in_time(const Expect *expect, int64_t now_ns) {
    return now_ns - expect->answered_ns <= expect->window_ns;
}

void expect_answered(Expect *expect, int64_t now_ns) {
    if (expect->awaited && !is_in_time(expect, now_ns)) {
        learn(expect, false);
        expect->awaited = 0;
    }
    expect->awaited++;
    expect->answered_ns = now_ns;
    bool worth_it = expect->in_time >= WORTH_IT || ++expect->unexpected % LOOKS_EVERY == 0;
    expect->until_ns = worth_it ? now_ns + expect->window_ns : 0;
}

void expect_asked(Expect *expect, int64_t now_ns) {
    if (!expect->awaited) return;
    learn(expect, is_in_time(expect, now_ns));
    if (--expect->awaited == 0) expect->until_ns = 0;
}
