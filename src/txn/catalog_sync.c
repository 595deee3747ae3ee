// catalog_sync.c: memory and store follow the rows of the system tables.
//
// PICTURE
//   rows ── catalog_image.c ──> image ── compared by fingerprint ──┬─ same: the entry stays
//                                                                  ├─ was retired: it comes back
//                                                                  └─ new: an entry is made
//   then each entry's store table is made to fit: created, retyped, indexes built or dropped.
//
// It runs inside a transaction that changed rows (publish, replay) and after a rollback. In the
// second case the store has put its tables back by itself, so there is nothing to make.
#include "txn/catalog_internal.h"

#include "base/mem.h"

// ── making an entry from an image ──────────────────────────────────────────────────────────────

static Str entry_str(CatalogEntry *entry, Str text, Err *err) {
    Str copy = arena_str(&entry->arena, text);
    if (!copy.ptr) *err = ERR_NOMEM;
    return copy;
}

static Err column_type(CatalogEntry *entry, Bytes encoded, const Type **out) {
    // A column's type is stored with its references written out, so resolving against nothing only
    // turns it into the form that everybody else uses.
    const Type *declared = NULL;
    Diag diag;
    Err err = type_decode(&encoded, &entry->arena, &declared, &diag);
    if (err == OK) err = type_resolve(declared, NULL, 0, &entry->arena, out, &diag);
    return err == OK || err == ERR_NOMEM ? err : ERR_CORRUPT;
}

static Err entry_columns(Catalog *catalog, CatalogEntry *entry, const TableImage *image) {
    CatalogTable *table = &entry->table;
    CatalogColumn *columns = arena_array(&entry->arena, CatalogColumn, image->column_count);
    TypeField *fields = arena_array(&entry->arena, TypeField, image->column_count);
    if (!columns || !fields) return ERR_NOMEM;
    for (uint32_t i = 0; i < image->column_count; i++) {
        StColumn row = st_column_read(image->columns[i]);
        if (row.position != i) return ERR_CORRUPT;
        Err err = OK;
        columns[i].name = entry_str(entry, row.name, &err);
        if (err == OK) err = column_type(entry, row.type, &columns[i].type);
        Str names[2] = {table->name, row.name};
        if (err == OK)
            err = catalog_accessor(catalog,
                                   &entry->arena,
                                   ST_COLUMN_ACCESSOR,
                                   ST_COLUMN_ACCESSOR_BY_NAME,
                                   names,
                                   2,
                                   &columns[i].source);
        if (err != OK) return err;
        fields[i] = (TypeField){columns[i].name, columns[i].type};
    }
    table->columns = columns;
    table->column_count = image->column_count;
    table->row_type = type_product(&entry->arena, fields, image->column_count);
    return table->row_type ? OK : ERR_NOMEM;
}

static Err entry_column_list(CatalogEntry *entry,
                             const uint8_t *from,
                             uint32_t count,
                             uint16_t **out) {
    *out = arena_array(&entry->arena, uint16_t, count);
    if (!*out) return ERR_NOMEM;
    if (count == 0 || count > entry->table.column_count) return ERR_CORRUPT;
    for (uint32_t i = 0; i < count; i++) {
        (*out)[i] = load_u16(from + 2 * i);
        if ((*out)[i] >= entry->table.column_count) return ERR_CORRUPT;
    }
    return OK;
}

bool columns_same_set(const uint16_t *a, uint32_t a_count, const uint16_t *b, uint32_t b_count) {
    if (a_count != b_count) return false;
    for (uint32_t i = 0; i < a_count; i++) {
        bool found = false;
        for (uint32_t k = 0; k < b_count && !found; k++)
            found = a[i] == b[k];
        if (!found) return false;
    }
    return true;
}

// An index is unique when a unique constraint covers the same columns, in whatever order.
static Err entry_unique(CatalogEntry *entry, const TableImage *image, CatalogIndex *index) {
    for (uint32_t i = 0; i < image->constraint_count; i++) {
        StConstraint row;
        uint16_t *columns;
        if (!st_constraint_read(image->constraints[i], &row)) return ERR_CORRUPT;
        Err err = entry_column_list(entry, row.columns, row.column_count, &columns);
        if (err != OK) return err;
        if (columns_same_set(index->columns, index->column_count, columns, row.column_count))
            index->unique = true;
    }
    return OK;
}

