// The spoken answer as a waveform: it grows while the answer arrives, shows what has been heard, and plays again.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { PCM_RATE } from '../audio/pcm';
import { peaks } from '../audio/peaks';
import { wavBlob } from '../audio/player';
import { hush, replay } from '../audio/replay';
import type { Entry } from '../conversation';
import { Pause, Play, Save } from './Icons';
import type { LiveSound } from './Message';

const BAR = 4; // width of one bar with its gap
const HEIGHT = 32;

const clock = (seconds: number) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;

function Waveform({ chunks, heard }: { chunks: Int16Array[]; heard: number }) {
  const bars = useMemo(() => peaks(chunks), [chunks.length]);
  const width = bars.length * BAR;
  return (
    <svg class="waveform" viewBox={`0 0 ${width} ${HEIGHT}`} style={{ width: `${width}px` }} preserveAspectRatio="none" aria-hidden="true">
      {bars.map((height, i) => {
        const tall = Math.max(3, height * HEIGHT);
        return <rect key={i} class={(i + 0.5) / bars.length <= heard ? 'heard' : ''} x={i * BAR} y={(HEIGHT - tall) / 2} width={BAR - 1.5} height={tall} rx="1.25" />;
      })}
    </svg>
  );
}

/** `live`: the player has this answer, from its first sound until it was heard; afterwards it can be heard again. */
export function Sound({ entry, live }: { entry: Entry; live: LiveSound | undefined }) {
  const audio = useRef<HTMLAudioElement>(null);
  const [url, setUrl] = useState('');
  const [again, setAgain] = useState(false);
  const [position, setPosition] = useState(0);
  const total = entry.audio.reduce((sum, chunk) => sum + chunk.length, 0);
  const seconds = total / PCM_RATE;
  const complete = entry.state !== 'running' && total > 0;

  useEffect(() => {
    if (!complete) return;
    const made = URL.createObjectURL(wavBlob(entry.audio, PCM_RATE));
    setUrl(made);
    return () => {
      if (audio.current) hush(audio.current);
      URL.revokeObjectURL(made);
    };
  }, [complete]);
  useEffect(() => {
    if (!again) return;
    let frame = requestAnimationFrame(function follow() {
      setPosition(audio.current?.currentTime ?? 0);
      frame = requestAnimationFrame(follow);
    });
    return () => cancelAnimationFrame(frame);
  }, [again]);
  if (total === 0) return null;

  const hearAgain = () => audio.current && replay(audio.current);
  const sounding = live ? !live.paused : again;
  const toggle = () => {
    if (live) live.onPause(!live.paused);
    else if (again) audio.current?.pause();
    else hearAgain();
  };
  const seek = (to: number) => {
    if (!audio.current) return;
    audio.current.currentTime = to;
    setPosition(to);
    if (!live) return;
    if (!live.paused) hearAgain();
    live.onStop();
  };
  const at = live ? Math.min(live.played / PCM_RATE, seconds) : position;
  return (
    <div class="sound">
      {url && (
        <audio ref={audio} src={url} onPlay={() => setAgain(true)} onPause={() => setAgain(false)}
          onEnded={() => setPosition(0)} />
      )}
      <button type="button" class="round" disabled={!live && !url} aria-label={sounding ? 'Pause the answer' : 'Play the answer'} onClick={toggle}>
        {sounding ? <Pause /> : <Play />}
      </button>
      <span class="track-of-sound">
        <Waveform chunks={entry.audio} heard={at / seconds} />
        <input
          type="range"
          aria-label="Position in the answer"
          min="0"
          max={seconds}
          step="0.05"
          disabled={!url}
          aria-valuetext={`${clock(at)} of ${clock(Math.round(seconds))}`}
          value={at}
          onInput={(event) => seek(Number(event.currentTarget.value))}
        />
      </span>
      <span class="time">
        {clock(at)} / {clock(Math.round(seconds))}
      </span>
      {url && (
        <a class="round" href={url} download={`answer-${entry.id}.wav`} aria-label="Save" title="Save as a WAV file">
          <Save />
        </a>
      )}
    </div>
  );
}
