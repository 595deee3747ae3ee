// Scheduled tables: a row is a promise to run something, once or again and again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { call, callOk, enc, logs, moduleCode, newIdentity, patience, published, rows, session, startServer, until } from './support.mjs';

let server, ann, id;
const db = 'clock';

before(async () => {
  server = await startServer();
  ann = await newIdentity(server);
  id = await published(server, db, moduleCode('clock'), { token: ann.token });
});
after(async () => {
  await server?.end();
});

const now = () => Date.now() * 1000;
const at = micros => ({ __timestamp_micros_since_unix_epoch__: micros });
const quoted = text => `'${text.replaceAll("'", "''")}'`;
const planAt = (label, micros, left = 0) => callOk(server, db, 'plan_at', [label, at(micros), left]);
const planEvery = (label, micros, left = 0) => callOk(server, db, 'plan_every', [label, micros, left]);

// Runs of a label, oldest first: { at, due, by, connected }.
async function runs(label) {
  const found = await rows(server, db, `SELECT * FROM ran WHERE label = ${quoted(label)}`);
  return found
    .toSorted((a, b) => a[0] - b[0])
    .map(([, , [when], due, [by], connected]) => ({ at: when, due: due[0] === 0 ? due[1][0] : null, by, connected }));
}
const jobs = label => rows(server, db, `SELECT * FROM job WHERE label = ${quoted(label)}`);
const ranTimes = (label, count) =>
  until(async () => {
    const all = await runs(label);
    return all.length >= count && all;
  }, `${count} runs of ${label}`, patience);

test('a time that has passed runs at once, one ahead when it comes', async () => {
  await planAt('past', 1);
  await planAt('before 1970', -1_000_000);
  const when = now() + 300_000;
  await planAt('ahead', when);
  const [past] = await ranTimes('past', 1);
  assert.equal(past.by, `0x${id}`, 'the database itself is the caller');
  assert.equal(past.connected, false);
  assert.equal((await ranTimes('before 1970', 1)).length, 1);
  const [ahead] = await ranTimes('ahead', 1);
  assert.ok(ahead.at >= when, 'not before its time');
  assert.equal(ahead.due, when);
  for (const label of ['past', 'before 1970', 'ahead'])
    await until(async () => (await jobs(label)).length === 0, 'the row to be removed', patience);
  assert.equal((await runs('ahead')).length, 1, 'once');
});

test('watchers see a job’s row go and what it did', async () => {
  const socket = await session(server, db);
  socket.say(enc.subscribe(1, 1, 'SELECT * FROM job', "SELECT * FROM ran WHERE label = 'watched'"));
  assert.equal((await socket.next()).kind, 'subscribed');
  await planAt('watched', now() + 50_000);
  let [came, went, ran] = [0, 0, 0];
  while (went < 1) {
    for (const { tables } of (await socket.next()).sets) {
      for (const { table, rows: changes } of tables) {
        for (const { inserts, deletes } of changes) {
          if (table === 'job') (came += inserts.length), (went += deletes.length);
          else ran += inserts.length;
        }
      }
    }
    assert.ok(went <= ran, 'the row goes after it ran');
  }
  assert.deepEqual([came, went, ran], [1, 1, 1]);
  await socket.bye();
});

test('intervals are anchored: twenty runs do not drift', async () => {
  const interval = 40_000;
  const began = now();
  await planEvery('beat', interval);
  const planned = now();
  const all = (await ranTimes('beat', 20)).slice(0, 20);
  await callOk(server, db, 'cancel', ['beat']);
  assert.ok(all[0].at >= began + interval, 'the first run is one interval after the start');
  assert.ok(all[0].at < planned + patience * 1000);
  // Where in its interval each run began. The clock of the anchor is somewhere in [began, planned],
  // so measured from the earliest start, lateness never adds up from run to run.
  const numbers = all.map(run => Math.floor((run.at - began) / interval));
  for (let i = 1; i < numbers.length; i++) assert.ok(all[i].at > all[i - 1].at);
  const phase = all.map(run => (run.at - began) % interval);
  const least = list => Math.min(...list);
  assert.ok(least(phase.slice(13)) - least(phase.slice(0, 7)) < interval / 4, `phases ${phase}`);
  const [row] = await jobs('beat');
  assert.equal(row, undefined);
});

