// disk.c: a disk in memory that knows what has been synced and what has not.
//
//   path ──> now       what lookups see ──┐
//            changes[]   in order, since   ├──> SimInode (inode.c): the bytes
//            their directory's last sync   │
//   path ──> durable   after a power loss ─┘
//
// ALWAYS TRUE
//   (1) durable with changes[] applied in order is now.
//   (2) Inodes live until the disk is freed; names and open files only point at them.
#include <stdlib.h>

#include "sim/inode.h"

typedef struct Name {
    char *path;
    SimInode *inode;
} Name;

typedef struct Names {
    Name *list;
    size_t count;
} Names;

// One step in one directory: `removed` goes, `added` comes (either may be NULL).
typedef struct NameChange {
    char *dir;
    char *removed;
    char *added;
    SimInode *inode;  // of `added`
} NameChange;

struct IoFile {
    SimInode *inode;
    uint64_t boot;  // handles from before a power loss are dead
    int flags;
};

typedef struct Faults {
    uint64_t count;
    uint64_t cut_at;   // value of `count` in which the power goes
    uint64_t fail_at;  // … in which the call fails with fail_err
    Err fail_err;
} Faults;

// The owner of a sync or other work in flight asks `asks_left` times in vain.
struct IoSyncer {
    IoFile *file;  // NULL: no sync in flight
    uint64_t mark;
    Err (*run)(void *ctx);  // NULL: no other work in flight
    void *ctx;
    bool has_run;  // it was done when it was started, and `err` is what it returned
    Err err;
    uint64_t asks_left;
};

struct SimDisk {
    SimInode *inodes;
    Names now;
    Names durable;
    NameChange *changes;
    size_t change_count;
    char **dirs;
    size_t dir_count;
    Faults faults[SIM_OPS];
    uint64_t bytes_max;
    int64_t latency_us_max;
    uint64_t asks_max;     // of a sync in flight
    uint64_t cold_one_in;  // of reads that must not wait; 0: none
    uint64_t boot;
    bool off;
};

static SimDisk *disk_of(void *world) {
    return ((Sim *)world)->disk;
}

static SimInode *inode_new(SimDisk *disk) {
    SimInode *inode = sim_alloc(sizeof *inode);
    inode->next = disk->inodes;
    disk->inodes = inode;
    return inode;
}

// ── names ─────────────────────────────────────────────────────────────────────────────────────

// "./a//b/" and "a/b" are the same place; "" stands for the working directory.
static void path_tidy(const char *path, char out[IO_PATH_MAX]) {
    size_t len = 0;
    if (path[0] == '/') out[len++] = '/';
    while (*path) {
        size_t part = strcspn(path, "/");
        if (part > 0 && !(part == 1 && path[0] == '.')) {
            if (len > 0 && out[len - 1] != '/') out[len++] = '/';
            ASSERT(len + part < IO_PATH_MAX);
            memcpy(out + len, path, part);
            len += part;
        }
        path += part + (path[part] == '/');
    }
    out[len] = 0;
}

static void path_dir(const char *tidy, char out[IO_PATH_MAX]) {
    const char *slash = strrchr(tidy, '/');
    size_t len = !slash ? 0 : slash == tidy ? 1 : (size_t)(slash - tidy);
    memcpy(out, tidy, len);
    out[len] = 0;
}

static bool dir_exists(const SimDisk *disk, const char *tidy) {
    if (tidy[0] == 0 || strcmp(tidy, "/") == 0) return true;
    for (size_t i = 0; i < disk->dir_count; i++) {
        if (strcmp(disk->dirs[i], tidy) == 0) return true;
    }
    return false;
}

static Name *name_find(const Names *names, const char *tidy) {
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].path, tidy) == 0) return &names->list[i];
    }
    return NULL;
}

static void name_remove(Names *names, const char *tidy) {
    Name *name = name_find(names, tidy);
    if (!name) return;
    free(name->path);
    *name = names->list[--names->count];
}

static void name_add(Names *names, const char *tidy, SimInode *inode) {
    name_remove(names, tidy);
    names->list = sim_grow(names->list, (names->count + 1) * sizeof *names->list);
    names->list[names->count++] = (Name){sim_text(tidy), inode};
}

