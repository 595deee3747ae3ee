// v1.h: inside of wire/: what v1.bsatn and v1.json share.
#pragma once
#include "wire/wire.h"

extern const WireCodec v1_codec, v1_json_codec;

// Decode a binary message. `args_as_json` is what a call's arguments are.
MUST_USE Err v1_decode(Bytes payload, bool args_as_json, ClientMessage *out, Diag *diag);
// The updates are sorted by table: how many at the front are of one table.
uint32_t v1_run_of_table(const WireTableUpdate *updates, uint32_t count);
// Inserts and deletes of a table's updates.
uint64_t v1_row_count(const WireTableUpdate *updates, uint32_t count);
