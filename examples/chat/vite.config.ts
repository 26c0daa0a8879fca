import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

import { developmentTokens } from "./development_tokens.ts";

export default defineConfig({
  plugins: [react(), developmentTokens()],
  server: { port: 3015, strictPort: true },
  // The client is linked from this repository, with packages of its own beside it: there must be one React.
  resolve: { dedupe: ["react", "react-dom"] },
});
