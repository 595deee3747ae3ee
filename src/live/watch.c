// watch.c: who watches what. Templates, their groups, and the guards by which a row finds them.
//
// A group is looked for by the values of its equality columns: `WHERE room = 5 AND x > 3` stands
// in the guard of {room} under the key of 5, whatever else it asks; the rest is tested when a row
// comes by. One without an equality stands among the ranges of a column that it bounds. Guards belong to the table, so templates with the same equality columns share one, and
// a row costs one lookup for each distinct set of columns, not for each template or client.
#include "live/join.h"
#include "live/view_private.h"

// ── tables ─────────────────────────────────────────────────────────────────────────────────────

static uint64_t table_hash(uint32_t table_id) {
    return table_id * UINT64_C(0x9e3779b97f4a7c15);  // each row of a commit asks
}

LiveTable *live_table(const Live *live, uint32_t table_id) {
    uint64_t hash = table_hash(table_id);
    uint32_t at = livemap_first(&live->tables, hash);
    LiveTable *table;
    while ((table = livemap_at(&live->tables, at)) && table->table_id != table_id) {
        at = livemap_next(&live->tables, hash, at);
    }
    return table;
}

LiveTable *table_obtain(Live *live, uint32_t table_id) {
    LiveTable *table = live_table(live, table_id);
    if (table) return table;
    if (!livemap_reserve(&live->tables)) return NULL;
    if (!(table = MEM_NEW(LiveTable))) return NULL;
    table->table_id = table_id;
    livemap_insert(&live->tables, table_hash(table_id), table);
    return table;
}

void table_release(Live *live, LiveTable *table) {
    if (table->group_count > 0) return;
    livemap_remove(&live->tables, table_hash(table->table_id), table);
    mem_free(table);
}

// ── guards ─────────────────────────────────────────────────────────────────────────────────────

static Guard *guard_obtain(LiveTable *table, const uint16_t *columns, uint32_t count) {
    size_t bytes = count * sizeof *columns;
    for (Guard *guard = table->guards; guard; guard = guard->next) {
        if (guard->column_count == count && memcmp(guard->columns, columns, bytes) == 0)
            return guard;
    }
    Guard *guard = mem_zalloc(sizeof *guard + bytes);
    if (!guard) return NULL;
    guard->table = table;
    guard->column_count = count;
    memcpy(guard->columns, columns, bytes);
    guard->next = table->guards;
    table->guards = guard;
    return guard;
}

static void guard_release(Guard *guard) {
    if (!guard || guard->group_count > 0) return;
    Guard **link = &guard->table->guards;
    while (*link != guard) {
        link = &(*link)->next;
    }
    *link = guard->next;
    livemap_deinit(&guard->chains);
    mem_free(guard);
}

uint64_t guard_key_of(const Guard *guard, const RowLayout *layout, Bytes row, Buf *key) {
    buf_clear(key);
    key_append_columns(key, layout, row, guard->columns, guard->column_count);
    return bytes_hash(buf_bytes(key));
}

static uint32_t guard_place(const Guard *guard, uint64_t hash, Bytes key) {
    uint32_t at = livemap_first(&guard->chains, hash);
    const Group *first;
    while ((first = livemap_at(&guard->chains, at)) && !bytes_eq(first->guard_key, key)) {
        at = livemap_next(&guard->chains, hash, at);
    }
    return at;
}

Group *guard_find(const Guard *guard, uint64_t hash, Bytes key) {
    return livemap_at(&guard->chains, guard_place(guard, hash, key));
}

static void chain_push(Group **head, Group *group) {
    group->next = *head;
    group->link = head;
    if (group->next) group->next->link = &group->next;
    *head = group;
}

static void chain_remove(Group *group) {
    *group->link = group->next;
    if (group->next) group->next->link = group->link;
}

