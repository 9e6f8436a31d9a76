// Makes the one file that the gateway serves: `node bundle.mjs`, or with --print to standard output.
import { build } from "esbuild";

const outfile = new URL("../../gateway/client/outbox-inbox.js", import.meta.url).pathname;
const print = process.argv.includes("--print");
const { outputFiles } = await build({
  entryPoints: ["src/element/outbox-inbox.js"],
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  write: !print,
  outfile,
});
if (print) process.stdout.write(outputFiles[0].text);
