// Every change that a new version of a module can make to the tables of the old one, carried out on a
// database with rows in it and a client connected (module-abi §6.2, §6.4): what happens to the rows,
// what the log says, who is disconnected, and in which words the impossible is refused.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { bundle, call, callOk, enc, http, logs, newIdentity, published, publish, rows, session, sql, startServer, w } from './support.mjs';

let server, ann;
const open = [];

before(async () => {
  server = await startServer();
  ann = await newIdentity(server);
});
after(async () => {
  for (const socket of open) socket.drop();
  await server?.end();
});

const as = (more = {}) => ({ token: ann.token, ...more });

// A module from the options and the columns of its tables; `t` is the one with rows.
function module({
  options = "name: 't', public: true",
  columns = 'a: t.u32().primaryKey(), b: t.string()',
  row = "{ a: n, b: 'row ' + n }",
  before = '',
  tables = {},
  more = '',
  fill = 3,
  settings = '',
} = {}) {
  const others = Object.entries(tables).map(([name, text]) => `const ${name} = table(${text});`).join('\n');
  return bundle(`
    import { schema, table, t, SenderError, CaseConversionPolicy } from 'spacetimedb/server';
    ${before}
    const main = table({ ${options} }, { ${columns} });
    ${others}
    const db = schema({ t: main, ${Object.keys(tables).join(', ')} }${settings});
    export default db;
    export const fill = db.reducer(ctx => {
      for (let n = 1; n <= ${fill}; n++) ctx.db.t.insert(${row} as any);
    });
    ${more}
  `);
}
const plain = module();
const three = [[1, 'row 1'], [2, 'row 2'], [3, 'row 3']];
const noKey = { columns: 'a: t.u32(), b: t.string()' };
const keyed = (more = '') => `a: t.u32().primaryKey(), b: t.string()${more}`;
const timer = scheduled => ({
  tables: {
    timer: `{ name: 'timer'${scheduled ? ', scheduled: (): any => tick' : ''} }, { id: t.u64().primaryKey().autoInc(), at: t.scheduleAt() }`,
  },
  more: 'export const tick = db.reducer({ row: timer.rowType }, () => {});',
});
const mood = (...names) => `const Mood = t.enum('Mood', [${names.map(n => `'${n}'`).join(', ')}]);`;
const moody = (...names) => ({ before: mood(...names), columns: 'a: t.u32().primaryKey(), m: Mood', row: "{ a: n, m: { tag: 'one' } }" });
const sum = text => ({ before: `const S = t.enum('S', { ${text} });`, columns: 'a: t.u32().primaryKey(), s: S', row: "{ a: n, s: { tag: 'x', value: n } }" });
const product = text => ({
  before: `const P = t.object('P', { ${text} });`,
  columns: 'a: t.u32().primaryKey(), p: P',
  row: '{ a: n, p: { x: n, y: n } }',
});
const view = (returns = 't.array(main.rowType)', kind = 'anonymousView', body = '[...ctx.db.t.iter()]', name = 'seen') => ({
  more: `export const ${name} = db.${kind}({ name: '${name}', public: true }, ${returns}, (ctx: any) => ${body});`,
});
const one = "t.row('One', { a: t.u32() })";

