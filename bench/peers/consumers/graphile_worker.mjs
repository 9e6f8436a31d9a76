// graphile-worker → Redis stream, in the configuration with which its website/docs/performance.md reaches its figures
// (24 jobs at once, a local queue of 500, completions batched without delay). ioredis pipelines what the jobs of one
// turn of the event loop send.
import { Logger, run } from "graphile-worker";
import Redis from "ioredis";
import { EventEmitter } from "node:events";

const redis = new Redis(process.env.REDIS_URL, { enableAutoPipelining: true });
const stream = process.env.STREAM;
const events = new EventEmitter();
events.once("pool:listen:success", () => console.log("ready"));

const runner = await run({
  preset: {
    worker: {
      connectionString: process.env.DATABASE_URL,
      concurrentJobs: 24,
      maxPoolSize: 25,
      localQueue: { size: 500 },
      completeJobBatchDelay: 0,
      failJobBatchDelay: 0,
      logger: new Logger(() => () => {}),
      events,
    },
  },
  taskList: {
    ship: (payload) => redis.xadd(stream, "*", "payload", JSON.stringify(payload)),
  },
  noHandleSignals: true,
});
process.once("SIGTERM", async () => {
  await runner.stop();
  redis.disconnect();
});
