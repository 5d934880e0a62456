// What is wrong with an answer, by what openapi.json promises; null when nothing is.

/** Refusals that come before the operation itself is looked up or its body read. */
const OF_THE_SERVER = new Set([400, 404, 405, 413, 426, 431]);

export function judge(schemas, document, request, answer) {
  if (answer.left) return null;
  if (answer.failure) return answer.failure;
  const { status, headers, body } = answer;
  const documented = Object.keys(request.operation.responses).map(Number);
  const allowed = documented.includes(status) || OF_THE_SERVER.has(status) || (request.elsewhere && status < 500);
  if (!allowed) return `status ${status}, which is not documented: ${body.toString().slice(0, 300)}`;
  const text = body.toString();
  if (status === 500 && !text.includes('before its first word')) return `a fault of the server: ${text.slice(0, 300)}`;
  if (text.includes('root:x:')) return 'a file of the machine came back';
  if (request.method === 'HEAD') return body.length > 0 ? 'HEAD was answered with a body' : null;
  if (status >= 400) return judgeError(schemas, document, headers, text);
  if (status === 204 || status === 304 || status === 101) return null;
  if (body.length === 0) return `status ${status} without a body`;
  if (request.elsewhere) return null;
  if (request.fits === false && request.kind === 'mutated') return 'a body that does not fit its schema was taken';
  return judgeSuccess(request, headers['content-type'] ?? '', text);
}

function judgeError(schemas, document, headers, text) {
  if (!headers['content-type']?.startsWith('application/json')) return `an error as ${headers['content-type']}`;
  let error;
  try {
    error = JSON.parse(text);
  } catch {
    return `an error that is no JSON: ${text.slice(0, 200)}`;
  }
  const wrong = schemas.violations(document.components.schemas.Error, error);
  if (wrong.length > 0) return `an error of another schema: ${wrong[0]}`;
  if (error.error.message.length < 8) return `an error without a sentence: ${text}`;
  return null;
}

function judgeSuccess(request, type, text) {
  const types = Object.keys(request.operation.responses['200']?.content ?? {});
  const bare = type.split(';')[0];
  if (!types.includes(bare)) return `Content-Type ${type} is not documented`;
  if (bare === 'application/json') {
    try {
      JSON.parse(text);
    } catch {
      return `an answer that is no JSON: ${text.slice(0, 200)}`;
    }
  }
  if (bare === 'text/event-stream' && !text.endsWith('\n\n')) return `a stream that ends within an event: ${text.slice(-100)}`;
  return null;
}
