// flood_worker.mjs: a client that misbehaves, in a process of its own so that it does not slow down the
// one beside it that is measured. Its argument, as JSON: {port, database, kind, size, token, burn}.
//
//   calls      `size` calls at once, again as soon as they are answered
//   silent     asks for a lot and never reads
//   subscribe  subscribes and unsubscribes, `size` times, as fast as it can
//   heavy      calls that compute (`burn` rounds), 16 of them under way
//   many       a hundred connections of one identity, 20 calls under way on each
//   slow       reducers for the slow lane, 8 connections
//   pings      pings without end, thousands at a time
//   visits     sixteen at a time that connect, are let in and leave, each with a new identity
//   http       calls over HTTP of somebody who names nobody, 32 connections with 8 requests under way on each
//   sql        questions likewise, each for all of `big`, 16 connections with 2
//   requests   for the schema, which no database is asked for, 32 connections with 8
//
// Sends {done: how many} now and then, and the kind's end as {ended}.
import { connect } from 'node:net';
import { enc, frame, OP, session, w } from './support.mjs';

const { port, database, kind, size = 16000, token, burn = 0 } = JSON.parse(process.argv[2]);
const server = { port };
let stop = false;
let done = 0;
process.on('message', () => (stop = true));
process.on('disconnect', () => process.exit(1)); // nobody is left to stop us
const open = () => session(server, database, { token, protocols: [kind === 'many' ? 'v3.bsatn.spacetimedb' : 'v2.bsatn.spacetimedb'] });
const tell = () => process.send({ done });

async function answers(socket, kinds, count) {
  for (let i = 0; i < count; ) if (kinds.includes((await socket.next()).kind)) i++;
  done += count;
}

// So many connections with so many requests under way on each, for as long as nobody says stop.
async function requests(connections, depth, method, path, body = '') {
  const one = Buffer.from(`${method} /v1/database/${database}/${path} HTTP/1.1\r\nhost: flood\r\ncontent-type: application/json\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`);
  const first = Buffer.from('HTTP/1.1 200');
  const told = setInterval(tell, 20);
  await Promise.all(Array.from({ length: connections }, () => new Promise((resolve, reject) => {
    const tcp = connect(port, '127.0.0.1', () => tcp.write(Buffer.concat(Array(depth).fill(one))));
    tcp.setNoDelay(true);
    tcp.on('data', data => {
      let count = 0;
      for (let at = data.indexOf(first); at >= 0; at = data.indexOf(first, at + 1)) count++;
      done += count;
      if (stop) tcp.destroy();
      else if (count) tcp.write(Buffer.concat(Array(count).fill(one)));
    });
    tcp.on('error', reject);
    tcp.on('close', () => (stop ? resolve() : reject(new Error('the server hung up'))));
  })));
  clearInterval(told);
}

const kinds = {
  async pings() {
    const socket = await open();
    socket.tcp.removeAllListeners('data').resume();  // pongs are not what it is about
    const many = Buffer.concat(Array(2000).fill(frame(OP.ping, Buffer.alloc(4))));
    while (!stop && !socket.tcp.destroyed) {
      if (!socket.tcp.write(many)) await new Promise(resolve => socket.tcp.once('drain', resolve).once('close', resolve));
      done += 2000;
      tell();
      await new Promise(resolve => setImmediate(resolve));
    }
    socket.drop();
  },
  async visits() {
    await Promise.all(Array.from({ length: 16 }, async () => {
      while (!stop) {
        (await session(server, database)).drop();
        done++;
        tell();
      }
    }));
  },
  http: () => requests(32, 8, 'POST', 'call/tick', '[1]'),
  sql: () => requests(16, 2, 'POST', 'sql', 'SELECT * FROM big'),
  requests: () => requests(32, 8, 'GET', 'schema?version=9'),
  async calls() {
    const socket = await open();
    const all = Array.from({ length: size }, (_, i) => enc.call(i, 'tick', w().u32(1).done()));
    while (!stop) {
      for (const one of all) socket.say(one);
      tell();
      await answers(socket, ['result'], size);
    }
  },
  async silent() {
    const socket = await open();
    socket.tcp.pause();
    const ended = new Promise(resolve => socket.tcp.on('close', resolve));
    const asking = (async () => {
      for (let i = 0; i < size && !socket.tcp.destroyed; i++) {
        socket.say(enc.oneOff(i, 'SELECT * FROM big'));
        if (i % 100 === 99) {
          done = i + 1;
          tell();
          await new Promise(resolve => setTimeout(resolve, 1));
        }
      }
    })();
    await Promise.race([asking, ended]);
    tell();
    while (!stop) await new Promise(resolve => setTimeout(resolve, 20));
    socket.tcp.resume();
    process.send({ close: await Promise.race([socket.over(), new Promise(r => setTimeout(r, 5000, 'open'))]) });
  },
  async subscribe() {
    const socket = await open();
    const batch = 200;
    for (let i = 0; i < size && !stop; i += batch) {
      for (let k = 0; k < batch; k++) {
        socket.say(enc.subscribe(i + k, i + k, 'SELECT * FROM counter WHERE id = 1'));
        socket.say(enc.unsubscribe(i + k, i + k));
      }
      await answers(socket, ['unsubscribed'], batch);
      tell();
    }
  },
  async heavy() {
    const socket = await open();
    const one = enc.call(1, 'burn', w().u32(burn).done());
    for (let i = 0; i < 16; i++) socket.say(one);
    while (!stop) {
      await answers(socket, ['result'], 1);
      tell();
      socket.say(one);
    }
  },
  async many() {
    const one = enc.call(1, 'tick', w().u32(1).done());
    const sockets = await Promise.all(Array.from({ length: 100 }, open));
    await Promise.all(sockets.map(async socket => {
      while (!stop) {
        socket.say(...Array(20).fill(one));
        await answers(socket, ['result'], 20);
        tell();
      }
    }));
  },
  async slow() {
    const one = enc.call(1, 'burn', w().u32(burn).done());
    const sockets = await Promise.all(Array.from({ length: 8 }, open));
    await Promise.all(sockets.map(async socket => {
      while (!stop) {
        socket.say(one);
        await answers(socket, ['result'], 1);
        tell();
      }
    }));
  },
};
await kinds[kind]();
process.send({ ended: true, done }, () => process.exit(0));
