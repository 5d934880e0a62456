// What the page knows of the conversation, and the form in which the API takes it.
import type { ApiMessage, ContentPart, RequestMetrics, Role } from './api';

export interface Attachment {
  kind: 'image' | 'video' | 'audio';
  name: string;
  dataUrl: string;
}

export interface Entry {
  id: number;
  role: Role;
  text: string;
  attachments: Attachment[];
  /** Spoken answer, 16-bit mono at PCM_RATE. */
  audio: Int16Array[];
  /** Of a question: `running` while it is heard, `stopped` when its words were never written down, `failed` as its answer. */
  state: 'done' | 'running' | 'stopped' | 'failed';
  /** Of an answer: the entry that it answers. */
  question?: number;
  error?: string;
  metrics?: RequestMetrics;
}

let nextId = 1;
export function entry(role: Role, text: string, attachments: Attachment[] = []): Entry {
  return { id: nextId++, role, text, attachments, audio: [], state: role === 'assistant' ? 'running' : 'done' };
}

export function part(attachment: Attachment): ContentPart {
  if (attachment.kind === 'image') return { type: 'image_url', image_url: { url: attachment.dataUrl } };
  if (attachment.kind === 'video') return { type: 'video_url', video_url: { url: attachment.dataUrl } };
  const comma = attachment.dataUrl.indexOf(',');
  const subtype = /^data:audio\/(?:x-)?([\w-]+)/.exec(attachment.dataUrl)?.[1] ?? 'wav';
  const format = subtype === 'mpeg' ? 'mp3' : subtype === 'wave' ? 'wav' : subtype;
  return { type: 'input_audio', input_audio: { data: attachment.dataUrl.slice(comma + 1), format } };
}

/** A turn that failed counts for nothing: neither its answer nor what was asked, which would fail again. */
export function failTurn(entries: Entry[], answer: number, error?: string): Entry[] {
  const question = entries.find((e) => e.id === answer)?.question;
  return entries.map((e) => {
    if (e.id === answer) return { ...e, state: 'failed', error };
    return e.id === question ? { ...e, state: 'failed' } : e;
  });
}

/** The turns that the model is told of. */
export function told(entries: Entry[]): Entry[] {
  return entries.filter((e) => e.state !== 'failed' && (e.text || (e.role === 'user' && e.attachments.length > 0)));
}

export function toApi(entries: Entry[], system: string): ApiMessage[] {
  const messages: ApiMessage[] = system ? [{ role: 'system', content: system }] : [];
  for (const e of told(entries)) {
    if (e.attachments.length === 0) {
      messages.push({ role: e.role, content: e.text });
      continue;
    }
    const content = e.attachments.map(part);
    if (e.text) content.push({ type: 'text', text: e.text });
    messages.push({ role: e.role, content });
  }
  return messages;
}

const LARGEST_FILE = 24 << 20;

export async function readAttachment(file: File): Promise<Attachment> {
  const kind = file.type.split('/')[0];
  if (kind !== 'image' && kind !== 'video' && kind !== 'audio') {
    throw new Error(`${file.name} is ${file.type || 'of unknown type'}; pictures, sounds and videos are allowed.`);
  }
  if (file.size > LARGEST_FILE) {
    throw new Error(`${file.name} has ${(file.size / 2 ** 20).toFixed(0)} MB; at most ${LARGEST_FILE >> 20} are allowed.`);
  }
  return { kind, name: file.name, dataUrl: await asDataUrl(file) };
}

export function asDataUrl(blob: Blob): Promise<string> {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
