// The conversation: typed and recorded turns over chat completions, hands-free talk over realtime.
import { useEffect, useRef, useState } from 'preact/hooks';
import { PCM_RATE, streamChat, type RequestMetrics } from '../api';
import { Microphone } from '../audio/microphone';
import { Player } from '../audio/player';
import { entry, toApi, type Attachment, type Entry } from '../conversation';
import { Realtime } from '../realtime';
import { loadSettings, numberOf, saveSettings, type Settings } from '../settings';
import { Composer } from './Composer';
import { Message } from './Message';
import { SettingsPanel } from './SettingsPanel';
import { Timeline } from './Timeline';

export function Chat() {
  const [settings, setSettings] = useState<Settings>(loadSettings);
  const [entries, setEntries] = useState<Entry[]>([]);
  const [running, setRunning] = useState(false);
  const [metrics, setMetrics] = useState<RequestMetrics>();
  const [problem, setProblem] = useState('');
  const [handsFree, setHandsFree] = useState(false);
  const [level, setLevel] = useState(0);
  const [playing, setPlaying] = useState(false);
  const player = useRef(new Player());
  const request = useRef<AbortController | null>(null);
  const talk = useRef<{ realtime: Realtime; microphone: Microphone } | null>(null);
  const log = useRef<HTMLDivElement>(null);

  player.current.onPlaying = setPlaying;

  const change = (id: number, update: (e: Entry) => Entry) =>
    setEntries((all) => all.map((e) => (e.id === id ? update(e) : e)));

  const send = async (text: string, attachments: Attachment[]) => {
    setProblem('');
    const question = entry('user', text, attachments);
    const answer = entry('assistant', '');
    const history = [...entries, question];
    setEntries([...history, answer]);
    setRunning(true);
    player.current.stop();
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
    talk.current?.realtime.cancel();
    player.current.stop();
  };

  const endTalk = () => {
    talk.current?.microphone.stop();
    talk.current?.realtime.close();
    talk.current = null;
    setHandsFree(false);
    setRunning(false);
    setLevel(0);
  };

  const startTalk = async () => {
    setProblem('');
    setHandsFree(true);
    let answer: Entry | null = null;
    let heard: Entry | null = null;
    const edit = (update: (e: Entry) => Entry) => answer && change(answer.id, update);
    const realtime = new Realtime(settings.model, settings.voice || undefined, settings.system, {
      onOpen: () => {},
      onUserSpeech: (speaking) => {
        if (!speaking) return;
        // Barge-in: silence at once; the server hears how much was played.
        realtime.truncate((1000 * player.current.played) / PCM_RATE);
        player.current.stop();
        heard = entry('user', '…');
        const turn = heard;
        setEntries((all) => [...all, turn]);
      },
      onUserTranscript: (text) => heard && change(heard.id, (e) => ({ ...e, text })),
      onResponse: () => {
        answer = entry('assistant', '');
        const turn = answer;
        setEntries((all) => [...all, turn]);
        setRunning(true);
      },
      onText: (delta) => edit((e) => ({ ...e, text: e.text + delta })),
      onAudio: (pcm) => {
        player.current.push(pcm);
        edit((e) => ({ ...e, audio: [...e.audio, pcm] }));
      },
      onDone: (status, m) => {
        player.current.finish();
        if (m) setMetrics(m);
        edit((e) => ({ ...e, state: status === 'completed' ? 'done' : status === 'cancelled' ? 'stopped' : 'failed' }));
        setRunning(false);
      },
      onError: setProblem,
      onClose: endTalk,
    });
    const microphone = new Microphone((pcm, loudness) => {
      setLevel(loudness);
      realtime.append(pcm);
    });
    talk.current = { realtime, microphone };
    try {
      await microphone.start();
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
    const escape = (event: KeyboardEvent) => event.key === 'Escape' && stop();
    window.addEventListener('keydown', escape);
    return () => window.removeEventListener('keydown', escape);
  });
  useEffect(() => endTalk, []);

  return (
    <main class="chat">
      <aside>
        <SettingsPanel settings={settings} onChange={setSettings} onError={setProblem} />
        <section aria-label="Last answer">
          <h2>Stages</h2>
          <Timeline metrics={metrics} />
        </section>
      </aside>
      <section class="conversation" aria-label="Conversation">
        <div class="log" role="log" aria-live="polite" aria-busy={running} ref={log}>
          {entries.length === 0 && (
            <p class="welcome">
              Ask with the keyboard, hold the button and talk, or go hands-free. Pictures, sounds and videos can be dropped here.
            </p>
          )}
          {entries.map((e) => (
            <Message key={e.id} entry={e} />
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
    </main>
  );
}
