#include "node/fetch.h"

#include "base/mem.h"
#include "node/session_private.h"

#define MISSES_MAX 4

typedef struct SessionFetch {
    StoreFetch fetch;
    LoopTask ended;
    NodeLoop *loop;
    Session *session;  // NULL: cancelled. The loop's
} SessionFetch;

static void ended_run(LoopTask *task, NodeLoop *loop) {
    SessionFetch *f = CONTAINER_OF(task, SessionFetch, ended);
    Session *s = f->session;
    (void)loop;
    if (s) {
        s->fetch = NULL;
        session_ready(s);
    }
    mem_free(f);
}

// On the store's thread.
static void fetched(StoreFetch *fetch) {
    SessionFetch *f = CONTAINER_OF(fetch, SessionFetch, fetch);
    loop_post(f->loop, &f->ended);
}

static bool args_keep(Session *s, Bytes args) {
    if (args.ptr == s->call_args.ptr) return true;  // of an earlier try
    buf_clear(&s->call_args);
    buf_put_bytes(&s->call_args, args);
    return buf_ok(&s->call_args);
}

bool fetch_begin(Session *s, const FunctionDef *reducer, Bytes args) {
    ASSERT(!s->fetch);
    if (s->misses >= MISSES_MAX) {
        s->misses = 0;
        return false;
    }
    SessionFetch *f = MEM_NEW(SessionFetch);
    if (!f) return false;
    f->fetch.done = fetched;
    f->ended.run = ended_run;
    f->loop = s->database->loop;
    f->session = s;
    if (!args_keep(s, args) || !store_fetch(db_store(s->database->db), &f->fetch)) {
        mem_free(f);
        return false;
    }
    s->misses++;
    s->fetch = f;
    s->redo = reducer->name;  // which stays as long as the module does
    return true;
}

void fetch_cancel(Session *s) {
    if (s->fetch) s->fetch->session = NULL;
    s->fetch = NULL;
}

void fetch_interrupt(Session *s) {
    if (!s->fetch) return;
    fetch_cancel(s);
    s->redo = arena_str(&s->arena, s->redo);
    if (!s->redo.ptr) s->redo = STR("");  // refused as a reducer that there is not
    session_ready(s);
}
