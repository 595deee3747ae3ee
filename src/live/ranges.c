#include "live/ranges.h"

// No lower end is below every key, and equal ends are told apart by where the nodes lie.
static bool is_before(const RangeNode *a, const RangeNode *b) {
    int order = bytes_cmp(a->lower, b->lower);
    return order < 0 || (order == 0 && a < b);
}

static bool ends_after(Bytes upper, Bytes other) {  // ptr NULL: to the end
    return !upper.ptr || (other.ptr && bytes_cmp(upper, other) > 0);
}

static void measure(RangeNode *node) {
    node->max_upper = node->upper;
    if (node->left && ends_after(node->left->max_upper, node->max_upper))
        node->max_upper = node->left->max_upper;
    if (node->right && ends_after(node->right->max_upper, node->max_upper))
        node->max_upper = node->right->max_upper;
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

bool range_has(const RangeNode *node, Bytes key) {
    return (!node->lower.ptr || bytes_cmp(node->lower, key) <= 0) &&
           (!node->upper.ptr || bytes_cmp(node->upper, key) >= 0);
}

Err ranges_each(const RangeNode *node, Bytes key, RangeEach each, void *ctx) {
    Err err = OK;
    while (node && err == OK) {
        if (node->max_upper.ptr && bytes_cmp(node->max_upper, key) < 0) return OK;
        err = ranges_each(node->left, key, each, ctx);
        if (node->lower.ptr && bytes_cmp(node->lower, key) > 0) return err;  // as are all behind it
        if (err == OK && range_has(node, key)) err = each(ctx, node->group, node);
        node = node->right;
    }
    return err;
}
