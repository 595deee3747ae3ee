// Two lanes: a reducer that outlives its slice goes on beside the others, and is right all the same.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readFileSync } from 'node:fs';
import { publishFlood, roundsFor } from './flood_support.mjs';
import { moduleBundle } from './harness.mjs';
import { call, callOk, enc, http, logs, moduleCode, newIdentity, patience, publish, published, rows, session, sleep, startServer, until, w } from './support.mjs';

const db = 'lanes';
let server, ann;

before(async () => {
  server = await startServer({ words: ['--reducer-deadline', '4000', '--slice-ms', '2'] });
  ann = await newIdentity(server);
  await published(server, db, moduleCode('lanes'), { token: ann.token });
});
after(async () => {
  await server?.end();
});

const entries = async who => (await rows(server, db, `SELECT id, n FROM entry WHERE who = '${who}'`)).sort((a, b) => a[0] - b[0]).map(([, n]) => n);
const counter = async n => (await rows(server, db, `SELECT value FROM counter WHERE id = ${n}`))[0]?.[0];
async function metric(name) {
  const { text } = await http(server, 'GET', '/v1/metrics');
  return text.split('\n').filter(line => line.startsWith(`${name}{`)).reduce((sum, line) => sum + Number(line.split(' ')[1]), 0);
}
const idMs = (id, ms) => w().u32(id).u32(ms).done();
const whoMs = (who, ms) => w().str(who).u32(ms).done();

// Call one after another until told to stop; gives the latencies in milliseconds.
async function shortCalls(socket, count, stopped = () => false) {
  const took = [];
  for (let i = 0; i < count && !stopped(); i++) {
    const began = performance.now();
    socket.say(enc.call(i, 'note', whoMs('short', i)));
    assert.equal((await socket.nextOf('result')).ok, true);
    took.push(performance.now() - began);
  }
  return took.sort((a, b) => a - b);
}
const percentile = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))];

test('short calls stay short beside a reducer of three seconds', async () => {
  const [slow, short] = [await session(server, db), await session(server, db)];
  await shortCalls(short, 200);
  const idle = await shortCalls(short, 2000);
  const began = performance.now();
  slow.say(enc.call(1, 'slow_alone', whoMs('long', 3000)));
  let done = false;
  const ended = slow.nextOf('result').then(result => ((done = true), result));
  const busy = await shortCalls(short, 2000);
  assert.ok(!done || performance.now() - began > 2900, 'the slow call ran beside them');
  assert.equal((await ended).ok, true);
  assert.deepEqual(await entries('long'), [1, 2]);
  const [quiet, loud] = [percentile(idle, 0.99), percentile(busy, 0.99)];
  console.log(`# p99 of a short call: ${quiet.toFixed(2)} ms alone, ${loud.toFixed(2)} ms beside it`);
  assert.ok(loud < Math.max(10 * quiet, 25), `p99 ${loud} ms`);
  await slow.bye();
  await short.bye();
});

test('one that never ends is stopped at the deadline; others are unharmed', async () => {
  const [mad, sane] = [await session(server, db), await session(server, db)];
  mad.say(enc.call(1, 'for_ever'), );
  let ended = false;
  const result = mad.nextOf('result').then(all => ((ended = true), all));
  const took = await shortCalls(sane, 100_000, () => ended);
  assert.match((await result).internal, /^reducer `for_ever` was stopped: it ran longer than its deadline of 4000 ms$/);
  assert.ok(took.length > 500, `${took.length} short calls`);
  assert.ok((await logs(server, db, ann.token)).some(line => line.function === 'for_ever' && /deadline/.test(line.message)));
  await callOk(server, db, 'note', ['after', 1]);
  await mad.bye();
  await sane.bye();
});

test('what a stale run did is undone and it runs again: no update is lost', async () => {
  const [slow, other] = [await session(server, db), await session(server, db)];
  const before = await metric('lightcone_conflicts_total');
  slow.say(enc.call(1, 'slow_increment', idMs(1, 300)));
  const answer = slow.nextOf('result');
  let done = false;
  answer.then(() => { done = true; });
  let others = 0;
  for (; !done; others++) { // whenever it reads, somebody writes after that
    other.say(enc.call(2, 'increment', w().u32(1).done()));
    assert.equal((await other.nextOf('result')).ok, true);
    await sleep(50);
  }
  assert.equal((await answer).ok, true);
  assert.equal(await counter(1), 1 + others);
  assert.ok((await metric('lightcone_conflicts_total')) > before);
  await slow.bye();
  await other.bye();
});

