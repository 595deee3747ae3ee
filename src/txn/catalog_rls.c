// catalog_rls.c: which table a row-level-security rule is about.
//
// A rule is `SELECT * FROM t …` or `SELECT t.* FROM … JOIN …`, where t may be an alias given in the
// FROM clause: `name [AS] alias`. Only that much of SQL is read here, because the catalog stores the
// table's id beside the text; whether the rule is valid and what it means is for query/ to say.
#include "txn/catalog_internal.h"

typedef struct Words {
    Str left;
} Words;

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static void skip(Words *words, size_t len) {
    words->left.ptr += len;
    words->left.len -= len;
}

// The next identifier (quotes taken off), or a single other character; empty at the end.
static Str next_word(Words *words) {
    while (words->left.len > 0 && memchr(" \t\r\n", words->left.ptr[0], 4))
        skip(words, 1);
    if (words->left.len == 0) return STR("");
    const char *begin = words->left.ptr;
    if (*begin == '"') {
        skip(words, 1);
        const char *end = memchr(words->left.ptr, '"', words->left.len);
        size_t len = end ? (size_t)(end - words->left.ptr) : words->left.len;
        Str quoted = {begin + 1, len};
        skip(words, len + (end ? 1 : 0));
        return quoted;
    }
    size_t len = 1;
    if (is_word(*begin)) {
        while (len < words->left.len && is_word(begin[len]))
            len++;
    }
    skip(words, len);
    return (Str){begin, len};
}

static bool is_join_word(Str word) {
    return str_eq_nocase(word, STR("join")) || str_eq_nocase(word, STR("inner"));
}

static bool ends_tables(Str word) {
    return word.len == 0 || str_eq_nocase(word, STR("where"));
}

// The parts of a name of a submodule's table, `lib.users`, as one, when nothing is between them.
static Str next_name(Words *words) {
    Str name = next_word(words);
    while (words->left.len > 1 && name.ptr + name.len == words->left.ptr &&
           words->left.ptr[0] == '.' && is_word(words->left.ptr[1])) {
        skip(words, 1);
        Str part = next_word(words);
        name.len += 1 + part.len;
    }
    return name;
}

// Reads `name [AS] alias` of each table behind FROM until one has the wanted alias or name.
static Str table_called(Words words, Str wanted) {
    Str word = next_name(&words);
    while (!ends_tables(word)) {
        Str name = word;
        Str alias = next_word(&words);
        if (str_eq_nocase(alias, STR("as"))) alias = next_word(&words);
        if (wanted.len == 0 || str_eq(alias, wanted) || str_eq(name, wanted)) return name;
        for (word = alias; !ends_tables(word) && !is_join_word(word);)
            word = next_word(&words);
        while (is_join_word(word))
            word = next_name(&words);
    }
    return STR("");
}

Str row_level_security_table(Str sql) {
    Words words = {sql};
    if (!str_eq_nocase(next_word(&words), STR("select"))) return STR("");
    Str first = next_name(&words);
    Str wanted = str_eq(first, STR("*")) ? STR("") : first;
    for (Str word = first; !str_eq_nocase(word, STR("from"));) {
        if (word.len == 0) return STR("");
        word = next_word(&words);
    }
    Str found = table_called(words, wanted);
    // Columns of a table are not rows of it; whose columns they would be is all that matters then.
    return found.len > 0 ? found : table_called(words, STR(""));
}

Err catalog_each_rule(const Catalog *catalog,
                      uint32_t table_id,
                      bool (*each)(void *ctx, Str sql),
                      void *ctx) {
    const Table *rules = system_table(catalog, ST_ROW_LEVEL_SECURITY);
    if (table_row_count(rules, NULL) == 0) return OK;  // as in most databases
    TableScan scan;
    Bytes row;
    table_scan_begin(&scan, rules, NULL, TABLE_ROWS, BYTES_NONE, BYTES_NONE);
    bool more = true;
    while (more && table_scan_next(&scan, &row)) {
        Reader in = reader_of(row);
        uint32_t id = reader_u32(&in);
        Str sql = reader_str(&in);
        if (id == table_id) more = each(ctx, sql);
    }
    table_scan_end(&scan);
    return scan.err;  // a rule that cannot be read must not be a rule that is not there
}
