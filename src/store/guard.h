// guard.h: when may the memory of a page go? When nobody can still be looking at it.
//
// PICTURE
//   reader    guard_raise ── is the page here? ── looks at its bytes … ── guard_lower
//   evictor                    marks it cooling ── tag ── …  guards_passed(tag)? ── memory goes
//
//   A guard is a thread's. While it is up, what the thread found here stays readable. The evictor
//   marks a page first, so that whoever comes later sees the mark, then waits for those who may have
//   come before: each guard notes the time at which it was raised, and a page marked at time t is
//   released when every guard that is up was raised after t. Nobody waits for anybody; a page just
//   stays longer. (Epoch based reclamation: Fraser 2004; liburcu calls the same a grace period.)
//
// Raising costs one locked store, and only threads that read a store with a page file do it. A
// thread that keeps its guard up for long keeps memory, nothing else.
#pragma once
#include "base/base.h"

void guard_raise(void);  // of this thread; no effect when it is up
void guard_lower(void);  // nothing that was found before may be looked at any more
bool guard_is_up(void);

// Time moves on: returns the time to note for what was marked so far.
uint64_t guards_tick(void);
// Is every guard that is up younger than `time`?
bool guards_passed(uint64_t time);
