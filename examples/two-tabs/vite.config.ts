import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  plugins: [react()],
  server: { port: 3014, strictPort: true },
  // The client is linked from this repository, with packages of its own beside it: there must be one React.
  resolve: { dedupe: ["react", "react-dom"] },
});
