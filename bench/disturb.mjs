// disturb.mjs: everything slow that interference.mjs runs beside short calls, in a process of its own: what these
// clients compute themselves is not in the way of the one that is measured, nor of the one that measures.
//
// Its argument, as JSON: {url, names}. Each disturbance lasts until `over` comes; then it sends {counts, why}:
// how often each came to its end, where that can be told, and the first failure.
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';

export const rowsOf = () => Number(process.env.ROWS || 1_000_000);

export async function call(server, name, args) {
  const answer = await fetch(`http://${server.url}/v1/database/interference/call/${name}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(args),
  });
  if (!answer.ok) throw new Error(`${name}: ${answer.status} ${await answer.text()}`);
}
export async function sql(server, text) {
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

export const disturbances = {
  'a reducer of 10 s': server => () => call(server, 'slow_reducer', [10_000 - 500]),
  'a view of 10 s': server => async () => {
    await call(server, 'set_pace', [9_500]);
    await sql(server, 'SELECT * FROM slow_view');
  },
  'a waiting procedure': (server, web) => () => call(server, 'wait', [`http://127.0.0.1:${web.address().port}/`]),
  'full scans by SQL': (server, _web, state) => () => repeat(state, () => sql(server, "SELECT id FROM big WHERE text = 'no'")),
  'subscribers of all rows': (server, _web, state) => () => repeat(state, () => readAll(server)),
};

async function main() {
  const { url, names } = JSON.parse(process.argv[2]);
  const state = { over: false };
  const waiting = new Set();
  const web = createServer((_request, answer) => waiting.add(answer)).listen(0, '127.0.0.1');
  await new Promise(done => web.on('listening', done));
  process.on('disconnect', () => process.exit(1));
  process.on('message', () => {
    state.over = true;
    for (const answer of waiting) answer.end('at last');
  });
  const ended = await Promise.allSettled(names.map(name => disturbances[name]({ url }, web, state)()));
  const why = ended.find(one => one.reason)?.reason.message;
  process.send({ counts: ended.map(one => one.value ?? null), why }, () => process.exit(0));
}
if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
