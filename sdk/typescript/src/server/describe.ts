// describe.ts: a schema as the module definition that the database reads, version 10.
//
// Types that have fields or variants become entries of the typespace, with a name; everything else refers
// to them by number. One without a name of its own is called after the place where it was first used.
import { Writer } from '../core/bytes.js';
import type { AnyType, Member, Shape, SimpleKind } from '../core/types.js';
import type { Definition, FunctionSpec } from './schema.js';
import { indexesOf, indexName, isUnique, type TableSpec } from './tables.js';
import { writeMethod } from './http.js';

const TAG: Partial<Record<SimpleKind, number>> = {
  string: 4, bool: 5, i8: 6, u8: 7, i16: 8, u16: 9, i32: 10, u32: 11, i64: 12, u64: 13,
  i128: 14, u128: 15, i256: 16, u256: 17, f32: 18, f64: 19,
};
const REF = 0, SUM = 1, PRODUCT = 2, ARRAY = 3, BYTE = 7;

export function pascal(name: string): string {
  return name
    .split(/[^A-Za-z0-9\u0080-\uffff]+|(?<=[a-z0-9])(?=[A-Z])/)
    .filter(Boolean)
    .map(word => word[0]!.toUpperCase() + word.slice(1))
    .join('');
}

const elements = (w: Writer, members: readonly (readonly [string, (w: Writer) => void])[]) =>
  w.array(members, (w, [name, type]) => {
    w.option(name, (w, name) => w.string(name));
    type(w);
  });

class Types {
  readonly entries: Uint8Array[] = [];
  readonly names: { name: string; ref: number }[] = [];
  private readonly refs = new Map<Shape, number>();

  ref(type: AnyType, place: string): number {
    const { shape } = type;
    const known = this.refs.get(shape);
    if (known !== undefined) return known;
    if (shape.kind !== 'product' && shape.kind !== 'sum') throw new TypeError(`${place} is not a type with a name`);
    const ref = this.entries.length;
    this.refs.set(shape, ref); // before its members, which may mention it
    this.entries.push(new Uint8Array(0));
    const name = shape.name ?? pascal(place);
    this.names.push({ name: pascal(name), ref });
    const w = new Writer();
    w.u8(shape.kind === 'sum' ? SUM : PRODUCT);
    this.members(w, shape.members(), name);
    this.entries[ref] = w.finish();
    return ref;
  }
  private members(w: Writer, members: readonly Member[], place: string): void {
    elements(
      w,
      members.map(({ name, type }) => [
        type.options.columnName ?? name,
        (w: Writer) => this.type(w, type, `${place}_${name}`),
      ])
    );
  }
  /** ProductType: parameters. */
  product(w: Writer, fields: Readonly<Record<string, AnyType>>, place: string): void {
    this.members(w, Object.keys(fields).map(name => ({ name, type: fields[name]! })), place);
  }
  type(w: Writer, type: AnyType, place: string): void {
    const { shape } = type;
    const wrapped = (field: string, tag: number) => {
      w.u8(PRODUCT);
      elements(w, [[field, w => w.u8(tag)]]);
    };
    const sum = (variants: [string, (w: Writer) => void][]) => {
      w.u8(SUM);
      elements(w, variants);
    };
    const unit = (w: Writer) => {
      w.u8(PRODUCT);
      w.u32(0);
    };
    switch (shape.kind) {
      case 'array':
        w.u8(ARRAY);
        return this.type(w, shape.element, place);
      case 'bytes':
        w.u8(ARRAY);
        return w.u8(BYTE);
      case 'option':
        return sum([['some', w => this.type(w, shape.element, place)], ['none', unit]]);
      case 'result':
        return sum([['ok', w => this.type(w, shape.ok, place)], ['err', w => this.type(w, shape.err, place)]]);
      case 'unit':
        return unit(w);
      case 'never':
        return sum([]);
      case 'identity':
        return wrapped('__identity__', TAG.u256!);
      case 'connectionId':
        return wrapped('__connection_id__', TAG.u128!);
      case 'timestamp':
        return wrapped('__timestamp_micros_since_unix_epoch__', TAG.i64!);
      case 'timeDuration':
        return wrapped('__time_duration_micros__', TAG.i64!);
      case 'uuid':
        return wrapped('__uuid__', TAG.u128!);
      case 'scheduleAt':
        return sum([
          ['Interval', w => this.type(w, { shape: { kind: 'timeDuration' } } as AnyType, place)],
          ['Time', w => this.type(w, { shape: { kind: 'timestamp' } } as AnyType, place)],
        ]);
      case 'product':
      case 'sum':
        w.u8(REF);
        return w.u32(this.ref(type, place));
      default:
        return w.u8(TAG[shape.kind]!);
    }
  }
}

const none = (w: Writer) => w.u8(1);
const some = (w: Writer, text: string | undefined) => w.option(text, (w, text) => w.string(text));

function columnPositions({ columns }: TableSpec): Map<string, number> {
  return new Map(Object.keys(columns).map((key, position) => [key, position]));
}

const ALGORITHM = { btree: 0, hash: 1, direct: 2 };