static void names_clear(Names *names) {
    for (size_t i = 0; i < names->count; i++) {
        free(names->list[i].path);
    }
    names->count = 0;
}

static void change_apply(Names *names, const NameChange *change) {
    if (change->removed) name_remove(names, change->removed);
    if (change->added) name_add(names, change->added, change->inode);
}

static void change_free(NameChange *change) {
    free(change->dir);
    free(change->removed);
    free(change->added);
}

static void change_record(SimDisk *disk,
                          const char *dir,
                          const char *removed,
                          const char *added,
                          SimInode *inode) {
    NameChange change = {
        .dir = sim_text(dir),
        .removed = removed ? sim_text(removed) : NULL,
        .added = added ? sim_text(added) : NULL,
        .inode = inode,
    };
    change_apply(&disk->now, &change);
    disk->changes = sim_grow(disk->changes, (disk->change_count + 1) * sizeof change);
    disk->changes[disk->change_count++] = change;
}

// The first `keep_max` changes of `dir` become durable and the rest of them are forgotten.
static void changes_settle(SimDisk *disk, const char *dir, uint64_t keep_max) {
    size_t left = 0;
    for (size_t i = 0; i < disk->change_count; i++) {
        NameChange *change = &disk->changes[i];
        if (strcmp(change->dir, dir) != 0) {
            disk->changes[left++] = *change;
            continue;
        }
        if (keep_max > 0) {
            change_apply(&disk->durable, change);
            keep_max--;
        }
        change_free(change);
    }
    disk->change_count = left;
}

static uint64_t changes_in(const SimDisk *disk, const char *dir) {
    uint64_t count = 0;
    for (size_t i = 0; i < disk->change_count; i++) {
        count += strcmp(disk->changes[i].dir, dir) == 0;
    }
    return count;
}

// ── faults ────────────────────────────────────────────────────────────────────────────────────

uint64_t sim_disk_count(const Sim *sim, SimOp op) {
    return sim->disk->faults[op].count;
}

void sim_disk_cut_at(Sim *sim, SimOp op, uint64_t nth) {
    Faults *faults = &sim->disk->faults[op];
    faults->cut_at = faults->count + nth;
}

void sim_disk_fail_at(Sim *sim, SimOp op, uint64_t nth, Err err) {
    Faults *faults = &sim->disk->faults[op];
    faults->fail_at = faults->count + nth;
    faults->fail_err = err;
}

void sim_disk_limit(Sim *sim, uint64_t bytes_max) {
    sim->disk->bytes_max = bytes_max;
}

void sim_disk_set_cold(Sim *sim, uint64_t one_in) {
    sim->disk->cold_one_in = one_in;
}

void sim_disk_delay(Sim *sim, uint64_t asks_max) {
    sim->disk->asks_max = asks_max;
}

bool sim_disk_is_off(const Sim *sim) {
    return sim->disk->off;
}

static void faults_disarm(SimDisk *disk) {
    for (size_t i = 0; i < ARRAY_LEN(disk->faults); i++) {
        disk->faults[i].cut_at = disk->faults[i].fail_at = UINT64_MAX;
    }
}

void sim_disk_set_latency(Sim *sim, int64_t us_max) {
    sim->disk->latency_us_max = us_max;
}

// Count a call, let its time pass, and decide what becomes of it.
static Err fault_next(Sim *sim, SimOp op) {
    SimDisk *disk = sim->disk;
    if (disk->off) return ERR_IO;
    if (disk->latency_us_max > 0)
        sim_clock_advance(sim, (int64_t)(sim_random(sim) % (uint64_t)disk->latency_us_max));
    Faults *faults = &disk->faults[op];
    uint64_t number = faults->count++;
    if (number == faults->cut_at) {
        disk->off = true;
        return ERR_IO;
    }
    return number == faults->fail_at ? faults->fail_err : OK;
}

static uint64_t bytes_used(const SimDisk *disk) {
    uint64_t total = 0;
    for (size_t i = 0; i < disk->now.count; i++) {
        total += disk->now.list[i].inode->now.size;
    }
    return total;
}

