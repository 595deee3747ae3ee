// rows.c: the rows a client holds, found by their bytes and by their unique columns.
//
// PICTURE
//   Table ── first ──> Row <──> Row <──> Row ── last          in the order of their coming
//     │                 ^        ^
//     └─ slots:  by bytes        by unique column 0, 1, …      maps of one size, chained through the rows
//
//   A Row is one block: the Row with its links, its bytes, the address of the Row, the value that the program
//   sees, what the value points to. So row_of finds the Row of a value by looking before it.
//
// CALLERS  batches.c changes what is here; the program looks: lc_table_find, lc_table_next.
// NOT HERE which rows the program may see, and when: batches.c.
#include "client.h"

static uint64_t rotate(uint64_t x, int by) {
    return x << by | x >> (64 - by);
}

// SipHash-1-3: other people choose what rows contain.
LC_PRIVATE uint64_t hash_bytes(const uint64_t seed[2], const uint8_t *at, size_t len) {
    uint64_t v0 = seed[0] ^ 0x736f6d6570736575, v1 = seed[1] ^ 0x646f72616e646f6d;
    uint64_t v2 = seed[0] ^ 0x6c7967656e657261, v3 = seed[1] ^ 0x7465646279746573;
    size_t rounds = len / 8 + 1 + 3;
    for (size_t i = 0; i < rounds; i++) {
        uint64_t word = 0;
        if (i < len / 8) word = le_read(at + 8 * i, 8);
        if (i == len / 8) word = le_read(at + 8 * i, len % 8) | (uint64_t)len << 56;
        if (i == len / 8 + 1) v2 ^= 0xff;
        v3 ^= word;
        v0 += v1, v1 = rotate(v1, 13) ^ v0, v0 = rotate(v0, 32);
        v2 += v3, v3 = rotate(v3, 16) ^ v2;
        v0 += v3, v3 = rotate(v3, 21) ^ v0;
        v2 += v1, v1 = rotate(v1, 17) ^ v2, v2 = rotate(v2, 32);
        v0 ^= word;
    }
    return v0 ^ v1 ^ v2 ^ v3;
}

LC_PRIVATE Row **chain_of(const Table *table, size_t map, uint64_t hash) {
    return &table->slots[map * table->cap + (hash & (table->cap - 1))];
}

LC_PRIVATE Row *row_find(const Table *table,
                         size_t map,
                         uint64_t hash,
                         const uint8_t *key,
                         size_t len) {
    if (table->cap == 0) return NULL;
    for (Row *row = *chain_of(table, map, hash); row; row = row->links[map].next) {
        const Link *link = &row->links[map];
        if (link->hash == hash && link->len == len && memcmp(link->key, key, len) == 0) return row;
    }
    return NULL;
}

static void row_chain(Table *table, Row *row) {
    for (size_t map = 0; map <= table->info->unique_count; map++) {
        Row **chain = chain_of(table, map, row->links[map].hash);
        row->links[map].next = *chain;
        *chain = row;
    }
}

LC_PRIVATE bool table_grow(Table *table) {
    size_t cap = table->cap ? table->cap * 2 : 16, maps = 1 + table->info->unique_count;
    if (cap > SIZE_MAX / sizeof(Row *) / maps) return false;
    Row **slots = mem_new(cap * maps * sizeof(Row *));
    if (!slots) return false;
    free(table->slots);
    table->slots = slots;
    table->cap = cap;
    for (Row *row = table->first; row; row = row->next)
        row_chain(table, row);
    return true;
}

LC_PRIVATE void row_link(Table *table, Row *row) {
    row_chain(table, row);
    row->previous = table->last;
    *(table->last ? &table->last->next : &table->first) = row;
    table->last = row;
    table->row_count++;
}

LC_PRIVATE void row_unlink(Table *table, Row *row) {
    for (size_t map = 0; map <= table->info->unique_count; map++) {
        Row **at = chain_of(table, map, row->links[map].hash);
        while (*at != row)
            at = &(*at)->links[map].next;
        *at = row->links[map].next;
    }
    *(row->previous ? &row->previous->next : &table->first) = row->next;
    *(row->next ? &row->next->previous : &table->last) = row->previous;
    table->row_count--;
}

