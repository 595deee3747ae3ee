// Publishing: the first time, again with changes, with mistakes; and modules that misbehave later.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  bundle, call, callOk, enc, http, logs, newIdentity, patience, published, publish, rows, session, sql, startServer,
  until, w,
} from './support.mjs';

let server, ann, stuck;
const open = [];

before(async () => {
  server = await startServer({ words: ['--reducer-deadline', '500'] });
  ann = await newIdentity(server);
  // It takes the server's whole patience, so it goes on beside the other tests.
  stuck = publish(server, 'stuck', 'for (;;) {}\nexport default {};', as());
});
after(async () => {
  for (const socket of open) socket.drop();
  await server?.end();
});

const as = (more = {}) => ({ token: ann.token, ...more });
async function enter(name, options = { protocols: ['v3.bsatn.spacetimedb'] }) {
  const socket = await session(server, name, options);
  open.push(socket);
  return socket;
}

// A shop, of which some parts are replaced or added.
function shop({
  item = 'id: t.u32().primaryKey(), name: t.string()',
  itemOptions = "name: 'item', public: true",
  tables = '',
  inSchema = 'item',
  row = '{ id, name }',
  more = '',
} = {}) {
  return bundle(`
    import { schema, table, t, SenderError } from 'spacetimedb/server';
    const Color = t.enum('Color', { red: t.unit(), green: t.unit() });
    const item = table({ ${itemOptions} }, { ${item} });
    ${tables}
    const shop = schema({ ${inSchema} });
    export default shop;
    export const add = shop.reducer({ id: t.u32(), name: t.string() }, (ctx, { id, name }) => {
      ctx.db.item.insert(${row});
    });
    export const drop = shop.reducer({ id: t.u32() }, (ctx, { id }) => { ctx.db.item.id.delete(id); });
    ${more}
  `);
}
const addBytes = (id, name) => w().u32(id).str(name).done();
const planOf = async (name, code) =>
  (await http(server, 'POST', `/v1/database/${name}/pre_publish?host_type=Js&style=NoColor`, as({ body: code }))).json;

async function subscribed(socket, ...queries) {
  socket.say(enc.subscribe(1, 1, ...queries));
  const message = await socket.next();
  assert.equal(message.kind, 'subscribed', message.error);
  return message;
}

test('a new version takes over while clients stay connected and subscribed', async () => {
  const name = 'in-place';
  const id = await published(server, name, shop(), as());
  const client = await enter(name);
  await subscribed(client, 'SELECT * FROM item');
  client.say(enc.call(1, 'add', addBytes(1, 'tea')));
  assert.equal((await client.next()).ok, true);

  const next = shop({
    row: "{ id, name: name + '!' }",
    tables: "const review = table({ name: 'review', public: true }, { id: t.u64().primaryKey().autoInc(), text: t.string() });",
    inSchema: 'item, review',
    more: "export const praise = shop.reducer({ text: t.string() }, (ctx, { text }) => { ctx.db.review.insert({ id: 0n, text }); });",
  });
  const plan = (await planOf(name, next)).AutoMigrate;
  assert.match(plan.migrate_plan, /▸ Created user table: review \(public\)/);
  assert.equal(plan.break_clients, false);
  const answer = await publish(server, name, next, as());
  assert.deepEqual(answer.json, { Success: { domain: name, database_identity: id, op: 'updated' } });

  client.say(enc.call(2, 'add', addBytes(2, 'cake')));
  const result = await client.next();
  assert.deepEqual(result.update[0].tables[0].rows[0].inserts, [w().u32(2).str('cake!').done().toString('hex')], 'the new code ran');
  client.say(enc.subscribe(2, 2, 'SELECT * FROM review'));
  assert.equal((await client.next()).kind, 'subscribed', 'the new table is there');
  client.say(enc.call(3, 'praise', w().str('good').done()));
  assert.equal((await client.next()).update[0].set, 2);
  assert.deepEqual(await rows(server, name, 'SELECT * FROM item'), [[1, 'tea'], [2, 'cake!']]);
  const said = (await logs(server, name, ann.token)).map(record => record.message);
  assert.ok(said.some(m => /^Updated program to [0-9a-f]{64}$/.test(m)));
  assert.ok(said.includes('Creating table `review`'));
  assert.ok(said.includes('Database updated'));
});

