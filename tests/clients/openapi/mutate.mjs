// Bodies that a client should not send.

const JUNK = [
  null, true, -1, 0, 1.5, 1e308, -1e308, 2 ** 53, -(2 ** 31) - 1, 2 ** 63, '', 'text', '🦊'.repeat(50), 'a'.repeat(2000),
  [], [[]], [null], [1, 'two', {}], {}, { a: 1 }, { type: 'text' }, '../../../../etc/passwd', 'file:///etc/passwd',
  'data:image/png;base64,AAAA', 'data:audio/wav;base64,!!!!', 'http://127.0.0.1:1/', '\u0000\u0001\uffff', '%s%n%x',
];

// A copy: the next change goes into it.
const junk = (random) => structuredClone(random.pick(JUNK));

/** Every place in the value: `[holder, key]`. */
function places(value, out = []) {
  if (value === null || typeof value !== 'object') return out;
  for (const key of Object.keys(value)) {
    out.push([value, key]);
    places(value[key], out);
  }
  return out;
}

const nested = (depth) => JSON.parse('['.repeat(depth) + ']'.repeat(depth));

/** Changes one thing in `body`, in place; returns the body to send. */
export function mutated(body, random) {
  const all = places(body);
  const [holder, key] = all.length > 0 ? random.pick(all) : [body, 'x'];
  switch (random.below(7)) {
    case 0:
      if (Array.isArray(holder)) holder.splice(Number(key), 1);
      else delete holder[key];
      break;
    case 1:
      body[random.pick(['', 'temprature', '__proto__x', 'stream ', 'a'.repeat(5000), 'ключ'])] = junk(random);
      break;
    case 2:
      holder[key] = nested(random.pick([3, 31, 33, 500]));
      break;
    case 3:
      if (Array.isArray(holder) && holder.length > 0) while (holder.length < 200) holder.push(structuredClone(holder[0]));
      else holder[key] = Array(300).fill(JSON.stringify(holder[key])?.length > 200 ? 0 : holder[key]);
      break;
    case 4:
      return junk(random);
    default:
      holder[key] = junk(random);
  }
  return body;
}

/** Bytes that are no JSON, or no UTF-8. */
export function broken(text, random) {
  const bytes = Buffer.from(text);
  const at = random.below(bytes.length + 1);
  switch (random.below(9)) {
    case 0:
      return bytes.subarray(0, at);
    case 1:
      return Buffer.concat([bytes, Buffer.from('}{')]);
    case 2:
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([0xff, 0xfe, 0x80]), bytes.subarray(at)]);
    case 3:
      return Buffer.from(text.replace(/"(\w*)":"/, '"$1":"\\ud800')); // half a surrogate pair
    case 4:
      return Buffer.from(text.replace(/:\s*[\d.]+/, ':1e999999'));
    case 5:
      return Buffer.from(text.replace(/:\s*[\d.]+/, ':NaN'));
    case 6:
      return Buffer.from('['.repeat(100_000));
    case 7:
      return Buffer.from(Array.from({ length: 1 + random.below(200) }, () => random.below(256)));
    default:
      return Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes]);
  }
}
