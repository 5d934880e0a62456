// A picture, sound or video of a turn; a labelled place where the browser cannot show it.
import { useState } from 'preact/hooks';
import type { Attachment } from '../conversation';
import { Broken } from './Icons';

export function Media({ item }: { item: Attachment }) {
  const [broken, setBroken] = useState(false);
  const onError = () => setBroken(true);
  if (broken) {
    const what = `${item.name} cannot be shown here`;
    return (
      <span class="broken" role="img" aria-label={what} title={what}>
        <Broken />
        <span>{item.name}</span>
      </span>
    );
  }
  if (item.kind === 'image') return <img src={item.dataUrl} alt={item.name} onError={onError} />;
  if (item.kind === 'video') return <video src={item.dataUrl} controls aria-label={item.name} onError={onError} />;
  return <audio src={item.dataUrl} controls aria-label={item.name} onError={onError} />;
}
