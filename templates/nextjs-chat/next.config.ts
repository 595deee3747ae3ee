import type { NextConfig } from 'next';

const config: NextConfig = {
  reactStrictMode: true,
  // Pages are also opened as 127.0.0.1 while developing.
  allowedDevOrigins: ['127.0.0.1'],
  turbopack: { root: import.meta.dirname },
};

export default config;
