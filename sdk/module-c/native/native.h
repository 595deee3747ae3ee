// native.h: a C module as an ordinary program, over a real database in memory.
//
// PICTURE
//   test ── native_reducer ──> lc_call_reducer (lightcone.c) ──> the module, compiled for this machine
//                                                     │
//                 native.c: lc_abi_* ── host/abi.h ── the head of a Db in memory
//
// So the library, the generated code and a module run under a debugger and the sanitizers, without
// wasm. A trap ends the program: that is what a debugger wants, and what a test must not provoke.
#pragma once
#include "host/host.h"

// One module a program: the one that is linked into it.
void native_open(void);
void native_close(void);
const ModuleDef *native_def(void);

// The calls' outcomes; text lives until the next call. `args` is BSATN.
HostStatus native_reducer(const char *name, Bytes args, Str *message);
Bytes native_procedure(const char *name, Bytes args);
Bytes native_view(const char *name);  // with its header
Bytes native_http(uint32_t id, Bytes request, Bytes body, Bytes *response_body);

typedef void (*NativeRow)(void *ctx, Bytes row);
void native_rows(const char *table, NativeRow row, void *ctx);

extern const Identity native_sender;
