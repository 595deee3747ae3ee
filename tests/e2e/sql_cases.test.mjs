// The numbered cases of SQL (tests/conformance/sql) against a running server, through every door: SQL over
// HTTP, by the command and over PostgreSQL's protocol, one-off queries and subscriptions of each protocol. What an answer holds is
// compared where it comes as JSON; the other doors are asked for the number of rows and for the class of
// what they refuse.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import pg from 'pg';
import { top } from './harness.mjs';
import { pgOptions, startPgServer } from './pg_support.mjs';
import { Speaker, dialects } from './dialects.mjs';
import { classes, moduleOf } from './fixtures.mjs';
import { http, newIdentity, published, sql } from './support.mjs';

const lines = readFileSync(join(top, 'tests/conformance/sql/cases.txt'), 'utf8').split('\n');

// Their names are not spelt as a TypeScript module's are, or SQL has no literal for their rows; and one
// asks as an identity that no token can have.
const notHere = { F3: 'names', F4: 'names', F13: 'names', ROWS: 'an Option', FLOATS: 'NaN', F5: 'identity 0' };

// ── the file ─────────────────────────────────────────────────────────────────────────────────────

const fixtures = new Map();
const cases = [];
let open = null;
for (const line of lines) {
  const [word, ...rest] = line.split(' ');
  if (word === 'fixture') fixtures.set(rest[0], (open = []));
  else if (word === 'case') cases.push({ id: rest[0], fixture: rest[1], lines: (open = []) });
  else if (line && !line.startsWith('#')) open?.push(line);
}

const expectation = /^(?:beyond )?(ok|=|!|1\.|count|names|stats)(?: (.*)|(.*))?$/;
const door = /^((?:later )?[QOS](?:\([A-Z]\))?) ?(.*)$/;

// Each statement of a case with its door and what is expected of it.
function statementsOf(item) {
  const out = [];
  let list = null;
  for (const line of item.lines) {
    let found;
    if (/^(elsewhere|later):/.test(line)) continue;
    if ((found = /^with ((?:(?:later )?[QOS](?:\([A-Z]\))?,?)+) (.*)$/.exec(line))) {
      list = { doors: found[1].split(','), template: found[2] };
    } else if ((found = expectation.exec(line))) {
      const [, what, more = ''] = found;
      if (!list) {
        out.at(-1).want.push([what, more]);
        continue;
      }
      let value = '', text = more;
      if (what === '=') [text, value] = more.split(/ =>(?: |$)/);
      if (what === '!' || what === 'count') [, value, text] = /^(\S+) (.*)$/.exec(more);
      for (const one of list.doors)
        out.push({ door: one, text: list.template.replace('$', () => text), want: [[what, value]] });
    } else if ((found = door.exec(line))) {
      list = null;
      out.push({ door: found[1], text: found[2], want: [] });
    }
  }
  return out;
}

const literal = value =>
  typeof value === 'string' ? `'${value.replaceAll("'", "''")}'` : Array.isArray(value) ? value[0] : String(value);

// ── asking ───────────────────────────────────────────────────────────────────────────────────────

let server;
const people = {}, sockets = [];
before(async () => {
  server = await startPgServer();
  for (const who of ['owner', 'A', 'B', 'C']) {
    people[who] = { ...(await newIdentity(server)), config: join(server.dir, `${who}.toml`) };
    writeFileSync(people[who].config, `spacetimedb_token = "${people[who].token}"\n`);
  }
});
after(async () => {
  for (const socket of sockets) socket.drop();
  await server?.end();
});

// What PostgreSQL's clients see differently, by intention: nothing is no error, a text of several statements
// is several, what every driver asks is answered, $1 is a parameter, and a string has the type of what it meets.
const asDriversWrite = [`values ('5','x')`, `b = 'true'`, `ts = '2025-02-10T15:45:30'`, 'u32 = null'];
const otherThere = (text, want) => want.some(([what, value]) => what === '!' && (value === 'EMPTY' || value === 'NO_FROM' ||
    asDriversWrite.some(part => text.includes(part)))) ||
  /\$1/.test(text) || /^\s*select\s+(true|1|'[^']*')\s*;?\s*$/i.test(text);

// A row's values as PostgreSQL shows them; undefined: that is another test's (pg.test.mjs).
function pgValues(row) {
  return elements(row.slice(1, -1), ',').map(value => {
    if (value.startsWith('"')) return JSON.parse(value);
    if (value === 'true' || value === 'false') return value[0];
    return value.startsWith('[') ? undefined : value;
  });
}
const pgRow = (values, like) => JSON.stringify(values.map((value, i) => (like[i] === undefined ? null : value?.replace(/^\\x/, ''))));

