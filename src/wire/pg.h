// pg.h: PostgreSQL's frontend/backend protocol, version 3.0, as bytes.
//
// PICTURE
//   client   [len|version|user … database …]      [p|len|token]      [Q|len|text]  [P|B|D|E|S …]
//   server      R: which password?  ───────────────>  R: ok, S…, K, Z ──>  T, D…, C, Z
//
//   A message is a byte that names it, its length (big-endian, counting itself) and its body; the first one
//   of a connection has no name. Numbers are big-endian, texts end in a zero byte.
//
// Reading borrows from the message. Writing appends whole messages to a Buf, which remembers a failure.
// The protocol's own documentation: postgresql.org/docs/current/protocol.html.
//
//   pg.c         messages
//   pg_type.c    which of PostgreSQL's types stands for which of ours; values of results
//   pg_json.c    values that have no better form there
//   pg_param.c   parameters that come in binary
//   pg_state.c   SQLSTATEs
#pragma once
#include "base/arena.h"
#include "sats/type.h"

#define PG_STARTUP_MAX 10000u  // bytes of a connection's first message, as in PostgreSQL

// ── what clients say ───────────────────────────────────────────────────────────────────────────

// How long the message at the front of `in` is, length and name included. 0: it cannot be told yet, or it
// is malformed (*malformed).
size_t pg_message_len(Bytes in, bool has_name, size_t max, bool *malformed);

typedef enum PgFirstKind {
    PG_FIRST_STARTUP,
    PG_FIRST_SSL,
    PG_FIRST_GSS,
    PG_FIRST_CANCEL
} PgFirstKind;

typedef struct PgFirst {
    PgFirstKind kind;
    Str user, database;    // of a startup; len 0 when it names none
    uint32_t minor;        // of the version it asks for: 3.minor
    uint32_t unknown;      // protocol options (_pq_.…) that we do not know
    uint32_t pid, secret;  // of a cancel
} PgFirst;

// A connection's first message, length included. ERR_MALFORMED, ERR_UNSUPPORTED (another version).
MUST_USE Err pg_first_read(Bytes message, PgFirst *out, Diag *diag);

typedef struct PgValue {
    Bytes bytes;  // ptr NULL: NULL
} PgValue;

typedef struct PgMessage {
    char name;
    Str text;           // Q, P: the query; p: the password
    Str statement;      // P, B; D, C of kind 'S'
    Str portal;         // B, E; D, C of kind 'P'
    char kind;          // D, C
    uint32_t rows_max;  // E: 0: all
    uint32_t *types;    // P: of the parameters, 0: whatever it is
    uint32_t type_count;
    PgValue *values;  // B
    uint32_t value_count;
    uint16_t *formats;  // B: of the values: none, one for all, or each: 0 text, 1 binary
    uint32_t format_count;
    uint16_t *result_formats;  // B: likewise
    uint32_t result_format_count;
} PgMessage;

// Any later message, name and length included. Borrows from it; arrays are in the arena.
//   ERR_MALFORMED  ERR_UNSUPPORTED: one that we do not know; the connection can go on  ERR_NOMEM
MUST_USE Err pg_message_read(Bytes message, Arena *arena, PgMessage *out, Diag *diag);

// The format of value `at` among formats given as in PgMessage.
uint16_t pg_format_at(const uint16_t *formats, uint32_t count, uint32_t at);

// ── what we say ────────────────────────────────────────────────────────────────────────────────

typedef enum PgStatus { PG_IDLE = 'I' } PgStatus;

void pg_put_auth_password(Buf *out);  // asks for it in clear
void pg_put_auth_ok(Buf *out);
void pg_put_parameter(Buf *out, Str name, Str value);
void pg_put_key(Buf *out, uint32_t pid, uint32_t secret);
void pg_put_version(Buf *out,
                    const PgFirst *first);  // NegotiateProtocolVersion: 3.0, and no options
void pg_put_ready(Buf *out, PgStatus status);

typedef struct PgColumn {
    Str name;
    uint32_t oid;
    uint16_t format;
} PgColumn;
void pg_put_columns(Buf *out, const PgColumn *columns, uint32_t count);
void pg_put_parameter_types(Buf *out, const uint32_t *oids, uint32_t count);
// A row: begin, `count` values behind each other (pg_type.c), end with what begin gave.
size_t pg_row_begin(Buf *out, uint32_t count);
void pg_row_end(Buf *out, size_t begin);
void pg_put_complete(Buf *out, Str tag);
// Messages without a body.
typedef enum PgPlain {
    PG_PARSE_COMPLETE = '1',
    PG_BIND_COMPLETE = '2',
    PG_CLOSE_COMPLETE = '3',
    PG_EMPTY_QUERY = 'I',
    PG_NO_DATA = 'n',
    PG_SUSPENDED = 's',
} PgPlain;
void pg_put_plain(Buf *out, PgPlain name);

typedef struct PgError {
    const char *severity;  // "ERROR", "FATAL"
    const char *state;     // five characters
    Str message;
    Str hint;           // len 0: none
    uint32_t position;  // of the query's characters, from 1; 0: nowhere
} PgError;
void pg_put_error(Buf *out, const PgError *error);
void pg_put_warning(Buf *out, const char *state, Str message);

// The SQLSTATE of an error with this text (pg_state.c); static.
const char *pg_state(Err err, Str text);

// ── values ─────────────────────────────────────────────────────────────────────────────────────

enum {  // the oids of pg_type that we use
    PG_BOOL = 16,
    PG_BYTEA = 17,
    PG_NAME = 19,
    PG_INT8 = 20,
    PG_INT2 = 21,
    PG_INT4 = 23,
    PG_TEXT = 25,
    PG_OID = 26,
    PG_JSON = 114,
    PG_FLOAT4 = 700,
    PG_FLOAT8 = 701,
    PG_UNKNOWN = 705,
    PG_BPCHAR = 1042,
    PG_VARCHAR = 1043,
    PG_DATE = 1082,
    PG_TIMESTAMP = 1114,
    PG_TIMESTAMPTZ = 1184,
    PG_INTERVAL = 1186,
    PG_NUMERIC = 1700,
    PG_UUID = 2950,
    PG_JSONB = 3802,
};

// An Option is a value that may be NULL, whatever it is an Option of.
uint32_t pg_type_oid(const Type *type);
int16_t pg_oid_size(uint32_t oid);          // bytes, -1: it varies
uint32_t pg_oid_element(uint32_t oid);      // of an array; 0: it is none
const char *pg_oid_name(uint32_t oid);      // "int4"; static; "unknown" for others
const char *pg_oid_sql_name(uint32_t oid);  // "integer", as psql shows it
uint32_t pg_oid_at(uint32_t at,
                   uint32_t *array);  // of all: and of arrays of it; 0: there are no more

// Append a value with its length (-1: NULL) in a format. `value` is BSATN that was checked.
void pg_put_value(Buf *out, const Type *type, const uint8_t *value, uint16_t format);
void pg_put_text_value(Buf *out, Str text);
void pg_put_json(Buf *out, const Type *type, const uint8_t *value);  // without a length

// A parameter in binary, of the type that the client says, as text in the arena.
//   ERR_MALFORMED  ERR_UNSUPPORTED: a type whose binary form we do not read  ERR_NOMEM
MUST_USE Err pg_param_text(uint32_t oid, Bytes value, Arena *arena, Str *out, Diag *diag);

// A moment as PostgreSQL shows it: "2026-01-01 12:00:00.5+00".
void pg_put_moment(Buf *out, int64_t micros, bool rfc3339);