test('an interval whose row is deleted stops; a rolled back row never ran', async () => {
  await planEvery('cancelled', 20_000);
  await ranTimes('cancelled', 2);
  await callOk(server, db, 'cancel', ['cancelled']);
  const count = (await runs('cancelled')).length;
  const later = now() + 400_000;
  await planAt('cancelled in time', later);
  await callOk(server, db, 'cancel', ['cancelled in time']);
  assert.equal((await call(server, db, 'plan_and_fail', ['rolled back'])).status, 530);
  await planAt('the proof that time went by', later + 50_000);
  await ranTimes('the proof that time went by', 1);
  assert.equal((await runs('cancelled')).length, count);
  assert.equal((await runs('cancelled in time')).length, 0);
  assert.equal((await runs('rolled back')).length, 0);
});

test('a row that is moved runs at its new time only', async () => {
  const soon = now() + 60_000_000;
  await planAt('moved', soon);
  const earlier = now() + 100_000;
  await callOk(server, db, 'move', ['moved', at(earlier)]);
  const [run] = await ranTimes('moved', 1);
  assert.equal(run.due, earlier);
  assert.ok(run.at >= earlier && run.at < soon);
});

test('a job may plan the next one, move itself, or end its own interval', async () => {
  await planAt('chain', now(), 4);
  await planAt('snoozes', now(), 4);
  await planEvery('stops', 15_000, 4);
  for (const label of ['chain', 'snoozes', 'stops']) {
    const all = await ranTimes(label, 5);
    await until(async () => (await jobs(label)).length === 0, `${label} to be over`, patience);
    assert.equal((await runs(label)).length, 5, label);
    for (let i = 1; i < all.length; i++) assert.ok(all[i].at > all[i - 1].at);
    if (label !== 'stops') for (const run of all) assert.ok(run.at >= run.due);
  }
});

test('a job that fails is logged, undone, and not repeated; its interval goes on', async () => {
  await planAt('refuses once', now());
  await planAt('crashes once', now());
  await planEvery('refuses again', 20_000);
  const record = async text => (await logs(server, db, ann.token)).filter(r => r.message.includes(text));
  await until(async () => (await record('this job crashes')).length, 'the panic', patience);
  await until(async () => (await record('this job refuses')).length >= 4, 'several refusals', patience);
  await callOk(server, db, 'cancel', ['refuses again']);
  const refusal = (await record('this job refuses'))[0];
  assert.equal(refusal.level, 'Error');
  assert.equal(refusal.function, 'run_job');
  assert.equal((await record('this job crashes'))[0].level, 'Panic');
  for (const label of ['refuses once', 'crashes once']) {
    await until(async () => (await jobs(label)).length === 0, 'its row to be removed', patience);
    assert.deepEqual(await runs(label), [], 'what it wrote is undone');
  }
  assert.equal((await record('this job crashes')).length, 1);
});

test('a hundred jobs for one moment all run, each once', async () => {
  const when = now() + 500_000;
  const socket = await session(server, db, { token: ann.token });
  await Promise.all(Array.from({ length: 100 }, () => planAt('crowd', when)));
  assert.ok((await ranTimes('crowd', 100)).every(run => run.at >= when));
  await until(async () => (await jobs('crowd')).length === 0, 'their rows to be removed', patience);
  assert.equal((await runs('crowd')).length, 100);
  await socket.bye();
});

test('an interval of nothing runs back to back and lets others have their turn', async () => {
  await planEvery('stops busy', 0, 200);
  await callOk(server, db, 'plan_at', ['meanwhile', at(1), 0]);
  await ranTimes('meanwhile', 1);
  await ranTimes('stops busy', 201);
  await until(async () => (await jobs('stops busy')).length === 0, 'it to be over', patience);
});

test('what is planned survives a restart, kind or not', async () => {
  for (const how of ['SIGTERM', 'SIGKILL']) {
    await planAt(`missed ${how}`, now() + 150_000);
    await planAt(`kept ${how}`, now() + 2_500_000);
    await planEvery(`beat ${how}`, 50_000);
    await planAt(`done ${how}`, 1);
    await ranTimes(`done ${how}`, 1);
    await until(async () => (await jobs(`done ${how}`)).length === 0, 'its row to be removed', patience);
    server.child.kill(how);
    await server.ended;
    const before = now();
    await until(() => now() > before + 200_000, 'time to go by', patience);
    await server.start();
    const started = now();
    const [missed] = await ranTimes(`missed ${how}`, 1);
    assert.ok(missed.at >= missed.due);
    const [kept] = await ranTimes(`kept ${how}`, 1);
    assert.ok(kept.at >= kept.due);
    const seen = (await runs(`beat ${how}`)).filter(run => run.at > started).length;
    await ranTimes(`beat ${how}`, seen + 2);
    await callOk(server, db, 'cancel', [`beat ${how}`]);
    assert.equal((await runs(`done ${how}`)).length, 1, 'what had run does not run again');
    assert.equal((await runs(`missed ${how}`)).length, 1);
  }
});
