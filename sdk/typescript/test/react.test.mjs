// The hooks without a browser: on a server, and what they stand on. The browser is tests/e2e/page.test.mjs.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { Connection, ConnectionBuilder, Reader, reducer, table } from '../dist/index.js';
import { LiveQuery } from '../dist/react/live.js';
import { LightconeProvider, SpacetimeDBProvider, useConnection, useReducer, useSpacetimeDB, useTable } from '../dist/react/index.js';
import { applied, FakeServer, greeting, say, sleep, until, update } from './support.mjs';

const module = {
  tables: { t: table('t', { read: r => ({ n: r.u32() }), write: (w, v) => w.u32(v.n) }, {}) },
  reducers: { add: reducer('add', { write: (w, v) => w.u32(v.n) }) },
  procedures: {},
};
const builderOf = server =>
  new ConnectionBuilder((config, callbacks) => new Connection(module, config, callbacks)).withUri(server.url).withDatabaseName('x');

test('on a server nothing connects, there are no rows, and calls say why not', async () => {
  const server = await new FakeServer().start();
  let call;
  const Page = () => {
    const [rows, isReady, { isStale }] = useTable(module.tables.t);
    const { status, isActive } = useConnection();
    call = useReducer(module.reducers.add);
    return createElement('p', null, `${rows.length} ${isReady} ${isStale} ${status} ${isActive}`);
  };
  const html = renderToString(createElement(LightconeProvider, { connectionBuilder: builderOf(server) }, createElement(Page)));
  assert.equal(html, '<p>0 false false connecting false</p>');
  await assert.rejects(call({ n: 1 }), { name: 'NotConnectedError' });
  await sleep(50);
  assert.equal(server.peers.length, 0);
  await server.end();
});

test('the names that existing code has are the same things', () => {
  assert.equal(SpacetimeDBProvider, LightconeProvider);
  assert.equal(useSpacetimeDB, useConnection);
});

test('a snapshot is the same object until one of its rows changes; two who ask the same share a subscription', async () => {
  const server = await new FakeServer().start();
  const connection = builderOf(server).build();
  const peer = await server.peer(0);
  peer.send(say(greeting));
  await until(() => connection.isActive, 'the greeting');
  const query = module.tables.t.where(t => t.n.gt(10));
  const [one, two] = [new LiveQuery(connection, query), new LiveQuery(connection, module.tables.t.where(t => t.n.gt(10)))];
  let notified = 0;
  const told = [];
  one.callbacks = { onInsert: row => told.push(`+${row.n}`), onDelete: row => told.push(`-${row.n}`) };
  const leave = [one.subscribe(() => notified++), two.subscribe(() => {})];
  const r = new Reader(await peer.next());
  assert.deepEqual([r.u8(), r.u32() >= 0], [0, true]);
  const set = r.u32();
  assert.deepEqual(r.array(r => r.string()), ['SELECT * FROM "t" WHERE "t"."n" > 10']);
  assert.equal(r.left, 0, 'one subscription for both');
  assert.equal(one.read().isReady, false);
  peer.send(say(applied(set, [11, 12])));
  await until(() => one.read().isReady, 'the rows');
  const first = one.read();
  assert.deepEqual(first.rows.map(row => row.n), [11, 12]);
  assert.equal(one.read(), first);
  assert.deepEqual(two.read().rows, first.rows);
  // Rows of the table that are somebody else's.
  const before = notified;
  peer.send(say(update(set, [5], [])));
  await until(() => connection.db.t.count() === 3n, 'the row of another query');
  assert.equal(one.read(), first);
  assert.equal(notified, before);
  peer.send(say(update(set, [13], [12])));
  await until(() => one.read() !== first, 'the change');
  assert.deepEqual(one.read().rows.map(row => row.n), [11, 13]);
  assert.equal(one.read().rows[0], first.rows[0], 'a row that did not change is the same object');
  assert.deepEqual([...told].sort(), ['+11', '+12', '+13', '-12'].sort());
  peer.drop();
  await until(() => one.read().isStale, 'the loss to be seen');
  assert.equal(one.read().rows.length, 2, 'and the rows stay');
  for (const each of leave) each();
  connection.disconnect();
  await server.end();
});

test('somebody who comes back at once finds the subscription as it was; one that nobody wants ends', async () => {
  const server = await new FakeServer().start();
  const connection = builderOf(server).build();
  const peer = await server.peer(0);
  peer.send(say(greeting));
  await until(() => connection.isActive, 'the greeting');
  const enter = () => new LiveQuery(connection, module.tables.t).subscribe(() => {});
  const leave = enter();
  const r = new Reader(await peer.next());
  r.skip(5);
  const set = r.u32();
  peer.send(say(applied(set, [1])));
  await until(() => connection.db.t.count() === 1n, 'the row');
  leave();
  const again = enter();
  await sleep(1200);
  assert.equal(peer.heard.length, 0, 'nothing was asked');
  again();
  const last = new Reader(await peer.next());
  assert.deepEqual([last.u8(), last.u32() > 0, last.u32()], [1, true, set]);
  connection.disconnect();
  await server.end();
});
