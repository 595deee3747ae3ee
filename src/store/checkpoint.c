// checkpoint.c: the store written down, beside the owner's thread.
//
//   owner    begin: root into a run, freeze everything, take the list of dirty pages     end
//               └──────────────── any thread: write … sync, meta page, sync ──────────────┘
//
// Writing needs no lock: what is written is frozen, and stays in memory because it is dirty. The view
// that froze it stays open as long as this is the newest checkpoint, so that no page it consists of
// is changed or its place used again; the view of the one before ends when this one is safe.
#include "base/mem.h"
#include "store/cache.h"
#include "store/extent.h"
#include "store/guard.h"
#include "store/root.h"

struct StoreCheckpoint {
    Store *store;
    Durable *durable;  // has the view
    PageView *view;
    PageNo root;
    PageFileMeta meta;
    uint64_t *dirty;  // what is to be written; bits go as pages do
    PageNo end;
    PageNo next;     // where writing goes on
    uint64_t total;  // bytes to be written, about
    bool has_space;
    uint64_t synced;  // of batch.written
    uint64_t spills;  // that were begun before: (1) of spill.h
    PageFileBatch batch;
    _Atomic bool held;
    bool done;
    Err err;
    bool unsure;  // a sync failed, or the meta page may or may not be there
};

// Syncing now and then keeps the last sync short, and what the log syncs beside it, too.
enum { SYNC_EVERY_BYTES = 1 << 20, FILE_GROWS_BYTES = 16 << 20, TRIM_PAGES_MIN = 32 };

// The run for the root, in which its own pages are in use already.
static Err root_take(Store *store, PageNo *out) {
    Pages *pages = &store->pages;
    // Taking the run may raise `end`, and so what the root has to say.
    uint32_t guess = run_pages(root_bytes(store, pages->end));
    size_t len = root_bytes(store, pages->end + guess + 1);
    uint32_t run = run_pages(len);
    Err err = pages_reserve(pages, run);
    if (err != OK) return err;
    PageNo no = page_take(pages, PAGE_RUN, 0, run);
    len = root_bytes(store, pages->end);
    ASSERT(run_pages(len) <= run);
    uint8_t *page = page_write(pages, no);
    store_u32(page + sizeof(PageHeader), (uint32_t)len);
    store_u32(page + sizeof(PageHeader) + 4, 0);
    *out = no;
    return OK;
}

static void root_retire(Store *store) {
    Pages *pages = &store->pages;
    if (store->root) page_retire(pages, store->root, store->root_run);
    store->root = PAGE_NONE;
}

static void dirty_take(StoreCheckpoint *checkpoint) {
    PageCache *cache = checkpoint->store->pages.cache;
    checkpoint->dirty = cache->dirty;
    checkpoint->total = cache->dirty_pages * PAGE_BYTES;
    cache->dirty = cache->dirty_spare;
    cache->dirty_spare = NULL;
    cache->dirty_pages = 0;
}

Err store_checkpoint_begin(Store *store,
                           uint64_t log_offset,
                           Micros now,
                           StoreCheckpoint **out,
                           Diag *diag) {
    Pages *pages = &store->pages;
    PageCache *cache = pages->cache;
    ASSERT(!store->in_transaction && cache && !store->checkpoint);
    if (cache->failed != OK) {
        return diag_fail(diag, cache->failed, "%s could not be synced before", cache->file.path);
    }
    StoreCheckpoint *checkpoint = MEM_NEW(StoreCheckpoint);
    if (!checkpoint) return ERR_NOMEM;
    checkpoint->store = store;
    store_settle(store);
    (void)spill_settle(pages, false);
    checkpoint->spills = spill_count(cache);
    // The last checkpoint's root is no part of this one. It stays as long as that one's view does.
    root_retire(store);
    Err err = pagefile_batch_begin(&cache->file, &checkpoint->batch);
    if (err == OK && !(checkpoint->durable = MEM_NEW(Durable))) err = ERR_NOMEM;
    if (err == OK) err = root_take(store, &checkpoint->root);
    if (err == OK && !(checkpoint->view = pages_view_open(pages))) {
        page_retire(pages, checkpoint->root, page_header(page_at(pages, checkpoint->root))->run);
        err = ERR_NOMEM;
    }
    if (err != OK) {
        pagefile_batch_end(&checkpoint->batch);
        mem_free(checkpoint->durable);
        mem_free(checkpoint);
        return diag_fail(diag, err, "cannot begin a checkpoint: %s", err_text(err));
    }
    store->root = checkpoint->root;
    store->root_run = page_header(page_at(pages, checkpoint->root))->run;
    checkpoint->end = pages->end;
    root_encode(store, pages->end, page_at(pages, store->root) + PAGE_HEADER_BYTES);
    dirty_take(checkpoint);
    checkpoint->meta = (PageFileMeta){
        .sequence = cache->file.meta.sequence + 1,
        .salt = cache->file.meta.salt,
        .epoch = pages_view_epoch(checkpoint->view),
        .log_offset = log_offset,
        .time = now,
        .end = pages->end,
        .root = checkpoint->root,
    };
    store->checkpoint = checkpoint;
    *out = checkpoint;
    return OK;
}

