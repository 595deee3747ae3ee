// SQL statements among everything else a server does: subscribers, views, workers.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { lightcone, temporaryDirectory } from './harness.mjs';
import { bundle, callOk, enc, newIdentity, published, rows, session, sql, startServer } from './support.mjs';

let server, ann, ben;
const open = [];
before(async () => {
  server = await startServer();
  [ann, ben] = [await newIdentity(server), await newIdentity(server)];
  await published(server, 'shop', bundle(`
    import { schema, table, t } from 'spacetimedb/server';
    const item = table({ name: 'item', public: true }, { id: t.u32().primaryKey(), owner: t.identity().index('btree'), price: t.i32(), name: t.string() });
    const tag = table({ name: 'tag', public: true }, { id: t.u32().primaryKey(), item: t.u32().index('btree'), word: t.string() });
    const shop = schema({ item, tag });
    export default shop;
    export const mine = shop.view({ name: 'mine', public: true }, t.array(item.rowType), ctx => [...ctx.db.item.owner.filter(ctx.sender)]);
    export const fill = shop.reducer({ count: t.u32() }, (ctx, { count }) => {
      for (let i = 1; i <= count; i++) {
        ctx.db.item.insert({ id: i, owner: ctx.sender, price: i % 100, name: 'n' + i });
        ctx.db.tag.insert({ id: i, item: i, word: i % 2 ? 'odd' : 'even' });
      }
    });
    export const add = shop.reducer({ price: t.i32() }, (ctx, { price }) => {
      ctx.db.item.insert({ id: 50_000, owner: ctx.sender, price, name: 'own' });
    });
  `), { token: ann.token });
});
after(async () => {
  for (const socket of open) socket.drop();
  await server?.end();
});

test('who subscribes hears what a statement wrote, once', async () => {
  const socket = await session(server, 'shop', { protocols: ['v3.bsatn.spacetimedb'], token: ben.token });
  open.push(socket);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM tag WHERE word = \'new\''));
  assert.equal((await socket.next()).kind, 'subscribed');
  const change = async () => {
    const { kind, sets } = await socket.next();
    assert.equal(kind, 'update');
    const { inserts, deletes } = sets[0].tables[0].rows[0];
    return [inserts.length, deletes.length];
  };
  await rows(server, 'shop', "INSERT INTO tag (id, item, word) VALUES (900001, 1, 'new'), (900002, 1, 'old')", ann.token);
  assert.deepEqual(await change(), [1, 0]);
  await rows(server, 'shop', "UPDATE tag SET item = 2 WHERE id = 900001", ann.token);
  assert.deepEqual(await change(), [1, 1]);
  await rows(server, 'shop', "UPDATE tag SET item = 2 WHERE id = 900001", ann.token);
  await rows(server, 'shop', "DELETE FROM tag WHERE id > 900000", ann.token);
  assert.deepEqual(await change(), [0, 1], 'a row rewritten to itself is no change');
});

test('a statement that fails leaves nothing behind', async () => {
  const answer = await sql(server, 'shop', "INSERT INTO tag (id, item, word) VALUES (800001, 1, 'a'), (800001, 2, 'b')", ann.token);
  assert.equal(answer.status, 400);
  assert.match(answer.text, /^Unique constraint violation '\w+' in table 'tag': column\(s\): 'id' value: 800001$/);
  assert.deepEqual(await rows(server, 'shop', 'SELECT * FROM tag WHERE id = 800001', ann.token), []);
  const refused = await sql(server, 'shop', 'DELETE FROM tag', ben.token);
  assert.equal(refused.text, `Caller ${ben.identity} is not authorized to run SQL DML statements`);
});

