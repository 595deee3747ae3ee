// Modules inside a module: every item of theirs is called namespace.name, wherever it is met.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, subscribe, top } from './harness.mjs';
import { bundle, call, callOk, enc, http, logs, newIdentity, published, publish, rows, session, startServer, until, w } from './support.mjs';

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

function garden({ fruit = "id: t.u32().primaryKey().autoInc(), kind: t.string().index('btree')", lib = '', extra = '' } = {}) {
  return bundle(`
    import { schema, table, t, SenderError } from 'spacetimedb/server';
    const seed = table({ name: 'seed', public: true }, { id: t.u32().primaryKey() });
    const deepSchema = schema({ seed });
    const plant = deepSchema.reducer({ id: t.u32() }, (ctx, { id }) => { ctx.db.seed.insert({ id }); });

    const Ripe = t.enum('Ripe', ['green', 'red']);
    const fruit = table({ name: 'fruit', public: true }, { ${fruit} });
    const timer = table(
      { name: 'timer', scheduled: (): any => ripen },
      { scheduledId: t.u64().primaryKey().autoInc(), scheduledAt: t.scheduleAt(), kind: t.string() }
    );
    const libSchema = schema({ fruit, timer, deep: { default: deepSchema, plant } });
    const addFruit = libSchema.reducer({ kind: t.string() }, (ctx, { kind }) => { ctx.db.fruit.insert({ id: 0, kind }); });
    const ripen = libSchema.reducer({ arg: timer.rowType }, (ctx, { arg }) => { ctx.db.fruit.insert({ id: 0, kind: 'ripe ' + arg.kind }); });
    const wait = libSchema.reducer({ kind: t.string(), ripe: Ripe }, (ctx, { kind }) => {
      ctx.db.timer.insert({ scheduledId: 0n, scheduledAt: { tag: 'Time', value: ctx.timestamp } as any, kind });
    });
    ${lib}

    const item = table({ name: 'item', public: true }, { id: t.u32().primaryKey() });
    const garden = schema({ item, lib: { default: libSchema, addFruit, ripen, wait } });
    export default garden;
    export const init = garden.init(ctx => { ctx.db.item.insert({ id: 1 }); });
    export const addItem = garden.reducer({ id: t.u32() }, (ctx, { id }) => { ctx.db.item.insert({ id }); });
    ${extra}
  `);
}

// Conformance case 34.
test('tables, reducers, schedules and subscriptions of a submodule carry its namespace', async () => {
  await published(server, 'garden', garden(), as());
  assert.deepEqual(
    (await rows(server, 'garden', "SELECT table_name FROM st_table WHERE table_id >= 4096", ann.token)).map(([n]) => n).sort(),
    ['item', 'lib.deep.seed', 'lib.fruit', 'lib.timer']
  );
  const socket = await session(server, 'garden', { protocols: ['v3.bsatn.spacetimedb'] });
  open.push(socket);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM lib.fruit', 'SELECT * FROM "lib"."deep"."seed"'));
  assert.equal((await socket.next()).kind, 'subscribed');
  socket.say(enc.call(1, 'lib.add_fruit', w().str('apple').done()));
  const result = await socket.next();
  assert.equal(result.ok, true, result.error);
  assert.equal(result.update[0].tables[0].table, 'lib.fruit');
  await callOk(server, 'garden', 'lib.deep.plant', [7]);
  assert.equal((await socket.next()).kind, 'update');
  await callOk(server, 'garden', 'add_item', [2]);
  assert.deepEqual(await rows(server, 'garden', 'SELECT * FROM lib.fruit WHERE lib.fruit.kind = \'apple\''), [[1, 'apple']]);
  assert.deepEqual(await rows(server, 'garden', 'SELECT * FROM lib.deep.seed'), [[7]]);
  assert.equal((await call(server, 'garden', 'add_fruit', ['x'])).status, 404, 'it is not the root’s');

  await callOk(server, 'garden', 'lib.wait', ['pear', { green: [] }]);
  await until(async () => (await rows(server, 'garden', 'SELECT * FROM lib.fruit')).length === 2, 'the schedule of a submodule');
  assert.deepEqual((await rows(server, 'garden', 'SELECT * FROM lib.fruit')).at(-1)[1], 'ripe pear');
});