// ── on any thread ──────────────────────────────────────────────────────────────────────────────

static Err fail(StoreCheckpoint *checkpoint, Err err, const char *what, Diag *diag) {
    checkpoint->err = err;
    return diag_fail(diag,
                     err,
                     "%s %s: %s %s",
                     what,
                     checkpoint->batch.file->path,
                     err_text(err),
                     io_last_error_text());
}

// A full disk is met here, before anything is written.
static Err space_make(StoreCheckpoint *checkpoint, Diag *diag) {
    if (checkpoint->has_space) return OK;
    PageFile *file = checkpoint->batch.file;
    uint64_t size = pagefile_place(checkpoint->end);
    size = (size + FILE_GROWS_BYTES - 1) / FILE_GROWS_BYTES * FILE_GROWS_BYTES;
    Err err = file->io->file_preallocate(file->io->world, file->file, size);
    checkpoint->has_space = err == OK;
    return err == OK ? OK : fail(checkpoint, err, "no space for a checkpoint in", diag);
}

static Err sync_pages(StoreCheckpoint *checkpoint, Diag *diag) {
    Err err = pagefile_sync(checkpoint->batch.file);
    checkpoint->synced = checkpoint->batch.written;
    checkpoint->unsure = err != OK;
    return err == OK ? OK : fail(checkpoint, err, "cannot sync", diag);
}

enum { GROUP_PAGES = 64 };

// The next dirty pages by number. The guard is up.
static uint32_t group_collect(StoreCheckpoint *checkpoint, PageNo group[GROUP_PAGES]) {
    const Pages *pages = &checkpoint->store->pages;
    uint32_t count = 0;
    while (checkpoint->next < checkpoint->end && count < GROUP_PAGES) {
        uint64_t word = checkpoint->dirty[checkpoint->next / 64] >> (checkpoint->next % 64);
        if (word == 0) {
            checkpoint->next = (checkpoint->next / 64 + 1) * 64;
            continue;
        }
        PageNo no = checkpoint->next + (PageNo)__builtin_ctzll(word);
        checkpoint->next = no + 1;
        if (cache_is_dirty(pages, no)) {
            group[count++] = no;
        } else {
            bit_clear(checkpoint->dirty, no);  // written out since, to make room
        }
    }
    return count;
}

static Err group_write(StoreCheckpoint *checkpoint, Diag *diag) {
    const Pages *pages = &checkpoint->store->pages;
    PageNo group[GROUP_PAGES], from = checkpoint->next;
    Err err = OK;
    guard_raise();
    uint32_t count = group_collect(checkpoint, group);
    for (uint32_t i = 0; err == OK && i < count; i++) {
        err = pagefile_batch_put(&checkpoint->batch, page_at(pages, group[i]));
    }
    if (err == OK) err = pagefile_batch_flush(&checkpoint->batch);
    for (uint32_t i = 0; err == OK && i < count; i++) {
        cache_written(pages, group[i]);
        bit_clear(checkpoint->dirty, group[i]);
    }
    guard_lower();
    if (err == OK) return OK;
    checkpoint->next = from;
    return fail(checkpoint, err, "cannot write to", diag);
}

// The file's name must be as safe as what is in it, once.
static Err name_sync(const PageFile *file) {
    char dir[IO_PATH_MAX];
    memcpy(dir, file->path, sizeof dir);
    char *slash = strrchr(dir, '/');
    if (slash) *slash = 0;
    return file->io->dir_sync(file->io->world, slash ? dir : ".");
}

static Err finish(StoreCheckpoint *checkpoint, Diag *diag) {
    PageFile *file = checkpoint->batch.file;
    Err err = sync_pages(checkpoint, diag);
    if (err == OK && checkpoint->meta.sequence == 1 && (err = name_sync(file)) != OK) {
        return fail(checkpoint, err, "cannot sync the directory of", diag);
    }
    if (err != OK) return err;
    err = pagefile_meta_replace(file, &checkpoint->meta);
    checkpoint->done = err == OK;
    checkpoint->unsure = err != OK;
    return err == OK ? OK : fail(checkpoint, err, "cannot write the meta page of", diag);
}

