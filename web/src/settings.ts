// Settings that the browser remembers.
import { remember, remembered } from './storage';

export interface Settings {
  model: string;
  voice: string;
  speech: boolean;
  system: string;
  temperature: string; // empty: the model's default
  topP: string;
  maxTokens: string;
  seed: string;
}

const KEY = 'tutti-settings';
const DEFAULTS: Settings = {
  model: '',
  voice: '',
  speech: true,
  system: '',
  temperature: '',
  topP: '',
  maxTokens: '',
  seed: '',
};

export function loadSettings(): Settings {
  try {
    return { ...DEFAULTS, ...JSON.parse(remembered(() => localStorage, KEY) ?? '{}') };
  } catch {
    return DEFAULTS;
  }
}

export function saveSettings(settings: Settings): void {
  remember(() => localStorage, KEY, JSON.stringify(settings));
}

/** The number in a field, or undefined when it is empty or none. */
export function numberOf(text: string): number | undefined {
  const value = Number(text);
  return text.trim() === '' || Number.isNaN(value) ? undefined : value;
}