test('joins, groups and order, small on the loop and large on a worker', async () => {
  const question = count => `SELECT t.word, COUNT(*) AS n, MIN(i.price) AS low, SUM(i.id) AS total FROM item i JOIN tag t ON t.item = i.id WHERE i.id <= ${count} GROUP BY t.word ORDER BY t.word`;
  const expected = count => {
    const of = rest => Array.from({ length: count }, (_, i) => i + 1).filter(i => i % 2 === rest);
    return [0, 1].map(rest => [rest ? 'odd' : 'even', of(rest).length, Math.min(...of(rest).map(i => i % 100)), of(rest).reduce((a, b) => a + b, 0)]);
  };
  await callOk(server, 'shop', 'fill', [20_000], ann.token);
  for (const count of [10, 20_000]) assert.deepEqual(await rows(server, 'shop', question(count), ann.token), expected(count));
  const [[scan], [lookup]] = await rows(server, 'shop', 'EXPLAIN SELECT i.id FROM tag t JOIN item i ON i.id = t.item WHERE t.id = 7', ann.token);
  assert.equal(scan, 'scan `tag` as `t` by (id =)');
  assert.equal(lookup, 'look up `item` as `i` by unique (id)');

  const analyzed = await rows(server, 'shop', "EXPLAIN ANALYZE SELECT i.id FROM tag t JOIN item i ON i.id = t.item WHERE t.word = 'odd' ORDER BY i.id LIMIT 3", ann.token);
  assert.deepEqual(analyzed.map(([plan, , touched, kept]) => [plan, touched, kept]), [
    ['scan `tag` as `t`, filter', [0, 20_000], [0, 10_000]],
    ['look up `item` as `i` by unique (id)', [0, 10_000], [0, 10_000]],
    ['sort by id', [1, []], [0, 3]],
    ['limit 3', [1, []], [1, []]],
  ]);

  const socket = await session(server, 'shop', { protocols: ['v3.bsatn.spacetimedb'], token: ben.token });
  open.push(socket);
  socket.say(enc.oneOff(1, "SELECT i.* FROM item i JOIN tag t ON t.item = i.id WHERE t.word = 'odd'"));
  assert.equal((await socket.next()).tables[0].rows.length, 10_000);
});

test('case 121: a view in a join is everybody\'s own', async () => {
  await callOk(server, 'shop', 'add', [-5], ben.token);
  const [[id]] = await rows(server, 'shop', 'SELECT id FROM mine', ben.token);
  await rows(server, 'shop', `INSERT INTO tag (id, item, word) VALUES (700001, ${id}, 'his')`, ann.token);
  const question = 'SELECT m.price, t.word FROM mine m JOIN tag t ON t.item = m.id WHERE m.price < 0';
  assert.deepEqual(await rows(server, 'shop', question, ben.token), [[-5, 'his']]);
  assert.deepEqual(await rows(server, 'shop', question, ann.token), []);
  assert.deepEqual(await rows(server, 'shop', 'SELECT a.id FROM mine a JOIN mine b ON a.id = b.id', ben.token), [[id]]);
  assert.deepEqual(await rows(server, 'shop', "SELECT COUNT(*) AS n FROM tag t LEFT JOIN mine m ON m.id = t.item WHERE m.id IS NULL AND t.word = 'his'", ann.token), [[1]]);
  const refused = await sql(server, 'shop', 'DELETE FROM mine', ann.token);
  assert.equal(refused.text, '`mine` is a view; DML on views is not supported');
});

test('the prompt edits lines and remembers them; --json is the answer as it came', async () => {
  const home = temporaryDirectory('prompt');
  const env = { ...process.env, HOME: home, XDG_CONFIG_HOME: join(home, '.config'), TERM: 'xterm', LC_ALL: 'C.UTF-8' };
  const words = ['sql', '--no-config', '-s', server.url, 'shop'];
  execFileSync(lightcone, ['login', '--token', ann.token], { env });
  const json = execFileSync(lightcone, [...words, '--json', 'SELECT COUNT(*) AS n FROM tag WHERE false'], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  assert.deepEqual(JSON.parse(json)[0].rows, [[0]]);
  const up = '\x1b[A';
  writeFileSync(join(home, 'typed'), `SELECT 40 FROM tag\nSELECT COUNT(*) AS nn FROM tag WHERE false\n${up}\n.exit\n`);
  const shown = execFileSync('script', ['-qec', [lightcone, ...words, '--interactive'].join(' '), '/dev/null'], {
    env, encoding: 'utf8', input: readFileSync(join(home, 'typed')),
  });
  assert.equal(shown.match(/^ nn *\r?$/gm).length, 2, shown);
  assert.match(shown, /Error: Unsupported projection expression: 40/);
  const history = join(home, '.config/lightcone/sql_history');
  assert.match(readFileSync(history, 'utf8'), /SELECT/);
  assert.equal(statSync(history).mode & 0o077, 0, 'for its owner only');
});