uint64_t sim_disk_used(const Sim *sim) {
    return bytes_used(sim->disk);
}

void sim_disk_disarm(Sim *sim) {
    faults_disarm(sim->disk);
}

static Err room_check(const SimDisk *disk, const SimInode *inode, uint64_t end) {
    if (end <= inode->now.size || disk->bytes_max == UINT64_MAX) return OK;
    return bytes_used(disk) - inode->now.size + end > disk->bytes_max ? ERR_DISK_FULL : OK;
}

void sim_disk_reboot(Sim *sim, uint64_t seed) {
    SimDisk *disk = sim->disk;
    for (SimInode *inode = disk->inodes; inode; inode = inode->next) {
        inode_lose_power(inode, &seed);
    }
    while (disk->change_count > 0) {
        char *dir = sim_text(disk->changes[0].dir);
        changes_settle(disk, dir, sim_random_next(&seed) % (changes_in(disk, dir) + 1));
        free(dir);
    }
    names_clear(&disk->now);
    for (size_t i = 0; i < disk->durable.count; i++) {
        name_add(&disk->now, disk->durable.list[i].path, disk->durable.list[i].inode);
    }
    faults_disarm(disk);
    disk->boot++;
    disk->off = false;
}

Err sim_disk_flip(Sim *sim, const char *path, uint64_t offset, uint8_t xor_mask) {
    char tidy[IO_PATH_MAX];
    path_tidy(path, tidy);
    Name *name = name_find(&sim->disk->now, tidy);
    if (!name) return ERR_NOT_FOUND;
    if (offset >= name->inode->now.size) return ERR_INVALID;
    name->inode->now.ptr[offset] ^= xor_mask;
    if (offset < name->inode->durable.size) name->inode->durable.ptr[offset] ^= xor_mask;
    return OK;
}

Err sim_disk_rot(Sim *sim, const char *path, uint64_t offset, uint8_t xor_mask) {
    char tidy[IO_PATH_MAX];
    path_tidy(path, tidy);
    Name *name = name_find(&sim->disk->now, tidy);
    if (!name) return ERR_NOT_FOUND;
    if (offset >= name->inode->now.size) return ERR_INVALID;
    inode_rot(name->inode, (Rot){offset, xor_mask});
    return OK;
}

uint64_t sim_disk_rotten(const Sim *sim) {
    uint64_t count = 0;
    for (const Name *name = sim->disk->now.list; name < sim->disk->now.list + sim->disk->now.count;
         name++)
        count += name->inode->rot_count;
    return count;
}

void sim_disk_heal(Sim *sim) {
    for (SimInode *inode = sim->disk->inodes; inode; inode = inode->next)
        inode->rot_count = 0;
}

// ── the functions of the table ────────────────────────────────────────────────────────────────

static Err inode_create(Sim *world, const char *tidy, SimInode **out) {
    SimDisk *disk = world->disk;
    char dir[IO_PATH_MAX];
    path_dir(tidy, dir);
    if (!dir_exists(disk, dir)) return ERR_NOT_FOUND;
    if (dir_exists(disk, tidy)) return ERR_EXISTS;
    Err err = fault_next(world, SIM_WRITE);
    if (err != OK && !disk->off) return err;  // power cut: the name may still have arrived
    *out = inode_new(disk);
    change_record(disk, dir, NULL, tidy, *out);
    return err;
}

static Err file_open(void *world, const char *path, int flags, IoFile **out) {
    SimDisk *disk = disk_of(world);
    if (disk->off) return ERR_IO;
    char tidy[IO_PATH_MAX];
    path_tidy(path, tidy);
    Name *name = name_find(&disk->now, tidy);
    SimInode *inode = name ? name->inode : NULL;
    Err err = OK;
    if (!inode && !(flags & IO_CREATE)) return ERR_NOT_FOUND;
    if (inode && (flags & IO_CREATE) && (flags & IO_EXCLUSIVE)) return ERR_EXISTS;
    if (!inode) {
        err = inode_create(world, tidy, &inode);
    } else if (flags & IO_TRUNCATE) {
        err = fault_next(world, SIM_WRITE);
        if (err == OK || disk->off) inode_resize(inode, 0);
    }
    if (err != OK) return err;
    IoFile *file = sim_alloc(sizeof *file);
    *file = (IoFile){.inode = inode, .boot = disk->boot, .flags = flags};
    *out = file;
    return OK;
}

