#include "live/ranges.h"

// No lower end is below every key, and equal ends are told apart by where the nodes lie.
static bool is_before(const RangeNode *a, const RangeNode *b) {
    int order = bytes_cmp(range_lower(a), range_lower(b));
    return order < 0 || (order == 0 && a < b);
}

static bool ends_after(const RangeNode *node, const RangeNode *other) {
    Bytes upper = range_upper(node), its = range_upper(other);
    return !upper.ptr || (its.ptr && bytes_cmp(upper, its) > 0);
}

static void measure(RangeNode *node) {
    node->last = node;
    if (node->left && ends_after(node->left->last, node->last)) node->last = node->left->last;
    if (node->right && ends_after(node->right->last, node->last)) node->last = node->right->last;
}

// All of `root` that is before `node`, and the rest.
static void split(RangeNode *root, const RangeNode *node, RangeNode **before, RangeNode **after) {
    if (!root) {
        *before = *after = NULL;
    } else if (is_before(root, node)) {
        split(root->right, node, &root->right, after);
        *before = root;
        measure(root);
    } else {
        split(root->left, node, before, &root->left);
        *after = root;
        measure(root);
    }
}

static RangeNode *merge(RangeNode *a, RangeNode *b) {
    if (!a || !b) return a ? a : b;
    RangeNode *top = a->priority > b->priority ? a : b;
    if (top == a)
        a->right = merge(a->right, b);
    else
        b->left = merge(a, b->left);
    measure(top);
    return top;
}

void ranges_add(RangeNode **root, RangeNode *node) {
    RangeNode *before, *after;
    node->left = node->right = NULL;
    measure(node);
    split(*root, node, &before, &after);
    *root = merge(merge(before, node), after);
}

void ranges_remove(RangeNode **root, RangeNode *node) {
    RangeNode *top = *root;
    ASSERT(top);
    if (top == node) {
        *root = merge(node->left, node->right);
        return;
    }
    ranges_remove(is_before(node, top) ? &top->left : &top->right, node);
    measure(top);
}

size_t range_bytes(Bytes lower, Bytes upper) {
    return sizeof(RangeNode) + lower.len + upper.len;
}

void range_init(RangeNode *node, Group *group, Bytes lower, Bytes upper, uint32_t priority) {
    *node = (RangeNode){
        .group = group,
        .priority = priority,
        .lower_len = lower.ptr ? (uint32_t)lower.len : RANGE_OPEN,
        .upper_len = upper.ptr ? (uint32_t)upper.len : RANGE_OPEN,
    };
    if (lower.len) memcpy(node->ends, lower.ptr, lower.len);
    if (upper.len) memcpy(node->ends + lower.len, upper.ptr, upper.len);
}

static bool begins_after(const RangeNode *node, Bytes key) {
    Bytes lower = range_lower(node);
    return lower.ptr && bytes_cmp(lower, key) > 0;
}

static bool ends_before(const RangeNode *node, Bytes key) {
    Bytes upper = range_upper(node);
    return upper.ptr && bytes_cmp(upper, key) < 0;
}

bool range_has(const RangeNode *node, Bytes key) {
    return !begins_after(node, key) && !ends_before(node, key);
}

Err ranges_each(const RangeNode *node, Bytes key, RangeEach each, void *ctx, uint64_t *seen) {
    Err err = OK;
    while (node && err == OK) {
        ++*seen;
        if (ends_before(node->last, key)) return OK;
        err = ranges_each(node->left, key, each, ctx, seen);
        if (begins_after(node, key)) return err;  // as are all behind it
        if (err == OK && !ends_before(node, key)) err = each(ctx, node->group, node);
        node = node->right;
    }
    return err;
}
