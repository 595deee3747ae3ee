// The numbered cases of subscriptions (tests/conformance/live) against a running server, through every door
// that can subscribe: each protocol, all of them in one database, and the npm client.
//
//   STORY=105 node --test tests/e2e/stories.test.mjs    plays that case only
//
// After each step every client is asked for something that changes nothing: what it was told before the
// answer is all that it was told, and must be what the story says, in one message.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Speaker, dialects } from './dialects.mjs';
import { classes, moduleOf, relationsOf } from './fixtures.mjs';
import { SdkClient, opsOf, readStories, setsOf } from './stories.mjs';
import { call, http, newIdentity, publish, published, sql, startServer } from './support.mjs';

const { fixtures, stories } = readStories();

let server, made = 0;
const databases = new Map();  // by fixture
const people = {};
before(async () => {
  // So that what a view shows comes with its cause, however busy the machine is.
  server = await startServer({ words: ['--in-memory', '--view-failure', 'abort'] });
  for (const who of ['O', 'A', 'B', 'C']) people[who] = await newIdentity(server);
});
after(() => server?.end());

const filled = text => text.replace(/<([ABC])>/g, (_, who) => people[who].identity);
const rowOf = text => JSON.stringify(JSON.parse(filled(text)));

// ── one telling ──────────────────────────────────────────────────────────────────────────────────

class Telling {
  clients = new Map();

  constructor(story, dialectOf) {
    Object.assign(this, { story, dialectOf, lines: fixtures.get(story.fixture) ?? assert.fail(story.fixture) });
    this.name = `story-${story.id}-${++made}`;
  }

  get isSdk() { return this.dialectOf(0) === 'sdk'; }

  // A database that a story leaves as it found it, rows aside, is the next one's too.
  async begin() {
    const used = this.story.lines.some(line => /^(publish|settings|sql SET)/.test(line)) ? undefined : databases;
    if (used?.has(this.story.fixture)) {
      this.name = used.get(this.story.fixture);
      for (const { kind, name, options } of relationsOf(this.lines))
        if (kind === 'table' && !options.includes('event')) assert.equal((await sql(server, this.name, `DELETE FROM ${name}`, people.O.token)).status, 200);
    } else {
      await published(server, this.name, moduleOf(this.lines, { writes: true }), { token: people.O.token });
      await this.settings('strict_index=1');
      used?.set(this.story.fixture, this.name);
    }
    this.isUsedAgain = used !== undefined;
    const ops = this.lines.flatMap(line => (/^row (\w+) (.*)$/.exec(line) ? [['+', ...line.split(/ (.*) /).slice(1)]] : []));
    if (ops.length) await this.transact(null, ops);
  }

  async end() {
    for (const client of this.clients.values()) client.speaker.drop();
    if (!this.isUsedAgain) await http(server, 'DELETE', `/v1/database/${this.name}`, { token: people.O.token });
  }

  async settings(text) {
    const [key, value] = text.split('=');
    const answer = await http(server, 'PUT', `/v1/database/${this.name}/settings`, { token: people.O.token, body: JSON.stringify({ [key]: Number(value) }) });
    assert.equal(answer.status, 200, answer.text);
  }

  schemaOf() {
    const schema = Object.fromEntries(relationsOf(this.lines).map(({ name, columns }) => [name, columns.map(([, type]) => ({ String: 'str' })[type] ?? type.toLowerCase())]));
    return { ...schema, 'tx()': ['str'] };
  }

  // { speaker, is1, sets: set -> { texts, rows: row -> count }, told: so far }. The first mention lets it enter.
  async client(who) {
    if (this.clients.has(who)) return this.clients.get(who);
    const dialect = this.dialectOf(this.clients.size), token = people[who[0]].token;
    const speaker = dialect === 'sdk'
      ? await SdkClient.enter(server, this.name, moduleOf(this.lines, { writes: true }), this.lines, token)
      : await Speaker.enter(server, this.name, dialect, { schema: this.schemaOf(), token });
    speaker.ends = [];
    const client = { who, speaker, dialect, is1: dialect.startsWith('v1'), sets: new Map(), told: 0 };
    this.clients.set(who, client);
    return client;
  }