test('the same program again changes nothing', async () => {
  const id = await published(server, 'again', shop(), as());
  await callOk(server, 'again', 'add', [1, 'x']);
  const before = (await logs(server, 'again', ann.token)).length;
  assert.deepEqual((await publish(server, 'again', shop(), as())).json, { Success: { domain: 'again', database_identity: id, op: 'updated' } });
  assert.deepEqual(await rows(server, 'again', 'SELECT * FROM item'), [[1, 'x']]);
  assert.equal((await logs(server, 'again', ann.token)).length, before);
});

test('a change that cannot be made is refused with its reasons, and the old module serves on', async () => {
  const name = 'stubborn';
  await published(server, name, shop(), as());
  const client = await enter(name);
  await subscribed(client, 'SELECT * FROM item');
  await callOk(server, name, 'add', [1, 'tea']);
  assert.equal((await client.next()).kind, 'update');
  const cases = [
    [shop({ item: 'id: t.u32().primaryKey(), name: t.string(), price: t.u32()', row: '{ id, name, price: 1 }' }), [/Adding a column price to table item requires a default value annotation/]],
    [shop({ item: 'id: t.u32().primaryKey()', row: '{ id }' }), [/Removing a column name from table item requires a manual migration/]],
    [shop({ item: 'id: t.u32().primaryKey(), name: t.u64()', row: '{ id, name: 1n }' }), [/Changing the type of column name in table item from String to U64 requires a manual migration/]],
    [shop({ item: 'name: t.string(), id: t.u32().primaryKey()' }), [/Reordering table item requires a manual migration/]],
    [shop({ itemOptions: "name: 'item', public: true, event: true" }), [/Changing the event flag of table item requires a manual migration/]],
  ];
  for (const [code, reasons] of cases) {
    const plan = await planOf(name, code);
    for (const reason of reasons) assert.match(plan.ManualMigrate?.reason ?? '', reason);
    const answer = await publish(server, name, code, as());
    assert.equal(answer.status, 400, answer.text);
    assert.match(answer.text, /^Database update rejected: Errors occurred:\n/);
    for (const reason of reasons) assert.match(answer.text, reason);
  }
  client.say(enc.call(1, 'add', addBytes(2, 'cake')));
  assert.equal((await client.next()).ok, true, 'the old module, the same connection');
  assert.deepEqual(await rows(server, name, 'SELECT * FROM item'), [[1, 'tea'], [2, 'cake']]);
  assert.ok((await logs(server, name, ann.token)).some(r => r.level === 'Warn' && r.message.startsWith('Database update failed: ')));
});

test('a table with rows is not removed, an empty one is, and its clients are disconnected', async () => {
  const name = 'pruned';
  const tables = "const extra = table({ name: 'extra', public: true }, { id: t.u32().primaryKey() });";
  const fill = 'export const fill = shop.reducer((ctx) => { ctx.db.extra.insert({ id: 1 }); });' +
    'export const clear = shop.reducer((ctx) => { ctx.db.extra.id.delete(1); });';
  await published(server, name, shop({ tables, inSchema: 'item, extra', more: fill }), as());
  await callOk(server, name, 'fill');
  await callOk(server, name, 'add', [1, 'stays']);
  const next = shop();
  const plan = (await planOf(name, next)).AutoMigrate;
  assert.equal(plan.break_clients, true);
  assert.match(plan.migrate_plan, /▸ Removed table: extra/);
  assert.match(plan.migrate_plan, /All clients will be disconnected/);

  const compatible = await publish(server, name, next, as());
  assert.equal(compatible.status, 400);
  assert.equal(compatible.text, 'Failed to create or update the database: Migration plan contains a client-breaking change which is disallowed under current policy');
  const breaking = token => publish(server, name, next, as({ query: `&policy=BreakClients&token=${token}` }));
  const wrong = await breaking('0x1234');
  assert.equal(wrong.status, 400);
  assert.match(wrong.text, /Token provided is invalid or does not match expected hash/);
  const full = await breaking(plan.token);
  assert.equal(full.status, 400);
  assert.match(full.text, /Cannot remove table `extra`: table contains data/);
  assert.equal((await sql(server, name, 'SELECT * FROM extra')).status, 200);

  await callOk(server, name, 'clear');
  const client = await enter(name);
  await subscribed(client, 'SELECT * FROM item');
  const done = await breaking(plan.token);
  assert.equal(done.status, 200, done.text);
  assert.deepEqual(await client.over(), { code: 1001, reason: 'module exited' });
  assert.equal((await sql(server, name, 'SELECT * FROM extra')).status, 400);
  assert.deepEqual(await rows(server, name, 'SELECT * FROM item'), [[1, 'stays']]);
  await callOk(server, name, 'add', [2, 'more']);
});