test('the schema shows submodules as they were declared', async () => {
  await published(server, 'shown', garden(), as());
  const ten = (await http(server, 'GET', '/v1/database/shown/schema?version=10')).json;
  const submodules = ten.sections.find(section => section.Submodules)?.Submodules;
  assert.deepEqual(submodules.map(s => s.namespace), ['lib']);
  assert.ok(JSON.stringify(submodules).includes('"namespace":"deep"'));
  const nine = (await http(server, 'GET', '/v1/database/shown/schema?version=9')).json;
  assert.deepEqual(nine.tables.map(table => table.name).sort(), ['item', 'lib.deep.seed', 'lib.fruit', 'lib.timer']);
});

test('a submodule migrates by the same rules', async () => {
  await published(server, 'grows', garden(), as());
  await callOk(server, 'grows', 'lib.add_fruit', ['apple']);
  const more = "id: t.u32().primaryKey().autoInc(), kind: t.string().index('btree'), weight: t.u32()";
  const without = await publish(server, 'grows', garden({ fruit: more }), as());
  assert.equal(without.status, 400);
  assert.match(without.text, /Adding a column weight to table lib\.fruit requires a default value annotation/);
  const changed = garden({ fruit: "id: t.u32().primaryKey().autoInc(), kind: t.string()" });
  assert.equal((await publish(server, 'grows', changed, as())).status, 200);
  const said = (await logs(server, 'grows', ann.token)).map(record => record.message);
  assert.ok(said.includes('Dropping index `lib.fruit_kind_idx_btree` on table `lib.fruit`'), said.join('\n'));
  assert.deepEqual(await rows(server, 'grows', 'SELECT * FROM lib.fruit'), [[1, 'apple']]);
});

test('a lifecycle reducer in a submodule is refused', async () => {
  const answer = await publish(
    server,
    'no-init',
    bundle(`
      import { schema, table, t } from 'spacetimedb/server';
      const a = table({ name: 'a' }, { id: t.u32() });
      const inner = schema({ a });
      const start = inner.init(() => {});
      const outer = schema({ lib: { default: inner, start } });
      export default outer;
    `),
    as()
  );
  assert.equal(answer.status, 500);
  assert.match(answer.text, /lifecycle event Init is not permitted in submodule under namespace `lib`; lifecycle reducers may only be declared in the root module/);
});

test('generated bindings have submodules inside, and the real client uses them', async () => {
  await published(server, 'bound', garden(), as());
  const dir = join(top, 'build/tools/e2e/garden');  // beside the npm package
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'bundle.js'), garden());
  const done = await server.cli('generate', '--no-config', '--yes', '--lang', 'typescript', '--sdk', 'spacetimedb', '-j', join(dir, 'bundle.js'), '-o', join(dir, 'src'));
  assert.equal(done.code, 0, done.stdout + done.stderr);
  for (const file of ['item_table.ts', 'lib/fruit_table.ts', 'lib/types.ts', 'lib/add_fruit_reducer.ts', 'lib/deep/seed_table.ts', 'lib/deep/plant_reducer.ts'])
    assert.ok(existsSync(join(dir, 'src', file)), `${file}\n${done.stdout}`);
  writeFileSync(
    join(dir, 'use.ts'),
    `import { DbConnection, reducers, tables } from './src';
     export const named = [tables.item, tables.lib.fruit, tables.lib.deep.seed, reducers.addItem, reducers.lib.addFruit, reducers.lib.deep.plant];
     export { DbConnection };`
  );
  const bin = join(top, 'build/tools/node_modules/.bin');
  execFileSync(join(bin, 'tsc'), ['--noEmit', '--strict', '--skipLibCheck', '--target', 'esnext', '--module', 'esnext', '--moduleResolution', 'bundler', join(dir, 'use.ts')], { stdio: ['ignore', 'inherit', 'inherit'] });
  execFileSync(join(bin, 'esbuild'), [join(dir, 'use.ts'), '--bundle', '--format=esm', '--packages=external', '--log-level=warning', `--outfile=${join(dir, 'use.mjs')}`]);
  const bindings = await import(join(dir, 'use.mjs'));
  assert.ok(bindings.named.every(Boolean), 'every accessor finds what it names');
  const client = await connect(bindings, server, 'bound');
  await subscribe(client, 'SELECT * FROM lib.fruit', 'SELECT * FROM lib.deep.seed');
  const seen = [];
  client.db['lib.fruit'].onInsert((_ctx, row) => seen.push(row.kind));
  client.reducers['lib.addFruit']({ kind: 'plum' });
  await until(() => seen.includes('plum'), 'the row of a submodule');
  client.connection.disconnect();
});

