// fairness.mjs: what a polite client feels of one that misbehaves: `make bench ONLY=fairness`.
//
// One call after another on one connection, alone and then beside each kind of flooder, alternating,
// so that both are measured in the same minutes. The budget of DESIGN: p99 below 2 × alone.
//
// `elsewhere` is a control: the same client beside the flood of calls of another server (bench/ideal), which
// takes as many cores and has nothing to do with ours. What is slower there is the machine's doing.
import { Flooder, percentile, polite, publishFlood, roundsFor } from '../tests/e2e/flood_support.mjs';
import { newIdentity, session } from '../tests/e2e/support.mjs';

const kinds = ['calls', 'subscribe', 'heavy', 'slow', 'many', 'silent'];

// `server` has {url, port}, and so has `other`. Gives {kind: [{alone, beside}, …]} with p50 and p99 in milliseconds.
export async function fairness(server, other, { seconds, rounds }) {
  const { token } = await newIdentity(server);
  await publishFlood(server, 'fairness', token);
  const burn = { heavy: await roundsFor(server, 'fairness', 1.7), slow: await roundsFor(server, 'fairness', 100) };
  const figures = Object.fromEntries([...kinds, 'elsewhere'].map(kind => [kind, []]));
  const measure = async socket => {
    const took = await polite(socket, { ms: seconds * 1000 });
    return { p50: percentile(took, 0.5), p99: percentile(took, 0.99) };
  };
  for (let round = 0; round < rounds; round++) {
    for (const kind of Object.keys(figures)) {
      const socket = await session(server, 'fairness');
      await polite(socket, { calls: 200 });
      const alone = await measure(socket);
      const size = kind === 'subscribe' ? 1_000_000 : kind === 'silent' ? 2000 : 16_000;
      const control = kind === 'elsewhere';
      const flooder = new Flooder(control ? other : server, 'fairness', control ? 'calls' : kind, { size, burn: burn[kind], token });
      await flooder.begun();
      const beside = await measure(socket);
      await flooder.stop();
      await socket.bye();
      figures[kind].push({ alone, beside });
    }
  }
  return figures;
}
