import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { LightconeProvider } from 'lightcone/react';
import { Chat } from './Chat';
import { builder } from './connection';
import './styles.css';

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <LightconeProvider connectionBuilder={builder}>
      <Chat />
    </LightconeProvider>
  </StrictMode>
);