test('bindings for our package have submodules as objects in objects', async () => {
  await published(server, 'bound-ours', garden(), as());
  const dir = join(top, 'build/tools/e2e/garden-ours');
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'bundle.js'), garden());
  const done = await server.cli('generate', '--no-config', '--yes', '--lang', 'typescript', '--sdk', 'lightcone', '-j', join(dir, 'bundle.js'), '-o', join(dir, 'src'));
  assert.equal(done.code, 0, done.stdout + done.stderr);
  writeFileSync(
    join(dir, 'use.ts'),
    `import { DbConnection, reducers, tables } from './src';
     import type { Lib_Fruit, Lib_Deep_Seed } from './src/types';
     export const kinds = (connection: DbConnection): string[] => [...connection.db.lib.fruit.iter()].map((fruit: Lib_Fruit) => fruit.kind);
     export const seeds = (connection: DbConnection): Lib_Deep_Seed[] => [...connection.db.lib.deep.seed.iter()];
     export { DbConnection, reducers, tables };`
  );
  const bin = join(top, 'build/tools/node_modules/.bin');
  execFileSync(join(bin, 'tsc'), ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--module', 'esnext', '--moduleResolution', 'bundler', join(dir, 'use.ts')], { stdio: ['ignore', 'inherit', 'inherit'] });
  execFileSync(join(bin, 'esbuild'), [join(dir, 'use.ts'), '--bundle', '--format=esm', '--packages=external', '--log-level=warning', `--outfile=${join(dir, 'use.mjs')}`]);
  const { DbConnection, tables, kinds, seeds } = await import(join(dir, 'use.mjs'));
  const connection = await new Promise(resolve => DbConnection.builder().withUri(server.ws).withDatabaseName('bound-ours').onConnect(resolve).build());
  await new Promise((resolve, reject) =>
    connection.subscriptionBuilder().onApplied(resolve).onError((_ctx, error) => reject(error)).subscribe([tables.lib.fruit, tables.lib.deep.seed])
  );
  await connection.reducers.lib.addFruit({ kind: 'plum' });
  assert.deepEqual(kinds(connection), ['plum']);
  assert.deepEqual(seeds(connection), []);
  connection.disconnect();
});

test('the command calls and describes what is in a submodule', async () => {
  await published(server, 'called', garden(), as());
  const on = ['--server', server.url];
  const called = await server.cli('call', 'called', 'lib.add_fruit', 'fig', ...on);
  assert.equal(called.code, 0, called.stderr);
  assert.deepEqual(await rows(server, 'called', 'SELECT kind FROM lib.fruit'), [['fig']]);
  const wrong = await server.cli('call', 'called', 'lib.add_fruits', 'fig', ...on);
  assert.match(wrong.stderr, /No such reducer OR procedure `lib\.add_fruits`/);
  assert.match(wrong.stderr, /A reducer with a similar name exists: `lib\.add_fruit`/);
  const reducer = await server.cli('describe', 'called', 'reducer', 'lib.deep.plant', '--json', ...on);
  assert.equal(JSON.parse(reducer.stdout).source_name, 'plant');
  const table = await server.cli('describe', 'called', 'table', 'lib.deep.seed', '--json', ...on);
  assert.equal(JSON.parse(table.stdout).source_name, 'seed');
  assert.match((await server.cli('describe', 'called', 'table', 'lib.seed', '--json', ...on)).stderr, /no such table/);
  const whole = await server.cli('describe', 'called', '--json', ...on);
  assert.ok(JSON.parse(whole.stdout).sections.some(section => section.Submodules));
});