// One block: the Row, its bytes, the address of the Row, the value, what the value points to.
LC_PRIVATE LcError row_new(const uint64_t seed[2], Table *table, In in, Row **out) {
    const LcType *type = table->info->row;
    size_t links = 1 + table->info->unique_count, len = in_left(&in);
    Place place = {0};
    In measured = in;
    for (int pass = 0;; pass++) {
        Row *row = (Row *)(void *)place_take(&place, 1, sizeof(Row) + links * sizeof(Link));
        uint8_t *bytes = place_take(&place, len, 1);
        uint8_t *back = place_take(&place, 1, sizeof(Row *));
        uint8_t *value = place_take(&place, 1, type->size);
        In *from = pass == 0 ? &measured : &(In){.at = bytes, .end = bytes + len};
        if (row) {
            memcpy(bytes, in.at, len);
            memcpy(back, &row, sizeof row);
            row->table = table;
            row->value = value;
            row->links[0] = (Link){.key = bytes, .len = len};
        }
        for (size_t i = 0; i < type->field_count; i++) {
            const LcField *field = &type->fields[i];
            const uint8_t *key = from->at;
            if (!value_read(from, field->type, value ? value + field->offset : NULL, &place, 1))
                return place.too_large ? LC_NO_MEMORY : LC_MALFORMED;
            for (size_t k = 0; row && k + 1 < links; k++)
                if (table->info->unique[k] == i)
                    row->links[k + 1] = (Link){.key = key, .len = (size_t)(from->at - key)};
        }
        for (size_t map = 0; row && map < links; map++)
            row->links[map].hash = hash_bytes(seed, row->links[map].key, row->links[map].len);
        if (row) return *out = row, LC_OK;
        if (in_left(from) > 0) return LC_MALFORMED;
        uint8_t *block = mem_new(place.used);
        if (!block) return LC_NO_MEMORY;
        place = (Place){.base = block};
    }
}

LC_PRIVATE Row *row_of(const void *value) {
    Row *row;
    memcpy(&row, (const uint8_t *)value - sizeof row, sizeof row);
    return row;
}

LC_PRIVATE Table *table_named(LcClient *client, const uint8_t *name, size_t len) {
    for (size_t i = 0; i < client->options.module->table_count; i++) {
        const char *known = client->tables[i].info->name;
        if (strlen(known) == len && memcmp(known, name, len) == 0) return &client->tables[i];
    }
    return NULL;
}

LC_PRIVATE Table *table_of(const LcClient *client, const LcTable *info) {
    for (size_t i = 0; i < client->options.module->table_count; i++)
        if (client->tables[i].info == info) return &client->tables[i];
    return NULL;
}

LcError lc_table_listen(LcClient *client, const LcTable *info, const LcListener *listener) {
    Table *table = table_of(client, info);
    if (!table) return LC_BAD_ARGUMENT;
    LcListener *list =
        LC_CLIENT_REALLOC(table->listeners, (table->listener_count + 1) * sizeof *list);
    if (!list) return LC_NO_MEMORY;
    list[table->listener_count++] = *listener;
    table->listeners = list;
    return LC_OK;
}

size_t lc_table_count(const LcClient *client, const LcTable *info) {
    const Table *table = table_of(client, info);
    return table ? table->shown_count : 0;
}

const void *lc_table_next(const LcClient *client, const LcTable *info, const void *value) {
    const Table *table = value ? row_of(value)->table : table_of(client, info);
    const Row *row = value ? row_of(value)->next : table ? table->first : NULL;
    while (row && row->shown == 0)
        row = row->next;
    return row ? row->value : NULL;
}

const void *lc_table_find(const LcClient *client,
                          const LcTable *info,
                          size_t which,
                          const void *key) {
    const Table *table = table_of(client, info);
    if (!table || table->cap == 0) return NULL;
    uint8_t few[256];
    Out bytes = {.data = few, .cap = sizeof few, .is_borrowed = true};
    value_write(&bytes, info->row->fields[info->unique[which]].type, key, 0);
    Row *row = NULL;
    if (!bytes.error)
        row = *chain_of(table, which + 1, hash_bytes(client->seed, bytes.data, bytes.len));
    for (; row; row = row->links[which + 1].next) {
        const Link *link = &row->links[which + 1];
        bool is_equal = link->len == bytes.len && memcmp(link->key, bytes.data, link->len) == 0;
        if (row->shown > 0 && is_equal) break;
    }
    out_free(&bytes);
    return row ? row->value : NULL;
}