  // ---- transactions

  async transact(client, ops) {
    const text = JSON.stringify(ops.map(([what, table, row]) => (what === '!' ? [what, table] : [what, table, JSON.parse(filled(row))])));
    if (!client) {
      const answer = await call(server, this.name, 'tx', [text], people.O.token);
      return answer.status === 200 ? {} : { error: answer.text };
    }
    return this.isSdk ? client.speaker.tx(text) : client.speaker.call('tx', [text]);
  }

  async publish(fixture, breaks) {
    this.lines = fixtures.get(fixture) ?? assert.fail(fixture);
    const body = moduleOf(this.lines, { writes: true }), token = people.O.token;
    let query = '';
    if (breaks) {
      const plan = await http(server, 'POST', `/v1/database/${this.name}/pre_publish?host_type=Js`, { token, body });
      query = `&policy=BreakClients&token=${plan.json.AutoMigrate.token}`;
    }
    const answer = await publish(server, this.name, body, { token, query });
    assert.equal(answer.status, 200, answer.text);
    for (const { speaker } of this.clients.values()) speaker.schema = this.schemaOf();
  }

  // ---- what clients are told

  // What the story says of a client, as the protocol would say it: ['1 + u[1,2]', …], sorted. Under v1 a
  // text is watched once, and no set is named.
  wanted(client, told) {
    const seen = new Set();
    return told.flatMap(([set, ops]) => {
      const texts = client.sets.get(set)?.texts ?? assert.fail(`${client.who} has no set ${set}`);
      if (client.is1 && seen.has(texts)) return [];
      seen.add(texts);
      return ops.map(([what, table, row]) => `${client.is1 ? 0 : set} ${what} ${table}${rowOf(row)}`);
    }).sort();
  }

  keep(client, told) {
    for (const [set, ops] of told) {
      const rows = client.sets.get(set).rows;
      for (const [what, table, row] of ops) {
        const key = `${table}${rowOf(row)}`;
        if (what !== '*') rows.set(key, (rows.get(key) ?? 0) + (what === '-' ? -1 : 1));
        if (rows.get(key) === 0) rows.delete(key);
      }
    }
  }

  // What every client was told since the last step, and that it is what `told` says: client -> sets.
  async hearAll(told, ends, about, answered) {
    for (const client of this.clients.values()) {
      const want = this.wanted(client, told.get(client.who) ?? []);
      this.keep(client, told.get(client.who) ?? []);
      if (this.isSdk) await this.hearSdk(client, told.get(client.who) ?? [], about);
      else await this.hearSpeaker(client, want, about, answered?.client === client ? answered.changes : null);
      this.checkEnds(client, ends.filter(end => end.who === client.who), about);
    }
  }

  async hearSpeaker(client, want, about, own) {
    const { speaker } = client;
    await speaker.quiet();
    const messages = speaker.updates.slice(client.told).map(update => update.changes);
    client.told = speaker.updates.length;
    if (own?.length) messages.push(own);
    assert.ok(messages.length <= 1, `${client.who} was told in ${messages.length} messages: ${about}`);
    const said = (messages[0] ?? []).flatMap(({ set, table, inserts, deletes, events }) => [
      ...inserts.map(row => `${set} + ${table}${row}`), ...deletes.map(row => `${set} - ${table}${row}`), ...events.map(row => `${set} * ${table}${row}`),
    ]);
    assert.deepEqual(said.sort(), want, `${client.who} (${client.dialect}): ${about}`);
    assert.ok(messages.length === 0 || said.length > 0, `${client.who} was told nothing, in words: ${about}`);
  }

  async hearSdk(client, told, about) {
    const { speaker } = client;
    assert.deepEqual(await speaker.tx('[]'), {});  // an answer that stands behind everything else
    const held = [...new Set([...client.sets.values()].flatMap(set => [...set.rows.keys()]))].sort();
    assert.deepEqual(speaker.rows(), held, `${client.who} (sdk): ${about}`);
    const events = [...new Set(told.flatMap(([, ops]) => ops.filter(([what]) => what === '*').map(([, table, row]) => `${table}${rowOf(row)}`)))];
    assert.deepEqual([...new Set(speaker.events.splice(0).map(([table, row]) => table + row))].sort(), events.sort(), about);
  }