// [what, from, to, {said: lines of the log in their order, breaks, rows, query}]
const allowed = [
  ['a table is added', {}, { tables: { extra: "{ name: 'extra', public: true }, { id: t.u32().primaryKey() }" } },
    { said: ['Creating table `extra`'] }],
  ['an empty table is removed', { tables: { extra: "{ name: 'extra', public: true }, { id: t.u32().primaryKey() }" } }, {},
    { said: ['Dropping table `extra`', 'Disconnecting all users'], breaks: true }],
  ['an empty table is renamed', { tables: { old: "{ name: 'old' }, { id: t.u32() }" } }, { tables: { young: "{ name: 'young' }, { id: t.u32() }" } },
    { said: ['Dropping table `old`', 'Creating table `young`', 'Disconnecting all users'], breaks: true }],
  ['columns are appended with defaults',
    {}, { columns: keyed(", c: t.u64().default(7n), d: t.string().default('new'), e: t.bool().default(true), f: t.i8().default(-1)"), row: "{ a: n, b: '', c: 0n, d: '', e: false, f: 0 }" },
    { said: ['Disconnecting all users'], breaks: true, rows: three.map(row => [...row, 7, 'new', true, -1]) }],
  ['another column’s type may change in the same go',
    moody('one'), { before: mood('one', 'two'), columns: "a: t.u32().primaryKey(), m: Mood, c: t.u8().default(9)", row: "{ a: n, m: { tag: 'one' }, c: 1 }" },
    { said: ['Disconnecting all users'], breaks: true, rows: [1, 2, 3].map(a => [a, [0, []], 9]) }],
  ['a plain enum gets a variant at its end', moody('one', 'two'), moody('one', 'two', 'three'),
    { said: ['Changing columns of table `t`'], rows: [1, 2, 3].map(a => [a, [0, []]]) }],
  ['a variant that takes no more room is appended', sum('x: t.u32(), y: t.string()'), sum('x: t.u32(), y: t.string(), z: t.f32()'),
    { said: ['Changing columns of table `t`'], rows: [1, 2, 3].map(a => [a, [0, a]]) }],
  ['an event table’s columns become others',
    { tables: { moment: "{ name: 'moment', public: true, event: true }, { text: t.string() }" } },
    { tables: { moment: "{ name: 'moment', public: true, event: true }, { n: t.u8(), more: t.bool() }" } },
    { said: ['Changing schema of event table `moment`', 'Disconnecting all users'], breaks: true }],
  ['a public table becomes private', {}, { options: "name: 't'" }, { owner: true }],
  ['a private table becomes public', { options: "name: 't'" }, {}, { owner: true }],
  ['the primary key is taken away', { columns: keyed() }, { columns: "a: t.u32().unique(), b: t.string()" },
    { said: ['Changing primary key for table `t`'] }],
  ['a unique column becomes the primary key', { columns: 'a: t.u32().unique(), b: t.string()' }, { columns: keyed() },
    { said: ['Changing primary key for table `t`'] }],
  ['an index is added', {}, { columns: "a: t.u32().primaryKey(), b: t.string().index('btree')" },
    { said: ['Creating index `t_b_idx_btree` on table `t`'], query: "SELECT * FROM t WHERE b = 'row 2'", rows: [[2, 'row 2']] }],
  ['an index is removed', { columns: "a: t.u32().primaryKey(), b: t.string().index('btree')" }, {},
    { said: ['Dropping index `t_b_idx_btree` on table `t`'], query: "SELECT * FROM t WHERE b = 'row 2'", rows: [[2, 'row 2']] }],
  ['an index changes its algorithm', { columns: "a: t.u32().primaryKey(), b: t.string().index('btree')" },
    { columns: "a: t.u32().primaryKey(), b: t.string().index('hash')" },
    { said: ['Dropping index `t_b_idx_btree` on table `t`', 'Creating index `t_b_idx_hash` on table `t`'] }],
  ['a unique constraint is added', {}, { columns: 'a: t.u32().primaryKey(), b: t.string().unique()' },
    { said: ['Creating index `t_b_idx_btree` on table `t`', 'Adding constraint `t_b_key` on table `t`'] }],
  ['a unique constraint is removed', { columns: 'a: t.u32().primaryKey(), b: t.string().unique()' }, {},
    { said: ['Dropping index `t_b_idx_btree` on table `t`', 'Dropping constraint `t_b_key` on table `t`'] }],
  ['a sequence is removed', { columns: 'a: t.u32().primaryKey().autoInc(), b: t.string()', row: "{ a: 0, b: 'row ' + n }" }, {},
    { said: ['Dropping sequence `t_a_seq` from table `t`'] }],
  ['a sequence is added where nothing is in its way', { row: "{ a: 0, b: 'zero' }", fill: 1 },
    { columns: 'a: t.u32().primaryKey().autoInc(), b: t.string()', row: "{ a: 0, b: 'zero' }" },
    { said: ['Adding sequence `t_a_seq` to table `t`'], rows: [[0, 'zero']] }],
  ['the accessor of a column changes', { columns: 'a: t.u32().primaryKey(), bB: t.string()', row: "{ a: n, bB: 'row ' + n }" },
    { columns: 'a: t.u32().primaryKey(), b_b: t.string()', row: "{ a: n, b_b: 'row ' + n }" },
    { said: ['Changing column accessor name for `t`.`b_b` to `b_b`'] }],
  ['a view is added', {}, view(), { said: [] }],
  ['a view is removed', view(), {}, { said: ['Disconnecting all users'], breaks: true }],
  ['a view returns other rows', view(), view(`t.array(${one})`, 'anonymousView', '[{ a: 1 }]'), { said: ['Disconnecting all users'], breaks: true }],
  ['a view becomes each caller’s own', view(), view('t.array(main.rowType)', 'view'), { said: ['Disconnecting all users'], breaks: true }],
  ['a view only computes something else', view(), view('t.array(main.rowType)', 'anonymousView', '[]'), { said: [] }],
  ['reducers come, go and change their parameters', { more: 'export const one = db.reducer({ n: t.u32() }, () => {});' },
    { more: 'export const one = db.reducer({ n: t.string() }, () => {}); export const two = db.reducer(() => {}); export const start = db.init(() => {});' }, { said: [] }],
];

