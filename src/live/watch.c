// watch.c: who watches what. Tables, templates and their groups; by what rows find a group is guard.h's.
//
// A group is looked for by the values of its equality columns and the range of one more: `WHERE room = 5
// AND x > 3` stands in the guard of {room} with ranges of x, whatever else it asks; the rest is tested
// when a row comes by. Of an OR each way has an entry of its own. Guards belong to the table, so templates
// that ask the same columns share one, and a row costs one look-up for each such set of columns, not for
// each template or client.
#include "live/join.h"
#include "live/prepare.h"
#include "live/tell.h"
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

// ── templates ──────────────────────────────────────────────────────────────────────────────────

Err template_add_way(LiveTemplate *t, GuardWay way) {
    if (t->way_count == t->way_cap) {
        uint32_t cap = t->way_cap ? t->way_cap * 2 : 1;
        GuardWay *more = mem_realloc(t->ways, cap * sizeof *more);
        if (!more) return ERR_NOMEM;
        t->ways = more;
        t->way_cap = cap;
    }
    t->ways[t->way_count++] = way;
    return OK;
}

static Err place_way(LiveTemplate *t, const QueryConjunct *conjuncts, uint32_t count) {
    GuardShape shape;
    if (!guard_shape(conjuncts, count, &shape)) {
        t->list = &t->table->residual;
        return OK;
    }
    Guard *guard = guard_obtain(&t->table->guards, &shape);
    return guard ? template_add_way(t, (GuardWay){guard, conjuncts, count, 0}) : ERR_NOMEM;
}

static Err template_place(LiveTemplate *t) {
    const Query *q = t->query;
    if (q->entry == QUERY_REJECT) return OK;
    if (q->entry == QUERY_ACCEPT) {
        t->list = &t->table->broadcast;
        return OK;
    }
    if (q->branch_count == 0) {
        Err err = place_way(t, q->conjuncts, q->conjunct_count);
        const GuardShape *shape = t->way_count ? &t->ways[0].guard->shape : NULL;
        t->by_guard = shape && !shape->has_range && shape->column_count == q->param_count;
        return err;
    }
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < q->branch_count; i++) {
        const QueryBranch *branch = &q->branches[i];
        err = place_way(t, branch->conjuncts, branch->conjunct_count);
    }
    ASSERT(!t->list);  // every branch narrows
    return err;
}

// All but its standing.
static void template_close(Live *live, LiveTemplate *t) {
    if (t->table) {
        guards_tidy(&t->table->guards);
        table_release(live, t->table);
    }
    join_free(live, &t->join);
    mem_free(t->ways);
    mem_free(t->values);
    mem_free(t);
}

