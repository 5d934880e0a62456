// Requests made from openapi.json: what it allows, and then what it does not.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MEDIA } from '../support/sound.mjs';
import { broken, mutated } from './mutate.mjs';
import { Random } from './random.mjs';
import { Schemas } from './schema.mjs';

const file = (name) => readFileSync(join(MEDIA, name));
const PICTURE = `data:image/png;base64,${file('above.png').toString('base64')}`;
const SOUND = file('ask_name.wav');

const url = (random) => random.pick([PICTURE, `data:audio/wav;base64,${SOUND.toString('base64')}`, 'data:,', 'https://example.org/a.png', 'ftp://x']);

// The sense of fields that a schema cannot tell; short answers, so that many requests are cheap.
const HINTS = {
  model: () => 'nano',
  url,
  data: (random) => random.pick([SOUND.toString('base64'), 'AAAA', '']),
  voice: (random) => random.pick(['nora', 'hugo', { id: 'nora' }]),
  input: () => 'Hello',
  instructions: () => 'Speak slowly.',
  prompt: () => 'Hello',
  max_tokens: (random) => random.between(1, 6),
  max_completion_tokens: (random) => random.between(1, 6),
  max_output_tokens: (random) => random.between(1, 6),
  min_tokens: (random) => random.below(2),
  n: (random) => random.between(1, 3),
  best_of: () => 3,
  sampling_params_list: (random) => [{ max_tokens: 4 }, random.chance(0.5) ? null : { max_tokens: 6 }, null],
  logit_bias: (random) => ({ [random.below(900)]: random.between(-100, 100) }),
  tool_calls: () => [{ id: 'a', type: 'function', function: { name: 'f', arguments: '{}' } }],
  chat_template_kwargs: () => ({ enable_thinking: false }),
  lora_path: (random) => random.pick(['/etc', '../../..', '/nowhere', '']),
};

const TRAVERSALS = [
  '..', '.', '', '../../etc/passwd', '..%2f..%2fetc%2fpasswd', '%2e%2e/%2e%2e/etc/passwd', '....//....//etc/passwd',
  '%252e%252e%252fetc%252fpasswd', '..\\..\\windows', '%00', 'a%00.json', '%c0%ae%c0%ae/etc/passwd', '%zz', '%', '~root', ';id',
  'nano', 'nano/', 'nano%2fother', '%F0%9F%A6%8A', '%ff%fe', "'%20OR%201=1", '<script>', '{}', '*', '%2e', 'a'.repeat(6000),
];

const CONTENT_TYPES = ['', 'text/plain', 'application/xml', 'application/json; charset=utf-16', 'APPLICATION/JSON', 'multipart/form-data', 'multipart/form-data; boundary=', 'application/octet-stream', 'a'.repeat(3000), '/', 'application/x-www-form-urlencoded'];
const METHODS = ['GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND'];

export class Requests {
  constructor(document, seed) {
    this.schemas = new Schemas(document);
    this.seed = seed;
    this.operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method: method.toUpperCase(), operation })),
    );
    // The endpoints that make the model work get more of the requests.
    const heavy = this.operations.filter(({ operation }) => operation.requestBody);
    this.weighted = [...this.operations, ...heavy, ...heavy];
  }

  /** Request number `index`: alone decided by the seed and its number. */
  make(index) {
    const random = new Random(Math.imul(this.seed, 0x9e3779b1) ^ Math.imul(index + 1, 0x85ebca6b));
    const { path, method, operation } = random.pick(this.weighted);
    const request = { index, operation, path, method, target: path, headers: {}, body: undefined, kind: 'valid' };
    request.target = path.replace(/\{\w+\}/g, () => 'nano');
    for (const parameter of operation.parameters ?? []) {
      if (parameter.in === 'header') request.headers[parameter.name] = random.pick(['a-1', 'chatcmpl-x:3', '-1', '🦊', 'a'.repeat(3000)].filter((v) => v !== '🦊'));
    }
    if (operation.requestBody) this.addBody(request, random);
    this.disturb(request, random);
    // A client may leave before the end.
    request.leaves_after_ms = random.chance(0.06) ? random.below(60) : undefined;
    return request;
  }

  addBody(request, random) {
    const [[type, { schema }]] = Object.entries(request.operation.requestBody.content);
    let body = this.schemas.sample(schema, random, HINTS);
    if (random.chance(0.5)) {
      request.kind = 'mutated';
      for (let times = random.between(1, 3); times > 0 && body !== null && typeof body === 'object'; --times) body = mutated(body, random);
    }
    if (type === 'multipart/form-data') return this.addForm(request, body, random);
    request.headers['Content-Type'] = type;
    request.fits = this.schemas.violations(schema, body).length === 0;
    request.body = Buffer.from(JSON.stringify(body));
    if (random.chance(0.12)) {
      request.kind = 'broken';
      request.fits = undefined; // some are JSON after all
      request.body = broken(request.body.toString(), random);
    }
  }

  addForm(request, body, random) {
    const boundary = random.pick(['----b0undary', 'x', "a'b"]);
    request.headers['Content-Type'] = `multipart/form-data; boundary=${boundary}`;
    const parts = [];
    const fields = body !== null && typeof body === 'object' && !Array.isArray(body) ? body : { file: body };
    for (const [name, value] of Object.entries(fields)) {
      const bytes = name === 'file' ? random.pick([SOUND, SOUND, SOUND.subarray(0, 60), Buffer.from('RIFF'), Buffer.alloc(0), Buffer.alloc(3000, 255)]) : Buffer.from(String(value));
      const filename = name === 'file' ? `; filename="${random.pick(['a.wav', '../../a', '', 'a\\"b'])}"` : '';
      parts.push(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${filename}\r\n\r\n`), bytes, Buffer.from('\r\n'));
    }
    request.body = Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]);
    if (random.chance(0.15)) {
      request.kind = 'broken';
      request.body = random.chance(0.5) ? request.body.subarray(0, random.below(request.body.length)) : broken(boundary, random);
    }
  }

  // Now and then something about the request itself is wrong.
  disturb(request, random) {
    const wrong = (change) => {
      request.kind = 'wrong request';
      request.fits = false;
      Object.assign(request, change);
    };
    if (request.path.includes('{') && random.chance(0.85)) {
      wrong({ target: request.path.replace(/\{\w+\}/, random.pick(TRAVERSALS)), elsewhere: true });
    }
    if (random.chance(0.04)) wrong({ target: `${random.pick(['/', '/assets/', '/v1/', '//', '/v1/models/'])}${random.pick(TRAVERSALS)}`, elsewhere: true });
    if (random.chance(0.04)) wrong({ method: random.pick(METHODS), elsewhere: true });
    if (random.chance(0.05) && request.body) wrong({ headers: { ...request.headers, 'Content-Type': random.pick(CONTENT_TYPES) } });
    if (random.chance(0.04)) request.headers.traceparent = random.pick(['', '00-x', `00-${'f'.repeat(32)}-${'f'.repeat(16)}-01`, 'é'.repeat(100)].map((v) => v.replace(/[^\x20-\x7e]/g, '?')));
    if (random.chance(0.03)) request.headers['Last-Event-ID'] = random.pick(['0', 'chatcmpl-1:0', '../..', '9'.repeat(50)]);
    if (random.chance(0.05)) request.target += `?${random.pick(['model=x', '%00', 'a=%zz', '='.repeat(500), 'id=../..'])}`;
  }
}
