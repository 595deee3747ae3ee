// live.c: the subscriptions of one database as a whole: opening, closing, a new schema, counters.
#include "live/join.h"
#include "live/prepare.h"
#include "live/tell.h"
#include "live/view_private.h"

Err live_open(const QueryCatalog *catalog, Views *views, Live **out) {
    Live *live = MEM_NEW(Live);
    if (!live) return ERR_NOMEM;
    live->matching = MEM_NEW(Stab);
    if (!live->matching) {
        mem_free(live);
        return ERR_NOMEM;
    }
    live->catalog = catalog;
    live->options = (LiveOptions){.arrangement_quota = LIVE_ARRANGEMENT_QUOTA};
    live->arranged.max = live->options.arrangement_quota;
    live->views = views;
    live->schema_version = catalog->schema_version;
    *out = live;
    return OK;
}

void live_set_options(Live *live, const LiveOptions *options) {
    live->options = *options;
    live->arranged.max = options->arrangement_quota;
}

LiveOptions live_options(const Live *live) {
    return live->options;
}

void live_close(Live **live) {
    Live *l = *live;
    if (!l) return;
    while (l->clients) {
        LiveClient *client = l->clients;
        live_client_close(&client);
    }
    prepare_abandon_all(l);
    tell_abandon(l);
    ASSERT(l->stats.groups == 0 && l->templates.count == 0 && l->tables.count == 0);
    livemap_deinit(&l->tables);
    livemap_deinit(&l->templates);
    livemap_deinit(&l->groups);
    ASSERT(l->shapes.count == 0);
    livemap_deinit(&l->shapes);
    buf_deinit(&l->text);
    pending_free(l);
    join_scratch_free(l);
    delta_deinit(&l->delta);
    buf_deinit(&l->failed);
    arena_deinit(&l->commit);
    buf_deinit(&l->encoded);
    buf_deinit(&l->key_old);
    buf_deinit(&l->key_new);
    stab_deinit(l->matching);
    mem_free(l->matching);
    buf_deinit(&l->answer_bytes);
    buf_deinit(&l->answer_rows);
    answer_forget(l);
    buf_deinit(&l->answer_kept);
    mem_free(l);
    *live = NULL;
}

// ── a new schema ───────────────────────────────────────────────────────────────────────────────

// Removing a set from its client's map moves others, so the ids are written down first.
static Err set_ids(const LiveClient *client, Buf *ids) {
    buf_clear(ids);
    for (uint32_t i = 0; i < client->sets.size; i++) {
        const QuerySet *set = livemap_slot(&client->sets, i);
        if (set) buf_put_u64(ids, set->id);
    }
    return buf_ok(ids) ? OK : ERR_NOMEM;
}

static void leave_all(Live *live) {
    for (LiveClient *client = live->clients; client; client = client->next) {
        for (uint32_t i = 0; i < client->sets.size; i++) {
            QuerySet *set = livemap_slot(&client->sets, i);
            if (set) queryset_leave(set);
        }
    }
}

// A set ends: with it, all of a distinct client, who is told of none in particular.
static void end_set(QuerySet *set, const char *reason, LiveDropped dropped, void *ctx) {
    LiveClient *client = set->client;
    if (client->is_distinct) {
        client_remove_all(client);
        dropped(ctx, client->owner, 0, reason);
    } else {
        dropped(ctx, client->owner, (uint32_t)set->id, reason);
        client_remove_set(client, set);
    }
}

// A set that found no memory is removed unreported: its client must be closed anyway.
static Err rejoin(LiveClient *client, uint64_t id, LiveDropped dropped, void *ctx) {
    QuerySet *set = client_set(client, id);
    if (!set) return OK;  // it went with another one
    Diag diag;
    diag_clear(&diag);
    Err err = queryset_join(set, false, &diag);
    if (err == OK) return OK;
    if (err != ERR_NOMEM) {
        end_set(set, diag.text, dropped, ctx);
        return OK;
    }
    client_remove_set(client, set);
    return err;
}

Err live_schema_changed(Live *live, LiveDropped dropped, void *ctx) {
    // Every plan points into the old catalog, so all of them go before the first is made anew.
    answer_forget(live);
    prepare_abandon_all(live);
    tell_abandon(live);
    live->answer_may_move = false;
    leave_all(live);
    ASSERT(live->stats.groups == 0 && live->templates.count == 0 && live->tables.count == 0);
    live->schema_version = live->catalog->schema_version;
    Err first = OK;
    Buf ids = {0};
    for (LiveClient *client = live->clients; client; client = client->next) {
        Err err = set_ids(client, &ids);
        for (size_t at = 0; err == OK && at < ids.len; at += 8) {
            err = rejoin(client, load_u64(ids.ptr + at), dropped, ctx);
        }
        if (err != OK) first = err;
    }
    buf_deinit(&ids);
    return first;
}

void live_view_ended(Live *live, View *view, const char *reason, LiveDropped dropped, void *ctx) {
    ASSERT(view->views == live->views);
    // Removing a set releases its groups, and the last one of them leaves the view.
    while (view->uses) {
        Group *group = view->uses->group;
        if (group->subs)
            end_set(group->subs->set, reason, dropped, ctx);
        else
            prepare_abandon(group_more(group)->prepare);
    }
}

void live_commit_ended(Live *live, LiveDropped dropped, void *ctx) {
    size_t count = live->failed.len / sizeof(Group *);
    for (size_t i = 0; i < count; i++) {
        Group *group = ((Group **)(void *)live->failed.ptr)[i];
        GroupMore *more = group_more(group);
        char *why = more->failure;
        // Ending the set of its last Sub frees the group. That of a set may be the last one of
        // several, when the set holds it more than once or its client is a distinct one.
        more->failure = NULL;
        more->is_ending = &group;
        while (group && group->subs)
            end_set(group->subs->set, why, dropped, ctx);
        if (group) prepare_abandon(group_more(group)->prepare);
        mem_free(why);
    }
    buf_clear(&live->failed);
}

LiveStats live_stats(const Live *live) {
    LiveStats stats = live->stats;
    stats.templates = live->templates.count;
    stats.state_bytes = live->arranged.used;
    return stats;
}