async function askedOverPg(name, text, who, open, want) {
  let one = open.get(who);
  if (!one) {
    one = new pg.Client({ ...pgOptions(server, name, who.token), types: { getTypeParser: () => value => value } });
    one.on('error', () => {});  // what was asked says it
    await one.connect();
    open.set(who, one);
    sockets.push({ drop: () => one.end().catch(() => {}) });
  }
  // Both ways to ask, in turns; several statements in one text are for one of them only.
  const extended = (open.turn = !open.turn) || want.some(([, value]) => value === 'MULTI');
  try {
    const answer = await one.query({ text, rowMode: 'array', ...(extended ? { queryMode: 'extended' } : {}) });
    return { answer, rows: answer.rows };
  } catch (error) {
    return { error: error.message, code: error.code };
  }
}

function checkPg(got, want, about) {
  const lines = want.filter(([what]) => what === '=' || what === '1.');
  for (const [what, value] of want) {
    if (what === '!') {
      assert.match(got.error ?? 'it was accepted', classes[value], about);
      assert.match(got.code, /^(42|22|23|0A|54)/, about);
      continue;
    }
    assert.equal(got.error, undefined, about);
    if (what === 'count') assert.equal(got.rows.length, Number(value), about);
    if (what === 'names') assert.deepEqual(got.answer.fields.map(field => field.name), value.split(' '), about);
    if (what === 'stats') assert.equal(got.answer.rowCount, value.split(' ').reduce((n, part) => n + Number(part), 0), about);
  }
  if (lines.length === 0) return;
  const wanted = lines.flatMap(([what, value]) => (what === '1.' ? [value] : elements(value, ' '))).map(filled).map(pgValues);
  const rows = got.rows.map(row => pgRow(row, wanted[0] ?? []));
  const shown = wanted.map(row => pgRow(row, wanted[0]));
  if (lines[0][0] === '1.') assert.deepEqual(rows, shown, about);
  else assert.deepEqual(rows.sort(), shown.sort(), about);
}

const filled = text => text.replace(/<([ABC])>/g, (_, who) => people[who].identity);

// The elements of the rows, as text: 64-bit numbers stay what they are.
function rowsOf(text) {
  const inside = /"rows":\[(.*)\],"total_duration_micros"/s.exec(text)[1];
  return elements(inside, ',');
}
function elements(text, between) {
  const out = [];
  let depth = 0, quoted = false, from = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = text[i] ?? between;
    if (c === '"' && text[i - 1] !== '\\') quoted = !quoted;
    if (!quoted) depth += c === '[' ? 1 : c === ']' ? -1 : 0;
    if (quoted || depth || c !== between) continue;
    if (i > from) out.push(text.slice(from, i));
    from = i + 1;
  }
  return out;
}

// The doors behind a letter. Statements of Q may write, so a case is run once through each door of Q, on
// a database of its own; O and S only look, and are asked through all of theirs.
//
// A door of Q is (database, text, who) -> { text, rows } | { error }, where text has the answer's JSON in it.
const sqlDoors = { 'HTTP': overHttp, 'lightcone sql --json': overCommand };

async function overHttp(name, text, who) {
  const answer = await sql(server, name, text, who.token);
  return answer.status === 200 ? { text: answer.text, rows: rowsOf(answer.text) } : { error: answer.text };
}

async function overCommand(name, text, who) {
  const { code, stdout, stderr } = await server.cliWith(
    { config: who.config }, 'sql', '--json', '--server', server.url, '--no-config', '--', name, text);
  return code === 0 ? { text: stdout, rows: rowsOf(stdout) } : { error: stderr };
}

async function overWebSocket(name, dialect, where, text, who, open) {
  const key = `${dialect} ${who.identity}`;
  let socket = open.get(key);
  if (!socket) {
    socket = await Speaker.enter(server, name, dialect, { token: who.token });
    sockets.push(socket);
    open.set(key, socket);
  }
  const id = (open.next = (open.next ?? 0) + 1);
  socket.say(where === 'S' ? socket.enc.subscribe(id, id, text)
    : socket.enc.oneOff(socket.is1 ? id.toString(16).padStart(8, '0') : id, text));
  for (;;) {
    const answer = await socket.socket.next();
    if (answer.kind === 'update' || answer.kind === 'light') continue;
    if (answer.error) return { error: answer.error };
    const lists = answer.tables.flatMap(table => table.rows.map(row => (row.inserts ? row.inserts : [row])));
    return { count: lists.reduce((n, list) => n + list.length, 0) };
  }
}

// v1 has no event tables: that is the answer there, whatever the others say.
function refusesEvents(fixture, text) {
  const shown = /select (?:"?(\w+)"?\.\*.*|\*.*)from "?(\w+)"?(?: (?:as )?(\w+))?/i.exec(text);
  const events = fixture.filter(line => / event/.test(line)).map(line => /^table (\w+)/.exec(line)[1]);
  return shown && events.includes(shown[1] ?? shown[2]);
}