test('columns with defaults, indexes, constraints and access change in place', async () => {
  const name = 'grown';
  await published(server, name, shop(), as());
  for (const id of [3, 1, 2]) await callOk(server, name, 'add', [id, `n${id}`]);
  const indexed = shop({ item: "id: t.u32().primaryKey(), name: t.string().index('btree')" });
  assert.match((await planOf(name, indexed)).AutoMigrate.migrate_plan, /Created index/);
  await published(server, name, indexed, as());
  const unique = shop({ item: 'id: t.u32().primaryKey(), name: t.string().unique()' });
  await callOk(server, name, 'add', [4, 'n3']);
  const doubled = await publish(server, name, unique, as());
  assert.equal(doubled.status, 400);
  assert.match(doubled.text, /Cannot add unique constraint/);
  await callOk(server, name, 'drop', [4]);
  await published(server, name, unique, as());
  assert.equal((await call(server, name, 'add', [5, 'n3'])).status, 530, 'the constraint holds');
  const hidden = shop({ item: 'id: t.u32().primaryKey(), name: t.string().unique()', itemOptions: "name: 'item'" });
  await published(server, name, hidden, as());
  assert.equal((await sql(server, name, 'SELECT * FROM item')).status, 400, 'now private');

  const wide = shop({
    item: "id: t.u32().primaryKey(), name: t.string().unique(), price: t.u32().default(7), color: Color.default({ tag: 'green' })",
    row: "{ id, name, price: 9, color: { tag: 'red' } }",
  });
  const plan = (await planOf(name, wide)).AutoMigrate;
  assert.equal(plan.break_clients, true);
  await published(server, name, wide, as({ query: `&policy=BreakClients&token=${plan.token}` }));
  await callOk(server, name, 'add', [9, 'new']);
  const now = await rows(server, name, 'SELECT * FROM item');
  assert.deepEqual(now.toSorted((a, b) => a[0] - b[0]), [
    [1, 'n1', 7, [1, []]],
    [2, 'n2', 7, [1, []]],
    [3, 'n3', 7, [1, []]],
    [9, 'new', 9, [0, []]],
  ]);
});

test('--delete-data starts over under the same identity', async () => {
  const name = 'reborn';
  const more = `export const init = shop.init(ctx => { ctx.db.item.insert({ id: 77, name: 'from init' }); });`;
  const id = await published(server, name, shop({ more }), as());
  await callOk(server, name, 'add', [1, 'gone soon']);
  const client = await enter(name);
  const other = shop({ item: 'id: t.u32().primaryKey(), name: t.string(), weight: t.f64()', row: '{ id, name, weight: 0.5 }', more: more.replace("'from init'", "'init again', weight: 1") });
  const answer = await publish(server, name, other, as({ query: '&clear=true' }));
  assert.deepEqual(answer.json, { Success: { domain: name, database_identity: id, op: 'updated' } });
  assert.deepEqual(await client.over(), { code: 1001, reason: 'module exited' });
  assert.deepEqual(await rows(server, name, 'SELECT * FROM item'), [[77, 'init again', 1]]);
  // A reset without a body keeps the program.
  await callOk(server, name, 'add', [1, 'x']);
  const reset = await http(server, 'PUT', `/v1/database/${name}/reset`, as());
  assert.equal(reset.status, 200, reset.text);
  assert.deepEqual(await rows(server, name, 'SELECT * FROM item'), [[77, 'init again', 1]]);
  // A module that is no good wipes nothing.
  await callOk(server, name, 'add', [5, 'must stay']);
  const bad = await publish(server, name, 'not a module at all', as({ query: '&clear=true' }));
  assert.equal(bad.status, 500);
  assert.equal((await rows(server, name, 'SELECT * FROM item')).length, 2);
});

