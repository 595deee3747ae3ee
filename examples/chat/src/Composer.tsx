import { useLayoutEffect, useRef, useState, type KeyboardEvent } from 'react';

// Where messages are written. Enter sends, Shift+Enter starts a new line. What the database refuses
// stays in the box, with the reason under it.
export function Composer(props: { disabled: boolean; onSend: (text: string) => Promise<unknown> }) {
  const [text, setText] = useState('');
  const [error, setError] = useState('');
  const box = useRef<HTMLTextAreaElement>(null);

  useLayoutEffect(() => {
    const area = box.current!;
    area.style.height = 'auto';
    area.style.height = `${area.scrollHeight + area.offsetHeight - area.clientHeight}px`; // with its border, or it scrolls
  }, [text]);

  const send = async () => {
    const sending = text;
    if (!sending.trim() || props.disabled) return;
    setText('');
    try {
      await props.onSend(sending);
      setError('');
    } catch (problem) {
      setText(current => current || sending);
      setError(problem instanceof Error ? problem.message : String(problem));
    }
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== 'Enter' || event.shiftKey || event.nativeEvent.isComposing) return;
    event.preventDefault();
    void send();
  };
  return (
    <form
      className="composer"
      onSubmit={event => {
        event.preventDefault();
        void send();
      }}
    >
      <textarea
        ref={box}
        rows={1}
        aria-label="Message"
        placeholder="Write a message"
        value={text}
        onChange={event => setText(event.target.value)}
        onKeyDown={onKeyDown}
      />
      <button type="submit" disabled={props.disabled || !text.trim()} aria-label="Send">
        <svg viewBox="0 0 24 24" aria-hidden="true">
          <path d="M12 19V5M5.5 11.5 12 5l6.5 6.5" />
        </svg>
      </button>
      {error && (
        <p className="error" role="alert">
          {error}
        </p>
      )}
    </form>
  );
}
