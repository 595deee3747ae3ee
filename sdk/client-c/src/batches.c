// batches.c: a message changes counts, and then the program is told: all of a transaction or nothing of it.
//
// PICTURE
//   row_insert, row_delete ──> row->count, and the row is touched      (may fail: (2) of client.h)
//   batch_commit: count against shown ──> on_insert, on_update, on_delete     (cannot fail)
//   batch_abandon: the connection is gone. Counts begin at 0 again, what is shown stays
//
//   A count is how many copies of the row the subscriptions have brought. A reconnect is one large batch
//   from zero: rows that come again were never away, and those that do not are deleted at its end.
//
// CALLERS  messages.c fills a batch, requests.c (batch_end) knows when it is whole, link.c abandons it.
// START AT client_test.c, "rows: after_a_reconnect_are_told_as_one_change".
#include "client.h"

static void row_touch(LcClient *client, Row *row) {
    if (row->is_touched) return;
    row->is_touched = true;
    row->next_touched = NULL;
    *(client->touched ? &client->touched_last->next_touched : &client->touched) = row;
    client->touched_last = row;
}

LC_PRIVATE LcError row_insert(LcClient *client, Table *table, In bytes, Change change) {
    Row *row = NULL;
    if (change == CHANGE_INSERT) {
        uint64_t hash = hash_bytes(client->seed, bytes.at, in_left(&bytes));
        row = row_find(table, 0, hash, bytes.at, in_left(&bytes));
        if (!row && table->row_count >= table->cap && !table_grow(table)) return LC_NO_MEMORY;
    }
    if (!row) {
        LcError error = row_new(client->seed, table, bytes, &row);
        if (error) return error;
        row->is_event = change == CHANGE_EVENT;
        if (!row->is_event) row_link(table, row);
    }
    row->count++;
    row_touch(client, row);
    return LC_OK;
}

LC_PRIVATE LcError row_delete(LcClient *client, Table *table, In bytes) {
    uint64_t hash = hash_bytes(client->seed, bytes.at, in_left(&bytes));
    Row *row = row_find(table, 0, hash, bytes.at, in_left(&bytes));
    if (!row || row->count == 0) return LC_MALFORMED;  // a row that never came
    row->count--;
    row_touch(client, row);
    return LC_OK;
}

// The row that was shown under the primary key of a new one and is gone.
static Row *row_predecessor(const Row *row) {
    const LcTable *info = row->table->info;
    for (size_t k = 0; k < info->unique_count; k++) {
        if (info->unique[k] != info->primary_key) continue;
        const Link *mine = &row->links[k + 1];
        for (Row *other = *chain_of(row->table, k + 1, mine->hash); other;
             other = other->links[k + 1].next) {
            const Link *link = &other->links[k + 1];
            bool is_gone = other->shown > 0 && other->count == 0 && !other->is_replaced;
            if (is_gone && link->len == mine->len && memcmp(link->key, mine->key, mine->len) == 0)
                return other;
        }
    }
    return NULL;
}

static void row_tell(LcClient *client, const Row *row) {
    const Table *table = row->table;
    // Listeners that come meanwhile begin with the next row.
    size_t count = table->listener_count;
    for (size_t i = 0; i < count && !is_over(client); i++) {
        LcListener listener = table->listeners[i];
        if (row->old) {
            if (listener.on_update)
                table->info->call_update(listener.on_update,
                                         client,
                                         row->old->value,
                                         row->value,
                                         listener.context);
        } else {
            LcAnyFunction to = row->count > 0 ? listener.on_insert : listener.on_delete;
            if (to) table->info->call_row(to, client, row->value, listener.context);
        }
    }
}

// `whole`: rows that were not touched may have changed as well.
LC_PRIVATE void batch_commit(LcClient *client, bool whole) {
    size_t count = whole ? client->options.module->table_count : 0;
    for (size_t i = 0; i < count; i++)
        for (Row *row = client->tables[i].first; row; row = row->next)
            row_touch(client, row);
    Row *touched = client->touched;
    client->touched = NULL;
    for (Row *row = touched; row; row = row->next_touched) {
        if (row->is_event || row->shown > 0 || row->count == 0) continue;
        row->old = row_predecessor(row);
        if (row->old) row->old->is_replaced = true;
    }
    // From here on the program sees the new state; what is told is in `old` and in how counts moved.
    Row *news = NULL, **news_end = &news;
    for (Row *row = touched, *next; row; row = next) {
        next = row->next_touched;
        row->is_touched = false;
        bool was = row->shown > 0, is = row->count > 0;
        row->shown = row->count;
        if (!row->is_event) row->table->shown_count += (size_t)is - (size_t)was;
        if (!is && !row->is_event) row_unlink(row->table, row);
        if (!is && !was) free(row);  // it came and went, as may be in the large batch
        if (was == is) continue;
        row->next_touched = NULL;
        *news_end = row;
        news_end = &row->next_touched;
    }
    for (Row *row = news; row; row = row->next_touched)
        if (!row->is_replaced) row_tell(client, row);
    for (Row *row = news, *next; row; row = next) {
        next = row->next_touched;
        row->old = NULL;
        if (row->count == 0 || row->is_event) free(row);
    }
}

// The connection is gone: the rows stay as they were shown, and count for nothing.
LC_PRIVATE void batch_abandon(LcClient *client) {
    for (Row *row = client->touched, *next; row; row = next) {
        next = row->next_touched;
        row->is_touched = false;
        if (row->is_event) free(row);
    }
    client->touched = NULL;
    for (size_t i = 0; i < client->options.module->table_count; i++) {
        Table *table = &client->tables[i];
        for (Row *row = table->first, *next; row; row = next) {
            next = row->next;
            row->count = 0;
            if (row->shown > 0) continue;
            row_unlink(table, row);
            free(row);
        }
    }
    client->is_stale = true;
    client->awaited = 0;
}

void rows_restore(LcClient *client) {
    for (size_t i = 0; i < client->options.module->table_count; i++)
        for (Row *row = client->tables[i].first; row; row = row->next)
            row->count = row->shown;
}

void table_forget(LcClient *client, Table *table) {
    for (Row *row = table->first; row; row = row->next) {
        row->count = 0;
        row_touch(client, row);
    }
}

LcError key_forget(LcClient *client, Table *table, In bytes) {
    const LcTable *info = table->info;
    size_t map = 0;
    Row *meant;
    for (size_t k = 0; k < info->unique_count; k++)
        if (info->unique[k] == info->primary_key) map = k + 1;
    if (map == 0) return LC_MALFORMED;
    LcError error = row_new(client->seed, table, bytes, &meant);
    if (error) return error;
    const Link *key = &meant->links[map];
    Row *row = table->cap ? *chain_of(table, map, key->hash) : NULL;
    for (; row; row = row->links[map].next) {
        const Link *link = &row->links[map];
        if (link->len != key->len || memcmp(link->key, key->key, key->len) != 0) continue;
        row->count = 0;
        row_touch(client, row);
    }
    free(meant);
    return LC_OK;
}
