// range.h: from the module ABI's points and bounds to key ranges. Spec: module-abi §1.8.
#pragma once
#include "sats/key.h"
#include "txn/access.h"
#include "txn/catalog.h"

// The types of an index's key columns, in index order. A single column of a product type counts as
// that many columns. At most RANGE_COLUMNS_MAX.
#define RANGE_COLUMNS_MAX 64

// Append the key of a point: the BSATN values of all columns, concatenated. Trailing bytes are
// refused with ABI_BSATN_DECODE_ERROR.
AbiErrno range_any_point_key(const CatalogTable *table,
                             const CatalogIndex *index,
                             Bytes point,
                             Buf *key);
static inline AbiErrno range_point_key(const CatalogTable *table,
                                       const CatalogIndex *index,
                                       Bytes point,
                                       Buf *key) {
    if (UNLIKELY(index->id_bytes == 0 || index->id_bytes != point.len))
        return range_any_point_key(table, index, point, key);
    key_append_id(key, index->id_bytes, point.ptr);
    return LIKELY(buf_ok(key)) ? ABI_OK : ABI_FATAL;
}
// Write [lower, upper) of a range. An empty upper means: to the end. *empty is set when no key can
// be inside. ABI_WRONG_INDEX_ALGO on a hash index.
AbiErrno range_keys(const CatalogTable *table,
                    const CatalogIndex *index,
                    const AccessRange *range,
                    Buf *lower,
                    Buf *upper,
                    bool *empty);
// Whether a range that range_keys accepted is a point: every column equal to one value.
bool range_is_point(const CatalogTable *table, const CatalogIndex *index, const AccessRange *range);