const broken = {
  'nothing at all': ['', /default|schema|empty/i],
  'a syntax error': ['const x = {;\nexport default x;', /SyntaxError/],
  'an exception while loading': ["import { moduleHooks } from 'spacetime:sys@2.0';\nfunction load() { throw new Error('cannot start'); }\nload();\nexport default {};", /cannot start/],
  'no default export': ["import { moduleHooks } from 'spacetime:sys@2.0';\nexport const x = 1;", /must export schema as default export/],
  'a default export that is no schema': ["import { moduleHooks } from 'spacetime:sys@2.0';\nexport default 7;", /default export is not a Schema object/],
  'a schema without hooks': ["import { moduleHooks } from 'spacetime:sys@2.0';\nexport default {};", /./],
  'a newer system': ["import * as s from 'spacetime:sys@2.9';\nexport default s;", /spacetime:sys@2\.9/],
  'an import of something else': ["import x from 'node:fs';\nexport default x;", /Could not find module/],
  'bytes that are not text': [Buffer.from([0xff, 0xfe, 0x00]), /UTF-8|utf8/i],
  'a definition that is garbage': ["import { moduleHooks } from 'spacetime:sys@2.0';\nclass E extends Error {}\nexport default { [moduleHooks]() { return { __describe_module__: () => new Uint8Array([2, 255, 255, 255, 255]), __get_error_constructor__: () => E, __sender_error_class__: E, __call_reducer__() {}, __call_view__() {}, __call_view_anon__() {}, __call_procedure__() {} }; } };", /./],
};

test('a module that is broken makes no database, and the name can be used again', async () => {
  let n = 0;
  for (const [what, [code, why]] of Object.entries(broken)) {
    const name = `broken-${++n}`;
    const answer = await publish(server, name, code, as());
    assert.equal(answer.status, 500, `${what}: ${answer.text}`);
    assert.match(answer.text, why, what);
    const after = await sql(server, name, 'SELECT * FROM item', ann.token);
    assert.equal(after.status, 404);
    assert.equal(after.text, 'No such database.');
    const id = (await http(server, 'GET', `/v1/database/${name}/identity`)).text;
    if (n > 3) continue; // the way back is the same for all
    assert.equal((await publish(server, name, shop())).status, 401, 'the name is its first user’s');
    assert.equal(await published(server, name, shop(), as()), id, 'the identity the name was given at first');
    await callOk(server, name, 'add', [1, 'works now']);
  }
});

test('a module that does not come to the end of loading is given up', async () => {
  const answer = await stuck;
  assert.equal(answer.status, 500, answer.text);
  assert.match(answer.text, /longer than 10 s of processor time to load/);
  assert.equal((await sql(server, 'stuck', 'SELECT * FROM item')).text, 'No such database.');
});

test('an init that fails is told, and makes nothing', async () => {
  const init = body => shop({ more: `export const init = shop.init(ctx => { ctx.db.item.insert({ id: 1, name: 'half' }); ${body} });` });
  const cases = [
    ["throw new SenderError('not today');", /not today/],
    ["throw new Error('a bug in init');", /a bug in init/],
    ['for (;;) {}', /deadline/],
    ["ctx.db.item.insert({ id: 1, name: 'twice' });", /./],
  ];
  for (const [i, [body, why]] of cases.entries()) {
    const answer = await publish(server, `init-${i}`, init(body), as());
    assert.equal(answer.status, 500, answer.text);
    assert.match(answer.text, why);
    assert.equal((await sql(server, `init-${i}`, 'SELECT * FROM item')).status, 404);
  }
  await published(server, 'init-0', init(''), as());
  assert.deepEqual(await rows(server, 'init-0', 'SELECT * FROM item'), [[1, 'half']]);
});

test('a broken update leaves the old module at work', async () => {
  const name = 'steady';
  await published(server, name, shop(), as());
  const client = await enter(name);
  for (const [what, [code, why]] of Object.entries(broken).slice(0, 5)) {
    const answer = await publish(server, name, code, as());
    assert.equal(answer.status, 500, `${what}: ${answer.text}`);
    assert.match(answer.text, why, what);
  }
  client.say(enc.call(1, 'add', addBytes(1, 'tea')));
  assert.equal((await client.next()).ok, true);
});

