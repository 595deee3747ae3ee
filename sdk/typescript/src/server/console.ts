// console.ts: `console` for modules: its lines go to the database's log.
import * as sys from 'spacetime:sys@2.0';

const ERROR = 0, WARN = 1, INFO = 2, DEBUG = 3, TRACE = 4;
const DEPTH = 4;

/** A value as a person would like to read it. */
export function inspect(value: unknown, depth = DEPTH, seen: readonly object[] = []): string {
  if (typeof value === 'string') return seen.length > 0 ? JSON.stringify(value) : value;
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return `[function ${value.name || 'without a name'}]`;
  if (typeof value !== 'object' || value === null) return String(value);
  if (value instanceof Error) return value.stack ? `${value.name}: ${value.message}\n${value.stack}` : String(value);
  if (seen.includes(value)) return '[itself]';
  if (depth === 0) return Array.isArray(value) ? '[…]' : '{…}';
  const inner = (part: unknown) => inspect(part, depth - 1, [...seen, value]);
  if (Array.isArray(value)) return value.length ? `[ ${value.map(inner).join(', ')} ]` : '[]';
  if (ArrayBuffer.isView(value)) return `${value.constructor.name} [ ${Array.from(value as Uint8Array).join(', ')} ]`;
  if (value instanceof Map) return `Map { ${[...value].map(([k, v]) => `${inner(k)} => ${inner(v)}`).join(', ')} }`;
  if (value instanceof Set) return `Set { ${[...value].map(inner).join(', ')} }`;
  const name = Object.getPrototypeOf(value)?.constructor?.name as string | undefined;
  if (Object.hasOwn(Object.getPrototypeOf(value) ?? {}, 'toString') && name !== 'Object') return String(value);
  const parts = Object.entries(value).map(([key, part]) => `${key}: ${inner(part)}`);
  const kind = name && name !== 'Object' ? `${name} ` : '';
  return parts.length ? `${kind}{ ${parts.join(', ')} }` : `${kind}{}`;
}

const text = (parts: unknown[]) => parts.map(part => inspect(part)).join(' ');
const timers = new Map<string, number>();

export const moduleConsole = {
  log: (...parts: unknown[]) => sys.console_log(INFO, text(parts)),
  info: (...parts: unknown[]) => sys.console_log(INFO, text(parts)),
  warn: (...parts: unknown[]) => sys.console_log(WARN, text(parts)),
  error: (...parts: unknown[]) => sys.console_log(ERROR, text(parts)),
  debug: (...parts: unknown[]) => sys.console_log(DEBUG, text(parts)),
  trace: (...parts: unknown[]) => sys.console_log(TRACE, text(parts)),
  table: (...parts: unknown[]) => sys.console_log(INFO, text(parts)),
  dir: (...parts: unknown[]) => sys.console_log(INFO, text(parts)),
  assert: (condition: unknown, ...parts: unknown[]) => {
    if (!condition) sys.console_log(ERROR, text(parts));
  },
  time: (name = 'default') => {
    timers.set(name, sys.console_timer_start(name));
  },
  timeEnd: (name = 'default') => {
    const timer = timers.get(name);
    timers.delete(name);
    if (timer !== undefined) sys.console_timer_end(timer);
  },
  timeLog: (name = 'default', ...parts: unknown[]) => sys.console_log(INFO, text([name, ...parts])),
  clear: () => {},
  group: (...parts: unknown[]) => parts.length > 0 && sys.console_log(INFO, text(parts)),
  groupEnd: () => {},
};

// Where there is none: the runtime of modules brings only the language.
(globalThis as { console?: unknown }).console ??= moduleConsole;
