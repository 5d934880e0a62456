// Hands-free talk over /v1/realtime: the microphone streams in, the server decides who is speaking.
import { getApiKey, type RequestMetrics, type Role } from './api';
import { decodePcm16 } from './audio/pcm';
import { part, told, type Attachment, type Entry } from './conversation';

export interface RealtimeOptions {
  model: string;
  voice?: string;
  instructions: string;
  temperature?: number;
  maxTokens?: number;
  /** What has been said and shown before. */
  history: Entry[];
}

export interface RealtimeResponse {
  status: string;
  status_details?: { error?: { message?: string } } | null;
  stage_metrics?: RequestMetrics;
}

export interface RealtimeHandlers {
  /** Somebody begins to speak; `item` will be the turn's. */
  onUserSpeech(item: string): void;
  /** What was said; null when it could not be written down. */
  onUserTranscript(item: string, text: string | null): void;
  onResponse(id: string): void;
  onText(delta: string): void;
  onAudio(pcm: Int16Array): void;
  onDone(response: RealtimeResponse): void;
  /** The item of say() is not in the conversation, or is not answered. */
  onRefused(item: string, message: string): void;
  onError(message: string): void;
  /** It is over, and not by close(). */
  onClose(): void;
}

/** A turn as an item of the conversation: pictures have a form of their own here, all else that of a chat. */
export function itemOf(role: Role, text: string, attachments: Attachment[]): unknown {
  const content: unknown[] = attachments.map((attachment) =>
    attachment.kind === 'image' ? { type: 'input_image', image_url: attachment.dataUrl } : part(attachment),
  );
  if (text) content.push({ type: role === 'assistant' ? 'output_text' : 'input_text', text });
  return { type: 'message', role, content };
}

function base64(pcm: Int16Array): string {
  const bytes = new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

export class Realtime {
  private readonly socket: WebSocket;
  private item = '';
  private early: unknown[] = []; // said before the connection was there
  private readonly asking = new Map<string, 'item' | 'answer'>(); // what say() waits for, by its items

  constructor(options: RealtimeOptions, private readonly to: RealtimeHandlers) {
    const { model, voice } = options;
    const url = new URL('/v1/realtime', location.href);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    url.searchParams.set('model', model);
    // Browsers cannot set headers on sockets; OpenAI's clients pass the key as a subprotocol.
    const key = getApiKey();
    this.socket = new WebSocket(url, key ? ['realtime', `openai-insecure-api-key.${key}`] : ['realtime']);
    this.socket.onopen = () => {
      this.send({
        type: 'session.update',
        session: {
          type: 'realtime',
          instructions: options.instructions || undefined,
          output_modalities: ['audio'],
          temperature: options.temperature,
          max_output_tokens: options.maxTokens,
          audio: {
            input: {
              format: { type: 'audio/pcm', rate: 24000 },
              turn_detection: { type: 'server_vad' },
              transcription: { model }, // so that the page can show what was said
            },
            output: { format: { type: 'audio/pcm', rate: 24000 }, voice },
          },
        },
      });
      for (const { role, text, attachments } of told(options.history)) this.add(itemOf(role, text, attachments));
      for (const event of this.early.splice(0)) this.send(event);
    };
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    let failed = false;
    this.socket.onerror = () => {
      failed = true;
      to.onError('The connection to the server failed.');
    };
    this.socket.onclose = ({ reason }) => {
      if (!failed) to.onError(reason ? `The server has ended the talk: ${reason}` : 'The server has ended the talk.');
      to.onClose();
    };
  }

  append(pcm: Int16Array): void {
    this.send({ type: 'input_audio_buffer.append', audio: base64(pcm) });
  }

  /** A turn that was typed: it is answered as one that was spoken, once it is in the conversation. */
  say(id: string, text: string, attachments: Attachment[]): void {
    this.asking.set(id, 'item');
    this.soon({ type: 'conversation.item.create', event_id: id, item: { id, ...(itemOf('user', text, attachments) as object) } });
  }

  /** Takes a turn out of the conversation. */
  forget(id: string): void {
    this.send({ type: 'conversation.item.delete', item_id: id });
  }

  /** The listener interrupted: what was heard is all that counts. Once for an answer. */
  truncate(playedMs: number): void {
    if (!this.item) return;
    this.send({
      type: 'conversation.item.truncate',
      item_id: this.item,
      content_index: 0,
      audio_end_ms: Math.round(playedMs),
    });
    this.item = '';
  }

  cancel(): void {
    this.send({ type: 'response.cancel' });
  }

  close(): void {
    this.socket.onclose = null;
    this.socket.close();
  }

  private add(item: unknown): void {
    this.send({ type: 'conversation.item.create', item });
  }

  /** Now, or as soon as there is a connection. */
  private soon(event: unknown): void {
    if (this.socket.readyState === WebSocket.CONNECTING) this.early.push(event);
    else this.send(event);
  }

  private added(id: string): void {
    if (this.asking.get(id) !== 'item') return;
    this.asking.set(id, 'answer');
    this.send({ type: 'response.create', event_id: id });
  }

  private answering(): void {
    for (const [id, step] of this.asking) if (step === 'answer') this.asking.delete(id);
  }

  private refused({ message, code, event_id: id }: { message: string; code?: string; event_id?: string }): void {
    const step = this.asking.get(id ?? '');
    if (id && step) {
      this.asking.delete(id);
      if (step === 'answer') this.forget(id);
      this.to.onRefused(id, message);
    } else if (code !== 'response_cancel_not_active') {
      // That one means that the answer ended while it was being stopped.
      this.to.onError(message);
    }
  }

  private send(event: unknown): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  private receive(event: any): void {
    switch (event.type) {
      case 'input_audio_buffer.speech_started':
        return this.to.onUserSpeech(event.item_id);
      case 'conversation.item.input_audio_transcription.completed':
        return this.to.onUserTranscript(event.item_id, event.transcript);
      case 'conversation.item.input_audio_transcription.failed':
        return this.to.onUserTranscript(event.item_id, null);
      case 'conversation.item.added':
        return this.added(event.item.id);
      case 'response.created':
        this.answering();
        return this.to.onResponse(event.response.id);
      case 'response.output_item.added':
        this.item = event.item.id;
        return;
      case 'response.output_text.delta':
      case 'response.output_audio_transcript.delta':
        return this.to.onText(event.delta);
      case 'response.output_audio.delta':
        return this.to.onAudio(decodePcm16(event.delta));
      case 'response.done':
        return this.to.onDone(event.response);
      case 'error':
        return this.refused(event.error);
    }
  }
}
