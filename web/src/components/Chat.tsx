// The conversation: typed and recorded turns over chat completions, hands-free talk over realtime.
import { useEffect, useRef, useState } from 'preact/hooks';
import { streamChat } from '../api';
import { Player, type PlayerState } from '../audio/player';
import { hush } from '../audio/replay';
import { entry, failTurn, toApi, type Attachment, type Entry } from '../conversation';
import { Talk } from '../talk';
import { Gathered } from '../paced';
import { loadSettings, numberOf, saveSettings, type Settings } from '../settings';
import { Composer } from './Composer';
import { Message } from './Message';
import { SettingsPanel } from './SettingsPanel';
import { Timeline } from './Timeline';
import { useEndInView } from './useEndInView';
import { useProgress } from './useProgress';
import { Welcome } from './Welcome';

const SILENT: PlayerState = { playing: false, paused: false, played: 0 };

interface Props {
  /** Whether it follows on another one, whose user writes on. */
  again: boolean;
  panel: boolean;
  onPanel(open: boolean): void;
}

export function Chat({ again, panel, onPanel }: Props) {
  const [settings, setSettings] = useState<Settings>(loadSettings);
  const [entries, setEntries] = useState<Entry[]>([]);
  const [running, setRunning] = useState(false);
  const { progress, stages, metrics, marks } = useProgress();
  const [problems, setProblems] = useState<string[]>([]);
  const [handsFree, setHandsFree] = useState(false);
  const [level, setLevel] = useState(0);
  const [sound, setSound] = useState(SILENT);
  const [speaking, setSpeaking] = useState(0); // whose sound the player plays
  const player = useRef(new Player());
  const request = useRef<AbortController | null>(null);
  const talk = useRef<Talk | null>(null);
  const { outer, inner, toEnd } = useEndInView();

  player.current.onReport = setSound;

  const change = (id: number, update: (e: Entry) => Entry) =>
    setEntries((all) => all.map((e) => (e.id === id ? update(e) : e)));

  const send = async (text: string, attachments: Attachment[], before: Entry[] = entries) => {
    setProblems([]);
    hush();
    toEnd();
    // What is typed or shown in a hands-free talk belongs to it.
    if (talk.current) {
      setEntries(before);
      return talk.current.say(text, attachments);
    }
    stop();
    const question = entry('user', text, attachments);
    const answer: Entry = { ...entry('assistant', ''), question: question.id };
    const history = [...before, question];
    setEntries([...history, answer]);
    setSpeaking(answer.id);
    setRunning(true);
    marks.begin();
    const controller = new AbortController();
    request.current = controller;
    const news = new Gathered((more, pcm) =>
      change(answer.id, (e) => ({ ...e, text: e.text + more, audio: [...e.audio, ...pcm] })),
    );
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
          onText: (delta) => {
            marks.text();
            news.addText(delta);
          },
          onAudio: (pcm) => {
            marks.sound(pcm.length);
            player.current.push(pcm);
            news.addAudio(pcm);
          },
          onMetrics: (m, final) => {
            marks.metrics(m, final);
            if (final) change(answer.id, (e) => ({ ...e, metrics: m }));
          },
        },
        controller.signal,
      );
      news.flush();
      player.current.finish();
      change(answer.id, (e) => ({ ...e, state: 'done' }));
    } catch (error) {
      news.flush();
      if (controller.signal.aborted) change(answer.id, (e) => ({ ...e, state: 'stopped' }));
      else setEntries((all) => failTurn(all, answer.id, (error as Error).message));
    } finally {
      if (request.current === controller) {
        request.current = null;
        marks.end();
        setRunning(false);
      }
    }
  };

  /** The question of an answer that failed, if it can be asked again: both make way for the new attempt. */
  const retry = (answer: Entry) => {
    const question = entries.find((e) => e.id === answer.question);
    if (answer.state !== 'failed' || !question || (!question.text && question.attachments.length === 0)) return undefined;
    return () => {
      player.current.unlock();
      outer.current?.focus(); // the button goes away
      void send(question.text, question.attachments, entries.filter((e) => e !== answer && e !== question));
    };
  };

  const stop = () => {
    request.current?.abort();
    talk.current?.cancel();
    player.current.stop();
    setSound(SILENT);
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
    hush();
    setProblems([]);
    setHandsFree(true);
    const options = {
      model: settings.model,
      voice: settings.voice || undefined,
      instructions: settings.system,
      temperature: numberOf(settings.temperature),
      maxTokens: numberOf(settings.maxTokens),
      history: entries,
    };
    const own = new Talk(options, player.current, marks, {
      onEntry: (e) => {
        setSpeaking(e.id);
        setEntries((all) => [...all, e]);
      },
      onChange: change,
      onFailed: (answer, message) => setEntries((all) => failTurn(all, answer, message)),
      onRunning: setRunning,
      onLevel: setLevel,
      onProblem: (message) => setProblems([message]),
      onEnd: () => talk.current === own && endTalk(),
    });
    talk.current = own;
    try {
      await own.start();
    } catch (error) {
      if (talk.current !== own) return; // it was ended meanwhile
      setProblems([`The microphone cannot be used: ${(error as Error).message}`]);
      endTalk();
    }
  };

  useEffect(() => saveSettings(settings), [settings]);
  useEffect(() => {
    const escape = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return;
      if (panel) onPanel(false);
      else stop();
    };
    window.addEventListener('keydown', escape);
    return () => window.removeEventListener('keydown', escape);
  });
  useEffect(
    () => () => {
      request.current?.abort();
      endTalk();
      player.current.close();
    },
    [],
  );

  const live = (e: Entry) => {
    if (e.id !== speaking || !(sound.playing || e.state === 'running')) return undefined;
    return { ...sound, onPause: (paused: boolean) => player.current.pause(paused), onStop: () => player.current.stop() };
  };

  return (
    <main class="chat">
      <section class="conversation" aria-label="Conversation">
        <div class="log" role="log" aria-live="polite" aria-busy={running} tabIndex={0} ref={outer}>
          <div class="turns" ref={inner}>
            {entries.length === 0 && (
              <Welcome
                onAsk={(question) => {
                  player.current.unlock();
                  void send(question, []);
                }}
              />
            )}
            {entries.map((e) => (
              <Message key={e.id} entry={e} live={live(e)} onRetry={retry(e)} />
            ))}
          </div>
        </div>
        {problems.map((problem, i) => (
          <p class="error" role="alert" key={`${i} ${problem}`}>
            {problem}
          </p>
        ))}
        <Composer
          focus={again}
          running={running || sound.playing}
          handsFree={handsFree}
          level={level}
          onSend={(text, attachments) => void send(text, attachments)}
          onStop={stop}
          onHandsFree={(on) => (on ? void startTalk() : endTalk())}
          onProblems={setProblems}
          unlockSound={() => player.current.unlock()}
        />
      </section>
      {panel && <div class="backdrop" onClick={() => onPanel(false)} />}
      <aside class={panel ? 'open' : ''} aria-label="Settings and stages">
        <SettingsPanel settings={settings} onChange={setSettings} onProblems={setProblems} />
        <section aria-label="Last answer">
          <h2>Stages</h2>
          <Timeline progress={progress} stages={stages} metrics={metrics} speech={settings.speech || handsFree} />
        </section>
      </aside>
    </main>
  );
}
