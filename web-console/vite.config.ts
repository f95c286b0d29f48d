// How the page is built (base /console/, nothing inline, so that a strict Content-Security-Policy holds) and how it is looked
// at while it is worked on: `npm run dev` and `npm run preview` pass API requests on to the server at HENGE_URL.
import react from "@vitejs/plugin-react";
import { defineConfig, type ProxyOptions } from "vite";

const server = process.env.HENGE_URL ?? "http://127.0.0.1:8888";

/** What the server sends with the page (server/src/http/console.rs); the preview sends it too, so that tests run under it. */
export const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
].join("; ");

const proxy: Record<string, ProxyOptions> = Object.fromEntries(
  ["/druid", "/druid-ext", "/henge", "/status", "/metrics", "/proxy"].map((path) => [
    path,
    {
      target: server,
      // The server compares Host with Origin: both stay those of the page.
      changeOrigin: false,
      configure: (through) => {
        through.on("proxyRes", (answer) => {
          // A challenge would have the browser put its own sign-in box over the page's.
          delete answer.headers["www-authenticate"];
        });
      },
    },
  ]),
);

export default defineConfig({
  base: "/console/",
  plugins: [react()],
  server: { proxy },
  preview: { proxy, headers: { "Content-Security-Policy": contentSecurityPolicy, "X-Content-Type-Options": "nosniff" } },
  build: { target: "es2023", assetsInlineLimit: 0, modulePreload: { polyfill: false }, chunkSizeWarningLimit: 700 },
  test: { include: ["src/**/*.test.ts"] },
} as Parameters<typeof defineConfig>[0]);
