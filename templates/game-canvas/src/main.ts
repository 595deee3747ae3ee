// What the database has, drawn; and where this player wants to go, told to it.
import { builder } from './connection';
import { input } from './input';
import { tables } from './module_bindings';
import type { Player } from './module_bindings/types';
import './styles.css';

const WIDTH = 1600;
const HEIGHT = 900;
const CATCH_UP = 14; // a second: how fast what is drawn follows what is

const canvas = document.getElementById('field') as HTMLCanvasElement;
const state = document.getElementById('state')!;
const scores = document.getElementById('scores')!;
const draw = canvas.getContext('2d')!;

const connection = builder.build();
connection.onStatus(() => {
  const isLive = connection.status === 'live';
  state.textContent = isLive ? 'Connected' : 'Connecting…';
  state.classList.toggle('live', isLive);
});
connection.subscriptionBuilder().subscribe([tables.player, tables.star]);

const isMe = (player: Player) => connection.identity?.isEqual(player.identity) ?? false;
const colour = (player: Player) => `hsl(${player.hue} 80% 62%)`;

// ---- where we want to go

let told = { dx: 0, dy: 0 };
const steering = input(canvas, () => {
  const me = [...connection.db.player].find(isMe);
  return me && { x: me.x / WIDTH, y: me.y / HEIGHT };
});

function steer() {
  const wanted = steering();
  if (connection.status !== 'live' || (wanted.dx === told.dx && wanted.dy === told.dy)) return;
  told = wanted;
  connection.reducers.steer(wanted).catch(problem => console.warn(problem));
}

// ---- what there is to see

// The server moves players thirty times a second; between that they are drawn on their way.
const shown = new Map<string, { x: number; y: number }>();

function placeOf(player: Player, seconds: number) {
  const key = player.identity.toHexString();
  const place = shown.get(key) ?? { x: player.x, y: player.y };
  const part = 1 - Math.exp(-CATCH_UP * seconds);
  place.x += (player.x - place.x) * part;
  place.y += (player.y - place.y) * part;
  shown.set(key, place);
  return place;
}

function drawStar(x: number, y: number, turn: number) {
  draw.beginPath();
  for (let i = 0; i < 10; i++) {
    const radius = i % 2 === 0 ? 13 : 5.5;
    const angle = turn + (i * Math.PI) / 5;
    draw.lineTo(x + Math.cos(angle) * radius, y + Math.sin(angle) * radius);
  }
  draw.closePath();
  draw.fillStyle = '#ffd166';
  draw.fill();
}

function drawPlayer(player: Player, { x, y }: { x: number; y: number }) {
  draw.beginPath();
  draw.arc(x, y, 22, 0, 2 * Math.PI);
  draw.fillStyle = colour(player);
  draw.fill();
  if (!isMe(player)) return;
  draw.lineWidth = 3;
  draw.strokeStyle = '#fff';
  draw.stroke();
}

function showScores(players: Player[]) {
  const sorted = players.sort((a, b) => b.score - a.score);
  const items = sorted.map(player => {
    const item = document.createElement('li');
    item.textContent = `${player.score}${isMe(player) ? ' (you)' : ''}`;
    item.style.color = colour(player);
    return item;
  });
  scores.replaceChildren(...items);
}
const scoresChanged = () => showScores([...connection.db.player]);
connection.db.player.onInsert(scoresChanged);
connection.db.player.onDelete((_ctx, player) => {
  shown.delete(player.identity.toHexString());
  scoresChanged();
});
connection.db.player.onUpdate((_ctx, before, player) => {
  if (before.score !== player.score) scoresChanged();
});

let last = performance.now();
function frame(now: number) {
  const seconds = (now - last) / 1000;
  last = now;
  steer();
  const { clientWidth, clientHeight } = canvas;
  const ratio = devicePixelRatio;
  canvas.width = clientWidth * ratio;
  canvas.height = clientHeight * ratio;
  draw.scale(canvas.width / WIDTH, canvas.height / HEIGHT);
  for (const star of connection.db.star) drawStar(star.x, star.y, now / 1400);
  for (const player of connection.db.player) drawPlayer(player, placeOf(player, seconds));
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
