// Where the player wants to go: keys, or a pointer held down on the field.
export interface Direction {
  dx: number;
  dy: number;
}

const keys: Record<string, readonly [number, number]> = {
  ArrowLeft: [-1, 0],
  KeyA: [-1, 0],
  ArrowRight: [1, 0],
  KeyD: [1, 0],
  ArrowUp: [0, -1],
  KeyW: [0, -1],
  ArrowDown: [0, 1],
  KeyS: [0, 1],
};

/** `place` is where the player is, each from 0 to 1. Gives a function that tells the direction now. */
export function input(canvas: HTMLCanvasElement, place: () => { x: number; y: number } | undefined): () => Direction {
  const held = new Set<string>();
  let pointer: { x: number; y: number } | undefined;

  addEventListener('keydown', event => {
    if (!(event.code in keys)) return;
    held.add(event.code);
    event.preventDefault();
  });
  addEventListener('keyup', event => held.delete(event.code));
  addEventListener('blur', () => held.clear());

  const point = (event: PointerEvent) =>
    (pointer = { x: event.offsetX / canvas.clientWidth, y: event.offsetY / canvas.clientHeight });
  canvas.addEventListener('pointerdown', event => {
    canvas.setPointerCapture(event.pointerId);
    point(event);
  });
  canvas.addEventListener('pointermove', event => pointer && point(event));
  for (const end of ['pointerup', 'pointercancel'] as const)
    canvas.addEventListener(end, () => (pointer = undefined));

  return () => {
    let [dx, dy] = [0, 0];
    for (const key of held) {
      dx += keys[key]![0];
      dy += keys[key]![1];
    }
    const here = place();
    if (!pointer || !here) return { dx, dy };
    const [toX, toY] = [pointer.x - here.x, pointer.y - here.y];
    const distance = Math.hypot(toX, toY);
    // In steps, so that a still hand does not send a new direction each frame.
    const step = (value: number) => Math.round((value / distance) * 8) / 8;
    return distance < 0.02 ? { dx: 0, dy: 0 } : { dx: step(toX), dy: step(toY) };
  };
}
