// The tutorial of docs/modules-c.md: its pieces are examples/game-c, each step of it builds, and the
// game that comes out is played by the npm client through generated bindings.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect, lightcone, moduleBindings, moduleBundle, startServer, subscribe, temporaryDirectory, top, until } from './harness.mjs';

const source = readFileSync(join(top, 'examples/game-c/spacetimedb/src/module.c'), 'utf8');
const pieces = [...readFileSync(join(top, 'docs/modules-c.md'), 'utf8').matchAll(/```c game\n(.*?)```/gs)].map(found => found[1]);

let server, game;
const open = [];

before(async () => {
  game = await moduleBindings('game-c');
  server = await startServer();
  await server.publish('game', moduleBundle('game-c'));
});
after(async () => {
  for (const client of open) client.connection.disconnect();
  await server?.end();
});

async function join_(name) {
  const client = await connect(game, server, 'game');
  open.push(client);
  await subscribe(client, 'SELECT * FROM player', 'SELECT * FROM gem', 'SELECT * FROM message', 'SELECT * FROM leaderboard', 'SELECT * FROM me');
  if (name) await client.reducers.join({ name });
  return client;
}
const row = client => client.db.player.identity.find(client.identity);
const go = (client, tag) => client.reducers.move({ direction: { tag } });

// Steps come back five times a second.
async function walk(client, tag) {
  for (;;) {
    try {
      return await go(client, tag);
    } catch (error) {
      if (!/Not so fast/.test(error.message)) throw error;
      await until(() => row(client).stepsLeft > 0, 'new steps');
    }
  }
}

test('the tutorial is the example, and each of its steps builds', () => {
  assert.equal(pieces.join('\n'), source);
  const dir = temporaryDirectory('tutorial');
  mkdirSync(join(dir, 'src'));
  for (let step = 1; step <= pieces.length; step++) {
    writeFileSync(join(dir, 'src/module.c'), pieces.slice(0, step).join('\n'));
    execFileSync(lightcone, ['build', '--no-config', '--debug', '-p', dir], { stdio: ['ignore', 'ignore', 'pipe'] });
  }
  rmSync(dir, { recursive: true });
});

test('players join under a name of their own', async () => {
  const ann = await join_('  Ann ');
  assert.equal(row(ann).name, 'Ann');
  assert.ok(row(ann).online);
  await assert.rejects(ann.reducers.join({ name: 'Other' }), /You are in the game already/);
  const bob = await join_();
  await assert.rejects(bob.reducers.join({ name: 'Ann' }), /Somebody else is called Ann/);
  await assert.rejects(bob.reducers.join({ name: ' ' }), /Say what you are called/);
  await assert.rejects(bob.reducers.join({ name: 'x'.repeat(33) }), /at most 32 characters/);
  await assert.rejects(go(bob, 'East'), /Join the game first/);
  await bob.reducers.join({ name: 'Bob' });
  assert.equal([...bob.db.me.iter()].length, 1);
  assert.equal([...bob.db.me.iter()][0].name, 'Bob');
});

test('a step is one step, and there are walls', async () => {
  const cid = await join_('Cid');
  const start = { x: row(cid).x, y: row(cid).y };
  const [tag, by] = start.x < 50 ? ['East', 1] : ['West', -1];
  await walk(cid, tag);
  assert.deepEqual({ x: row(cid).x, y: row(cid).y }, { x: start.x + by, y: start.y });
  const [wall, steps] = row(cid).y < 50 ? ['North', row(cid).y] : ['South', 99 - row(cid).y];
  for (let i = 0; i < steps; i++) await walk(cid, wall);
  await assert.rejects(walk(cid, wall), /There is a wall/);
});

test('nobody is faster than the clock', async () => {
  const dan = await join_('Dan');
  const results = await Promise.allSettled(Array.from({ length: 40 }, (_, i) => go(dan, i % 2 ? 'East' : 'West')));
  const refused = results.filter(one => one.status === 'rejected' && /Not so fast|wall/.test(one.reason.message));
  assert.ok(refused.length >= 20, `${refused.length} of 40 were refused`);
});

test('gems fall, and who steps on one has it on the leaderboard', async () => {
  const eve = await join_('Eve');
  await until(() => eve.db.gem.count() > 0n, 'a gem');
  const near = () =>
    [...eve.db.gem.iter()]
      .map(gem => ({ gem, far: Math.abs(gem.x - row(eve).x) + Math.abs(gem.y - row(eve).y) }))
      .sort((a, b) => a.far - b.far)[0].gem;
  const gem = near();
  while (row(eve).score === 0) {
    const { x, y } = row(eve);
    await walk(eve, x < gem.x ? 'East' : x > gem.x ? 'West' : y < gem.y ? 'South' : 'North');
  }
  await until(() => [...eve.db.leaderboard.iter()].some(one => one.name === 'Eve' && one.score === row(eve).score), 'the leaderboard');
  const all = [...eve.db.leaderboard.iter()];
  assert.ok(all.length <= 10);
});

test('chat reaches everybody and forgets what is old', async () => {
  const fay = await join_('Fay');
  const gus = await join_('Gus');
  await fay.reducers.say({ text: ' hello ' });
  await until(() => [...gus.db.message.iter()].some(one => one.from === 'Fay' && one.text === 'hello'), 'the message');
  await assert.rejects(gus.reducers.say({ text: '' }), /Say something/);
  for (let i = 0; i < 60; i++) await gus.reducers.say({ text: `message ${i}` });
  assert.equal(gus.db.message.count(), 50n);
  const texts = [...gus.db.message.iter()].map(one => one.text);
  assert.ok(texts.includes('message 59') && !texts.includes('hello'));
});

test('who plays in two windows is here until both are closed', async () => {
  const ida = await join_('Ina');
  const one = await join_('Jim');
  const two = await connect(game, server, 'game', one.token);
  two.connection.disconnect();
  await two.lost;
  await one.reducers.say({ text: 'still here' });
  await until(() => [...ida.db.message.iter()].some(said => said.text === 'still here'), 'the message');
  assert.equal(ida.db.player.identity.find(one.identity).online, true);
  one.connection.disconnect();
  await until(() => ida.db.player.identity.find(one.identity)?.online === false, 'Jim to be away');
});

test('who leaves stays, with their score, and is away', async () => {
  const hal = await join_('Hal');
  const ida = await join_('Ida');
  hal.connection.disconnect();
  await until(() => ida.db.player.identity.find(hal.identity)?.online === false, 'Hal to be away');
});
