// What reads much reads a snapshot, beside the loop: nobody waits for it, and it sees one moment.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  call, callOk, enc, http, moduleCode, newIdentity, patience, published, rows, session, sleep, sql, startServer, until, w,
} from './support.mjs';

const db = 'snapshots';
const many = 200_000;
let server, ann;

before(async () => {
  server = await startServer({ words: ['--slice-ms', '5'] });
  ann = await newIdentity(server);
  await published(server, db, moduleCode('snapshots'), { token: ann.token });
  for (let from = 0; from < many; from += 20_000) await callOk(server, db, 'fill', [from, 20_000], ann.token);
});
after(async () => {
  await server?.end();
});

const transfer = (from, to, amount) => w().u32(from).u32(to).raw(i64(amount)).done();
function i64(n) {
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(n));
  return bytes;
}
async function metric(name) {
  const { text } = await http(server, 'GET', '/v1/metrics');
  return text.split('\n').filter(line => line.startsWith(`${name}{`)).reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
}

// Move money about, one transfer after another, until told to stop.
function traffic(socket, stopped) {
  const took = [];
  return (async () => {
    for (let i = 0; !stopped(); i++) {
      const began = performance.now();
      socket.say(enc.call(i, 'transfer', transfer((i * 7919) % many, (i * 104_729 + 1) % many, (i % 9) + 1)));
      assert.equal((await socket.nextOf('result')).ok, true);
      took.push(performance.now() - began);
    }
    return took.sort((a, b) => a - b);
  })();
}
// Each a WebSocket message of its own, as v2 has it.
const ask = (socket, ...messages) => messages.forEach(message => socket.say(message));
const percentile = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];

// account: id u32, owner u32, balance i64.
const account = hex => {
  const row = Buffer.from(hex, 'hex');
  return [row.readUInt32LE(0), row.readBigInt64LE(8)];
};
const sum = cache => [...cache.values()].reduce((all, balance) => all + balance, 0n);
function take(cache, sets, set) {
  for (const { set: of, tables } of sets) {
    if (of !== set) continue;
    for (const { rows: pieces } of tables)
      for (const { inserts, deletes } of pieces) {
        for (const hex of deletes) {
          const [id, balance] = account(hex);
          assert.equal(cache.get(id), balance, `what is removed was there: ${id}`);
          cache.delete(id);
        }
        for (const hex of inserts) {
          const [id, balance] = account(hex);
          assert.ok(!cache.has(id), `what is added was not there: ${id}`);
          cache.set(id, balance);
        }
      }
  }
}

test('a query over everything sees one moment, while writes go on', async () => {
  const writer = await session(server, db);
  let stop = false;
  const done = traffic(writer, () => stop);
  for (let i = 0; i < 4; i++) {
    const all = await rows(server, db, 'SELECT id, balance FROM account');
    assert.equal(all.length, many);
    assert.equal(all.reduce((total, [, balance]) => total + balance, 0), many * 100);
  }
  stop = true;
  const took = await done;
  console.log(`# ${took.length} transfers beside four scans: p50 ${percentile(took, 0.5).toFixed(2)} ms, p99 ${percentile(took, 0.99).toFixed(2)} ms`);
  assert.ok(await metric('lightcone_reads_total') >= 4);
  await writer.bye();
});

test('a subscriber of two hundred thousand rows gets them once, and what happens meanwhile after them', async () => {
  const [writer, reader] = [await session(server, db), await session(server, db)];
  let stop = false;
  const done = traffic(writer, () => stop);
  await sleep(50);
  reader.say(enc.subscribe(1, 1, 'SELECT * FROM note'));
  assert.equal((await reader.next()).kind, 'subscribed');
  ask(reader, enc.subscribe(2, 2, 'SELECT * FROM account'), enc.oneOff(3, 'SELECT * FROM pace WHERE id = 0'));
  const cache = new Map();
  const first = await reader.next('the rows', patience);
  assert.equal(first.kind, 'subscribed', 'nothing comes before them');
  for (const hex of first.tables[0].rows) cache.set(...account(hex));
  assert.equal(cache.size, many);
  assert.equal(sum(cache), BigInt(many) * 100n);
  let updates = 0, answered = false;
  while (updates < 300 || !answered) {
    const message = await reader.next('an update');
    if (message.kind === 'rows') answered = true;
    if (message.kind !== 'update') continue;
    take(cache, message.sets, 2);
    updates++;
  }
  stop = true;
  await done;
  // Behind everything that was committed: the cache is what the query says.
  writer.say(enc.call(1, 'write', w().u32(7).done()));
  for (let last = false; !last; ) {
    const message = await reader.next('the last update');
    if (message.kind !== 'update') continue;
    take(cache, message.sets, 2);
    last = message.sets.some(({ set }) => set === 1);
  }
  const all = await rows(server, db, 'SELECT id, balance FROM account');
  assert.equal(all.length, cache.size);
  for (const [id, balance] of all) assert.equal(cache.get(id), BigInt(balance));
  ask(reader, enc.unsubscribe(4, 2, true), enc.oneOff(5, 'SELECT * FROM note WHERE n = 7'));
  const gone = await reader.next('the last rows', patience);
  assert.equal(gone.kind, 'unsubscribed');
  assert.equal(gone.tables[0].rows.length, many);
  const asked = await reader.next();
  assert.deepEqual([asked.kind, asked.request], ['rows', 5]);
  await Promise.all([writer.bye(), reader.bye()]);
});