function writeTable(w: Writer, types: Types, source: string, spec: TableSpec): void {
  const keys = Object.keys(spec.columns);
  const at = columnPositions(spec);
  const position = (key: string): number => {
    const found = at.get(key);
    if (found === undefined) throw new TypeError(`Table ${source} has no column ${key}`);
    return found;
  };
  const columnsWith = (test: (key: string) => unknown) => keys.filter(test);
  const options = (key: string) => spec.columns[key]!.options;
  w.string(source);
  w.u32(types.ref(spec.rowType, source));
  w.array(columnsWith(key => options(key).primaryKey), (w, key) => w.u16(position(key)));
  w.array(indexesOf(spec), (w, index) => {
    const columns = index.columns.map(position);
    some(w, indexName(source, spec.columns, index));
    some(w, index.accessor);
    w.u8(ALGORITHM[index.algorithm]);
    if (index.algorithm === 'direct') w.u16(columns[0]!);
    else w.array(columns, (w, column) => w.u16(column));
  });
  w.array(columnsWith(key => isUnique(options(key))), (w, key) => {
    none(w);
    w.u8(0);
    w.array([position(key)], (w, column) => w.u16(column));
  });
  w.array(columnsWith(key => options(key).autoInc), (w, key) => {
    none(w);
    w.u16(position(key));
    none(w);
    none(w);
    none(w);
    w.i128(1n);
  });
  w.u8(1); // a user's table
  w.u8(spec.options.public ? 0 : 1);
  w.array(columnsWith(key => options(key).defaultValue), (w, key) => {
    w.u16(position(key));
    w.sized(w => spec.columns[key]!.codec.write(w, options(key).defaultValue!.value));
  });
  w.bool(spec.options.event === true);
}

const visible = (w: Writer) => w.u8(1);
const params = (w: Writer, types: Types, fn: FunctionSpec) => types.product(w, fn.params, fn.name);

/** The columns of a view's rows that are its primary key. */
function viewKey({ returns }: FunctionSpec): string[] {
  const shape = returns!.shape;
  if (shape.kind !== 'array' && shape.kind !== 'option') return [];
  const row = shape.element.shape;
  if (row.kind !== 'product') return [];
  return row.members().filter(({ type }) => type.options.primaryKey).map(({ name, type }) => type.options.columnName ?? name);
}

function writeSections(w: Writer, definition: Definition): void {
  const types = new Types();
  const sections: [number, (w: Writer) => void][] = [];
  const section = <T>(tag: number, list: readonly T[], each: (w: Writer, item: T) => void) => {
    if (list.length === 0) return;
    const body = new Writer();
    body.array(list, each);
    sections.push([tag, w => w.raw(body.written())]);
  };
  const { reducers, procedures, views, handlers } = definition;
  section(2, definition.tables, (w, { source, spec }) => writeTable(w, types, source, spec));
  section(3, reducers, (w, fn) => {
    w.string(fn.name);
    params(w, types, fn);
    visible(w);
    w.u8(PRODUCT); // ok: unit
    w.u32(0);
    w.u8(TAG.string!);
  });
  section(4, procedures, (w, fn) => {
    w.string(fn.name);
    params(w, types, fn);
    types.type(w, fn.returns!, `${fn.name}_result`);
    visible(w);
  });
  section(5, views, (w, view) => {
    w.string(view.name);
    w.u32(view.index);
    w.bool(view.isPublic);
    w.bool(view.isAnonymous);
    params(w, types, view);
    types.type(w, view.returns!, `${view.name}_row`);
  });
  const scheduled = definition.tables.filter(({ spec }) => spec.options.scheduled);
  section(6, scheduled, (w, { source, spec }) => {
    const at = Object.values(spec.columns).findIndex(({ shape }) => shape.kind === 'scheduleAt');
    if (at < 0) throw new TypeError(`The scheduled table ${source} has no column of type t.scheduleAt()`);
    none(w);
    w.string(source);
    w.u16(at);
    w.string(definition.nameOf(spec.options.scheduled!(), `scheduled by ${source}`));
  });
  section(7, reducers.filter(fn => fn.lifecycle !== undefined), (w, fn) => {
    w.u8(fn.lifecycle!);
    w.string(fn.name);
  });
  section(8, definition.rules, (w, sql) => w.string(sql));
  sections.push([9, w => w.u8(1)]); // names become snake_case
  const indexNames = definition.tables.flatMap(({ source, spec }) =>
    indexesOf(spec)
      .filter(index => index.explicitName !== undefined)
      .map(index => [2, indexName(source, spec.columns, index), index.explicitName!] as const)
  );
  const tableNames = definition.tables
    .filter(({ spec }) => spec.options.name !== undefined)
    .map(({ source, spec }) => [0, source, spec.options.name!] as const);
  const functionNames = [...reducers, ...procedures, ...views, ...handlers]
    .filter(fn => fn.explicitName !== undefined)
    .map(fn => [1, fn.name, fn.explicitName!] as const);
  section(10, [...tableNames, ...functionNames, ...indexNames], (w, [kind, source, canonical]) => {
    w.u8(kind);
    w.string(source);
    w.string(canonical);
  });
  section(11, handlers, (w, fn) => w.string(fn.name));
  section(12, definition.routes, (w, { method, path, handler }) => {
    w.string(definition.nameOf(handler, `the handler of ${path}`));
    if (method === undefined) {
      w.u8(0);
    } else {
      w.u8(1);
      writeMethod(w, method);
    }
    w.string(path);
  });
  section(13, views.filter(view => viewKey(view).length > 0), (w, view) => {
    w.string(view.name);
    w.array(viewKey(view), (w, column) => w.string(column));
  });
  section(14, definition.submodules, (w, { namespace, definition }) => {
    w.string(namespace);
    writeSections(w, definition);
  });
  // Last, when all of them are known.
  section(0, types.entries, (w, entry) => w.raw(entry));
  section(1, types.names, (w, { name, ref }) => {
    w.u32(0);
    w.string(name);
    w.u32(ref);
    w.bool(true);
  });
  w.array(sections, (w, [tag, body]) => {
    w.u8(tag);
    body(w);
  });
}

const VERSION_10 = 2;

export function describe(definition: Definition): Uint8Array {
  const w = new Writer(4096);
  w.u8(VERSION_10);
  writeSections(w, definition);
  return w.finish();
}
