// fixtures.mjs: the fixtures of tests/conformance as TypeScript modules.
//
//   table u(i U64, a U64) index i            a table: see tests/conformance/sql/README.md
//   view lhs(id U64, ok Bool)                the columns of a view that a line of code defines
//   rule SELECT …                            row-level security
//   code export const lhs = db.view(…);      as it is
import { bundle } from './support.mjs';

const types = {
  Identity: 't.identity()', ConnectionId: 't.connectionId()', Uuid: 't.uuid()', Timestamp: 't.timestamp()',
  TimeDuration: 't.timeDuration()', 'Array<U8>': 't.byteArray()', 'Array<String>': 't.array(t.string())',
  'Option<U32>': 't.option(t.u32())', 'A|B': "t.enum('Kind', ['A', 'B'])",
};

// Of errors, by what they say (specification, error catalogue).
export const classes = {
  PARSE: /sql parser error: |Unsupported expression/, EMPTY: /Empty SQL query/, MULTI: /Multiple SQL statements/,
  UNSUP: /Unsupported(: | SELECT: )/, UNSUP_EXPR: /Unsupported (expression|binary operator|literal expression): /,
  JOIN_TYPE: /Non-inner joins/, IMPLICIT_JOIN: /Implicit joins/, NO_FROM: /A FROM clause is required/,
  UNQUALIFIED: /Names must be qualified/, PROJ: /projection|SELECT \* is not supported for joins/,
  AGG: /Aggregate expressions must|Unsupported aggregate/, DML_SHAPE: /Unsupported|Multi-table DELETE/,
  NO_TABLE: /no such table: `/, NO_NAME: /` is not in scope|does not have a field/, LITERAL: /The literal expression `|Cannot resolve type/,
  TYPE: /Unexpected type: /, OP: /Invalid binary operator `/, DUP: /Duplicate name `/, RETURN_TYPE: /Column projections are not/,
  INS: /The number of fields \(|Inserting a row with/, DML_AUTH: / is not authorized to run /, VAR: /not a valid system variable/,
  LENGTH: /exceeds maximum allowed length/, ROW_LIMIT: /Estimated cardinality/, RLS_CYCLE: /cyclic dependency/,
  UNIQUE: /Unique constraint violation '/, NO_INDEX: /require indexes/, EVENT_LOOKUP: /Event tables cannot be/,
  SUB_ID: /already exists for client|Subscription not found|Client not found/, N_TABLES: /Invalid number of tables in subscription/,
  EVENT_V1: /requires WebSocket v2/, UNSUP_FROM: /Unsupported FROM expression|sql parser error/,
};

// Its tables and views: [{ kind, name, columns: [[name, type], …], options }].
export function relationsOf(fixture) {
  return fixture.flatMap(line => {
    const found = /^(table|view) (\w+)\(([^)]*)\)(.*)$/.exec(line);
    if (!found) return [];
    const [, kind, name, columns, options] = found;
    return [{ kind, name, options, columns: columns.split(', ').map(column => column.split(' ')) }];
  });
}

const marksOf = (column, options) => ['pk', 'autoinc', 'unique', 'index']
  .filter(mark => new RegExp(`\\b${mark} ${column}(?![\\w,])`).test(options))
  .map(mark => ({ pk: '.primaryKey()', autoinc: '.autoInc()', unique: '.unique()', index: ".index('btree')" })[mark]);

// A reducer that puts and takes rows as it is told: `tx('[["+","u",[1,2]],["-","v",[3]],["!","why"]]')`.
const writer = tables => `
const columnsOf = ${JSON.stringify(Object.fromEntries(tables.map(({ name, columns }) => [name, columns])))};
const valueOf = (type, value) =>
  /^[UI](64|128|256)$/.test(type) ? BigInt(value) : /^F/.test(type) ? Number(value) : type === 'Identity' ? Identity.fromString(value) : value;
export const tx = db.reducer({ ops: t.string() }, (ctx, { ops }) => {
  for (const [what, name, values] of JSON.parse(ops)) {
    if (what === '!') throw new SenderError(name);
    const row = Object.fromEntries(columnsOf[name].map(([column, type], i) => [column, valueOf(type, values[i])]));
    if (what === '+') ctx.db[name].insert(row);
    else if (!ctx.db[name].delete(row)) throw new SenderError(name + ' has no such row');
  }
});`;

export function moduleOf(fixture, { writes = false } = {}) {
  const tables = relationsOf(fixture).filter(one => one.kind === 'table');
  const lines = word => fixture.filter(line => line.startsWith(`${word} `)).map(line => line.slice(word.length + 1));
  const made = tables.map(({ name, columns, options }) => {
    const fields = columns.map(([key, type]) =>
      `${key}: ${types[type] ?? `t.${type.toLowerCase()}()`}${marksOf(key, options).join('')}.name('${key}')`);
    const more = options.includes('event') ? ', event: true' : '';
    return `const table_${name} = table({ name: '${name}', public: ${!options.includes('private')}${more} }, { ${fields.join(', ')} });`;
  });
  return bundle(`import { schema, SenderError, table, t } from 'spacetimedb/server';
    import { Identity } from 'spacetimedb';
    ${made.join('\n')}
    const db = schema({ ${tables.map(({ name }) => `${name}: table_${name}`).join(', ')} });
    export default db;
    ${lines('rule').map((rule, i) => `export const rule${i} = db.clientVisibilityFilter.sql(${JSON.stringify(rule)});`).join('\n')}
    ${lines('code').join('\n')}
    ${writes ? writer(tables) : ''}`);
}