// A chain's head lives in a map slot, which moves; so the first group of a chain has link NULL and
// the map is told when the head changes.
static void guard_add(Guard *guard, Group *group) {  // after livemap_reserve(&guard->chains)
    Group *first = guard_find(guard, group->guard_hash, group->guard_key);
    guard->group_count++;
    if (first) {
        chain_push(&first->next, group);  // behind the first, so the head stays
    } else {
        livemap_insert(&guard->chains, group->guard_hash, group);
    }
}

static void guard_remove(Guard *guard, Group *group) {
    guard->group_count--;
    if (group->link) {
        chain_remove(group);
        return;
    }
    livemap_remove(&guard->chains, group->guard_hash, group);
    Group *second = group->next;
    if (!second) return;
    second->link = NULL;
    livemap_insert(&guard->chains, second->guard_hash, second);  // into the slot just freed
}

// ── ranges ─────────────────────────────────────────────────────────────────────────────────────

static RangeGuard *ranges_obtain(LiveTable *table, uint16_t column) {
    for (RangeGuard *ranges = table->ranges; ranges; ranges = ranges->next) {
        if (ranges->column == column) return ranges;
    }
    RangeGuard *ranges = MEM_NEW(RangeGuard);
    if (!ranges) return NULL;
    ranges->column = column;
    ranges->next = table->ranges;
    table->ranges = ranges;
    return ranges;
}

static void ranges_release(LiveTable *table, RangeGuard *ranges) {
    if (!ranges || ranges->group_count > 0) return;
    RangeGuard **link = &table->ranges;
    while (*link != ranges) {
        link = &(*link)->next;
    }
    *link = ranges->next;
    mem_free(ranges);
}

// The column whose range narrows most, as far as the query says: one with both ends before others.
static bool range_column(const Query *q, uint16_t *out) {
    bool any = false;
    for (uint32_t i = 0; i < q->conjunct_count; i++) {
        const QueryConjunct *c = &q->conjuncts[i], *last = i > 0 ? c - 1 : c;
        if (c->op == QUERY_EQ) continue;
        bool both = last->column == c->column && last->op != QUERY_EQ &&
                    (last->op <= QUERY_LE) != (c->op <= QUERY_LE);
        if (any && !both) continue;
        *out = c->column;
        any = true;
        if (both) break;
    }
    return any;
}

// The tightest ends that the conjuncts set.
static void range_ends(const Query *q, const Bytes *keys, uint16_t column, RangeNode *node) {
    for (uint32_t i = 0; i < q->conjunct_count; i++) {
        const QueryConjunct *c = &q->conjuncts[i];
        if (c->column != column || c->op == QUERY_EQ) continue;
        Bytes key = keys[c->param];
        bool lower = c->op == QUERY_GT || c->op == QUERY_GE;
        Bytes *end = lower ? &node->lower : &node->upper;
        if (!end->ptr || (lower ? bytes_cmp(key, *end) > 0 : bytes_cmp(key, *end) < 0)) *end = key;
    }
}

// ── templates ──────────────────────────────────────────────────────────────────────────────────

// The columns fixed by equality: ascending, each once, with the parameter that fixes it.
static uint32_t equality_columns(const Query *q, uint16_t *columns, uint32_t *params) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < q->conjunct_count; i++) {
        const QueryConjunct *c = &q->conjuncts[i];
        if (c->op != QUERY_EQ || (count > 0 && columns[count - 1] == c->column)) continue;
        columns[count] = c->column;
        params[count++] = c->param;
    }
    return count;
}

enum { GUARD_COLUMNS_MAX = 16 };  // more equalities than that are left to the test of the row

