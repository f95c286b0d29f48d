// Runs the walks through the built page in a real browser; `npm run e2e` with HENGE_URL (a server that needs no credentials),
// and HENGE_AUTH_URL with HENGE_AUTH_PASSWORD (one that does, its administrator's password), CHROMIUM for the browser's path.
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/*.e2e.ts"],
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 60_000,
    root: new URL("..", import.meta.url).pathname,
  },
});
