// text.h: the texts of queries, of which there may be a million, kept as what they share and what is
// their own. Inside this room only.
//
// PICTURE
//   SELECT * FROM item WHERE owner = 4711 AND kind = 'x'
//     shape   SELECT * FROM item WHERE owner = · AND kind = ·      once, counted
//     own     4711  'x'                                            beside the subscription
//
// Nothing is understood here: a number or a string is cut out where one seems to stand, and put back as it
// was. Two texts are the same exactly when shape and own bytes are.
#pragma once
#include "live/map.h"

typedef struct TextShape TextShape;

// Cut a text: *shape is the caller's until text_release, its own bytes are appended to `own`. ERR_NOMEM.
MUST_USE Err text_cut(LiveMap *shapes, Str text, TextShape **shape, Buf *own);
TextShape *text_again(TextShape *shape);                // for one more owner
void text_release(LiveMap *shapes, TextShape **shape);  // harmless on NULL
// The text as it was, appended.
void text_put(const TextShape *shape, Bytes own, Buf *out);