static Err entry_indexes(Catalog *catalog, CatalogEntry *entry, const TableImage *image) {
    CatalogTable *table = &entry->table;
    table->indexes = arena_array(&entry->arena, CatalogIndex, image->index_count);
    if (!table->indexes) return ERR_NOMEM;
    for (uint32_t i = 0; i < image->index_count; i++) {
        CatalogIndex *index = &table->indexes[i];
        StIndex row;
        if (!st_index_read(image->indexes[i], &row)) return ERR_CORRUPT;
        Err err = OK;
        index->index_id = row.index_id;
        index->algorithm = row.algorithm;
        index->name = entry_str(entry, row.name, &err);
        if (err == OK)
            err = catalog_accessor(catalog,
                                   &entry->arena,
                                   ST_INDEX_ACCESSOR,
                                   ST_INDEX_ACCESSOR_BY_NAME,
                                   &row.name,
                                   1,
                                   &index->source);
        if (err == OK)
            err = entry_column_list(entry, row.columns, row.column_count, &index->columns);
        if (err != OK) return err;
        index->column_count = (uint16_t)row.column_count;
        if ((err = entry_unique(entry, image, index)) != OK) return err;
        if (index->column_count == 1 && index->columns[0] < table->column_count)
            index->id_bytes = key_id_bytes(table->columns[index->columns[0]].type);
    }
    table->index_count = image->index_count;
    return OK;
}

// The value behind `allocated`, going round at the end. Up to `allocated` all may have been used.
static Int128 sequence_next(const StSequence *row) {
    __int128 allocated, by, min, max, next;
    memcpy(&allocated, row->allocated.le, sizeof allocated);
    memcpy(&by, row->increment.le, sizeof by);
    memcpy(&min, row->min.le, sizeof min);
    memcpy(&max, row->max.le, sizeof max);
    bool overflow = __builtin_add_overflow(allocated, by, &next);
    if (overflow ? by > 0 : next > max)
        next = min;
    else if (overflow || next < min)
        next = max;
    Int128 out;
    memcpy(out.le, &next, sizeof next);
    return out;
}

static Err entry_sequences(CatalogEntry *entry, const TableImage *image) {
    CatalogTable *table = &entry->table;
    table->sequences = arena_array(&entry->arena, CatalogSequence, image->sequence_count);
    if (!table->sequences) return ERR_NOMEM;
    for (uint32_t i = 0; i < image->sequence_count; i++) {
        StSequence row = st_sequence_read(image->sequences[i]);
        if (row.column >= table->column_count) return ERR_CORRUPT;
        table->sequences[i] = (CatalogSequence){
            .sequence_id = row.sequence_id,
            .column = row.column,
            .increment = row.increment,
            .start = row.start,
            .min = row.min,
            .max = row.max,
            .allocated = row.allocated,
            .next = sequence_next(&row),
        };
    }
    table->sequence_count = image->sequence_count;
    return OK;
}

static Err entry_schedule(CatalogEntry *entry, const TableImage *image) {
    if (image->scheduled.len == 0) return OK;
    StScheduled row = st_scheduled_read(image->scheduled);
    if (row.at_column >= entry->table.column_count) return ERR_CORRUPT;
    Err err = OK;
    entry->table.schedule_id = row.schedule_id;
    entry->table.schedule_at_column = row.at_column;
    entry->table.schedule_function = entry_str(entry, row.function, &err);
    return err;
}

static void entry_view(CatalogEntry *entry, const TableImage *image) {
    if (image->view.len == 0) return;
    entry->table.is_view = true;
    entry->table.is_anonymous_view = st_view_read(image->view).is_anonymous;
}

static Err entry_fill(Catalog *catalog, CatalogEntry *entry, const TableImage *image) {
    CatalogTable *table = &entry->table;
    StTable row = st_table_read(image->table);
    Err err = OK;
    table->table_id = row.table_id;
    table->is_public = row.is_public;
    table->is_event = image->is_event;
    table->primary_key = row.primary_key;
    table->name = entry_str(entry, row.name, &err);
    if (err != OK) return err;
    if ((err = catalog_accessor(catalog,
                                &entry->arena,
                                ST_TABLE_ACCESSOR,
                                ST_TABLE_ACCESSOR_BY_NAME,
                                &row.name,
                                1,
                                &table->source)) != OK)
        return err;
    if (image->column_count == 0) return ERR_CORRUPT;
    if ((err = entry_columns(catalog, entry, image)) != OK) return err;
    if (row.primary_key >= (int32_t)table->column_count) return ERR_CORRUPT;
    if ((err = entry_indexes(catalog, entry, image)) != OK) return err;
    if ((err = entry_sequences(entry, image)) != OK) return err;
    if ((err = entry_schedule(entry, image)) != OK) return err;
    entry_view(entry, image);
    entry->fingerprint = arena_bytes(&entry->arena, image->fingerprint);
    return entry->fingerprint.len == image->fingerprint.len ? OK : ERR_NOMEM;
}

