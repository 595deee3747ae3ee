#include "live/stab.h"

void stab_deinit(Stab *stab) {
    buf_deinit(&stab->key_old);
    buf_deinit(&stab->key_new);
    buf_deinit(&stab->values);
}

static Err group_test(void *ctx, Group *group) {
    Stab *s = ctx;
    const LiveChange *change = s->last;
    const LiveTemplate *template = group->template;
    const Query *query = template->query;
    s->tested++;
    buf_clear(&s->values);
    if (!buf_reserve(&s->values, (template->value_count + 1) * sizeof(Bytes))) return ERR_NOMEM;
    const Bytes *values = group_values_in(group, (Bytes *)(void *)s->values.ptr);
    bool old = change->old_row.ptr && query_matches_with(query, values, change->old_row);
    bool new = change->new_row.ptr &&query_matches_with(query, values, change->new_row);
    return old || new ? s->take(s->ctx, group, change, old, new) : OK;
}

// One look-up where what the guard asks of the row did not change, two where it did.
static Err guard_stab(Stab *s, const Guard *guard) {
    const LiveChange *change = s->last;
    const RowLayout *layout = table_layout(change->table);
    bool has_old = change->old_row.ptr, has_new = change->new_row.ptr;
    GuardKey old, new;
    Err err = OK;
    if (has_old) err = guard_key(guard, layout, change->old_row, &s->key_old, &old);
    if (has_new && err == OK) err = guard_key(guard, layout, change->new_row, &s->key_new, &new);
    if (has_old && err == OK) err = guard_each(guard, &old, NULL, group_test, s, &s->seen);
    if (has_new && err == OK)
        err = guard_each(guard, &new, has_old ? &old : NULL, group_test, s, &s->seen);
    return err;
}

Err stab_change(Stab *s, const LiveTable *table, const LiveChange *change) {
    Err err = OK;
    s->last = change;
    for (const Guard *guard = table->guards; guard && err == OK; guard = guard->next) {
        err = guard_stab(s, guard);
    }
    for (WatchEntry *entry = table->residual; entry && err == OK; entry = entry->next) {
        err = group_test(s, entry_group(entry));
    }
    for (WatchEntry *entry = table->broadcast; entry && err == OK; entry = entry->next) {
        Group *group = entry_group(entry);
        err = s->take(s->ctx, group, change, change->old_row.ptr, change->new_row.ptr);
    }
    return err;
}