// What a subscription needs first is made beside the loop, too: a group is counted, a table arranged by a
// column without an index. Whatever is committed meanwhile is in the first answer or behind it.
for (const [what, text] of [
  ['a group is counted', 'SELECT COUNT(*) AS n FROM account WHERE balance > 100'],
  ['a table is arranged', 'SELECT b.* FROM account b JOIN account a ON a.balance = b.balance WHERE a.id = 7 AND b.id < 5'],
]) {
  test(`while ${what}, others go on; two who ask for the same get it, and what happens meanwhile`, async () => {
    const writer = await session(server, db);
    const readers = await Promise.all([session(server, db), session(server, db)]);
    await callOk(server, db, 'write', [103], ann.token);
    let stop = false;
    const done = traffic(writer, () => stop);
    await sleep(50);
    const reads = await metric('lightcone_reads_total');
    for (const reader of readers) ask(reader, enc.subscribe(1, 1, text), enc.oneOff(2, 'SELECT * FROM pace WHERE id = 0'));
    const held = await Promise.all(readers.map(async reader => {
      const first = await reader.next('the first rows', patience);
      assert.equal(first.kind, 'subscribed', JSON.stringify(first));
      return new Map((first.tables[0]?.rows ?? []).map(row => [row, 1]));
    }));
    assert.ok((await metric('lightcone_reads_total')) > reads, 'a worker was asked');
    await sleep(300);
    stop = true;
    const took = await done;
    console.log(`# while ${what}: ${took.length} transfers, p50 ${percentile(took, 0.5).toFixed(2)} ms, at most ${took.at(-1).toFixed(1)} ms`);
    const now = await rows(server, db, text);
    for (const [i, reader] of readers.entries()) {
      ask(reader, enc.oneOff(9, 'SELECT * FROM note WHERE n = 103'));
      for (;;) {
        const message = await reader.next('an update');
        if (message.kind === 'rows' && message.request === 9) break;
        if (message.kind !== 'update') continue;
        for (const { tables } of message.sets)
          for (const { rows: pieces } of tables)
            for (const { inserts, deletes } of pieces) {
              for (const row of inserts) held[i].set(row, (held[i].get(row) ?? 0) + 1);
              for (const row of deletes) {
                assert.ok(held[i].get(row) > 0, 'what is removed was there');
                if (held[i].get(row) === 1) held[i].delete(row);
                else held[i].set(row, held[i].get(row) - 1);
              }
            }
      }
      const numbers = [...held[i].keys()].map(hex => Buffer.from(hex, 'hex')).map(row => (row.length === 8 ? Number(row.readBigUInt64LE()) : row.readUInt32LE()));
      assert.deepEqual(numbers.sort(), now.map(([n]) => n).sort());
    }
    await Promise.all([writer, ...readers].map(socket => socket.bye()));
  });
}

test('what one client asks keeps its order around a large answer', async () => {
  const socket = await session(server, db);
  ask(
    socket,
    enc.call(1, 'write', w().u32(11).done()),
    enc.oneOff(2, 'SELECT * FROM account'),
    enc.call(3, 'write', w().u32(12).done()),
    enc.oneOff(4, 'SELECT * FROM note WHERE n = 12')
  );
  const seen = [];
  while (seen.length < 4) {
    const message = await socket.next();
    if (message.kind === 'rows') seen.push([message.request, message.tables[0].rows.length]);
    if (message.kind === 'result') seen.push([message.request, message.ok]);
  }
  assert.deepEqual(seen, [[1, true], [2, many], [3, true], [4, 1]]);
  await socket.bye();
});

test('an answer that is too large is refused with the limit, by every door', async () => {
  const small = await startServer({ words: ['--setting', 'result_rows_max=1500'] });
  await published(small, db, moduleCode('snapshots'), { token: (await newIdentity(small)).token });
  await callOk(small, db, 'fill', [0, 2000]);
  const answer = await sql(small, db, 'SELECT id FROM account');
  assert.equal(answer.status, 413, answer.text);
  assert.match(answer.text, /larger than this server allows \(\d+ bytes or 1500 rows\)/);
  assert.equal((await rows(small, db, 'SELECT id FROM account LIMIT 1500')).length, 1500);
  const socket = await session(small, db);
  ask(socket, enc.subscribe(1, 1, 'SELECT * FROM account'), enc.oneOff(2, 'SELECT * FROM account'));
  const [refused, error] = [await socket.next(), await socket.next()];
  assert.equal(refused.kind, 'refused');
  assert.match(refused.error, /1500 rows/);
  assert.match(error.error, /1500 rows/);
  // The set's number is free again, and the connection goes on.
  socket.say(enc.subscribe(3, 1, 'SELECT * FROM account WHERE owner = 1'));
  assert.equal((await socket.next()).tables[0].rows.length, 500);
  await socket.bye();
  await small.end();
});

