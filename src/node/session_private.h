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
// Arguments that came as JSON are put into session->call_args.
const FunctionDef *session_admit(Session *session,
                                 Str name,
                                 Bytes args,
                                 bool args_as_json,
                                 char *text,
                                 size_t text_size);
// BSATN arguments of a function, checked or made from JSON in session->call_args.
MUST_USE Err
session_args(Session *session, const FunctionDef *f, bool as_json, Bytes *args, Diag *diag);
FairVerdict session_admit_rate(Session *session,
                               const FunctionDef *reducer,
                               char *text,
                               size_t text_size);
const char *session_lifecycle_word(Lifecycle which);  // "Init", "OnConnect", "OnDisconnect"
// What the caller and the log are told about a call that did not commit. Borrows from outcome or
// from the turn's arena.
Str session_failure_text(Session *session, const HostOutcome *outcome);
// A client's part of a commit in the wire's form, in the turn's arena. Lists that are there as pieces
// already are left out of what is encoded of it, and noted in `gaps` (outbox.h). NULL: no memory.
const WireTableUpdate *session_wire_updates(Database *database,
                                            const WireCodec *codec,
                                            const LiveUpdate *update,
                                            Buf *gaps,
                                            uint32_t *count);

// The call being worked on, for its answer.
WireCall session_wire_call(const Session *session);

// session_v1.c
// Remember whose transaction is about to be committed, if anybody will want to know.
void session_cause_note(Session *session, const HostCall *call, int64_t elapsed_us);
// The cause of a transaction of `by` (NULL: a change of the schema).
WireCall session_cause(const Database *database, const Session *by);
// How live/ knows the set that a message subscribes or ends; after a set was subscribed, what it
// replaces is gone.
uint64_t session_set_id(const Session *session, const ClientMessage *m);
void session_set_began(Session *session, const ClientMessage *m);
// May the queries be subscribed like this? SubscribeSingle does not expand `SELECT * FROM *`.
MUST_USE Err session_set_check(const Session *session, const ClientMessage *m, Diag *diag);
// Microseconds since the message being worked on was taken up.
int64_t session_took_us(const Session *session);
// Fill in the rows of an update as JSON, each delta once a commit. False: no memory.
bool session_wire_json(Database *database, const LiveDelta *delta, WireTableUpdate *update);

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
// The question is about results of views that are not there: they come first.
void session_ask_later(Session *session, const ClientMessage *message);
bool session_ws_is_tidy(const Session *session);
void session_ws_tidy(Session *session);  // give the inbox's memory back, resume reading

// session_http.c
bool session_http_step(Session *session, HostCall *call);
// False: it has to wait for its time, or was refused.
bool session_http_admit(Session *session);
void session_http_answer(Session *session, int status, const char *text);
