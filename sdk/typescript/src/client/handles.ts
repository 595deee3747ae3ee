// handles.ts: a table as applications use it (connection.db.x), and as guesses change it (draft.x).
import type { Bound, DraftTable, EventContext, RowCallback, TableBase, Tree, UpdateCallback } from './module.js';
import { TableDef } from './query.js';
import type { Change, Store } from './store.js';

type AnyContext = EventContext<any>;

// Private names, because the columns of the table become properties beside these.
class TableView implements TableBase<any> {
  readonly tableName: string;
  readonly #inserted = new Set<RowCallback<any>>();
  readonly #deleted = new Set<RowCallback<any>>();
  readonly #updated = new Set<UpdateCallback<any>>();
  #isListening = false;
  readonly #store: Store;
  readonly #context: () => AnyContext;
  constructor(store: Store, context: () => AnyContext) {
    this.#store = store;
    this.#context = context;
    this.tableName = store.name;
  }
  count(): bigint {
    return BigInt(this.#store.size);
  }
  iter(): IterableIterator<any> {
    return this.#store.iter();
  }
  [Symbol.iterator](): IterableIterator<any> {
    return this.#store.iter();
  }
  // Changes are accounted for only where somebody wants to hear of them.
  #listen(): void {
    const wanted = this.#inserted.size + this.#deleted.size + this.#updated.size > 0;
    if (wanted === this.#isListening) return;
    this.#isListening = wanted;
    if (wanted) this.#store.onChange.add(this.#tell);
    else this.#store.onChange.delete(this.#tell);
  }
  readonly #tell = (changes: readonly Change<any>[]) => {
    const context = this.#context();
    for (const { before, after } of changes) {
      if (before === undefined) for (const each of this.#inserted) guard(() => each(context, after));
      else if (after === undefined) for (const each of this.#deleted) guard(() => each(context, before));
      else for (const each of this.#updated) guard(() => each(context, before, after));
    }
  };
  #add<F>(set: Set<F>, callback: F): () => void {
    set.add(callback);
    this.#listen();
    return () => this.#remove(set, callback);
  }
  #remove<F>(set: Set<F>, callback: F): void {
    set.delete(callback);
    this.#listen();
  }
  onInsert(callback: RowCallback<any>): () => void {
    return this.#add(this.#inserted, callback);
  }
  onDelete(callback: RowCallback<any>): () => void {
    return this.#add(this.#deleted, callback);
  }
  onUpdate(callback: UpdateCallback<any>): () => void {
    return this.#add(this.#updated, callback);
  }
  removeOnInsert(callback: RowCallback<any>): void {
    this.#remove(this.#inserted, callback);
  }
  removeOnDelete(callback: RowCallback<any>): void {
    this.#remove(this.#deleted, callback);
  }
  removeOnUpdate(callback: UpdateCallback<any>): void {
    this.#remove(this.#updated, callback);
  }
}

// A listener that throws must not keep others from hearing, nor the tables from being right.
export function guard(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

function isBound(value: unknown): value is Bound<any> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype && !('tag' in value);
}

function* filtered(store: Store, columns: readonly string[], value: unknown): IterableIterator<any> {
  if (columns.length === 1 && isBound(value)) {
    const { from, after, to, before } = value;
    for (const row of store.iter()) {
      const it = row[columns[0]!] as any;
      if (from !== undefined && !(it >= from)) continue;
      if (after !== undefined && !(it > after)) continue;
      if (to !== undefined && !(it <= to)) continue;
      if (before !== undefined && !(it < before)) continue;
      yield row;
    }
    return;
  }
  const values: unknown[] = columns.length > 1 && Array.isArray(value) ? value : [value];
  const used = columns.slice(0, values.length);
  const index = store.index(used);
  const wanted = Object.fromEntries(used.map((column, i) => [column, values[i]]));
  yield* index.rows.get(index.keyOf(wanted)) ?? [];
}

export function tableHandle(store: Store, context: () => AnyContext): TableBase<any> {
  const view = new TableView(store, context);
  const { primaryKey, unique = [], indexes = {} } = store.def.options;
  const put = (name: string, access: object) => {
    if (!(name in view)) Object.defineProperty(view, name, { value: access, enumerable: true });
  };
  for (const column of new Set(primaryKey === undefined ? unique : [primaryKey, ...unique]))
    put(column, { find: (value: unknown) => store.find(column, value) });
  for (const accessor of Object.keys(indexes))
    put(accessor, { filter: (value: unknown) => filtered(store, indexes[accessor]!, value) });
  return view;
}

export function draftTable(store: Store): DraftTable<any, any> {
  return {
    insert: row => store.guess(store.keyOf(row), row),
    update: row => store.guess(store.keyOf(row), row),
    delete: row => store.guess(store.keyOf(row), undefined),
    find: key =>
      store.def.options.primaryKey === undefined
        ? store.visible(store.keyOf(key))
        : store.find(store.def.options.primaryKey, key),
    iter: () => store.list().values() as IterableIterator<any>,
  };
}

export function mapTree<Leaf, To>(tree: Tree<Leaf>, isLeaf: (value: unknown) => boolean, to: (leaf: Leaf) => To): any {
  const made: Record<string, unknown> = {};
  for (const name of Object.keys(tree)) {
    const value = tree[name];
    made[name] = isLeaf(value) ? to(value as Leaf) : mapTree(value as Tree<Leaf>, isLeaf, to);
  }
  return made;
}

export const isTable = (value: unknown): boolean => value instanceof TableDef;