static void file_close(void *world, IoFile **file) {
    (void)world;
    if (!*file) return;
    if ((*file)->inode->locked_by == *file) (*file)->inode->locked_by = NULL;
    free(*file);
    *file = NULL;
}

static bool file_is_dead(const SimDisk *disk, const IoFile *file) {
    return disk->off || file->boot != disk->boot;
}

static Err file_read(void *world,
                     IoFile *file,
                     uint64_t offset,
                     void *into,
                     size_t len,
                     size_t *got) {
    if (file_is_dead(disk_of(world), file)) return ERR_IO;
    ASSERT(file->flags & IO_READ);
    Err err = fault_next(world, SIM_READ);
    if (err != OK) return err;
    const Content *now = &file->inode->now;
    *got = offset >= now->size ? 0 : MIN(len, now->size - (size_t)offset);
    inode_read(file->inode, offset, into, *got);
    return OK;
}

static Err file_read_now(void *world,
                         IoFile *file,
                         uint64_t offset,
                         void *into,
                         size_t len,
                         size_t *got) {
    uint64_t one_in = disk_of(world)->cold_one_in;
    *got = 0;
    if (one_in && sim_random(world) % one_in == 0) return ERR_AGAIN;
    return file_read(world, file, offset, into, len, got);
}

static Err file_write(void *world, IoFile *file, uint64_t offset, const void *bytes, size_t len) {
    SimDisk *disk = disk_of(world);
    if (file_is_dead(disk, file)) return ERR_IO;
    ASSERT(file->flags & IO_WRITE);
    Err err = fault_next(world, SIM_WRITE);
    if (err == OK) err = room_check(disk, file->inode, offset + len);
    if (err == OK || disk->off) {
        inode_write(file->inode, offset, bytes, len);
    } else {
        size_t part = len ? sim_random(world) % len : 0;
        if (room_check(disk, file->inode, offset + part) == OK) {
            inode_write(file->inode, offset, bytes, part);
        }
    }
    return err;
}

static Err sync_to(void *world, IoFile *file, uint64_t mark) {
    SimDisk *disk = disk_of(world);
    if (file_is_dead(disk, file)) return ERR_IO;
    Err err = fault_next(world, SIM_SYNC);
    if (err == OK) {
        inode_sync_to(file->inode, mark);
    } else if (!disk->off) {
        inode_settle(file->inode, &((Sim *)world)->random);
    }
    return err;
}

static Err file_sync(void *world, IoFile *file) {
    return sync_to(world, file, inode_mark(file->inode));
}

static Err syncer_open(void *world, void (*wake)(void *ctx), void *ctx, IoSyncer **out) {
    (void)world, (void)wake, (void)ctx;
    *out = sim_alloc(sizeof **out);
    return OK;
}

static bool sync_ended(void *world, IoSyncer *syncer, bool wait, Err *err) {
    ASSERT(syncer->file || syncer->run);
    if (!wait && syncer->asks_left) {
        syncer->asks_left--;
        return false;
    }
    if (syncer->has_run) {
        *err = syncer->err;
    } else {
        *err = syncer->run ? syncer->run(syncer->ctx) : sync_to(world, syncer->file, syncer->mark);
    }
    syncer->file = NULL;
    syncer->run = NULL;
    return true;
}

static void syncer_close(void *world, IoSyncer **syncer) {
    Err err;
    if (!*syncer) return;
    if ((*syncer)->file || (*syncer)->run) sync_ended(world, *syncer, true, &err);
    free(*syncer);
    *syncer = NULL;
}

