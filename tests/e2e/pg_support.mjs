// pg_support.mjs: servers that speak PostgreSQL's protocol, and clients of it: psql, npm's pg and a socket
// that can misbehave.
import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import { startServer, until } from './support.mjs';

// A server with its PostgreSQL port in `pgPort`.
export async function startPgServer({ words = [], ...options } = {}) {
  const server = await startServer({ ...options, words: [...words, '--pg-port', '0'] });
  server.pgPort = Number(/PostgreSQL's protocol on [^\n]*:(\d+)/.exec(server.output)[1]);
  return server;
}

export const pgOptions = (server, database, token) =>
  ({ host: '127.0.0.1', port: server.pgPort, user: 'somebody', database, password: token });

export function psql(server, database, token, ...words) {
  const where = ['-X', '-h', '127.0.0.1', '-p', String(server.pgPort), '-U', 'somebody', '-d', database];
  return new Promise(resolve => {
    execFile(
      'psql', [...where, ...words],
      { env: { ...process.env, PGPASSWORD: token, PGCONNECT_TIMEOUT: '20', LC_ALL: 'C.UTF-8' }, timeout: 60_000, maxBuffer: 64 << 20 },
      (error, stdout, stderr) => resolve({ code: error ? (error.code ?? 'killed') : 0, stdout, stderr })
    );
  });
}

const u32 = n => { const b = Buffer.alloc(4); b.writeUInt32BE(n >>> 0); return b; };
export const message = (name, ...parts) => {
  const body = Buffer.concat(parts.map(part => typeof part === 'string' ? Buffer.from(`${part}\0`) : part));
  return Buffer.concat([Buffer.from(name), u32(body.length + 4), body]);
};
export const startup = database =>
  message('', u32(0x30000), 'user', 'x', 'database', database, Buffer.from([0]));

// A connection that says what it is told to, and keeps what comes as messages: {name, body}.
export class RawPg {
  constructor(server) {
    this.messages = [];
    this.socket = connect(server.pgPort, '127.0.0.1');
    this.ended = new Promise(resolve => this.socket.on('close', resolve));
    this.rest = Buffer.alloc(0);
    this.socket.on('error', () => {});
    this.socket.on('data', data => {
      this.rest = Buffer.concat([this.rest, data]);
      while (this.rest.length >= 5 && this.rest.length > this.rest.readUInt32BE(1)) {
        const end = this.rest.readUInt32BE(1) + 1;
        this.messages.push({ name: String.fromCharCode(this.rest[0]), body: this.rest.subarray(5, end) });
        this.rest = this.rest.subarray(end);
      }
    });
  }
  static async login(server, database, token) {
    const raw = new RawPg(server);
    raw.say(startup(database));
    await raw.has('R');
    raw.say(message('p', token));
    await raw.has('Z');
    raw.messages.length = 0;
    return raw;
  }
  say(...messages) {
    this.socket.write(Buffer.concat(messages));
  }
  has(name, count = 1) {
    return until(() => this.messages.filter(one => one.name === name).length >= count && this.messages, `a message ${name}`);
  }
  get names() {
    return this.messages.map(one => one.name).join('');
  }
}
