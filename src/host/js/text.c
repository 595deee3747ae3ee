// text.c: see text.h. The tables are those of the Unicode standard, chapter 3, table 3-7.
#include "host/js/text.h"

static void put_utf8(uint8_t **at, uint32_t c) {
    uint8_t *p = *at;
    if (c < 0x80) {
        *p++ = (uint8_t)c;
    } else if (c < 0x800) {
        *p++ = (uint8_t)(0xc0 | c >> 6);
        *p++ = (uint8_t)(0x80 | (c & 0x3f));
    } else if (c < 0x10000) {
        *p++ = (uint8_t)(0xe0 | c >> 12);
        *p++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *p++ = (uint8_t)(0x80 | (c & 0x3f));
    } else {
        *p++ = (uint8_t)(0xf0 | c >> 18);
        *p++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *p++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        *p++ = (uint8_t)(0x80 | (c & 0x3f));
    }
    *at = p;
}

void text_from_utf16(Buf *out, const uint16_t *units, size_t count) {
    size_t start = out->len;
    uint8_t *room = buf_extend(out, count * 3);  // a unit is at most three bytes
    if (!room) return;
    uint8_t *at = room;
    for (size_t i = 0; i < count; i++) {
        uint32_t c = units[i];
        if (c >= 0xd800 && c < 0xe000) {
            bool pair = c < 0xdc00 && i + 1 < count && (units[i + 1] & 0xfc00) == 0xdc00;
            c = pair ? 0x10000 + ((c - 0xd800) << 10) + (units[i + 1] - 0xdc00u) : 0xfffd;
            i += pair;
        }
        put_utf8(&at, c);
    }
    out->len = start + (size_t)(at - room);
}

// How many continuation bytes a lead byte asks for, and which first one it allows. 0: not a lead.
static int lead_of(uint8_t lead, uint8_t *low, uint8_t *high) {
    *low = 0x80;
    *high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) return 1;
    if (lead >= 0xe0 && lead <= 0xef) {
        if (lead == 0xe0) *low = 0xa0;   // overlong
        if (lead == 0xed) *high = 0x9f;  // surrogates
        return 2;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        if (lead == 0xf0) *low = 0x90;   // overlong
        if (lead == 0xf4) *high = 0x8f;  // beyond U+10FFFF
        return 3;
    }
    return 0;
}

bool text_to_utf16(Buf *out, Bytes utf8) {
    size_t start = out->len;
    if (!utf8.len) return true;
    uint8_t *room = buf_extend(out, utf8.len * 2);  // a byte is at most one unit
    if (!room) return false;
    bool valid = true;
    size_t units = 0;
    for (size_t i = 0; i < utf8.len;) {
        uint8_t lead = utf8.ptr[i++];
        uint32_t c = lead;
        if (lead >= 0x80) {
            uint8_t low, high;
            int wanted = lead_of(lead, &low, &high), seen = 0;
            c = lead & (0x3fu >> wanted);
            while (seen < wanted && i < utf8.len && utf8.ptr[i] >= low && utf8.ptr[i] <= high) {
                c = c << 6 | (utf8.ptr[i++] & 0x3f);
                low = 0x80;
                high = 0xbf;
                seen++;
            }
            if (wanted == 0 || seen < wanted) {
                c = 0xfffd;
                valid = false;
            }
        }
        if (c >= 0x10000) {
            store_u16(room + 2 * units++, (uint16_t)(0xd7c0 + (c >> 10)));
            c = 0xdc00 | (c & 0x3ff);
        }
        store_u16(room + 2 * units++, (uint16_t)c);
    }
    out->len = start + 2 * units;
    return valid;
}
