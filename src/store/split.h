// split.h: putting an entry into a tree, splitting what is full; part of tree.c.
#pragma once
#include "store/tree.h"

// Put a cell, whose whole key is `key`, into the leaf at the path; every page of the path is ours to
// change.
void tree_put_cell(Pages *pages, Tree *tree, TreePath *path, const NodeCell *cell, Bytes key);
