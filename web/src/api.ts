// The page's side of the HTTP API: streamed chat completions, models, voices, health, metrics.
import { decodePcm16 } from './audio/pcm';
import { readEvents } from './events';
import { remember, remembered } from './storage';

export type Role = 'system' | 'user' | 'assistant';

export type ContentPart =
  | { type: 'text'; text: string }
  | { type: 'image_url'; image_url: { url: string } }
  | { type: 'video_url'; video_url: { url: string } }
  | { type: 'input_audio'; input_audio: { data: string; format: string } };

export interface ApiMessage {
  role: Role;
  content: string | ContentPart[];
}

/** One stage of one request; times are seconds since the request's submission. */
export interface StageMetrics {
  stage_id: number;
  model_stage: string;
  replica_id: number;
  submitted_s: number;
  first_scheduled_s: number;
  first_output_s: number;
  finished_s: number;
  compute_s: number;
  transfer_s: number;
  prompt_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  preemptions: number;
}

/** What `return_stage_metrics` adds to the last chunk, and to some before it, in which what has not happened yet is 0. */
export interface RequestMetrics {
  ttft_s: number | null;
  ttfa_s: number | null;
  rtf: number | null;
  audio_s: number;
  underrun_s: number;
  total_s: number;
  stages: StageMetrics[];
}

export interface ChatOptions {
  model: string;
  messages: ApiMessage[];
  speech: boolean;
  voice?: string;
  temperature?: number;
  top_p?: number;
  max_tokens?: number;
  seed?: number;
}

export interface ChatHandlers {
  onText(delta: string): void;
  /** 16-bit little-endian mono samples at 24 kHz. */
  onAudio(pcm: Int16Array): void;
  /** `final`: nothing of it will change. */
  onMetrics(metrics: RequestMetrics, final: boolean): void;
}

export class ApiError extends Error {
  constructor(message: string, readonly status: number) {
    super(message);
  }
}

async function fail(response: Response): Promise<never> {
  let message = `${response.status} ${response.statusText}`;
  try {
    const body = await response.json();
    if (body?.error?.message) message = body.error.message;
  } catch {
    // Not JSON: the status line is all there is.
  }
  throw new ApiError(message, response.status);
}

const KEY = 'tutti-api-key';
let apiKey = remembered(() => sessionStorage, KEY) ?? '';
export function setApiKey(key: string): void {
  apiKey = key;
  remember(() => sessionStorage, KEY, key);
}
export const getApiKey = (): string => apiKey;

function headers(extra: Record<string, string> = {}): Record<string, string> {
  return apiKey ? { ...extra, Authorization: `Bearer ${apiKey}` } : extra;
}

/** fetch() with a sentence for what a browser calls "Failed to fetch". */
async function reach(path: string, init: RequestInit): Promise<Response> {
  try {
    return await fetch(path, init);
  } catch (error) {
    if (init.signal?.aborted) throw error;
    throw new ApiError('The server cannot be reached.', 0);
  }
}

async function getJson(path: string): Promise<any> {
  const response = await reach(path, { headers: headers() });
  if (!response.ok) await fail(response);
  return response.json();
}

export async function listModels(): Promise<string[]> {
  return (await getJson('/v1/models')).data.map((model: { id: string }) => model.id);
}

export async function listVoices(): Promise<string[]> {
  const body = await getJson('/v1/audio/voices');
  return body.voices.map((voice: string | { id: string }) => (typeof voice === 'string' ? voice : voice.id));
}

export async function health(): Promise<any> {
  // 503 carries the same body: which stage is not ready.
  return (await reach('/health', { headers: headers() })).json();
}

export async function metricsText(): Promise<string> {
  const response = await reach('/metrics', { headers: headers() });
  if (!response.ok) await fail(response);
  return response.text();
}

export async function streamChat(options: ChatOptions, handlers: ChatHandlers, signal: AbortSignal): Promise<void> {
  const { speech, voice, ...rest } = options;
  const response = await reach('/v1/chat/completions', {
    method: 'POST',
    signal,
    headers: headers({ 'Content-Type': 'application/json' }),
    body: JSON.stringify({
      ...rest,
      modalities: speech ? ['text', 'audio'] : ['text'],
      ...(speech ? { audio: { voice, format: 'pcm16' } } : {}),
      stream: true,
      stream_options: { include_usage: true },
      return_stage_metrics: 'live',
    }),
  });
  if (!response.ok || !response.body) return fail(response);
  try {
    for await (const data of readEvents(response.body)) {
      if (data === '[DONE]') return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new ApiError(chunk.error.message, 500);
      const delta = chunk.choices?.[0]?.delta;
      if (delta?.content) handlers.onText(delta.content);
      if (delta?.audio?.data) handlers.onAudio(decodePcm16(delta.audio.data));
      if (chunk.stage_metrics) handlers.onMetrics(chunk.stage_metrics, Boolean(chunk.usage));
    }
  } catch (error) {
    if (signal.aborted || error instanceof ApiError) throw error;
  }
  throw new ApiError('The connection to the server ended before the answer did.', 0);
}