static void template_release(Live *live, LiveTemplate *t) {
    if (t->group_count > 0) return;
    Standing *standing = t->standing;
    livemap_remove(&live->templates, t->hash, t);
    template_close(live, t);
    standing_free(&standing);
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

// Groups of the answer are named after the text that asked for them, so that is one of their values.
static Err template_values(LiveTemplate *t) {
    const Standing *s = t->standing;
    uint32_t count = s->query ? s->query->param_count : s->param_count;
    t->value_count = count + s->has_groups;
    size_t each = sizeof(Bytes) + sizeof(const Type *);
    t->values = mem_zalloc((t->value_count + 1) * each);
    if (!t->values) return ERR_NOMEM;
    t->value_types = (const Type **)(void *)&t->values[t->value_count];
    const Type **types = s->query ? s->query->value_types : s->value_types;
    if (count) memcpy(t->value_types, types, count * sizeof *types);
    return OK;
}

static Err template_make(Live *live, LiveTemplate *t, Diag *diag) {
    const Standing *s = t->standing;
    Err err = template_values(t);
    if (err != OK) return err;
    if (!s->query) {
        t->query = s->nodes[s->root].leaf;
        t->has_more = true;
        err = join_new(live, t, &t->join, diag);
        if (err == OK) t->list = &t->join->groups;
        return err;
    }
    t->query = s->query;
    t->has_more = s->query->table->is_view;
    t->table = table_obtain(live, s->query->table->table_id);
    return t->table ? template_place(t) : ERR_NOMEM;
}

// Takes the query over when a template is made of it, and only then.
static Err template_obtain(Live *live, Standing **standing, LiveTemplate **out, Diag *diag) {
    uint64_t hash = bytes_hash(standing_key(*standing));
    if ((*out = template_find(live, *standing, hash))) return OK;
    if (!livemap_reserve(&live->templates)) return ERR_NOMEM;
    LiveTemplate *t = MEM_NEW(LiveTemplate);
    if (!t) return ERR_NOMEM;
    t->hash = hash;
    t->standing = *standing;
    Err err = template_make(live, t, diag);
    if (err != OK) {
        template_close(live, t);
        return err;
    }
    livemap_insert(&live->templates, hash, t);
    *standing = NULL;
    *out = t;
    return OK;
}

// ── values ─────────────────────────────────────────────────────────────────────────────────────

// What tells a group from others of its template.
typedef struct GroupParams {
    const Bytes *values, *keys;
    Bytes *room;  // of a join's
    Buf key_bytes;
} GroupParams;

static void params_free(GroupParams *p) {
    mem_free(p->room);
    buf_deinit(&p->key_bytes);
}

static Err join_keys(const Standing *s, Bytes *keys, Buf *bytes) {
    for (uint32_t i = 0; i < s->param_count; i++) {
        size_t at = bytes->len;
        key_append(bytes, s->value_types[i], s->values[i].ptr);
        keys[i].len = bytes->len - at;
    }
    const uint8_t *at = bytes->ptr;
    for (uint32_t i = 0; i < s->param_count; i++) {
        keys[i].ptr = at;
        at += keys[i].len;
    }
    return buf_ok(bytes) ? OK : ERR_NOMEM;
}

static Err params_of(const Standing *s, GroupParams *out) {
    *out = (GroupParams){0};
    if (s->query) {
        out->values = s->query->values;
        out->keys = s->query->keys;
        return OK;
    }
    uint32_t count = s->param_count + 1;
    Bytes *room = mem_alloc(2 * count * sizeof *room);
    if (!room) return ERR_NOMEM;
    memcpy(room, s->values, s->param_count * sizeof *room);
    room[s->param_count] = str_bytes(s->text);
    out->room = room;
    out->values = room;
    out->keys = room + count;
    return join_keys(s, room + count, &out->key_bytes);
}

static bool is_fixed(const LiveTemplate *t, uint32_t i) {
    return t->value_types[i] && t->value_types[i]->fixed_size != TYPE_SIZE_VARIES;
}

static size_t packed_bytes(const LiveTemplate *t, const Bytes *values) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < t->value_count; i++)
        bytes += values[i].len + (is_fixed(t, i) ? 0 : sizeof(uint32_t));
    return bytes;
}

static void values_pack(const LiveTemplate *t, const Bytes *values, uint8_t *room) {
    for (uint32_t i = 0; i < t->value_count; i++) {
        Bytes value = values[i];
        if (is_fixed(t, i)) {
            ASSERT(value.len == t->value_types[i]->fixed_size);
        } else {
            store_u32(room, (uint32_t)value.len);
            room += sizeof(uint32_t);
        }
        if (value.len) memcpy(room, value.ptr, value.len);
        room += value.len;
    }
}

const Bytes *group_values(const Group *group) {
    return group_values_in(group, group->template->values);
}

const Bytes *group_values_in(const Group *group, Bytes *room) {
    const LiveTemplate *t = group->template;
    const uint8_t *at = (const uint8_t *)group + group->values_at;
    for (uint32_t i = 0; i < t->value_count; i++) {
        size_t len;
        if (is_fixed(t, i)) {
            len = t->value_types[i]->fixed_size;
        } else {
            len = load_u32(at);
            at += sizeof(uint32_t);
        }
        room[i] = BYTES(at, len);
        at += len;
    }
    return room;
}

