// One turn of the conversation.
import type { PlayerState } from '../audio/player';
import type { Entry } from '../conversation';
import { Media } from './Media';
import { Sound } from './Sound';

interface Props {
  entry: Entry;
  /** Of the entry whose sound comes out of the player while it arrives. */
  live: LiveSound | undefined;
  /** None where there is nothing to ask again. */
  onRetry?: () => void;
}

export interface LiveSound extends PlayerState {
  onPause(paused: boolean): void;
  /** Ends it, for another way of hearing the answer. */
  onStop(): void;
}

function Words({ entry }: { entry: Entry }) {
  if (entry.text) return <p class="text">{entry.text}</p>;
  const asks = entry.role === 'user';
  if (entry.state === 'running') {
    return (
      <p class="thinking" role="img" aria-label={asks ? 'Your words are being written down' : 'The model is working'}>
        <span />
        <span />
        <span />
      </p>
    );
  }
  if (asks && entry.attachments.length === 0) return <p class="note">Not written down</p>;
  return null;
}

export function Message({ entry, live, onRetry }: Props) {
  const failed = entry.state === 'failed';
  const asks = entry.role === 'user';
  return (
    <article class={`message ${entry.role} ${failed ? 'failed' : ''}`} aria-label={asks ? 'You' : 'Model'}>
      {entry.attachments.length > 0 && (
        <div class="media">
          {entry.attachments.map((item, i) => (
            <Media key={i} item={item} />
          ))}
        </div>
      )}
      <Words entry={entry} />
      <Sound entry={entry} live={live} />
      {!asks && entry.state === 'stopped' && <p class="note">Stopped</p>}
      {asks && failed && <p class="note">Not answered; the model is not told of it</p>}
      {entry.error && (
        <p class="error" role="alert">
          {entry.error}
        </p>
      )}
      {!asks && failed && onRetry && (
        <button type="button" class="retry" onClick={onRetry}>
          Try again
        </button>
      )}
    </article>
  );
}
