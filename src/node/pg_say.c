// pg_say.c: statements that PostgreSQL's clients make and that are no SQL of ours: SET and SHOW of the
// session's own settings, BEGIN and its kin, SELECT without FROM.
//
// What is answered is true: a setting that can have one value takes that one only; what we do not do is
// refused. What psql asks of pg_catalog is pg_catalog.c's; anything else is the engine's.
#include <stdio.h>

#include "base/mem.h"
#include "node/pg_private.h"

// ── words ──────────────────────────────────────────────────────────────────────────────────────

typedef enum TokenKind { END, WORD, QUOTED, STRING, NUMBER, SYMBOL } TokenKind;

typedef struct Token {
    TokenKind kind;
    Str text;
} Token;

static bool is_space(char c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
           (uint8_t)c >= 0x80;
}

static Token token(Str *rest) {
    while (rest->len && is_space(rest->ptr[0]))
        *rest = (Str){rest->ptr + 1, rest->len - 1};
    if (!rest->len) return (Token){END, STR("")};
    char c = rest->ptr[0];
    size_t len = 1;
    Token out = {SYMBOL, {rest->ptr, 1}};
    if (c == '\'' || c == '"') {
        const char *end = memchr(rest->ptr + 1, c, rest->len - 1);
        len = end ? (size_t)(end - rest->ptr) + 1 : rest->len;
        out = (Token){c == '"' ? QUOTED : STRING, {rest->ptr + 1, len - (end ? 2 : 1)}};
    } else if (is_word(c)) {
        bool number = is_digit(c);
        while (len < rest->len && (is_word(rest->ptr[len]) || (number && rest->ptr[len] == '.')))
            len++;
        out = (Token){number ? NUMBER : WORD, {rest->ptr, len}};
    }
    *rest = (Str){rest->ptr + len, rest->len - len};
    return out;
}

static bool is(Token t, const char *word) {
    return (t.kind == WORD || t.kind == SYMBOL) && str_eq_nocase(t.text, str_from(word));
}

static bool took(Str *rest, const char *word) {
    Str after = *rest;
    if (!is(token(&after), word)) return false;
    *rest = after;
    return true;
}

static bool at_end(Str rest) {
    while (took(&rest, ";")) {
    }
    return token(&rest).kind == END;
}

bool pg_text_has(Str text, const char *words) {
    size_t len = strlen(words);
    for (size_t i = 0; i < text.len; i++) {
        size_t at = i, w = 0;
        for (; w < len && at < text.len; w++) {
            if (words[w] == ' ') {
                if (!is_space(text.ptr[at])) break;
                while (at < text.len && is_space(text.ptr[at]))
                    at++;
            } else if (!str_eq_nocase((Str){text.ptr + at++, 1}, (Str){words + w, 1})) {
                break;
            }
        }
        if (w == len) return true;
    }
    return false;
}

// ── answers ────────────────────────────────────────────────────────────────────────────────────

#define COLUMNS_MAX 64

void pg_answer_column(PgAnswer *a, const char *name, uint32_t oid) {
    if (!a->columns) a->columns = arena_array(a->arena, PgColumn, COLUMNS_MAX);
    Str copy = arena_str(a->arena, str_from(name));
    if (!a->columns || !copy.ptr || a->column_count == COLUMNS_MAX) {
        a->cells.failed = true;
        return;
    }
    a->has_rows = true;
    a->tag = "SELECT";
    a->counts = true;
    a->columns[a->column_count++] = (PgColumn){.name = copy, .oid = oid};
}

void pg_answer_cell(PgAnswer *a, Str text) {
    Str copy = text.ptr ? arena_str(a->arena, text) : STR_NONE;
    if (text.ptr && !copy.ptr) a->cells.failed = true;
    buf_put(&a->cells, &copy, sizeof copy);
}

void pg_answer_row(PgAnswer *a) {
    a->row_count++;
}

static bool done(PgAnswer *a, const char *tag) {
    a->tag = tag;
    return true;
}

// ── transactions ───────────────────────────────────────────────────────────────────────────────

static const char no_transactions[] =
    "transactions of several statements are not supported: each statement is one by itself, so switch on "
    "your driver's autocommit; what must happen together belongs in a reducer";

