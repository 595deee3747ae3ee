// crc32c.h: the checksum of everything we store (Castagnoli polynomial, as in iSCSI and ext4).
#pragma once
#include "base/bytes.h"

// Continue a checksum over more bytes: crc32c(crc32c(0, a), b) == crc32c(0, a followed by b).
uint32_t crc32c(uint32_t crc, Bytes bytes);

// The same by table, for machines without the instruction; public so that the test compares them.
uint32_t crc32c_portable(uint32_t crc, Bytes bytes);
