// control.h: which databases this server has, what they are called, and whose they are.
//
// The control state is itself a Lightcone database (data-dir/control): four small tables changed
// in transactions of their own and synced at once. Reads come from memory. One mutex guards it, so
// it may be used from any loop; it is only touched by publishing, naming and opening, never by a
// call. Spec: http-api-and-auth §4, §8, §9.
#pragma once
#include "txn/db.h"

typedef struct Control Control;

typedef struct ControlDatabase {
    Identity identity;
    Identity owner;
    uint8_t host_kind;            // HostKind at creation or last reset
    uint8_t initial_program[32];  // Keccak-256 of the program at creation or last reset
    bool locked;
    bool exists;          // false: deleted; its identity stays its owner's
    uint64_t generation;  // directory of its data; a reset or deletion moves on to a new one
} ControlDatabase;

MUST_USE Err control_open(const Io *io, const char *dir, bool in_memory, Control **out, Diag *diag);
void control_close(Control **control);

// ERR_NOT_FOUND.
MUST_USE Err control_find(Control *control, const Identity *identity, ControlDatabase *out);
// The identity a name stands for. ERR_NOT_FOUND.
MUST_USE Err control_resolve(Control *control, Str name, Identity *out);
// Store a database's record, new or changed. Durable on OK.
MUST_USE Err control_put(Control *control, const ControlDatabase *database);
// What the owner set (settings.h), as text; empty when that is nothing. Durable on OK. They end with the
// database (control_put of one that no longer exists).
MUST_USE Err control_settings_put(Control *control, const Identity *identity, Str text);
MUST_USE Err control_settings(Control *control, const Identity *identity, Buf *text);
// May this caller create a database under an identity that has none? ERR_DENIED when it was, or
// through its name is to become, somebody else's.
MUST_USE Err control_may_create(Control *control, const Identity *identity, const Identity *caller);

// Give a database a name. The first to use a name owns it for good.
//   ERR_DENIED  the name belongs to somebody else
//   ERR_EXISTS  it names another database already
MUST_USE Err control_add_name(Control *control,
                              Str name,
                              const Identity *database,
                              const Identity *caller);
// Replace all names of a database. ERR_DENIED, ERR_EXISTS as above; nothing changed then.
MUST_USE Err control_set_names(Control *control,
                               const Identity *database,
                               const Str *names,
                               uint32_t count,
                               const Identity *caller);

// Each name of a database, in the order in which they were given.
typedef void (*ControlEachName)(void *ctx, Str name);
void control_names(Control *control, const Identity *database, ControlEachName each, void *ctx);
typedef void (*ControlEachDatabase)(void *ctx, const ControlDatabase *database);
void control_databases(Control *control, ControlEachDatabase each, void *ctx);

// ^[a-z0-9]+(-[a-z0-9]+)*$ and not an identity; the reason in *why.
bool control_name_ok(Str name, const char **why);
