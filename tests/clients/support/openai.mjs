// The official client, pointed at a server of ours.
import { File } from 'node:buffer';
import OpenAI from 'openai';

globalThis.File ??= File; // Node.js 18 has it, but not as a global

export const connect = (server, options = {}) =>
  new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'unused', maxRetries: 0, timeout: 120_000, ...options });

/** All events of a stream. */
export async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

/** The error that `promise` must end with. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('the call has succeeded; an error was expected');
}
