// inode.c: the bytes of one simulated file.
//
//   now       what reads see (the page cache)
//   dirty[]   writes and changes of size since the last sync, in order
//   durable   what a power loss leaves
//   rot[]     bytes that read wrongly until they are written
//
// ALWAYS TRUE
//   (1) durable with dirty[] applied in order is now, unless a sync has failed since.
#include "sim/inode.h"

#include <stdlib.h>

enum { SECTOR_BYTES = 512 };

static void content_resize(Content *content, size_t size) {
    if (size > content->cap) {
        content->cap = MAX(size, content->cap + content->cap / 2);
        content->ptr = sim_grow(content->ptr, content->cap);
    }
    if (size > content->size) memset(content->ptr + content->size, 0, size - content->size);
    content->size = size;
}

static void content_write(Content *content, size_t offset, const uint8_t *bytes, size_t len) {
    if (len == 0) return;
    if (offset + len > content->size) content_resize(content, offset + len);
    memcpy(content->ptr + offset, bytes, len);
}

static void content_copy(Content *to, const Content *from) {
    content_resize(to, from->size);
    if (from->size) memcpy(to->ptr, from->ptr, from->size);
}

static void dirty_apply(Content *content, const Dirty *dirty) {
    if (dirty->bytes) {
        content_write(content, dirty->offset, dirty->bytes, dirty->end - dirty->offset);
    } else {
        content_resize(content, dirty->end);
    }
}

// Some sectors of the write arrived and others did not; its new size did.
static void dirty_apply_torn(Content *content, const Dirty *dirty, uint64_t *random) {
    if (dirty->end > content->size) content_resize(content, dirty->end);
    for (size_t at = dirty->offset; at < dirty->end;) {
        size_t sector_end = MIN(dirty->end, (at / SECTOR_BYTES + 1) * SECTOR_BYTES);
        if (sim_random_next(random) & 1) {
            content_write(content, at, dirty->bytes + (at - dirty->offset), sector_end - at);
        }
        at = sector_end;
    }
}

static void inode_forget_dirty(SimInode *inode, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(inode->dirty[i].bytes);
    }
    inode->dirty_count -= count;
    inode->forgotten += count;
    if (inode->dirty_count)
        memmove(inode->dirty, inode->dirty + count, inode->dirty_count * sizeof *inode->dirty);
}

uint64_t inode_mark(const SimInode *inode) {
    return inode->forgotten + inode->dirty_count;
}

void inode_sync_to(SimInode *inode, uint64_t mark) {
    if (mark <= inode->forgotten) return;
    size_t count = MIN(inode->dirty_count, (size_t)(mark - inode->forgotten));
    for (size_t i = 0; i < count; i++) {
        dirty_apply(&inode->durable, &inode->dirty[i]);
    }
    inode_forget_dirty(inode, count);
}

void inode_sync(SimInode *inode) {
    inode_sync_to(inode, inode_mark(inode));
}

void inode_settle(SimInode *inode, uint64_t *random) {
    for (size_t i = 0; i < inode->dirty_count; i++) {
        const Dirty *dirty = &inode->dirty[i];
        switch (sim_random_next(random) % 3) {
        case 0: break;  // lost
        case 1: dirty_apply(&inode->durable, dirty); break;
        default:
            if (dirty->bytes) dirty_apply_torn(&inode->durable, dirty, random);
            break;
        }
    }
    inode_forget_dirty(inode, inode->dirty_count);
}

void inode_rot(SimInode *inode, Rot rot) {
    inode->rot = sim_grow(inode->rot, (inode->rot_count + 1) * sizeof rot);
    inode->rot[inode->rot_count++] = rot;
}

static void rot_overwritten(SimInode *inode, uint64_t from, uint64_t to) {
    size_t left = 0;
    for (size_t i = 0; i < inode->rot_count; i++) {
        if (inode->rot[i].offset >= from && inode->rot[i].offset < to) continue;
        inode->rot[left++] = inode->rot[i];
    }
    inode->rot_count = left;
}

void inode_read(const SimInode *inode, uint64_t offset, uint8_t *into, size_t len) {
    if (len == 0) return;
    memcpy(into, inode->now.ptr + offset, len);
    for (size_t i = 0; i < inode->rot_count; i++) {
        const Rot *rot = &inode->rot[i];
        if (rot->offset >= offset && rot->offset - offset < len)
            into[rot->offset - offset] ^= rot->xor_mask;
    }
}

static void inode_change(SimInode *inode, Dirty dirty) {
    dirty_apply(&inode->now, &dirty);
    inode->dirty = sim_grow(inode->dirty, (inode->dirty_count + 1) * sizeof dirty);
    inode->dirty[inode->dirty_count++] = dirty;
}

void inode_write(SimInode *inode, uint64_t offset, const uint8_t *bytes, size_t len) {
    if (len == 0) return;
    uint8_t *copy = memcpy(sim_alloc(len), bytes, len);
    rot_overwritten(inode, offset, offset + len);
    inode_change(inode, (Dirty){copy, offset, offset + len});
}

void inode_resize(SimInode *inode, uint64_t size) {
    rot_overwritten(inode, size, UINT64_MAX);
    inode_change(inode, (Dirty){NULL, 0, size});
}

void inode_lose_power(SimInode *inode, uint64_t *random) {
    inode_settle(inode, random);
    content_copy(&inode->now, &inode->durable);
    inode->locked_by = NULL;
}

void inode_free(SimInode *inode) {
    inode_forget_dirty(inode, inode->dirty_count);
    free(inode->dirty);
    free(inode->rot);
    free(inode->now.ptr);
    free(inode->durable.ptr);
    free(inode);
}
