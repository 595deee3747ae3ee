// fairness.mjs: what a polite client feels of one that misbehaves: `make bench ONLY=fairness`.
//
// One call after another on one connection, alone and then beside each kind of flooder, alternating,
// so that both are measured in the same minutes. The budget of DESIGN: p99 below 2 × alone.
//
// The polite client is bench/load, the flooder a process of its own: two programs, as two clients are. Both
// share the cores with the server, which is what `elsewhere` is a control for: the same client beside the flood
// of calls of another server (bench/ideal), which takes as many cores and has nothing to do with ours. What is
// slower there is the machine's doing. `waited` is how much of its time the polite client itself stood in line
// for a core, which is in its latencies too.
import { Flooder, publishFlood, roundsFor } from '../tests/e2e/flood_support.mjs';
import { newIdentity } from '../tests/e2e/support.mjs';

const kinds = ['calls', 'subscribe', 'heavy', 'slow', 'many', 'silent'];

// `server` has {url, port}, and so has `other`; `load(words)` runs bench/load and gives its figures by name.
// Gives {kind: [{alone, beside}, …]} with p50 and p99 in milliseconds and `waited` in percent.
export async function fairness(server, other, { seconds, rounds, load }) {
  const { token } = await newIdentity(server);
  await publishFlood(server, 'fairness', token);
  const burn = { heavy: await roundsFor(server, 'fairness', 1.7), slow: await roundsFor(server, 'fairness', 100) };
  const figures = Object.fromEntries([...kinds, 'elsewhere'].map(kind => [kind, []]));
  const measure = async () => {
    const took = await load(['--url', `127.0.0.1:${server.port}`, '--database', 'fairness', '--protocol', 'v3', '--call', 'tick',
      '--argument', '2', '--connections', '1', '--in-flight', '1', '--warmup', '0.3', '--seconds', String(seconds)]);
    return { p50: took.latency_p50 / 1000, p99: took.latency_p99 / 1000, waited: took.client_waited };
  };
  for (let round = 0; round < rounds; round++) {
    for (const kind of Object.keys(figures)) {
      const alone = await measure();
      const size = kind === 'subscribe' ? 1_000_000 : kind === 'silent' ? 2000 : 16_000;
      const control = kind === 'elsewhere';
      const flooder = new Flooder(control ? other : server, 'fairness', control ? 'calls' : kind, { size, burn: burn[kind], token });
      await flooder.begun();
      const beside = await measure();
      await flooder.stop();
      figures[kind].push({ alone, beside });
    }
  }
  return figures;
}
