// Renders labels: each line on standard input is {"zpl": ..., "width_mm": ..., "height_mm": ..., "dots_per_mm": ...},
// each answer a line with the picture as base64 PNG, or with an error.
import { createInterface } from "node:readline";
import { ready } from "zpl-renderer-js";

const { api } = await ready;
for await (const line of createInterface({ input: process.stdin })) {
  const { zpl, width_mm, height_mm, dots_per_mm } = JSON.parse(line);
  try {
    console.log(JSON.stringify({ png: await api.zplToBase64Async(zpl, width_mm, height_mm, dots_per_mm) }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
process.exit(0); // the renderer's own threads would keep the process
