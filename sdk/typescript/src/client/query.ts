// query.ts: queries written in TypeScript: SQL for the server, a filter for what is here already.
//
//   tables.player.where(p => p.level.gte(10).and(p.team.eq('red')))
//     .toSql()     SELECT * FROM "player" WHERE ("level" >= 10 AND "team" = 'red')
//     .matches()   the same question about a row in the cache
//
// The cache holds the rows of all subscriptions together, so a hook that shows one query asks both.
import type { Codec } from '../core/bytes.js';
import { ConnectionId, Identity, Timestamp, Uuid } from '../core/ids.js';

/** What a column is compared with: what its values are, wrapped values by their wrapper. */
export type Comparable = string | number | bigint | boolean | Identity | ConnectionId | Timestamp | Uuid | Uint8Array;

/** A value as a primitive that `===` and `<` compare as the database does. */
export function primitiveOf(value: unknown): string | number | bigint | boolean | undefined {
  if (typeof value !== 'object' || value === null) return value as string;
  if (value instanceof Uint8Array) return bytesText(value);
  if ('tag' in value) {
    const inner = (value as { value?: unknown }).value;
    return inner === undefined ? String(value.tag) : `${String(value.tag)}:${String(primitiveOf(inner))}`;
  }
  const plain: unknown = value.valueOf();
  if (typeof plain !== 'object') return plain as bigint;
  return JSON.stringify(value, (_key, part: unknown) => (typeof part === 'bigint' ? `${part}n` : part));
}

/** A value as a primitive that is equal when it is: what maps are keyed by. */
export function keyOf(value: unknown): string | number | bigint | boolean {
  if (typeof value !== 'object' || value === null) return value as string;
  const { key } = value as { key?: unknown };
  return typeof key === 'function' ? (key.call(value) as string) : primitiveOf(value)!;
}

export function bytesText(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i++) text += String.fromCharCode(bytes[i]!);
  return text;
}

function hex(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += byte.toString(16).padStart(2, '0');
  return text;
}

export function sqlLiteral(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return `'${value.replaceAll("'", "''")}'`;
    case 'number':
      if (!Number.isFinite(value)) throw new RangeError(`${value} cannot be written in SQL`);
      return String(value);
    case 'bigint':
      return value.toString();
    case 'boolean':
      return value ? 'TRUE' : 'FALSE';
  }
  if (value instanceof Identity || value instanceof ConnectionId) return `0x${value.toHexString()}`;
  if (value instanceof Uuid) return `0x${value.toString().replaceAll('-', '')}`;
  if (value instanceof Timestamp) return `'${value.toISOString()}'`;
  if (value instanceof Uint8Array) return `0x${hex(value)}`;
  throw new TypeError(`A query cannot compare with ${String(value)}`);
}

const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;
const tableName = (name: string) => name.split('.').map(quoted).join('.');

type Operator = '=' | '<>' | '<' | '<=' | '>' | '>=';

/** A condition on one row. */
export class Predicate {
  constructor(
    readonly sql: string,
    readonly test: (row: any) => boolean
  ) {}
  and(...others: Predicate[]): Predicate {
    const all = [this, ...others];
    return new Predicate(`(${all.map(p => p.sql).join(' AND ')})`, row => all.every(p => p.test(row)));
  }
  or(...others: Predicate[]): Predicate {
    const all = [this, ...others];
    return new Predicate(`(${all.map(p => p.sql).join(' OR ')})`, row => all.some(p => p.test(row)));
  }
  not(): Predicate {
    return new Predicate(`(NOT ${this.sql})`, row => !this.test(row));
  }
}

function holds(operator: Operator, a: any, b: any): boolean {
  switch (operator) {
    case '=':
      return a === b;
    case '<>':
      return a !== b;
    case '<':
      return a < b;
    case '<=':
      return a <= b;
    case '>':
      return a > b;
    case '>=':
      return a >= b;
  }
}

/** A column in a condition. */
export class Column<T = any> {
  constructor(
    readonly table: string,
    readonly key: string,
    readonly column: string
  ) {}
  private compare(operator: Operator, value: T | Column<T>): Predicate {
    const { key } = this;
    const left = `${tableName(this.table)}.${quoted(this.column)}`;
    const plain = operator === '=' || operator === '<>' ? keyOf : primitiveOf;
    if (value instanceof Column) {
      const right = `${tableName(value.table)}.${quoted(value.column)}`;
      const other = value.key;
      return new Predicate(`${left} ${operator} ${right}`, row => holds(operator, plain(row[key]), plain(row[other])));
    }
    const wanted = plain(value);
    return new Predicate(`${left} ${operator} ${sqlLiteral(value)}`, row => holds(operator, plain(row[key]), wanted));
  }
  eq(value: T | Column<T>): Predicate {
    return this.compare('=', value);
  }
  ne(value: T | Column<T>): Predicate {
    return this.compare('<>', value);
  }
  lt(value: T | Column<T>): Predicate {
    return this.compare('<', value);
  }
  lte(value: T | Column<T>): Predicate {
    return this.compare('<=', value);
  }
  gt(value: T | Column<T>): Predicate {
    return this.compare('>', value);
  }
  gte(value: T | Column<T>): Predicate {
    return this.compare('>=', value);
  }
}