Err store_checkpoint_write(StoreCheckpoint *checkpoint, size_t bytes, bool *done, Diag *diag) {
    Err err = space_make(checkpoint, diag);
    uint64_t until = checkpoint->batch.written + bytes;
    spill_wait(checkpoint->store->pages.cache, checkpoint->spills);
    *done = false;
    while (err == OK && checkpoint->next < checkpoint->end && checkpoint->batch.written < until) {
        err = group_write(checkpoint, diag);
        if (err == OK && checkpoint->batch.written - checkpoint->synced >= SYNC_EVERY_BYTES) {
            err = sync_pages(checkpoint, diag);
        }
    }
    bool is_last = store_checkpoint_is_written(checkpoint) && checkpoint->batch.written <= until;
    if (err == OK && is_last && !store_checkpoint_is_held(checkpoint)) {
        err = finish(checkpoint, diag);
    }
    *done = checkpoint->done;
    return err;
}

void store_checkpoint_hold(StoreCheckpoint *checkpoint, bool hold) {
    atomic_store(&checkpoint->held, hold);
}

bool store_checkpoint_is_held(const StoreCheckpoint *checkpoint) {
    return atomic_load(&checkpoint->held);
}

bool store_checkpoint_is_written(const StoreCheckpoint *checkpoint) {
    return checkpoint->next >= checkpoint->end;
}

uint64_t store_checkpoint_bytes(const StoreCheckpoint *checkpoint) {
    return checkpoint->batch.written;
}

double store_checkpoint_share(const StoreCheckpoint *checkpoint) {
    return (double)checkpoint->batch.written / (double)MAX(checkpoint->total, 1u);
}

// ── on the owner's thread again ────────────────────────────────────────────────────────────────

// The places behind the last page in use are given back to the file system. The older checkpoint may
// still lead there, but it is the older one.
static void shrink(Store *store) {
    Pages *pages = &store->pages;
    PageFile *file = &pages->cache->file;
    uint32_t run = extent_trim(pages, TRIM_PAGES_MIN);
    if (run == 0) return;
    cache_trim(pages, pages->end, run);
    uint64_t size, wanted = pagefile_place(pages->end);
    Err err = file->io->file_size(file->io->world, file->file, &size);
    if (err == OK && size > wanted)
        err = file->io->file_truncate(file->io->world, file->file, wanted);
    (void)err;  // it stays as large as it is
}

void durable_release(Store *store, Durable **handle) {
    Durable *durable = *handle;
    *handle = NULL;
    if (!durable || --durable->refs) return;
    pages_view_end(&store->pages, durable->view);
    mem_free(durable);
}

static void succeed(Store *store, StoreCheckpoint *checkpoint) {
    PageFileMeta *meta = &store->pages.cache->file.meta;
    meta->sequence = checkpoint->meta.sequence;
    meta->epoch = checkpoint->meta.epoch;
    meta->log_offset = checkpoint->meta.log_offset;
    meta->time = checkpoint->meta.time;
    meta->end = checkpoint->meta.end;
    meta->root = checkpoint->meta.root;
    durable_release(store, &store->durable);
    *checkpoint->durable = (Durable){checkpoint->view, 1};
    store->durable = checkpoint->durable;
    checkpoint->durable = NULL;
    pages_tidy(&store->pages, 256);
    if (store->images == 0) shrink(store);
}

// As if it had not been begun: what was to be written is still to be.
static void abandon(Store *store, StoreCheckpoint *checkpoint) {
    Pages *pages = &store->pages;
    PageCache *cache = pages->cache;
    for (PageNo word = 0; word * 64 < checkpoint->end; word++) {
        uint64_t left = checkpoint->dirty[word] & cache->live[word] & ~cache->dirty[word];
        for (; left; left &= left - 1) {
            PageNo no = word * 64 + (PageNo)__builtin_ctzll(left);
            if (!cache_is_dirty(pages, no)) continue;  // written out since
            bit_set(cache->dirty, no);
            cache->dirty_pages += page_header(page_at(pages, no))->run;
        }
        checkpoint->dirty[word] = 0;
    }
    pages_view_end(pages, checkpoint->view);
    root_retire(store);
}

Err store_checkpoint_end(Store *store, StoreCheckpoint **handle) {
    StoreCheckpoint *checkpoint = *handle;
    *handle = NULL;
    if (!checkpoint) return OK;
    Err err = checkpoint->done ? OK : checkpoint->err != OK ? checkpoint->err : ERR_CLOSED;
    if (checkpoint->done) {
        succeed(store, checkpoint);
    } else if (checkpoint->unsure) {
        // Nobody knows which meta page the disk has. Both checkpoints' pages stay, and nothing more
        // is written; the log goes on, and the next start finds out.
        store->pages.cache->failed = err;
    } else {
        abandon(store, checkpoint);
    }
    if (!checkpoint->unsure) store->pages.cache->dirty_spare = checkpoint->dirty;
    if (checkpoint->unsure) store->pages.cache->dirty_spent = checkpoint->dirty;
    pagefile_batch_end(&checkpoint->batch);
    store->checkpoint = NULL;
    mem_free(checkpoint->durable);
    mem_free(checkpoint);
    return err;
}