static Err entry_new(Catalog *catalog, const TableImage *image, CatalogEntry **out) {
    CatalogEntry *entry = MEM_NEW(CatalogEntry);
    if (!entry) return ERR_NOMEM;
    Err err = entry_fill(catalog, entry, image);
    if (err != OK) {
        entry_free(entry);
        return err;
    }
    *out = entry;
    return OK;
}

// ── the store's table of an entry ──────────────────────────────────────────────────────────────

static StoreIndexSpec index_spec(const CatalogIndex *index) {
    return (StoreIndexSpec){.index_id = index->index_id,
                            .columns = index->columns,
                            .column_count = index->column_count,
                            .unique = index->unique};
}

// Rows are clustered by the primary key, if an index can vouch for its being unique.
static int32_t clustering_column(const CatalogTable *table) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        const CatalogIndex *index = &table->indexes[i];
        if (index->unique && index->column_count == 1 && index->columns[0] == table->primary_key)
            return table->primary_key;
    }
    return -1;
}

static Err store_create(Catalog *catalog, CatalogTable *table) {
    StoreIndexSpec *specs = mem_zalloc(MAX(table->index_count, 1u) * sizeof *specs);
    if (!specs) return ERR_NOMEM;
    for (uint32_t i = 0; i < table->index_count; i++)
        specs[i] = index_spec(&table->indexes[i]);
    StoreTableSpec spec = {.table_id = table->table_id,
                           .row_type = table->row_type,
                           .primary_column = clustering_column(table),
                           .indexes = specs,
                           .index_count = table->index_count};
    Err err = store_table_create(catalog->store, &spec, &table->table);
    mem_free(specs);
    return err;
}

static bool same_index(const StoreIndexInfo *have, const CatalogIndex *want) {
    return have->index_id == want->index_id && have->unique == want->unique &&
           have->column_count == want->column_count &&
           memcmp(have->columns, want->columns, want->column_count * sizeof *want->columns) == 0;
}

static const CatalogIndex *wanted_index(const CatalogTable *table, const StoreIndexInfo *have) {
    for (uint32_t i = 0; i < table->index_count; i++) {
        if (same_index(have, &table->indexes[i])) return &table->indexes[i];
    }
    return NULL;
}

static Err store_fit_indexes(Catalog *catalog, const CatalogTable *table) {
    Err err = OK;
    for (uint32_t i = table_index_count(table->table); err == OK && i-- > 0;) {
        StoreIndexInfo have = table_index_at(table->table, i);
        if (!wanted_index(table, &have))
            err = store_index_drop(catalog->store, table->table, have.index_id);
    }
    for (uint32_t i = 0; err == OK && i < table->index_count; i++) {
        StoreIndexInfo have;
        if (table_index(table->table, table->indexes[i].index_id, &have)) continue;
        StoreIndexSpec spec = index_spec(&table->indexes[i]);
        err = store_index_create(catalog->store, table->table, &spec);
    }
    return err;
}

static Err store_fit(Catalog *catalog, CatalogTable *table) {
    table->table = store_table(catalog->store, table->table_id);
    if (!table->table) return store_create(catalog, table);
    if (!type_eq(table_layout(table->table)->row_type, table->row_type)) {
        Err err = store_table_retype(catalog->store, table->table, table->row_type);
        if (err != OK) return err;
    }
    return store_fit_indexes(catalog, table);
}

// ── from the entries there are to those the image wants ────────────────────────────────────────

// A sequence whose row says something else than memory was moved by replay or by a rollback;
// otherwise what memory knows about the next value is more exact.
static void refresh_sequences(CatalogEntry *entry, const TableImage *image) {
    for (uint32_t i = 0; i < image->sequence_count; i++) {
        StSequence row = st_sequence_read(image->sequences[i]);
        CatalogSequence *sequence = &entry->table.sequences[i];
        if (memcmp(&row.allocated, &sequence->allocated, sizeof row.allocated) == 0) continue;
        sequence->allocated = row.allocated;
        sequence->next = sequence_next(&row);
    }
}

static CatalogEntry *take_matching(EntryList *list, const TableImage *image) {
    for (uint32_t i = 0; i < list->count; i++) {
        CatalogEntry *entry = list->at[i];
        if (entry->table.table_id != image->table_id) continue;
        if (!bytes_eq(entry->fingerprint, image->fingerprint)) continue;
        list->at[i] = list->at[--list->count];
        return entry;
    }
    return NULL;
}

