// Our own client with generated bindings against the real server: every type, kill -9, sleep, other clients.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, moduleBindings, moduleBundle, startServer, subscribe, top, until } from './harness.mjs';

let server, chat, conformance;
const open = [];

before(async () => {
  chat = await moduleBindings('chat', 'lightcone');
  conformance = await moduleBindings('conformance-ts', 'lightcone');
  server = await startServer();
  await server.publish('chat', moduleBundle('chat'));
  await server.publish('conformance', moduleBundle('conformance-ts'));
});
after(async () => {
  for (const connection of open) connection.disconnect();
  await server?.end();
});

async function join_(bindings, database, configure = builder => builder) {
  return new Promise((resolve, reject) => {
    const connection = configure(bindings.DbConnection.builder())
      .withUri(server.ws)
      .withDatabaseName(database)
      .onConnect(resolve)
      .onConnectError((_ctx, error) => connection.status === 'closed' && reject(error))
      .build();
    open.push(connection);
  });
}
const applied = (connection, ...queries) =>
  new Promise((resolve, reject) =>
    connection.subscriptionBuilder().onApplied(resolve).onError((_ctx, error) => reject(error)).subscribe(queries)
  );
const texts = connection => [...connection.db.message.iter()].map(row => row.text);

test('two clients see each other, and one of the npm package in between', async () => {
  const ann = await join_(chat, 'chat');
  const bob = await connect(await moduleBindings('chat'), server, 'chat');
  await applied(ann, chat.tables.user, chat.tables.message);
  await subscribe(bob, 'SELECT * FROM user', 'SELECT * FROM message');
  await ann.reducers.setName({ name: 'Ann' });
  assert.equal(ann.db.user.identity.find(ann.identity).name, 'Ann', 'it is here when the promise resolves');
  await until(() => bob.db.user.identity.find(bob.identity) !== undefined, 'the other to be there');
  await until(() => [...bob.db.user.iter()].some(user => user.name === 'Ann'), 'the name at the other');
  await bob.reducers.sendMessage({ text: 'hello from npm' });
  await until(() => texts(ann).includes('hello from npm'), 'the message');
  await assert.rejects(ann.reducers.sendMessage({ text: ' ' }), { name: 'SenderError', message: 'Messages must not be empty' });
  const mine = await ann.query(chat.tables.user.where(user => user.identity.eq(ann.identity)));
  assert.deepEqual(mine.map(user => user.name), ['Ann']);
  bob.connection.disconnect();
});

test('rows of every type are read as they were written, whichever values', async () => {
  const client = await join_(conformance, 'conformance');
  await applied(client, conformance.tables.allTypes);
  const twin = await moduleBindings('conformance-ts');
  const npm = await connect(twin, server, 'conformance');
  await subscribe(npm, 'SELECT * FROM all_types');
  // Classes of both libraries have a bigint, named as on the wire; a variant without a value is a tag.
  const wrapped = ['__identity__', '__connection_id__', '__timestamp_micros_since_unix_epoch__', '__time_duration_micros__', '__uuid__'];
  const plain = value => {
    if (typeof value === 'bigint') return `${value}n`;
    if (typeof value !== 'object' || value === null) return String(value);
    if (Array.isArray(value) || value instanceof Uint8Array) return Array.from(value, plain);
    const inner = wrapped.find(name => name in value);
    if (inner) return plain(value[inner]);
    return Object.fromEntries(
      Object.entries(value)
        .filter(([key, part]) => key !== 'value' || (part !== undefined && Object.keys(Object(part)).length > 0) || typeof part !== 'object')
        .map(([key, part]) => [key, plain(part)])
    );
  };
  for (const name of ['types_lowest', 'types_highest', 'types_plain']) {
    await client.reducers.runCase({ name });
    const ours = [...client.db.allTypes.iter()];
    await until(() => npm.db.allTypes.count() === 1n && [...npm.db.allTypes.iter()][0].id === ours[0].id, 'the same row at the other');
    const theirs = [...npm.db.allTypes.iter()];
    assert.equal(ours.length, 1);
    assert.deepEqual(plain(ours[0]), plain(theirs[0]), name);
  }
  npm.connection.disconnect();
});