test('one that is always overtaken gets the database to itself in the end', async () => {
  const [slow, other] = [await session(server, db), await session(server, db)];
  const before = await metric('lightcone_exclusive_runs_total');
  let stop = false;
  let others = 0;
  const hammer = (async () => {
    for (; !stop; others++) {
      other.say(enc.call(others, 'increment', w().u32(2).done()));
      assert.equal((await other.nextOf('result')).ok, true);
    }
  })();
  slow.say(enc.call(1, 'slow_increment', idMs(2, 150)));
  assert.equal((await slow.nextOf('result')).ok, true);
  stop = true;
  await hammer;
  assert.equal(await counter(2), others + 1);
  assert.ok((await metric('lightcone_exclusive_runs_total')) > before);

  stop = false;
  const second = (async () => {
    for (; !stop; others++) {
      other.say(enc.call(others, 'increment', w().u32(2).done()));
      await other.nextOf('result');
    }
  })();
  slow.say(enc.call(2, 'slow_increment', idMs(2, 1500)));
  const result = await slow.nextOf('result');
  stop = true;
  await second;
  assert.match(result.internal, /^reducer `slow_increment` was stopped: others kept changing what it read, and it did not end in the 1000 ms it had the database to itself$/);
  assert.equal(await counter(2), others + 1);
  await slow.bye();
  await other.bye();
});

test('a range that others add to is a conflict, their other rows are not', async () => {
  const [slow, other] = [await session(server, db), await session(server, db)];
  const before = await metric('lightcone_conflicts_total');
  slow.say(enc.call(1, 'count', whoMs('seen', 250)));
  await sleep(80);
  for (let i = 0; i < 20; i++) other.say(enc.call(i, 'note', whoMs('unseen', i)));
  for (let i = 0; i < 20; i++) await other.nextOf('result');
  assert.equal((await slow.nextOf('result')).ok, true);
  assert.equal(await metric('lightcone_conflicts_total'), before);
  slow.say(enc.call(2, 'count', whoMs('seen', 250)));
  await sleep(80);
  other.say(enc.call(3, 'note', whoMs('seen', 1)));
  await other.nextOf('result');
  assert.equal((await slow.nextOf('result')).ok, true);
  assert.deepEqual(await entries('seen counted'), [0, 1]);
  assert.equal(await metric('lightcone_conflicts_total'), before + 1);
  await slow.bye();
  await other.bye();
});

