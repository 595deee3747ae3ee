// interference.mjs: what everything slow does to short calls.
//
//   make bench ONLY=interference
//
// SECONDS_EACH  measured seconds of one window (10)
// ROUNDS        (3); the table shows medians
// ROWS          of the large table (1000000)
//
// Sixteen clients call short transfers, one in flight each. Windows, in every round: alone; beside a busy
// process that has nothing to do with the server, which is what a core taken away costs by itself on
// this machine; beside each disturbance; beside all of them at once. Each disturbance lasts as long as
// the window: a reducer and a view of ten seconds, a procedure that waits for the network, scans of the
// whole table by SQL one after another, subscribers of the whole table one after another.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { randomBytes } from 'node:crypto';

const rowsOf = () => Number(process.env.ROWS || 1_000_000);
const sleep = ms => new Promise(done => setTimeout(done, ms));

async function call(server, name, args) {
  const answer = await fetch(`http://${server.url}/v1/database/interference/call/${name}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(args),
  });
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
}
async function sql(server, text) {
  const answer = await fetch(`http://${server.url}/v1/database/interference/sql`, { method: 'POST', body: text });
  const body = await answer.text();
  if (!answer.ok) throw new Error(`${text}: ${answer.status} ${body}`);
  return body;
}

// Subscribe to the whole table and count what comes, without looking at it: a client that decodes would
// take the core that is to be measured. Gives the bytes of the first rows.
function readAll(server) {
  const [host, port] = server.url.split(':');
  return new Promise((done, failed) => {
    const socket = connect(Number(port), host);
    let said = '', head = '', need = -1, seen = 0, rest = Buffer.alloc(0);
    socket.on('error', failed);
    socket.on('close', () => failed(new Error('a subscriber was cut off')));
    socket.write(`GET /v1/database/interference/subscribe?compression=None HTTP/1.1\r\nhost: ${host}\r\nconnection: Upgrade\r\n`
      + `upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: ${randomBytes(16).toString('base64')}\r\n`
      + 'sec-websocket-protocol: v2.bsatn.spacetimedb\r\n\r\n');
    const ask = () => {
      const text = Buffer.from('SELECT * FROM big');
      const payload = Buffer.alloc(17 + text.length);
      payload.writeUInt32LE(1, 1);
      payload.writeUInt32LE(1, 5);
      payload.writeUInt32LE(1, 9);
      payload.writeUInt32LE(text.length, 13);
      text.copy(payload, 17);
      socket.write(Buffer.concat([Buffer.from([0x82, 0x80 | payload.length, 0, 0, 0, 0]), payload]));
    };
    socket.on('data', data => {
      if (head !== null) {
        head += data.toString('latin1');
        const end = head.indexOf('\r\n\r\n');
        if (end < 0) return;
        data = Buffer.from(head.slice(end + 4), 'latin1');
        head = null;
        ask();
      }
      // Frame after frame.
      for (rest = rest.length ? Buffer.concat([rest, data]) : data; rest.length; ) {
        if (need < 0) {
          const small = rest.length > 1 ? rest[1] & 127 : 0;
          const bytes = small === 127 ? 10 : small === 126 ? 4 : 2;
          if (rest.length < bytes) return;
          need = small === 127 ? Number(rest.readBigUInt64BE(2)) : small === 126 ? rest.readUInt16BE(2) : small;
          rest = rest.subarray(bytes);
          seen = 0;
        }
        const part = Math.min(need - seen, rest.length);
        if (need < 1000) said = rest.subarray(0, part).toString();
        seen += part;
        rest = rest.subarray(part);
        if (seen < need) continue;
        // What is small is who we are, or a ping, or a refusal.
        if (need > 24 * rowsOf()) {
          socket.removeAllListeners('close');
          socket.destroy();
          done(need);
          return;
        }
        if (/executing|larger than|busy/.test(said)) failed(new Error(said));
        need = -1;
      }
    });
  });
}

// Again and again until the window is over; gives how often it ended.
async function repeat(state, what) {
  let count = 0;
  for (; !state.over; count++) await what();
  return count;
}

const disturbances = {
  'a reducer of 10 s': server => () => call(server, 'slow_reducer', [10_000 - 500]),
  'a view of 10 s': server => async () => {
    await call(server, 'set_pace', [9_500]);
    await sql(server, 'SELECT * FROM slow_view');
  },
  'a waiting procedure': (server, web) => () => call(server, 'wait', [`http://127.0.0.1:${web.address().port}/`]),
  'full scans by SQL': (server, _web, state) => () => repeat(state, () => sql(server, "SELECT id FROM big WHERE text = 'no'")),
  'subscribers of all rows': (server, _web, state) => () => repeat(state, () => readAll(server)),
};

// `measure(seconds)` runs the transfers and gives {latency_p50, latency_p99, throughput}.
export async function interference({ server, record, measure, rounds, atMost }) {
  const seconds = Number(process.env.SECONDS_EACH || 10);
  const rows = rowsOf();
  for (let from = 0; from < rows; from += 50_000) {
    await call(server, 'fill', [from, Math.min(50_000, rows - from)]);
    process.stderr.write(`\rrows: ${from}`);
  }
  const [{ rows: [[there]] }] = JSON.parse(await sql(server, 'SELECT COUNT(*) AS n FROM big'));
  if (there !== rows) throw new Error(`there are ${there} rows`);
  const waiting = new Set();
  const web = createServer((_request, answer) => waiting.add(answer)).listen(0, '127.0.0.1');
  const figures = new Map();
  const keep = (name, figure) => figures.set(name, [...(figures.get(name) ?? []), figure]);
  const windows = [
    ['alone', []], ['a busy process', null],
    ...Object.keys(disturbances).map(name => [name, [name]]),
    ['all at once', Object.keys(disturbances)],
  ];
  await measure(2);
  for (let round = 0; round < rounds; round++) {
    for (const [name, names] of windows) {
      const busy = names ? null : spawn(process.execPath, ['-e', 'for(;;);']);
      const state = { over: false };
      const running = (names ?? []).map(n => disturbances[n](server, web, state)());
      for (const one of running) one.catch(() => {});
      await sleep(200);
      keep(name, await measure(seconds));
      state.over = true;
      for (const answer of waiting) answer.end('at last');
      waiting.clear();
      busy?.kill('SIGKILL');
      const ended = await Promise.allSettled(running);
      for (const { reason } of ended) if (reason) throw reason;
      if (names?.length === 1 && ended[0].value) keep(`${name}: how many`, { count: ended[0].value });
      process.stderr.write(`\rround ${round + 1}/${rounds} ${name}\n`);
    }
  }
  web.close();
  const of = (name, figure) => figures.get(name).map(f => f[figure]);
  for (const [name] of windows) {
    for (const figure of ['latency_p50', 'latency_p99']) {
      const value = of(name, figure);
      record('interference', `${name}: ${figure.replace('_', ' ')}`, value, 'us');
      if (name === 'alone') continue;
      const alone = of('alone', figure), control = of('a busy process', figure);
      const all = name === 'all at once' && figure === 'latency_p99';
      record('interference', `${name}: ${figure.slice(8)} / alone`, value.map((v, i) => v / alone[i]), 'ratio',
        all ? atMost(2) : null);
      if (name !== 'a busy process')
        record('interference', `${name}: ${figure.slice(8)} / beside a busy process`, value.map((v, i) => v / control[i]), 'ratio');
    }
    if (figures.has(`${name}: how many`)) record('interference', `${name}: in a window`, of(`${name}: how many`, 'count'), '');
  }
}
