// The conversation: typed and recorded turns over chat completions, hands-free talk over realtime.
import { useEffect, useRef, useState } from 'preact/hooks';
import { streamChat, type RequestMetrics } from '../api';
import { Player } from '../audio/player';
import { entry, toApi, type Attachment, type Entry } from '../conversation';
import { Talk } from '../talk';
import { loadSettings, numberOf, saveSettings, type Settings } from '../settings';
import { Composer } from './Composer';
import { Message } from './Message';
import { SettingsPanel } from './SettingsPanel';
import { Timeline } from './Timeline';
import { Welcome } from './Welcome';

interface Props {
  panel: boolean;
  onPanel(open: boolean): void;
}

export function Chat({ panel, onPanel }: Props) {
  const [settings, setSettings] = useState<Settings>(loadSettings);
  const [entries, setEntries] = useState<Entry[]>([]);
  const [running, setRunning] = useState(false);
  const [metrics, setMetrics] = useState<RequestMetrics>();
  const [problem, setProblem] = useState('');
  const [handsFree, setHandsFree] = useState(false);
  const [level, setLevel] = useState(0);
  const [playing, setPlaying] = useState(false);
  const [played, setPlayed] = useState(0);
  const [speaking, setSpeaking] = useState(0); // whose sound the player plays
  const player = useRef(new Player());
  const request = useRef<AbortController | null>(null);
  const talk = useRef<Talk | null>(null);
  const log = useRef<HTMLDivElement>(null);

  player.current.onReport = (on, samples) => {
    setPlaying(on);
    setPlayed(samples);
  };

  const change = (id: number, update: (e: Entry) => Entry) =>
    setEntries((all) => all.map((e) => (e.id === id ? update(e) : e)));

  const send = async (text: string, attachments: Attachment[]) => {
    setProblem('');
    // What is typed in a hands-free talk belongs to it.
    if (talk.current && attachments.length === 0) return talk.current.say(text);
    stop();
    const question = entry('user', text, attachments);
    const answer = entry('assistant', '');
    const history = [...entries, question];
    setEntries([...history, answer]);
    setSpeaking(answer.id);
    setRunning(true);
    const controller = new AbortController();
    request.current = controller;
    try {
      await streamChat(
        {
          model: settings.model,
          messages: toApi(history, settings.system),
          speech: settings.speech,
          voice: settings.voice || undefined,
          temperature: numberOf(settings.temperature),
          top_p: numberOf(settings.topP),
          max_tokens: numberOf(settings.maxTokens),
          seed: numberOf(settings.seed),
        },
        {
          onText: (delta) => change(answer.id, (e) => ({ ...e, text: e.text + delta })),
          onAudio: (pcm) => {
            player.current.push(pcm);
            change(answer.id, (e) => ({ ...e, audio: [...e.audio, pcm] }));
          },
          onMetrics: (m) => {
            setMetrics(m);
            change(answer.id, (e) => ({ ...e, metrics: m }));
          },
        },
        controller.signal,
      );
      player.current.finish();
      change(answer.id, (e) => ({ ...e, state: 'done' }));
    } catch (error) {
      const stopped = controller.signal.aborted;
      const message = (error as Error).message;
      change(answer.id, (e) => ({ ...e, state: stopped ? 'stopped' : 'failed', error: stopped ? undefined : message }));
    } finally {
      if (request.current === controller) {
        request.current = null;
        setRunning(false);
      }
    }
  };

  const stop = () => {
    request.current?.abort();
    talk.current?.cancel();
    player.current.stop();
    setPlaying(false);
  };

  const endTalk = () => {
    talk.current?.close();
    talk.current = null;
    setHandsFree(false);
    setRunning(false);
    setLevel(0);
  };

  const startTalk = async () => {
    stop();
    setProblem('');
    setHandsFree(true);
    const options = {
      model: settings.model,
      voice: settings.voice || undefined,
      instructions: settings.system,
      temperature: numberOf(settings.temperature),
      maxTokens: numberOf(settings.maxTokens),
      history: entries,
    };
    const own = new Talk(options, player.current, {
      onEntry: (e) => {
        setSpeaking(e.id);
        setEntries((all) => [...all, e]);
      },
      onChange: change,
      onRunning: setRunning,
      onMetrics: setMetrics,
      onLevel: setLevel,
      onProblem: setProblem,
      onEnd: () => talk.current === own && endTalk(),
    });
    talk.current = own;
    try {
      await own.start();
    } catch (error) {
      setProblem(`The microphone cannot be used: ${(error as Error).message}`);
      endTalk();
    }
  };

  useEffect(() => saveSettings(settings), [settings]);
  useEffect(() => {
    log.current?.lastElementChild?.scrollIntoView({ block: 'end' });
  }, [entries]);
  useEffect(() => {
    const escape = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      if (panel) onPanel(false);
      else stop();
    };
    window.addEventListener('keydown', escape);
    return () => window.removeEventListener('keydown', escape);
  });
  useEffect(() => endTalk, []);

  return (
    <main class="chat">
      <section class="conversation" aria-label="Conversation">
        <div class="log" role="log" aria-live="polite" aria-busy={running} tabIndex={0} ref={log}>
          {entries.length === 0 && (
            <Welcome
              onAsk={(question) => {
                void player.current.unlock();
                void send(question, []);
              }}
            />
          )}
          {entries.map((e) => (
            <Message key={e.id} entry={e} played={playing && e.id === speaking ? played : undefined} />
          ))}
        </div>
        {problem && (
          <p class="error" role="alert">
            {problem}
          </p>
        )}
        <Composer
          running={running || playing}
          handsFree={handsFree}
          level={level}
          onSend={(text, attachments) => void send(text, attachments)}
          onStop={stop}
          onHandsFree={(on) => (on ? void startTalk() : endTalk())}
          onError={setProblem}
          unlockSound={() => void player.current.unlock()}
        />
      </section>
      {panel && <div class="backdrop" onClick={() => onPanel(false)} />}
      <aside class={panel ? 'open' : ''} aria-label="Settings and stages">
        <SettingsPanel settings={settings} onChange={setSettings} onError={setProblem} />
        <section aria-label="Last answer">
          <h2>Stages</h2>
          <Timeline metrics={metrics} />
        </section>
      </aside>
    </main>
  );
}
