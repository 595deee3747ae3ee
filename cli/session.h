// session.h: who we are and which database a command is about. Spec: cli-and-codegen §3, §4.
#pragma once
#include "cli/http.h"
#include "cli/project.h"

// Our token; without one, ask the server for a new identity, keep it, and say so on stderr.
const char *session_token(const char *base_url);
// Ask the server for a new identity and keep its token. Returns the identity's hex.
const char *session_login(const char *base_url, FILE *say);
// The identity a token speaks for (the signature is the server's business); NULL: not decodable.
const char *session_token_identity(const char *token);

typedef struct CliTarget CliTarget;
struct CliTarget {
    const char *base_url;
    const char *token;     // NULL: anonymous
    const char *name;      // as the person wrote it
    const char *identity;  // 64 hex digits
};

// A database by name or identity. Ends the process when the server does not know the name.
CliTarget session_target(const char *name, const char *server, bool anonymous);
const char *target_url(const CliTarget *target, const char *after);  // "/sql?confirmed=true"

// How a command's words name a database, beside the project file (§4).
typedef enum DbArgForm {
    DB_ARG_ONE,       // [database]
    DB_ARG_REST,      // [database] rest…, at least one word of rest
    DB_ARG_REST_ANY,  // the same, an unknown first word is a database outside the project (sql)
    DB_ARG_DESCRIBE,  // [database] [reducer|table NAME]
} DbArgForm;

typedef struct DbArg {
    CliTarget target;
    const char *const *rest;  // the words after the database
    int rest_count;
    const char
        *config;  // the project file that names the database, as no word does; NULL: a word does
} DbArg;
// `missing` names what a usage error says is missing after the database.
DbArg session_database(const Args *args, DbArgForm form, const char *missing);
