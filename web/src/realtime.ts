// Hands-free talk over /v1/realtime: the microphone streams in, the server decides who is speaking.
import { getApiKey, type RequestMetrics } from './api';
import { decodePcm16 } from './audio/pcm';
import type { Entry } from './conversation';

export interface RealtimeOptions {
  model: string;
  voice?: string;
  instructions: string;
  temperature?: number;
  maxTokens?: number;
  /** What has been said before, in words. */
  history: Entry[];
}

export interface RealtimeHandlers {
  onOpen(): void;
  onUserSpeech(speaking: boolean): void;
  onUserTranscript(text: string): void;
  onResponse(id: string): void;
  onText(delta: string): void;
  onAudio(pcm: Int16Array): void;
  onDone(status: string, metrics?: RequestMetrics): void;
  onError(message: string): void;
  onClose(): void;
}

function base64(pcm: Int16Array): string {
  const bytes = new Uint8Array(pcm.buffer, pcm.byteOffset, pcm.byteLength);
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

export class Realtime {
  private socket: WebSocket;
  private item = '';

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
      for (const { role, text, state } of options.history) {
        if (text && state !== 'failed') this.add(role, text);
      }
      to.onOpen();
    };
    this.socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    this.socket.onclose = () => to.onClose();
    this.socket.onerror = () => to.onError('The connection to the server failed.');
  }

  append(pcm: Int16Array): void {
    this.send({ type: 'input_audio_buffer.append', audio: base64(pcm) });
  }

  /** A turn that was typed: it is answered as one that was spoken. */
  say(text: string): void {
    this.add('user', text);
    this.send({ type: 'response.create' });
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

  private add(role: string, text: string): void {
    const type = role === 'assistant' ? 'output_text' : 'input_text';
    this.send({ type: 'conversation.item.create', item: { type: 'message', role, content: [{ type, text }] } });
  }

  private send(event: unknown): void {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(event));
  }

  private receive(event: any): void {
    switch (event.type) {
      case 'input_audio_buffer.speech_started':
        return this.to.onUserSpeech(true);
      case 'input_audio_buffer.speech_stopped':
        return this.to.onUserSpeech(false);
      case 'conversation.item.input_audio_transcription.completed':
        return this.to.onUserTranscript(event.transcript);
      case 'response.created':
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
        return this.to.onDone(event.response.status, event.response.stage_metrics);
      case 'error':
        return this.to.onError(event.error.message);
    }
  }
}
