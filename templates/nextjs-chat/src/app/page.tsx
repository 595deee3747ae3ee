import { Chat } from './chat';
import { Connected } from './connected';

export default function Page() {
  return (
    <Connected>
      <Chat />
    </Connected>
  );
}
