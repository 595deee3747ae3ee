// Procedures and HTTP handlers: code of the module that runs beside the loop, waits for the world and
// makes transactions of its own.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { connect, moduleBindings } from './harness.mjs';
import { call, callOk, enc, http, logs, moduleCode, newIdentity, patience, publish, published, rawHttp, rows, session, sleep, startServer, until, w, within } from './support.mjs';

const db = 'lanes';
let server, ann, id, world;

// A web server that says what it is asked to: /say/TEXT, /wait/MS, /to/URL, /large/BYTES.
class World {
  waiting = [];
  seen = [];
  async start() {
    this.http = createServer((request, answer) => {
      const [, verb, rest] = /^\/([a-z]*)\/?(.*)$/.exec(request.url);
      let body = '';
      request.on('data', more => (body += more));
      request.on('end', () => {
        this.seen.push({ method: request.method, url: request.url, headers: request.headers, raw: request.rawHeaders, body });
        answer.setHeader('X-Said', verb);
        if (verb === 'say') answer.end(decodeURIComponent(rest.split('?')[0]));
        else if (verb === 'echo') answer.end(`${request.method} ${request.headers['x-asked-by']} ${request.headers['content-type']} ${body}`);
        else if (verb === 'large') answer.end('x'.repeat(Number(rest)));
        else if (verb === 'to') answer.writeHead(302, { location: decodeURIComponent(rest) }).end();
        else this.waiting.push(() => answer.end(`waited ${rest}`));
      });
    });
    await new Promise(resolve => this.http.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${this.http.address().port}`;
    return this;
  }
  release() {
    for (const answer of this.waiting.splice(0)) answer();
  }
  end() {
    this.release();
    this.http.close();
    this.http.closeAllConnections?.();
  }
}

before(async () => {
  world = await new World().start();
  server = await startServer({ words: ['--outbound-http', 'all', '--outbound-max', '100000', '--procedure-deadline', '3000'] });
  ann = await newIdentity(server);
  id = await published(server, db, moduleCode('lanes'), { token: ann.token });
});
after(async () => {
  world?.end();
  await server?.end();
});

const entries = who => rows(server, db, `SELECT n FROM entry WHERE who = '${who}'`).then(all => all.map(([n]) => n).sort());
const counter = async n => (await rows(server, db, `SELECT value FROM counter WHERE id = ${n}`))[0]?.[0];

async function procedure(socket, request, name, args) {
  socket.say(enc.procedure(request, name, args ?? Buffer.alloc(0)));
  const result = await socket.nextOf('procedure');
  assert.equal(result.request, request);
  return result;
}
function text(result) {
  assert.equal(result.internal, undefined);
  return result.returned.subarray(4).toString();
}

test('HTTP callers get the value as JSON, and the reason when there is none', async () => {
  const sum = await call(server, db, 'sum', [1, 2]);
  assert.deepEqual([sum.status, sum.text, sum.headers['content-type']], [200, '3', 'application/json']);
  assert.ok(Number(sum.headers['spacetime-execution-duration-micros']) > 0);
  assert.equal(sum.headers['spacetime-energy-used'], undefined);
  assert.equal((await call(server, db, 'sum', '{"b":5,"a":6}')).text, '11');
  assert.deepEqual((await call(server, db, 'spin_procedure', [0])).json, []);

  const few = await call(server, db, 'sum', [1]);
  assert.deepEqual([few.status, few.text], [400, 'invalid arguments for procedure sum: invalid length 1, expected args for sum with 2 elements']);
  const none = await call(server, db, 'nothing', []);
  assert.deepEqual([none.status, none.text], [404, 'No such procedure']);
  const broken = await call(server, db, 'two_steps', ['http', true]);
  assert.deepEqual([broken.status, broken.text], [500, 'The module instance encountered a fatal error: Error: after the first step']);
  assert.deepEqual(await entries('http'), [1], 'what was committed stays');
  const long = await call(server, db, 'spin_procedure', [20_000]);
  assert.deepEqual([long.status, long.text], [402, 'Procedure terminated due to insufficient budget']);
});

test('scheduled procedures are the owner’s only', async () => {
  assert.equal((await call(server, db, 'run_errand', [])).status, 404);
  const owner = await call(server, db, 'run_errand', [], ann.token);
  assert.equal(owner.status, 400);
  assert.match(owner.text, /^invalid arguments for procedure run_errand: /);
});

test('a WebSocket client gets its transactions’ updates, then the result', async () => {
  const socket = await session(server, db);
  socket.say(enc.subscribe(1, 1, "SELECT * FROM entry WHERE who = 'steps'"));
  assert.equal((await socket.next()).kind, 'subscribed');
  socket.say(enc.procedure(7, 'two_steps', w().str('steps').u8(0).done()));
  const heard = [await socket.next(), await socket.next(), await socket.next()];
  assert.deepEqual(heard.map(m => m.kind), ['update', 'update', 'procedure']);
  assert.equal(heard[2].request, 7);
  assert.ok(heard[2].timestamp > 0n && heard[2].duration > 0n);

  assert.equal((await procedure(socket, 8, 'none')).internal, 'No such procedure');
  assert.match((await procedure(socket, 9, 'sum', Buffer.from([1]))).internal, /^invalid arguments for procedure sum: /);
  const failed = await procedure(socket, 10, 'two_steps', w().str('ws').u8(1).done());
  assert.deepEqual([failed.internal, failed.timestamp, failed.duration], ['The module instance encountered a fatal error: Error: after the first step', 0n, 0n]);
  await socket.bye();
});

test('the caller is the client, in its transactions too', async () => {
  const socket = await session(server, db, { token: ann.token });
  const mine = `${ann.identity} true`;
  assert.equal(text(await procedure(socket, 1, 'who_am_i')), `${mine} ${mine}`);
  await socket.bye();
});

test('the npm client calls procedures and gets values and errors', async () => {
  const bindings = await moduleBindings('lanes');
  const client = await connect(bindings, server, db);
  const { procedures } = client.connection;
  assert.equal(await procedures.sum({ a: 40, b: 2 }), 42);
  assert.match(await procedures.whoAmI({}), new RegExp(`^${client.identity.toHexString()} true `));
  await assert.rejects(procedures.twoSteps({ who: 'npm', fail: true }), /after the first step/);
  assert.equal(typeof (await procedures.twoSteps({ who: 'npm', fail: false })), 'bigint');
  client.connection.disconnect();
});

test('a transaction whose body throws leaves nothing', async () => {
  assert.equal((await call(server, db, 'undone', ['ghost'])).json, 'changed my mind');
  assert.deepEqual(await entries('ghost'), []);
});

test('no update is lost between procedures and reducers on one row', async () => {
  const clients = await Promise.all(Array.from({ length: 4 }, () => session(server, db)));
  const each = 150;
  const args = n => w().u32(5).u32(n).done();
  const began = await rows(server, db, 'SELECT * FROM counter WHERE id = 5');
  assert.deepEqual(began, []);
  await Promise.all(
    clients.map(async (socket, c) => {
      for (let i = 0; i < each; i++) {
        if (c < 2) {
          const result = await procedure(socket, i, 'deposit', args(i % 10 === 0 ? 3 : 0));
          assert.equal(result.internal, undefined);
        } else {
          socket.say(enc.call(i, 'increment', w().u32(5).done()));
          await socket.nextOf('result');
        }
      }
    })
  );
  assert.equal(await counter(5), each * clients.length);
  for (const socket of clients) await socket.bye();
});

test('a conflict runs the body once more, and that time it has the database', async () => {
  const socket = await session(server, db);
  let stop = false;
  const hammer = (async () => {
    const other = await session(server, db);
    for (let i = 0; !stop; i++) {
      other.say(enc.call(i, 'increment', w().u32(6).done()));
      await other.nextOf('result');
    }
    await other.bye();
  })();
  await until(async () => (await counter(6)) > 5, 'the hammer to strike');
  const result = await procedure(socket, 1, 'deposit', w().u32(6).u32(60).done());
  stop = true;
  await hammer;
  assert.equal(result.returned?.readUInt32LE(), 2, result.internal);
  await socket.bye();
});

test('a transaction that has the database and does not end is undone', async () => {
  await callOk(server, db, 'increment', [8]);
  const socket = await session(server, db);
  socket.say(enc.procedure(1, 'hogs', w().u32(8).done()));
  await sleep(100);
  for (let i = 0; i < 30; i++) {
    await callOk(server, db, 'increment', [8]);
    await sleep(10);
  }
  const { internal } = await socket.nextOf('procedure');
  assert.match(internal, /its transaction had the database to itself for 250 ms and did not end/);
  assert.equal(await counter(8), 31);
  await callOk(server, db, 'increment', [8]);
  await socket.bye();
});

test('while a procedure waits for the world, everybody goes on, and its own client too', async () => {
  const socket = await session(server, db);
  const waiting = Array.from({ length: 40 }, (_, i) => {
    socket.say(enc.procedure(100 + i, 'fetch_text', w().str(`${world.url}/wait/${i}`).str('GET').str('').u32(0).done()));
  });
  await until(() => world.waiting.length === waiting.length, 'all to have asked', patience);
  for (let i = 0; i < 50; i++) {
    socket.say(enc.call(i, 'increment', w().u32(9).done()));
    assert.equal((await socket.next()).kind, 'result');
  }
  assert.equal((await call(server, db, 'sum', [2, 2])).text, '4');
  world.release();
  const said = [];
  for (let i = 0; i < waiting.length; i++) said.push(text(await socket.nextOf('procedure')));
  assert.deepEqual(said.sort(), Array.from({ length: 40 }, (_, i) => `200 wait waited ${i}`).sort());
  await socket.bye();
});

test('requests carry method, headers and body; answers come back whole', async () => {
  const ask = async (...args) => (await call(server, db, 'fetch_text', args)).json;
  assert.equal(await ask(`${world.url}/echo`, 'GET', '', 0), '200 echo GET lanes undefined ');
  assert.equal(await ask(`${world.url}/echo`, 'POST', 'a body', 0), '200 echo POST lanes undefined a body');
  assert.equal(await ask(`${world.url}/echo`, 'PUT', 'b', 0), '200 echo PUT lanes undefined b');
  assert.equal(await ask(`${world.url}/echo`, 'PURGE', '', 0), '200 echo PURGE lanes undefined ');
  assert.equal(await ask(`${world.url}/to/${encodeURIComponent('/say/there')}`, 'GET', '', 0), '200 say there');
  assert.match(await ask(`${world.url}/large/100001`, 'GET', '', 0), /^HttpError: .*the response's body is larger than this server allows$/);
  assert.equal((await ask(`${world.url}/large/100000`, 'GET', '', 0)).length, 'x'.repeat(100000).length + '200 large '.length);
  assert.match(await ask(`${world.url}/wait/x?key=secret`, 'GET', '', 100), /^HttpError: error sending request for url \([^?]*\/wait\/x\): operation timed out$/);
  world.release();
  assert.match(await ask('ftp://127.0.0.1/x', 'GET', '', 0), /^HttpError: /);
  assert.match(await ask(`${world.url}/to/${encodeURIComponent('file:///etc/passwd')}`, 'GET', '', 0), /^HttpError: /);
  assert.equal((await call(server, db, 'fetch_in_transaction', [`${world.url}/say/no`])).json, 'WouldBlockTransaction');
  assert.ok(!world.seen.some(request => request.url === '/say/no'));
});

test('a server that is told so lets no module reach its own networks, or nobody', async () => {
  const careful = await startServer();
  const silent = await startServer({ words: ['--outbound-http', 'off'] });
  try {
    const port = new URL(world.url).port;
    for (const [one, why] of [[careful, /refusing to connect to private or special-purpose addresses$/], [silent, /^HttpError: module outbound HTTP requests are disabled$/]]) {
      await published(one, db, moduleCode('lanes'));
      for (const host of ['127.0.0.1', 'localhost', '[::1]', '0.0.0.0', '[::ffff:127.0.0.1]', '2130706433']) {
        const before = world.seen.length;
        assert.match((await call(one, db, 'fetch_text', [`http://${host}:${port}/say/x`, 'GET', '', 1000])).json, why, host);
        assert.equal(world.seen.length, before, host);
      }
    }
  } finally {
    await careful.end();
    await silent.end();
  }
});

