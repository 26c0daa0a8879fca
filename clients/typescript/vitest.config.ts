import { fileURLToPath } from "node:url";

import { defineConfig, type ViteUserConfig } from "vitest/config";

const react18 = (name: string): string => fileURLToPath(new URL(`test/react-18/node_modules/${name}`, import.meta.url));

const config: ViteUserConfig = defineConfig({
  test: {
    // More than `until` waits: what never came true names itself.
    testTimeout: 45_000,
    projects: [
      { extends: true, test: { name: "node", include: ["test/*.test.ts"] } },
      {
        extends: true,
        test: { name: "react 19", env: { REACT_MAJOR: "19" }, environment: "happy-dom", include: ["test/*.test.tsx"] },
      },
      {
        extends: true,
        resolve: { alias: { "react-dom": react18("react-dom"), react: react18("react") } },
        test: {
          name: "react 18",
          env: { REACT_MAJOR: "18" },
          environment: "happy-dom",
          include: ["test/react.test.tsx", "test/channel_hooks.test.tsx"],
        },
      },
    ],
  },
});

export default config;
