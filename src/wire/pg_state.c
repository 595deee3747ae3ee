// pg_state.c: which SQLSTATE an error has. Drivers and their users tell errors apart by it.
//
// Errors of SQL have one code of ours and many texts, whose beginnings are fixed (the specification's error
// catalogue): those decide first. The codes: postgresql.org/docs/current/errcodes-appendix.html.
#include "wire/pg.h"

typedef struct Rule {
    Str words;  // the text begins with these, or has them anywhere if `inside`
    bool inside;
    const char *state;
} Rule;

static const Rule rules[] = {
    {STR("sql parser error"), false, "42601"},
    {STR("Empty SQL query"), false, "42601"},
    {STR("A FROM clause is required"), false, "42601"},
    {STR("Multiple SQL statements"), false, "42601"},
    {STR("no such table"), false, "42P01"},
    {STR("` is not in scope"), true, "42703"},
    {STR("does not have a field"), true, "42703"},
    {STR("Names must be qualified"), false, "42702"},
    {STR("The literal expression"), false, "22P02"},
    {STR("Cannot resolve type"), false, "42P18"},
    {STR("Unexpected type"), false, "42804"},
    {STR("Invalid binary operator"), false, "42883"},
    {STR("Duplicate name"), false, "42701"},
    {STR("The number of fields"), false, "42601"},
    {STR("Inserting a row with"), false, "42601"},
    {STR("is not authorized"), true, "42501"},
    {STR("not a valid system variable"), true, "42704"},
    {STR("exceeds maximum allowed length"), true, "54000"},
    {STR("Estimated cardinality"), false, "54000"},
    {STR("Unique constraint violation"), false, "23505"},
    {STR("The parameter "), false, "22004"},
    {STR("must appear in the GROUP BY"), true, "42803"},
    {STR("is a view; DML"), true, "42809"},
};

static bool has(Str text, Str words) {
    for (size_t i = 0; i + words.len <= text.len; i++) {
        if (memcmp(text.ptr + i, words.ptr, words.len) == 0) return true;
    }
    return false;
}

static const char *state_of(Err err) {
    switch (err) {
    case OK: return "00000";
    case ERR_NOMEM: return "53200";
    case ERR_IO: return "58030";
    case ERR_DISK_FULL: return "53100";
    case ERR_CORRUPT: return "XX001";
    case ERR_MALFORMED: return "08P01";
    case ERR_INVALID: return "42000";
    case ERR_UNSUPPORTED: return "0A000";
    case ERR_TOO_LARGE: return "54000";
    case ERR_LIMIT: return "53400";
    case ERR_NOT_FOUND: return "02000";
    case ERR_EXISTS: return "42710";
    case ERR_UNIQUE: return "23505";
    case ERR_CONFLICT: return "40001";
    case ERR_UNAUTHENTICATED: return "28P01";
    case ERR_DENIED: return "42501";
    case ERR_DEADLINE:
    case ERR_CLOSED: return "57014";
    case ERR_BUSY: return "53300";
    case ERR_FENCED: return "57P03";
    case ERR_AGAIN:
    case ERR_MODULE: return "XX000";
    }
    UNREACHABLE();
}

const char *pg_state(Err err, Str text) {
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const Rule *rule = &rules[i];
        if (rule->inside ? has(text, rule->words) : str_starts(text, rule->words))
            return rule->state;
    }
    return state_of(err);
}