test('what a procedure logs before it waits is seen while it waits', async () => {
  const socket = await session(server, db);
  socket.say(enc.procedure(1, 'fetch_text', w().str(`${world.url}/wait/log`).str('SEARCH').str('').u32(0).done()));
  await until(async () => (await logs(server, db, ann.token)).some(line => line.message === 'asking SEARCH'), 'the line', patience);
  await until(() => world.waiting.length === 1, 'the request', patience);
  await sleep(3300);  // more than a procedure may compute: waiting does not count
  world.release();
  assert.equal(text(await socket.nextOf('procedure')), '200 wait waited log');
  await socket.bye();
});

// ---- schedules

test('a scheduled procedure runs once; its row is gone before it starts', async () => {
  await callOk(server, db, 'plan', ['once', '', 0]);
  await until(async () => (await entries('once nothing false')).length === 1, 'the run', patience);
  assert.deepEqual(await rows(server, db, "SELECT * FROM errand WHERE label = 'once'"), []);
  await sleep(100);
  assert.equal((await entries('once nothing false')).length, 1);
});

test('an interval keeps its row and runs until it is forgotten; runs wait beside each other', async () => {
  await callOk(server, db, 'plan', ['slow', `${world.url}/wait/errand`, 0]);
  await until(() => world.waiting.length === 1, 'the slow one to wait', patience);
  await callOk(server, db, 'plan_every', ['beat', 20]);
  await until(async () => (await entries('beat nothing true')).length >= 5, 'five runs', patience);
  await callOk(server, db, 'forget', ['beat']);
  await sleep(100);
  const runs = (await entries('beat nothing true')).length;
  await sleep(200);
  assert.equal((await entries('beat nothing true')).length, runs);
  world.release();
  await until(async () => (await entries('slow waited errand false')).length === 1, 'the slow one', patience);
});