const manual = 'requires a manual migration';
const refused = [
  ['a column is appended without a default', {}, { columns: keyed(', c: t.u8()'), row: '{}' }, ['Adding a column c to table t requires a default value annotation']],
  ['a column is put before others', {}, { columns: 'c: t.u8().default(1), a: t.u32().primaryKey(), b: t.string()', row: '{}' }, [`Reordering table t ${manual}`]],
  ['a column is removed', {}, { columns: 'a: t.u32().primaryKey()', row: '{}' }, [`Removing a column b from table t ${manual}`]],
  ['columns change places', {}, { columns: 'b: t.string(), a: t.u32().primaryKey()' }, [`Reordering table t ${manual}`]],
  ['a column changes its type', {}, { columns: 'a: t.u32().primaryKey(), b: t.u64()', row: '{}' },
    [`Changing the type of column b in table t from String to U64 ${manual}`]],
  ['a type inside a column changes', { columns: 'a: t.u32().primaryKey(), b: t.array(t.u16())', row: '{ a: n, b: [n] }' },
    { columns: 'a: t.u32().primaryKey(), b: t.array(t.u32())', row: '{}' }, [`Changing a type within column b in table t from U16 to U32 ${manual}`]],
  ['an enum loses a variant', moody('one', 'two'), moody('one'), [/^Changing the type of column m in table t from .* to .*, with fewer variants, requires a manual migration$/]],
  ['a variant is renamed', moody('one', 'two'), moody('one', 'deux'), [/^Changing the type of column m in table t from .* to .*, with a renamed variant, requires a manual migration$/]],
  ['a variant is larger than those before', sum('x: t.u32()'), sum('x: t.u32(), y: t.u64()'),
    [/to .*, requires a manual migration, due to size mismatch$/, /to .*, requires a manual migration, due to alignment mismatch$/]],
  ['a product gets a field', product('x: t.u32(), y: t.u32()'), product('x: t.u32(), y: t.u32(), z: t.u32()'),
    [/^Changing the type of column p in table t from .* to .*, with fewer fields, requires a manual migration$/]],
  ['a field is renamed', product('x: t.u32(), y: t.u32()'), product('x: t.u32(), z: t.u32()'),
    [/^Changing the type of column p in table t from .* to .*, with a renamed field, requires a manual migration$/]],
  ['a table becomes an event table', {}, { options: "name: 't', public: true, event: true" }, [`Changing the event flag of table t ${manual}`]],
];

const atExecution = [
  ['a table with rows is removed', { tables: { extra: "{ name: 'extra' }, { id: t.u32() }" }, more: 'export const put = db.reducer(ctx => { ctx.db.extra.insert({ id: 1 }); });' }, {},
    "Cannot remove table `extra`: table contains data. Clear the table's rows (e.g. via a reducer) before removing it from your schema.", 'put'],
  ['a sequence is added over values in its range', {}, { columns: 'a: t.u32().primaryKey().autoInc(), b: t.string()' },
    'Precheck failed: added sequence t_a_seq already has values in range'],
  ['a unique constraint is added over duplicates', { ...noKey, row: "{ a: n, b: 'twice' }" }, { columns: 'a: t.u32(), b: t.string().unique()' },
    /^Cannot add unique constraint on table \d+ column\(s\) 1 \(committed state\):\n1 duplicate group\(s\) found\.\n {2}- "twice" appears 3 times$/],
  ['a schedule is added', timer(false), timer(true), 'Adding schedules is not yet implemented'],
  ['a schedule is removed', timer(true), timer(false), 'Removing schedules is not yet implemented'],
];

let counter = 0;
async function begin(from, more) {
  const name = `m-${++counter}`;
  await published(server, name, module(from), as());
  await callOk(server, name, 'fill', [], ann.token);
  if (more) await callOk(server, name, more, [], ann.token);
  const socket = await session(server, name, { protocols: ['v3.bsatn.spacetimedb'], token: ann.token });
  open.push(socket);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM t'));
  assert.equal((await socket.next()).kind, 'subscribed');
  return { name, socket, lines: (await logs(server, name, ann.token)).length };
}
const prePublish = async (name, code) =>
  (await http(server, 'POST', `/v1/database/${name}/pre_publish?host_type=Js&style=NoColor`, as({ body: code }))).json;