  checkEnds(client, ends, about) {
    const said = client.speaker.ends.splice(0);
    assert.equal(said.length, client.is1 ? Math.min(ends.length, 1) : ends.length, `${client.who}: ${about}\n${JSON.stringify(said)}`);
    for (const end of ends) {
      const found = said.find(one => client.is1 || one.set === end.set);
      assert.match(found?.error ?? 'nothing', classes[end.why], about);
    }
  }

  // ---- steps

  async step(line, expected) {
    const about = `${line} (story ${this.story.id})`;
    const [, who, verb, rest = ''] = /^(?:([OABC]\d?) )?(\S+) ?(.*)$/.exec(line);
    const client = who && (await this.client(who));
    let answer = {}, answered;
    if (verb === 'sub' || verb === 'single') answer = await this.subscribe(client, verb, rest, expected, about);
    else if (verb === 'unsub') answer = await this.unsubscribe(client, Number(rest), true, expected, about);
    else if (verb === 'leave') answer = await this.unsubscribe(client, Number(rest), false, expected, about);
    else if (verb === 'ask') answer = await this.ask(client, rest, expected, about);
    else if (verb === 'bye') {
      this.clients.delete(who);
      client.speaker.drop();
    } else if (verb === 'tx') {
      answer = await this.transact(client, opsOf(rest));
      if (client) answered = { client, changes: answer.changes };
    } else if (verb === 'sql') answer = await this.sql(rest, expected, about);
    else if (verb === 'call') answer = await this.call(rest);
    else if (verb === 'settings') await this.settings(rest);
    else if (verb === 'publish' || verb === 'publish!') await this.publish(rest, verb === 'publish!');
    else assert.fail(`no such step: ${line}`);
    this.checkError(answer, expected, about);
    await this.checkClosed(expected);
    this.checkEndsModel(expected);
    await this.hearAll(expected.told, expected.ends, about, answered);
  }

  async subscribe(client, verb, rest, expected, about) {
    const [, id, text] = /^(\d+) (.*)$/.exec(rest), set = Number(id);
    const texts = verb === 'single' ? [text] : text.split(' ;; ');
    const answer = verb === 'single' ? await client.speaker.single(set, text) : await client.speaker.subscribe(set, ...texts);
    if (answer.error !== undefined) return answer;
    const rows = new Map();
    for (const [, table, row] of expected.rows ?? assert.fail(`what rows come of ${about}?`)) rows.set(`${table}${rowOf(row)}`, (rows.get(`${table}${rowOf(row)}`) ?? 0) + 1);
    client.sets.set(set, { texts: [...new Set(texts)].join(' ;; '), rows });
    if (!this.isSdk) this.checkRows(answer.changes, 'inserts', expected.rows, about);
    if (expected.entries !== undefined && !this.isSdk) assert.equal(answer.tables.length, expected.entries, about);
    return answer;
  }

  async unsubscribe(client, set, wantRows, expected, about) {
    const answer = wantRows ? await client.speaker.unsubscribe(set) : await client.speaker.leave(set);
    if (answer.error !== undefined) return answer;
    client.sets.delete(set);
    if (!this.isSdk && wantRows) this.checkRows(answer.changes, 'deletes', expected.rows ?? assert.fail(about), about);
    return answer;
  }

  async ask(client, text, expected, about) {
    if (this.isSdk) return {};  // it cannot
    const said = await client.speaker.oneOff(text);
    if (said.error !== undefined) return said;
    const rows = said.rows.map(row => said.table + client.speaker.shown(said.table, row));
    assert.deepEqual(rows.sort(), expected.rows.map(([, table, row]) => table + rowOf(row)).sort(), about);
    return {};
  }

  checkRows(changes, key, want, about) {
    const said = changes.flatMap(change => change[key].map(row => change.table + row));
    assert.deepEqual(said.sort(), want.map(([, table, row]) => table + rowOf(row)).sort(), about);
  }

