// JSON Schema as openapi.json uses it: values that fit, and what does not fit.

export class Schemas {
  constructor(document) {
    this.document = document;
  }

  resolve(schema) {
    if (!schema?.$ref) return schema ?? {};
    return schema.$ref.slice(2).split('/').reduce((at, key) => at[key], this.document);
  }

  /** What is wrong with `value`, as sentences; empty when it fits. */
  violations(raw, value, path = 'body') {
    const schema = this.resolve(raw);
    if (schema.oneOf) {
      const fits = schema.oneOf.some((one) => this.violations(one, value, path).length === 0);
      return fits ? [] : [`${path} fits none of its schemas`];
    }
    const out = [];
    if ('const' in schema && value !== schema.const) out.push(`${path} is not ${JSON.stringify(schema.const)}`);
    if (schema.enum && !schema.enum.includes(value)) out.push(`${path} is none of ${schema.enum.join(', ')}`);
    const types = [schema.type ?? []].flat();
    if (types.length > 0 && !types.some((type) => isA(type, value))) return [...out, `${path} is no ${types.join(' or ')}`];
    if (typeof value === 'number') {
      if (value < (schema.minimum ?? -Infinity) || value > (schema.maximum ?? Infinity)) out.push(`${path} is ${value}`);
    } else if (Array.isArray(value)) {
      if (value.length < (schema.minItems ?? 0)) out.push(`${path} has ${value.length} items`);
      value.forEach((item, i) => out.push(...this.violations(schema.items, item, `${path}[${i}]`)));
    } else if (value !== null && typeof value === 'object') {
      out.push(...this.wrongFields(schema, value, path));
    }
    return out;
  }

  wrongFields(schema, value, path) {
    const out = (schema.required ?? []).filter((name) => !(name in value)).map((name) => `${path}.${name} is missing`);
    for (const [name, field] of Object.entries(value)) {
      if (field === null && !schema.required?.includes(name)) continue; // as if it were not given
      const known = schema.properties?.[name];
      if (known) out.push(...this.violations(known, field, `${path}.${name}`));
      else if (schema.additionalProperties === false) out.push(`${path}.${name} is unknown`);
      else if (schema.additionalProperties) out.push(...this.violations(schema.additionalProperties, field, `${path}.${name}`));
    }
    return out;
  }

  /** A value that fits. `hints[name]` makes the values of fields whose sense the schema cannot tell. */
  sample(raw, random, hints, name = '', depth = 0) {
    if (hints[name] && random.chance(0.9)) return hints[name](random);
    const schema = this.resolve(raw);
    if ('const' in schema) return schema.const;
    if (schema.enum) return random.pick(schema.enum);
    if (schema.oneOf) return this.sample(random.pick(schema.oneOf), random, hints, '', depth);
    switch ([schema.type ?? 'null'].flat()[0]) {
      case 'boolean':
        return random.chance(0.5);
      case 'integer':
        return random.between(Math.max(schema.minimum ?? -5, -1000), Math.min(schema.maximum ?? 50, 1000));
      case 'number':
        return (schema.minimum ?? 0) + random.next() * ((schema.maximum ?? 1) - (schema.minimum ?? 0));
      case 'string':
        return random.pick(TEXTS);
      case 'array': {
        const count = Math.max(schema.minItems ?? 0, random.below(3));
        return Array.from({ length: count }, () => this.sample(schema.items, random, hints, '', depth + 1));
      }
      case 'object':
        return this.sampleObject(schema, random, hints, depth);
      default:
        return null;
    }
  }

  sampleObject(schema, random, hints, depth) {
    const out = {};
    const share = depth === 0 ? 0.15 : 0.4;
    for (const [name, field] of Object.entries(schema.properties ?? {})) {
      if (!schema.required?.includes(name) && !random.chance(share)) continue;
      out[name] = this.sample(field, random, hints, name, depth + 1);
    }
    return out;
  }
}

const TEXTS = ['Hello', 'What is the capital of France?', 'a', '', ' \n\t', 'ünï¢ødé 👩‍🚀', '<|im_end|>', 'x'.repeat(300), '\u0000', '{{ 1 }}'];

function isA(type, value) {
  if (type === 'null') return value === null;
  if (type === 'array') return Array.isArray(value);
  if (type === 'object') return value !== null && typeof value === 'object' && !Array.isArray(value);
  if (type === 'integer') return Number.isInteger(value);
  return typeof value === type;
}