// ---- HTTP handlers

const route = `/v1/database/${db}/route`;

test('handlers answer requests under /route', async () => {
  for (const path of ['', '/']) assert.equal((await http(server, 'GET', route + path)).text, 'hello');
  const missing = await http(server, 'GET', `${route}/nowhere`);
  assert.deepEqual([missing.status, missing.text], [404, 'Database has not registered a handler for this route']);
  assert.equal((await http(server, 'GET', `${route}/store`)).status, 404, 'only POST');
  assert.equal((await http(server, 'GET', '/v1/database/nobody/route')).status, 404);

  const echo = await http(server, 'PATCH', `${route}/echo?a=1&b=%20`, { body: 'böt', headers: { 'x-forwarded-proto': 'https, http', 'x-forwarded-host': 'example.org, x', 'x-one': '1' } });
  assert.equal(echo.status, 201);
  assert.equal(echo.headers['x-made-by'], 'lanes');
  assert.equal(echo.headers['spacetime-identity'], undefined);
  assert.deepEqual([echo.json.method, echo.json.uri, echo.json.body], ['PATCH', `https://example.org${route}/echo?a=1&b=%20`, 'böt']);
  assert.ok(echo.json.headers.some(([name, value]) => name === 'x-one' && value === '1'));

  const broken = await http(server, 'GET', `${route}/broken`);
  assert.deepEqual([broken.status, broken.text], [500, 'The module instance encountered a fatal error: Error: this handler is broken']);
});

