// What the page says before the first turn, with questions to begin with.
import { Logo } from './Icons';

const QUESTIONS = ['What is the capital of France?', 'How many legs does a spider have?', 'What is your name?', 'What is the opposite of hot?'];

export function Welcome({ onAsk }: { onAsk(question: string): void }) {
  return (
    <div class="welcome">
      <Logo />
      <h2>Ask, and hear the answer</h2>
      <p>Type, hold the button and talk, or go hands-free. Pictures, sounds and videos can be dropped here.</p>
      <ul aria-label="Questions to begin with">
        {QUESTIONS.map((question) => (
          <li key={question}>
            <button type="button" onClick={() => onAsk(question)}>
              {question}
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
