// extent.h: free pages as extents of consecutive pages; part of the page door (page.h), nobody
// else's business.
#pragma once
#include "store/page.h"

PageNo extent_take(Pages *pages, uint32_t run);
void extent_give(Pages *pages, PageNo no, uint32_t run);
// Make everything below `end` that has no bit in `live` free, in a range that has no extents yet.
void extent_restore(Pages *pages, const uint8_t *live);
// Cut a free extent of at least `min` pages off the end. Returns its pages, 0: there is none.
uint32_t extent_trim(Pages *pages, uint32_t min);
