// Two pages under one roof: the conversation and the live plots, chosen by the address's hash.
import { render } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import { Chat } from './components/Chat';
import { Live } from './components/Live';
import './styles.css';

function App() {
  const [page, setPage] = useState(location.hash);
  useEffect(() => {
    const changed = () => setPage(location.hash);
    window.addEventListener('hashchange', changed);
    return () => window.removeEventListener('hashchange', changed);
  }, []);
  const live = page === '#live';
  return (
    <>
      <header>
        <h1>Tutti</h1>
        <nav aria-label="Pages">
          <a href="#" aria-current={live ? undefined : 'page'}>
            Talk
          </a>
          <a href="#live" aria-current={live ? 'page' : undefined}>
            Live
          </a>
        </nav>
      </header>
      {/* The conversation stays while the plots are looked at. */}
      <div hidden={live} class="page">
        <Chat />
      </div>
      {live && (
        <div class="page">
          <Live />
        </div>
      )}
    </>
  );
}

render(<App />, document.getElementById('app')!);