test('a client that goes away takes its questions along', async () => {
  const before = await metric('lightcone_reads_cancelled_total');
  const sockets = await Promise.all(Array.from({ length: 12 }, () => session(server, db)));
  for (const socket of sockets) ask(socket, enc.oneOff(1, 'SELECT * FROM account'), enc.oneOff(2, 'SELECT * FROM account'));
  await sleep(20);
  for (const socket of sockets) socket.drop();
  await until(async () => (await metric('lightcone_reads_active')) === 0, 'every read to end');
  assert.ok(await metric('lightcone_reads_cancelled_total') > before);
  await until(async () => (await metric('lightcone_snapshots_live')) === 0, 'every snapshot to be released');
});

test('more readers than places are all served', async () => {
  const sockets = await Promise.all(Array.from({ length: 12 }, () => session(server, db)));
  for (const socket of sockets) socket.say(enc.subscribe(1, 1, 'SELECT * FROM account WHERE owner = 3'));
  for (const socket of sockets) {
    const message = await socket.next('its rows', patience);
    assert.equal(message.tables[0].rows.length, many / 4);
  }
  await Promise.all(sockets.map(socket => socket.bye()));
});

// ---- slow views

test('a slow view holds up neither the writer nor the others, and arrives late', async () => {
  const [writer, watcher] = [await session(server, db), await session(server, db)];
  await callOk(server, db, 'set_pace', [0, 1]);
  watcher.say(enc.subscribe(1, 1, 'SELECT * FROM slow'));
  assert.equal((await watcher.next()).kind, 'subscribed');
  const runs = await metric('lightcone_view_late_total');
  const began = performance.now();
  writer.say(enc.call(1, 'set_pace', w().u32(1000).u32(2).done()));
  assert.equal((await writer.nextOf('result')).ok, true);
  const answered = performance.now() - began;
  assert.ok(answered < 500, `the writer was answered after ${answered} ms`);
  const update = await watcher.nextOf('update');
  const took = performance.now() - began;
  assert.ok(took > 900, `the update came after ${took} ms`);
  const [{ inserts, deletes }] = update.sets[0].tables[0].rows;
  assert.deepEqual([inserts, deletes], [['02000000'], ['01000000']]);
  assert.ok(await metric('lightcone_view_late_total') > runs);
  await Promise.all([writer.bye(), watcher.bye()]);
});

test('who subscribes to a slow view waits for it, nobody else does', async () => {
  await callOk(server, db, 'set_pace', [1500, 3]);
  const [other, first, second] = [await session(server, db), await session(server, db), await session(server, db)];
  const began = performance.now();
  ask(first, enc.subscribe(1, 1, 'SELECT * FROM mine'), enc.call(2, 'write', w().u32(1).done()));
  second.say(enc.oneOff(1, 'SELECT * FROM slow'));
  await sleep(30);
  const asked = performance.now();
  for (let i = 0; i < 20; i++) {
    other.say(enc.call(i, 'write', w().u32(i).done()));
    assert.equal((await other.nextOf('result')).ok, true);
  }
  const took = performance.now() - asked;
  assert.ok(took < 1400, `short calls were served meanwhile: ${took} ms`);
  const applied = await first.next('its rows', patience);
  assert.equal(applied.kind, 'subscribed');
  assert.deepEqual(applied.tables[0].rows, ['03000000']);
  assert.ok(performance.now() - began > 1400);
  assert.equal((await first.next()).kind, 'result');
  const shown = await second.next('its rows', patience);
  assert.deepEqual(shown.tables[0].rows, ['03000000']);
  assert.equal((await sql(server, db, 'SELECT value FROM slow')).status, 200);
  await Promise.all([other.bye(), first.bye(), second.bye()]);
});

test('a slow view whose inputs never rest is shown all the same, and ends right', async () => {
  await callOk(server, db, 'set_pace', [0, 0]);
  const [writer, watcher] = [await session(server, db), await session(server, db)];
  let stop = false;
  const done = traffic(writer, () => stop);
  watcher.say(enc.subscribe(1, 1, 'SELECT * FROM total'));
  const applied = await watcher.next('its row', patience);
  assert.equal(applied.kind, 'subscribed');
  assert.deepEqual(applied.tables[0].rows, [i64(many * 100).toString('hex')], 'of one moment');
  stop = true;
  await done;
  await callOk(server, db, 'fill', [many, 1]);
  const update = await watcher.nextOf('update', patience);
  const [{ inserts }] = update.sets[0].tables[0].rows;
  assert.deepEqual(inserts, [i64((many + 1) * 100).toString('hex')]);
  await Promise.all([writer.bye(), watcher.bye()]);
});
