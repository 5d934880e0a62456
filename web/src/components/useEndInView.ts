// Keeps a scrolling element's end in view when it was in view, whatever grows: what is in it, or what stands below it.
import { useEffect, useRef } from 'preact/hooks';

const NEAR = 32; // pixels from the end that still count as there

/** For the scrolling element and the one element in it; call what is returned to go to the end. */
export function useEndInView() {
  const outer = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  const toEnd = () => {
    atEnd.current = true;
    if (outer.current) outer.current.scrollTop = outer.current.scrollHeight;
  };
  useEffect(() => {
    const box = outer.current!;
    let top = box.scrollTop;
    const scrolled = () => {
      const near = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR;
      // Only who goes up leaves the end: it may also have moved on before this event came.
      if (near || box.scrollTop < top) atEnd.current = near;
      top = box.scrollTop;
    };
    const watch = new ResizeObserver(() => {
      if (atEnd.current) toEnd();
    });
    watch.observe(box);
    watch.observe(inner.current!);
    box.addEventListener('scroll', scrolled, { passive: true });
    return () => {
      watch.disconnect();
      box.removeEventListener('scroll', scrolled);
    };
  }, []);
  return { outer, inner, toEnd };
}
