// One turn of the conversation.
import type { Attachment, Entry } from '../conversation';
import { Sound } from './Sound';

function Media({ item }: { item: Attachment }) {
  if (item.kind === 'image') return <img src={item.dataUrl} alt={item.name} />;
  if (item.kind === 'video') return <video src={item.dataUrl} controls aria-label={item.name} />;
  return <audio src={item.dataUrl} controls aria-label={item.name} />;
}

export function Message({ entry, played }: { entry: Entry; played: number | undefined }) {
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
        <p class="thinking" role="img" aria-label="The model is working">
          <span />
          <span />
          <span />
        </p>
      )}
      <Sound entry={entry} played={played} />
      {entry.state === 'stopped' && <p class="note">Stopped</p>}
      {entry.error && (
        <p class="error" role="alert">
          {entry.error}
        </p>
      )}
    </article>
  );
}