static bool say_transaction(Token first, PgAnswer *a, Err *err, Diag *diag) {
    static const char *const begin[] = {"BEGIN", "START", "SAVEPOINT", "RELEASE", "PREPARE"};
    static const char *const end[] = {"COMMIT", "END", "ROLLBACK", "ABORT"};
    for (size_t i = 0; i < ARRAY_LEN(begin); i++) {
        if (!is(first, begin[i])) continue;
        a->warning_state = "0A000";
        *err = diag_fail(diag, ERR_UNSUPPORTED, "%s", no_transactions);
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(end); i++) {
        if (!is(first, end[i])) continue;
        a->warning = "there is no transaction in progress";
        a->warning_state = "25P01";
        return done(a, i < 2 ? "COMMIT" : "ROLLBACK");
    }
    return false;
}

// ── settings ───────────────────────────────────────────────────────────────────────────────────

typedef struct Setting {
    const char *name, *value;
    const char *allowed;  // values that SET takes, separated by '|'; NULL: any, it changes nothing
} Setting;

static const Setting settings[] = {
    {"application_name", "", NULL},
    {"bytea_output", "hex", "hex"},
    {"client_encoding", "UTF8", "utf8|utf-8|unicode|default"},
    {"client_min_messages", "notice", NULL},
    {"datestyle", "ISO, MDY", "iso|iso, mdy|iso, dmy|iso, ymd|iso,mdy|default"},
    {"default_transaction_isolation", "serializable", "serializable|default"},
    {"default_transaction_read_only", "off", "off|false|default"},
    {"extra_float_digits", "3", NULL},
    {"idle_in_transaction_session_timeout", "0", "0|default"},
    {"idle_session_timeout", "0", "0|default"},
    {"integer_datetimes", "on", "on"},
    {"intervalstyle", "postgres", "postgres|default"},
    {"jit", "off", NULL},
    {"lock_timeout", "0", "0|default"},
    {"max_identifier_length", "50000", "50000"},
    {"row_security", "on", "on"},
    {"search_path", "public", NULL},
    {"server_encoding", "UTF8", "utf8"},
    {"server_version", PG_SERVER_VERSION, ""},
    {"server_version_num", "150000", ""},
    {"standard_conforming_strings", "on", "on|true|default"},
    {"statement_timeout", "0", "0|default"},
    {"synchronous_commit", "on", "on|default"},
    {"timezone", "UTC", "utc|gmt|etc/utc|default"},
    {"transaction_isolation", "serializable", "serializable"},
    {"transaction_read_only", "off", "off"},
};

static const Setting *setting_named(Str name) {
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (str_eq_nocase(name, str_from(settings[i].name))) return &settings[i];
    }
    return NULL;
}

static bool allows(const Setting *setting, Str value) {
    const char *from = setting->allowed;
    if (!from) return true;
    for (;;) {
        const char *bar = strchr(from, '|');
        Str one = {from, bar ? (size_t)(bar - from) : strlen(from)};
        if (one.len && str_eq_nocase(one, value)) return true;
        if (!bar) return false;
        from = bar + 1;
    }
}

static Str trimmed(Str text) {
    while (text.len && (is_space(text.ptr[text.len - 1]) || text.ptr[text.len - 1] == ';'))
        text.len--;
    while (text.len && is_space(text.ptr[0]))
        text = (Str){text.ptr + 1, text.len - 1};
    if (text.len >= 2 && text.ptr[0] == '\'' && text.ptr[text.len - 1] == '\'')
        text = (Str){text.ptr + 1, text.len - 2};
    return text;
}

static bool set(Session *s, const Setting *setting, Str value, PgAnswer *a, Err *err, Diag *diag) {
    if (!allows(setting, value)) {
        a->warning_state = "22023";
        *err =
            diag_fail(diag, ERR_INVALID, "%s can only be %s here", setting->name, setting->value);
        return true;
    }
    if (strcmp(setting->name, "application_name") == 0) {
        snprintf(s->pg->application,
                 sizeof s->pg->application,
                 "%.*s",
                 (int)utf8_cut(value, sizeof s->pg->application - 1),
                 value.ptr);
        a->report_name = STR("application_name");
        a->report_value = str_from(s->pg->application);
    }
    return done(a, "SET");
}