static CatalogEntry *live_matching(const Catalog *catalog, const TableImage *image) {
    CatalogTable *table = catalog_table(catalog, image->table_id);
    CatalogEntry *entry = (CatalogEntry *)table;
    return entry && bytes_eq(entry->fingerprint, image->fingerprint) ? entry : NULL;
}

static bool list_has(const EntryList *list, const CatalogEntry *entry) {
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->at[i] == entry) return true;
    }
    return false;
}

static bool list_same(const EntryList *a, const EntryList *b) {
    return a->count == b->count && memcmp(a->at, b->at, a->count * sizeof *a->at) == 0;
}

// The entries of the image, ascending by id behind the system tables. New ones are counted.
static Err wanted_entries(Catalog *catalog,
                          const CatalogImage *image,
                          EntryList *out,
                          bool *changed) {
    if (!entry_list_reserve(out, SYSTEM_TABLES + image->count)) return ERR_NOMEM;
    for (uint32_t i = 0; i < SYSTEM_TABLES; i++)
        out->at[out->count++] = catalog->live.at[i];
    for (uint32_t i = 0; i < image->count; i++) {
        const TableImage *table = &image->tables[i];
        CatalogEntry *entry = live_matching(catalog, table);
        if (!entry) {
            *changed = true;
            entry = take_matching(&catalog->retired, table);
            Err err = entry ? OK : entry_new(catalog, table, &entry);
            if (err != OK) return err;
        }
        refresh_sequences(entry, table);
        out->at[out->count++] = entry;
    }
    return OK;
}

// From here on the catalog is as the image says; what was live and is not wanted is put aside.
static void replace_live(Catalog *catalog, EntryList *wanted, bool *changed) {
    for (uint32_t i = 0; i < catalog->live.count; i++) {
        CatalogEntry *entry = catalog->live.at[i];
        if (list_has(wanted, entry)) continue;
        catalog->retired.at[catalog->retired.count++] = entry;
        *changed = true;
    }
    mem_free(catalog->live.at);
    catalog->live = *wanted;
    *wanted = (EntryList){0};
}

static Err drop_retired(Catalog *catalog) {
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < catalog->retired.count; i++) {
        uint32_t table_id = catalog->retired.at[i]->table.table_id;
        Table *table = store_table(catalog->store, table_id);
        if (table && !catalog_table(catalog, table_id))
            err = store_table_drop(catalog->store, table);
    }
    return err;
}

// What wanted_entries took or made before it failed goes to the retired ones; nothing is lost.
static void give_back(Catalog *catalog, EntryList *wanted) {
    for (uint32_t i = 0; i < wanted->count; i++) {
        if (!list_has(&catalog->live, wanted->at[i]))
            catalog->retired.at[catalog->retired.count++] = wanted->at[i];
    }
    mem_free(wanted->at);
    *wanted = (EntryList){0};
}

static Err sync_image(Catalog *catalog, const CatalogImage *image, bool drop) {
    EntryList wanted = {0};
    bool changed = false;
    // Room for every entry to retire, whether of now or of the image, so that nothing below fails.
    if (!entry_list_reserve(&catalog->retired, catalog->live.count + image->count))
        return ERR_NOMEM;
    Err err = wanted_entries(catalog, image, &wanted, &changed);
    // After a rollback nothing is different. Then nothing moves either: workers read these lists.
    bool same = err == OK && list_same(&wanted, &catalog->live);
    if (err == OK && !same) err = catalog_index_entries(catalog, &wanted);
    if (err != OK || same) {
        give_back(catalog, &wanted);
    } else {
        replace_live(catalog, &wanted, &changed);
    }
    if (err != OK) return err;
    if (changed) catalog->schema_version++;
    if (drop && (err = drop_retired(catalog)) != OK) return err;
    for (uint32_t i = SYSTEM_TABLES; i < catalog->live.count; i++) {
        if ((err = store_fit(catalog, &catalog->live.at[i]->table)) != OK) return err;
    }
    return OK;
}

static Err sync(Catalog *catalog, bool drop, Diag *diag) {
    Arena arena = {0};
    CatalogImage image;
    Err err = catalog_image_read(catalog, &arena, &image, diag);
    if (err == OK) {
        err = sync_image(catalog, &image, drop);
        if (err != OK) diag_fail(diag, err, "cannot follow the system tables: %s", err_text(err));
    }
    arena_deinit(&arena);
    if (err == OK && drop) catalog->pending = false;
    return err;
}

Err catalog_sync(Catalog *catalog, Diag *diag) {
    return sync(catalog, true, diag);
}

Err catalog_sync_keeping(Catalog *catalog, Diag *diag) {
    return sync(catalog, false, diag);
}
