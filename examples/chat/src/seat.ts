// Who this window is. Tokens live in the browser, one to a seat; a window takes the first seat that
// no other window sits on. So a second window is a second person, and each comes back as itself.

const SEATS = 16;

export interface Seat {
  token(): string | undefined;
  keep(token: string): void;
}

function seatNumber(place: string, number: number): Seat {
  const key = `chat-token:${place}:${number}`;
  return {
    token: () => localStorage.getItem(key) ?? undefined,
    keep: token => localStorage.setItem(key, token),
  };
}

// Resolves to true when the seat was free; it stays taken until the window closes.
function takeSeat(name: string): Promise<boolean> {
  return new Promise(resolve => {
    void navigator.locks.request(name, { ifAvailable: true }, lock => {
      resolve(lock !== null);
      return lock ? new Promise<void>(() => {}) : undefined;
    });
  });
}

export async function claimSeat(place: string): Promise<Seat> {
  const remembered = Number(sessionStorage.getItem(`chat-seat:${place}`) ?? '0');
  const order = [remembered, ...Array.from({ length: SEATS }, (_, n) => n)];
  for (const number of navigator.locks ? order : []) {
    if (!(await takeSeat(`chat-seat:${place}:${number}`))) continue;
    sessionStorage.setItem(`chat-seat:${place}`, String(number));
    return seatNumber(place, number);
  }
  return seatNumber(place, remembered); // pages that are not served securely have no locks
}
