import { defineConfig, type UserConfig } from "tsdown";

const config: UserConfig = defineConfig({
  entry: ["src/index.ts", "src/channel.ts", "src/react.ts", "src/tanstack.ts", "src/trpc.ts"],
  tsconfig: "tsconfig.build.json",
  format: ["esm", "cjs"],
  target: "es2022",
  platform: "neutral",
  dts: true,
  sourcemap: true,
  fixedExtension: false,
  // Names stay readable; constants are inlined, which a bundler does not do across statements.
  minify: { compress: true, mangle: false, codegen: false },
});

export default config;
