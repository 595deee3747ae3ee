// Every import of the host and every type, in each language a module can be written in, against one
// list of what must be reported: tests/modules/conformance/cases.txt.
//
// What one run reports is compared with the list, word for word, so two modules that pass agree with
// each other.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { lightcone, moduleBundle, top } from './harness.mjs';
import { call, callOk, enc, http, logs, moduleCode, newIdentity, onOurLibrary, rows, session, startServer, until, within } from './support.mjs';

const directory = join(top, 'tests/modules/conformance');

// case NAME or procedure NAME, `# ` comments, the lines, a blank line.
function casesOf(text) {
  const cases = [];
  for (const block of text.split(/\n{2,}/)) {
    const [head, ...lines] = block.split('\n').filter(line => line && !/^#( |$)/.test(line));
    const found = /^(case|procedure) (\w+)(?: only (\w+))?$/.exec(head ?? '');
    if (found) cases.push({ kind: found[1], name: found[2], only: found[3], lines });
  }
  return cases;
}
const cases = casesOf(readFileSync(join(directory, 'cases.txt'), 'utf8'));

// Cases whose effects are more than lines have a test of their own below.
const special = ['schedule_once', 'schedule_interval', 'schedule_stop', 'immediate', 'noted', 'user_error', 'trap', 'left_open', 'counters_change', 'console'];

const modules = [
  { language: 'js', type: 'Js', load: () => moduleCode('conformance-ts') },
  { language: 'js on our library', type: 'Js', load: () => moduleCode('conformance-ts', ...onOurLibrary()) },
  { language: 'c', type: 'Wasm', load: () => readFileSync(moduleBundle('conformance-c')) },
];

const lanes = [
  { lane: 'fast', words: ['--slice-ms', '0'] },
  { lane: 'slow', words: ['--slice-ms', 'none'] },
];

const name = 'conformance';
for (const { language, type, load } of modules) {
  for (const { lane, words } of lanes) {
    const title = what => `${language}, ${lane} lane: ${what}`;
    let server, ann;
    const open = [];

    before(async () => {
      server = await startServer({ words });
      ann = await newIdentity(server);
      const answer = await http(server, 'PUT', `/v1/database/${name}?host_type=${type}`, { token: ann.token, body: load() });
      assert.equal(answer.status, 200, answer.text);
    });
    after(async () => {
      for (const socket of open) socket.drop();
      await server?.end();
    });

    const ask = query => rows(server, name, query, ann.token);
    const run = which => callOk(server, name, 'run_case', [which], ann.token);
    async function reported(which) {
      const all = await ask(`SELECT * FROM report WHERE case_name = '${which}'`);
      return all.sort((a, b) => a[0] - b[0]).map(row => row[2]);
    }
    async function procedure(which) {
      const answer = await call(server, name, 'run_case_procedure', [which], ann.token);
      assert.equal(answer.status, 200, answer.text);
      return answer.json;
    }

    for (const { kind, name: which, only, lines } of cases) {
      if (special.includes(which) && !(kind === 'procedure' && which !== 'left_open')) continue;
      if (only && only !== language) continue;
      test(title(`${kind} ${which}`), async () => {
        if (kind === 'procedure') {
          assert.deepEqual((await procedure(which)).split('\n'), lines);
          return;
        }
        await run(which);
        assert.deepEqual(await reported(which), lines);
      });
    }

    test(title('the list has a case for everything that is special here'), () => {
      for (const which of special) assert.ok(cases.some(c => c.name === which), which);
    });

    test(title('schedules fire, again and again, until they are taken away'), async () => {
      await run('schedule_once');
      assert.deepEqual(await reported('schedule_once'), ['inserted: ok']);
      await until(async () => (await reported('tick')).includes('once'), 'the row whose time had come');
      await until(async () => (await ask('SELECT * FROM tick')).length === 0, 'the row to go');
      await run('schedule_interval');
      await until(async () => (await reported('tick')).filter(line => line === 'often').length >= 3, 'three ticks');
      await run('schedule_stop');
      assert.deepEqual(await reported('schedule_stop'), ['cleared: 1']);
    });

    test(title('a call that is queued is the database’s own'), async () => {
      await run('immediate');
      assert.deepEqual(await reported('immediate'), ['queued: ok']);
      await until(async () => (await reported('noted')).length > 0, 'the queued call');
      assert.deepEqual(await reported('noted'), ['sender is the database: true']);
    });

    test(title('a user error and a trap undo what they did, and each says so in its way'), async () => {
      await run('counters');
      const wanted = await call(server, name, 'run_case', ['user_error'], ann.token);
      assert.equal(wanted.status, 530);
      assert.equal(wanted.text, 'wanted');
      const trap = await call(server, name, 'run_case', ['trap'], ann.token);
      assert.equal(trap.status, 530);
      assert.match(trap.text, /The instance encountered a fatal error\./);
      assert.deepEqual(await ask("SELECT * FROM counter WHERE name = 'lost'"), []);
      const unknown = await call(server, name, 'run_case', ['no such case'], ann.token);
      assert.equal(unknown.text, 'unknown case no such case');
      await run('lookups');  // the module goes on
    });

    test(title('the console’s levels and timers arrive in the log'), async () => {
      const before = (await logs(server, name, ann.token)).length;
      await run('console');
      assert.deepEqual(await reported('console'), cases.find(c => c.name === 'console').lines);
      const said = (await logs(server, name, ann.token)).slice(before);
      for (const [i, level] of ['Error', 'Warn', 'Info', 'Debug', 'Trace'].entries())
        assert.ok(said.some(r => r.level === level && r.message === `level ${i}`), level);
      assert.ok(said.some(r => r.level === 'Info' && /^Timing span "span": \d/.test(r.message)));
    });

    test(title('a transaction that a procedure leaves open is undone'), async () => {
      await run('counters');
      assert.equal(await procedure('left_open'), 'start: ok');
      assert.deepEqual(await ask("SELECT * FROM counter WHERE name = 'open'"), []);
      assert.ok((await logs(server, name, ann.token)).some(r => r.level === 'Error' && r.message === 'aborting dangling anonymous transaction in procedure run_case_procedure'));
    });

    test(title('views show what they should, and subscribers see them change'), async () => {
      await run('counters');
      const hex = ann.identity;
      const sorted = async query => (await ask(query)).sort();
      assert.deepEqual(await sorted('SELECT * FROM my_counters'), [[hex, 7]]);
      assert.deepEqual(await sorted('SELECT * FROM all_counters'), [['alpha', 1], ['beta', 2], [hex, 7]].sort());
      const socket = await session(server, name, { protocols: ['v3.bsatn.spacetimedb'], token: ann.token });
      open.push(socket);
      socket.say(enc.subscribe(1, 1, 'SELECT * FROM my_counters'));
      const first = await socket.next();
      assert.equal(first.kind, 'subscribed', first.error);
      await run('counters_change');
      const update = await within(socket.next(), 'the view’s update');
      const [{ inserts, deletes }] = update.sets[0].tables[0].rows;
      assert.equal(inserts.length, 1);
      assert.equal(deletes.length, 1);
      assert.deepEqual(await sorted('SELECT * FROM my_counters'), [[hex, 8]]);
      assert.deepEqual(await sorted('SELECT * FROM all_counters'), [['beta', 2], [hex, 8]].sort());
    });

    test(title('that was the lane it was meant to be'), async () => {
      const { text } = await http(server, 'GET', '/v1/metrics');
      const ran = Number(/^lightcone_slow_calls_total\S* (\d+)/m.exec(text)[1]);
      assert.equal(ran > 20, lane === 'slow', `${ran} calls ran in the slow lane`);
    });

    test(title('HTTP handlers answer'), async () => {
      const page = await http(server, 'GET', `/v1/database/${name}/route/page`);
      assert.equal(page.status, 200, page.text);
      assert.equal(page.text, 'hello');
      assert.match(page.headers['content-type'], /^text\/plain/);
      const echo = await http(server, 'PUT', `/v1/database/${name}/route/echo`, { body: 'back' });
      assert.equal(echo.status, 200, echo.text);
      assert.equal(echo.text, 'back');
      assert.equal((await http(server, 'POST', `/v1/database/${name}/route/page`)).status, 404);
    });
  }
}
