// Where a person types, drops media, records, or goes hands-free.
import { useEffect, useRef, useState } from 'preact/hooks';
import { Microphone, MICROPHONE_RATE } from '../audio/microphone';
import { wavBlob } from '../audio/player';
import { asDataUrl, readAttachment, type Attachment } from '../conversation';
import { Arrow, Broken, Cross, Mic, Plus, Square, Waves } from './Icons';

interface Props {
  running: boolean;
  /** Whether the words are where the keys go from the beginning. */
  focus: boolean;
  handsFree: boolean;
  level: number;
  onSend(text: string, attachments: Attachment[]): void;
  onStop(): void;
  onHandsFree(on: boolean): void;
  /** A sentence for each; none when all went well. */
  onProblems(messages: string[]): void;
  unlockSound(): void;
}

/** Five bars that stand as high as the microphone's sound is loud. */
function Level({ value }: { value: number }) {
  return (
    <span class="level" aria-hidden="true">
      {[0.5, 0.8, 1, 0.8, 0.5].map((share, i) => (
        <span key={i} style={{ transform: `scaleY(${Math.max(0.18, Math.min(1, 6 * value * share))})` }} />
      ))}
    </span>
  );
}

function Thumbnail({ item }: { item: Attachment }) {
  const [broken, setBroken] = useState(false);
  return broken ? <Broken /> : <img src={item.dataUrl} alt="" onError={() => setBroken(true)} />;
}

export function Composer(props: Props) {
  const [text, setText] = useState('');
  const [attachments, setAttachments] = useState<Attachment[]>([]);
  const [recording, setRecording] = useState(false);
  const [dragging, setDragging] = useState(false);
  const recorded = useRef<Int16Array[]>([]);
  const microphone = useRef<Microphone | null>(null);
  const files = useRef<HTMLInputElement>(null);
  const box = useRef<HTMLTextAreaElement>(null);
  const adder = useRef<HTMLButtonElement>(null);

  useEffect(() => {
    if (props.focus) box.current?.focus();
    return () => microphone.current?.stop();
  }, []);

  const send = (extra: Attachment[] = []) => {
    const all = [...attachments, ...extra];
    if (!text.trim() && all.length === 0) return;
    props.unlockSound();
    props.onSend(text.trim(), all);
    setText('');
    setAttachments([]);
  };

  const add = async (list: FileList | null | undefined) => {
    const chosen = [...(list ?? [])]; // the browser empties its list as soon as the handler returns
    if (chosen.length === 0) return;
    const problems: string[] = [];
    for (const file of chosen) {
      try {
        const attachment = await readAttachment(file);
        setAttachments((before) => [...before, attachment]);
      } catch (error) {
        problems.push((error as Error).message);
      }
    }
    props.onProblems(problems);
  };

  const record = async () => {
    if (microphone.current) return;
    props.unlockSound();
    recorded.current = [];
    const device = new Microphone((pcm) => recorded.current.push(pcm));
    microphone.current = device;
    setRecording(true);
    try {
      await device.start();
    } catch (error) {
      if (microphone.current !== device) return; // let go of already
      microphone.current = null;
      setRecording(false);
      props.onProblems([`The microphone cannot be used: ${(error as Error).message}`]);
    }
  };

  const finishRecording = async () => {
    const device = microphone.current;
    if (!device) return;
    microphone.current = null;
    device.stop();
    setRecording(false);
    const samples = recorded.current.reduce((sum, chunk) => sum + chunk.length, 0);
    if (samples < 0.2 * MICROPHONE_RATE) return; // a slip of the finger
    const dataUrl = await asDataUrl(wavBlob(recorded.current, MICROPHONE_RATE));
    send([{ kind: 'audio', name: 'Recording', dataUrl }]);
  };

  return (
    <form
      class={`composer ${dragging ? 'dragging' : ''} ${props.handsFree ? 'hands-free' : ''}`}
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
      onDragOver={(event) => {
        event.preventDefault();
        setDragging(true);
      }}
      onDragLeave={() => setDragging(false)}
      onDrop={(event) => {
        event.preventDefault();
        setDragging(false);
        void add(event.dataTransfer?.files);
      }}
      onPaste={(event) => void add(event.clipboardData?.files)}
    >
      {attachments.length > 0 && (
        <ul class="attachments" aria-label="To be sent">
          {attachments.map((item, i) => (
            <li key={`${i} ${item.name}`}>
              {item.kind === 'image' ? <Thumbnail item={item} /> : <span class="icon">{item.kind === 'video' ? '▶' : '♪'}</span>}
              <span>{item.name}</span>
              <button
                type="button"
                aria-label={`Remove ${item.name}`}
                onClick={() => {
                  setAttachments(attachments.filter((_, at) => at !== i));
                  adder.current?.focus(); // this button goes away
                }}
              >
                <Cross />
              </button>
            </li>
          ))}
        </ul>
      )}
      <div class="row">
        <textarea
          aria-label="Message"
          ref={box}
          placeholder="Ask something, or drop a picture here"
          rows={1}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
              event.preventDefault();
              send();
            }
          }}
        />
      </div>
      <div class="row actions">
        <input ref={files} type="file" accept="image/*,audio/*,video/*" multiple hidden data-testid="file"
          onChange={(event) => {
            void add(event.currentTarget.files);
            event.currentTarget.value = '';
          }} />
        <button ref={adder} type="button" class="round" onClick={() => files.current?.click()} aria-label="Add a picture, sound or video" title="Add a picture, sound or video">
          <Plus />
        </button>
        <button
          type="button"
          class={recording ? 'wide hold active' : 'wide hold'}
          aria-pressed={recording}
          aria-label="Hold to talk"
          title="Hold to talk (or hold Space on this button)"
          disabled={props.handsFree}
          onPointerDown={(event) => {
            event.currentTarget.setPointerCapture(event.pointerId);
            void record();
          }}
          onPointerUp={() => void finishRecording()}
          onPointerCancel={() => void finishRecording()}
          onBlur={() => void finishRecording()}
          onKeyDown={(event) => {
            if (event.key === ' ' && !event.repeat) void record();
          }}
          onKeyUp={(event) => {
            if (event.key === ' ') void finishRecording();
          }}
        >
          <Mic />
          <span class="label">{recording ? 'Listening…' : 'Hold to talk'}</span>
        </button>
        <button
          type="button"
          class={props.handsFree ? 'wide active' : 'wide'}
          aria-pressed={props.handsFree}
          aria-label="Hands-free"
          title="Hands-free: talk whenever you like"
          onClick={() => {
            props.unlockSound();
            props.onHandsFree(!props.handsFree);
          }}
        >
          {props.handsFree ? <Level value={props.level} /> : <Waves />}
          <span class="label">Hands-free</span>
        </button>
        <span class="space" />
        {props.running ? (
          <button type="button" class="round primary" onClick={props.onStop} aria-label="Stop" title="Stop (Escape)">
            <Square />
          </button>
        ) : (
          <button type="submit" class="round primary" aria-label="Send" title="Send (Enter)" disabled={!text.trim() && attachments.length === 0}>
            <Arrow />
          </button>
        )}
      </div>
    </form>
  );
}
