// ident.c: which texts may be names (module-abi §3.5): not empty, in normalization form C, a letter
// or underscore first, then letters, digits and marks, as Unicode defines identifiers (XID). No word
// is reserved.
#include <stdlib.h>
#include <unictype.h>
#include <uninorm.h>
#include <unistr.h>

#include "schema/names.h"

#define UAX31 "(according to Unicode Standard Annex 31, https://unicode.org/reports/tr31/)"

static bool is_ascii(Str name) {
    for (size_t i = 0; i < name.len; i++) {
        if ((unsigned char)name.ptr[i] >= 0x80) return false;
    }
    return true;
}

static bool is_normal(Str name) {
    if (is_ascii(name)) return true;
    size_t len = 0;
    uint8_t *normal = u8_normalize(UNINORM_NFC, (const uint8_t *)name.ptr, name.len, NULL, &len);
    bool same = normal && bytes_eq((Bytes){normal, len}, str_bytes(name));
    free(normal);  // the library's allocation, not ours
    return same;
}

static bool is_allowed(ucs4_t c, bool is_first) {
    if (!is_first) return uc_is_property_xid_continue(c);
    return c == '_' || uc_is_property_xid_start(c);
}

static void explain(Buf *reason, Str name, Str character, bool is_first) {
    if (is_first) {
        buf_printf(reason,
                   "Identifier `" STR_FMT "`'s starting character '" STR_FMT
                   "' is neither an underscore ('_') nor a Unicode XID_start character " UAX31
                   " and cannot be used for entities in a module.",
                   STR_ARG(name),
                   STR_ARG(character));
        return;
    }
    buf_printf(reason,
               "Identifier `" STR_FMT "` contains a character '" STR_FMT
               "' that is not an XID_continue character " UAX31
               " and cannot be used for entities in a module.",
               STR_ARG(name),
               STR_ARG(character));
}

bool ident_check(Str name, Buf *reason) {
    if (name.len == 0) {
        buf_put_str(reason, STR("Empty identifiers are forbidden."));
        return false;
    }
    if (!is_normal(name)) {
        buf_printf(reason,
                   "Identifier `" STR_FMT "` is not in normalization form C " UAX31
                   " and cannot be used for entities in a module.",
                   STR_ARG(name));
        return false;
    }
    for (size_t at = 0; at < name.len;) {
        ucs4_t c;
        size_t bytes = (size_t)u8_mbtouc(&c, (const uint8_t *)name.ptr + at, name.len - at);
        if (!is_allowed(c, at == 0)) {
            explain(reason, name, (Str){name.ptr + at, bytes}, at == 0);
            return false;
        }
        at += bytes;
    }
    return true;
}