export type Columns<Row> = { readonly [K in keyof Row & string]-?: Column<NonNullable<Row[K]>> };

export interface TableOptions {
  readonly primaryKey?: string;
  readonly unique?: readonly string[];
  /** Columns of each index, by the name it is used by. */
  readonly indexes?: { readonly [accessor: string]: readonly string[] };
  /** Names in the database of columns that are not called as their keys are. */
  readonly columns?: { readonly [key: string]: string };
  readonly event?: boolean;
}

/** Semijoin: the rows of one table that have a partner in the other. */
export interface Join {
  readonly other: Query<any>;
  readonly key: string;
  readonly otherKey: string;
  readonly sql: string;
}

/** Rows of one table, all or some: what hooks and subscriptions take. */
export class Query<Row> {
  declare readonly row: Row;
  constructor(
    readonly source: TableDef<Row, TableOptions>,
    readonly predicate: Predicate | undefined,
    readonly join: Join | undefined = undefined
  ) {}
  where(condition: (row: Columns<Row>) => Predicate): Query<Row> {
    const more = condition(this.source.columns);
    return new Query(this.source, this.predicate ? this.predicate.and(more) : more, this.join);
  }
  filter(condition: (row: Columns<Row>) => Predicate): Query<Row> {
    return this.where(condition);
  }
  /** Rows of this that have a partner there. */
  leftSemijoin<Other>(
    other: Query<Other>,
    on: (mine: Columns<Row>, theirs: Columns<Other>) => Predicate
  ): Query<Row> {
    return joined(this, other, on);
  }
  /** Rows of the other that have a partner here. */
  rightSemijoin<Other>(
    other: Query<Other>,
    on: (mine: Columns<Row>, theirs: Columns<Other>) => Predicate
  ): Query<Other> {
    return joined(other, this, (theirs, mine) => on(mine, theirs));
  }
  toSql(): string {
    const name = tableName(this.source.name);
    const where = [this.predicate?.sql, this.join?.other.predicate?.sql].filter(Boolean).join(' AND ');
    const from = this.join
      ? `${name}.* FROM ${name} JOIN ${tableName(this.join.other.source.name)} ON ${this.join.sql}`
      : `* FROM ${name}`;
    return `SELECT ${from}${where ? ` WHERE ${where}` : ''}`;
  }
  build(): string {
    return this.toSql();
  }
  toString(): string {
    return this.toSql();
  }
}

function joined<Row, Other>(
  query: Query<Row>,
  other: Query<Other>,
  on: (mine: Columns<Row>, theirs: Columns<Other>) => Predicate
): Query<Row> {
  if (query.join || other.join) throw new TypeError('A query joins two tables at most');
  let pair: [Column, Column] | undefined;
  // The condition is one equality; asked with columns that note who they are compared with.
  const noting = (columns: Columns<any>) =>
    new Proxy(columns as object, {
      get: (_target, key: string) => {
        const column = (columns as Record<string, Column>)[key];
        return {
          column,
          eq: (partner: { column: Column }) => {
            pair = [column!, partner.column];
            return column!.eq(partner.column);
          },
        };
      },
    }) as Columns<any>;
  const predicate = on(noting(query.source.columns) as Columns<Row>, noting(other.source.columns) as Columns<Other>);
  if (!pair) throw new TypeError('A join is on one column being equal to another');
  const [a, b] = pair;
  const [mine, theirs] = a.table === query.source.name ? [a, b] : [b, a];
  return new Query(query.source, query.predicate, {
    other,
    key: mine.key,
    otherKey: theirs.key,
    sql: predicate.sql,
  });
}

/** A table or a view: what generated bindings say about it. Itself the query for all its rows. */
export class TableDef<Row, O extends TableOptions = TableOptions> extends Query<Row> {
  private made: Columns<Row> | undefined;
  constructor(
    readonly name: string,
    readonly codec: Codec<Row>,
    readonly options: O
  ) {
    super(undefined as never, undefined);
    (this as { source: unknown }).source = this;
  }
  get columns(): Columns<Row> {
    const names = this.options.columns ?? {};
    return (this.made ??= new Proxy<Record<string, Column>>({}, {
      get: (made, key: string) =>
        (made[key] ??= new Column(this.name, key, Object.hasOwn(names, key) ? names[key]! : key)),
    }) as Columns<Row>);
  }
}

export function table<Row, const O extends TableOptions>(
  name: string,
  codec: Codec<Row>,
  options: O
): TableDef<Row, O> {
  return new TableDef(name, codec, options);
}