const content = async (name, query = 'SELECT * FROM t') => (await rows(server, name, query, ann.token)).sort((a, b) => a[0] - b[0]);
async function expectServing({ name, socket }) {
  const before = (await content(name)).length;
  socket.say(enc.oneOff(9, 'SELECT * FROM t'));
  assert.equal((await socket.next()).tables[0].rows.length, before, 'the same connection goes on');
}

for (const [what, from, to, { said, breaks = false, rows: wanted, query } = {}] of allowed) {
  test(`allowed: ${what}`, async () => {
    const made = await begin(from);
    const { name, socket, lines } = made;
    const old = await content(name);
    const code = module(to);
    const plan = (await prePublish(name, code)).AutoMigrate;
    assert.equal(plan?.break_clients, breaks);
    if (breaks) {
      const without = await publish(server, name, code, as());
      assert.equal(without.status, 400);
      assert.equal(without.text, 'Failed to create or update the database: Migration plan contains a client-breaking change which is disallowed under current policy');
      const forged = await publish(server, name, code, as({ query: '&policy=BreakClients&token=0x1234' }));
      assert.equal(forged.text, 'Failed to create or update the database: Token provided is invalid or does not match expected hash');
    }
    const answer = await publish(server, name, code, as({ query: `&policy=BreakClients&token=${plan.token}` }));
    assert.equal(answer.status, 200, answer.text);
    if (breaks) await assert.rejects(socket.next(), /closed with 1001/);
    else await expectServing(made);
    assert.deepEqual(await content(name, query), wanted ?? old);
    const log = (await logs(server, name, ann.token)).slice(lines).filter(r => r.level === 'Info').map(r => r.message);
    const steps = log.filter(m => !/^(Updated program to [0-9a-f]{64}|Database updated)$/.test(m));
    assert.equal(log.at(-1), 'Database updated');
    if (said) assert.deepEqual(steps.filter(m => !/view/i.test(m) && m !== 'Adding columns to table `t`'), said);
    await callOk(server, name, 'fill', [], ann.token).catch(() => {}); // keys may be in the way; it must not crash
    const again = await session(server, name, { protocols: ['v3.bsatn.spacetimedb'], token: ann.token });
    open.push(again);
    again.say(enc.subscribe(1, 1, 'SELECT * FROM t'));
    assert.equal((await again.next()).kind, 'subscribed');
  });
}

for (const [what, from, to, reasons] of refused) {
  test(`refused: ${what}`, async () => {
    const made = await begin(from);
    const { name } = made;
    const old = await content(name);
    const code = module(to);
    const plan = await prePublish(name, code);
    const answer = await publish(server, name, code, as());
    assert.equal(answer.status, 400, answer.text);
    assert.ok(answer.text.startsWith('Database update rejected: Errors occurred:\n'), answer.text);
    assert.equal(plan.ManualMigrate?.reason, answer.text.replace('Database update rejected: ', ''));
    const told = answer.text.split('\n').slice(1).filter(Boolean);
    for (const reason of reasons)
      assert.ok(told.some(line => (reason instanceof RegExp ? reason.test(line) : reason === line)), `${reason} is not in\n${answer.text}`);
    await expectServing(made);
    assert.deepEqual(await content(name), old);
  });
}

for (const [what, from, to, text, more] of atExecution) {
  test(`fails when carried out: ${what}`, async () => {
    const made = await begin(from, more);
    const { name, lines } = made;
    const old = await content(name);
    const code = module(to);
    const plan = (await prePublish(name, code)).AutoMigrate;
    const answer = await publish(server, name, code, as({ query: `&policy=BreakClients&token=${plan.token}` }));
    assert.equal(answer.status, 400, answer.text);
    const why = answer.text.replace(/^Failed to create or update the database: /, '');
    assert.notEqual(why, answer.text);
    if (text instanceof RegExp) assert.match(why, text);
    else assert.equal(why, text);
    const warned = (await logs(server, name, ann.token)).slice(lines).filter(r => r.level === 'Warn');
    assert.ok(warned.some(r => r.message === `Database update failed: ${why}`), JSON.stringify(warned));
    await expectServing(made);
    assert.deepEqual(await content(name), old);
    await callOk(server, name, 'fill', [], ann.token).catch(() => {});
  });
}