static Err template_place(LiveTemplate *t) {
    const Query *q = t->query;
    uint16_t *columns = mem_alloc(q->conjunct_count * sizeof *columns);
    uint32_t *params = mem_alloc(q->conjunct_count * sizeof *params);
    Err err = columns && params ? OK : ERR_NOMEM;
    uint32_t count = err == OK ? equality_columns(q, columns, params) : 0;
    uint16_t column = 0;
    if (q->entry == QUERY_REJECT) {
        t->place = PLACE_NOWHERE;
    } else if (q->entry == QUERY_ACCEPT) {
        t->place = PLACE_BROADCAST;
    } else if (count == 0 && range_column(q, &column)) {
        t->place = PLACE_RANGE;
        if (err == OK && !(t->ranges = ranges_obtain(t->table, column))) err = ERR_NOMEM;
    } else if (count == 0) {
        t->place = PLACE_RESIDUAL;
    } else {
        t->place = PLACE_GUARD;
        if (err == OK &&
            !(t->guard = guard_obtain(t->table, columns, MIN(count, (uint32_t)GUARD_COLUMNS_MAX))))
            err = ERR_NOMEM;
    }
    mem_free(columns);
    mem_free(params);
    return err;
}

static void template_release(Live *live, LiveTemplate *t) {
    if (t->group_count > 0) return;
    livemap_remove(&live->templates, t->hash, t);
    guard_release(t->guard);
    ranges_release(t->table, t->ranges);
    if (t->table) table_release(live, t->table);
    join_free(live, &t->join);
    standing_free(&t->standing);
    mem_free(t);
}

static Bytes standing_key(const Standing *standing) {
    return standing->query ? standing->query->template_key : standing->key;
}

static LiveTemplate *template_find(const Live *live, const Standing *standing, uint64_t hash) {
    uint32_t at = livemap_first(&live->templates, hash);
    LiveTemplate *t;
    while ((t = livemap_at(&live->templates, at)) &&
           (!t->standing->query != !standing->query ||
            !bytes_eq(standing_key(t->standing), standing_key(standing)))) {
        at = livemap_next(&live->templates, hash, at);
    }
    return t;
}

static Err template_make(Live *live, LiveTemplate *t) {
    const Standing *s = t->standing;
    if (!s->query) {
        t->query = s->nodes[s->root].leaf;
        t->place = PLACE_JOIN;
        return join_new(live, t, &t->join);
    }
    t->query = s->query;
    t->table = table_obtain(live, s->query->table->table_id);
    Err err = t->table ? template_place(t) : ERR_NOMEM;
    if (err != OK && t->table) table_release(live, t->table);
    return err;
}

// Takes the query over when a template is made of it, and only then.
static Err template_obtain(Live *live, Standing **standing, LiveTemplate **out) {
    uint64_t hash = bytes_hash(standing_key(*standing));
    if ((*out = template_find(live, *standing, hash))) return OK;
    if (!livemap_reserve(&live->templates)) return ERR_NOMEM;
    LiveTemplate *t = MEM_NEW(LiveTemplate);
    if (!t) return ERR_NOMEM;
    t->hash = hash;
    t->standing = *standing;
    Err err = template_make(live, t);
    if (err != OK) {
        mem_free(t);
        return err;
    }
    livemap_insert(&live->templates, hash, t);
    *standing = NULL;
    *out = t;
    return OK;
}

// ── groups ─────────────────────────────────────────────────────────────────────────────────────

// What tells a group from others of its template. Groups of the answer are named after the text that
// asked for them, so that is one of its values.
typedef struct GroupParams {
    const Bytes *values, *keys;
    uint32_t count;
} GroupParams;

static Err params_of(const Standing *s, Bytes **room, GroupParams *out) {
    *room = NULL;
    if (s->query) {
        *out = (GroupParams){s->query->values, s->query->keys, s->query->param_count};
        return OK;
    }
    *room = mem_alloc((s->param_count + 1) * sizeof **room);
    if (!*room) return ERR_NOMEM;
    memcpy(*room, s->values, s->param_count * sizeof **room);
    (*room)[s->param_count] = str_bytes(s->text);
    *out = (GroupParams){*room, NULL, s->param_count + s->has_groups};
    return OK;
}

static uint32_t value_count(const LiveTemplate *t) {
    const Standing *s = t->standing;
    return s->query ? s->query->param_count : s->param_count + s->has_groups;
}

