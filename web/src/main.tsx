// Two pages under one roof: the conversation and the live plots, chosen by the address's hash.
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { health, metricsText } from './api';
import { Chat } from './components/Chat';
import { Compose, Logo, Sliders } from './components/Icons';
import { Live } from './components/Live';
import { Sampler } from './sampler';
import './styles/base.css';
import './styles/chat.css';
import './styles/message.css';
import './styles/sound.css';
import './styles/composer.css';
import './styles/panel.css';
import './styles/live.css';

const sampler = new Sampler({ metricsText, health });
sampler.start();

function App() {
  const [page, setPage] = useState(location.hash);
  const [conversation, setConversation] = useState(0); // a new one has a new number, and nothing of the one before
  const [panel, setPanel] = useState(false); // only where the screen is narrow; else it is always there
  useEffect(() => {
    const changed = () => setPage(location.hash);
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }, []);
  const panelButton = useRef<HTMLButtonElement>(null);
  const showPanel = (open: boolean) => {
    setPanel(open);
    if (!open) panelButton.current?.focus(); // where it was opened
  };
  const live = page === '#live';
  return (
    <>
      <header>
        <Logo />
        <h1>Tutti</h1>
        <nav aria-label="Pages">
          <a href="#" aria-current={live ? undefined : 'page'}>
            Talk
          </a>
          <a href="#live" aria-current={live ? 'page' : undefined}>
            Live
          </a>
        </nav>
        {!live && (
          <>
            <button type="button" class="new-button" aria-label="New conversation" title="New conversation"
              onClick={() => setConversation(conversation + 1)}>
              <Compose />
              <span class="label">New conversation</span>
            </button>
            <button ref={panelButton} type="button" class="round panel-button" aria-label="Settings and stages" aria-expanded={panel}
              onClick={() => setPanel(!panel)}>
              <Sliders />
            </button>
          </>
        )}
      </header>
      {/* The conversation stays while the plots are looked at. */}
      <div hidden={live} class="page">
        <Chat key={conversation} again={conversation > 0} panel={panel} onPanel={showPanel} />
      </div>
      {live && (
        <div class="page">
          <Live sampler={sampler} />
        </div>
      )}
    </>
  );
}

render(<App />, document.getElementById('app')!);
