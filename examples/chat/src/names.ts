import type { Identity } from 'lightcone';
import type { User } from './module_bindings/types';

// Identities begin with a fixed prefix and a checksum; these digits tell people apart.
function shortId(identity: Identity): string {
  return identity.toHexString().slice(12, 16);
}

export function nameOf(identity: Identity, user: User | undefined): string {
  return user?.name ?? `Guest ${shortId(identity)}`;
}

export function initialOf(name: string): string {
  return Array.from(name)[0]?.toUpperCase() ?? '?';
}

// A colour that stays the same for a person, everywhere and for ever.
export function hueOf(identity: Identity): number {
  return parseInt(identity.toHexString().slice(12, 18), 16) % 360;
}

const timeFormat = new Intl.DateTimeFormat(undefined, { hour: 'numeric', minute: '2-digit' });
const dayFormat = new Intl.DateTimeFormat(undefined, {
  weekday: 'long',
  day: 'numeric',
  month: 'long',
});

export function timeText(date: Date): string {
  return timeFormat.format(date);
}

export function dayText(date: Date): string {
  const today = new Date();
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (date.toDateString() === today.toDateString()) return 'Today';
  if (date.toDateString() === yesterday.toDateString()) return 'Yesterday';
  return dayFormat.format(date);
}
