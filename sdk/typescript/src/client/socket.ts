// socket.ts: the WebSocket that browsers, Deno, Bun and Node since 22 have. socket-node.ts is the other.

export interface SocketEvents {
  open(protocol: string): void;
  message(data: Uint8Array): void;
  /** Once. `status`: of the HTTP answer, where it can be known and was no upgrade. */
  close(reason: string, status?: number): void;
}
export interface SocketLike {
  send(data: Uint8Array): void;
  close(): void;
}

/** Whether `close` is told the status of an answer that was no upgrade. */
export const tellsStatus = false;

export function openSocket(address: string, protocols: string[], events: SocketEvents): SocketLike {
  const socket = new WebSocket(address, protocols);
  socket.binaryType = 'arraybuffer';
  let isClosed = false;
  const close = (reason: string) => {
    if (!isClosed) events.close(reason);
    isClosed = true;
  };
  socket.onopen = () => events.open(socket.protocol);
  socket.onmessage = message => events.message(new Uint8Array(message.data as ArrayBuffer));
  socket.onclose = event =>
    close(event.reason || `The connection was closed (${event.code || 'without a reason'})`);
  socket.onerror = () => close('The connection failed');
  return {
    send: data => {
      if (socket.readyState === 1) socket.send(data as BufferSource);
    },
    close: () => {
      isClosed = true;
      socket.close();
    },
  };
}
