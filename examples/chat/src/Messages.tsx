import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import type { Identity } from 'lightcone';
import type { Message, User } from './module_bindings/types';
import { Mark } from './Mark';
import { Avatar } from './People';
import { dayText, hueOf, nameOf, timeText } from './names';

const SHOWN_AT_FIRST = 300; // older ones on demand: a page should not carry years of talk
const SAME_BREATH_MS = 5 * 60 * 1000; // messages this close together share one heading
const AT_END_PX = 80;

interface Turn {
  key: string;
  sender: Identity;
  day: string | null; // set when the turn begins a new day
  messages: { text: string; at: Date }[];
}

function bySent(a: Message, b: Message): number {
  const [x, y] = [a.sent.microsSinceUnixEpoch, b.sent.microsSinceUnixEpoch];
  return x < y ? -1 : x > y ? 1 : 0;
}

// Messages in order, gathered into turns: one person, speaking without a pause.
function turnsOf(sorted: Message[]): Turn[] {
  const turns: Turn[] = [];
  let lastAt: Date | undefined;
  for (const message of sorted) {
    const at = message.sent.toDate();
    const turn = turns[turns.length - 1];
    const newDay = !lastAt || lastAt.toDateString() !== at.toDateString();
    const goesOn =
      turn !== undefined &&
      !newDay &&
      turn.sender.isEqual(message.sender) &&
      at.getTime() - lastAt!.getTime() < SAME_BREATH_MS;
    if (goesOn) turn.messages.push({ text: message.text, at });
    else
      turns.push({
        key: `${message.sent.microsSinceUnixEpoch}-${message.sender.toHexString()}-${turns.length}`,
        sender: message.sender,
        day: newDay ? dayText(at) : null,
        messages: [{ text: message.text, at }],
      });
    lastAt = at;
  }
  return turns;
}

function TurnView({ turn, user, mine }: { turn: Turn; user: User | undefined; mine: boolean }) {
  const name = nameOf(turn.sender, user);
  return (
    <>
      {turn.day && (
        <li className="day" role="separator">
          <span>{turn.day}</span>
        </li>
      )}
      <li className={mine ? 'turn mine' : 'turn'}>
        {!mine && <Avatar user={user} name={name} hue={hueOf(turn.sender)} />}
        <div className="turn-body">
          <p className="turn-head">
            <span className="author">{mine ? 'You' : name}</span>
            <time dateTime={turn.messages[0].at.toISOString()}>{timeText(turn.messages[0].at)}</time>
          </p>
          {turn.messages.map((message, index) => (
            <p className="bubble" key={index} title={message.at.toLocaleString()}>
              {message.text}
            </p>
          ))}
        </div>
      </li>
    </>
  );
}

export function Messages(props: {
  messages: readonly Message[];
  users: Map<string, User>;
  me: Identity | undefined;
  ready: boolean;
}) {
  const { messages, users, me, ready } = props;
  const [shown, setShown] = useState(SHOWN_AT_FIRST);
  const [atEnd, setAtEnd] = useState(true);
  const list = useRef<HTMLDivElement>(null);

  const sorted = useMemo(() => [...messages].sort(bySent), [messages]);
  const turns = useMemo(() => turnsOf(sorted.slice(-shown)), [sorted, shown]);
  const last = sorted[sorted.length - 1];
  const lastIsMine = last !== undefined && me !== undefined && last.sender.isEqual(me);

  const toEnd = () => list.current?.scrollTo({ top: list.current.scrollHeight });
  // Follow the talk while the reader is at its end, and whenever they say something themselves.
  useLayoutEffect(() => {
    if (atEnd || lastIsMine) toEnd();
  }, [messages.length, ready]);
  useEffect(() => {
    const observer = new ResizeObserver(() => atEnd && toEnd());
    if (list.current) observer.observe(list.current);
    return () => observer.disconnect();
  }, [atEnd]);

  const onScroll = () => {
    const at = list.current!;
    setAtEnd(at.scrollHeight - at.scrollTop - at.clientHeight < AT_END_PX);
  };
  return (
    <div className="messages-frame">
      <div className="messages" ref={list} onScroll={onScroll} tabIndex={0} aria-label="Messages">
        {ready && messages.length === 0 && (
          <div className="empty">
            <Mark />
            <p className="empty-title">Nothing has been said yet</p>
            <p>Say hello, or open this page in a second window and talk to yourself.</p>
          </div>
        )}
        {sorted.length > shown && (
          <button className="earlier" onClick={() => setShown(shown + SHOWN_AT_FIRST)}>
            Show earlier messages
          </button>
        )}
        <ol role="log" aria-live="polite">
          {turns.map(turn => (
            <TurnView
              key={turn.key}
              turn={turn}
              user={users.get(turn.sender.toHexString())}
              mine={me !== undefined && turn.sender.isEqual(me)}
            />
          ))}
        </ol>
      </div>
      {!atEnd && (
        <button className="to-end" onClick={toEnd}>
          Newest messages ↓
        </button>
      )}
    </div>
  );
}