Str group_name(const Group *group) {
    const Standing *s = group->template->standing;
    return s->has_groups ? bytes_str(group_values(group)[s->param_count])
                         : group->template->query->table->name;
}

static bool group_is(const Group *group, const LiveTemplate *t, const Bytes *values) {
    if (group->template != t) return false;
    const Bytes *own = group_values(group);
    for (uint32_t i = 0; i < t->value_count; i++) {
        if (!bytes_eq(own[i], values[i])) return false;
    }
    return true;
}

static uint64_t values_hash(const LiveTemplate *t, const Bytes *values) {
    uint64_t hash = t->hash;
    for (uint32_t i = 0; i < t->value_count; i++) {
        uint64_t words[2] = {hash, bytes_hash(values[i])};
        hash = bytes_hash(BYTES(words, sizeof words));
    }
    return hash;
}

// ── groups ─────────────────────────────────────────────────────────────────────────────────────

static Group *find_by_guard(const LiveTemplate *t, const Bytes *values, uint32_t hash) {
    WatchEntry *entry = way_chain(&t->ways[0], hash);
    while (entry && !group_is(entry_group(entry), t, values)) {
        entry = entry->next;
    }
    return entry ? entry_group(entry) : NULL;
}

static Err group_find(Live *live, const LiveTemplate *t, const GroupParams *params, Group **out) {
    if (t->by_guard) {
        uint32_t hash;
        Err err = way_hash(&t->ways[0], params->keys, &live->key_old, &hash);
        *out = err == OK ? find_by_guard(t, params->values, hash) : NULL;
        return err;
    }
    uint64_t hash = values_hash(t, params->values);
    uint32_t at = livemap_first(&live->groups, hash);
    while ((*out = livemap_at(&live->groups, at)) && !group_is(*out, t, params->values)) {
        at = livemap_next(&live->groups, hash, at);
    }
    return OK;
}

static WatchEntry *list_entry(Group *group) {
    return (WatchEntry *)(void *)(group + 1);
}

// Where the entry of its first way is, which the others follow.
static uint32_t ways_at(const LiveTemplate *t) {
    return sizeof(Group) + (t->list ? sizeof(WatchEntry) : 0);
}

static Err entries_make(Live *live, Group *group, const GroupParams *params) {
    const LiveTemplate *t = group->template;
    if (t->list) list_entry(group)->at = sizeof(Group);
    uint32_t at = ways_at(t);
    Err err = OK;
    for (uint32_t i = 0; err == OK && i < t->way_count; i++) {
        live->priorities = live->priorities * 6364136223846793005u + 1442695040888963407u;
        uint32_t priority = (uint32_t)(live->priorities >> 32);
        err = way_make(&t->ways[i], group, at, params->keys, priority, &live->key_old);
        at += (uint32_t)way_bytes(&t->ways[i], params->keys);
    }
    return err;
}

static void group_free(Group *group) {
    GroupMore *more = group_more(group);
    if (!more) {
        mem_free(group);
        return;
    }
    if (more->is_ending) *more->is_ending = NULL;
    view_unwatch(more);
    tally_free(&more->tally);
    mem_free(more->failure);
    mem_free(more);
}

// One block: what only some have, the group, its entries, its values. A million of these may exist.
static Group *group_new(Live *live, LiveTemplate *t, const GroupParams *params) {
    size_t front = t->has_more ? sizeof(GroupMore) : 0, bytes = ways_at(t);
    for (uint32_t i = 0; i < t->way_count; i++)
        bytes += way_bytes(&t->ways[i], params->keys);
    uint8_t *block = mem_zalloc(front + bytes + packed_bytes(t, params->values));
    if (!block) return NULL;
    Group *group = (Group *)(void *)(block + front);
    group->template = t;
    group->values_at = (uint32_t)bytes;
    values_pack(t, params->values, (uint8_t *)group + bytes);
    if (entries_make(live, group, params) == OK) return group;
    group_free(group);
    return NULL;
}

