// lifecycle.h: arriving, leaving, and what runs by itself: the transactions around a client's own
// calls. Spec: module-abi §5.4 (connect, disconnect), §5.8 (schedules).
#pragma once
#include "node/session.h"

// Each begins at most one call. True: it was begun.
bool lifecycle_step_connect(Session *session, HostCall *call);
bool lifecycle_step_disconnect(Session *session, HostCall *call, bool *more);
bool lifecycle_step_system(Session *session, HostCall *call, bool *more);
// The rows of a client that arrives, in whichever lane its reducer runs.
MUST_USE Err lifecycle_client_insert(Session *session, Access *access);
// A client that no longer exists was not seen off after all: its turn comes again.
void lifecycle_orphan_again(Session *session);
// The outcome of CALL_CONNECT, CALL_DISCONNECT or CALL_SCHEDULED.
void lifecycle_done(Session *session, SessionCall what, const HostOutcome *outcome);

// st_client rows of clients that no longer exist (after a crash): system sessions see them off.
MUST_USE Err lifecycle_collect_orphans(Database *database);