test('the type of program that is said and the one that is sent must agree', async () => {
  const put = (type, body) => http(server, 'PUT', `/v1/database/typed?host_type=${type}`, as({ body }));
  const asWasm = await put('Wasm', shop());
  assert.equal(asWasm.status, 500, asWasm.text);
  assert.match(asWasm.text, /WebAssembly/);
  const wasm = Buffer.from('0061736d01000000', 'hex');
  const asJs = await put('Js', wasm);
  assert.equal(asJs.status, 500, asJs.text);
  const none = await http(server, 'PUT', '/v1/database/typed', as({ body: shop() }));
  assert.equal(none.status, 500, 'without a type it is Wasm');
  assert.equal((await put('Js', shop())).status, 200);
});

// ---- modules that misbehave when they run

const wild = () => shop({
  tables: "const visitor = table({ name: 'visitor', public: true }, { id: t.u64().primaryKey().autoInc(), text: t.string() });",
  inSchema: 'item, visitor',
  more: `
    export const spin = shop.reducer((ctx) => { ctx.db.item.insert({ id: 1000, name: 'never' }); for (;;) {} });
    export const spin_in_catch = shop.reducer(() => { for (;;) { try { for (;;) {} } catch {} finally { for (;;) {} } } });
    export const spin_in_host = shop.reducer((ctx) => { for (;;) for (const row of ctx.db.item.iter()) row.id; });
    export const spin_in_pattern = shop.reducer(() => { /^(a+)+$/.test('a'.repeat(64) + 'b'); });
    function deeper(n) { return n + deeper(n + 1); }
    export const recurse = shop.reducer(() => { deeper(0); });
    function inner(make) { throw make(); }
    function outer(make) { inner(make); }
    function bug() { return new Error('a bug'); }
    export const throw_error = shop.reducer(() => { outer(bug); });
    export const throw_text = shop.reducer(() => { outer(() => 'just text'); });
    export const throw_nothing = shop.reducer(() => { outer(() => undefined); });
    export const throw_sender = shop.reducer({ text: t.string() }, (_ctx, { text }) => { outer(() => new SenderError(text)); });
    export const twice = shop.reducer((ctx) => { ctx.db.item.insert({ id: 5, name: 'a' }); ctx.db.item.insert({ id: 5, name: 'b' }); });
    export const catch_twice = shop.reducer((ctx) => {
      ctx.db.item.insert({ id: 6, name: 'a' });
      try { ctx.db.item.insert({ id: 6, name: 'b' }); } catch (e) { ctx.db.visitor.insert({ id: 0n, text: (e as any).constructor.name }); }
    });
    export const levels = shop.reducer(() => {
      console.log('at log'); console.info('at info'); console.warn('at warn'); console.error('at error'); console.debug('at debug'); console.trace('at trace');
    });
    let calls = 0;
    export const global = shop.reducer((ctx) => { ctx.db.visitor.insert({ id: 0n, text: String(++calls) }); });
  `,
});

test('an endless reducer is stopped at its deadline; others do not wait for it', async () => {
  await published(server, 'spinner', wild(), as());
  await published(server, 'bystander', shop(), as());
  const client = await enter('spinner');
  for (const reducer of ['spin', 'spin_in_catch', 'spin_in_host']) {
    const began = Date.now();
    client.say(enc.call(1, reducer), enc.call(2, 'add', addBytes(began % 1e6, 'after')));
    let meantime = 0;
    let over = false;
    const watching = client.next().finally(() => (over = true));
    while (!over) {
      await callOk(server, 'bystander', 'add', [(began + meantime++) % 2 ** 31, 'meanwhile']);
    }
    const result = await watching;
    assert.match(result.internal, /deadline of 500 ms/, reducer);
    assert.ok(Date.now() - began >= 490, 'not before its deadline');
    assert.ok(meantime > 1, 'the other database answered in the meantime');
    const next = await client.next();
    assert.equal(next.ok, true, 'and this one goes on');
  }
  assert.deepEqual(await rows(server, 'spinner', 'SELECT * FROM item WHERE id = 1000'), [], 'what it wrote is undone');
  const said = await logs(server, 'spinner', ann.token);
  const record = said.find(r => r.function === 'spin');
  assert.equal(record.level, 'Error');
  assert.match(record.message, /deadline/);
  const overHttp = await call(server, 'spinner', 'spin');
  assert.equal(overHttp.status, 530);
  assert.match(overHttp.text, /deadline/);
});

