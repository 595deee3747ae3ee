// catalog_rls.c: which table a row-level-security rule is about.
//
// A rule is `SELECT * FROM t …` or `SELECT t.* FROM … JOIN …`, where t may be an alias given in the
// FROM clause: `name [AS] alias`. Only that much of SQL is read here, because the catalog stores the
// table's id beside the text; whether the rule is valid is for query/ to say when it is used.
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

// Reads `name [AS] alias` of each table behind FROM until one has the wanted alias or name.
static Str table_called(Words words, Str wanted) {
    Str word = next_word(&words);
    while (!ends_tables(word)) {
        Str name = word;
        Str alias = next_word(&words);
        if (str_eq_nocase(alias, STR("as"))) alias = next_word(&words);
        if (wanted.len == 0 || str_eq(alias, wanted) || str_eq(name, wanted)) return name;
        for (word = alias; !ends_tables(word) && !is_join_word(word);)
            word = next_word(&words);
        while (is_join_word(word))
            word = next_word(&words);
    }
    return STR("");
}

Str row_level_security_table(Str sql) {
    Words words = {sql};
    if (!str_eq_nocase(next_word(&words), STR("select"))) return STR("");
    Str first = next_word(&words);
    Str wanted = str_eq(first, STR("*")) ? STR("") : first;
    for (Str word = first; !str_eq_nocase(word, STR("from"));) {
        if (word.len == 0) return STR("");
        word = next_word(&words);
    }
    return table_called(words, wanted);
}
