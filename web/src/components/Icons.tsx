// Line icons, 24 by 24; what they mean is said by the button around them.
import type { ComponentChildren } from 'preact';

const Icon = ({ children }: { children: ComponentChildren }) => (
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true" fill="none" stroke="currentColor" stroke-width="2"
    stroke-linecap="round" stroke-linejoin="round">
    {children}
  </svg>
);

export const Plus = () => <Icon><path d="M12 5v14M5 12h14" /></Icon>;
export const Mic = () => <Icon><rect x="9" y="3" width="6" height="11" rx="3" /><path d="M5 11a7 7 0 0 0 14 0M12 18v3" /></Icon>;
export const Waves = () => <Icon><path d="M4 10v4M8 6v12M12 9v6M16 4v16M20 10v4" /></Icon>;
export const Arrow = () => <Icon><path d="M12 20V5M5 11l7-7 7 7" /></Icon>;
export const Square = () => <Icon><rect x="7" y="7" width="10" height="10" rx="1.5" fill="currentColor" /></Icon>;
export const Play = () => <Icon><path d="M8 5.5v13l10.5-6.5z" fill="currentColor" /></Icon>;
export const Pause = () => <Icon><path d="M9 6v12M15 6v12" /></Icon>;
export const Save = () => <Icon><path d="M12 4v11M7 11l5 5 5-5M5 20h14" /></Icon>;
export const Sliders = () => <Icon><path d="M4 7h9M19 7h1M4 17h1M11 17h9" /><circle cx="16" cy="7" r="2.5" /><circle cx="8" cy="17" r="2.5" /></Icon>;
export const Broken = () => <Icon><rect x="4" y="5" width="16" height="14" rx="2" /><path d="M4 5l16 14" /></Icon>;
export const Compose = () => <Icon><path d="M12 5H6a2 2 0 0 0-2 2v11a2 2 0 0 0 2 2h11a2 2 0 0 0 2-2v-6" /><path d="M17.5 4.5l2 2L12 14l-3 1 1-3z" /></Icon>;
export const Cross = () => <Icon><path d="M6 6l12 12M18 6L6 18" /></Icon>;

/** The sign of the page: five bars, as on its icon. */
export const Logo = () => (
  <svg class="logo" viewBox="0 0 32 32" aria-hidden="true">
    <rect width="32" height="32" rx="9" />
    <path d="M7 14v4M12 9v14M17 12v8M22 6v20M27 14v4" />
  </svg>
);