test('a killed server: everything answered is there, nothing twice, nothing flickers, calls wait', async () => {
  const ann = await join_(chat, 'chat');
  const bob = await join_(chat, 'chat', builder => builder.withToken(ann.token));
  await applied(ann, chat.tables.message);
  await applied(bob, chat.tables.message, chat.tables.user);
  const went = [];
  bob.db.message.onDelete((_ctx, row) => went.push(row.text));
  const answered = [], unknown = [];
  const AT_ONCE = 4;
  // A server that knows calls by their numbers leaves none open (docs/internals/protocols-ext.md).
  const knowsCalls = ann.protocol === 'v1.bsatn.lightcone';
  let count = 0, talking = true;
  const say = text =>
    ann.reducers.sendMessage({ text }).then(
      () => answered.push(text),
      error => {
        assert.equal(error.name, 'ConnectionLostError');
        unknown.push(text);
      }
    );
  const talk = (async () => {
    while (talking) await Promise.all(Array.from({ length: AT_ONCE }, () => say(`number ${count++}`)));
  })();
  for (let round = 0; round < 3; round++) {
    await until(() => answered.length > 20 * (round + 1), 'messages');
    await server.kill();
    await until(() => ann.status === 'stale' && bob.status === 'stale', 'the loss to be seen');
    assert.ok(bob.db.message.count() > 0n);
    await server.start();
    await until(() => ann.status === 'live' && bob.status === 'live', 'both to be back', 30_000);
  }
  talking = false;
  await talk;
  await until(() => answered.every(text => texts(bob).includes(text)), 'all that was answered');
  for (const text of answered) assert.equal(texts(bob).filter(other => other === text).length, 1, text);
  assert.ok(unknown.length <= (knowsCalls ? 0 : 3 * AT_ONCE), `${unknown.length} calls of which nobody knows`);
  if (knowsCalls) assert.equal(texts(bob).filter(text => text.startsWith('number ')).length, count);
  assert.deepEqual(went, [], 'no row went away in between');
  assert.equal(ann.identity.toHexString(), bob.identity.toHexString());
});

test('a killed server tells who comes back what he missed, and nothing else moves', async () => {
  const ann = await join_(chat, 'chat');
  await applied(ann, chat.tables.user, chat.tables.message);
  await ann.reducers.sendMessage({ text: 'before' });
  const bob = await join_(chat, 'chat', builder => builder.withToken(ann.token));
  await bob.reducers.sendMessage({ text: 'kept' });
  await until(() => texts(ann).includes('kept'), 'the message');
  const rows = [...ann.db.message.iter()];
  const told = [];
  ann.db.message.onInsert((ctx, row) => told.push(`+${row.text} ${ctx.event.tag}`));
  ann.db.message.onDelete((_ctx, row) => told.push(`-${row.text}`));
  await server.kill();
  await until(() => ann.status === 'stale', 'the loss to be seen');
  assert.deepEqual([...ann.db.message.iter()], rows);
  await server.start();
  await until(() => ann.status === 'live', 'it to be back', 30_000);
  assert.deepEqual(told, []);
  assert.ok(rows.every((row, i) => row === [...ann.db.message.iter()][i]), 'the very same objects');
  const metrics = await (await fetch(`${server.url}/v1/metrics`)).text();
  assert.match(metrics, /lightcone_resumes_total\{[^}]*\} [1-9]/);
  ann.disconnect();
  bob.disconnect();
});

test('a guess is shown at once and is the row itself afterwards', async () => {
  const ann = await join_(chat, 'chat');
  await applied(ann, chat.tables.user);
  const me = ann.db.user.identity.find(ann.identity);
  // Clients of the tests before may still be coming back to the server that was killed: their rows are not meant.
  const seen = [];
  ann.db.user.onUpdate((ctx, _before, now) => now.identity.isEqual(me.identity) && seen.push(`${now.name} ${ctx.event.tag}`));
  const guess = name => draft => draft.user.update({ ...draft.user.find(me.identity), name });
  const done = ann.reducers.setName({ name: 'Quick' }, { optimistic: guess('Quick') });
  assert.equal(ann.db.user.identity.find(ann.identity).name, 'Quick');
  await done;
  await assert.rejects(ann.reducers.setName({ name: '' }, { optimistic: guess('nobody') }), { name: 'SenderError' });
  assert.deepEqual(seen, ['Quick Optimistic', 'nobody Optimistic', 'Quick Reducer']);
});

