// extent.h: free pages as extents of consecutive pages; part of the page door (page.h), nobody
// else's business.
#pragma once
#include "store/page.h"

PageNo extent_take(Pages *pages, uint32_t run);
void extent_give(Pages *pages, PageNo no, uint32_t run);
