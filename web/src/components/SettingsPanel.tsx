// Model, voice and sampling.
import { useEffect, useRef, useState } from 'preact/hooks';
import { getApiKey, listModels, listVoices, setApiKey } from '../api';
import type { Settings } from '../settings';

interface Props {
  settings: Settings;
  onChange(change: (settings: Settings) => Settings): void;
  /** Why the server's models and voices are not known; none when they are again. */
  onProblems(messages: string[]): void;
}

export function SettingsPanel({ settings, onChange, onProblems }: Props) {
  const [models, setModels] = useState<string[]>([]);
  const [voices, setVoices] = useState<string[]>([]);
  const [key, setKey] = useState(getApiKey());
  const failed = useRef(false);
  const set = (change: Partial<Settings>) => onChange((before) => ({ ...before, ...change }));

  const refresh = async () => {
    try {
      const [m, v] = await Promise.all([listModels(), listVoices()]);
      setModels(m);
      setVoices(v);
      onChange((before) => {
        const model = m.includes(before.model) ? before.model : (m[0] ?? '');
        const voice = v.includes(before.voice) ? before.voice : (v[0] ?? '');
        return model === before.model && voice === before.voice ? before : { ...before, model, voice };
      });
      if (failed.current) onProblems([]);
      failed.current = false;
    } catch (error) {
      failed.current = true;
      onProblems([(error as Error).message]);
    }
  };
  useEffect(() => void refresh(), []);

  const number = (name: 'temperature' | 'topP' | 'maxTokens' | 'seed', label: string, step: string, max?: string) => (
    <label>
      {label}
      <input
        type="number"
        min="0"
        max={max}
        step={step}
        placeholder="default"
        value={settings[name]}
        onInput={(event) => set({ [name]: event.currentTarget.value })}
      />
    </label>
  );

  return (
    <section class="settings" aria-label="Settings">
      <h2>Settings</h2>
      <label>
        Model
        <select value={settings.model} onChange={(event) => set({ model: event.currentTarget.value })}>
          {models.map((model) => (
            <option key={model}>{model}</option>
          ))}
        </select>
      </label>
      <label class="check">
        <input type="checkbox" checked={settings.speech} disabled={voices.length === 0}
          onChange={(event) => set({ speech: event.currentTarget.checked })} />
        Speak the answer
      </label>
      <label>
        Voice
        <select value={settings.voice} disabled={!settings.speech || voices.length === 0}
          onChange={(event) => set({ voice: event.currentTarget.value })}>
          {voices.map((voice) => (
            <option key={voice}>{voice}</option>
          ))}
        </select>
      </label>
      <details>
        <summary>Sampling</summary>
        {number('temperature', 'Temperature', '0.1', '2')}
        {number('topP', 'Top p', '0.05', '1')}
        {number('maxTokens', 'Most tokens', '1')}
        {number('seed', 'Seed', '1')}
      </details>
      <details>
        <summary>System message and key</summary>
        <label>
          System message
          <textarea rows={3} value={settings.system} onInput={(event) => set({ system: event.currentTarget.value })} />
        </label>
        <form onSubmit={(event) => event.preventDefault()}>
        <label>
          API key
          <input
            type="password"
            autocomplete="off"
            value={key}
            onInput={(event) => setKey(event.currentTarget.value)}
            onBlur={() => {
              setApiKey(key);
              void refresh();
            }}
          />
        </label>
        </form>
      </details>
    </section>
  );
}
