// fairness.mjs: what a polite client feels of one that misbehaves: `make bench ONLY=fairness`.
//
// One call after another on one connection, alone and then beside each kind of flooder, alternating,
// so that both are measured in the same minutes. The budget of DESIGN: p99 below 2 × alone.
import { Flooder, percentile, polite, publishFlood, roundsFor } from '../tests/e2e/flood_support.mjs';
import { newIdentity, session } from '../tests/e2e/support.mjs';

const kinds = ['calls', 'subscribe', 'heavy', 'slow', 'many', 'silent'];

// `server` has {url, port}. Gives {kind: [{alone, beside}, …]} with p50 and p99 in milliseconds.
export async function fairness(server, { seconds, rounds }) {
  const { token } = await newIdentity(server);
  await publishFlood(server, 'fairness', token);
  const burn = { heavy: await roundsFor(server, 'fairness', 1.7), slow: await roundsFor(server, 'fairness', 100) };
  const figures = Object.fromEntries(kinds.map(kind => [kind, []]));
  const measure = async socket => {
    const took = await polite(socket, { ms: seconds * 1000 });
    return { p50: percentile(took, 0.5), p99: percentile(took, 0.99) };
  };
  for (let round = 0; round < rounds; round++) {
    for (const kind of kinds) {
      const socket = await session(server, 'fairness');
      await polite(socket, { calls: 200 });
      const alone = await measure(socket);
      const size = kind === 'subscribe' ? 1_000_000 : kind === 'silent' ? 2000 : 16_000;
      const flooder = new Flooder(server, 'fairness', kind, { size, burn: burn[kind], token });
      await flooder.begun();
      const beside = await measure(socket);
      await flooder.stop();
      await socket.bye();
      figures[kind].push({ alone, beside });
    }
  }
  return figures;
}
