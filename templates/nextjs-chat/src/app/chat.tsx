'use client';
// Next.js renders this in the browser; what it is stands in ../Chat, which any React app could use.
export { Chat } from '../Chat';