test('rows come with a subscription and leave with it', async () => {
  const client = await join_(conformance, 'conformance');
  const handle = client.subscriptionBuilder().subscribe(conformance.tables.counter);
  await until(() => handle.isActive(), 'the subscription');
  await client.reducers.runCase({ name: 'counters' });
  assert.equal(client.db.counter.count(), 3n);
  assert.equal(client.db.counter.name.find('beta').value, 2n);
  const ended = new Promise(resolve => handle.unsubscribeThen(resolve));
  await ended;
  assert.equal(client.db.counter.count(), 0n);
  assert.ok(handle.isEnded());
});

test('a wrong query is an error with the server’s words; a wrong name, too', async () => {
  const client = await join_(chat, 'chat');
  await assert.rejects(applied(client, 'SELECT * FROM nowhere'), { name: 'SubscriptionError', message: /nowhere/ });
  await assert.rejects(client.query('SELECT'), { name: 'SubscriptionError' });
  await assert.rejects(join_(chat, 'nobody'), /404/);
  const refused = join_(chat, 'chat', builder => builder.withToken('no.real.token'));
  await assert.rejects(refused, /does not accept the token/);
});

test('bindings are typed: what is right compiles, and what is wrong does not', async () => {
  const dir = join(top, 'build/tools/e2e/typed');
  mkdirSync(dir, { recursive: true });
  for (const name of ['rich', 'conformance-ts', 'views', 'chat'])
    execFileSync(process.env.LIGHTCONE ?? join(top, 'build/lightcone'), ['generate', '--no-config', '--yes', '--lang', 'typescript', '--sdk', 'lightcone', '-j', moduleBundle(name), '-o', join(dir, name)], { stdio: 'ignore' });
  writeFileSync(
    join(dir, 'use.ts'),
    `import { DbConnection, reducers, tables, procedures, type EventContext } from './rich';
     import { Shape, Mood, type LoggedOutPlayer } from './rich/types';
     import type { AddPlayerParams } from './rich/types/reducers';
     import { tables as views } from './views';
     import { DbConnection as Conformance } from './conformance-ts';
     import { useTable, useReducer, useProcedure } from 'lightcone/react';
     const connection = DbConnection.builder().withUri('ws://x').withDatabaseName('y').onConnect((c, identity, token) => {
       c.db.loggedOutPlayer.playerId.find(1n)?.position.x.toFixed();
       c.subscriptionBuilder().onApplied(ctx => ctx.db.everyone.count()).subscribe([tables.everyone, 'SELECT * FROM moment']);
       c.subscriptionBuilder().subscribe(tables => [tables.moment, tables.loggedOutPlayer.where(p => p.level.gt(3).and(p.identity.eq(identity)))]);
       token.length;
     }).build();
     const found: LoggedOutPlayer | undefined = connection.db.loggedOutPlayer.identity.find(connection.identity!);
     for (const row of connection.db.loggedOutPlayer.byLevel.filter([3, 4])) row.level;
     for (const row of connection.db.loggedOutPlayer.teamId.filter({ from: 3 })) row.teamId;
     connection.db.moment.onInsert((ctx: EventContext, row) => row.text.length + ctx.db.moment.tableName.length);
     const args: AddPlayerParams = { level: 1, position: { x: 1, y: 2 }, moods: [Mood.Happy], raw: new Uint8Array() };
     const done: Promise<void> = connection.reducers.addPlayer(args, { optimistic: draft => draft.moment.insert({ text: 'x' }) });
     const none: Promise<void> = connection.reducers.doNothing();
     const sum: Promise<bigint> = connection.procedures.add({ a: 1n, b: 2n });
     const shape = Shape.Circle(1.5);
     if (shape.tag === 'Rect') shape.value.x;
     export function Component() {
       const [rows, ready] = useTable(views.player.where(p => p.level.gte(10)));
       const add = useReducer(reducers.addPlayer);
       const nothing = useReducer(reducers.doNothing);
       const locate = useProcedure(procedures.locate);
       void add(args); void nothing(); void locate({ id: 1n }).then(p => p.x);
       return ready ? rows.map(row => row.name.length) : [];
     }
     // @ts-expect-error a u64 is a bigint
     connection.db.loggedOutPlayer.playerId.find(1);
     // @ts-expect-error no such table
     connection.db.nowhere;
     // @ts-expect-error not a unique column
     connection.db.loggedOutPlayer.level.find(1);
     // @ts-expect-error a parameter is missing
     connection.reducers.addPlayer({ level: 1 });
     // @ts-expect-error no such column
     tables.loggedOutPlayer.where(p => p.nothing.eq(1));
     // @ts-expect-error of another type
     tables.loggedOutPlayer.where(p => p.level.eq('high'));
     // @ts-expect-error no such variant
     Shape.Square;
     // @ts-expect-error of another type
     useReducer(reducers.addPlayer)({ level: 'x' });
     export const all = [found, done, none, sum, Conformance];`
  );
  execFileSync(
    join(top, 'build/tools/node_modules/.bin/tsc'),
    ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--noUnusedLocals', '--target', 'es2022', '--lib', 'es2022,dom,dom.iterable', '--module', 'esnext', '--moduleResolution', 'bundler', join(dir, 'use.ts')],
    { stdio: ['ignore', 'inherit', 'inherit'] }
  );
});

