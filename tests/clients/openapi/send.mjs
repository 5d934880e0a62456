// Sends one request over a connection of its own or a kept one, and reads the whole answer.
import http from 'node:http';
import net from 'node:net';

const LIMIT_MS = 60_000;

/** `{ status, headers, body }`, `{ left: true }` when the client went away as planned, or `{ failure }`. */
export function send(server, agent, request) {
  // What Node.js refuses to put into a request line goes as bytes.
  if (/[^\x21-\x7e]/.test(request.target)) return sendRaw(server, request);
  return new Promise((resolve) => {
    const options = {
      host: '127.0.0.1',
      port: server.port,
      agent,
      method: request.method,
      path: request.target,
      headers: { ...request.headers },
    };
    if (request.body) options.headers['Content-Length'] = request.body.length;
    const sent = http.request(options);
    const overdue = setTimeout(() => finish({ failure: `no whole answer in ${LIMIT_MS / 1000} s` }), LIMIT_MS);
    const leaving = request.leaves_after_ms === undefined ? undefined : setTimeout(() => finish({ left: true }), request.leaves_after_ms);
    const finish = (outcome) => {
      clearTimeout(overdue);
      clearTimeout(leaving);
      if (outcome.status === undefined) sent.destroy();
      resolve(outcome);
    };
    sent.on('response', (response) => {
      const pieces = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('end', () => finish({ status: response.statusCode, headers: response.headers, body: Buffer.concat(pieces) }));
      response.on('error', (error) => finish({ failure: `the answer broke off: ${error.message}` }));
    });
    sent.on('upgrade', (response, socket) => {
      socket.destroy();
      finish({ status: response.statusCode, headers: response.headers, body: Buffer.alloc(0) });
    });
    // A refusal may come, and the connection end, while the body is still being sent.
    sent.on('error', (error) => finish({ failure: error.message }));
    sent.end(request.body);
  });
}

function sendRaw(server, request) {
  return new Promise((resolve) => {
    const socket = net.connect(server.port, '127.0.0.1');
    const pieces = [];
    const finish = (outcome) => {
      clearTimeout(overdue);
      socket.destroy();
      resolve(outcome);
    };
    const overdue = setTimeout(() => finish({ failure: 'no whole answer' }), LIMIT_MS);
    socket.on('data', (piece) => pieces.push(piece));
    socket.on('error', (error) => finish({ failure: error.message }));
    socket.on('end', () => {
      const bytes = Buffer.concat(pieces);
      const end = bytes.indexOf('\r\n\r\n');
      const head = bytes.toString('latin1', 0, Math.max(0, end)).split('\r\n');
      const headers = Object.fromEntries(head.slice(1).map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]));
      const status = Number(head[0]?.split(' ')[1]);
      finish(status ? { status, headers, body: bytes.subarray(end + 4) } : { failure: 'the answer has no status' });
    });
    const headers = Object.entries({ Host: 't', Connection: 'close', ...request.headers, 'Content-Length': request.body?.length ?? 0 });
    socket.write(`${request.method} ${request.target} HTTP/1.1\r\n${headers.map(([k, v]) => `${k}: ${v}\r\n`).join('')}\r\n`);
    if (request.body) socket.write(request.body);
  });
}