test('a reducer that recurses for ever is an error of its own, nobody else’s', async () => {
  await published(server, 'deep', wild(), as());
  const answer = await call(server, 'deep', 'recurse');
  assert.equal(answer.status, 530);
  assert.equal(answer.text, 'The instance encountered a fatal error.');
  await callOk(server, 'deep', 'add', [1, 'x']);
  const record = (await logs(server, 'deep', ann.token)).find(r => r.level === 'Panic');
  assert.match(record.message, /RangeError|stack/i);
});

test('exceptions are logged with where they came from', async () => {
  await published(server, 'thrower', wild(), as());
  const fatal = 'The instance encountered a fatal error.';
  for (const reducer of ['throw_error', 'throw_text', 'throw_nothing', 'twice']) {
    const answer = await call(server, 'thrower', reducer);
    assert.equal(answer.status, 530);
    assert.equal(answer.text, fatal, reducer);
  }
  const refused = await call(server, 'thrower', 'throw_sender', ['please do not “do” that\n']);
  assert.equal(refused.status, 530);
  assert.equal(refused.text, 'please do not “do” that\n');

  const said = await logs(server, 'thrower', ann.token);
  const panics = said.filter(r => r.level === 'Panic');
  assert.equal(panics.length, 4);
  assert.match(panics[0].message, /a bug/);
  const frames = panics[0].trace.map(frame => frame.func_name);
  assert.deepEqual(frames.slice(0, 3), ['bug', 'inner', 'outer']);
  assert.ok(frames.length < 12, 'the library’s own frames are not the user’s business');
  assert.equal(panics[0].filename, 'spacetimedb_module');
  assert.ok(panics[0].line_number > 0);
  assert.match(panics[1].message, /just text/);
  assert.match(panics[3].message, /UniqueAlreadyExists|unique|already exists/i);
  const error = said.find(r => r.level === 'Error' && r.function === 'throw_sender');
  assert.equal(error.message, 'please do not “do” that\n');
  assert.deepEqual(await rows(server, 'thrower', 'SELECT * FROM item'), []);
  await callOk(server, 'thrower', 'catch_twice');
  assert.deepEqual(await rows(server, 'thrower', 'SELECT text FROM visitor'), [['UniqueAlreadyExists']], 'an error of ours is of the library’s class');
});

test('the console’s levels arrive in the log', async () => {
  await published(server, 'talker', wild(), as());
  await callOk(server, 'talker', 'levels');
  const said = (await logs(server, 'talker', ann.token)).filter(r => /^at /.test(r.message));
  assert.deepEqual(said.map(r => [r.message, r.level]), [
    ['at log', 'Info'], ['at info', 'Info'], ['at warn', 'Warn'], ['at error', 'Error'], ['at debug', 'Debug'], ['at trace', 'Trace'],
  ]);
  for (const record of said) {
    assert.equal(record.filename, 'spacetimedb_module');
    assert.ok(record.line_number > 0);
  }
  const [first, ...others] = said.map(r => r.line_number);
  assert.ok(others.every(line => line >= first));
});

test('the module’s globals outlive a call and a new version starts afresh', async () => {
  await published(server, 'global', wild(), as());
  for (let i = 0; i < 3; i++) await callOk(server, 'global', 'global');
  await published(server, 'global', `${wild()}\n// newer`, as());
  await callOk(server, 'global', 'global');
  assert.deepEqual(await rows(server, 'global', 'SELECT text FROM visitor'), [['1'], ['2'], ['3'], ['1']]);
});

test('publishing many at once makes each of them once', async () => {
  const code = shop();
  const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => publish(server, `many-${i % 3}`, code, as())));
  for (const answer of answers) assert.ok([200, 503].includes(answer.status), answer.text);
  for (let i = 0; i < 3; i++) {
    const same = answers.filter((a, k) => k % 3 === i && a.status === 200).map(a => a.json.Success);
    assert.equal(new Set(same.map(s => s.database_identity)).size, same.length ? 1 : 0);
    await until(async () => (await publish(server, `many-${i}`, code, as())).status === 200, 'a place to publish', patience);
    await callOk(server, `many-${i}`, 'add', [1, 'x']);
  }
});