// It takes effect when it ends, so that the power may go while it is in flight, and the syncs of
// other files overtake it.
static void sync_start(void *world, IoSyncer *syncer, IoFile *file) {
    const SimDisk *disk = disk_of(world);
    ASSERT(!syncer->file && !syncer->run);
    *syncer = (IoSyncer){.file = file, .mark = inode_mark(file->inode)};
    if (disk->asks_max) syncer->asks_left = sim_random(world) % (disk->asks_max + 1);
}

// It is done as it is started or as it ends, so that the power may go with all of it on the disk and
// nobody told, and with none of it.
static void work_start(void *world, IoSyncer *syncer, Err (*run)(void *ctx), void *ctx) {
    const SimDisk *disk = disk_of(world);
    ASSERT(!syncer->file && !syncer->run);
    *syncer = (IoSyncer){.run = run, .ctx = ctx};
    if (disk->asks_max) syncer->asks_left = sim_random(world) % (disk->asks_max + 1);
    syncer->has_run = sim_random(world) % 2;
    if (syncer->has_run) syncer->err = run(ctx);
}

static Err file_size(void *world, IoFile *file, uint64_t *out) {
    if (file_is_dead(disk_of(world), file)) return ERR_IO;
    *out = file->inode->now.size;
    return OK;
}

static Err file_truncate(void *world, IoFile *file, uint64_t size) {
    SimDisk *disk = disk_of(world);
    if (file_is_dead(disk, file)) return ERR_IO;
    ASSERT(file->flags & IO_WRITE);
    Err err = fault_next(world, SIM_WRITE);
    if (err == OK) err = room_check(disk, file->inode, size);
    if (err == OK || disk->off) inode_resize(file->inode, size);
    return err;
}

static Err file_preallocate(void *world, IoFile *file, uint64_t size) {
    if (file_is_dead(disk_of(world), file)) return ERR_IO;
    return size <= file->inode->now.size ? OK : file_truncate(world, file, size);
}

static void file_hint(void *world, IoFile *file, uint64_t offset, uint64_t len) {
    (void)world, (void)file, (void)offset, (void)len;
}

static Err file_lock(void *world, IoFile *file) {
    if (file_is_dead(disk_of(world), file)) return ERR_IO;
    const IoFile *owner = file->inode->locked_by;
    if (owner && owner != file) return ERR_BUSY;
    file->inode->locked_by = file;
    return OK;
}

static Err file_remove(void *world, const char *path) {
    SimDisk *disk = disk_of(world);
    if (disk->off) return ERR_IO;
    char tidy[IO_PATH_MAX], dir[IO_PATH_MAX];
    path_tidy(path, tidy);
    path_dir(tidy, dir);
    if (!name_find(&disk->now, tidy)) return ERR_NOT_FOUND;
    Err err = fault_next(world, SIM_WRITE);
    if (err == OK || disk->off) change_record(disk, dir, tidy, NULL, NULL);
    return err;
}

static Err file_rename(void *world, const char *from, const char *to) {
    SimDisk *disk = disk_of(world);
    if (disk->off) return ERR_IO;
    char tidy_from[IO_PATH_MAX], tidy_to[IO_PATH_MAX];
    char dir_from[IO_PATH_MAX], dir_to[IO_PATH_MAX];
    path_tidy(from, tidy_from);
    path_tidy(to, tidy_to);
    path_dir(tidy_from, dir_from);
    path_dir(tidy_to, dir_to);
    Name *name = name_find(&disk->now, tidy_from);
    if (!name || !dir_exists(disk, dir_to)) return ERR_NOT_FOUND;
    Err err = fault_next(world, SIM_WRITE);
    if (err != OK && !disk->off) return err;
    SimInode *inode = name->inode;
    if (strcmp(dir_from, dir_to) == 0) {
        change_record(disk, dir_to, tidy_from, tidy_to, inode);
    } else {  // two directories, each with its own sync
        change_record(disk, dir_to, NULL, tidy_to, inode);
        change_record(disk, dir_from, tidy_from, NULL, NULL);
    }
    return err;
}

