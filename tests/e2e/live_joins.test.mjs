// Subscriptions over several tables, over rules with joins and over groups, through a server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Speaker } from './dialects.mjs';
import { bundle, callOk, newIdentity, published, rows, sql, startServer } from './support.mjs';

let server, ann, ben;
const open = [];
const name = 'joins';

before(async () => {
  server = await startServer();
  [ann, ben] = [await newIdentity(server), await newIdentity(server)];
  await published(server, name, bundle(`
    import { schema, table, t } from 'spacetimedb/server';
    const player = table({ name: 'player', public: true }, { id: t.u32().primaryKey(), zone: t.u32().index('btree'), gold: t.u32() });
    const zone = table({ name: 'zone', public: true }, { id: t.u32().primaryKey(), owner: t.u32().index('btree') });
    const secret = table({ name: 'secret', public: true }, { id: t.u32().primaryKey(), text: t.string() });
    const s = schema({ player, zone, secret });
    export default s;
    export const put_player = s.reducer({ id: t.u32(), zone: t.u32(), gold: t.u32() }, (ctx, row) => {
      ctx.db.player.id.delete(row.id);
      ctx.db.player.insert(row);
    });
    export const put_zone = s.reducer({ id: t.u32(), owner: t.u32() }, (ctx, row) => {
      ctx.db.zone.id.delete(row.id);
      ctx.db.zone.insert(row);
    });
    export const tell = s.reducer({ id: t.u32(), text: t.string() }, (ctx, row) => { ctx.db.secret.insert(row); });
    export const rule = s.clientVisibilityFilter.sql('SELECT secret.* FROM secret JOIN zone ON secret.id = zone.id WHERE zone.owner = 7');
  `), { token: ann.token });
});
after(async () => {
  for (const socket of open) socket.drop();
  await server?.end();
});

async function watching(dialect, text) {
  const socket = await Speaker.enter(server, name, dialect, { token: ben.token });
  open.push(socket);
  socket.say(socket.enc.subscribe(1, 1, text));
  const first = await socket.socket.next();
  assert.equal(first.error, undefined, text);
  return socket.socket;
}

const lists = message => {
  const table = (message.sets?.[0] ?? message).tables[0];
  return [table.table, table.rows[0].inserts ?? [], table.rows[0].deletes ?? []];
};
const u32 = (...numbers) => Buffer.concat(numbers.map(n => { const b = Buffer.alloc(4); b.writeUInt32LE(n); return b; })).toString('hex');
const put = (what, ...args) => callOk(server, name, what, args, ann.token);

for (const dialect of ['v2', 'v3']) {
  test(`${dialect}: rows come and go with their partners`, async () => {
    await put('put_zone', 1, 0);
    await put('put_player', 10, 1, 5);
    const socket = await watching(dialect, 'SELECT p.* FROM player p JOIN zone z ON p.zone = z.id WHERE z.owner = 3');
    await put('put_zone', 1, 3);
    let [table, inserts, deletes] = lists(await socket.next());
    assert.deepEqual([table, inserts, deletes], ['player', [u32(10, 1, 5)], []]);
    await put('put_player', 10, 1, 6);
    [, inserts, deletes] = lists(await socket.next());
    assert.deepEqual([inserts, deletes], [[u32(10, 1, 6)], [u32(10, 1, 5)]]);
    await put('put_zone', 1, 4);
    [, inserts, deletes] = lists(await socket.next());
    assert.deepEqual([inserts, deletes], [[], [u32(10, 1, 6)]]);
  });
}

test('groups come under the text of their query', async () => {
  const text = 'SELECT zone, COUNT(*) AS n FROM player WHERE zone = 20 GROUP BY zone';
  const socket = await watching('v2', `  ${text}  `);
  await put('put_player', 21, 20, 1);
  let [table, inserts, deletes] = lists(await socket.next());
  assert.deepEqual([table, inserts, deletes], [text, [u32(20, 1, 0)], []]);
  await put('put_player', 22, 20, 1);
  [, inserts, deletes] = lists(await socket.next());
  assert.deepEqual([inserts, deletes], [[u32(20, 2, 0)], [u32(20, 1, 0)]]);
  assert.deepEqual(await rows(server, name, text, ben.token), [[20, 2]]);
});

test('a rule with a join shows a row when the other table says so', async () => {
  const socket = await watching('v2', 'SELECT * FROM secret');
  await put('tell', 30, 'psst');
  await put('put_zone', 30, 7);
  let [table, inserts] = lists(await socket.next());
  assert.equal(table, 'secret');
  assert.ok(inserts.length === 1 && inserts[0].includes(Buffer.from('psst').toString('hex')));
  await put('put_zone', 30, 8);
  const [, , deletes] = lists(await socket.next());
  assert.equal(deletes.length, 1);
});

test('EXPLAIN SUBSCRIBE says what a change costs; what would look at all rows is refused', async () => {
  const lines = await rows(server, name, 'EXPLAIN SUBSCRIBE SELECT p.* FROM player p JOIN zone z ON p.zone = z.id WHERE z.owner = 3', ann.token);
  assert.ok(lines.some(([line]) => line.startsWith('a row of `zone` as `z` changes: subscribers by (owner)')), JSON.stringify(lines));
  const answer = await sql(server, name, 'EXPLAIN SUBSCRIBE SELECT p.* FROM player p JOIN zone z ON p.gold < z.id', ann.token);
  assert.equal(answer.status, 400);
  assert.match(answer.text, /Subscriptions require indexes on join columns/);
});
