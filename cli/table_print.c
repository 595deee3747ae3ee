#include "cli/table_print.h"

// Code points, not bytes, so that names with accents line up.
static size_t text_width(const char *text) {
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void repeat(Buf *out, char c, size_t count) {
    for (size_t i = 0; i < count; i++)
        buf_put_u8(out, (uint8_t)c);
}

static void row_print(Buf *out, const char *const *cells, const size_t *widths, size_t columns) {
    for (size_t c = 0; c < columns; c++) {
        buf_printf(out, "%s %s", c ? "|" : "", cells[c]);
        repeat(out, ' ', widths[c] - text_width(cells[c]) + 1);
    }
    buf_put_u8(out, '\n');
}

void table_print(Buf *out, const char *const *cells, size_t columns, size_t rows) {
    size_t *widths = arena_array(cli_arena(), size_t, columns ? columns : 1);
    if (!widths) cli_die("out of memory");
    for (size_t i = 0; i < columns * (rows + 1); i++)
        widths[i % columns] = MAX(widths[i % columns], text_width(cells[i]));
    row_print(out, cells, widths, columns);
    for (size_t c = 0; c < columns; c++) {
        if (c) buf_put_u8(out, '+');
        repeat(out, '-', widths[c] + 2);
    }
    buf_put_u8(out, '\n');
    for (size_t r = 0; r < rows; r++)
        row_print(out, cells + (r + 1) * columns, widths, columns);
}