static Err dir_make(void *world, const char *path) {
    SimDisk *disk = disk_of(world);
    if (disk->off) return ERR_IO;
    char tidy[IO_PATH_MAX];
    path_tidy(path, tidy);
    size_t len = strlen(tidy);
    for (size_t i = 1; i <= len; i++) {
        if (i < len && tidy[i] != '/') continue;
        char kept = tidy[i];
        tidy[i] = 0;
        if (name_find(&disk->now, tidy)) return ERR_EXISTS;
        if (!dir_exists(disk, tidy)) {
            Err err = fault_next(world, SIM_SYNC);
            if (err != OK) return err;
            disk->dirs = sim_grow(disk->dirs, (disk->dir_count + 1) * sizeof *disk->dirs);
            disk->dirs[disk->dir_count++] = sim_text(tidy);
        }
        tidy[i] = kept;
    }
    return OK;
}

static Err dir_sync(void *world, const char *path) {
    SimDisk *disk = disk_of(world);
    if (disk->off) return ERR_IO;
    char tidy[IO_PATH_MAX];
    path_tidy(path, tidy);
    if (!dir_exists(disk, tidy)) return ERR_NOT_FOUND;
    Err err = fault_next(world, SIM_SYNC);
    if (err == OK) changes_settle(disk, tidy, UINT64_MAX);
    return err;
}

static bool is_child(const char *dir, const char *path) {
    char parent[IO_PATH_MAX];
    path_dir(path, parent);
    return strcmp(parent, dir) == 0;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// The names are collected first: `each` may make and remove files.
static Err dir_list(void *world,
                    const char *path,
                    Err (*each)(void *ctx, const char *name),
                    void *ctx) {
    SimDisk *disk = disk_of(world);
    if (disk->off) return ERR_IO;
    char tidy[IO_PATH_MAX];
    path_tidy(path, tidy);
    if (!dir_exists(disk, tidy)) return ERR_NOT_FOUND;
    char **found = sim_alloc((disk->now.count + disk->dir_count) * sizeof *found);
    size_t count = 0;
    for (size_t i = 0; i < disk->now.count; i++) {
        const char *child = disk->now.list[i].path;
        if (is_child(tidy, child)) found[count++] = sim_text(last_part(child));
    }
    for (size_t i = 0; i < disk->dir_count; i++) {
        const char *child = disk->dirs[i];
        if (is_child(tidy, child)) found[count++] = sim_text(last_part(child));
    }
    Err err = OK;
    for (size_t i = 0; i < count; i++) {
        if (err == OK) err = each(ctx, found[i]);
        free(found[i]);
    }
    free(found);
    return err;
}

// ── life ──────────────────────────────────────────────────────────────────────────────────────

SimDisk *sim_disk_new(void) {
    SimDisk *disk = sim_alloc(sizeof *disk);
    disk->bytes_max = UINT64_MAX;
    disk->asks_max = 3;
    faults_disarm(disk);
    return disk;
}

void sim_disk_free(SimDisk *disk) {
    for (SimInode *inode = disk->inodes, *next; inode; inode = next) {
        next = inode->next;
        inode_free(inode);
    }
    names_clear(&disk->now);
    names_clear(&disk->durable);
    for (size_t i = 0; i < disk->change_count; i++) {
        change_free(&disk->changes[i]);
    }
    for (size_t i = 0; i < disk->dir_count; i++) {
        free(disk->dirs[i]);
    }
    free(disk->now.list);
    free(disk->durable.list);
    free(disk->changes);
    free(disk->dirs);
    free(disk);
}

void sim_disk_fill_io(Io *io) {
    io->file_open = file_open;
    io->file_close = file_close;
    io->file_read = file_read;
    io->file_read_now = file_read_now;
    io->file_write = file_write;
    io->file_sync = file_sync;
    io->syncer_open = syncer_open;
    io->syncer_close = syncer_close;
    io->sync_start = sync_start;
    io->sync_ended = sync_ended;
    io->work_start = work_start;
    io->file_size = file_size;
    io->file_truncate = file_truncate;
    io->file_preallocate = file_preallocate;
    io->file_hint = file_hint;
    io->file_lock = file_lock;
    io->file_remove = file_remove;
    io->file_rename = file_rename;
    io->dir_make = dir_make;
    io->dir_sync = dir_sync;
    io->dir_list = dir_list;
}
