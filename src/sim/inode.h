// inode.h: inside src/sim only. A file's bytes: as they are read, and as a power loss leaves them.
#pragma once
#include "sim/internal.h"

typedef struct Content {
    uint8_t *ptr;
    size_t size;
    size_t cap;
} Content;

// A write (`bytes` is not NULL) or a change of size to `end`.
typedef struct Dirty {
    uint8_t *bytes;
    size_t offset;
    size_t end;
} Dirty;

// A byte that the medium gives back wrongly.
typedef struct Rot {
    uint64_t offset;
    uint8_t xor_mask;
} Rot;

typedef struct SimInode {
    struct SimInode *next;  // of all inodes
    Content now;
    Content durable;
    Dirty *dirty;
    size_t dirty_count;
    Rot *rot;
    size_t rot_count;
    uint64_t forgotten;  // changes that were in `dirty` before
    const IoFile *locked_by;
} SimInode;

void inode_free(SimInode *inode);
void inode_write(SimInode *inode, uint64_t offset, const uint8_t *bytes, size_t len);
void inode_resize(SimInode *inode, uint64_t size);
void inode_sync(SimInode *inode);
// A sync that began some changes ago covers those before it.
uint64_t inode_mark(const SimInode *inode);
void inode_sync_to(SimInode *inode, uint64_t mark);
// Nobody knows what of the unsynced arrived: each change is lost, kept or torn.
void inode_settle(SimInode *inode, uint64_t *random);
void inode_rot(SimInode *inode, Rot rot);
void inode_read(const SimInode *inode, uint64_t offset, uint8_t *into, size_t len);  // inside of it
void inode_lose_power(SimInode *inode, uint64_t *random);