  async sql(text, expected, about) {
    const answer = await sql(server, this.name, text, people.O.token);
    if (answer.status !== 200) return { error: answer.text };
    if (expected.answer) assert.deepEqual(answer.json[0].rows.map(row => JSON.stringify(row)), expected.answer, about);
    return {};
  }

  async call(text) {
    const [, name, args] = /^(\w+) (.*)$/.exec(text);
    const answer = await call(server, this.name, name, args, people.O.token);
    assert.equal(answer.status, 200, answer.text);
    return {};
  }

  checkError(answer, expected, about) {
    if (expected.error === undefined) assert.equal(answer.error, undefined, about);
    else assert.match(answer.error ?? 'it was accepted', classes[expected.error] ?? new RegExp(expected.error || '.'), about);
    if (/^(NO_NAME|NO_INDEX|N_TABLES|NO_TABLE)$/.test(expected.error)) assert.match(answer.error, /, executing: `/, about);
    if (expected.error !== undefined) assert.notEqual(answer.error, undefined, about);
  }

  async checkClosed(expected) {
    for (const who of expected.closed) {
      const { code } = await this.clients.get(who).speaker.socket.over();
      assert.equal(code, 1001);
      // It may be told which sets could not have gone on, but no rows.
      for (const message of this.clients.get(who).speaker.socket.messages) assert.equal(message.kind, 'refused', JSON.stringify(message));
      this.clients.delete(who);
    }
  }

  checkEndsModel(expected) {
    for (const { who, set } of expected.ends) {
      const client = this.clients.get(who);
      if (client.is1) client.sets.clear();
      else client.sets.delete(set);
    }
  }

  // ---- the whole

  // A line is left out where `v1` or `v2` before it says that it is for other clients.
  speaks(line, last) {
    const [, version, text] = /^(?:(v[12]) )?(.*)$/.exec(line);
    const who = /^([OABC]\d?)\b/.exec(text)?.[1] ?? last;
    if (!version) return [text, who];
    const names = [...this.clients.keys()];
    const dialect = this.clients.get(who)?.dialect ?? this.dialectOf(names.length);
    return [dialect.startsWith('v1') === (version === 'v1') ? text : null, who];
  }

  async play() {
    let step = null, expected, last;
    const none = () => ({ told: new Map(), ends: [], closed: [] });
    for (const line of [...this.story.lines, null]) {
      let text = null;
      if (line !== null) [text, last] = this.speaks(line, last);
      if (line !== null && text === null) continue;
      let found;
      if (text !== null && step !== null) {
        if (text === '=' || text.startsWith('= ')) { expected.rows = opsOf(text.slice(1)); continue; }
        if ((found = /^entries (\d+)$/.exec(text))) { expected.entries = Number(found[1]); continue; }
        if ((found = /^rows (.*)$/.exec(text))) { expected.answer = found[1].split(' '); continue; }
        if ((found = /^! ?(.*)$/.exec(text))) { expected.error = found[1]; continue; }
        if ((found = /^(\w+)> (.*)$/.exec(text))) { expected.told.set(found[1], setsOf(found[2])); continue; }
        if ((found = /^(\w+)! (\d+) (\w+)$/.exec(text))) { expected.ends.push({ who: found[1], set: Number(found[2]), why: found[3] }); continue; }
        if ((found = /^(\w+) closed$/.exec(text))) { expected.closed.push(found[1]); continue; }
      }
      if (step !== null) await this.step(step, expected);
      [step, expected] = [text, none()];
    }
  }
}

// ── doors ────────────────────────────────────────────────────────────────────────────────────────

const doors = {
  ...Object.fromEntries(dialects.map(dialect => [dialect, () => dialect])),
  'all protocols': (client, story) => dialects[(client + story) % dialects.length],
  sdk: () => 'sdk',
};

for (const [at, story] of stories.entries()) {
  if (process.env.STORY && process.env.STORY !== story.id) continue;
  for (const [door, dialectOf] of Object.entries(doors)) {
    if (door === 'sdk' && story.notSdk) continue;
    test(`case ${story.id} through ${door}`, async () => {
      const telling = new Telling(story, client => dialectOf(client, at));
      try {
        await telling.begin();
        await telling.play();
      } finally {
        await telling.end();
      }
    });
  }
}
