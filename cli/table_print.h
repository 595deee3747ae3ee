// table_print.h: cells in columns, the way psql draws them.
#pragma once
#include "cli/cli.h"

// cells: the header's `columns` texts, then row after row. Appends the drawing.
void table_print(Buf *out, const char *const *cells, size_t columns, size_t rows);