Str group_name(const Group *group) {
    const Standing *s = group->template->standing;
    return s->has_groups ? bytes_str(group->values[s->param_count])
                         : group->template->query->table->name;
}

static bool values_eq(const Bytes *a, const Bytes *b, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (!bytes_eq(a[i], b[i])) return false;
    }
    return true;
}

static uint64_t values_hash(uint64_t hash, const Bytes *values, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint64_t words[2] = {hash, bytes_hash(values[i])};
        hash = bytes_hash(BYTES(words, sizeof words));
    }
    return hash;
}

static Group *group_find(const Live *live,
                         const LiveTemplate *t,
                         const Bytes *values,
                         uint64_t hash) {
    uint32_t at = livemap_first(&live->groups, hash);
    Group *group;
    while ((group = livemap_at(&live->groups, at)) &&
           !(group->template == t && values_eq(group->values, values, value_count(t)))) {
        at = livemap_next(&live->groups, hash, at);
    }
    return group;
}

static Bytes place_bytes(uint8_t **room, Bytes bytes) {
    if (bytes.len) memcpy(*room, bytes.ptr, bytes.len);
    Bytes placed = {*room, bytes.len};
    *room += bytes.len;
    return placed;
}

// The key that fixes the guard's column: of the first equality on it, as equality_columns took it.
static Bytes guard_part(const Query *q, const Bytes *keys, uint16_t column) {
    for (uint32_t i = 0; i < q->conjunct_count; i++) {
        const QueryConjunct *c = &q->conjuncts[i];
        if (c->op == QUERY_EQ && c->column == column) return keys[c->param];
    }
    UNREACHABLE();
}

static RangeNode *range_place(Live *live, Group *group, uint8_t *room, const RangeNode *ends) {
    RangeNode *node = (RangeNode *)(void *)room;
    room += sizeof *node;
    live->priorities = live->priorities * 6364136223846793005u + 1442695040888963407u;
    *node = (RangeNode){.group = group, .priority = live->priorities >> 16};
    if (ends->lower.ptr) node->lower = place_bytes(&room, ends->lower);
    if (ends->upper.ptr) node->upper = place_bytes(&room, ends->upper);
    return node;
}

// One block: the group, its values, their bytes, the guard's key or the places in finders. A million of
// these may exist.
static Group *group_new(Live *live, LiveTemplate *t, const GroupParams *params) {
    const Bytes *values = params->values;
    uint32_t columns = t->guard ? t->guard->column_count : 0, count = value_count(t);
    size_t bytes = sizeof(Group) + count * sizeof(Bytes);
    for (uint32_t i = 0; i < count; i++) {
        bytes += values[i].len;
    }
    for (uint32_t i = 0; i < columns; i++) {
        bytes += guard_part(t->query, params->keys, t->guard->columns[i]).len;
    }
    size_t links_at = (bytes + 15) / 16 * 16, links = 0;
    if (t->join) {
        links = join_links_bytes(t->join, values);
        if (links == 0) return NULL;
        bytes = links_at + links;
    }
    RangeNode range = {0};
    if (t->ranges) {
        range_ends(t->query, params->keys, t->ranges->column, &range);
        bytes = links_at + sizeof range + range.lower.len + range.upper.len;
    }
    Group *group = mem_zalloc(bytes);
    if (!group) return NULL;
    if (t->ranges) group->range = range_place(live, group, (uint8_t *)group + links_at, &range);
    uint8_t *room = (uint8_t *)&group->values[count];
    for (uint32_t i = 0; i < count; i++) {
        group->values[i] = place_bytes(&room, values[i]);
    }
    group->guard_key.ptr = room;
    for (uint32_t i = 0; i < columns; i++) {
        Bytes part = guard_part(t->query, params->keys, t->guard->columns[i]);
        group->guard_key.len += place_bytes(&room, part).len;
    }
    group->guard_hash = bytes_hash(group->guard_key);
    group->template = t;
    if (links && join_add(t->join, group, (uint8_t *)group + links_at) != OK) {
        mem_free(group);
        return NULL;
    }
    return group;
}

