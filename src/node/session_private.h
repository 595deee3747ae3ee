// session_private.h: inside of session.h, shared by session*.c, lifecycle.c and publish.c.
#pragma once
#include "node/fetch.h"
#include "node/lane.h"
#include "node/lifecycle.h"
#include "node/node_private.h"
#include "node/read.h"
#include "node/session.h"

// session.c
void session_transaction_begin(Session *session, Str name);
void session_call_begin(Session *session,
                        SessionCall what,
                        const FunctionDef *function,
                        Bytes args,
                        HostCall *call);
// May this session call the reducer with these arguments? NULL with the reason in `text`; attempts
// that point at a mistake are written to the module's log.
const FunctionDef *session_admit(Session *session,
                                 Str name,
                                 Bytes args,
                                 char *text,
                                 size_t text_size);
FairVerdict session_admit_rate(Session *session,
                               const FunctionDef *reducer,
                               char *text,
                               size_t text_size);
const char *session_lifecycle_word(Lifecycle which);  // "Init", "OnConnect", "OnDisconnect"
// What the caller and the log are told about a call that did not commit. Borrows from outcome or
// from the turn's arena.
Str session_failure_text(Session *session, const HostOutcome *outcome);
// A client's part of a commit in the wire's form, in the turn's arena. NULL: no memory.
const WireTableUpdate *session_wire_updates(Database *database,
                                            const LiveUpdate *update,
                                            uint32_t *count);

// What it asked for is about views that are late; it will be asked again.
void session_await_views(Session *session);

// session_ws.c
// A set of the session (the owner) has ended before the client ended it: tell it. A LiveDropped.
void session_subscription_dropped(void *database,
                                  void *session,
                                  uint32_t query_set,
                                  const char *reason);
bool session_ws_message(void *session, Bytes payload, bool text);  // a frame arrived
// Take up one message of the inbox. True: a call was begun.
bool session_ws_step(Session *session, HostCall *call);
void session_ws_untake(Session *session);  // the message is to be taken up again
void session_ws_tidy(Session *session);    // give the inbox's memory back, resume reading

// session_http.c
bool session_http_step(Session *session, HostCall *call);
// False: it has to wait for its time, or was refused.
bool session_http_admit(Session *session);
void session_http_answer(Session *session, int status, const char *text);