static bool say_set(Session *s, Str rest, PgAnswer *a, Err *err, Diag *diag) {
    if (!took(&rest, "SESSION")) (void)took(&rest, "LOCAL");
    if (took(&rest, "TIME")) {
        (void)took(&rest, "ZONE");
        return set(s, setting_named(STR("timezone")), trimmed(rest), a, err, diag);
    }
    if (took(&rest, "NAMES"))
        return set(s, setting_named(STR("client_encoding")), trimmed(rest), a, err, diag);
    Token name = token(&rest);
    const Setting *setting =
        name.kind == WORD || name.kind == QUOTED ? setting_named(name.text) : NULL;
    if (!setting || (!took(&rest, "=") && !took(&rest, "TO"))) return false;
    return set(s, setting, trimmed(rest), a, err, diag);
}

static void one_cell(PgAnswer *a, const char *name, uint32_t oid, Str cell, const char *tag) {
    pg_answer_column(a, name, oid);
    pg_answer_cell(a, cell);
    pg_answer_row(a);
    a->tag = tag;
    a->counts = strcmp(tag, "SELECT") == 0;
}

static Str setting_value(const Session *s, const Setting *setting) {
    if (strcmp(setting->name, "application_name") == 0) return str_from(s->pg->application);
    return str_from(setting->value);
}

static bool say_show(const Session *s, Str rest, PgAnswer *a) {
    if (took(&rest, "TRANSACTION") && took(&rest, "ISOLATION") && took(&rest, "LEVEL")) {
        one_cell(a, "transaction_isolation", PG_TEXT, STR("serializable"), "SHOW");
        return at_end(rest);
    }
    if (took(&rest, "TIME") && took(&rest, "ZONE")) {
        one_cell(a, "TimeZone", PG_TEXT, STR("UTC"), "SHOW");
        return at_end(rest);
    }
    if (took(&rest, "ALL") && at_end(rest)) {
        pg_answer_column(a, "name", PG_TEXT);
        pg_answer_column(a, "setting", PG_TEXT);
        for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
            pg_answer_cell(a, str_from(settings[i].name));
            pg_answer_cell(a, setting_value(s, &settings[i]));
            pg_answer_row(a);
        }
        a->tag = "SHOW";
        a->counts = false;
        return true;
    }
    Token name = token(&rest);
    const Setting *setting = setting_named(name.text);
    if (!setting || !at_end(rest)) return false;
    one_cell(a, setting->name, PG_TEXT, setting_value(s, setting), "SHOW");
    return true;
}

// ── SELECT without FROM ────────────────────────────────────────────────────────────────────────

typedef struct Item {
    const char *name;
    uint32_t oid;
    Str value;
} Item;

static Str caller_name(const Session *s, Arena *arena) {
    char hex[IDENTITY_HEX_LEN + 1];
    identity_hex(&s->identity, hex);
    return arena_str(arena, str_from(hex));
}

static bool word_item(const Session *s,
                      Str word,
                      bool call,
                      Str argument,
                      Arena *arena,
                      Item *out) {
    static const char *const users[] = {"current_user", "session_user", "user", "current_role"};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        if (!str_eq_nocase(word, str_from(users[i]))) continue;
        *out = (Item){users[i], PG_NAME, caller_name(s, arena)};
        return !call;
    }
    if (str_eq_nocase(word, STR("current_schema"))) {
        *out = (Item){"current_schema", PG_NAME, STR("public")};
        return true;
    }
    if (!call) return false;
    if (str_eq_nocase(word, STR("version"))) {
        *out = (Item){"version", PG_TEXT, STR("PostgreSQL " PG_SERVER_VERSION)};
    } else if (str_eq_nocase(word, STR("current_database"))) {
        *out = (Item){"current_database", PG_NAME, str_from(s->pg->database)};
    } else if (str_eq_nocase(word, STR("pg_backend_pid"))) {
        *out = (Item){"pg_backend_pid", PG_INT4, arena_printf(arena, "%u", s->pg->pid)};
    } else if (str_eq_nocase(word, STR("pg_is_in_recovery"))) {
        *out = (Item){"pg_is_in_recovery", PG_BOOL, STR("f")};
    } else if (str_eq_nocase(word, STR("now"))) {
        Buf text = {0};
        pg_put_moment(&text, s->call_timestamp, false);
        *out = (Item){"now", PG_TEXT, arena_str(arena, bytes_str(buf_bytes(&text)))};
        buf_deinit(&text);
    } else if (str_eq_nocase(word, STR("current_setting"))) {
        const Setting *setting = setting_named(argument);
        if (!setting) return false;
        *out = (Item){"current_setting", PG_TEXT, setting_value(s, setting)};
    } else {
        return false;
    }
    return true;
}