test('nobody is asked for a token, OPTIONS never arrives, HEAD has no body', async () => {
  assert.equal((await http(server, 'GET', route, { headers: { authorization: 'Bearer nonsense' } })).text, 'hello');
  assert.equal((await http(server, 'OPTIONS', `${route}/echo`)).text, '');
  const said = await rawHttp(server, `HEAD ${route}/echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
  assert.match(said, /^HTTP\/1\.1 201 /);
  assert.ok(said.endsWith('\r\n\r\n'));
  assert.match(said, /content-length: [1-9]/);
  const large = await http(server, 'POST', `${route}/store`, { body: 'x'.repeat((2 << 20) + 1) });
  assert.equal(large.status, 413);
});

test('what a handler stored is stored, and its watchers know', async () => {
  const socket = await session(server, db);
  socket.say(enc.subscribe(1, 1, "SELECT * FROM entry WHERE who = 'by http'"));
  await socket.next();
  const stored = await http(server, 'POST', `${route}/store`, { body: 'by http' });
  assert.match(stored.text, /^\d+$/);
  assert.equal((await socket.next()).kind, 'update');
  assert.deepEqual(await entries('by http'), [7]);
  await socket.bye();
});

// ---- ends

test('a client may leave; its procedure comes to its end', async () => {
  const socket = await session(server, db);
  socket.say(enc.procedure(1, 'deposit', w().u32(20).u32(200).done()));
  await sleep(50);
  socket.drop();
  await until(async () => (await counter(20)) === 1, 'the deposit', patience);
});

test('a new module ends the procedures of the old one, and says so', async () => {
  const socket = await session(server, db);
  socket.say(enc.procedure(1, 'fetch_text', w().str(`${world.url}/wait/update`).str('GET').str('').u32(0).done()));
  const slow = call(server, db, 'fetch_text', [`${world.url}/wait/update`, 'GET', '', 0]);
  await until(() => world.waiting.length === 2, 'both to wait', patience);
  const code = `${moduleCode('lanes')}\n// another one`;
  assert.equal((await publish(server, db, code, { token: ann.token })).status, 200);
  assert.equal((await socket.nextOf('procedure')).internal, 'procedure `fetch_text` was ended: a new version of the module was published');
  const answer = await slow;
  assert.deepEqual([answer.status, answer.text], [503, 'procedure `fetch_text` was ended: a new version of the module was published']);
  assert.equal(text(await procedure(socket, 2, 'undone', w().str('new').done())), 'changed my mind');
  world.release();
  await socket.bye();
});

test('a server stops at once while procedures wait, and starts again as it was', async () => {
  const own = await startServer({ words: ['--outbound-http', 'all'] });
  try {
    await published(own, db, moduleCode('lanes'));
    const socket = await session(own, db);
    for (let i = 0; i < 10; i++) {
      socket.say(enc.procedure(i, 'fetch_text', w().str(`${world.url}/wait/stop`).str('GET').str('').u32(0).done()));
    }
    await until(() => world.waiting.length === 10, 'all to wait', patience);
    await callOk(own, db, 'note', ['kept', 1]);
    const began = Date.now();
    await own.stop();
    assert.ok(Date.now() - began < 5000, `it took ${Date.now() - began} ms`);
    await own.start();
    assert.equal((await rows(own, db, "SELECT * FROM entry WHERE who = 'kept'")).length, 1);
    assert.equal((await call(own, db, 'sum', [1, 1])).text, '2');
  } finally {
    world.release();
    await own.end();
  }
});

test('what a procedure committed before it went on survives kill -9', async () => {
  const own = await startServer({ words: ['--outbound-http', 'all'] });
  try {
    await published(own, db, moduleCode('lanes'));
    const socket = await session(own, db);
    await callOk(own, db, 'plan', ['killed', `${world.url}/wait/kill`, 0]);
    await until(() => world.waiting.length === 1, 'the errand to wait', patience);
    socket.say(enc.procedure(1, 'two_steps', w().str('survives').u8(0).done()));
    await within(socket.nextOf('procedure'), 'the result');
    await own.kill();
    await own.start();
    assert.equal((await rows(own, db, "SELECT * FROM entry WHERE who = 'survives'")).length, 2);
    assert.deepEqual(await rows(own, db, "SELECT * FROM errand WHERE label = 'killed'"), [], 'at most once');
  } finally {
    world.release();
    await own.end();
  }
});