test('calls of one connection keep their order behind a slow one; questions do too', async () => {
  const socket = await session(server, db);
  socket.say(
    enc.call(1, 'note', whoMs('order', 1)),
  );
  socket.say(enc.call(2, 'slow_alone', whoMs('order', 200)));
  for (let i = 3; i < 10; i++) socket.say(enc.call(i, 'note', whoMs('order', i)));
  socket.say(enc.oneOff(10, "SELECT * FROM entry WHERE who = 'order'"));
  const heard = [];
  for (let i = 1; i <= 9; i++) heard.push((await socket.next()).request);
  assert.deepEqual(heard, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
  const answer = await socket.next();
  assert.equal(answer.tables[0].rows.length, 10);
  assert.deepEqual(await entries('order'), [1, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  await socket.bye();
});

test('what it logs is logged once', async () => {
  const [slow, other] = [await session(server, db), await session(server, db)];
  slow.say(enc.call(1, 'slow_alone', whoMs('logger', 100)));
  assert.equal((await slow.nextOf('result')).ok, true);
  const lines = (await logs(server, db, ann.token)).map(line => line.message);
  for (const line of ['logger begins', 'logger ends']) assert.equal(lines.filter(l => l === line).length, 1, line);
  await slow.bye();
  await other.bye();
});

test('an error of its own is an answer and leaves nothing', async () => {
  const socket = await session(server, db);
  socket.say(enc.call(1, 'slow_failure', w().u32(100).done()));
  const result = await socket.nextOf('result');
  assert.equal(result.err, 'slow and wrong');
  assert.deepEqual(await entries('failed'), []);
  const answer = await call(server, db, 'slow_failure', [50]);
  assert.deepEqual([answer.status, answer.text], [530, 'slow and wrong']);
  await socket.bye();
});

test('subscribers see a slow call’s rows as one update, its caller in the result', async () => {
  const [slow, watcher] = [await session(server, db), await session(server, db)];
  for (const socket of [slow, watcher]) {
    socket.say(enc.subscribe(1, 1, "SELECT * FROM entry WHERE who = 'shown'"));
    await socket.next();
  }
  slow.say(enc.call(1, 'slow_alone', whoMs('shown', 60)));
  const result = await slow.next();
  assert.equal(result.kind, 'result');
  assert.equal(result.update[0].tables[0].rows[0].inserts.length, 2);
  const update = await watcher.next();
  assert.equal(update.sets[0].tables[0].rows[0].inserts.length, 2);
  await slow.bye();
  await watcher.bye();
});

test('a client that leaves is still worked for, then seen off', async () => {
  const socket = await session(server, db);
  socket.say(enc.call(1, 'slow_alone', whoMs('leaver', 300)));
  socket.say(enc.call(2, 'note', whoMs('leaver', 3)));
  await sleep(50);
  socket.drop();
  await until(async () => (await entries('leaver')).length === 3, 'its calls', patience);
  assert.deepEqual(await entries('leaver'), [1, 2, 3]);
});

test('arriving and leaving may be slow: others do not notice, the rows are right', async () => {
  const short = await session(server, db);
  await callOk(server, db, 'turn_knob', [200, 200], ann.token);
  const slow = session(server, db);
  const took = await shortCalls(short, 300);
  const arrived = await slow;
  assert.ok(percentile(took, 0.9) < 100, `p90 ${percentile(took, 0.9)} ms`);
  const clients = (await rows(server, db, 'SELECT * FROM st_client')).length;
  assert.ok(clients >= 2);
  await arrived.bye();
  await until(async () => {
    short.say(enc.oneOff(1, 'SELECT * FROM st_client'));
    return (await short.nextOf('rows')).tables[0].rows.length === 1;
  }, 'only the watcher to be left', patience);
  short.say(enc.call(2, 'turn_knob', idMs(0, 0)));
  assert.equal((await short.nextOf('result')).ok, true);
  await short.bye();
});

test('scheduled reducers may be slow', async () => {
  const short = await session(server, db);
  await callOk(server, db, 'plan_chore', ['chore', 3000]);
  await callOk(server, db, 'plan_chore', ['chore 2', 1]);
  await until(async () => (await entries('chore 2')).length === 1, 'the short one', patience);
  assert.equal((await entries('chore')).length, 0, 'it did not wait for the long one');
  const took = await shortCalls(short, 300);
  assert.ok(percentile(took, 0.9) < 100, `p90 ${percentile(took, 0.9)} ms`);
  await until(async () => (await entries('chore')).length === 1, 'the chore', patience);
  await until(async () => (await rows(server, db, 'SELECT * FROM chore')).length === 0, 'its row to go', patience);
  await short.bye();
});

test('a reducer that keeps overrunning begins in the slow lane, and comes back', async () => {
  const socket = await session(server, db);
  let n = 0;
  const run = async ms => {
    socket.say(enc.call(n++, 'slow_alone', whoMs('habit', ms)));
    assert.equal((await socket.nextOf('result')).ok, true);
  };
  for (let i = 0; i < 6; i++) await run(8);
  const [overran, slow] = [await metric('lightcone_slices_used_up_total'), await metric('lightcone_slow_calls_total')];
  for (let i = 0; i < 4; i++) await run(8);
  assert.ok((await metric('lightcone_slow_calls_total')) >= slow + 4);
  assert.ok((await metric('lightcone_slices_used_up_total')) <= overran + 1, 'without trying the loop first');
  for (let i = 0; i < 60; i++) await run(0);
  const later = await metric('lightcone_slow_calls_total');
  for (let i = 0; i < 20; i++) await run(0);
  assert.ok((await metric('lightcone_slow_calls_total')) <= later + 3, 'it is short again');
  await socket.bye();
});

test('a machine that is full makes no short call a slow one', async t => {
  const bustle = await startServer({ words: ['--slice-ms', '4'] });
  t.after(() => bustle.end());
  const socket = await (async () => {
    await publishFlood(bustle, 'bustle', (await newIdentity(bustle)).token);
    return session(bustle, 'bustle');
  })();
  const rounds = await roundsFor(bustle, 'bustle', 0.4);
  const slow = async () => {
    const { text } = await http(bustle, 'GET', '/v1/metrics');
    return Number(/^lightcone_slow_calls_total\{[^}]*\} (\d+)/m.exec(text)[1]);
  };
  const before = await slow();
  const began = performance.now();
  let calls = 0;
  // The whole server is set aside, most of the time: nearly every call is under way when that happens.
  const kill = signal => process.kill(bustle.child.pid, signal);
  const full = (async () => {
    while (performance.now() - began < 3000) {
      kill('SIGSTOP');
      await sleep(10);
      kill('SIGCONT');
      await sleep(1);
    }
  })();
  while (performance.now() - began < 3000) {
    socket.say(enc.call(calls++, 'burn', w().u32(rounds).done()));
    assert.equal((await socket.nextOf('result')).ok, true);
  }
  await full;
  const { text } = await http(bustle, 'GET', '/v1/metrics');
  const away = Number(/^lightcone_away_us_total\{[^}]*\} (\d+)/m.exec(text)[1]);
  const wrong = (await slow()) - before;
  console.log(`# ${calls} calls of about half a millisecond, ${away} us of others' time noticed in them, ${wrong} went to the slow lane`);
  assert.ok(away > 100_000, `${away} us`);
  assert.ok(wrong <= calls / 20, `${wrong} of ${calls}`); // a third or more where the clock alone decides
  await socket.bye();
});

test('many clients at once, slow and short: every increment counts', async () => {
  const clients = await Promise.all(Array.from({ length: 8 }, () => session(server, db)));
  let done = 0;
  await Promise.all(
    clients.map(async (socket, c) => {
      for (let i = 0; i < 20; i++) {
        const slow = c < 2 && i < 6;
        if (slow) socket.say(enc.call(i, 'slow_increment', idMs(3, 20)));
        else socket.say(enc.call(i, 'increment', w().u32(3).done()));
        const result = await socket.nextOf('result');
        if (result.ok) done++;
      }
    })
  );
  assert.equal(done, clients.length * 20);
  assert.equal(await counter(3), done);
  for (const socket of clients) await socket.bye();
});

test('a new module while slow calls run: they begin again on it', async () => {
  const socket = await session(server, db);
  socket.say(enc.call(1, 'slow_increment', idMs(4, 600)));
  socket.say(enc.call(2, 'note', whoMs('republished', 1)));
  await sleep(200);
  const code = `${moduleCode('lanes')}\n// a new version`;
  assert.equal((await publish(server, db, code, { token: ann.token })).status, 200);
  assert.equal((await socket.nextOf('result')).ok, true);
  assert.equal((await socket.nextOf('result')).ok, true);
  assert.equal(await counter(4), 1);
  await socket.bye();
});

test('wasm too: slow ones go on beside the others, and one that never ends is stopped', async () => {
  const wasm = 'lanes-c';
  const code = readFileSync(moduleBundle('lanes-c'));
  const answer = await http(server, 'PUT', `/v1/database/${wasm}?host_type=Wasm`, { token: ann.token, body: code });
  assert.equal(answer.status, 200, answer.text);
  const [mad, slow, short] = await Promise.all([1, 2, 3].map(() => session(server, wasm)));
  let ended = false;
  mad.say(enc.call(1, 'for_ever'));
  const stopped = mad.nextOf('result').then(all => ((ended = true), all));
  const took = [];
  let others = 0;
  for (let i = 0; i < 6; i++) slow.say(enc.call(i, 'slow_increment', idMs(1, 10)));
  for (; !ended; others++) {
    const began = performance.now();
    short.say(enc.call(others, 'increment', w().u32(1).done()));
    assert.equal((await short.nextOf('result')).ok, true);
    took.push(performance.now() - began);
  }
  assert.match((await stopped).internal, /^reducer `for_ever` was stopped: it ran longer than its deadline of 4000 ms$/);
  for (let i = 0; i < 6; i++) assert.equal((await slow.nextOf('result')).ok, true);
  const [[value]] = await rows(server, wasm, 'SELECT value FROM counter WHERE id = 1');
  assert.equal(value, others + 6);
  took.sort((a, b) => a - b);
  assert.ok(percentile(took, 0.9) < 50, `p90 ${percentile(took, 0.9)} ms`);
  for (const socket of [mad, slow, short]) await socket.bye();
});

test('a server stops with everything in flight, and what was answered is there', async () => {
  const own = await startServer({ words: ['--slice-ms', '2', '--outbound-http', 'all'] });
  try {
    await published(own, db, moduleCode('lanes'));
    const clients = await Promise.all(Array.from({ length: 6 }, () => session(own, db)));
    let answered = 0;
    clients.forEach((socket, c) => {
      if (c === 0) socket.say(enc.call(1, 'for_ever'));
      else if (c === 1) socket.say(enc.call(1, 'slow_alone', whoMs('x', 5000)));
      else if (c === 2) socket.say(enc.procedure(1, 'spin_procedure', w().u32(60_000).done()));
      else if (c === 3) socket.say(enc.procedure(1, 'deposit', idMs(1, 60_000)));
      else
        (async () => {
          for (let i = 0; ; i++) {
            socket.say(enc.call(i, 'note', whoMs('flood', i)));
            await socket.nextOf('result');
            answered++;
          }
        })().catch(() => {});
    });
    await until(() => answered > 0, 'an answer beside the long ones', patience);
    await sleep(300);
    const began = Date.now();
    await own.stop();
    assert.ok(Date.now() - began < 6000, `it took ${Date.now() - began} ms`);
    await own.start();
    const kept = (await rows(own, db, "SELECT id FROM entry WHERE who = 'flood'")).length;
    assert.ok(kept >= answered && answered > 0, `${kept} kept, ${answered} answered`);
    assert.equal((await rows(own, db, "SELECT * FROM entry WHERE who = 'x'")).length, 0);
  } finally {
    await own.end();
  }
});