// Out of the first `count` of its ways.
static void ways_leave(Group *group, uint32_t count) {
    const LiveTemplate *t = group->template;
    uint32_t at = ways_at(t);
    for (uint32_t i = 0; i < count; i++) {
        void *entry = (uint8_t *)group + at;
        at += (uint32_t)way_bytes_made(&t->ways[i], entry);
        way_leave(&t->ways[i], entry);
    }
}

static Err group_place(Group *group) {
    LiveTemplate *t = group->template;
    uint32_t at = ways_at(t);
    for (uint32_t i = 0; i < t->way_count; i++) {
        void *entry = (uint8_t *)group + at;
        if (way_enter(&t->ways[i], entry) != OK) {
            ways_leave(group, i);
            return ERR_NOMEM;
        }
        at += (uint32_t)way_bytes_made(&t->ways[i], entry);
    }
    if (t->list) chain_push(t->list, list_entry(group));
    t->group_count++;
    if (t->table) t->table->group_count++;
    return OK;
}

static void group_leave(Group *group) {
    LiveTemplate *t = group->template;
    ways_leave(group, t->way_count);
    if (t->list) chain_remove(list_entry(group));
    t->group_count--;
    if (t->table) t->table->group_count--;
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
    Err err = group_find(live, t, params, out);
    if (err != OK) return err;
    if (*out) return t->has_more ? prepare_state(group_more(*out)->prepare, diag) : OK;
    if (!t->by_guard && !livemap_reserve(&live->groups)) return ERR_NOMEM;
    Group *group = group_new(live, t, params);
    if (!group) return ERR_NOMEM;
    if ((err = group_place(group)) != OK) {
        group_free(group);
        return err;
    }
    Watching watching = {live, group};
    err = standing_each_query(standing, watch_view, &watching);
    if (err == OK && t->standing->has_groups) err = join_tally_begin(live, group, standing, diag);
    bool is_prepared = t->has_more && group_more(group)->prepare;
    if (err != OK && !is_prepared) {
        group_leave(group);
        group_free(group);
        return err;
    }
    if (!t->by_guard) livemap_insert(&live->groups, values_hash(t, params->values), group);
    live->stats.groups++;
    *out = group;
    return err;
}

// A worker is looking at the groups of the table, and this is none of them: it has to wait.
static Err wait_for_tell(Live *live, const Standing *s, const GroupParams *params) {
    if (!s->query || !tell_holds(live, s->query->table->table_id)) return OK;
    const LiveTemplate *t = template_find(live, s, bytes_hash(standing_key(s)));
    Group *group = NULL;
    Err err = t ? group_find(live, t, params, &group) : OK;
    return err == OK && !group ? ERR_BUSY : err;
}

Err group_obtain(Live *live, Standing **standing, Group **out, Diag *diag) {
    LiveTemplate *t;
    GroupParams params;
    // What these point at stays where it is when the query becomes the template's.
    const Standing *asked = *standing;
    Err err = params_of(asked, &params);
    if (err == OK) err = wait_for_tell(live, asked, &params);
    if (err == OK) err = template_obtain(live, standing, &t, diag);
    if (err == OK) {
        err = group_make(live, t, asked, &params, out, diag);
        if (err != OK) template_release(live, t);
    }
    params_free(&params);
    standing_free(standing);
    return err;
}

void group_release(Live *live, Group *group) {
    const GroupMore *more = group_more(group);
    if (group->subs || (more && more->prepare) || tell_keeps(live, group)) return;
    LiveTemplate *t = group->template;
    group_leave(group);
    if (!t->by_guard) livemap_remove(&live->groups, values_hash(t, group_values(group)), group);
    live->stats.groups--;
    group_free(group);
    template_release(live, t);
}
