// sourcemap.h: from a place in a bundle back to the file that a person wrote.
//
// A bundle may end in a source map, version 3, as a data URL. It is looked for when the program is
// loaded and read when the first exception needs it: that takes milliseconds, and most programs
// never need it. Whatever is wrong with a map, places are then those in the bundle.
#pragma once
#include "base/bytes.h"
#include "base/err.h"

typedef struct SourceMap SourceMap;

// The base64 text of the map at the end of `bundle`, which it borrows from; empty: there is none.
Str sourcemap_find(Str bundle);
// Read the JSON of a map. ERR_MALFORMED (also maps of several sections), ERR_NOMEM.
MUST_USE Err sourcemap_read(Bytes json, SourceMap **out);
// The same from base64.
MUST_USE Err sourcemap_decode(Str base64, SourceMap **out);
void sourcemap_free(SourceMap **map);

// Where does this place come from? Lines and columns count from 1. False: the map does not say.
// *file lives as long as the map.
bool sourcemap_lookup(const SourceMap *map,
                      uint32_t line,
                      uint32_t column,
                      Str *file,
                      uint32_t *file_line);