static void group_place(Group *group) {
    LiveTemplate *t = group->template;
    switch (t->place) {
    case PLACE_NOWHERE:
    case PLACE_JOIN: break;
    case PLACE_BROADCAST: chain_push(&t->table->broadcast, group); break;
    case PLACE_RESIDUAL: chain_push(&t->table->residual, group); break;
    case PLACE_GUARD: guard_add(t->guard, group); break;
    case PLACE_RANGE:
        ranges_add(&t->ranges->root, group->range);
        t->ranges->group_count++;
        break;
    }
    t->group_count++;
    if (t->table) t->table->group_count++;
}

static void group_leave(Group *group) {
    LiveTemplate *t = group->template;
    switch (t->place) {
    case PLACE_NOWHERE: break;
    case PLACE_JOIN: join_remove(t->join, group); break;
    case PLACE_BROADCAST:
    case PLACE_RESIDUAL: chain_remove(group); break;
    case PLACE_GUARD: guard_remove(t->guard, group); break;
    case PLACE_RANGE:
        ranges_remove(&t->ranges->root, group->range);
        t->ranges->group_count--;
        break;
    }
    t->group_count--;
    if (t->table) t->table->group_count--;
}

static void group_free(Group *group) {
    if (group->is_ending) *group->is_ending = NULL;
    view_unwatch(group);
    tally_free(&group->tally);
    mem_free(group->failure);
    mem_free(group);
}

typedef struct Watching {
    Live *live;
    Group *group;
} Watching;

// Which results the group watches, if its query is over views.
static Err watch_view(void *ctx, const Query *query) {
    const Watching *w = ctx;
    if (!query->table->is_view) return OK;
    return view_watch(w->live->views,
                      query->table->table_id,
                      &query->view_key,
                      &query->view_caller,
                      w->group);
}

static Err group_make(Live *live,
                      LiveTemplate *t,
                      const Standing *standing,
                      const GroupParams *params,
                      Group **out,
                      Diag *diag) {
    uint64_t hash = values_hash(t->hash, params->values, params->count);
    if ((*out = group_find(live, t, params->values, hash))) return OK;
    if (!livemap_reserve(&live->groups)) return ERR_NOMEM;
    if (t->guard && !livemap_reserve(&t->guard->chains)) return ERR_NOMEM;
    Group *group = group_new(live, t, params);
    if (!group) return ERR_NOMEM;
    group->hash = hash;
    group_place(group);
    Watching watching = {live, group};
    Err err = standing_each_query(standing, watch_view, &watching);
    if (err == OK && t->standing->has_groups) err = join_tally_begin(live, group, standing, diag);
    if (err != OK) {
        group_leave(group);
        group_free(group);
        return err;
    }
    livemap_insert(&live->groups, hash, group);
    *out = group;
    return OK;
}

Err group_obtain(Live *live, Standing **standing, Group **out, Diag *diag) {
    LiveTemplate *t;
    GroupParams params;
    Bytes *room;
    // What these point at stays where it is when the query becomes the template's.
    const Standing *asked = *standing;
    Err err = params_of(asked, &room, &params);
    if (err == OK) err = template_obtain(live, standing, &t);
    if (err == OK) {
        err = group_make(live, t, asked, &params, out, diag);
        if (err != OK) template_release(live, t);
    }
    mem_free(room);
    standing_free(standing);
    return err;
}

void group_release(Live *live, Group *group) {
    if (group->subs) return;
    LiveTemplate *t = group->template;
    group_leave(group);
    livemap_remove(&live->groups, group->hash, group);
    group_free(group);
    template_release(live, t);
}

bool group_matches(const Group *group, Bytes row) {
    return query_matches_with(group->template->query, group->values, row);
}