static bool item(const Session *s, Str *rest, Arena *arena, Item *out) {
    Token first = token(rest);
    if (first.kind == NUMBER && first.text.len < 10 &&
        !memchr(first.text.ptr, '.', first.text.len)) {
        *out = (Item){"?column?", PG_INT4, first.text};
        return true;
    }
    if (first.kind == STRING) {
        *out = (Item){"?column?", PG_TEXT, first.text};
        return true;
    }
    if (is(first, "TRUE") || is(first, "FALSE")) {
        *out = (Item){"bool", PG_BOOL, is(first, "TRUE") ? STR("t") : STR("f")};
        return true;
    }
    if (first.kind != WORD) return false;
    if (is(first, "pg_catalog") && took(rest, ".")) first = token(rest);
    bool call = took(rest, "(");
    Str argument = STR("");
    if (call && !took(rest, ")")) {
        Token inside = token(rest);
        argument = inside.text;
        if (inside.kind != STRING || !took(rest, ")")) return false;
    }
    return word_item(s, first.text, call, argument, arena, out);
}

static bool say_select(const Session *s, Str rest, PgAnswer *a) {
    PgAnswer none = {.arena = a->arena};
    do {
        Item one;
        if (!item(s, &rest, a->arena, &one)) break;
        Token as = {END, STR("")};
        if (took(&rest, "AS")) as = token(&rest);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)MIN(as.text.len, sizeof name - 1), as.text.ptr);
        pg_answer_column(a, as.kind == END ? one.name : name, one.oid);
        pg_answer_cell(a, one.value);
        if (!at_end(rest)) continue;
        pg_answer_row(a);
        return true;
    } while (took(&rest, ","));
    buf_deinit(&a->cells);
    *a = none;
    return false;
}

static bool say_deallocate(Str rest, PgAnswer *a) {
    (void)took(&rest, "PREPARE");
    a->discards = true;
    if (!took(&rest, "ALL")) a->discarded = token(&rest).text;
    return done(a, "DEALLOCATE");
}

// ── what there is not ──────────────────────────────────────────────────────────────────────────

static bool say_unsupported(Token first, Err *err, Diag *diag) {
    static const struct {
        const char *verb, *instead;
    } verbs[] = {
        {"COPY", "write with INSERT, of many rows in one statement, and read with SELECT"},
        {"DECLARE", "a SELECT is given in portions when the driver asks for them (its fetch size)"},
        {"LISTEN", "clients of the WebSocket subscribe to queries"},
        {"NOTIFY", "clients of the WebSocket subscribe to queries"},
    };
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!is(first, verbs[i].verb)) continue;
        *err = diag_fail(diag,
                         ERR_UNSUPPORTED,
                         "%s is not supported: %s",
                         verbs[i].verb,
                         verbs[i].instead);
        return true;
    }
    return false;
}

// ── together ───────────────────────────────────────────────────────────────────────────────────

bool pg_say(Session *s, Str text, PgAnswer *a, Err *err, Diag *diag) {
    Str rest = text;
    Token first = token(&rest);
    *err = OK;
    a->tag = "";
    if (first.kind != WORD) return false;
    if (say_transaction(first, a, err, diag)) return true;
    if (is(first, "SET")) return say_set(s, rest, a, err, diag);
    if (is(first, "RESET")) return done(a, "RESET");
    if (is(first, "DISCARD")) {
        a->discards = took(&rest, "ALL") || took(&rest, "PLANS");
        return done(a, "DISCARD");
    }
    if (is(first, "DEALLOCATE")) return say_deallocate(rest, a);
    if (say_unsupported(first, err, diag)) return true;
    if (is(first, "SHOW")) return say_show(s, rest, a);
    if (!is(first, "SELECT")) return false;
    return say_select(s, rest, a) || pg_catalog_say(s, text, a, err, diag);
}