test('modules are typed: those of the tests compile on our library, and what is wrong does not', async () => {
  const dir = join(top, 'build/tools/e2e/typed-server');
  mkdirSync(dir, { recursive: true });
  writeFileSync(
    join(dir, 'wrong.ts'),
    `import { Range, schema, SenderError, t, table } from 'lightcone/server';
     const item = table(
       { name: 'item', indexes: [{ accessor: 'byBoth', algorithm: 'btree', columns: ['kind', 'size'] }] },
       { id: t.u64().primaryKey().autoInc(), kind: t.string().index(), size: t.u32(), note: t.option(t.string()) }
     );
     const db = schema({ item });
     export default db;
     export const right = db.reducer({ id: t.u64() }, (ctx, { id }) => {
       const row = ctx.db.item.id.find(id);
       if (!row) throw new SenderError('no');
       ctx.db.item.id.update({ ...row, note: undefined });
       for (const one of ctx.db.item.byBoth.filter(['a', new Range({ tag: 'included', value: 3 })])) one.size.toFixed();
       for (const one of ctx.db.item.byBoth.filter('a')) one.size.toFixed();
       const gone: number = ctx.db.item.kind.delete('b');
       ctx.db.item.insert({ id: 0n, kind: 'a', size: gone, note: ctx.random().toFixed() });
     });
     // @ts-expect-error not a column
     table({ name: 'x', indexes: [{ accessor: 'a', algorithm: 'btree', columns: ['nothing'] }] }, { id: t.u8() });
     db.reducer({ id: t.u64() }, (ctx, args) => {
       // @ts-expect-error a u64 is a bigint
       ctx.db.item.id.find(1);
       // @ts-expect-error not unique
       ctx.db.item.kind.find('a');
       // @ts-expect-error a column is missing
       ctx.db.item.insert({ id: 0n });
       // @ts-expect-error no such parameter
       args.nothing;
       // @ts-expect-error no such table
       ctx.db.nowhere;
       // @ts-expect-error the columns of an index come in order
       ctx.db.item.byBoth.filter([3]);
     });
     // @ts-expect-error returns another type
     db.procedure(t.u32(), () => 'text');
     db.anonymousView({ name: 'v' }, t.array(item.rowType), ctx => {
       // @ts-expect-error views only look
       ctx.db.item.insert({ id: 0n, kind: '', size: 1, note: undefined });
       return [];
     });`
  );
  const types = file => join(top, 'sdk/typescript/dist', file);
  writeFileSync(
    join(dir, 'tsconfig.json'),
    JSON.stringify({
      compilerOptions: {
        target: 'ESNext', module: 'ESNext', moduleResolution: 'bundler', lib: ['ES2021', 'dom'], noEmit: true, strict: true, types: [],
        paths: { spacetimedb: [types('index.d.ts')], 'spacetimedb/server': [types('server/index.d.ts')] },
      },
      files: [join(dir, 'wrong.ts'), ...['rich', 'views', 'clock', 'lanes', 'ledger', 'snapshots'].map(name => join(top, 'tests/modules', name, 'src/index.ts'))],
    })
  );
  execFileSync(join(top, 'build/tools/node_modules/.bin/tsc'), ['-p', dir], { stdio: ['ignore', 'inherit', 'inherit'] });
});
