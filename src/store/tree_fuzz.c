// tree_fuzz.c: a sequence of operations, read from the input, on a tree and on its twin.
//
// Each operation is an opcode byte and what it needs: keys come from a few short bytes, a repeated
// byte of any length, or a number; so that prefixes, long keys and neighbours all occur.
#include "store/tree.h"
#include "store/tree_twin.h"

typedef struct Fuzz {
    const uint8_t *at, *end;
    Pages pages;
    Tree tree;
    Twin twin;
    PageView *view;  // one view at a time, with what it must show
    Tree view_tree;
    Twin view_twin;
} Fuzz;

enum { LONG = 20000 };

static uint8_t take(Fuzz *fuzz) {
    return fuzz->at < fuzz->end ? *fuzz->at++ : 0;
}

static Bytes take_bytes(Fuzz *fuzz, uint8_t room[LONG]) {
    uint8_t how = take(fuzz);
    size_t len = how & 15;
    if (how & 128) len = (size_t)(how & 127) * 157;
    memset(room, how & 64 ? 'a' : 0, len);
    size_t own = MIN(len, (size_t)3);  // the last bytes come from the input
    for (size_t i = 0; i < own; i++) {
        room[len - own + i] = take(fuzz);
    }
    return BYTES(room, len);
}

static void put(Fuzz *fuzz) {
    static uint8_t key_room[LONG], value_room[LONG];
    Bytes key = take_bytes(fuzz, key_room), value = take_bytes(fuzz, value_room);
    TreePath path;
    bool found = tree_seek(&fuzz->pages, &fuzz->tree, key, &path), expected;
    twin_search(&fuzz->twin, key, &expected);
    ASSERT(found == expected);
    Err err = pages_reserve(&fuzz->pages, tree_insert_pages(&fuzz->tree, key.len, value.len));
    ASSERT(err == OK);
    if (found) {
        tree_replace(&fuzz->pages, &fuzz->tree, &path, key, value);
    } else {
        tree_insert(&fuzz->pages, &fuzz->tree, &path, key, value);
    }
    twin_put(&fuzz->twin, key, value);
}

static void drop(Fuzz *fuzz, bool some) {
    static uint8_t room[LONG];
    Bytes key = take_bytes(fuzz, room);
    bool expected;
    size_t at = twin_search(&fuzz->twin, key, &expected);
    if (some && !expected && at < fuzz->twin.count) {
        key = fuzz->twin.pairs[at].key;
        expected = true;
    }
    TreePath path;
    bool found = tree_seek(&fuzz->pages, &fuzz->tree, key, &path);
    ASSERT(found == expected);
    if (!found) return;
    tree_delete(&fuzz->pages, &fuzz->tree, &path);
    twin_remove_at(&fuzz->twin, at);
}

static void compare(const Pages *pages, const Tree *tree, const Twin *twin) {
    TreeCursor cursor;
    cursor_open(&cursor, pages, tree, BYTES_NONE, BYTES_NONE);
    uint8_t scratch[NODE_KEY_MAX];
    unsigned at;
    size_t i = 0;
    for (; cursor_next(&cursor, &at); i++) {
        ASSERT(i < twin->count);
        ASSERT(bytes_eq(node_key(pages, cursor_leaf(&cursor), at, scratch), twin->pairs[i].key));
        ASSERT(bytes_eq(node_value(pages, cursor_leaf(&cursor), at), twin->pairs[i].value));
    }
    ASSERT(i == twin->count);
}

static Err visit(void *ctx, PageNo no, uint32_t run, Diag *diag) {
    (void)ctx, (void)no, (void)run, (void)diag;
    return OK;
}

static void check(Fuzz *fuzz) {
    uint64_t entries;
    Err err = tree_check(&fuzz->pages, &fuzz->tree, &(TreeVisit){.page = visit}, &entries, NULL);
    ASSERT(err == OK && entries == fuzz->twin.count);
    compare(&fuzz->pages, &fuzz->tree, &fuzz->twin);
}

static void view_toggle(Fuzz *fuzz) {
    if (!fuzz->view) {
        fuzz->view = pages_view_open(&fuzz->pages);
        fuzz->view_tree = fuzz->tree;
        fuzz->view_twin = twin_copy(&fuzz->twin);
        return;
    }
    compare(&fuzz->pages, &fuzz->view_tree, &fuzz->view_twin);
    pages_view_end(&fuzz->pages, fuzz->view);
    fuzz->view = NULL;
    twin_clear(&fuzz->view_twin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Fuzz fuzz = {.at = data, .end = data + size};
    if (pages_open(&fuzz.pages, (uint64_t)1 << 30, 0) != OK) return 0;
    while (fuzz.at < fuzz.end) {
        switch (take(&fuzz) % 16) {
        default: put(&fuzz); break;
        case 9:
        case 10:
        case 11: drop(&fuzz, true); break;
        case 12: drop(&fuzz, false); break;
        case 13: view_toggle(&fuzz); break;
        case 14: pages_tidy(&fuzz.pages, take(&fuzz)); break;
        case 15: check(&fuzz); break;
        }
    }
    check(&fuzz);
    if (fuzz.view) view_toggle(&fuzz);
    pages_tidy(&fuzz.pages, UINT32_MAX);
    tree_drop(&fuzz.pages, &fuzz.tree);
    tree_tidy(&fuzz.pages, UINT32_MAX);
    ASSERT(fuzz.pages.used == 0);
    twin_clear(&fuzz.twin);
    pages_close(&fuzz.pages);
    return 0;
}
