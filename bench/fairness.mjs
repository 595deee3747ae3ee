// fairness.mjs: what a polite client feels of one that misbehaves: `make bench ONLY=fairness`, or with
// KINDS="calls, pings" some kinds of it and the control.
//
// One call after another on one connection, alone and then beside each kind of flooder, alternating,
// so that both are measured in the same minutes. The budget of DESIGN: p99 below 2 × alone.
//
// The polite client is bench/load, the flooder a process of its own: two programs, as two clients are. Both
// share the cores with the server, which is what `elsewhere` is a control for: the same client beside the flood
// of calls of another server (bench/ideal), which takes as many cores and has nothing to do with ours. What is
// slower there is the machine's doing. `waited` is how much of its time the polite client itself stood in line
// for a core, which is in its latencies too.
//
// The flooders are Node processes, which take a core for 80,000 calls a second. `calls in C` and `many in C` are
// the same floods by bench/load: several times as many calls for less of the machine, as from one beside it.
//
// `…, cores left`: the same flood by a process that gets a core only when nobody else wants it (SCHED_IDLE), as if
// it had a machine of its own: what is left is what the server makes the others wait. `its rate` is what a flooder
// gets done a second, which shows whether it is still one.
// `…, 16 others`: sixteen polite clients instead of one, each with an identity of its own.
import { execFileSync, spawn } from 'node:child_process';
import { Flooder, publishFlood, roundsFor } from '../tests/e2e/flood_support.mjs';
import { newIdentity } from '../tests/e2e/support.mjs';

const kinds = ['calls', 'calls in C', 'subscribe', 'heavy', 'slow', 'many', 'many in C', 'silent', 'pings', 'visits', 'http', 'sql', 'requests'];
const left = ', cores left';
const leaving = ['calls', 'subscribe', 'many', 'visits'].map(kind => kind + left);
const sixteen = ', 16 others';
const crowds = ['calls', 'calls in C', 'heavy'].map(kind => kind + sixteen);

// v3 would have the answers to 16,000 calls in one message, which load does not read.
const floodsInC = {
  'calls in C': ['--protocol', 'v2', '--connections', '1', '--in-flight', '16000'],
  'many in C': ['--protocol', 'v3', '--connections', '100', '--in-flight', '20'],
};

// As Flooder, by bench/load.
class FloodInC {
  constructor(tool, server, database, kind, { token }) {
    this.child = spawn(tool, ['--url', `127.0.0.1:${server.port}`, '--database', database, '--call', 'tick', '--argument', '1',
      '--token', token, '--warmup', '0.1', '--seconds', '3600', ...floodsInC[kind]], { stdio: ['ignore', 'ignore', 'inherit'] });
    this.over = new Promise(resolve => this.child.on('exit', (code, signal) => resolve(signal ?? code)));
  }
  async begun() {
    await new Promise(resolve => setTimeout(resolve, 500));
  }
  async stop() {
    this.child.kill();
    const how = await this.over;
    if (how !== 'SIGTERM') throw new Error(`the flood in C ended by itself with ${how}`);
  }
}

// `server` has {url, port}, and so has `other`; `load(words)` runs bench/load and gives its figures by name, `tool` is it.
// Gives {kind: [{alone, beside, rate}, …]} with p50 and p99 in milliseconds, `waited` in percent, and the flooder's rate
// a second, NaN where it does not count.
export async function fairness(server, other, { seconds, rounds, load, tool }) {
  const { token } = await newIdentity(server);
  await publishFlood(server, 'fairness', token);
  const burn = { heavy: await roundsFor(server, 'fairness', 1.7), slow: await roundsFor(server, 'fairness', 100) };
  const asked = process.env.KINDS?.split(',').map(kind => kind.trim());
  const isAsked = name => !asked || asked.includes(name.split(',')[0]);
  const all = [...kinds, ...leaving, ...crowds, 'elsewhere'].filter(name => isAsked(name) || name === 'elsewhere');
  const figures = Object.fromEntries(all.map(kind => [kind, []]));
  const measure = async clients => {
    const took = await load(['--url', `127.0.0.1:${server.port}`, '--database', 'fairness', '--protocol', 'v3', '--call', 'tick',
      '--argument', '2', '--connections', String(clients), '--in-flight', '1', '--warmup', '0.3', '--seconds', String(seconds)]);
    return { p50: took.latency_p50 / 1000, p99: took.latency_p99 / 1000, waited: took.client_waited };
  };
  for (let round = 0; round < rounds; round++) {
    for (const [name, taken] of Object.entries(figures)) {
      const clients = name.endsWith(sixteen) ? 16 : 1;
      const kind = name.replace(sixteen, '').replace(left, '');
      const alone = await measure(clients);
      const size = kind === 'subscribe' ? 1_000_000 : kind === 'silent' ? 2000 : 16_000;
      const control = kind === 'elsewhere';
      const flooder = floodsInC[kind] ? new FloodInC(tool, server, 'fairness', kind, { token })
        : new Flooder(control ? other : server, 'fairness', control ? 'calls' : kind, { size, burn: burn[kind], token });
      await flooder.begun();
      if (name.endsWith(left)) execFileSync('chrt', ['--all-tasks', '--idle', '--pid', '0', String(flooder.worker.pid)]);
      const [before, began] = [flooder.done, performance.now()];
      const beside = await measure(clients);
      const rate = ((flooder.done - before) / (performance.now() - began)) * 1000;
      await flooder.stop();
      taken.push({ alone, beside, rate });
    }
  }
  return figures;
}
