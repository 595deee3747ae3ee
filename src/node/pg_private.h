// pg_private.h: inside of pg.h, shared by pg_*.c.
#pragma once
#include "node/pg.h"
#include "node/session_private.h"
#include "node/version.h"

typedef struct PgStream PgStream;

// A statement as Parse left it: text, and what it would answer.
typedef struct PgPrepared PgPrepared;
struct PgPrepared {
    PgPrepared *next;
    Arena arena;
    Str name, text;
    uint32_t *param_oids;
    uint32_t param_count;
    PgColumn *columns;
    uint32_t column_count;
    bool has_rows;
};

typedef enum PortalState {
    PORTAL_NEW,      // not begun, or to be begun again
    PORTAL_WRITING,  // sqlwrite has it
    PORTAL_ROWS,     // rows are given
    PORTAL_DONE,
} PortalState;

// A statement with its parameters, being run or about to.
typedef struct PgPortal PgPortal;
struct PgPortal {
    PgPortal *next;
    Arena arena;
    Str name, text;
    uint32_t text_at;  // characters before it in what the client sent
    StatementParam *params;
    uint32_t param_count;
    uint16_t *formats;  // of results
    uint32_t format_count;
    PgColumn *columns;
    uint32_t column_count;
    bool has_rows;
    bool described;  // its columns were told or promised
    PortalState state;
    Buf rows;  // DataRow messages, given up to rows_at
    size_t rows_at;
    bool complete;  // no more rows come
    bool counts;    // its tag ends with the number of rows
    char tag[64];
    PgStream *stream;
};

struct PgSession {
    uint32_t pid, secret, minor;
    Buf inbox;  // messages, one after another
    size_t inbox_at;
    bool paused, malformed;
    Arena arena;  // of the message in hand
    PgPrepared *prepared;
    PgPortal *portals;
    uint32_t prepared_count, portal_count;
    bool skipping;      // an error: up to the next Sync nothing is done
    PgPortal *running;  // being executed
    uint32_t rows_max;  // … for so many rows, 0: all
    uint64_t rows_given;
    bool simple;  // a Query is being worked on
    Buf query;
    size_t query_at;   // where its next statement begins
    PgPortal *single;  // its statement, not on `portals`
    Buf out, sealed;
    bool wants_room, finish;
    char application[64];
    char database[IDENTITY_HEX_LEN + 1];  // as the client named it
};

#define PG_MESSAGE_MAX (32u << 20)
#define PG_ROOM_BYTES  ((size_t)256 << 10)  // on their way to a client before more rows are made

static inline QueryCaller pg_caller(const Session *s) {
    return (QueryCaller){.identity = s->identity, .is_owner = s->is_owner};
}

// ── pg_session.c ───────────────────────────────────────────────────────────────────────────────

void pg_fail(Session *s, const char *state, Str text, uint32_t position);
void pg_fail_err(Session *s, const PgPortal *portal, Err err, const Diag *diag);
void pg_fatal(Session *s, const char *state, const char *text);
void pg_portal_free(PgPortal **portal);
void pg_prepared_drop(PgSession *p, Str name);  // len 0: all
// The running statement is over, well: on to what follows.
void pg_run_over(Session *s);

// ── pg_run.c ───────────────────────────────────────────────────────────────────────────────────

// Find out what a text asks and answers. ERR_…: diag says what is wrong with it.
MUST_USE Err pg_describe(Session *s,
                         const uint32_t *declared,
                         uint32_t declared_count,
                         PgPrepared *prepared,
                         Diag *diag);
bool pg_execute(Session *s);  // false: it waits

// ── pg_stream.c ────────────────────────────────────────────────────────────────────────────────

// Run a statement on a snapshot on a worker. Takes the statement.
MUST_USE Err pg_stream_begin(Session *s, PgPortal *portal, Statement **statement);
// Take the rows that are there. False: there are none yet; the session will be made ready. *ended: there
// will be no more; then *err says whether that was all.
bool pg_stream_take(PgStream *stream, Buf *rows, bool *ended, Err *err, Diag *diag);
void pg_stream_cancel(PgStream **stream);  // harmless when there is none

// ── pg_say.c, pg_catalog.c ─────────────────────────────────────────────────────────────────────

// An answer that is made of texts.
typedef struct PgAnswer {
    Arena *arena;
    PgColumn *columns;
    uint32_t column_count;
    bool has_rows;
    Buf cells;  // Str each, row by row; ptr NULL: NULL
    uint32_t row_count;
    const char *tag;
    bool counts;
    const char *warning, *warning_state;
    Str report_name, report_value;  // a parameter's status that changes
    bool discards;                  // prepared statements: …
    Str discarded;                  // … this one; len 0: all
} PgAnswer;

// False: it is for the engine. True: answered, or *err and diag say why not.
bool pg_say(Session *s, Str text, PgAnswer *answer, Err *err, Diag *diag);
bool pg_catalog_say(Session *s, Str text, PgAnswer *answer, Err *err, Diag *diag);
void pg_answer_column(PgAnswer *answer, const char *name, uint32_t oid);
void pg_answer_cell(PgAnswer *answer, Str text);
void pg_answer_row(PgAnswer *answer);  // its cells are there
// Is `words` in the text, with any white space where it has a space, in any case?
bool pg_text_has(Str text, const char *words);