function check(answer, want, about) {
  const lines = want.filter(([what]) => what === '=' || what === '1.');
  for (const [what, value] of want) {
    if (what === '!') {
      assert.match(answer.error ?? 'it was accepted', classes[value], about);
      continue;
    }
    assert.equal(answer.error, undefined, about);
    const count = answer.rows?.length ?? answer.count;
    if (what === 'count') assert.equal(count, Number(value), about);
    if (what === 'stats') {
      const [inserted, deleted, updated] = value.split(' ');
      assert.ok(answer.text.includes(`"rows_inserted":${inserted},"rows_deleted":${deleted},"rows_updated":${updated}`), about);
    }
  }
  if (lines.length === 0) return;
  const rows = lines.flatMap(([what, value]) => (what === '1.' ? [value] : elements(value, ' '))).map(filled);
  if (!answer.rows) assert.equal(answer.count, rows.length, about);
  else if (lines[0][0] === '1.') assert.deepEqual(answer.rows, rows, about);
  else assert.deepEqual([...answer.rows].sort(), rows.sort(), about);
}

async function databaseOf(item, name) {
  const fixture = fixtures.get(item.fixture);
  await published(server, name, moduleOf(fixture), { token: people.owner.token });
  const fill = async (table, values) => {
    const columns = /\((.*)\)/.exec(fixture.find(line => line.startsWith(`table ${table}(`)))[1].split(', ').map(column => column.split(' ')[0]);
    const answer = await sql(server, name, `INSERT INTO ${table} (${columns.join(', ')}) VALUES ${values.map(row => `(${row.map(literal).join(', ')})`).join(', ')}`, people.owner.token);
    assert.equal(answer.status, 200, answer.text);
  };
  // The cases say what the original takes; we take more unless told not to.
  const strict = await http(server, 'PUT', `/v1/database/${name}/settings`, { token: people.owner.token, body: JSON.stringify({ strict_index: 1 }) });
  assert.equal(strict.status, 200, strict.text);
  for (const line of fixture) {
    const row = /^row (\w+) (.*)$/.exec(line), range = /^range (\w+) (\d+)$/.exec(line);
    if (row) await fill(row[1], [JSON.parse(filled(row[2]))]);
    if (range) await fill(range[1], Array.from({ length: Number(range[2]) }, (_, i) => [i]));
  }
  return fixture;
}

const about = (door, one, answer) => `${door}: ${one.door} ${one.text}\n${JSON.stringify(answer).slice(0, 500)}`;

for (const item of cases) {
  const statements = statementsOf(item).filter(one => {
    return !one.door.startsWith('later') && !/^@/.test(one.text) && !one.text.includes('@as-other');
  });
  if (!item.fixture || statements.length === 0 || notHere[item.fixture]) continue;
  const overPg = statements.filter(one => /^Q/.test(one.door) && !otherThere(one.text, one.want));
  if (overPg.length > 0)
    test(`case ${item.id} through PostgreSQL's protocol`, async () => {
      const name = `case-${item.id}-pg`, open = new Map();
      await databaseOf(item, name);
      for (const one of overPg) {
        const who = /^Q(?:\(([A-Z])\))?$/.exec(one.door)[1] ?? 'owner';
        const answer = await askedOverPg(name, filled(one.text), people[who], open, one.want);
        checkPg(answer, one.want, `${one.door} ${one.text}\n${JSON.stringify(answer.error ?? answer.rows).slice(0, 500)}`);
      }
      // Each open database takes address space: a server of hundreds is another test's business.
      await http(server, 'DELETE', `/v1/database/${name}`, { token: people.owner.token });
    });
  const asksSql = statements.some(one => one.door.startsWith('Q'));
  for (const [at, [door, ask]] of Object.entries(sqlDoors).entries()) {
    if (at > 0 && !asksSql) continue;
    test(`case ${item.id} through ${asksSql ? door : 'the WebSocket'}`, async () => {
      const name = `case-${item.id}-${at}`, open = new Map();
      const fixture = await databaseOf(item, name);
      for (const one of statements) {
        const [, where, who] = /^([QOS])(?:\(([A-Z])\))?$/.exec(one.door);
        const text = filled(one.text), person = people[who ?? 'owner'];
        if (where === 'Q') {
          const answer = await ask(name, text, person);
          check(answer, one.want, about(door, one, answer));
          continue;
        }
        for (const dialect of at === 0 ? dialects : []) {
          const answer = await overWebSocket(name, dialect, where, text, person, open);
          if (where === 'S' && dialect.startsWith('v1') && refusesEvents(fixture, text))
            assert.match(answer.error ?? '', /requires WebSocket v2/, about(dialect, one, answer));
          else check(answer, one.want, about(dialect, one, answer));
        }
      }
      if (at > 0) await http(server, 'DELETE', `/v1/database/${name}`, { token: people.owner.token });
    });
  }
}
