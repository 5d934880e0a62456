// One turn of the conversation.
import { useEffect, useState } from 'preact/hooks';
import { PCM_RATE } from '../api';
import { wavBlob } from '../audio/player';
import type { Attachment, Entry } from '../conversation';

function Media({ item }: { item: Attachment }) {
  if (item.kind === 'image') return <img src={item.dataUrl} alt={item.name} />;
  if (item.kind === 'video') return <video src={item.dataUrl} controls aria-label={item.name} />;
  return <audio src={item.dataUrl} controls aria-label={item.name} />;
}

/** The spoken answer once it is complete, to hear again or to save. */
function Replay({ entry }: { entry: Entry }) {
  const [url, setUrl] = useState('');
  const complete = entry.state !== 'running' && entry.audio.length > 0;
  useEffect(() => {
    if (!complete) return;
    const made = URL.createObjectURL(wavBlob(entry.audio, PCM_RATE));
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [complete]);
  if (!url) return null;
  return (
    <div class="replay">
      <audio src={url} controls aria-label="The answer as sound" />
      <a href={url} download={`answer-${entry.id}.wav`}>
        Save
      </a>
    </div>
  );
}

export function Message({ entry }: { entry: Entry }) {
  return (
    <article class={`message ${entry.role}`} aria-label={entry.role === 'user' ? 'You' : 'Model'}>
      {entry.attachments.length > 0 && (
        <div class="media">
          {entry.attachments.map((item, i) => (
            <Media key={i} item={item} />
          ))}
        </div>
      )}
      {entry.text && <p class="text">{entry.text}</p>}
      {entry.state === 'running' && !entry.text && (
        <p class="thinking" aria-label="The model is working">
          <span />
          <span />
          <span />
        </p>
      )}
      {entry.state === 'stopped' && <p class="note">Stopped.</p>}
      {entry.error && (
        <p class="error" role="alert">
          {entry.error}
        </p>
      )}
      <Replay entry={entry} />
    </article>
  );
}
