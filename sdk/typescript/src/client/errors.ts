// errors.ts: why something did not happen, as classes that `instanceof` tells apart.

/** The module refused the call, with these words. Nothing of it happened. */
export class SenderError extends Error {
  override readonly name: string = 'SenderError';
}

/** The call failed inside the module or never started. Nothing of it happened. */
export class InternalError extends Error {
  override readonly name: string = 'InternalError';
}

/** The connection was lost before the answer came: nobody knows whether the call happened. */
export class ConnectionLostError extends Error {
  override readonly name: string = 'ConnectionLostError';
}

/** disconnect() was called, or the server does not want us. The call was not sent. */
export class NotConnectedError extends Error {
  override readonly name: string = 'NotConnectedError';
}

/** A query that the server does not accept, or can no longer serve. */
export class SubscriptionError extends Error {
  override readonly name: string = 'SubscriptionError';
}
