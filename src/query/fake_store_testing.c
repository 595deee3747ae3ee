#include "query/fake_testing.h"

enum { INDEXES_MAX = 4, INDEX_COLUMNS_MAX = 4 };

void fake_store_table(CatalogTable *table,
                      Store *store,
                      int32_t primary,
                      const char *const *indexes,
                      uint32_t count) {
    StoreIndexSpec specs[INDEXES_MAX + 1];
    uint16_t columns[INDEXES_MAX + 1][INDEX_COLUMNS_MAX];
    uint32_t n = 0;
    ASSERT(count <= INDEXES_MAX);
    if (primary >= 0) {  // the index that a primary key always has
        columns[n][0] = (uint16_t)primary;
        specs[n++] = (StoreIndexSpec){table->table_id * 10 + 9, columns[0], 1, true};
    }
    for (uint32_t i = 0; i < count; i++, n++) {
        const char *digit = indexes[i] + (indexes[i][0] == 'u');
        uint16_t width = 0;
        for (; *digit; digit++) {
            ASSERT(width < INDEX_COLUMNS_MAX);
            columns[n][width++] = (uint16_t)(*digit - '0');
        }
        specs[n] =
            (StoreIndexSpec){table->table_id * 10 + i, columns[n], width, indexes[i][0] == 'u'};
    }
    StoreTableSpec spec = {table->table_id, table->row_type, primary, specs, n};
    Err err = store_table_create(store, &spec, &table->table);
    ASSERT(err == OK);
    table->primary_key = primary;
}
