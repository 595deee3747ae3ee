// keccak.h: Keccak-256 with its original padding, the hash of programs and migration tokens.
#pragma once
#include "base/bytes.h"

#define KECCAK256_LEN 32

// Not SHA3-256: that pads with 06 where this pads with 01, so the two never agree.
void keccak256(Bytes bytes, uint8_t out[KECCAK256_LEN]);
