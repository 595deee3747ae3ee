// discard.h: ending what takes long to end beside whoever is done with it.
//
// Giving 100 MB back to the system takes milliseconds, in which a loop would serve nobody. One thread in
// the background does it for the whole process; it is made when it is first wanted.
#pragma once
#include "base/base.h"

typedef struct Discard Discard;
struct Discard {  // part of what ends
    Discard *next;
    void (*end)(Discard *self);
};

// Have `end` called once, soon, on that thread; here and now where there is none. From any thread. It may
// come after everything else in the process has ended, or not at all.
void discard_later(Discard *what, void (*end)(Discard *self));
