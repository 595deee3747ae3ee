// random.ts: randomness that nobody can guess: the runtime's, or what the platform provides in its place.

let fill: ((bytes: Uint8Array) => unknown) | undefined;

export function provideRandom(source: (bytes: Uint8Array) => unknown): void {
  fill = source;
}

export function randomFill(bytes: Uint8Array): void {
  if (fill) fill(bytes);
  else crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>);
}
